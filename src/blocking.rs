//! Work that blocks, on a thread where it holds up nobody.

use std::io;
use std::panic::resume_unwind;
use std::thread;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

/// Does the work on a thread of its own. A future that is dropped does not end it: it comes to its end unseen.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    join(spawn_blocking(work)).await
}

/// The end of work that was started before. Its panic, which only a test survives to see, goes on here.
pub async fn join<T>(handle: JoinHandle<T>) -> T {
    handle.await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}

/// Begins work that may hang for ever, because a disk or a mount does. Whoever does not wait for it any more leaves it
/// behind, and the end of this process does not wait for it either. Without a result it has panicked.
///
/// # Errors
/// No thread can be started.
pub fn begin<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<T>> {
    let (tell, told) = oneshot::channel();
    thread::Builder::new().name(name).spawn(move || {
        // Nobody waits any more: then nobody needs it.
        let _ = tell.send(work());
    })?;
    Ok(told)
}
