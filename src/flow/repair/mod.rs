//! Mending a node's tokens, one component after the other:
//!
//! ```text
//! recover ─> tokens ─> manager ─> repair: backup ─> write ─> restart ─> a good auth token ─> clean
//!                                                     └───────┴────────────┴─> or everything as it was
//! ```
//!
//! What can be refused is refused before anything is touched: the tokens, a file that cannot be changed, a
//! manager that does not answer. A component whose repair does not come to its good end is put back; those
//! mended before it stay mended. The record of `open` lets the next run, or the service at its start, do
//! that for a run that was cut off.

mod case;
mod diagnose;
mod error;
mod evidence;
mod mend;
mod open;
mod preview;

pub use diagnose::{Cure, Diagnosis, diagnose, purpose};
pub use error::Error;
pub use preview::{Change, Preview, preview};

use super::install;
use super::run::{Ready, Report, fingerprint};
use super::upgrade::{self, record::Open as Upgrade};
use crate::config;
use crate::deadline::Deadline;
use crate::error::Failure;
use crate::intent::{HostPort, RepairIntent};
use crate::kasm::held::{self, Held, Verdict};
use crate::kasm::layout::Installed;
use crate::kasm::manager::{CLOCK_REMEDY, Manager};
use crate::observe::Observer;
use crate::paths::Paths;
use crate::step::{self, Finish, Plan, Step, View};
use crate::token::{self, Context, Kind, Masker};
use case::{Case, Value};
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// How long the manager may take to tell the time, when a token looks expired; and to say that it is well, when
/// nothing depends on it.
const ASK: Duration = Duration::from_secs(5);

/// What the steps share.
pub struct Repair {
    paths: Paths,
    intent: RepairIntent,
    masker: Masker,
    cases: RefCell<Vec<Case>>,
    /// How far the manager's clock is ahead of ours, where a token's time made that matter.
    ahead: Cell<Option<jiff::SignedDuration>>,
}

impl Repair {
    /// Prepares, without touching the machine.
    pub fn new(paths: &Paths, intent: RepairIntent) -> Repair {
        Repair {
            masker: masker(paths, &intent),
            paths: paths.clone(),
            intent,
            cases: RefCell::default(),
            ahead: Cell::default(),
        }
    }

    /// The plan: what will be done, in words and in code.
    pub fn plan(&self) -> Plan<Repair> {
        let steps = vec![
            Step::new("recover", &[], "put back, or finish, a repair that was cut off", |work, cx| {
                Box::pin(recover(work, cx))
            }),
            Step::new("tokens", &["recover"], "find what is wrong, and check the tokens given for it", |work, cx| {
                Box::pin(tokens(work, cx))
            }),
            Step::new("manager", &["tokens"], "wait until the manager says that it is healthy", |work, cx| {
                Box::pin(manager(work, cx))
            })
            .within(self.intent.manager_wait),
            Step::new("repair", &["manager"], "give each component its token, and see that it works", |work, cx| {
                Box::pin(mend::repair(work, cx))
            }),
        ];
        Plan { verb: "token repair", fingerprint: self.fingerprint(), steps }
    }

    fn fingerprint(&self) -> String {
        let manager = self.intent.manager.as_ref().map(|offered| &offered.value);
        fingerprint(&(manager, self.intent.method))
    }
}

/// Knows every token that is given, and those that the node holds as far as they can be read.
fn masker(paths: &Paths, intent: &RepairIntent) -> Masker {
    let installed = Installed::read(paths);
    let agent = installed.as_ref().and_then(|installed| installed.agent().ok().flatten());
    let proxies = installed.and_then(|installed| installed.proxies().ok()).unwrap_or_default();
    let given = intent.registration.iter().chain(intent.manager_token.as_ref().map(|offered| &offered.value));
    let held = proxies.iter().flat_map(|proxy| proxy.registration_token.iter().chain(&proxy.auth_token));
    Masker::new(given.chain(held).chain(agent.as_ref().and_then(|agent| agent.token.as_ref())))
}

/// Runs the whole job.
pub async fn run(paths: &Paths, intent: RepairIntent, views: Vec<Box<dyn View>>) -> Result<Report, Failure> {
    let budget = intent.budget;
    let work = Repair::new(paths, intent);
    let plan = work.plan();
    let ready = Ready::take(paths, plan.verb, &plan.fingerprint)?;
    ready.run(&plan, &work, budget, views, || put_back(paths)).await
}

