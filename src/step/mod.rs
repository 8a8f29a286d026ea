//! The engine: a [`Plan`] of [`Step`]s is run under one budget, every start and every ending is in the
//! [`journal`] before the next thing happens, and a later run goes on where this one stopped.

pub mod engine;
pub mod error;
pub mod event;
pub mod hub;
pub mod journal;
pub mod lock;
pub mod signals;

pub use engine::{Outcome, execute};
pub use error::Error;
pub use event::{Ending, Entry, Event};
pub use hub::{Hub, View};
pub use journal::Journal;
pub use lock::RunLock;
pub use signals::Signals;

use crate::deadline::Deadline;
use crate::error::Failure;
use crate::observe::Observer;
use serde::Serialize;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// How a step ends when it does not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// It did what it is for; the words say what.
    Done(String),
    /// It did, but something is not as it should be.
    Warned(String),
    /// There was nothing to do, and why.
    Skipped(String),
    /// Nothing is left to do in the whole plan, and why: the steps after it are not run.
    Complete(String),
}

/// What a step is given.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// When the step must have ended. Its own words for "too late" are better than the engine's.
    pub deadline: Deadline,
    /// Who is told what the step is doing.
    pub observer: &'a dyn Observer,
}

/// The future of a running step.
pub type Running<'a> = Pin<Box<dyn Future<Output = Result<Finish, Failure>> + 'a>>;

/// One unit of work on `W`, the state that the steps of one plan share.
pub struct Step<W> {
    /// A short stable name, as it is in the journal.
    pub name: &'static str,
    /// What it will do, for the plan: one line, free of secrets.
    pub about: String,
    /// The names of the steps that must have ended well before it starts.
    pub after: &'static [&'static str],
    /// The longest it may take; the rest of the budget where it is `None`.
    pub limit: Option<Duration>,
    /// Does the work.
    pub run: for<'a> fn(&'a W, Context<'a>) -> Running<'a>,
    /// For a step whose result lasts: is it still there? A finished step of an earlier run of the same
    /// plan is not repeated while this says yes. `None`: the step asks a question whose answer may have
    /// changed, so it is asked again.
    pub still_done: Option<fn(&W) -> bool>,
}

impl<W> Step<W> {
    /// A step that may take the rest of the budget and is done anew by every run.
    pub fn new(
        name: &'static str,
        after: &'static [&'static str],
        about: impl Into<String>,
        run: for<'a> fn(&'a W, Context<'a>) -> Running<'a>,
    ) -> Step<W> {
        Step { name, about: about.into(), after, limit: None, run, still_done: None }
    }

    /// The same, which may take no longer than this.
    #[must_use]
    pub fn within(self, limit: Duration) -> Step<W> {
        Step { limit: Some(limit), ..self }
    }

    /// The same, not repeated while its result is there.
    #[must_use]
    pub fn lasting(self, still_done: fn(&W) -> bool) -> Step<W> {
        Step { still_done: Some(still_done), ..self }
    }
}

/// Ordered steps that turn a machine into an intent.
pub struct Plan<W> {
    /// `install`.
    pub verb: &'static str,
    /// Equal for plans that want the same thing. A run resumes an earlier one only if they are equal.
    pub fingerprint: String,
    /// In an order in which each step stands behind those it comes after.
    pub steps: Vec<Step<W>>,
}

/// A plan as data: what `plan` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedStep {
    /// The step's name.
    pub name: &'static str,
    /// What it will do.
    pub about: String,
    /// What it waits for.
    pub after: &'static [&'static str],
    /// The longest it may take, in seconds; `null`: the rest of the budget.
    pub limit_s: Option<u64>,
}

impl<W> Plan<W> {
    /// The plan as data, without running anything.
    pub fn describe(&self) -> Vec<PlannedStep> {
        self.steps
            .iter()
            .map(|step| PlannedStep {
                name: step.name,
                about: step.about.clone(),
                after: step.after,
                limit_s: step.limit.map(|limit| limit.as_secs()),
            })
            .collect()
    }
}
