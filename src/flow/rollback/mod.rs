//! Back to the version before: after an upgrade that failed, in the run that failed or in the next one, or by
//! hand. It is proved by the same probes as the upgrade would have been.
//!
//! ```text
//! by hand: recover ─> target ─> sessions ─> drain ─> begin ─┐
//!                                     after a failure ──────┴─> keep-logs ─> stop ─> restore ─> start ─> prove-old ─> settle
//! ```

mod error;
mod steps;
mod target;

use super::install;
use super::run::{Begin, Ready, Report};
use super::upgrade::record::{Open, Phase};
use super::upgrade::{Change, Options, ROLLBACK_BUDGET, finish_open};
use crate::error::Failure;
use crate::net;
use crate::paths::Paths;
use crate::step::{Hub, Outcome, Plan, Step, View, engine};
use std::time::Duration;

use error::Error;
pub use target::Target;

/// The steps of every way back.
pub(in crate::flow) fn steps(work: &Change) -> Vec<Step<Change>> {
    let from = work.from();
    vec![
        Step::new("keep-logs", &[], "keep the logs of the version that is left", |work, cx| {
            Box::pin(steps::keep_logs(work, cx))
        }),
        Step::new("stop", &["keep-logs"], "stop its services", |work, cx| Box::pin(steps::stop(work, cx))),
        Step::new("restore", &["stop"], format!("put links and configuration of {from} back"), |work, cx| {
            Box::pin(steps::restore(work, cx))
        }),
        Step::new("start", &["restore"], format!("start the services of {from}"), |work, cx| {
            Box::pin(steps::start(work, cx))
        }),
        Step::new("prove-old", &["start"], format!("see that {from} is up and stays up"), |work, cx| {
            Box::pin(steps::prove(work, cx))
        }),
        Step::new("settle", &["prove-old"], "forget what was undone", |work, cx| Box::pin(steps::settle(work, cx))),
    ]
}

/// Goes back within this run, and records it as steps of its own. Signals that came before do not cut it, and
/// a journal that cannot be written does not stop it. Returns what was done, in words.
///
/// # Errors
/// It could not be proved: the failure says in which state the node is.
pub(in crate::flow) async fn back(work: &Change, hub: &Hub, cause: Option<Failure>) -> Result<String, Failure> {
    hub.forgive();
    let open = work.record()?;
    let told = work.update(|open| {
        open.phase = Phase::RollingBack;
        open.cause = cause.clone();
    });
    if told.is_err() {
        // The record says `running` or `installed` then, and the next run goes back all the same, or proves.
        work.open.borrow_mut().iter_mut().for_each(|open| open.cause = cause.clone());
    }
    let plan = Plan { verb: "rollback", fingerprint: String::new(), steps: steps(work) };
    match engine::execute(&plan, work, hub, None, ROLLBACK_BUDGET).await {
        Ok(Outcome { detail, .. }) => Ok(detail),
        Err(failure) => Err(not_back(work, &open, failure, cause)),
    }
}

/// An upgrade that failed, and the version before is back.
pub(in crate::flow) fn rolled_back(open: &Open, cause: Failure) -> Failure {
    // What helps against a wrong installation would wipe the right one that is back.
    let wipes = matches!(cause.reason.as_str(), "health.other-version" | "health.other-configuration");
    let error = Error::RolledBack {
        from: open.from.clone(),
        to: open.to.clone(),
        attempt: open.attempt,
        remedy: (!wipes).then(|| cause.help.clone()),
    };
    let message = format!("{} [{}]", cause.message, cause.reason);
    Failure::from(error).caused_by(Failure { message, ..cause })
}

