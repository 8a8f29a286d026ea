//! When what is asked again.

use crate::health::Probe;
use crate::net::retry::random_fraction;
use std::time::Duration;

/// What the intervals of the probes are made for: a look at the containers each 30 s.
const USUAL: Duration = Duration::from_secs(30);
/// No pause is shorter: whatever is configured, this machine has other things to do.
const SHORTEST: Duration = Duration::from_millis(5);
/// The first questions after a start, or after a run, are spread over so much time at the longest.
const FIRST: Duration = Duration::from_secs(5);

/// How fast everything goes. `run.watch` is how often the containers are looked at; the others keep their measure
/// to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rhythm {
    scale: f64,
}

impl Rhythm {
    pub(super) fn of(watch: Duration) -> Rhythm {
        Rhythm { scale: watch.as_secs_f64() / USUAL.as_secs_f64() }
    }

    /// So much time as things are made for, at this speed.
    pub(super) fn scaled(self, span: Duration) -> Duration {
        span.mul_f64(self.scale).max(SHORTEST)
    }

    /// How long until a probe is asked again. What is in doubt is asked sooner, so that it is no longer in doubt after
    /// about one interval.
    pub(super) fn pause(self, probe: &Probe, in_doubt: bool) -> Duration {
        let times = if in_doubt { probe.confirm.max(2) } else { 1 };
        jittered(self.scaled(probe.every / times))
    }

    /// How long until a probe is asked for the first time. What decides is asked at once; with all others there is no
    /// hurry, and a machine that boots has enough to do.
    pub(super) fn first(self, probe: &Probe) -> Duration {
        let span = if probe.vital { Duration::ZERO } else { self.scaled(probe.every / 6).min(FIRST) };
        span.mul_f64(random_fraction())
    }
}

/// The span, a tenth more or less: machines that were started together do not all ask together, and neither do the
/// probes of one machine.
fn jittered(span: Duration) -> Duration {
    span.mul_f64(0.9 + 0.2 * random_fraction()).max(SHORTEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Context, Finding, ProbeStatus};
    use futures_util::future::{BoxFuture, FutureExt};

    fn ok<'a>(_: &'a Context, _: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
        async { Finding::ok("") }.boxed()
    }

    const PROBE: Probe = Probe {
        name: "p",
        about: "",
        every: Duration::from_secs(60),
        limit: Duration::from_secs(1),
        confirm: 3,
        vital: false,
        ask: ok,
    };

    #[test]
    fn the_pause_between_two_looks_stays_near_what_was_asked_for() {
        let rhythm = Rhythm::of(USUAL);
        for _ in 0..64 {
            let (pause, doubt) = (rhythm.pause(&PROBE, false), rhythm.pause(&PROBE, true));
            assert!((54.0..=66.0).contains(&pause.as_secs_f64()), "{pause:?}");
            assert!((18.0..=22.0).contains(&doubt.as_secs_f64()), "{doubt:?}");
            assert!(rhythm.first(&PROBE) <= FIRST);
        }
        assert_eq!(rhythm.first(&Probe { vital: true, ..PROBE }), Duration::ZERO);
    }

    #[test]
    fn others_keep_their_measure_to_the_look_at_the_containers() {
        let rhythm = Rhythm::of(Duration::from_secs(300));
        assert!((540.0..=660.0).contains(&rhythm.pause(&PROBE, false).as_secs_f64()));
        for watch in [Duration::ZERO, Duration::from_nanos(1)] {
            assert!(Rhythm::of(watch).pause(&PROBE, false) >= SHORTEST);
        }
        // The longest that can be configured.
        assert!(Rhythm::of(crate::words::LONGEST_SPAN).pause(&PROBE, false) > crate::words::LONGEST_SPAN);
    }
}