/// True if a repair was cut off, and is not ended yet.
pub(in crate::flow) fn is_open(paths: &Paths) -> bool {
    paths.repair().exists()
}

/// Ends a repair that was cut off: finishes it, or puts everything back. Returns what was done, in words; what could
/// not be done is a warning, and is tried again by the next run. Whoever calls it holds the run's lock.
pub(in crate::flow) async fn end(paths: &Paths, observer: &dyn Observer) -> Option<String> {
    match open::settle(paths, observer).await {
        Ok(settled) => settled.map(|settled| settled.words()),
        Err(failure) => {
            let causes: String = failure.causes.iter().map(|cause| format!(": {cause}")).collect();
            observer.warn(&format!("{}{causes}; {}", failure.message, failure.help));
            None
        }
    }
}

/// The same at a run's end.
async fn put_back(paths: &Paths) -> Vec<String> {
    let collect = install::Collect::default();
    let done = end(paths, &collect).await;
    collect.warnings().into_iter().chain(done).collect()
}

async fn recover(work: &Repair, cx: step::Context<'_>) -> Result<Finish, Failure> {
    crate::durable::sweep(&work.paths.state_dir(), None);
    if let Some(open) = Upgrade::read(&work.paths)?.filter(|open| open.phase != upgrade::record::Phase::Prepared) {
        return Err(upgrade::Error::still_open(&open).into());
    }
    Ok(match open::settle(&work.paths, cx.observer).await? {
        None => Finish::Skipped("nothing was left behind".into()),
        Some(settled) => Finish::Done(settled.words()),
    })
}

/// Finds what is wrong, and refuses a token that cannot be right.
async fn tokens(work: &Repair, cx: step::Context<'_>) -> Result<Finish, Failure> {
    if let Some(warning) = work.intent.network.warning() {
        cx.observer.warn(warning);
    }
    let installed = Installed::read(&work.paths).ok_or(Error::NotInstalled)?;
    let mut context = context(work);
    let mut list = here(&work.paths, &installed, &context)?;
    if list.is_empty() {
        return Err(Error::NoComponents.into());
    }
    if list.iter().any(|one| matches!(&one.verdict, Verdict::Refused(error) if error.is_about_time())) {
        // Is it the token or this machine's clock? The manager's clock tells.
        ask_the_time(work, &installed, cx.observer).await;
        context = self::context(work);
        list = here(&work.paths, &installed, &context)?;
    }
    if !list.iter().any(|one| one.kind == Kind::Manager) {
        let asked = work.intent.manager.as_ref().is_some_and(|offered| offered.asked);
        if asked || work.intent.manager_token.as_ref().is_some_and(|offered| offered.asked) {
            cx.observer.warn("a connection proxy has no manager token, and its manager's address is left as it is");
        }
    }
    let diagnoses = diagnose(&list);
    let cases = case::cases(&installed, &diagnoses, &work.intent)?;
    for one in diagnoses.iter().filter(|one| cases.iter().any(|case| case.container == one.container)) {
        one.story.iter().for_each(|story| cx.observer.note(story));
    }
    if cases.is_empty() {
        return nothing(work, &installed, &list).await;
    }
    check(work, &installed, &cases, cx.observer).await?;
    for case in &cases {
        case.edited()?;
    }
    let names: Vec<&str> = cases.iter().map(|case| case.container).collect();
    let words = format!("{} to repair: {}", names.len(), names.join(", "));
    *work.cases.borrow_mut() = cases;
    Ok(Finish::Done(words))
}

/// The tokens of the components that this node runs: a release may bring the files of others, too.
///
/// # Errors
/// [`Error::Configuration`].
pub fn here(paths: &Paths, installed: &Installed, context: &Context<'_>) -> Result<Vec<Held>, Error> {
    let role = config::installed::role(paths, installed);
    let mut list = held::read(installed, role, context).map_err(Error::Configuration)?;
    if let Some(role) = role {
        let expected = installed.containers(role);
        list.retain(|one| expected.contains(&one.container));
    }
    Ok(list)
}

/// Now, by the manager's clock where that was asked for.
fn context(work: &Repair) -> Context<'static> {
    Context { needed: Duration::ZERO, ..Context::now(work.ahead.get()) }
}

async fn ask_the_time(work: &Repair, installed: &Installed, observer: &dyn Observer) {
    let Some(address) = manager_of(installed, &work.intent) else { return };
    let manager = Manager::new(&work.paths, &address, &work.intent.network);
    let Some(clocks) = manager.clocks(Deadline::after(ASK)).await else { return };
    work.ahead.set(clocks.ahead());
    if let Some(apart) = clocks.apart() {
        observer.warn(&format!("this machine's clock is {apart} the manager's: {CLOCK_REMEDY}"));
    }
}

