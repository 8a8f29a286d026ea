//! Where a rollback by hand goes, and what it does before the way back itself.

use super::super::install::installer;
use super::super::upgrade::record::{Open, Phase, Previous};
use super::super::upgrade::{self, Change, before};
use super::error::Error;
use crate::config::installed;
use crate::error::Failure;
use crate::intent::Role;
use crate::kasm::layout::Installed;
use crate::kasm::snapshot::Snapshot;
use crate::paths::Paths;
use crate::record::Record;
use crate::step::{Context, Finish, Step};
use crate::words;
use std::path::PathBuf;

/// The version to go back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its directory's name below `/opt/kasm`.
    pub to: String,
    /// The version that is left.
    pub leaves: String,
    /// The node's role.
    pub role: Role,
    /// The snapshot that was taken when it was left; `None`: its own directory is all there is.
    pub snapshot: Option<String>,
}

impl Target {
    /// The version before the last proved upgrade, or the one that is asked for.
    ///
    /// # Errors
    /// Nothing is installed, or there is nothing to go back to.
    pub fn find(paths: &Paths, to: Option<&str>) -> Result<Target, Failure> {
        let now = Installed::read(paths).ok_or(upgrade::Error::NothingInstalled)?;
        let leaves = now.version.clone().unwrap_or_default();
        let previous = Previous::read(paths)?.filter(|previous| previous.to == leaves);
        let known = previous.filter(|previous| to.is_none_or(|to| is_version(&previous.from, to)));
        let target = match (known, to) {
            (Some(previous), _) => {
                Target { to: previous.from, leaves, role: previous.role, snapshot: Some(previous.snapshot) }
            }
            (None, Some(to)) => {
                let to = directory(paths, to).ok_or_else(|| is_gone(paths, to))?;
                let role = installed::role(paths, &now).ok_or(Error::UnknownRole)?;
                Target { to, leaves, role, snapshot: None }
            }
            (None, None) => return Err(Error::NothingBefore { leaves, there: there(paths) }.into()),
        };
        if target.to == target.leaves {
            return Err(Error::SameVersion { to: target.to, there: there(paths) }.into());
        }
        match target.installed(paths).dir.join("bin").is_dir() {
            true => Ok(target),
            false => Err(is_gone(paths, &target.to).into()),
        }
    }

    /// The version in its own directory.
    pub fn installed(&self, paths: &Paths) -> Installed {
        Installed { version: Some(self.to.clone()), dir: paths.kasm_dir().join(&self.to) }
    }
}

fn is_version(name: &str, wanted: &str) -> bool {
    Installed { version: Some(name.to_owned()), dir: PathBuf::new() }.is_version(wanted)
}

/// The version's directory, by its name or by a shorter or longer one.
fn directory(paths: &Paths, wanted: &str) -> Option<String> {
    let mut names = versions(paths);
    names.sort_by_key(|name| name != wanted);
    names.into_iter().find(|name| is_version(name, wanted))
}

fn versions(paths: &Paths) -> Vec<String> {
    let entries = std::fs::read_dir(paths.kasm_dir()).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()) && entry.path().join("bin").is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(|first: char| first.is_ascii_digit()))
        .take(100)
        .collect();
    names.sort();
    names
}

fn there(paths: &Paths) -> String {
    match &versions(paths)[..] {
        [] => "there is none".into(),
        names => names.join(", "),
    }
}

fn is_gone(paths: &Paths, to: &str) -> Error {
    Error::TreeGone { to: to.to_owned(), there: there(paths) }
}

/// For the step that begins.
pub(super) fn keep(work: &Change, target: &Target) {
    *work.target.borrow_mut() = Some(target.clone());
}

pub(super) fn steps(work: &Change) -> Vec<Step<Change>> {
    vec![
        Step::new("recover", &[], "put back what an interrupted run may have left behind", |work, cx| {
            Box::pin(before::recover(work, cx))
        }),
        Step::new("sessions", &["recover"], "look for sessions on this node", |work, cx| {
            Box::pin(before::sessions(work, cx))
        }),
        Step::new("drain", &["sessions"], "wait for them, where that was asked for", |work, cx| {
            Box::pin(before::drain(work, cx))
        }),
        Step::new("begin", &["drain"], format!("put the way back to {} on record", work.from()), |work, cx| {
            Box::pin(begin(work, cx))
        }),
    ]
}

async fn begin(work: &Change, _: Context<'_>) -> Result<Finish, Failure> {
    let paths = work.paths();
    let target = work.target.borrow().clone().ok_or(upgrade::Error::NothingInstalled)?;
    if let Some(name) = &target.snapshot {
        // One that is damaged is better known before anything is stopped.
        Snapshot::open(paths, &paths.snapshots_dir().join(name))?;
    }
    let open = Open {
        schema: Open::SCHEMA,
        phase: Phase::RollingBack,
        role: target.role,
        from: target.to.clone(),
        to: target.leaves.clone(),
        digest: String::new(),
        attempt: installer::new_attempt(paths)?,
        snapshot: target.snapshot,
        to_was_there: true,
        cause: None,
        manager: work.install.intent.manager.address.to_string(),
        at: words::now(),
    };
    open.write(paths)?;
    *work.open.borrow_mut() = Some(open);
    Ok(Finish::Done(format!("from Kasm {} back to Kasm {}", target.leaves, target.to)))
}
