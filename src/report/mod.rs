//! The views of the journal: what a person, a terminal, journald and a program see of a run.

mod aside;
pub mod checkin;
pub mod console;
pub mod follow;
pub mod http;
pub mod journald;
pub mod lines;
pub mod markup;
pub mod message;
pub mod metrics;
pub mod status;
pub mod status_file;
pub mod systemd;
pub mod terminal;
pub mod timeline;
pub mod webhook;

pub use status::Status;
pub use timeline::Timeline;

/// Milliseconds as people read them.
fn words_of(ms: u64) -> String {
    crate::words::span(std::time::Duration::from_millis(ms))
}

/// Does the work on a thread with a runtime of its own, until it ends by itself. `None`: the machine has no thread to
/// give.
fn on_a_thread<F: Future<Output = ()>>(name: &str, work: impl FnOnce() -> F + Send + 'static) -> Option<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let body = move || runtime.block_on(work());
    std::thread::Builder::new().name(name.to_owned()).spawn(body).ok().map(drop)
}
