//! One moment after which nothing may go on, handed down from the boot's budget to every wait.

use std::time::{Duration, Instant};

/// A moment on the monotonic clock. A step of the wall clock does not move it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// The moment `span` from now. Spans beyond a year count as a year: the clock must not overflow.
    pub fn after(span: Duration) -> Deadline {
        Deadline(Instant::now() + span.min(Duration::from_secs(365 * 24 * 3600)))
    }

    /// What is left; zero once it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// True once it has passed.
    pub fn is_over(self) -> bool {
        self.remaining().is_zero()
    }

    /// A deadline for a part of the work: `span` from now, but never later than this one.
    pub fn within(self, span: Duration) -> Deadline {
        self.min(Deadline::after(span))
    }

    /// The moment itself, for tokio's timers.
    pub fn instant(self) -> Instant {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_never_outlives_the_whole() {
        let whole = Deadline::after(Duration::from_secs(5));
        assert_eq!(whole.within(Duration::from_secs(60)), whole);
        assert!(whole.within(Duration::from_secs(1)) < whole);
        assert!(Deadline::after(Duration::ZERO).is_over());
        assert!(!Deadline::after(Duration::MAX).is_over());
    }
}
