//! What the watch knows of the node's health and has to know again after a restart: how everything stood, what has
//! changed lately, and what was done about it. A small record, written seldom.

use super::hysteresis::Memory;
use super::model::Health;
use crate::durable;
use crate::intent::Role;
use crate::paths::Paths;
use crate::record::{self, Record};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

/// So many changes are kept.
const CHANGES: usize = 64;
/// So many attempts at mending something are kept.
const ATTEMPTS: usize = 256;
/// No words are kept beyond so many characters.
const WORDS: usize = 300;

/// Something has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When, RFC 3339.
    pub at: String,
    /// The probe; nothing for the node as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// What it was: a level of a probe, a verdict of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it is; `mended` or `not mended` where something was done about it.
    pub now: String,
    /// Why.
    pub words: String,
}

/// A moment that can be compared with others of the same boot, also over a restart of this program. The wall clock
/// may jump, so it is no measure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The kernel's boot id.
    pub boot: String,
    /// Seconds since that boot.
    pub uptime_s: u64,
}

/// An attempt at mending something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Attempt {
    /// `restart kasm_agent`.
    what: String,
    /// When.
    #[serde(flatten)]
    at: Moment,
}

/// The record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    schema: u32,
    /// The instance this is about, as the receipt of what is installed names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    /// The node's health, as last known.
    pub health: Health,
    /// What has to be remembered of each probe's findings.
    #[serde(default)]
    pub memory: BTreeMap<String, Memory>,
    /// What has changed, oldest first.
    #[serde(default)]
    changes: VecDeque<Change>,
    #[serde(default)]
    attempts: VecDeque<Attempt>,
    /// The kernel's id of the boot on which the node has come up last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    up_on: Option<String>,
}

impl Record for State {
    const SCHEMA: u32 = 1;
    const LIMIT: u64 = 256 * 1024;
}

impl State {
    /// Nothing is known yet.
    pub fn new(instance: Option<String>, role: Option<Role>, now: &str) -> State {
        State {
            schema: State::SCHEMA,
            instance,
            health: Health::starting(role, now),
            memory: BTreeMap::new(),
            changes: VecDeque::new(),
            attempts: VecDeque::new(),
            up_on: None,
        }
    }

    /// What was known before, and what is to be said about it: a record that cannot be read, or is about another
    /// machine, is no reason not to watch this one.
    pub fn read(paths: &Paths, instance: Option<String>, role: Option<Role>, now: &str) -> (State, Option<String>) {
        let path = paths.health_state();
        let anew = |why: String| format!("{} {why}: what is known of the node's health begins anew", path.display());
        let (found, words) = match record::read::<State>(&path) {
            Ok(None) => (None, None),
            Ok(Some(found)) if found.instance != instance => (None, Some(anew("is about another machine".into()))),
            Ok(Some(found)) => (Some(found), None),
            Err(error) => (None, Some(anew(format!("cannot be used ({error})")))),
        };
        let mut state = found.unwrap_or_else(|| State::new(instance, role, now));
        state.health.role = role.or(state.health.role);
        state.bound();
        (state, words)
    }

    /// The node's health as the watch has known it last, for those who only look.
    pub fn last(paths: &Paths) -> Option<Health> {
        record::read::<State>(&paths.health_state()).ok().flatten().map(|state| state.health)
    }

    /// Writes it, durably.
    ///
    /// # Errors
    /// Whatever keeps the file from being written; the one before is still there then.
    pub fn write(&self, paths: &Paths) -> io::Result<()> {
        durable::private_directory(&paths.state_dir())?;
        record::write(&paths.health_state(), self)
    }

    /// The node has come up on this boot of the kernel.
    pub fn came_up(&mut self, boot: &str) {
        self.up_on = Some(boot.to_owned()).filter(|boot| !boot.is_empty());
    }

    /// True if it has come up on this boot before: whatever is wrong with it since then is no start any more.
    pub fn was_up(&self, boot: &str) -> bool {
        self.up_on.as_deref() == Some(boot)
    }

