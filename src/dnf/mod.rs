//! The package manager of Red Hat's family: dnf, yum and rpm, their locks and their timers.
//!
//! Nothing has to be told to the installer's own dnf, as apt has to be: dnf 4 and yum wait by themselves for a lock
//! of theirs that another holds, without end (`exit_on_lock`, dnf.conf(5)). What does not wait is rpm without a
//! terminal (lib/rpmlock.c) and dnf 5: such a race can be lost, and [`has_lost_a_race`] knows its words.

pub mod locks;

use crate::packages::Manager;
use crate::paths::{DNF_SERVICES, DNF_SIGNS, DNF_TIMERS};
use crate::words;

/// dnf and rpm, and yum before them.
pub static MANAGER: Manager = Manager {
    name: "dnf",
    both: "dnf and rpm",
    signs: &DNF_SIGNS,
    locks: &locks::LOCKS,
    programs: &["dnf", "yum", "rpm", "packagekit"],
    timers: &DNF_TIMERS,
    services: &DNF_SERVICES,
    puts_back: "`systemctl list-unit-files 'dnf*.timer'` shows which are enabled, `systemctl start` puts those back",
    busy: "dnf.busy",
    unreadable: "dnf.lock-unreadable",
};

/// True if dnf, yum or rpm says in this line that somebody else had a lock it needed, and that it gave up. While
/// they wait for one they say so in other words ("Waiting for process with pid 812 to finish.", "Another app is
/// currently holding the yum lock; waiting for it to exit..."), and have lost nothing yet.
///
/// The words are those of rpm (lib/rpmlock.c), dnf 4 (dnf/lock.py, dnf/base.py), libdnf (libdnf/dnf-lock.cpp),
/// dnf 5 (libdnf5/base/transaction.cpp) and yum 3 (yummain.py).
pub fn has_lost_a_race(line: &str) -> bool {
    words::holds_any(line, &LOST)
}

/// What rpm, dnf and yum say when they give up because of somebody else's lock.
pub const LOST: [&str; 8] = [
    "can't create transaction lock on",
    "Failed to obtain the transaction lock",
    "Failed to obtain rpm transaction lock",
    "cachedir already locked by",
    "metadata already locked by",
    "RPMDB already locked by",
    "[process] already locked by",
    "exiting as configured by exit_on_lock",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dnf_that_gave_up_has_lost_and_one_that_waits_has_not() {
        for lost in [
            "error: can't create transaction lock on /var/lib/rpm/.rpm.lock (Resource temporarily unavailable)",
            "RPMDB already locked by 812",
            "metadata already locked by 4711",
            "rpmdb[process] already locked by /usr/libexec/packagekitd(812)",
            "Failed to obtain the transaction lock (logged in as: root).",
            "Transaction failed: Failed to obtain rpm transaction lock. Another transaction is in progress.",
            "Another app is currently holding the yum lock; exiting as configured by exit_on_lock",
        ] {
            assert!(has_lost_a_race(lost), "{lost}");
        }
        for waits in [
            "Waiting for process with pid 812 to finish.",
            "Existing lock /var/run/yum.pid: another copy is running as pid 812.",
            "Another app is currently holding the yum lock; waiting for it to exit...",
            "warning: waiting for transaction lock on /var/lib/rpm/.rpm.lock",
        ] {
            assert!(!has_lost_a_race(waits), "{waits}");
        }
    }
}
