//! What becomes of a probe over time: one blip is no alarm, and one good answer no recovery from a long trouble. Pure.
//!
//! - It gets worse when [`Probe::confirm`](super::Probe::confirm) findings in a row are at least that bad.
//! - It gets better when [`recover`] findings in a row are at least that good: fewer, because an alarm that stays when
//!   the trouble is gone is not believed for long; but two where three confirm, so that what comes and goes does not
//!   change with every look.
//! - A finding that knows nothing is passed over: it counts neither way and interrupts no row. Only [`SILENCE`] of them
//!   in a row mean that what was known is too old to go by. What is found after that is held against what was found
//!   before it: a trouble that is still there is believed at once.
//! - What was never known is believed at once where it is good, and confirmed like everything else where it is not.

use super::model::{Finding, Level, ProbeStatus};
use crate::words;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// So many findings in a row that know nothing mean that nothing is known.
pub const SILENCE: u32 = 5;
/// Rows are counted to here: more says nothing more.
const MOST: i32 = 1_000;

/// How many findings in a row it takes to believe that things are better.
pub fn recover(confirm: u32) -> u32 {
    confirm.saturating_sub(1).clamp(1, 2)
}

/// What has to be remembered of a probe's findings beside how it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// So many findings in a row were at least a warning; below zero: so many were none.
    warn: i32,
    /// So many findings in a row were a failure; below zero: so many were none.
    fail: i32,
    /// So many findings in a row knew nothing.
    unknown: u32,
}

impl Memory {
    fn add(&mut self, level: Level) {
        if level == Level::Unknown {
            self.unknown = self.unknown.saturating_add(1);
            return;
        }
        self.unknown = 0;
        for (row, bound) in [(&mut self.warn, Level::Warn), (&mut self.fail, Level::Fail)] {
            let bad = level >= bound;
            // What comes from a file may be any number.
            let before = if bad { (*row).max(0) } else { (*row).min(0) };
            *row = before.saturating_add(if bad { 1 } else { -1 }).clamp(-MOST, MOST);
        }
    }

    /// What the last finding that knew something meant; nothing where there was none.
    fn last(self) -> Option<Level> {
        match (self.fail.signum(), self.warn.signum()) {
            (1, _) => Some(Level::Fail),
            (_, 1) => Some(Level::Warn),
            (_, -1) => Some(Level::Ok),
            _ => None,
        }
    }

    /// True if what was found last is not yet what the probe means: it is worth asking again soon.
    pub fn is_in_doubt(self, level: Level) -> bool {
        self.unknown == 0 && self.last().is_some_and(|last| last != level)
    }

    /// What the rows mean together, where it was `before`.
    fn level(self, before: Option<Level>, confirm: u32) -> Level {
        if self.unknown > 0 {
            let old = self.unknown >= SILENCE;
            return before.filter(|_| !old).unwrap_or(Level::Unknown);
        }
        let before = before.filter(|before| *before != Level::Unknown);
        let bad = |row: i32, bound: Level| {
            // Nothing is known that would have to be disproved.
            let recover = if before.is_some() { recover(confirm) } else { 1 };
            match row.signum() {
                1 if row.unsigned_abs() >= confirm => Some(true),
                -1 if row.unsigned_abs() >= recover => Some(false),
                _ => before.map(|before| before >= bound),
            }
        };
        match (bad(self.fail, Level::Fail), bad(self.warn, Level::Warn)) {
            (Some(true), _) => Level::Fail,
            (_, Some(true)) => Level::Warn,
            (_, Some(false)) => Level::Ok,
            (_, None) => Level::Unknown,
        }
    }
}

/// What was found, and when.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was found.
    pub finding: Finding,
    /// When, RFC 3339.
    pub now: String,
    /// How long it took.
    pub took: Duration,
}

/// How the probe `name` stands after this answer. `before`: how it stood; nothing where it was never asked. `since`
/// changes with the level only. Its words and its remedy are the finding's where they belong to the level, and stay
/// where the finding is in doubt.
pub fn after(
    name: &str,
    confirm: u32,
    before: Option<&ProbeStatus>,
    memory: &mut Memory,
    answer: Answer,
) -> ProbeStatus {
    let Answer { finding, now, took } = answer;
    memory.add(finding.level);
    let level = memory.level(before.map(|before| before.level), confirm);
    let took_ms = words::millis(took);
    let status = |since: String, words, remedy, measures| ProbeStatus {
        name: name.to_owned(),
        level,
        words,
        since,
        remedy,
        checked: now.clone(),
        took_ms,
        measures,
    };
    let Some(before) = before.filter(|before| before.level == level) else {
        return status(now.clone(), finding.words, finding.remedy, finding.measures);
    };
    let since = before.since.clone();
    if finding.level == level || level == Level::Unknown {
        return status(since, finding.words, finding.remedy, finding.measures);
    }
    // A probe that could not find out has no numbers, and a later one compares its own with the last there were.
    let measures = if finding.level == Level::Unknown { before.measures.clone() } else { finding.measures };
    status(since, before.words.clone(), before.remedy.clone(), measures)
}

#[cfg(test)]
mod tests;
