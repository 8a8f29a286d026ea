//! The steps of an upgrade, and what each is for.

use super::{Change, before, prove, script};
use crate::flow::install::{self, gather};
use crate::flow::packages;
use crate::step::{Plan, Step};

impl Change {
    /// The plan: what will be done, in words and in code.
    pub fn plan(&self) -> Plan<Change> {
        Plan { verb: "upgrade", fingerprint: self.fingerprint(), steps: self.steps() }
    }

    fn steps(&self) -> Vec<Step<Change>> {
        let intent = &self.install.intent;
        let step = |name, after, about: String, run| Step { name, about, after, limit: None, run, still_done: None };
        let wait = |limit, step: Step<Change>| Step { limit: Some(limit), ..step };
        let unpacked = self.paths().shown(&self.paths().unpacked_dir());
        let (from, to) = (self.from(), self.to());
        let drain = match (self.options.force, self.options.drain) {
            (true, _) => "go on whatever sessions are there (--force)".to_owned(),
            (_, Some(drain)) => format!("wait up to {} for sessions to end", crate::words::span(drain)),
            _ => "see once more that no session is there".into(),
        };
        vec![
            self.recover(),
            step("tokens", &["recover"], "check the tokens, given and installed, without using them".into(), {
                |work, cx| Box::pin(before::tokens(work, cx))
            }),
            step("present", &["tokens"], format!("see that {to} is an upgrade of {from}; end here if it is there"), {
                |work, cx| Box::pin(before::present(work, cx))
            }),
            step("sessions", &["present"], "look for sessions on this node".into(), {
                |work, cx| Box::pin(before::sessions(work, cx))
            }),
            step("preflight", &["sessions"], "check the machine, its disks and the way to the manager".into(), {
                |work, cx| Box::pin(install::before::preflight(&work.install, true, cx))
            }),
            Step {
                still_done: Some(|work| work.install.is_fetched()),
                ..step("fetch", &["preflight"], self.install.fetch_about(), |work, cx| {
                    Box::pin(gather::fetch(&work.install, cx))
                })
            },
            wait(
                intent.manager.wait,
                step("manager", &["preflight"], format!("wait until manager {} is healthy", self.manager().name()), {
                    |work, cx| Box::pin(gather::manager(&work.install, cx))
                }),
            ),
            wait(
                intent.apt_wait,
                step("packages", &["preflight"], packages::about(self.paths()), {
                    |work, cx| Box::pin(gather::quiet(&work.install, cx))
                }),
            ),
            step("address", &["manager"], "see where this node is reached: as it was".into(), |work, cx| {
                Box::pin(gather::address(&work.install, cx))
            }),
            Step {
                still_done: Some(|work| work.install.is_unpacked()),
                ..step("unpack", &["fetch"], format!("unpack it below {}", unpacked.display()), |work, cx| {
                    Box::pin(gather::unpack(&work.install, cx))
                })
            },
            step("drain", &["unpack", "address", "packages"], drain, |work, cx| Box::pin(before::drain(work, cx))),
            step("snapshot", &["drain"], format!("keep configuration, links and certificates of {from}"), {
                |work, cx| Box::pin(script::snapshot(work, cx))
            }),
            step("upgrade", &["snapshot"], format!("run upgrade.sh for the role {}", intent.role), |work, cx| {
                Box::pin(script::upgrade(work, cx))
            }),
            self.prove("prove", &["upgrade"]),
            self.commit(),
        ]
    }

    pub(super) fn recover(&self) -> Step<Change> {
        Step {
            name: "recover",
            about: "finish what an interrupted run may have left behind".into(),
            after: &[],
            limit: None,
            run: |work, cx| Box::pin(before::recover(work, cx)),
            still_done: None,
        }
    }

    pub(super) fn prove(&self, name: &'static str, after: &'static [&'static str]) -> Step<Change> {
        let about = format!(
            "see that {} is up and stays up, is who it was and configured as it was; else go back to {}",
            self.to(),
            self.from()
        );
        Step { name, about, after, limit: None, run: |work, cx| Box::pin(prove::prove(work, cx)), still_done: None }
    }

    pub(super) fn commit(&self) -> Step<Change> {
        Step {
            name: "commit",
            about: "keep the way back, and forget everything else".into(),
            after: &["prove"],
            limit: None,
            run: |work, cx| Box::pin(prove::commit(work, cx)),
            still_done: None,
        }
    }

    /// What this plan wants, as a hash without a secret.
    fn fingerprint(&self) -> String {
        use sha2::{Digest as _, Sha256};
        let intent = &self.install.intent;
        let wants = format!("{:?}", (intent.role, &intent.release, &intent.installer));
        Sha256::digest(wants).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}
