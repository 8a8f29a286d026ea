//! What is in the journal: one [`Entry`] a line.
//!
//! The format is versioned by [`Entry::v`]. Readers pass over entries they do not understand, so that an
//! older binary can read a newer journal and the other way round.

use crate::error::Failure;
use crate::health::{Level, Verdict};
use serde::{Deserialize, Serialize};

/// The journal's format.
pub const VERSION: u32 = 1;

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The format of this line.
    pub v: u32,
    /// The run it belongs to.
    pub run: String,
    /// The wall clock, RFC 3339. It may jump; never compute with it.
    pub at: String,
    /// Milliseconds since the run began, monotonic.
    pub ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// How a step ended, as recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// It did what it is for.
    Done,
    /// It did, with a warning.
    Warned,
    /// There was nothing to do.
    Skipped,
    /// It failed.
    Failed,
    /// It was cut short, because another step failed, the budget ran out or a signal came.
    Stopped,
}

impl Ending {
    /// True if the step's work is there afterwards.
    pub fn is_good(self) -> bool {
        matches!(self, Ending::Done | Ending::Warned | Ending::Skipped)
    }

    /// The word, as recorded.
    pub fn as_str(self) -> &'static str {
        match self {
            Ending::Done => "done",
            Ending::Warned => "warned",
            Ending::Skipped => "skipped",
            Ending::Failed => "failed",
            Ending::Stopped => "stopped",
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event")]
pub enum Event {
    /// A run began.
    #[serde(rename = "run.started")]
    RunStarted {
        /// `install`.
        verb: String,
        /// The plan's fingerprint.
        fingerprint: String,
        /// This program's version.
        version: String,
        /// The kernel's boot id: another one means the machine was restarted in between.
        boot: String,
        /// How long the kernel had been running, milliseconds (proc_uptime(5)); nothing where it did not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uptime_ms: Option<u64>,
        /// The process.
        pid: u32,
        /// The whole budget, milliseconds.
        budget_ms: u64,
        /// The run this one goes on from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resumes: Option<String>,
        /// The names of the plan's steps, in order.
        steps: Vec<String>,
    },
    /// A step began.
    #[serde(rename = "step.started")]
    StepStarted {
        /// Its name.
        step: String,
    },
    /// A step waits for something.
    #[serde(rename = "step.waiting")]
    StepWaiting {
        /// Its name.
        step: String,
        /// What for.
        what: String,
        /// Who holds it up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        holder: Option<String>,
    },
    /// A step tells a fact.
    #[serde(rename = "step.note")]
    StepNote {
        /// Its name.
        step: String,
        /// The fact.
        text: String,
        /// True if it is a warning.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        warning: bool,
    },
    /// A line of a supervised program, masked.
    #[serde(rename = "step.output")]
    StepOutput {
        /// The step's name.
        step: String,
        /// The line.
        line: String,
    },
    /// A step ended.
    #[serde(rename = "step.ended")]
    StepEnded {
        /// Its name.
        step: String,
        /// How.
        ending: Ending,
        /// In words.
        detail: String,
        /// How long it took, milliseconds.
        took_ms: u64,
    },
    /// The run ended.
    #[serde(rename = "run.ended")]
    RunEnded {
        /// The exit status.
        exit: u8,
        /// In words.
        detail: String,
        /// Why, if it ended badly.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
    /// A probe's answer means something else than before.
    #[serde(rename = "probe.changed")]
    ProbeChanged {
        /// Its name.
        probe: String,
        /// What it meant; nothing where it was never asked before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Level>,
        /// What it means now.
        now: Level,
        /// In words.
        words: String,
        /// What to do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remedy: Option<String>,
    },
    /// The node's health as a whole is another, or the same verdict has other reasons.
    #[serde(rename = "health.changed")]
    HealthChanged {
        /// The verdict before; nothing where there was none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Verdict>,
        /// The verdict now.
        now: Verdict,
        /// Why.
        words: String,
    },
    /// The watch did something about it, or tried to.
    #[serde(rename = "health.mended")]
    HealthMended {
        /// The probe whose trouble it is about.
        probe: String,
        /// What was done, or why it could not be.
        words: String,
        /// True if it was done.
        done: bool,
    },
}

impl Event {
    /// Events without which a later run could not go on: they are synced before work goes on.
    pub fn must_last(&self) -> bool {
        matches!(
            self,
            Event::RunStarted { .. } | Event::StepStarted { .. } | Event::StepEnded { .. } | Event::RunEnded { .. }
        )
    }
}

/// A run of these steps that begins, for tests.
#[cfg(test)]
pub(crate) fn begun(steps: &[&str]) -> Event {
    Event::RunStarted {
        verb: "install".into(),
        fingerprint: "f".into(),
        version: "0.1.0".into(),
        boot: String::new(),
        uptime_ms: None,
        pid: 7,
        budget_ms: 570_000,
        resumes: None,
        steps: steps.iter().map(|step| (*step).to_owned()).collect(),
    }
}
