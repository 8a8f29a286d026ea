//! The views of the journal: what a person, a terminal, journald and a program see of a run.

pub mod console;
pub mod journald;
pub mod lines;
pub mod status;
pub mod systemd;
pub mod terminal;

pub use status::Status;
