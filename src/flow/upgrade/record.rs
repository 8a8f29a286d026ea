//! What must survive a power cut: the upgrade that is open, the one that was proved last, and the releases that
//! were tried here and put back.

use crate::durable;
use crate::error::Failure;
use crate::intent::Role;
use crate::kasm::layout::Installed;
use crate::kasm::snapshot::Snapshot;
use crate::paths::Paths;
use crate::record::{self, Record};
use crate::step::Error;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// How far an open upgrade is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The snapshot is taken; nothing was changed.
    Prepared,
    /// upgrade.sh is at work, or was cut off.
    Running,
    /// upgrade.sh has ended well; the new version is not proved yet.
    Installed,
    /// The version before is being put back.
    RollingBack,
}

/// `upgrade.json`: an upgrade, or a rollback by hand, that has begun and has not come to one of its good ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// The form of this file.
    pub schema: u32,
    /// How far it is.
    pub phase: Phase,
    /// The node's role.
    pub role: Role,
    /// The version before: its directory's name below `/opt/kasm`.
    pub from: String,
    /// The version that was asked for; for a rollback by hand the one that is left.
    pub to: String,
    /// The SHA-256 of the release that was asked for; empty for a rollback by hand.
    pub digest: String,
    /// The attempt whose directory has the logs.
    pub attempt: u32,
    /// The name of the snapshot's directory; `None` where there is none (`rollback --to`).
    pub snapshot: Option<String>,
    /// A directory of the new version was there before, and stays.
    pub to_was_there: bool,
    /// Why it is rolled back, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Failure>,
    /// The manager's address.
    pub manager: String,
    /// When it began, RFC 3339.
    pub at: String,
}

impl Record for Open {
    const SCHEMA: u32 = 1;
}

#[cfg(test)]
impl Open {
    /// The upgrade of an agent, in this phase.
    pub(super) fn example(phase: Phase) -> Open {
        Open {
            schema: Open::SCHEMA,
            phase,
            role: Role::Agent,
            from: "1.17.0".into(),
            to: "1.18.1".into(),
            digest: "ab".into(),
            attempt: 1,
            snapshot: None,
            to_was_there: false,
            cause: None,
            manager: "m".into(),
            at: "2026-01-02T03:04:05Z".into(),
        }
    }
}

impl Open {
    /// The open upgrade, if there is one.
    ///
    /// # Errors
    /// The record cannot be read: then nobody knows what this node is, and nothing may be done.
    pub fn read(paths: &Paths) -> Result<Option<Open>, Error> {
        read(&paths.open_upgrade())
    }

    /// Writes it, durably.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, paths: &Paths) -> Result<(), Error> {
        write(&paths.open_upgrade(), self)
    }

    /// Ends it: the node is in one of its good states, or nothing was changed.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(paths: &Paths) -> Result<(), Error> {
        remove(&paths.open_upgrade())
    }

    /// True for a rollback that somebody asked for, with nothing that failed before it.
    pub fn is_by_hand(&self) -> bool {
        self.digest.is_empty()
    }

    /// The version before, in its own directory.
    pub fn old(&self, paths: &Paths) -> Installed {
        Installed { version: Some(self.from.clone()), dir: paths.kasm_dir().join(&self.from) }
    }

    /// The version that was asked for, in its own directory.
    pub fn newer(&self, paths: &Paths) -> Installed {
        Installed { version: Some(self.to.clone()), dir: paths.kasm_dir().join(&self.to) }
    }

    /// The snapshot's directory.
    pub fn snapshot_dir(&self, paths: &Paths) -> Option<PathBuf> {
        self.snapshot.as_ref().map(|name| paths.snapshots_dir().join(name))
    }
}

/// `previous.json`: the upgrade that was proved last, and from what it came. By it one goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// The form of this file.
    pub schema: u32,
    /// The version before.
    pub from: String,
    /// The version now.
    pub to: String,
    /// The node's role.
    pub role: Role,
    /// The name of the snapshot's directory.
    pub snapshot: String,
    /// When it was proved, RFC 3339.
    pub at: String,
}

impl Record for Previous {
    const SCHEMA: u32 = 1;
}

impl Previous {
    /// The last proved upgrade, if there was one.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn read(paths: &Paths) -> Result<Option<Previous>, Error> {
        read(&paths.previous_upgrade())
    }

    /// Writes it, durably.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, paths: &Paths) -> Result<(), Error> {
        write(&paths.previous_upgrade(), self)
    }

    /// Removes it: one cannot go back twice.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(paths: &Paths) -> Result<(), Error> {
        remove(&paths.previous_upgrade())
    }
}

/// `bad-releases.json`: releases that were tried on this node and put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct BadReleases {
    schema: u32,
    releases: Vec<Bad>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bad {
    /// Its SHA-256.
    pub digest: String,
    /// Its version.
    pub version: String,
    /// When it was put back, RFC 3339.
    pub at: String,
    /// Why, in words.
    pub why: String,
}

