//! The repair that is open: on record before anything is changed, until its end is certain. Whoever finds it
//! finishes it or puts everything back.

use super::case;
use super::error::Error;
use crate::durable;
use crate::error::Failure;
use crate::kasm::docker;
use crate::kasm::held::{self, Held};
use crate::kasm::layout::Installed;
use crate::kasm::snapshot::Snapshot;
use crate::observe::Observer;
use crate::paths::Paths;
use crate::record::{self, Record};
use crate::token::{Context, Kind};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a component may take to end before it is killed: what Docker gives it, too.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// How far a repair has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    /// Files may have been changed.
    Prepared,
    /// The component was or is being restarted.
    Restarted,
    /// It is proved: only what is left of a registration token is still to go.
    Proved,
}

/// `repair.json`. Holds no secret; 0600 all the same, like all state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Open {
    pub(super) schema: u32,
    /// The container.
    pub(super) container: String,
    /// Its configuration, as the machine names it.
    pub(super) config: PathBuf,
    /// The component's own section of it; `None` for an agent.
    pub(super) section: Option<String>,
    pub(super) phase: Phase,
    /// When it began, RFC 3339.
    pub(super) at: String,
}

impl Record for Open {
    const SCHEMA: u32 = 1;
}

/// How an open repair ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Settled {
    /// The token is good, and nothing of a registration token is left.
    Finished { container: String, removed: Vec<String> },
    /// Everything is as it was.
    PutBack { container: String },
}

impl Settled {
    /// In words.
    pub(super) fn words(&self) -> String {
        match self {
            Settled::Finished { container, removed } if removed.is_empty() => format!("{container} is repaired"),
            Settled::Finished { container, removed } => {
                format!("{container} is repaired; removed {}, which is not needed any more", removed.join(" and "))
            }
            Settled::PutBack { container } => format!("{container} is as it was before its repair"),
        }
    }
}

pub(super) fn write(paths: &Paths, open: &Open) -> Result<(), Error> {
    record::write(&paths.repair(), open).map_err(Error::file(paths.repair()))
}

/// Ends the repair that is open, if one is: finishes it where the component has its good token, and else puts
/// everything back and starts the component with it. Whoever calls this holds the run's lock.
///
/// # Errors
/// `repair.put-back-failed`: it is still open, and the next run tries again.
pub(super) async fn settle(paths: &Paths, observer: &dyn Observer) -> Result<Option<Settled>, Failure> {
    let Some(open) = record::read::<Open>(&paths.repair()).map_err(Error::file(paths.repair()))? else {
        // A backup without a record: nothing had been changed yet, or everything was done.
        match fs::remove_dir_all(paths.repair_backup()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                observer.warn(&format!("{} cannot be removed: {error}", paths.repair_backup().display()));
            }
            _ => {}
        }
        return Ok(None);
    };
    sweep(&paths.at(&open.config));
    let settled = match is_good(paths, &open) {
        true => finish(paths, &open),
        false => put_back(paths, &open, observer).await,
    };
    let settled = settled.map_err(|cause| failed(&open, cause))?;
    close(paths).map_err(|cause| failed(&open, cause.into()))?;
    Ok(Some(settled))
}

/// Removes files that a killed run was about to rename to their places: they hold tokens.
fn sweep(config: &Path) {
    let (Some(directory), Some(name)) = (config.parent(), config.file_name()) else { return };
    for name in [&name.to_string_lossy(), held::REGISTRATION_FILE] {
        durable::sweep(directory, Some(name));
    }
}

fn is_good(paths: &Paths, open: &Open) -> bool {
    if open.phase == Phase::Proved {
        return true;
    }
    // What an agent's token is worth, no file tells.
    let (Some(_), Some(installed)) = (&open.section, Installed::read(paths)) else { return false };
    let context = Context { needed: Duration::ZERO, ..Context::now(None) };
    let config = paths.at(&open.config);
    super::here(paths, &installed, &context)
        .is_ok_and(|list| auth_of(&list, &config).is_some_and(|one| one.verdict.is_good()))
}

/// The auth token that a configuration file holds.
pub(super) fn auth_of<'a>(list: &'a [Held], config: &Path) -> Option<&'a Held> {
    list.iter().find(|one| one.file == config && one.kind == Kind::Auth)
}

fn finish(paths: &Paths, open: &Open) -> Result<Settled, Failure> {
    let removed = match &open.section {
        Some(section) => case::clean(&paths.at(&open.config), section)?,
        None => Vec::new(),
    };
    Ok(Settled::Finished { container: open.container.clone(), removed })
}

async fn put_back(paths: &Paths, open: &Open, observer: &dyn Observer) -> Result<Settled, Failure> {
    let snapshot = Snapshot::open(paths, &paths.repair_backup())?;
    for change in snapshot.restore()? {
        observer.note(&format!("put back: {change}"));
    }
    if open.phase == Phase::Restarted {
        match docker::restart(&paths.docker_socket(), &open.container, GRACE).await {
            Ok(()) => observer.note(&format!("restarted {} as it was", open.container)),
            // A container that is gone needs no restart.
            Err(docker::Error::Unknown(_)) => {}
            Err(why) => return Err(Error::NotRestarted { container: open.container.clone(), why }.into()),
        }
    }
    Ok(Settled::PutBack { container: open.container.clone() })
}

/// Forgets the repair. The record goes first: without it the backup means nothing.
pub(super) fn close(paths: &Paths) -> Result<(), Error> {
    let path = paths.repair();
    durable::remove(&path).map_err(Error::file(&path))?;
    match fs::remove_dir_all(paths.repair_backup()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file(paths.repair_backup())(error)),
        _ => Ok(()),
    }
}

fn failed(open: &Open, cause: Failure) -> Failure {
    let error = Error::NotPutBack { container: open.container.clone(), remedy: cause.help.clone() };
    Failure::from(error).caused_by(cause)
}
