//! The proof that an installation has come up: it is there, it is what was asked for, and its containers
//! are up in Docker's own judgement.

use super::error::Error;
use crate::deadline::Deadline;
use crate::intent::{Intent, Role};
use crate::kasm::docker::{self, Container};
use crate::kasm::layout::Installed;
use crate::observe::{Observer, Wait};
use crate::paths::Paths;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Docker tells of changes only through an endless answer that can break; asking anew each second is
/// cheaper than both ways together.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Why nothing is known when Docker had not answered at the deadline.
const NO_ANSWER: &str = "no answer in time";

/// What was proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The version installed, where the layout tells it.
    pub version: Option<String>,
    /// Where, below the root.
    pub dir: PathBuf,
    /// The containers that are up, in Docker's words; empty if they were not to be started.
    pub containers: Vec<(String, String)>,
    /// True if the containers were left out because `--no-start` was asked for.
    pub not_started: bool,
}

/// Proves the node, or says what is missing. What is wrong on the disk is told at once; containers get
/// until the deadline to come up. `address` is this node's own, as resolved.
pub async fn prove(
    paths: &Paths,
    intent: &Intent,
    address: &str,
    deadline: Deadline,
    observer: &dyn Observer,
) -> Result<Proof, Error> {
    let installed = Installed::read(paths).ok_or_else(|| Error::NotInstalled {
        current: "/opt/kasm/current".into(),
        why: match std::fs::symlink_metadata(paths.kasm_current()) {
            Ok(_) => "leads nowhere",
            Err(_) => "is not there",
        },
    })?;
    if let (Some(found), Some(wanted)) = (&installed.version, &intent.release.version)
        && !installed.is_version(wanted)
    {
        return Err(Error::OtherVersion { found: found.clone(), wanted: wanted.clone() });
    }
    let differences = installed.differences(paths, intent, Some(address)).map_err(Error::Configuration)?;
    if !differences.is_empty() {
        return Err(Error::OtherConfiguration { differences });
    }
    let not_started = !is_started(intent);
    let containers = match not_started {
        true => Vec::new(),
        false => come_up(paths, intent.role, deadline, observer).await?,
    };
    Ok(Proof { version: installed.version, dir: installed.dir, containers, not_started })
}

/// False if the installer was told not to start anything.
pub fn is_started(intent: &Intent) -> bool {
    let installer = &intent.installer;
    !installer.flags.iter().any(|flag| flag == "no-start")
        && !installer.extra.iter().any(|extra| extra == "--no-start" || extra == "-D")
}

/// One look at the containers of what is installed: those that are up, in Docker's words, or what is
/// wrong. What is configured is not looked at.
pub async fn look(paths: &Paths, role: Role, deadline: Deadline) -> Result<Vec<(String, String)>, Error> {
    let Some(installed) = Installed::read(paths) else {
        return Err(Error::NotInstalled { current: "/opt/kasm/current".into(), why: "is not there, or leads nowhere" });
    };
    look_at(&paths.docker_socket(), &installed.containers(role), deadline).await
}

async fn look_at(socket: &Path, expected: &[&str], deadline: Deadline) -> Result<Vec<(String, String)>, Error> {
    let Ok(answer) = tokio::time::timeout_at(deadline.instant().into(), docker::containers(socket)).await else {
        let why = NO_ANSWER.to_owned();
        return Err(Error::Docker(docker::Error::Unreachable { path: socket.to_owned(), why }));
    };
    let list = answer.map_err(Error::Docker)?;
    let troubles = troubles(expected, &list);
    let Some((first, _)) = troubles.first() else { return Ok(up(expected, &list)) };
    let first = (*first).to_owned();
    let troubles = troubles.iter().map(|(name, words)| format!("{name} {words}")).collect();
    Err(Error::Containers { troubles, first })
}

/// Waits until the containers of what is installed are up, however long they take to start.
pub async fn come_up(
    paths: &Paths,
    role: Role,
    deadline: Deadline,
    observer: &dyn Observer,
) -> Result<Vec<(String, String)>, Error> {
    let mut told = None;
    let mut last = None;
    loop {
        let trouble = match look(paths, role, deadline).await {
            Ok(up) => return Ok(up),
            Err(trouble @ Error::NotInstalled { .. }) => return Err(trouble),
            // What was seen before says more than that the last question came too late.
            Err(trouble) if trouble.is_late() => return Err(last.unwrap_or(trouble)),
            Err(trouble) if deadline.is_over() => return Err(trouble),
            Err(trouble) => trouble,
        };
        let wait = trouble.wait(deadline);
        if told.as_ref() != Some(&wait) {
            observer.waiting(&wait);
            told = Some(wait);
        }
        last = Some(trouble);
        tokio::time::sleep(ASK_AGAIN.min(deadline.remaining())).await;
    }
}

impl Error {
    fn is_late(&self) -> bool {
        matches!(self, Error::Docker(docker::Error::Unreachable { why, .. }) if why == NO_ANSWER)
    }

    /// What is waited for while this is so.
    fn wait(&self, deadline: Deadline) -> Wait {
        let (what, holder) = match self {
            Error::Containers { troubles, first } => {
                let words = troubles.first().and_then(|words| words.strip_prefix(first.as_str()));
                (format!("container {first}"), words.unwrap_or_default().trim_start().to_owned())
            }
            Error::Docker(error) => ("Docker".to_owned(), error.to_string()),
            other => ("the containers".to_owned(), other.to_string()),
        };
        Wait { what, holder: Some(holder), deadline }
    }
}

fn named<'a>(list: &'a [Container], name: &str) -> Option<&'a Container> {
    list.iter().find(|container| container.names.iter().any(|one| one == name))
}

fn troubles<'a>(expected: &[&'a str], list: &[Container]) -> Vec<(&'a str, String)> {
    let trouble = |name: &'a str| match named(list, name) {
        None => Some((name, "is not there".to_owned())),
        Some(container) if container.is_up() => None,
        Some(container) => Some((name, format!("is {}", container.describe()))),
    };
    expected.iter().filter_map(|name| trouble(name)).collect()
}

fn up(expected: &[&str], list: &[Container]) -> Vec<(String, String)> {
    let words = |name: &str| named(list, name).map(Container::describe).unwrap_or_default();
    expected.iter().map(|name| ((*name).to_owned(), words(name))).collect()
}
