//! What a probe is: a question about the node's health that is asked again and again.

use super::errands::Errands;
use super::model::{Finding, ProbeStatus};
use crate::deadline::Deadline;
use crate::error::Failure;
use crate::intent::{HostPort, Role};
use crate::kasm::layout::Installed;
use crate::kasm::manager::{Look, Manager};
use crate::kasm::receipt;
use crate::net;
use crate::paths::Paths;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long all questions to the manager together may take: less than the limit of a probe, so that each can still
/// say what it saw.
const LOOK_TIME: Duration = Duration::from_secs(9);
/// A look at the manager serves all probes that ask about it within this time.
const LOOK_KEEPS: Duration = Duration::from_secs(25);

/// One question.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// Its name: stable, lower case, words joined by dashes.
    pub name: &'static str,
    /// What it asks, in one line.
    pub about: &'static str,
    /// How long until it is asked again, before jitter.
    pub every: Duration,
    /// How long the answer may take; after that nothing is known.
    pub limit: Duration,
    /// So many answers in a row must mean something worse before the probe means it: one blip is no alarm.
    pub confirm: u32,
    /// True if the node does not do what it is for while this fails.
    pub vital: bool,
    /// Asks. Changes nothing on the machine and sends no secret. It is given how the probe stood before, with the
    /// numbers it found then; nothing where it was never asked. Call [`Probe::answer`], which keeps the limit.
    pub ask: for<'a> fn(&'a Context, Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding>,
}

impl Probe {
    /// Asks, and waits no longer than the limit. How long it took is the second.
    pub async fn answer(&self, context: &Context, before: Option<&ProbeStatus>) -> (Finding, Duration) {
        let started = Instant::now();
        let late = || Finding::unknown(format!("no answer within {} s", self.limit.as_secs()));
        let finding = tokio::time::timeout(self.limit, (self.ask)(context, before)).await.unwrap_or_else(|_| late());
        (finding, started.elapsed())
    }
}

/// What the probes look at. One context serves all probes, and all the time: they share what they see of the manager.
#[derive(Debug)]
pub struct Context {
    /// Every path.
    pub paths: Paths,
    /// The node's role, where it is known; without one what is installed tells it.
    pub role: Option<Role>,
    /// The manager as it is configured. The one that an installed node's own files name goes first: it is the one the
    /// node talks to.
    pub manager: Option<HostPort>,
    /// How the manager is trusted and named.
    pub network: net::Options,
    /// False if nothing was to be started (`--no-start`).
    pub started: bool,
    /// What is wrong with the configuration, where it was read and something is.
    pub configuration: Option<Failure>,
    /// Why the last run failed, where it did: the journal is for others to read.
    pub last_failure: Option<Failure>,
    /// Work that may hang, each on a thread of its own.
    pub(super) errands: Errands,
    seen: Mutex<Option<Seen>>,
}

/// A manager, and what was seen of it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Its address.
    pub address: HostPort,
    /// Every stage on the way to it.
    pub look: Arc<Look>,
    at: Instant,
}

/// What is installed, as far as the probes care.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// The Kasm that `/opt/kasm/current` leads to.
    pub installed: Installed,
    /// Its role.
    pub role: Option<Role>,
}

impl Node {
    /// Its role.
    ///
    /// # Errors
    /// What to say where it could be both.
    pub fn role(&self) -> Result<Role, Finding> {
        self.role.ok_or_else(|| Finding::unknown("whether this is an agent or a connection proxy cannot be told"))
    }
}

impl Context {
    /// A context that knows the machine and nothing else; the rest is set field by field.
    pub fn new(paths: Paths) -> Context {
        Context {
            paths,
            role: None,
            manager: None,
            network: net::Options::default(),
            started: true,
            configuration: None,
            last_failure: None,
            errands: Errands::default(),
            seen: Mutex::new(None),
        }
    }

    /// What is installed.
    ///
    /// # Errors
    /// What to say where nothing is, or where nobody answers. `probe`: on whose errand.
    pub(super) async fn node(&self, probe: &'static str) -> Result<Node, Finding> {
        let (paths, role) = (self.paths.clone(), self.role);
        let read = self.errands.run(probe, move || {
            let installed = Installed::read(&paths)?;
            let role = role.or_else(|| receipt::role(&paths, &installed));
            Some(Node { installed, role })
        });
        read.await?.ok_or_else(|| Finding::unknown("Kasm is not installed here"))
    }

    /// The manager the node talks to: the one in its own files, else the configured one; `None` where neither names
    /// one.
    pub(super) async fn manager_address(&self, probe: &'static str) -> Result<Option<HostPort>, Finding> {
        let (paths, role) = (self.paths.clone(), self.role);
        let installed = self.errands.run(probe, move || {
            let installed = Installed::read(&paths)?;
            let role = role.or_else(|| receipt::role(&paths, &installed))?;
            installed.upstreams(role).ok()?.first()?.address()
        });
        Ok(installed.await?.or_else(|| self.manager.clone()))
    }

    /// Looks at the manager, unless that was done a moment ago.
    ///
    /// # Errors
    /// What to say where none is known.
    pub(super) async fn manager(&self, probe: &'static str) -> Result<Seen, Finding> {
        let Some(address) = self.manager_address(probe).await? else {
            return Err(Finding::unknown("no manager is configured, and no installed file names one"));
        };
        // Whoever comes meanwhile waits for this look, and not longer than its own limit.
        let mut seen = self.seen.lock().await;
        if let Some(seen) = seen.as_ref().filter(|seen| seen.address == address && seen.at.elapsed() < LOOK_KEEPS) {
            return Ok(seen.clone());
        }
        let manager = Manager::new(&self.paths, &address, &self.network);
        let look = Arc::new(manager.look(Deadline::after(LOOK_TIME)).await);
        Ok(seen.insert(Seen { address, look, at: Instant::now() }).clone())
    }
}
