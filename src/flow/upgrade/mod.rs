//! From one version to another, and never to anything between: a node ends with the new version proved, or
//! with the old one back and proved by the same probes.
//!
//! ```text
//! recover ─> tokens ─> present ─> sessions ─> preflight ─┬─> fetch ───> unpack ─┐
//!                                                        ├─> manager ─> address ┼─> drain ─> snapshot ─> upgrade
//!                                                        └─> packages ──────────┘               ─> prove ─> commit
//!                                          a failure after a change ─> the steps of flow::rollback, in the same run
//! ```
//!
//! What is open is on record in `upgrade.json` ([`record::Open`]), written before the first change and removed
//! at a good end. A run that was killed is finished by the next one: `upgrade`, `rollback`, or the service at
//! boot ([`finish`]).

pub(in crate::flow) mod before;
mod error;
mod kept;
mod plan;
pub(in crate::flow) mod prove;
pub mod record;
mod script;

pub(in crate::flow) use error::Error;

use super::install::{self, Install};
use super::rollback;
use super::run::{Begin, Ready, Report};
use crate::config::installed;
use crate::error::Failure;
use crate::intent::{Digest, HostPort, Intent, ManagerIntent, ReleaseIntent, Role};
use crate::kasm::held::Held;
use crate::kasm::layout::Installed;
use crate::kasm::manager::Manager;
use crate::paths::Paths;
use crate::secret::Secret;
use crate::step::{Hub, Outcome, Plan, View, engine};
use crate::token::Masker;
use kept::Kept;
use record::{Open, Phase};
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// How long an upgrade by hand may take where nothing else was said: nobody destroys this machine meanwhile.
pub const BUDGET: Duration = Duration::from_secs(30 * 60);
/// How long going back may take beside.
pub const ROLLBACK_BUDGET: Duration = Duration::from_secs(10 * 60);

/// What is asked for beside the intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Wait so long for sessions on this node to end; `None`: refuse at once.
    pub drain: Option<Duration>,
    /// Go on although something speaks against it: sessions, a lower version, a release that failed here.
    pub force: bool,
}

/// What the steps of upgrades and rollbacks share.
pub struct Change {
    /// Fetching, unpacking and the like are those of an installation.
    pub(in crate::flow) install: Install,
    pub(in crate::flow) options: Options,
    /// The version before.
    pub old: Installed,
    pub(in crate::flow) open: RefCell<Option<Open>>,
    /// What evidence on this very machine speaks against the new version.
    pub(in crate::flow) local: Cell<bool>,
    /// Where a rollback by hand goes.
    pub(in crate::flow) target: RefCell<Option<rollback::Target>>,
    /// The tokens before the change.
    pub(in crate::flow) known: RefCell<Vec<Held>>,
    /// Settings that were asked for and are not taken.
    ignored: Vec<String>,
}

/// The version that an upgrade would start from: what is installed, or what was before an upgrade that is open.
///
/// # Errors
/// The record of an open upgrade cannot be read.
pub fn standing(paths: &Paths) -> Result<Option<Installed>, Failure> {
    let open = Open::read(paths)?;
    Ok(open.map(|open| open.old(paths)).filter(|old| old.dir.is_dir()).or_else(|| Installed::read(paths)))
}

impl Change {
    /// Prepares an upgrade, without touching the machine.
    ///
    /// # Errors
    /// Nothing is installed, it has another role, or its configuration cannot be read.
    pub fn new(paths: &Paths, intent: Intent, options: Options) -> Result<Change, Failure> {
        let old = standing(paths)?.ok_or(Error::NothingInstalled)?;
        if let Some(role) = installed::role(paths, &old).filter(|role| *role != intent.role) {
            return Err(Error::OtherRole { asked: intent.role, installed: role }.into());
        }
        let ignored = kept::differences(paths, &old, &intent);
        Change::of(paths, old, intent, options, ignored)
    }

