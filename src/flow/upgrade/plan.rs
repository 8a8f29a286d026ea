//! The steps of an upgrade, and what each is for.

use super::{Change, before, prove, script};
use crate::flow::install::{self, gather};
use crate::flow::packages;
use crate::flow::run::fingerprint;
use crate::step::{Plan, Step};

impl Change {
    /// The plan: what will be done, in words and in code.
    pub fn plan(&self) -> Plan<Change> {
        Plan { verb: "upgrade", fingerprint: self.fingerprint(), steps: self.steps() }
    }

    fn steps(&self) -> Vec<Step<Change>> {
        let intent = &self.install.intent;
        let unpacked = self.paths().shown(&self.paths().unpacked_dir());
        let (from, to) = (self.from(), self.to());
        let drain = match (self.options.force, self.options.drain) {
            (true, _) => "go on whatever sessions are there (--force)".to_owned(),
            (_, Some(drain)) => format!("wait up to {} for sessions to end", crate::words::span(drain)),
            _ => "see once more that no session is there".into(),
        };
        vec![
            self.recover(),
            Step::new(
                "tokens",
                &["recover"],
                "check the tokens, given and installed, without using them",
                |work, cx| Box::pin(before::tokens(work, cx)),
            ),
            Step::new(
                "present",
                &["tokens"],
                format!("see that {to} is an upgrade of {from}; end here if it is there"),
                |work, cx| Box::pin(before::present(work, cx)),
            ),
            Step::new("sessions", &["present"], "look for sessions on this node", |work, cx| {
                Box::pin(before::sessions(work, cx))
            }),
            Step::new("preflight", &["sessions"], "check the machine, its disks and the way to the manager", {
                |work, cx| Box::pin(install::before::preflight(&work.install, true, cx))
            }),
            Step::new("fetch", &["preflight"], self.install.fetch_about(), |work: &Change, cx| {
                Box::pin(gather::fetch(&work.install, cx))
            })
            .lasting(|work| work.install.is_fetched()),
            Step::new("manager", &["preflight"], format!("wait until manager {} is healthy", self.manager().name()), {
                |work: &Change, cx| Box::pin(gather::manager(&work.install, cx))
            })
            .within(intent.manager.wait),
            Step::new("packages", &["preflight"], packages::about(self.paths()), {
                |work: &Change, cx| Box::pin(gather::quiet(&work.install, cx))
            })
            .within(intent.apt_wait),
            Step::new("address", &["manager"], "see where this node is reached: as it was", |work, cx| {
                Box::pin(gather::address(&work.install, cx))
            }),
            Step::new("unpack", &["fetch"], format!("unpack it below {}", unpacked.display()), |work: &Change, cx| {
                Box::pin(gather::unpack(&work.install, cx))
            })
            .lasting(|work| work.install.is_unpacked()),
            Step::new("drain", &["unpack", "address", "packages"], drain, |work, cx| Box::pin(before::drain(work, cx))),
            Step::new("snapshot", &["drain"], format!("keep configuration, links and certificates of {from}"), {
                |work, cx| Box::pin(script::snapshot(work, cx))
            }),
            Step::new("upgrade", &["snapshot"], format!("run upgrade.sh for the role {}", intent.role), |work, cx| {
                Box::pin(script::upgrade(work, cx))
            }),
            self.prove(&["upgrade"]),
            self.commit(),
        ]
    }

    pub(super) fn recover(&self) -> Step<Change> {
        Step::new("recover", &[], "finish what an interrupted run may have left behind", |work, cx| {
            Box::pin(before::recover(work, cx))
        })
    }

    pub(super) fn prove(&self, after: &'static [&'static str]) -> Step<Change> {
        let about = format!(
            "see that {} is up and stays up, is who it was and configured as it was; else go back to {}",
            self.to(),
            self.from()
        );
        Step::new("prove", after, about, |work, cx| Box::pin(prove::prove(work, cx)))
    }

    pub(super) fn commit(&self) -> Step<Change> {
        Step::new("commit", &["prove"], "keep the way back, and forget everything else", |work, cx| {
            Box::pin(prove::commit(work, cx))
        })
    }

    fn fingerprint(&self) -> String {
        let intent = &self.install.intent;
        fingerprint(&(intent.role, &intent.release, &intent.installer))
    }
}
