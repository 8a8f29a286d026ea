//! The signals that end a run.

use super::error::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT, from the moment on at which this is made.
pub struct Signals {
    term: Signal,
    int: Signal,
    /// Listened to and passed over: an operator's lost connection must not stop an installer midway.
    _hangup: Signal,
}

impl Signals {
    /// Listens. Each listener hears every signal, and the process is not ended by them any more.
    pub fn listen() -> Result<Signals, Error> {
        let listen = |kind| signal(kind).map_err(|source| Error::State { path: "the signal handler".into(), source });
        Ok(Signals {
            term: listen(SignalKind::terminate())?,
            int: listen(SignalKind::interrupt())?,
            _hangup: listen(SignalKind::hangup())?,
        })
    }

    /// The next signal's name. Can be dropped and called again without losing one.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}
