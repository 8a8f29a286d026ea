//! Whether the containers are up, in Docker's own judgement, and whether they stay up.

use super::error::Error;
use crate::deadline::Deadline;
use crate::intent::Role;
use crate::kasm::docker::{self, Container, Details};
use crate::kasm::layout::Installed;
use crate::observe::{Observer, Wait};
use crate::paths::Paths;
use std::path::Path;
use std::time::{Duration, Instant};

/// Docker tells of changes only through an endless answer that can break; asking anew each second is
/// cheaper than both ways together.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Why nothing is known when Docker had not answered at the deadline.
const NO_ANSWER: &str = "no answer in time";

/// Containers by name, each in Docker's words.
pub type Up = Vec<(String, String)>;

/// One look at the containers of what is installed: those that are up, in Docker's words, or what is
/// wrong. What is configured is not looked at.
pub async fn look(paths: &Paths, role: Role, deadline: Deadline) -> Result<Up, Error> {
    let Some(installed) = Installed::read(paths) else {
        return Err(Error::NotInstalled { current: "/opt/kasm/current".into(), why: "is not there, or leads nowhere" });
    };
    look_at(&paths.docker_socket(), &installed.containers(role), deadline).await
}

async fn look_at(socket: &Path, expected: &[&str], deadline: Deadline) -> Result<Up, Error> {
    let Ok(answer) = tokio::time::timeout_at(deadline.instant().into(), docker::containers(socket)).await else {
        return Err(late(socket));
    };
    let list = answer.map_err(Error::Docker)?;
    let troubles = troubles(expected, &list);
    let Some((first, _)) = troubles.first() else { return Ok(up(expected, &list)) };
    let first = (*first).to_owned();
    let troubles = troubles.iter().map(|(name, words)| format!("{name} {words}")).collect();
    Err(Error::Containers { troubles, first })
}

fn late(socket: &Path) -> Error {
    Error::Docker(docker::Error::Unreachable { path: socket.to_owned(), why: NO_ANSWER.to_owned() })
}

/// Waits until the containers of what is installed are up, however long they take to start.
pub async fn come_up(paths: &Paths, role: Role, deadline: Deadline, observer: &dyn Observer) -> Result<Up, Error> {
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
    /// True if Docker was asked, and the deadline came before its answer.
    pub(super) fn is_late(&self) -> bool {
        matches!(self, Error::Docker(docker::Error::Unreachable { why, .. }) if why == NO_ANSWER)
    }

    /// What is waited for while this is so.
    pub(super) fn wait(&self, deadline: Deadline) -> Wait {
        let (what, holder) = match self {
            Error::Containers { troubles, first } => {
                let words = troubles.first().and_then(|words| words.strip_prefix(first.as_str()));
                (format!("container {first}"), words.unwrap_or_default().trim_start().to_owned())
            }
            Error::Docker(error) => ("Docker".to_owned(), error.to_string()),
            Error::NotRegistered(who) => {
                let what = format!("the registration of {} with manager {}", who.components.join(", "), who.manager);
                let holder = match (&who.answer, who.down.first()) {
                    (Some(Err(why)), _) => why.clone(),
                    (_, Some(down)) => down.clone(),
                    (Some(Ok(())), None) => "the manager is healthy".to_owned(),
                    (None, None) => return Wait { what, holder: None, deadline },
                };
                (what, holder)
            }
            Error::Tokens { troubles } => ("good tokens".to_owned(), troubles.join("; ")),
            other => ("the containers".to_owned(), other.to_string()),
        };
        Wait { what, holder: Some(holder), deadline }
    }
}

fn named<'a>(list: &'a [Container], name: &str) -> Option<&'a Container> {
    list.iter().find(|container| container.is_named(name))
}

pub(super) fn troubles<'a>(expected: &[&'a str], list: &[Container]) -> Vec<(&'a str, String)> {
    let trouble = |name: &'a str| match named(list, name) {
        None => Some((name, "is not there".to_owned())),
        Some(container) if container.is_up() => None,
        Some(container) => Some((name, format!("is {}", container.describe()))),
    };
    expected.iter().filter_map(|name| trouble(name)).collect()
}

pub(super) fn up(expected: &[&str], list: &[Container]) -> Up {
    let words = |name: &str| named(list, name).map(Container::describe).unwrap_or_default();
    expected.iter().map(|name| ((*name).to_owned(), words(name))).collect()
}

/// Containers by name, each looked at closely as far as Docker does that.
type Looks = Vec<(String, Option<Details>)>;

/// Watches containers that are up for a while: nothing of them may be started again in that time.
///
/// Whether they are up is for the list to say. What only a close look tells, how often each was started again, counts
/// where Docker tells it: a Docker that answers less than it should is no reason to call a node broken.
pub(super) struct Settling {
    span: Duration,
    since: Option<(Instant, Looks)>,
    /// What was started again while it was watched, and how often.
    fell: Vec<(String, u64)>,
}

impl Settling {
    pub(super) fn over(span: Duration) -> Settling {
        Settling { span, since: None, fell: Vec::new() }
    }

    /// Something is wrong: what was watched so far does not count.
    pub(super) fn interrupt(&mut self) {
        self.since = None;
    }

    /// The container that fell most often, and how often, if one did.
    pub(super) fn worst(&self) -> Option<&(String, u64)> {
        self.fell.iter().max_by_key(|(_, times)| *times)
    }

    /// How long nothing has happened by now.
    pub(super) fn calm(&self) -> Duration {
        self.since.as_ref().map(|(since, _)| since.elapsed()).unwrap_or_default()
    }

    /// Looks again. True once nothing has happened for the whole time.
    pub(super) async fn look(&mut self, socket: &Path, names: &Up, deadline: Deadline) -> Result<bool, Error> {
        if self.span.is_zero() {
            return Ok(true);
        }
        let mut now = Vec::new();
        for (name, _) in names {
            let asked = tokio::time::timeout_at(deadline.instant().into(), docker::details(socket, name)).await;
            match asked {
                Err(_) => return Err(late(socket)),
                Ok(details) => now.push((name.clone(), details.ok())),
            }
        }
        let Some((since, before)) = &self.since else {
            self.since = Some((Instant::now(), now));
            return Ok(false);
        };
        let mut fallen = Vec::new();
        for ((name, was), (_, is)) in before.iter().zip(&now) {
            let (Some(was), Some(is)) = (was, is) else { continue };
            if was.id != is.id || was.restarts != is.restarts || was.started != is.started {
                fallen.push((name.clone(), is.restarts.saturating_sub(was.restarts).max(1)));
            }
        }
        if fallen.is_empty() {
            return Ok(since.elapsed() >= self.span);
        }
        for (name, times) in fallen {
            match self.fell.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += times,
                None => self.fell.push((name, times)),
            }
        }
        self.since = Some((Instant::now(), now));
        Ok(false)
    }

    /// What is waited for meanwhile.
    pub(super) fn wait(&self, deadline: Deadline) -> Wait {
        let what = format!("{} without a restart", crate::words::span(self.span));
        let holder = self.worst().map(|(name, times)| fell(name, *times));
        Wait { what, holder, deadline }
    }
}

/// `kasm_guac was started again twice`.
pub(super) fn fell(name: &str, times: u64) -> String {
    match times {
        1 => format!("{name} was started again"),
        2 => format!("{name} was started again twice"),
        _ => format!("{name} was started again {times} times"),
    }
}