/// The manager this node has, or is to have.
fn manager_of(installed: &Installed, intent: &RepairIntent) -> Option<HostPort> {
    let asked = intent.manager.as_ref().filter(|offered| offered.asked).map(|offered| offered.value.clone());
    let agent = installed.agent().ok().flatten();
    let agent = agent.and_then(|agent| case::address(&agent.manager_hostnames, agent.manager_port));
    let proxy = || {
        let proxies = installed.proxies().ok()?;
        proxies.iter().find_map(|proxy| case::address(&proxy.api_hostnames, proxy.api_port))
    };
    asked.or(agent).or_else(proxy)
}

/// There is nothing to repair; an agent that does not reach its manager is told so all the same.
async fn nothing(work: &Repair, installed: &Installed, list: &[Held]) -> Result<Finish, Failure> {
    let unsure = list.iter().find(|one| matches!(one.verdict, Verdict::Unverified { .. }));
    let agent = installed.agent().map_err(Error::Configuration)?;
    if let Some(address) = agent.and_then(|agent| case::address(&agent.manager_hostnames, agent.manager_port)) {
        let manager = Manager::new(&work.paths, &address, &work.intent.network);
        if let Err(error) = manager.healthcheck(Deadline::after(ASK)).await {
            let mut failure = Failure::from(error);
            let help = "if the agent has the wrong address, give the right one with --manager-hostname";
            failure.help = format!("{}; {help}", failure.help);
            return Err(failure);
        }
    }
    Ok(Finish::Complete(match unsure {
        None => "nothing to repair: every token is good".into(),
        Some(one) => format!("nothing to repair, but {}", one.describe(&work.paths)),
    }))
}

/// Refuses a token that is to be used and cannot be right.
async fn check(work: &Repair, installed: &Installed, cases: &[Case], observer: &dyn Observer) -> Result<(), Failure> {
    for (kind, given) in [
        (Kind::Registration, work.intent.registration.as_ref()),
        (Kind::Manager, work.intent.manager_token.as_ref().map(|offered| &offered.value)),
    ] {
        let used = |case: &Case| {
            let in_yaml = case.edits.iter().any(|edit| matches!(&edit.value, Value::Text(text) if Some(text) == given));
            case.kind() == kind && (in_yaml || (case.token_file.is_some() && case.token_file.as_ref() == given))
        };
        let (Some(token), true) = (given, cases.iter().any(used)) else { continue };
        let needed = work.intent.budget;
        let judge = || token::check(kind, work.intent.token_format, token, &Context { needed, ..context(work) });
        let mut result = judge();
        if result.as_ref().is_err_and(token::Error::is_about_time) && work.ahead.get().is_none() {
            ask_the_time(work, installed, observer).await;
            result = judge();
        }
        result?.warnings.iter().for_each(|warning| observer.warn(&format!("the {kind}: {warning}")));
    }
    Ok(())
}

/// The managers that the components are to work with have to answer, before anything is changed.
async fn manager(work: &Repair, cx: step::Context<'_>) -> Result<Finish, Failure> {
    let mut asked: Vec<HostPort> = Vec::new();
    let mut words = Vec::new();
    let cases = work.cases.borrow().clone();
    for case in cases.iter().filter(|case| case.cure != Cure::Clean) {
        let Some(address) = case.manager.clone().filter(|address| !asked.contains(address)) else { continue };
        if let Some(old) = case.old_manager.as_ref().filter(|old| **old != address && case.kind() == Kind::Manager) {
            let old = Manager::new(&work.paths, old, &work.intent.network);
            match old.healthcheck(cx.deadline.within(ASK)).await {
                Ok(_) => cx.observer.warn(&format!("{}, which the agent has now, is healthy, too", old.name())),
                Err(error) => cx.observer.note(&format!("the agent has {}: {error}", old.name())),
            }
        }
        let manager = Manager::new(&work.paths, &address, &work.intent.network);
        let health = manager.wait(cx.deadline, cx.observer).await?;
        health.warning().iter().for_each(|warning| cx.observer.warn(warning));
        words.push(format!("{} is healthy", manager.name()));
        asked.push(address);
    }
    Ok(match words.is_empty() {
        true => Finish::Skipped("no manager is needed for it".into()),
        false => Finish::Done(words.join(", ")),
    })
}