impl Record for BadReleases {
    const SCHEMA: u32 = 1;
}

/// More are not remembered; the oldest goes first.
const MOST_BAD: usize = 50;

impl BadReleases {
    /// What is remembered of the release with this digest.
    ///
    /// # Errors
    /// The list cannot be read.
    pub fn find(paths: &Paths, digest: &str) -> Result<Option<Bad>, Error> {
        let list: BadReleases = read(&paths.bad_releases())?.unwrap_or_default();
        Ok(list.releases.into_iter().rfind(|bad| bad.digest.eq_ignore_ascii_case(digest)))
    }

    /// Remembers a release.
    ///
    /// # Errors
    /// The list cannot be read or written.
    pub fn add(paths: &Paths, bad: Bad) -> Result<(), Error> {
        let mut list: BadReleases = read(&paths.bad_releases())?.unwrap_or_default();
        list.schema = BadReleases::SCHEMA;
        list.releases.retain(|other| other.digest != bad.digest);
        list.releases.push(bad);
        let most = list.releases.len().saturating_sub(MOST_BAD);
        list.releases.drain(..most);
        write(&paths.bad_releases(), &list)
    }

    /// Forgets a release that came up after all.
    ///
    /// # Errors
    /// The list cannot be read or written.
    pub fn forget(paths: &Paths, digest: &str) -> Result<(), Error> {
        let Some(mut list) = read::<BadReleases>(&paths.bad_releases())? else { return Ok(()) };
        let before = list.releases.len();
        list.releases.retain(|bad| !bad.digest.eq_ignore_ascii_case(digest));
        if list.releases.len() == before { Ok(()) } else { write(&paths.bad_releases(), &list) }
    }
}

/// Removes a snapshot; what is left of it takes room and does no other harm.
pub fn drop_snapshot(paths: &Paths, name: &str) {
    let dir = paths.snapshots_dir().join(name);
    if let Ok(snapshot) = Snapshot::open(paths, &dir) {
        // See above: the next run sweeps it.
        let _ = snapshot.remove();
    }
}

/// Removes snapshots of upgrades that no record knows any more.
///
/// # Errors
/// A record cannot be read: then none is removed.
pub fn sweep(paths: &Paths) -> Result<(), Error> {
    let open = Open::read(paths)?.and_then(|open| open.snapshot);
    let previous = Previous::read(paths)?.map(|previous| previous.snapshot);
    let Ok(entries) = std::fs::read_dir(paths.snapshots_dir()) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let known = |kept: &Option<String>| kept.as_deref().is_some_and(|kept| name == kept);
        if name.to_string_lossy().starts_with(SNAPSHOT_PREFIX) && !known(&open) && !known(&previous) {
            // It takes room and does no other harm.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

/// What the name of an upgrade's snapshot begins with: others keep theirs beside.
pub const SNAPSHOT_PREFIX: &str = "upgrade-";

fn read<R: Record>(path: &Path) -> Result<Option<R>, Error> {
    record::read(path).map_err(|source| state(path, source))
}

fn write<R: Record>(path: &Path, record: &R) -> Result<(), Error> {
    record::write(path, record).map_err(|source| state(path, source))
}

fn remove(path: &Path) -> Result<(), Error> {
    durable::remove(path).map(drop).map_err(|source| state(path, source))
}

fn state(path: &Path, source: io::Error) -> Error {
    Error::State { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(digest: &str) -> Bad {
        Bad { digest: digest.into(), version: "1.18.1".into(), at: "2026-01-02T03:04:05Z".into(), why: "x".into() }
    }

    #[test]
    fn bad_releases_are_remembered_until_they_come_up_and_not_without_bound() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        assert_eq!(BadReleases::find(&paths, "ab").unwrap(), None);
        BadReleases::add(&paths, bad("ab")).unwrap();
        assert_eq!(BadReleases::find(&paths, "AB").unwrap(), Some(bad("ab")));
        for number in 0..MOST_BAD {
            BadReleases::add(&paths, bad(&number.to_string())).unwrap();
        }
        assert_eq!(BadReleases::find(&paths, "ab").unwrap(), None);
        BadReleases::forget(&paths, "7").unwrap();
        assert_eq!(BadReleases::find(&paths, "7").unwrap(), None);
        assert!(BadReleases::find(&paths, "8").unwrap().is_some());
    }

    #[test]
    fn a_record_that_makes_no_sense_is_an_error_and_not_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        std::fs::create_dir_all(paths.state_dir()).unwrap();
        for text in ["", "{", r#"{"schema":2}"#, r#"{"schema":1,"phase":"nowhere"}"#] {
            std::fs::write(paths.open_upgrade(), text).unwrap();
            assert!(Open::read(&paths).is_err(), "{text}");
        }
    }
}
