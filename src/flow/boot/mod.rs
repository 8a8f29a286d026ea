//! The life of the service: from the machine's start to a node that is up, and from then on watching it.
//!
//! ```text
//! (an upgrade that is open comes to its end first: flow::upgrade)
//! cloud-init's network stage ─> user-data ─> configuration ─┬─> install ─┬─> watch
//!                                                           └────────────┘ what is proved already
//! ```
//!
//! Nothing here is done twice for one instance: what was proved on this instance is only watched, and no
//! token is looked at for that. SIGTERM ends it at any moment; a step that is at work ends as it does in
//! `install`, and its end is on record.

mod configuration;
mod decide;
mod handed;

use super::upgrade::prove::is_unproved;
use super::upgrade::{self, record::Open};
use super::watch::{self, Mend, Watch};
use super::{install, repair};
use crate::config::{self, Loaded, Ready, RunOptions};
use crate::deadline::Deadline;
use crate::error::{Exit, Failure};
use crate::health::{self, Board, Context};
use crate::intent::{HostPort, Intent, Role};
use crate::machine::cloud_init;
use crate::machine::instance::Identity;
use crate::net;
use crate::observe::Supervisor;
use crate::paths::Paths;
use crate::step::error::INTERRUPTED;
use crate::step::{Hub, Journal, RunLock, Signals, View};
use decide::Decision;
use futures_util::future::{Either, FutureExt, select};
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

/// How long cloud-init may take to its network stage's end. It gives up on a cloud's metadata after two
/// minutes at most, and waits for a network before that.
const CLOUD_INIT: Duration = Duration::from_secs(5 * 60);

/// What the service is given.
pub struct Boot<'a> {
    /// Every path.
    pub paths: &'a Paths,
    /// The one configuration file, if the usual ones are not to be read.
    pub file: Option<&'a Path>,
    /// Reads the configuration, anew each time.
    pub load: &'a dyn Fn() -> Result<Loaded, config::Error>,
    /// Who wants to know.
    pub supervisor: &'a dyn Supervisor,
    /// The views of a run.
    pub views: &'a dyn Fn() -> Vec<Box<dyn View>>,
    /// Where the node's health is to hang.
    pub board: Board,
}

