//! A sign of life of the loop that does the work: not that a thread is there, but that it turns.

use crate::words;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The longest time between two beats of work that only waits.
const BEAT: Duration = Duration::from_secs(5);

/// When the work last turned. Clones are of the same work.
#[derive(Debug, Clone)]
pub struct Pulse {
    begun: Instant,
    /// Milliseconds after that.
    beat: Arc<AtomicU64>,
}

impl Default for Pulse {
    fn default() -> Pulse {
        Pulse { begun: Instant::now(), beat: Arc::default() }
    }
}

impl Pulse {
    /// Does the work, and notes whenever it turns.
    pub async fn beside<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut timer = pin!(tokio::time::sleep(BEAT));
        poll_fn(|cx| {
            let result = work.as_mut().poll(cx);
            self.beat();
            if result.is_pending() {
                timer.as_mut().reset(tokio::time::Instant::now() + BEAT);
                if timer.as_mut().poll(cx).is_ready() {
                    // It was due before it was set: then there is another turn at once.
                    cx.waker().wake_by_ref();
                }
            }
            result
        })
        .await
    }

    /// It turns.
    pub fn beat(&self) {
        let ms = words::millis(self.begun.elapsed());
        self.beat.store(ms, Ordering::Relaxed);
    }

    /// For how long it has not turned.
    pub fn still(&self) -> Duration {
        self.begun.elapsed().saturating_sub(Duration::from_millis(self.beat.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_only_waits_has_a_pulse_too() {
        let pulse = Pulse { begun: Instant::now() - Duration::from_secs(100), beat: Arc::default() };
        assert!(pulse.still() >= Duration::from_secs(100));
        pulse.beside(tokio::time::sleep(3 * BEAT)).await;
        assert!(pulse.still() < Duration::from_secs(50));
        let (before, other) = (pulse.beat.load(Ordering::Relaxed), pulse.clone());
        pulse.beat.store(0, Ordering::Relaxed);
        let work = async {
            tokio::time::sleep(2 * BEAT).await;
            other.beat.load(Ordering::Relaxed)
        };
        assert!(pulse.beside(work).await >= before);
    }
}
