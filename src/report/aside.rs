//! A view's own thread: what is slow happens there, and nothing waits for it but the very end, for a moment.

use std::io;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// A thread. Whoever lets go of it waits until it has come to its end, and not longer than it has for that. What the
/// thread lives on, such as the sending half of its queue, is to be let go of before: in a struct, it stands above.
#[derive(Debug)]
pub(super) struct Aside {
    over: Mutex<Receiver<()>>,
    farewell: Duration,
}

impl Aside {
    /// Does the work, and gives it so long for its end.
    ///
    /// # Errors
    /// No thread can be had.
    pub(super) fn start(name: &str, farewell: Duration, work: impl FnOnce() + Send + 'static) -> io::Result<Aside> {
        let (done, over) = sync_channel(1);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            work();
            // Nobody may be waiting for it any more.
            let _ = done.send(());
        })?;
        Ok(Aside { over: Mutex::new(over), farewell })
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let over = self.over.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Too slow, because a disk or a console hangs: then its last is lost, and the process ends all the same.
        let _ = over.recv_timeout(self.farewell);
    }
}