    fn of(
        paths: &Paths,
        old: Installed,
        intent: Intent,
        options: Options,
        ignored: Vec<String>,
    ) -> Result<Change, Failure> {
        let kept = Kept::of(&old, intent.role)?;
        let mut secrets = kept.secrets.clone();
        secrets.push(intent.manager.token.clone());
        let mut install = Install::new(paths, kept.into_intent(intent))?;
        install.masker = Masker::new(secrets.iter());
        Ok(Change {
            install,
            options,
            old,
            open: RefCell::new(Open::read(paths)?),
            local: Cell::new(false),
            target: RefCell::default(),
            known: RefCell::default(),
            ignored,
        })
    }

    /// A change without an intent: what is to be done is on record, or is the way back.
    ///
    /// # Errors
    /// The configuration of the version to be put back cannot be read.
    pub(in crate::flow) fn back(
        paths: &Paths,
        old: Installed,
        role: Role,
        network: crate::net::Options,
        options: Options,
    ) -> Result<Change, Failure> {
        let release = ReleaseIntent {
            version: old.version.clone(),
            sources: Vec::new(),
            digest: Digest::Sidecar,
            minisign_key: None,
        };
        let manager = ManagerIntent {
            address: HostPort { host: String::new(), port: None },
            token: Secret::new(String::new()),
            wait: ManagerIntent::WAIT,
        };
        let intent = Intent { network, budget: ROLLBACK_BUDGET, ..Intent::new(role, release, manager) };
        Change::of(paths, old, intent, options, Vec::new())
    }

    pub(in crate::flow) fn paths(&self) -> &Paths {
        &self.install.paths
    }

    pub(in crate::flow) fn role(&self) -> Role {
        self.install.intent.role
    }

    pub(in crate::flow) fn manager(&self) -> &Manager {
        &self.install.manager
    }

    /// The version before, in words.
    pub(in crate::flow) fn from(&self) -> String {
        match &self.old.version {
            Some(version) => format!("Kasm {version}"),
            None => "the installed Kasm".into(),
        }
    }

    /// The version that is asked for, in words.
    fn to(&self) -> String {
        self.install.wanted()
    }

    /// The record as it is now. Only steps that come after it was made call this.
    pub(in crate::flow) fn record(&self) -> Result<Open, Error> {
        self.open.borrow().clone().ok_or(Error::NoRecord)
    }

    /// Changes the record, durably.
    pub(in crate::flow) fn update(&self, change: impl FnOnce(&mut Open)) -> Result<(), Failure> {
        let mut open = self.record()?;
        change(&mut open);
        open.write(self.paths())?;
        *self.open.borrow_mut() = Some(open);
        Ok(())
    }

    /// Ends the record, and what belongs to it.
    pub(in crate::flow) fn close(&self) -> Result<(), Failure> {
        Open::remove(self.paths())?;
        if let Some(name) = self.open.borrow_mut().take().and_then(|open| open.snapshot) {
            record::drop_snapshot(self.paths(), &name);
        }
        Ok(())
    }
}

/// Runs the whole upgrade. One that is open already is brought to its end first.
///
/// # Errors
/// [`Exit::RolledBack`](crate::error::Exit::RolledBack) if it failed and the version before is back; see [`rollback`] for one that is not.
pub async fn run(
    paths: &Paths,
    intent: Intent,
    options: Options,
    views: Vec<Box<dyn View>>,
) -> Result<Report, Failure> {
    let budget = intent.budget.saturating_add(options.drain.unwrap_or_default());
    let mut work = Change::new(paths, intent.clone(), options)?;
    let plan = work.plan();
    let ready = Ready::take(paths, plan.verb, &plan.fingerprint)?;
    // Now that nobody else is at work: what was read before may have changed.
    *work.open.get_mut() = Open::read(paths)?;
    let begin = Begin::of(&plan, budget);
    let body = async |hub: &Hub, earlier: Option<&_>| {
        let (anew, plan_anew);
        let (work, plan) = match finish_open(&work, hub).await? {
            None => (&work, &plan),
            // What is installed is another version now.
            Some(_) => {
                anew = Change::new(paths, intent, options)?;
                plan_anew = anew.plan();
                (&anew, &plan_anew)
            }
        };
        let result = engine::execute(plan, work, hub, earlier, budget).await;
        or_back(work, hub, result).await
    };
    ready.record(begin, views, body, || install::put_back(paths)).await
}

