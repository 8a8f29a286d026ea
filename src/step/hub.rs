//! Where events come together: each goes into the journal first and to every view after it.

use super::error::Error;
use super::event::{Entry, Event, VERSION};
use super::journal::Journal;
use crate::observe::{Observer, Wait};
use crate::words;
use std::sync::Mutex;
use std::time::Instant;

/// So many lines of a supervised program go into the journal; all of them are in the attempt's log.
const OUTPUT_LINES_IN_JOURNAL: u32 = 2_000;

/// A listener to a run. Views are quick and never fail: nothing they do can hold up a step.
pub trait View: Send {
    /// Something happened; it is in the journal already.
    fn event(&mut self, entry: &Entry);
    /// So many bytes of so many are through. Not in the journal.
    fn bytes(&mut self, _step: &'static str, _done: u64, _total: Option<u64>) {}
}

/// The events of one run.
pub struct Hub {
    run: String,
    begun: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    /// `None`: nothing of it is recorded.
    journal: Option<Journal>,
    views: Vec<Box<dyn View>>,
    output_lines: u32,
    waiting: Vec<(&'static str, String)>,
    /// What cannot be recorded is no reason to stop any more.
    forgiving: bool,
}

impl Hub {
    /// A hub for one run.
    pub fn new(run: String, journal: Journal, views: Vec<Box<dyn View>>) -> Hub {
        Hub::with(run, Some(journal), views)
    }

    /// A hub for what happens beside runs: its events reach the views and no journal, which belongs to whoever
    /// holds the lock of a run.
    pub fn unrecorded(name: String, views: Vec<Box<dyn View>>) -> Hub {
        Hub::with(name, None, views)
    }

    fn with(run: String, journal: Option<Journal>, views: Vec<Box<dyn View>>) -> Hub {
        let inner = Inner { journal, views, output_lines: 0, waiting: Vec::new(), forgiving: false };
        Hub { run, begun: Instant::now(), inner: Mutex::new(inner) }
    }

    /// The run's identifier.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// From now on what cannot be recorded is no failure: for putting back what must not be left as it is, and
    /// what has a record of its own.
    pub fn forgive(&self) {
        self.lock().forgiving = true;
    }

    /// Records an event and shows it. Fails only if it must last and cannot be recorded; the views see
    /// it all the same.
    pub fn tell(&self, event: Event) -> Result<(), Error> {
        let ms = words::millis(self.begun.elapsed());
        let entry = Entry { v: VERSION, run: self.run.clone(), at: words::now(), ms, event };
        let mut inner = self.lock();
        let result = inner.journal.as_mut().map_or(Ok(()), |journal| journal.append(&entry));
        for view in &mut inner.views {
            view.event(&entry);
        }
        if entry.event.must_last() && !inner.forgiving { result } else { Ok(()) }
    }

    /// What a step said last that it waits for.
    pub fn waiting(&self, step: &str) -> Option<String> {
        self.lock().waiting.iter().find(|(name, _)| *name == step).map(|(_, wait)| wait.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // A view that panicked has been printed already; the journal behind it is still sound.
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What one step tells the hub.
pub struct StepObserver<'a> {
    hub: &'a Hub,
    step: &'static str,
}

impl<'a> StepObserver<'a> {
    /// The observer of a step.
    pub fn new(hub: &'a Hub, step: &'static str) -> StepObserver<'a> {
        StepObserver { hub, step }
    }

    fn tell(&self, event: Event) {
        // These events need not last, so `tell` does not fail for them.
        let _ = self.hub.tell(event);
    }
}

impl Observer for StepObserver<'_> {
    fn waiting(&self, wait: &Wait) {
        let words = words::held_up(&wait.what, wait.holder.as_deref());
        {
            let mut inner = self.hub.lock();
            match inner.waiting.iter_mut().find(|(step, _)| *step == self.step) {
                Some((_, before)) if *before == words => return,
                Some((_, before)) => *before = words,
                None => inner.waiting.push((self.step, words)),
            }
        }
        self.tell(Event::StepWaiting { step: self.step.into(), what: wait.what.clone(), holder: wait.holder.clone() });
    }

    fn bytes(&self, done: u64, total: Option<u64>) {
        for view in &mut self.hub.lock().views {
            view.bytes(self.step, done, total);
        }
    }

    fn note(&self, text: &str) {
        self.tell(Event::StepNote { step: self.step.into(), text: text.into(), warning: false });
    }

    fn warn(&self, text: &str) {
        self.tell(Event::StepNote { step: self.step.into(), text: text.into(), warning: true });
    }

    fn output(&self, line: &str) {
        let count = {
            let mut inner = self.hub.lock();
            inner.output_lines = inner.output_lines.saturating_add(1);
            inner.output_lines
        };
        match count {
            ..=OUTPUT_LINES_IN_JOURNAL => {
                self.tell(Event::StepOutput { step: self.step.into(), line: line.into() });
            }
            _ if count == OUTPUT_LINES_IN_JOURNAL + 1 => {
                self.note("the installer says more than belongs in a journal; the rest is in installer.log");
            }
            _ => {}
        }
    }
}
