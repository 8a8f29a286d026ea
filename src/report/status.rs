//! What the last run did, and where the time went: a fold over its journal entries.

mod screen;

use crate::error::Failure;
use crate::step::{Ending, Entry, Event};
use crate::words;
use serde::{Serialize, Serializer};

/// So many spans of waiting are kept of one step. The last of them grows instead of being followed by more.
const MOST_WAITS: usize = 200;

/// How things stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing was ever run here.
    Never,
    /// A run is at work now.
    Running,
    /// The last run ended well.
    Done,
    /// The last run failed.
    Failed,
    /// The last run did not come to its end: killed, or the power went.
    Interrupted,
}

impl State {
    /// The word, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Never => "never",
            State::Running => "running",
            State::Done => "done",
            State::Failed => "failed",
            State::Interrupted => "interrupted",
        }
    }
}

/// How one step stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepStatus {
    /// Its name.
    pub name: String,
    /// `pending`, `running`, or its ending.
    pub state: &'static str,
    /// When it began, milliseconds after the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub began_ms: Option<u64>,
    /// How long it took, or has taken up to the last entry, milliseconds.
    pub took_ms: u64,
    /// Its last words.
    pub detail: String,
    /// When it waited for what, in order. Here each thing is written once, in words; the timeline is a document of its
    /// own, which has all of them.
    #[serde(rename = "waited_for", skip_serializing_if = "Vec::is_empty", serialize_with = "each_once")]
    pub waits: Vec<Waited>,
    /// Its warnings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

fn each_once<S: Serializer>(waits: &[Waited], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(waited_for(waits))
}

/// What was waited for, each thing once, in words.
fn waited_for(waits: &[Waited]) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for wait in waits.iter().map(Waited::words) {
        if !words.contains(&wait) {
            words.push(wait);
        }
    }
    words
}

/// One span of waiting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waited {
    /// What for.
    pub what: String,
    /// Who held it up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// When it began, milliseconds after the run.
    pub from_ms: u64,
    /// When it ended, milliseconds after the run; nothing while it lasts.
    pub to_ms: Option<u64>,
}

/// The status document. `schema` counts up when a field changes its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The document's version.
    pub schema: u32,
    /// How things stand.
    pub state: State,
    /// The run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// What it was to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verb: Option<String>,
    /// When it began, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// How long the kernel had been running then, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime_ms: Option<u64>,
    /// The run it went on from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumes: Option<String>,
    /// How long it took, or has taken up to its last entry, milliseconds.
    pub took_ms: u64,
    /// What it had, milliseconds.
    pub budget_ms: u64,
    /// Its steps, in the plan's order.
    pub steps: Vec<StepStatus>,
    /// Its last words.
    pub detail: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// A status that grows with the journal, entry by entry, and keeps no entry.
#[derive(Debug, Clone)]
pub struct Fold(Status);

impl Default for Fold {
    fn default() -> Fold {
        Fold(Status {
            schema: 1,
            state: State::Never,
            run: None,
            verb: None,
            started: None,
            uptime_ms: None,
            resumes: None,
            took_ms: 0,
            budget_ms: 0,
            steps: Vec::new(),
            detail: String::new(),
            error: None,
        })
    }
}

impl Fold {
    /// Takes in the journal's next entry. A run that begins takes the place of the one before it.
    pub fn push(&mut self, entry: &Entry) {
        if matches!(entry.event, Event::RunStarted { .. }) {
            *self = Fold::default();
            self.0.run = Some(entry.run.clone());
            self.0.started = Some(entry.at.clone());
            self.0.state = State::Interrupted;
        }
        if self.0.run.as_ref() == Some(&entry.run) {
            self.0.took_ms = entry.ms;
            self.0.apply(entry);
        }
    }

