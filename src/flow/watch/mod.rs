//! Looking at a node that is installed, again and again:
//!
//! ```text
//! come up ─> ready ─┐
//! probe ── probe ───┼─> how each stands ─> verdict ─> board, events, STATUS=
//! (each by itself)  │         │               └─> health.json, when something changes
//! a run at work ────┘         └─> remedies, where somebody wants them
//! ```
//!
//! Each probe has a loop of its own with its own jittered interval: one question at a time, no longer than its limit,
//! so nothing piles up and a slow one delays no other. While a run is at work (an upgrade by hand), nothing is asked:
//! it stops containers on purpose.

mod core;
mod gate;
mod mend;
mod rhythm;

pub use mend::Mend;

use crate::deadline::Deadline;
use crate::error::Failure;
use crate::health::{self, Board, Context, Probe, State};
use crate::intent::Role;
use crate::kasm::receipt::Receipt;
use crate::machine::kernel::boot_id;
use crate::observe::Supervisor;
use crate::paths::Paths;
use crate::step::{Hub, Signals};
use crate::words;
use core::Core;
use futures_util::future::Either;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

/// A watch.
pub struct Watch<'a> {
    /// Every path.
    pub paths: &'a Paths,
    /// What is asked.
    pub probes: &'a [Probe],
    /// What the probes look at: made at the beginning, and anew when a run has ended.
    pub context: &'a dyn Fn() -> Context,
    /// The node's role.
    pub role: Role,
    /// False if nothing was to be started (`--no-start`).
    pub started: bool,
    /// How often the containers are looked at (`run.watch`); the other intervals keep their measure to it.
    pub every: Duration,
    /// When it must be up at last, if it is not known to be up, or to have been up since the machine was started.
    pub until: Option<Deadline>,
    /// Who wants to know how the service is.
    pub supervisor: &'a dyn Supervisor,
    /// Where events go.
    pub hub: Hub,
    /// Where the node's health hangs.
    pub board: Board,
    /// What is done about it.
    pub mend: Mend<'a>,
}

/// Watches until a signal comes; then its name.
///
/// # Errors
/// The one end this comes to by itself is that the node was not up in time.
pub async fn run(watch: Watch<'_>, signals: &mut Signals) -> Result<&'static str, Failure> {
    let watch = &watch;
    // Of whatever cannot be read nobody knows the instance.
    let instance = Receipt::read(watch.paths).ok().flatten().and_then(|receipt| receipt.instance);
    let (state, damage) = State::read(watch.paths, instance, Some(watch.role), &words::now());
    if let Some(words) = damage {
        watch.supervisor.warn(&words);
    }
    let core = &Core::new(watch, state);
    let mut asking: FuturesUnordered<_> = watch.probes.iter().map(|probe| core.ask(probe)).collect();
    let mut mending = pin!(mend::run(core));
    let ended = tokio::select! {
        biased;
        signal = signals.next() => Either::Right(signal),
        failure = up(core) => Either::Left(failure),
        Some(never) = asking.next() => match never {},
        never = core.resume() => match never {},
        never = core.keep() => match never {},
        never = mending.as_mut() => match never {},
    };
    match ended {
        Either::Left(failure) => Err(failure),
        Either::Right(signal) => {
            // A repair hears the signal itself, and what it has begun it puts back.
            watch.supervisor.stopping();
            tokio::select! {
                () = core.orders.at_rest() => {}
                never = mending => match never {},
            }
            Ok(signal)
        }
    }
}

/// Waits until the node is up, says so, and has nothing more to do.
async fn up(core: &Core<'_>) -> Failure {
    let (watch, boot) = (core.watch, boot_id());
    if watch.until.is_some() && core.with_state(|state| state.was_up(&boot)) {
        // Only this service was started again. A container that is ill now would not let it come up, and nobody would
        // ask how it is, nor do anything about it, before the time for that is over.
        core.gate.up();
    } else {
        if watch.started
            && let Some(until) = watch.until
            && let Err(error) = health::come_up(watch.paths, watch.role, until, watch.supervisor).await
        {
            return error.into();
        }
        core.came_up(&boot);
    }
    watch.supervisor.ready();
    let never: Infallible = std::future::pending().await;
    match never {}
}

#[cfg(test)]
mod tests;
