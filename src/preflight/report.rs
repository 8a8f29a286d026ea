//! What the checks found, for people, for programs, and as the failure it may be.

use super::error::Error;
use crate::error::{Exit, Explain, Failure};
use crate::words;
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};
use std::time::Duration;

/// How one check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be; what was seen.
    Pass(String),
    /// Not as it should be, but the work can go on.
    Warn {
        /// What was seen.
        detail: String,
        /// What to do about it.
        remedy: String,
    },
    /// The work cannot go on.
    Fail {
        /// What was seen.
        detail: String,
        /// What to do about it.
        remedy: String,
        /// The stable reason code.
        reason: &'static str,
        /// The exit class.
        exit: Exit,
    },
    /// The check itself could not be made. That says nothing about what it asks and does not end the run.
    Broken {
        /// What stood in its way.
        detail: String,
    },
    /// Not asked; why.
    Skipped(String),
}

impl Verdict {
    /// A failure in a room's own words, its causes included.
    pub fn fail(error: &impl Explain) -> Verdict {
        let remedy = error.help();
        Verdict::Fail { detail: with_causes(error), remedy, reason: error.reason(), exit: error.exit() }
    }

    /// A failure of a check of this machine: exit 12.
    pub(super) fn refuse(reason: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Verdict {
        Verdict::Fail { detail: detail.into(), remedy: remedy.into(), reason, exit: Exit::Preflight }
    }

    /// The one word for it in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Pass(_) => "pass",
            Verdict::Warn { .. } => "warn",
            Verdict::Fail { .. } => "fail",
            Verdict::Broken { .. } => "broken",
            Verdict::Skipped(_) => "skipped",
        }
    }

    /// What was seen.
    pub fn detail(&self) -> &str {
        match self {
            Verdict::Pass(detail) | Verdict::Skipped(detail) => detail,
            Verdict::Warn { detail, .. } | Verdict::Fail { detail, .. } | Verdict::Broken { detail } => detail,
        }
    }

    /// What to do, where something is to be done.
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Verdict::Warn { remedy, .. } | Verdict::Fail { remedy, .. } => Some(remedy),
            Verdict::Pass(_) | Verdict::Broken { .. } | Verdict::Skipped(_) => None,
        }
    }

    /// What stands in front of it in lines for people.
    pub fn mark(&self) -> &'static str {
        match self {
            Verdict::Pass(_) => "ok",
            Verdict::Warn { .. } => "warn",
            Verdict::Fail { .. } => "FAIL",
            Verdict::Broken { .. } => "broke",
            Verdict::Skipped(_) => "skip",
        }
    }
}

/// An error's sentence and those of its causes, in one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// One check and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// The check's name.
    pub name: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
}

impl Serialize for CheckResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let reason = match &self.verdict {
            Verdict::Fail { reason, .. } => Some(*reason),
            _ => None,
        };
        let mut map = serializer.serialize_struct("check", 6)?;
        map.serialize_field("name", self.name)?;
        map.serialize_field("verdict", self.verdict.word())?;
        map.serialize_field("detail", self.verdict.detail())?;
        map.serialize_field("reason", &reason)?;
        map.serialize_field("help", &self.verdict.remedy())?;
        map.serialize_field("took_ms", &words::millis(self.took))?;
        map.end()
    }
}

/// What all checks found, in the order they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// One result a check.
    pub results: Vec<CheckResult>,
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_struct("report", 3)?;
        map.serialize_field("schema", &1)?;
        map.serialize_field("ok", &self.failure().is_none())?;
        map.serialize_field("checks", &self.results)?;
        map.end()
    }
}

impl Report {
    /// The results of one kind, by the word of [`Verdict::word`].
    pub fn of(&self, word: &str) -> impl Iterator<Item = &CheckResult> {
        self.results.iter().filter(move |result| result.verdict.word() == word)
    }

    /// The failure, if a check failed: its own words if it is the only one, else a count with each as a
    /// cause. Exit 13 if nothing but the manager failed, else 12.
    pub fn failure(&self) -> Option<Failure> {
        let mut failed = Vec::new();
        for result in &self.results {
            if let Verdict::Fail { detail, remedy, reason, exit } = &result.verdict {
                failed.push((result.name, detail, remedy, *reason, *exit));
            }
        }
        let only_manager = failed.iter().all(|(.., exit)| *exit == Exit::Manager);
        let exit = if only_manager { Exit::Manager } else { Exit::Preflight };
        match failed.as_slice() {
            [] => None,
            // In the check's own words, which are no room's error any more.
            [(_, detail, remedy, reason, _)] => Some(Failure::new(exit, reason, detail.as_str(), remedy.as_str())),
            several => {
                let made = self.results.len() - self.of("skipped").count();
                let remedies: Vec<String> =
                    several.iter().map(|(name, _, remedy, ..)| format!("{name}: {remedy}")).collect();
                let causes = several.iter().map(|(name, detail, ..)| format!("{name}: {detail}")).collect();
                let error = Error::Failed { failed: several.len(), made, remedies: remedies.join("; "), exit };
                Some(Failure { causes, ..error.into() })
            }
        }
    }

    /// For people: a line a check, its remedy below it, and the sum. Without a line feed at the end.
    pub fn text(&self) -> String {
        let width = self.results.iter().map(|result| result.name.len()).max().unwrap_or_default();
        let mut text = String::new();
        for result in &self.results {
            let (mark, detail) = (result.verdict.mark(), result.verdict.detail());
            text.push_str(&format!("{mark:<5} {:<width$}  {detail}\n", result.name));
            if let Some(remedy) = result.verdict.remedy() {
                text.push_str(&format!("{:5} {:width$}  help: {remedy}\n", "", ""));
            }
        }
        text + &self.sum()
    }

    /// How many checks ended how, in one line.
    pub fn sum(&self) -> String {
        let made = self.results.len() - self.of("skipped").count();
        let mut sum = format!("{made} checks: {} ok", self.of("pass").count());
        for (word, name) in [("warn", "warned"), ("fail", "failed"), ("broken", "broken"), ("skipped", "skipped")] {
            let count = self.of(word).count();
            if count > 0 {
                sum.push_str(&format!(", {count} {name}"));
            }
        }
        sum
    }
}