/// Brings an upgrade that is open to its end, and does nothing where none is: for the service, before it
/// decides anything else. The manager is reached by `network`, containers must stay up for `settle`.
///
/// # Errors
/// [`Exit::RolledBack`](crate::error::Exit::RolledBack) if the new version turned out to be no good and the version before is back;
/// [`Exit::Manager`](crate::error::Exit::Manager) if the new version is in place and cannot be proved without its manager.
pub async fn finish(
    paths: &Paths,
    (network, settle): (crate::net::Options, Duration),
    views: Vec<Box<dyn View>>,
) -> Result<Option<Report>, Failure> {
    let Some(open) = Open::read(paths)? else { return Ok(None) };
    let mut work = Change::back(paths, open.old(paths), open.role, network, Options::default())?;
    work.install.intent.settle = settle;
    let ready = Ready::take(paths, "upgrade", "finish")?;
    if work.open.borrow().is_none() {
        return Ok(None);
    }
    let plan = Plan { verb: "upgrade", fingerprint: "finish".into(), steps: vec![work.recover()] };
    let body = async |hub: &Hub, _: Option<&_>| {
        let detail = finish_open(&work, hub).await?.unwrap_or_else(|| "nothing was open".into());
        Ok(Outcome { detail, already: false })
    };
    let begin = Begin::of(&plan, ROLLBACK_BUDGET);
    ready.record(begin, views, body, || install::put_back(paths)).await.map(Some)
}

/// Brings what an earlier run left open to its end. Returns what was done, in words.
pub(in crate::flow) async fn finish_open(work: &Change, hub: &Hub) -> Result<Option<String>, Failure> {
    let Some(open) = work.open.borrow().clone() else { return Ok(None) };
    let plan = |steps| Plan { verb: "upgrade", fingerprint: String::new(), steps };
    engine::execute(&plan(vec![work.recover()]), work, hub, None, ROLLBACK_BUDGET).await?;
    match open.phase {
        Phase::Prepared => {
            work.close()?;
            Ok(Some("nothing had been changed yet".into()))
        }
        Phase::Installed => {
            let steps = vec![work.prove(&[]), work.commit()];
            let result = engine::execute(&plan(steps), work, hub, None, ROLLBACK_BUDGET).await;
            or_back(work, hub, result).await.map(|outcome| Some(outcome.detail))
        }
        Phase::Running | Phase::RollingBack => rollback::back(work, hub, open.cause).await.map(Some),
    }
}

/// Goes back where an upgrade has failed after it changed something, unless only the manager is silent.
async fn or_back(work: &Change, hub: &Hub, result: Result<Outcome, Failure>) -> Result<Outcome, Failure> {
    let failure = match result {
        Ok(outcome) => return Ok(outcome),
        Err(failure) => failure,
    };
    let Some(open) = work.open.borrow().clone() else { return Err(failure) };
    match open.phase {
        Phase::Prepared => {
            work.close()?;
            Err(failure)
        }
        Phase::Running if !script::has_changed(work, &open).await => {
            work.close()?;
            Err(failure)
        }
        Phase::Installed if !work.local.get() => Err(failure),
        Phase::Running | Phase::Installed | Phase::RollingBack => {
            rollback::back(work, hub, Some(failure.clone())).await?;
            Err(rollback::rolled_back(&open, failure))
        }
    }
}
