//! This machine's clock: beside the manager's, and whether somebody keeps it in time.

use crate::health::model::{Finding, Measure, ProbeStatus};
use crate::health::probe::Context;
use crate::kasm::manager::{CLOCK_REMEDY, Clocks};
use crate::machine::clock::kept_in_time;
use futures_util::future::{BoxFuture, FutureExt};

pub(super) const NAME: &str = "clock";

pub(super) fn clock<'a>(context: &'a Context, _: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    async move {
        let kept = kept_in_time(&context.paths);
        let clocks = context.manager(NAME).await.ok().and_then(|seen| seen.look.clocks);
        let mut finding = judge(clocks.as_ref(), kept);
        if let Some(clocks) = clocks {
            finding = finding.with(Measure::new("clock_skew_seconds", skew(&clocks)));
        }
        match kept {
            Some(kept) => finding.with(Measure::new("clock_synchronized", f64::from(u8::from(kept)))),
            None => finding,
        }
    }
    .boxed()
}

/// By how much this machine's clock is ahead of the manager's; `Date` counts whole seconds.
fn skew(clocks: &Clocks) -> f64 {
    match clocks.ours.duration_since(clocks.manager) {
        Ok(ahead) => ahead.as_secs_f64(),
        Err(behind) => -behind.duration().as_secs_f64(),
    }
}

fn judge(clocks: Option<&Clocks>, kept: Option<bool>) -> Finding {
    let kept_words = match kept {
        Some(true) => ", and is kept in time",
        Some(false) => ", but nothing keeps it in time",
        None => "",
    };
    match (clocks.map(Clocks::apart), kept) {
        (Some(Some(apart)), Some(true)) => Finding::warn(
            format!(
                "the manager's clock is most likely wrong: this machine's is {apart} it, and is kept in time; tokens \
                 may look expired"
            ),
            "set the manager's clock: `timedatectl` there shows whether it is kept in time",
        ),
        (Some(Some(apart)), _) => Finding::fail(
            format!("this machine's clock is {apart} the manager's: good tokens and certificates may look expired"),
            CLOCK_REMEDY,
        ),
        (_, Some(false)) => {
            let beside = if clocks.is_some() { ", although it still agrees with the manager's" } else { "" };
            Finding::warn(format!("nothing keeps this machine's clock in time{beside}"), CLOCK_REMEDY)
        }
        (Some(None), _) => Finding::ok(format!("agrees with the manager's{kept_words}")),
        (None, Some(true)) => Finding::ok("is kept in time"),
        (None, None) => Finding::unknown("the manager does not tell its time, and nobody says who keeps this clock"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn two_clocks_and_a_keeper_make_a_verdict() {
        let manager = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let apart = |seconds: i64| {
            let span = Duration::from_secs(seconds.unsigned_abs());
            Some(Clocks { manager, ours: if seconds < 0 { manager - span } else { manager + span } })
        };
        assert_eq!(skew(&apart(-90).unwrap()), -90.0);
        let cases = [
            (apart(-90), None),
            (apart(90_000), Some(true)),
            (apart(90_000), Some(false)),
            (apart(-59), Some(true)),
            (apart(0), Some(false)),
            (apart(0), None),
            (None, Some(true)),
            (None, Some(false)),
            (None, None),
        ];
        let lines = cases.map(|(clocks, kept)| {
            let finding = judge(clocks.as_ref(), kept);
            format!("{}: {}", finding.level, finding.words)
        });
        insta::assert_snapshot!(lines.join("\n"), @"
        fail: this machine's clock is 1 minute 30 seconds behind the manager's: good tokens and certificates may look expired
        warn: the manager's clock is most likely wrong: this machine's is 1 day 1 hour ahead of it, and is kept in time; tokens may look expired
        fail: this machine's clock is 1 day 1 hour ahead of the manager's: good tokens and certificates may look expired
        ok: agrees with the manager's, and is kept in time
        warn: nothing keeps this machine's clock in time, although it still agrees with the manager's
        ok: agrees with the manager's
        ok: is kept in time
        warn: nothing keeps this machine's clock in time
        unknown: the manager does not tell its time, and nobody says who keeps this clock
        ");
    }
}
