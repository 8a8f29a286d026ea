//! The views of the journal: what a person, a terminal, journald and a program see of a run.

pub mod console;
pub mod follow;
pub mod http;
pub mod journald;
pub mod lines;
pub mod markup;
pub mod metrics;
pub mod status;
pub mod status_file;
pub mod systemd;
pub mod terminal;
pub mod timeline;

pub use status::Status;
pub use timeline::Timeline;

/// Milliseconds as people read them.
fn words_of(ms: u64) -> String {
    crate::words::span(std::time::Duration::from_millis(ms))
}
