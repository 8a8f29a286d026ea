//! How work tells what it is doing without knowing who listens.

use crate::deadline::Deadline;

/// Something that is being waited for. Every wait has a name, a deadline and, where it can be known,
/// a holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// What is waited for, as a noun phrase: `the package manager`, `manager kasm.example.com`.
    pub what: String,
    /// Who or what holds it up: `apt-daily.service, pid 812, apt-get`, `connection refused`.
    pub holder: Option<String>,
    /// When the waiting ends without success.
    pub deadline: Deadline,
}

/// A listener to work in progress. Calls must be quick and must not fail: no listener can hold up
/// the work. All texts are already free of secrets.
pub trait Observer: Send + Sync {
    /// The work now waits, or still waits and the holder changed.
    fn waiting(&self, _wait: &Wait) {}
    /// So many bytes of so many are through.
    fn bytes(&self, _done: u64, _total: Option<u64>) {}
    /// A fact worth a line: what was chosen and why, what is tried next.
    fn note(&self, _text: &str) {}
    /// Something is not as it should be, but the work goes on.
    fn warn(&self, _text: &str) {}
    /// One line of a supervised program's output, already masked.
    fn output(&self, _line: &str) {}
}

/// Whoever has started this program as a service, and wants to know how it is. Calls must be quick and must
/// not fail.
pub trait Supervisor: Observer {
    /// The service is up: what waits for it may go on. Said again, it changes nothing.
    fn ready(&self);
    /// The service was told to stop, and begins to. Said again, it changes nothing.
    fn stopping(&self);
    /// How the service is now, in one line free of secrets; it holds until the next one.
    fn status(&self, text: &str);
}

/// The listener that does not listen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}
