//! Whether this machine's clock is right: by the manager's `Date`, and by who keeps it in time.

use super::{Context, Verdict};
use crate::kasm::manager::CLOCK_REMEDY;
use crate::machine::clock::kept_in_time;
use futures_util::future::{BoxFuture, FutureExt};
use std::time::SystemTime;

/// 2025-01-01: this program is younger, so a clock that says less was never set.
const BEFORE_US: u64 = 1_735_689_600;

pub(super) fn clock(context: &Context) -> BoxFuture<'_, Verdict> {
    async move {
        let kept = kept_in_time(&context.paths);
        let clocks = match &context.manager {
            Some(manager) => context.look(manager).await.clocks,
            None => None,
        };
        judge(clocks.map(|clocks| clocks.apart()), kept, SystemTime::now())
    }
    .boxed()
}

/// `apart`: how far from the manager's clock, if that is known. `kept`: whether time synchronisation says
/// that it is at work, if it says anything.
fn judge(apart: Option<Option<String>>, kept: Option<bool>, now: SystemTime) -> Verdict {
    let warn = |detail: String| Verdict::Warn { detail, remedy: CLOCK_REMEDY.into() };
    let never_set = now.duration_since(SystemTime::UNIX_EPOCH).map_or(true, |since| since.as_secs() < BEFORE_US);
    match (apart, kept) {
        (Some(Some(apart)), Some(true)) => Verdict::Warn {
            detail: format!(
                "this machine's clock is {apart} the manager's; this one is kept in time, so the manager's is most \
                 likely wrong"
            ),
            remedy: "set the manager's clock: `timedatectl` there shows whether it is kept in time".into(),
        },
        (Some(Some(apart)), _) => warn(format!(
            "this machine's clock is {apart} the manager's: good tokens and certificates may look expired or not valid \
             yet"
        )),
        (Some(None), Some(true)) => Verdict::Pass("agrees with the manager's, and is kept in time".into()),
        (Some(None), _) => Verdict::Pass("agrees with the manager's".into()),
        (None, _) if never_set => warn("this machine's clock was never set: it says a time before 2025".into()),
        (None, Some(true)) => Verdict::Pass("kept in time".into()),
        (None, Some(false)) => {
            warn("nothing keeps this machine's clock in time, and the manager's time is not known".into())
        }
        (None, None) => Verdict::Skipped("there is nobody to compare it with".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_clock_is_judged_by_the_managers_first_and_by_its_keeper_second() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(BEFORE_US + 1);
        let apart = || Some(Some("3 days behind".to_owned()));
        let cases = [
            (apart(), None, now),
            (apart(), Some(true), now),
            (Some(None), Some(true), now),
            (Some(None), Some(false), SystemTime::UNIX_EPOCH),
            (None, Some(true), now),
            (None, Some(false), now),
            (None, None, now),
            (None, Some(false), SystemTime::UNIX_EPOCH),
        ];
        let lines: Vec<String> = cases
            .into_iter()
            .map(|(apart, kept, now)| judge(apart, kept, now))
            .map(|verdict| format!("{}: {}", verdict.word(), verdict.detail()))
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        warn: this machine's clock is 3 days behind the manager's: good tokens and certificates may look expired or not valid yet
        warn: this machine's clock is 3 days behind the manager's; this one is kept in time, so the manager's is most likely wrong
        pass: agrees with the manager's, and is kept in time
        pass: agrees with the manager's
        pass: kept in time
        warn: nothing keeps this machine's clock in time, and the manager's time is not known
        skipped: there is nobody to compare it with
        warn: this machine's clock was never set: it says a time before 2025
        ");
    }
}