    /// The status after all that was taken in. `at_work`: does a run hold the lock now?
    pub fn status(&self, at_work: bool) -> Status {
        let mut status = self.0.clone();
        if status.state == State::Interrupted && at_work {
            status.state = State::Running;
        }
        let now = status.took_ms;
        for step in &mut status.steps {
            if step.state == "running" {
                step.took_ms = now.saturating_sub(step.began_ms.unwrap_or(now));
                if status.state != State::Running {
                    step.state = "open";
                }
            }
        }
        status
    }
}

impl Status {
    /// The status of the last run in these entries. `at_work`: does a run hold the lock now?
    pub fn of(entries: &[Entry], at_work: bool) -> Status {
        let mut fold = Fold::default();
        entries.iter().for_each(|entry| fold.push(entry));
        fold.status(at_work)
    }

    fn apply(&mut self, entry: &Entry) {
        match &entry.event {
            Event::RunStarted { verb, budget_ms, resumes, steps, uptime_ms, .. } => {
                self.verb = Some(verb.clone());
                self.uptime_ms = *uptime_ms;
                self.budget_ms = *budget_ms;
                self.resumes.clone_from(resumes);
                self.steps = steps.iter().map(|name| StepStatus::pending(name)).collect();
            }
            Event::StepStarted { step } => {
                let step = self.step(step);
                step.state = "running";
                step.began_ms = Some(entry.ms);
            }
            Event::StepWaiting { step, what, holder } => {
                let words = words::held_up(what, holder.as_deref());
                let step = self.step(step);
                step.goes_on(entry.ms);
                step.waits_for(what, holder.as_deref(), entry.ms);
                step.detail = format!("waiting for {words}");
            }
            Event::StepNote { step, text, warning } => {
                self.goes_on(step, entry.ms);
                if *warning {
                    self.step(step).warnings.push(text.clone());
                }
            }
            Event::StepOutput { step, .. } => self.goes_on(step, entry.ms),
            // The node's health has a document of its own.
            Event::ProbeChanged { .. } | Event::HealthChanged { .. } | Event::HealthMended { .. } => {}
            Event::StepEnded { step, ending, detail, took_ms } => {
                let step = self.step(step);
                step.goes_on(entry.ms);
                step.state = ending.as_str();
                step.detail.clone_from(detail);
                step.took_ms = *took_ms;
                step.began_ms.get_or_insert(entry.ms);
                if *ending == Ending::Warned {
                    step.warnings.push(detail.clone());
                }
            }
            Event::RunEnded { exit, detail, failure } => {
                self.state = if *exit == 0 { State::Done } else { State::Failed };
                self.detail.clone_from(detail);
                self.error.clone_from(failure);
            }
        }
    }

    fn goes_on(&mut self, name: &str, ms: u64) {
        if let Some(step) = self.steps.iter_mut().find(|step| step.name == name) {
            step.goes_on(ms);
        }
    }

    fn step(&mut self, name: &str) -> &mut StepStatus {
        let at = match self.steps.iter().position(|step| step.name == name) {
            Some(at) => at,
            None => {
                self.steps.push(StepStatus::pending(name));
                self.steps.len() - 1
            }
        };
        &mut self.steps[at]
    }
}

impl StepStatus {
    fn pending(name: &str) -> StepStatus {
        StepStatus {
            name: name.to_owned(),
            state: "pending",
            began_ms: None,
            took_ms: 0,
            detail: String::new(),
            waits: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// It says something new: what it waited for until now, it has, or has given up.
    fn goes_on(&mut self, ms: u64) {
        if let Some(wait) = self.waits.last_mut() {
            wait.to_ms.get_or_insert(ms);
        }
    }

    fn waits_for(&mut self, what: &str, holder: Option<&str>, ms: u64) {
        if let Some(last) = self.waits.get_mut(MOST_WAITS - 1) {
            last.to_ms = None;
            return;
        }
        let (what, holder) = (what.to_owned(), holder.map(str::to_owned));
        self.waits.push(Waited { what, holder, from_ms: ms, to_ms: None });
    }
}

#[cfg(test)]
mod tests;
