//! The machine: facts, never opinions.
