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
pub mod paint;
pub mod status;
pub mod status_file;
pub mod systemd;
pub mod terminal;
pub mod timeline;
pub mod webhook;

use crate::error::Failure;
use crate::words;
pub use status::Status;
pub use timeline::Timeline;

/// Fills the cells of a picture of `whole` milliseconds between two moments; one cell at least.
fn fill(cells: &mut [char], whole: u64, from: u64, to: u64, with: char) {
    let (width, whole) = (cells.len(), whole.max(1));
    // Wider than a journal's numbers, which may be anything.
    let share = |ms: u64| u128::from(ms.min(whole)) * width as u128 / u128::from(whole);
    let cell = |ms: u64| usize::try_from(share(ms)).unwrap_or(width);
    let from = cell(from).min(width - 1);
    let to = cell(to).clamp(from + 1, width);
    cells[from..to].fill(with);
}

/// Why a run failed, as it stands below what is told of it.
fn trouble(error: &Failure) -> [String; 3] {
    let message = words::one_line(&format!("error: {} [{}]", error.message, error.reason));
    [String::new(), message, words::one_line(&format!("help: {}", error.help))]
}

/// Milliseconds as people read them.
fn words_of(ms: u64) -> String {
    words::span(std::time::Duration::from_millis(ms))
}

/// Does the work on a thread with a runtime of its own, until it ends by itself. `None`: the machine has no thread to
/// give.
fn on_a_thread<F: Future<Output = ()>>(name: &str, work: impl FnOnce() -> F + Send + 'static) -> Option<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let body = move || runtime.block_on(work());
    std::thread::Builder::new().name(name.to_owned()).spawn(body).ok().map(drop)
}
