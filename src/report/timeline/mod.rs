//! Where the time of the last run went: as data, as text, as a picture.

mod svg;
mod text;

pub use svg::STYLE;

use super::markup::Markup;
use super::status::{State, Status, Waited};
use crate::error::Failure;
use serde::Serialize;

/// A machine that was up for longer before the run was not booted for it: that time is told and not drawn.
const BOOTED_FOR_IT: u64 = 15 * 60 * 1000;

/// The timeline document. `schema` counts up when a field changes its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timeline {
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
    /// How long it took, or has taken up to its last entry, milliseconds.
    pub took_ms: u64,
    /// What it had, milliseconds.
    pub budget_ms: u64,
    /// Its steps, in the plan's order.
    pub steps: Vec<Bar>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// One step in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bar {
    /// Its name.
    pub name: String,
    /// As in the status: `pending`, `running`, `open`, or its ending.
    pub state: &'static str,
    /// When it began, milliseconds after the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub began_ms: Option<u64>,
    /// How long it took, milliseconds.
    pub took_ms: u64,
    /// Its last words.
    pub detail: String,
    /// When it waited for what, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<Waited>,
}

impl Timeline {
    /// The timeline of the run that this is the status of.
    pub fn of(status: &Status) -> Timeline {
        let bar = |step: &super::status::StepStatus| {
            let drawn = step.began_ms.filter(|_| step.state != "skipped");
            let end = drawn.map_or(0, |began| began.saturating_add(step.took_ms));
            let mut waits = step.waits.clone();
            for wait in &mut waits {
                // What still lasts has lasted until the last entry.
                wait.to_ms = Some(wait.to_ms.unwrap_or(end).clamp(wait.from_ms, end.max(wait.from_ms)));
            }
            let (name, detail) = (step.name.clone(), step.detail.clone());
            Bar { name, state: step.state, began_ms: drawn, took_ms: step.took_ms, detail, waits }
        };
        Timeline {
            schema: 1,
            state: status.state,
            run: status.run.clone(),
            verb: status.verb.clone(),
            started: status.started.clone(),
            uptime_ms: status.uptime_ms,
            took_ms: status.took_ms,
            budget_ms: status.budget_ms,
            steps: status.steps.iter().map(bar).collect(),
            error: status.error.clone(),
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        text::text(self)
    }

    /// A picture that stands alone: a whole SVG document.
    pub fn svg(&self) -> String {
        svg::document(self).into_string()
    }

    /// The same picture for a page that brings [`STYLE`].
    pub fn drawing(&self) -> Markup {
        svg::drawing(self)
    }

    /// What was before the run and belongs into the picture: from the kernel's start on, milliseconds.
    fn before_ms(&self) -> u64 {
        self.uptime_ms.filter(|ms| *ms <= BOOTED_FOR_IT).unwrap_or(0)
    }

    /// How it went, in a line: `install done in 1 min 12 s`.
    pub fn headline(&self) -> String {
        let Some(verb) = &self.verb else { return "nothing was run here yet".into() };
        let took = super::words_of(self.took_ms);
        match self.state {
            State::Never => "nothing was run here yet".into(),
            State::Running => format!("{verb} is at work, {took} so far"),
            State::Done => format!("{verb} done in {took}"),
            State::Failed => format!("{verb} FAILED after {took}"),
            State::Interrupted => format!("{verb} was cut off after {took}"),
        }
    }
}

impl Waited {
    /// How long, milliseconds; zero while it lasts.
    pub fn took_ms(&self) -> u64 {
        self.to_ms.unwrap_or(self.from_ms).saturating_sub(self.from_ms)
    }

    /// What for, and who held it up.
    pub fn words(&self) -> String {
        crate::words::held_up(&self.what, self.holder.as_deref())
    }
}
