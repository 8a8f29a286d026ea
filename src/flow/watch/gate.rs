//! When nothing may be asked: while a run is at work, which stops containers on purpose, and, for what is vital, before
//! the node has come up for the first time.

use crate::paths::Paths;
use crate::step::RunLock;
use std::time::Duration;
use tokio::sync::watch;

/// How often it is looked whether a run has ended: the kernel tells nobody when a lock does.
const LOOK: Duration = Duration::from_secs(1);

/// Where things stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Phase {
    /// The node has come up.
    pub(super) up: bool,
    /// Which run is at work, in words.
    pub(super) at_work: Option<String>,
}

/// The gate before every question.
pub(super) struct Gate {
    paths: Paths,
    phase: watch::Sender<Phase>,
}

impl Gate {
    pub(super) fn new(paths: &Paths) -> Gate {
        Gate { paths: paths.clone(), phase: watch::Sender::new(Phase::default()) }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    pub(super) fn up(&self) {
        self.phase.send_modify(|phase| phase.up = true);
    }

    /// Looks whether a run is at work. True if that is news.
    pub(super) fn look(&self) -> bool {
        let at_work = RunLock::holder(&self.paths).map(|holder| words(&holder));
        self.phase.send_if_modified(|phase| {
            let news = phase.at_work != at_work;
            phase.at_work = at_work;
            news
        })
    }

    /// Waits until the question may be asked. True if it had to wait.
    pub(super) async fn pass(&self, vital: bool) -> bool {
        let may = |phase: &Phase| phase.at_work.is_none() && (phase.up || !vital);
        let mut phase = self.phase.subscribe();
        if may(&phase.borrow()) {
            return false;
        }
        // The sender lives as long as this does, so there is no end but this one.
        phase.wait_for(may).await.is_ok()
    }

    /// Waits until a run is at work, and until it has ended.
    pub(super) async fn over(&self) {
        let mut phase = self.phase.subscribe();
        // As above.
        if phase.wait_for(|phase| phase.at_work.is_some()).await.is_ok() {
            drop(phase);
        }
        while self.phase().at_work.is_some() {
            tokio::time::sleep(LOOK).await;
            self.look();
        }
    }
}

/// `an upgrade is at work (pid 812): nothing is judged until it has ended`. `holder`: `upgrade, pid 812`.
fn words(holder: &str) -> String {
    let (verb, pid) = holder.split_once(", ").unwrap_or((holder, ""));
    let run = match verb {
        "upgrade" => "an upgrade",
        "install" => "an installation",
        "rollback" => "a rollback",
        "token repair" => "a repair of tokens",
        "bake" => "the baking of an image",
        _ => "a run",
    };
    let pid = if pid.is_empty() { String::new() } else { format!(" ({})", crate::words::one_line(pid)) };
    format!("{run} is at work{pid}: nothing is judged until it has ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_at_work_is_said_in_words() {
        assert_eq!(words("upgrade, pid 7"), "an upgrade is at work (pid 7): nothing is judged until it has ended");
        assert_eq!(words(""), "a run is at work: nothing is judged until it has ended");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_vital_waits_for_the_node_and_everything_for_a_run() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        let gate = Gate::new(&paths);
        assert!(!gate.look() && !gate.pass(false).await);
        let waits = async |vital| tokio::time::timeout(Duration::from_millis(1), gate.pass(vital)).await.is_err();
        assert!(waits(true).await);
        gate.up();
        assert!(!gate.pass(true).await);
        let lock = RunLock::take(&paths, "upgrade").unwrap();
        assert!(gate.look() && !gate.look());
        assert!(waits(true).await && waits(false).await);
        let both = async { tokio::join!(gate.pass(true), gate.over()) };
        drop(lock);
        assert!(both.await.0);
        assert_eq!(gate.phase(), Phase { up: true, at_work: None });
    }
}
