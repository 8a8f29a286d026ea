//! The views of the journal.