/// Runs until it is told to stop; then the signal's name.
///
/// # Errors
/// Whatever keeps the node from coming up; [`crate::error::Exit::may_pass`] tells what is worth another try.
/// Once the node was up, nothing ends the watch but a signal.
pub async fn run(boot: Boot<'_>) -> Result<&'static str, Failure> {
    let Boot { paths, file, load, supervisor, views, board } = boot;
    // From here on, so that no signal falls between two of the things below.
    let mut signals = Signals::listen()?;
    let place = configuration::Place { paths, file, load };
    let open = match finish(&mut signals, &place, supervisor, views).await? {
        Either::Left(open) => open,
        Either::Right(signal) => return Ok(stopped(supervisor, signal)),
    };
    let prepare = prepare(&place, open, supervisor);
    let Prepared { options, identity, decision } = match or_signal(&mut signals, prepare).await {
        Either::Left(prepared) => prepared?,
        Either::Right(signal) => return Ok(stopped(supervisor, signal)),
    };
    let (watched, until) = match decision {
        Decision::Watch(watched, budget) => {
            // What a repair has changed cannot be put back without Docker, which starts beside us.
            if repair::is_open(paths) {
                let docker = install::docker::awaited(paths, Deadline::after(budget), supervisor);
                if let Either::Right(signal) = or_signal(&mut signals, docker).await {
                    return Ok(stopped(supervisor, signal));
                }
            }
            tidy(paths, supervisor).await;
            (watched, Some(Deadline::after(budget)))
        }
        Decision::Install(intent) => {
            let watched = Watched::of(&intent);
            let budget = Deadline::after(intent.budget);
            let installed = install(&mut signals, paths, *intent, identity, supervisor, views()).await;
            match installed? {
                Either::Left(proved) => (watched, (!proved).then_some(budget)),
                Either::Right(signal) => return Ok(stopped(supervisor, signal)),
            }
        }
    };
    let context = || watched.context(paths, load);
    let watch = Watch {
        paths,
        probes: &health::probes(),
        context: &context,
        role: watched.role,
        started: watched.started,
        every: options.watch,
        until,
        supervisor,
        hub: Hub::unrecorded("watch".into(), views()),
        board,
        mend: Mend { remedies: options.remedies, load, views },
    };
    watch::run(watch, &mut signals).await.map(|signal| stopped(supervisor, signal))
}

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Watched {
    role: Role,
    /// False if nothing was to be started.
    started: bool,
    /// The manager, where the configuration names one.
    manager: Option<HostPort>,
}

impl Watched {
    fn of(intent: &Intent) -> Watched {
        let manager = Some(intent.manager.address.clone());
        Watched { role: intent.role, started: health::is_started(intent), manager }
    }

    /// What is known of a node without a configuration.
    fn plain(role: Role) -> Watched {
        Watched { role, started: true, manager: None }
    }

    /// What the probes look at, as far as it is configured and on record now.
    fn context(&self, paths: &Paths, load: &dyn Fn() -> Result<Loaded, config::Error>) -> Context {
        let mut network = net::Options::default();
        let known = load().and_then(|loaded| {
            network = loaded.merged.network().unwrap_or_default();
            loaded.merged.known()
        });
        let configuration = known.err().map(Failure::from);
        let mut context = Context::new(paths.clone());
        context.role = Some(self.role);
        context.manager.clone_from(&self.manager);
        (context.network, context.started) = (network, self.started);
        (context.configuration, context.last_failure) = (configuration, Journal::last_failure(paths));
        context
    }
}

struct Prepared {
    options: RunOptions,
    identity: Identity,
    decision: Decision,
}

/// Everything before something is done: waiting, reading, deciding.
///
/// `open`: the role of an upgrade that stands and could not be proved yet. Such a node is watched.
async fn prepare(
    place: &configuration::Place<'_>,
    open: Option<Role>,
    supervisor: &dyn Supervisor,
) -> Result<Prepared, Failure> {
    supervisor.status("starting");
    // As far as it is there already; whether it is right is asked when everybody has written his part.
    let loaded = (place.load)().ok();
    let early = loaded.and_then(|loaded| loaded.merged.run_options().ok()).unwrap_or_default();
    announce(&early, supervisor);
    cloud_init::network_stage(place.paths, Deadline::after(CLOUD_INIT), supervisor).await;
    let here = Identity::find(place.paths, None);
    if let Some(role) = open {
        let watched = Watched::plain(role);
        return Ok(Prepared { options: early, identity: here, decision: Decision::Watch(watched, Intent::BUDGET) });
    }
    if let Some((options, decision)) = configuration::settled(place, &here, supervisor) {
        announce(&options, supervisor);
        return Ok(Prepared { options, identity: here, decision });
    }
    let told = handed::take(place, supervisor).await?;
    let identity = Identity::find(place.paths, told.as_deref());
    let (options, decision) = configuration::wait(place, &early, &identity, supervisor).await?;
    announce(&options, supervisor);
    Ok(Prepared { options, identity, decision })
}

fn announce(options: &RunOptions, supervisor: &dyn Supervisor) {
    if options.ready == Ready::AtOnce {
        supervisor.ready();
    }
}

/// Installs. Left: whether the node was proved to be up. Right: it was told to stop, and has.
async fn install(
    signals: &mut Signals,
    paths: &Paths,
    intent: Intent,
    identity: Identity,
    supervisor: &dyn Supervisor,
    views: Vec<Box<dyn View>>,
) -> Result<Either<bool, &'static str>, Failure> {
    let work = install::run_at_boot(paths, intent, identity, views);
    let (result, signal) = match to_its_end(signals, work, supervisor).await {
        Either::Left(ended) => ended,
        Either::Right(signal) => return Ok(Either::Right(signal)),
    };
    match (result, signal) {
        (Err(failure), Some(signal)) if failure.reason == INTERRUPTED => Ok(Either::Right(signal)),
        (Ok(_), Some(signal)) => Ok(Either::Right(signal)),
        (Err(failure), _) => Err(failure),
        (Ok(report), None) => Ok(Either::Left(report.result == "done")),
    }
}