/// The way back did not come to its end: what the node is now, and what to do.
fn not_back(work: &Change, open: &Open, failure: Failure, cause: Option<Failure>) -> Failure {
    let current = std::fs::read_link(work.paths().kasm_current());
    let current = match current {
        Ok(target) => format!("/opt/kasm/current leads to {}", work.paths().shown(&target).display()),
        Err(_) => "/opt/kasm/current leads nowhere".into(),
    };
    let kept = match open.snapshot_dir(work.paths()) {
        Some(dir) => work.paths().shown(&dir).display().to_string(),
        None => format!("/opt/kasm/{}", open.from),
    };
    let Failure { message: why, help: remedy, mut causes, .. } = failure;
    if let Some(cause) = cause {
        causes.push(format!("the upgrade failed before that: {} [{}]", cause.message, cause.reason));
    }
    let (from, to) = (open.from.clone(), open.to.clone());
    Failure { causes, ..Error::Failed { from, to, why, current, remedy, kept }.into() }
}

/// What is asked for by hand.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The version to go back to; `None`: the one before the last upgrade.
    pub to: Option<String>,
    /// Sessions, and what is passed over.
    pub options: Options,
    /// How long it may take.
    pub budget: Option<Duration>,
    /// How the manager is reached.
    pub network: net::Options,
    /// How long the containers must stay up.
    pub settle: Duration,
}

/// The plan of a rollback by hand, and its target.
///
/// # Errors
/// There is nothing to go back to.
pub fn plan(paths: &Paths, asked: &Asked) -> Result<(Change, Plan<Change>, Target), Failure> {
    let target = Target::find(paths, asked.to.as_deref())?;
    let old = target.installed(paths);
    let mut work = Change::back(paths, old, target.role, asked.network.clone(), asked.options)?;
    work.install.intent.settle = asked.settle;
    let fingerprint = format!("{} to {}", target.leaves, target.to);
    let plan = Plan { verb: "rollback", fingerprint, steps: by_hand(&work) };
    Ok((work, plan, target))
}

fn by_hand(work: &Change) -> Vec<Step<Change>> {
    let mut all = target::steps(work);
    for step in steps(work) {
        // The first one comes after what only a rollback by hand has.
        all.push(if step.name == "keep-logs" { Step { after: &["begin"], ..step } } else { step });
    }
    all
}

/// Goes back by hand. An upgrade that is open is what it goes back from.
///
/// # Errors
/// There is nothing to go back to, sessions are open, or the version before could not be proved.
pub async fn run(paths: &Paths, asked: &Asked, views: Vec<Box<dyn View>>) -> Result<Report, Failure> {
    let budget = asked.budget.unwrap_or(ROLLBACK_BUDGET);
    let drain = asked.options.drain.unwrap_or_default();
    // Before anything is read: what is open may be open in a run that is at work.
    let ready = Ready::take(paths, "rollback", "")?;
    if let Some(open) = Open::read(paths)?.filter(|open| open.phase != Phase::Prepared) {
        let mut work = Change::back(paths, open.old(paths), open.role, asked.network.clone(), asked.options)?;
        work.install.intent.settle = asked.settle;
        let plan = Plan { verb: "rollback", fingerprint: "open".into(), steps: steps(&work) };
        let begin = Begin::of(&plan, budget);
        let body = async |hub: &Hub, _: Option<&_>| {
            if open.phase == Phase::Installed {
                work.update(|open| open.phase = Phase::RollingBack)?;
            }
            let detail = finish_open(&work, hub).await?.unwrap_or_default();
            Ok(Outcome { detail, already: false })
        };
        return ready.record(begin, views, body, || install::put_back(paths)).await;
    }
    Open::remove(paths)?;
    let (work, plan, target) = plan(paths, asked)?;
    let begin = Begin::of(&plan, budget);
    target::keep(&work, &target);
    let body = async |hub: &Hub, _: Option<&_>| {
        let result = engine::execute(&plan, &work, hub, None, budget.saturating_add(drain)).await;
        let open = work.open.borrow().clone();
        match (result, open) {
            (Err(failure), Some(open)) => Err(not_back(&work, &open, failure, None)),
            (result, _) => result,
        }
    };
    ready.record(begin, views, body, || install::put_back(paths)).await
}
