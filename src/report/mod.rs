//! The views of the journal: what a person, a terminal, journald and a program see of a run.

pub mod checkin;
pub mod console;
pub mod journald;
pub mod lines;
pub mod message;
pub mod status;
pub mod systemd;
pub mod terminal;
pub mod webhook;

pub use status::Status;

/// Does the work on a thread with a runtime of its own, until it ends by itself. `None`: the machine has no thread to
/// give.
fn on_a_thread<F: Future<Output = ()>>(name: &str, work: impl FnOnce() -> F + Send + 'static) -> Option<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let body = move || runtime.block_on(work());
    std::thread::Builder::new().name(name.to_owned()).spawn(body).ok().map(drop)
}
