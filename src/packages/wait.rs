//! Waiting until a package manager is free.
//!
//! Polling, because the one way to be woken is to queue for the lock, and whoever queues also takes it
//! and so keeps others from it. One look costs some tens of microseconds.

use super::{Error, Manager, locks};
use crate::deadline::Deadline;
use crate::observe::{Observer, Wait};
use crate::paths::Paths;
use crate::system::holder::Holder;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// How often is looked while somebody holds it.
const INTERVAL: Duration = Duration::from_millis(25);
/// So many holders are remembered by name.
const MOST_HOLDERS: usize = 64;

/// Nobody holds a lock of the package manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quiet {
    /// How long that took.
    pub waited: Duration,
    /// Who held it meanwhile, one after the other; empty if it was free at once.
    pub holders: Vec<String>,
}

/// Waits until nobody uses the package manager (see [`locks`] for what counts), and tells the observer
/// for whom it waits, at first and whenever that changes. It is free at the moment of the look, no
/// longer: whoever needs it next still has to take the locks.
///
/// # Errors
/// [`Error::Busy`] once the deadline has passed; [`Error::Unreadable`].
pub async fn until_quiet(
    manager: &'static Manager,
    paths: &Paths,
    deadline: Deadline,
    observer: &dyn Observer,
) -> Result<Quiet, Error> {
    let start = Instant::now();
    let mut holders: Vec<String> = Vec::new();
    let mut last: Option<(locks::Held, Holder)> = None;
    let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + INTERVAL, INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // A second look at once: the first sees one lock after the other, and somebody may have let go
        // of the last and taken the first meanwhile.
        let held = match locks::look(manager, paths)? {
            Some(held) => held,
            None => match locks::look(manager, paths)? {
                Some(held) => held,
                None => return Ok(Quiet { waited: start.elapsed(), holders }),
            },
        };
        let holder = match &last {
            Some((before, holder)) if *before == held => holder.clone(),
            _ => held.holder(paths),
        };
        if last.as_ref().is_none_or(|(_, before)| *before != holder) {
            let text = holder.to_string();
            observer.note(&held.obstacle.with(&holder));
            observer.waiting(&Wait { what: "the package manager".into(), holder: Some(text.clone()), deadline });
            if holders.last() != Some(&text) && holders.len() < MOST_HOLDERS {
                holders.push(text);
            }
        }
        if deadline.is_over() {
            return Err(Error::Busy { manager, obstacle: held.obstacle, holder, waited: start.elapsed() });
        }
        last = Some((held, holder));
        interval.tick().await;
    }
}
