//! The node's state over HTTP: for probes, for Prometheus, for people. It only tells; nothing can be changed through it.
//!
//! ```text
//! /          a page for people           /livez     200 while the work goes on
//! /status    run and health, as JSON     /readyz    200 while the node is up
//! /metrics   for Prometheus              /healthz   what the probes say; with ?verbose one line each
//! ```
//!
//! It is served on a thread of its own, with a runtime of its own: however slow or hostile who asks may be, no step
//! waits for it. A unix socket is always there; TCP is where `http.listen` says, for whoever asks by an address or a name of
//! this machine.

mod answer;
mod listen;
mod page;
mod pulse;
pub mod request;
mod serve;

pub use answer::{Answer, Known, Question, answer};
pub use pulse::Pulse;

use super::aside::Aside;
use super::follow::Follow;
use super::metrics::Progress;
use super::status::Status;
use super::webhook::spool::Spool;
use crate::health::Board;
use crate::observe::Observer;
use crate::paths::Paths;
use crate::step::{Entry, Event, View};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The journal is looked at at most so often, however many ask.
const LOOK: Duration = Duration::from_secs(1);
/// How long the thread may take to end.
const FAREWELL: Duration = Duration::from_secs(1);

/// The endpoint, for as long as one of these lives. Clones are of the same one.
#[derive(Clone)]
pub struct Endpoint {
    thread: Arc<Thread>,
    shared: Arc<Shared>,
}

/// The thread that serves.
struct Thread {
    wanted: watch::Sender<Option<SocketAddr>>,
    /// What it leaves if it takes too long is replaced by the next process.
    _aside: Option<Aside>,
}

/// What every connection has in common.
struct Shared {
    paths: Paths,
    board: Board,
    pulse: Pulse,
    looked: Mutex<Looked>,
    progress: Mutex<Vec<Progress>>,
    /// Where it listens on TCP.
    bound: Mutex<Option<SocketAddr>>,
}

struct Looked {
    follow: Follow,
    last: Option<(Instant, Status, usize)>,
}

impl Endpoint {
    /// Begins to serve, on the unix socket alone. `observer` hears where it listens and what keeps it from that;
    /// nothing of it is a failure. It serves for as long as this or a clone of it lives.
    pub fn start(paths: &Paths, board: Board, pulse: Pulse, observer: Arc<dyn Observer>) -> Endpoint {
        let looked = Mutex::new(Looked { follow: Follow::of(paths), last: None });
        let (progress, bound) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { paths: paths.clone(), board, pulse, looked, progress, bound });
        let (wanted, hears) = watch::channel(None);
        let (paths, served, told) = (paths.clone(), shared.clone(), observer.clone());
        let serving = move || serve::run(&paths, &served, hears, told.as_ref());
        let excuse = |error| observer.warn(&format!("HTTP is not served: a thread cannot be had: {error}"));
        let aside = Aside::start("http", FAREWELL, serving).map_err(excuse).ok();
        Endpoint { thread: Arc::new(Thread { wanted, _aside: aside }), shared }
    }

    /// Listens at this address on TCP, beside the unix socket; nothing: no longer. An address that cannot be had now
    /// is tried again.
    pub fn listen(&self, address: Option<SocketAddr>) {
        self.thread.wanted.send_if_modified(|wanted| std::mem::replace(wanted, address) != address);
    }

    /// Where it listens on TCP now.
    pub fn tcp(&self) -> Option<SocketAddr> {
        *lock(&self.shared.bound)
    }

    /// A view of a run: it shows how far downloads are, which no journal has.
    pub fn view(&self) -> impl View + use<> {
        Downloads(self.shared.clone())
    }
}

impl Shared {
    fn known(&self) -> Known {
        let (run, spooled) = self.on_disk();
        let (health, progress) = (self.board.look(), lock(&self.progress).clone());
        Known { run, health, progress, spooled, still: self.pulse.still() }
    }

    /// The last run, and how many events wait for a webhook.
    fn on_disk(&self) -> (Status, usize) {
        let mut looked = lock(&self.looked);
        if let Some((at, status, spooled)) = &looked.last
            && at.elapsed() < LOOK
        {
            return (status.clone(), *spooled);
        }
        let (status, spooled) = (looked.follow.look(), Spool::new(&self.paths).list().len());
        looked.last = Some((Instant::now(), status.clone(), spooled));
        (status, spooled)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Downloads(Arc<Shared>);

impl View for Downloads {
    fn event(&mut self, entry: &Entry) {
        if let Event::RunStarted { .. } = &entry.event {
            lock(&self.0.progress).clear();
        }
    }

    fn bytes(&mut self, step: &'static str, done: u64, total: Option<u64>) {
        let mut progress = lock(&self.0.progress);
        match progress.iter_mut().find(|of| of.step == step) {
            Some(of) => (of.done, of.total) = (done, total),
            None => progress.push(Progress { step: step.to_owned(), done, total }),
        }
    }
}