/// Brings an upgrade that was cut off to its end, before anything is decided: the new version proved, or the
/// version before back. Left: the role of one that stands and that only its manager could prove. Right: it was
/// told to stop, and has.
async fn finish(
    signals: &mut Signals,
    place: &configuration::Place<'_>,
    supervisor: &dyn Supervisor,
    views: &dyn Fn() -> Vec<Box<dyn View>>,
) -> Result<Either<Option<Role>, &'static str>, Failure> {
    let Some(Open { role, .. }) = Open::read(place.paths)? else { return Ok(Either::Left(None)) };
    // As far as it is there and right: without a configuration the node itself knows enough.
    let merged = (place.load)().map(|loaded| loaded.merged).unwrap_or_default();
    let known = (merged.network().unwrap_or_default(), merged.settle().unwrap_or(Intent::SETTLE));
    let work = upgrade::finish(place.paths, known, views());
    let (result, signal) = match to_its_end(signals, work, supervisor).await {
        Either::Left(ended) => ended,
        Either::Right(signal) => return Ok(Either::Right(signal)),
    };
    match (result, signal) {
        // Whatever was cut by it is on record, for the next start.
        (_, Some(signal)) => Ok(Either::Right(signal)),
        (Ok(None), None) => Ok(Either::Left(None)),
        (Ok(Some(report)), None) => {
            supervisor.warn(&format!("an upgrade had been cut off: {}", report.detail));
            Ok(Either::Left(None))
        }
        (Err(failure), None) if failure.exit() == Exit::RolledBack => {
            supervisor.warn(&failure.message);
            Ok(Either::Left(None))
        }
        (Err(failure), None) if is_unproved(&failure) => {
            supervisor.warn(&failure.message);
            Ok(Either::Left(Some(role)))
        }
        (Err(failure), None) => Err(failure),
    }
}

/// A run, and the signal that came while it was at work: it hears the signal itself, ends its steps and records that,
/// and here it is only said. Right: the signal came before the run could listen, and it was not begun.
async fn to_its_end<F: Future>(
    signals: &mut Signals,
    work: F,
    supervisor: &dyn Supervisor,
) -> Either<(F::Output, Option<&'static str>), &'static str> {
    if let Some(signal) = signals.next().now_or_never() {
        return Either::Right(signal);
    }
    let mut work = pin!(work);
    match or_signal(signals, work.as_mut()).await {
        Either::Left(result) => {
            // It may have heard the signal, and ended, before we did.
            let signal = signals.next().now_or_never();
            signal.iter().for_each(|_| supervisor.stopping());
            Either::Left((result, signal))
        }
        Either::Right(signal) => {
            supervisor.stopping();
            Either::Left((work.await, Some(signal)))
        }
    }
}

/// A run that was killed after its proof has left what it changed for the time of the run.
async fn tidy(paths: &Paths, supervisor: &dyn Supervisor) {
    // Whoever holds the lock is at work and needs what it has changed.
    let Ok(_lock) = RunLock::take(paths, "run") else { return };
    for warning in install::put_back(paths).await {
        supervisor.warn(&warning);
    }
    if let Some(words) = repair::end(paths, supervisor).await {
        supervisor.note(&words);
    }
}

fn stopped(supervisor: &dyn Supervisor, signal: &'static str) -> &'static str {
    supervisor.stopping();
    signal
}

/// The work's end, or the signal that came first. The work is only dropped if it was given as a whole.
async fn or_signal<F: Future>(signals: &mut Signals, work: F) -> Either<F::Output, &'static str> {
    match select(pin!(signals.next()), pin!(work)).await {
        Either::Left((signal, _)) => Either::Right(signal),
        Either::Right((result, _)) => Either::Left(result),
    }
}
