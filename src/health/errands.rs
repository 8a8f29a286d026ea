//! Work that may hang for ever, because a disk or a file system does: on threads of their own, so that nothing else
//! waits for it, and never twice at the same time.

use super::model::Finding;
use crate::blocking;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who is out on an errand.
#[derive(Debug, Clone, Default)]
pub(super) struct Errands(Arc<Mutex<HashSet<&'static str>>>);

impl Errands {
    /// Does the work, and hands its result over. A future that is dropped leaves the work where it is: until it ends,
    /// no other is begun under the same name. The end of this process does not wait for it.
    ///
    /// # Errors
    /// What to say where no result comes.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Finding> {
        if !self.out().insert(name) {
            return Err(Finding::unknown("the question before this one hangs: is a disk or a mount not answering?"));
        }
        let back = Back { errands: self.clone(), name };
        let errand = move || {
            let result = work();
            drop(back);
            result
        };
        let told = blocking::begin(format!("probe {name}"), errand);
        let told = told.map_err(|error| Finding::unknown(format!("no thread can be started: {error}")))?;
        told.await.map_err(|_| Finding::unknown("the question came to no end"))
    }

    fn out(&self) -> MutexGuard<'_, HashSet<&'static str>> {
        // A set of names is whole whatever panicked beside it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Strikes the name out when the work is over, or was never begun.
struct Back {
    errands: Errands,
    name: &'static str,
}

impl Drop for Back {
    fn drop(&mut self) {
        self.errands.out().remove(self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn work_that_hangs_is_not_begun_twice_and_once_it_ends_it_is_again() {
        let errands = Errands::default();
        let (go, wait) = mpsc::channel::<()>();
        let hanging = errands.run("disk", move || wait.recv().ok());
        let first = tokio::time::timeout(std::time::Duration::from_millis(10), hanging).await;
        assert!(first.is_err());
        assert!(errands.run("disk", || ()).await.unwrap_err().words.contains("hangs"));
        assert_eq!(errands.run("memory", || 7).await, Ok(7));
        drop(go);
        while errands.out().contains("disk") {
            tokio::task::yield_now().await;
        }
        assert_eq!(errands.run("disk", || 8).await, Ok(8));
    }

    #[tokio::test]
    async fn work_that_panics_is_no_answer() {
        let errands = Errands::default();
        let finding = errands.run("disk", || -> () { std::panic::resume_unwind(Box::new(())) }).await.unwrap_err();
        assert_eq!(finding.words, "the question came to no end");
        assert_eq!(errands.run("disk", || 1).await, Ok(1));
    }
}
