//! Work that blocks, on a thread where it holds up nobody.

use std::panic::resume_unwind;
use tokio::task::{JoinHandle, spawn_blocking};

/// Does the work on a thread of its own. A future that is dropped does not end it: it comes to its end unseen.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    join(spawn_blocking(work)).await
}

/// The end of work that was started before. Its panic, which only a test survives to see, goes on here.
pub async fn join<T>(handle: JoinHandle<T>) -> T {
    handle.await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}