    /// What has changed lately, oldest first; at most 64 changes.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter()
    }

    /// Something has changed.
    pub fn changed(&mut self, change: Change) {
        let words = change.words.chars().take(WORDS).collect();
        self.changes.push_back(Change { words, ..change });
        self.bound();
    }

    /// How often this was tried in the last `span` of this boot.
    pub fn attempts(&self, what: &str, now: &Moment, span: Duration) -> usize {
        let recent = |one: &&Attempt| {
            one.what == what
                && one.at.boot == now.boot
                && now.uptime_s.saturating_sub(one.at.uptime_s) < span.as_secs().max(1)
        };
        self.attempts.iter().filter(recent).count()
    }

    /// This is tried now.
    pub fn attempt(&mut self, what: &str, now: &Moment) {
        // What another boot tried counts for nothing any more.
        self.attempts.retain(|one| one.at.boot == now.boot);
        self.attempts.push_back(Attempt { what: what.to_owned(), at: now.clone() });
        self.bound();
    }

    fn bound(&mut self) {
        self.changes.drain(..self.changes.len().saturating_sub(CHANGES));
        self.attempts.drain(..self.attempts.len().saturating_sub(ATTEMPTS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const HOUR: Duration = Duration::from_secs(3600);

    fn scratch() -> (tempfile::TempDir, Paths) {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        (directory, paths)
    }

    fn change(number: usize) -> Change {
        let (at, words) = (number.to_string(), "x".repeat(1000));
        Change { at, probe: Some("docker".into()), before: None, now: "fail".into(), words }
    }

    #[test]
    fn what_was_written_is_known_again_and_is_for_roots_eyes_alone() {
        let (_directory, paths) = scratch();
        let instance = Some("cloud-init:i-1".to_owned());
        assert!(State::read(&paths, instance.clone(), None, "now").1.is_none());
        let mut state = State::new(instance.clone(), Some(Role::Guac), "then");
        state.memory.insert("docker".into(), Memory::default());
        state.changed(change(1));
        state.write(&paths).unwrap();
        assert_eq!(fs::metadata(paths.health_state()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(State::read(&paths, instance, None, "now"), (state, None));
    }

    #[test]
    fn a_record_that_is_damaged_or_anothers_is_no_reason_not_to_begin() {
        let (_directory, paths) = scratch();
        let read = |instance: &str| State::read(&paths, Some(instance.to_owned()), None, "now");
        State::new(Some("i-1".into()), None, "then").write(&paths).unwrap();
        let (state, words) = read("i-2");
        assert_eq!((state.health.since.as_str(), words.unwrap().contains("another machine")), ("now", true));
        let whole = fs::read(paths.health_state()).unwrap();
        for bytes in [&whole[..whole.len() / 2], b"", b"[]", br#"{"schema": 99}"#, &vec![b' '; 300_000]] {
            fs::write(paths.health_state(), bytes).unwrap();
            let (state, words) = read("i-1");
            assert_eq!(state.health.since, "now");
            assert!(words.unwrap().contains("begins anew"));
        }
    }

    #[test]
    fn the_history_is_bounded_and_fits_the_record() {
        let (_directory, paths) = scratch();
        let mut state = State::new(None, None, "then");
        (0..200).for_each(|number| state.changed(change(number)));
        let at: Vec<&str> = state.changes().map(|change| change.at.as_str()).collect();
        assert_eq!((at.len(), at[0], at[63]), (64, "136", "199"));
        let now = Moment { boot: "b".into(), uptime_s: 9 };
        (0..1000).for_each(|_| state.attempt("restart kasm_agent", &now));
        state.write(&paths).unwrap();
        assert_eq!(State::read(&paths, None, None, "now"), (state, None));
    }

    #[test]
    fn a_node_was_up_on_the_boot_on_which_it_came_up_and_on_no_other() {
        let mut state = State::new(None, None, "then");
        assert!(!state.was_up("one") && !state.was_up(""));
        state.came_up("one");
        assert!(state.was_up("one") && !state.was_up("two"));
        state.came_up("");
        assert!(!state.was_up("one") && !state.was_up(""), "a kernel that does not tell");
    }

    #[test]
    fn attempts_count_for_their_time_and_their_boot() {
        let at = |boot: &str, uptime_s| Moment { boot: boot.into(), uptime_s };
        let mut state = State::new(None, None, "then");
        state.attempt("restart a", &at("one", 100));
        state.attempt("restart a", &at("one", 200));
        state.attempt("restart b", &at("one", 200));
        assert_eq!(state.attempts("restart a", &at("one", 300), HOUR), 2);
        assert_eq!(state.attempts("restart a", &at("one", 3_700), HOUR), 1);
        assert_eq!(state.attempts("restart a", &at("one", 9_999), HOUR), 0);
        assert_eq!(state.attempts("restart a", &at("two", 300), HOUR), 0);
        state.attempt("restart a", &at("two", 10));
        assert_eq!(state.attempts("restart a", &at("one", 300), HOUR), 0);
    }
}
