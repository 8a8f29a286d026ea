//! Debian's package manager: its locks, its timers, its packages, and what the installer's own apt is told.

pub mod locks;
pub mod packages;
pub mod snippet;

use crate::error::{Exit, Explain};
use crate::packages::{Error as WaitError, Manager};
use crate::paths::{APT_SERVICES, APT_SIGNS, APT_TIMERS};
use crate::words;
use std::io;
use std::path::PathBuf;

/// apt and dpkg.
pub static MANAGER: Manager = Manager {
    name: "apt",
    both: "apt and dpkg",
    signs: &APT_SIGNS,
    locks: &locks::LOCKS,
    programs: &["apt", "unattended-upgr", "dpkg"],
    timers: &APT_TIMERS,
    services: &APT_SERVICES,
    puts_back: "`systemctl start apt-daily.timer apt-daily-upgrade.timer` puts them back",
    busy: "apt.busy",
    unreadable: "apt.lock-unreadable",
};

/// What can go wrong while apt is asked for packages.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was waited for in vain.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// One of apt's or dpkg's programs failed.
    #[error("{program} {how}")]
    Program {
        /// Which.
        program: String,
        /// How, as a clause.
        how: String,
        /// What it said at last.
        #[source]
        words: LastWords,
    },
    /// A root other than the machine's cannot be worked on.
    #[error("apt cannot be pointed at the root by {}", path.display())]
    Root {
        /// The file that would do it.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// The last lines of a program.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LastWords(pub String);

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::Wait(error) => error.reason(),
            Error::Program { .. } => "apt.failed",
            Error::Root { .. } => "apt.root",
        }
    }

    fn help(&self) -> String {
        match self {
            Error::Wait(error) => error.help(),
            Error::Program { .. } => {
                "mend what it says (apt's sources, the network, `dpkg --configure -a`) and run the same command again"
                    .into()
            }
            Error::Root { .. } => "run inside that root instead (chroot DIR kasm-bootstrap bake)".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Error::Wait(error) => error.exit(),
            Error::Program { .. } | Error::Root { .. } => Exit::Unexpected,
        }
    }
}

/// True if apt says in this line that somebody else had a lock it needed, and that it gave up
/// (docs/kasm-facts.md, 2). While it still waits for one it uses the same words, and has lost nothing yet.
pub fn has_lost_a_race(line: &str) -> bool {
    words::holds_any(line, &LOST) && !line.contains("Waiting for cache lock")
}

/// What apt says when somebody else has a lock it needs.
pub const LOST: [&str; 3] = ["Could not get lock", "Unable to lock", "Failed to lock apt for exclusive operation"];

/// What a child that may call apt is given in its environment: no question may be asked (debconf(7)),
/// and needrestart only lists what it would restart (needrestart(1), `-r l`).
pub fn environment() -> [(&'static str, &'static str); 2] {
    [("DEBIAN_FRONTEND", "noninteractive"), ("NEEDRESTART_MODE", "l")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::locks::Obstacle;
    use crate::system::holder::Holder;
    use std::time::Duration;

    #[test]
    fn the_remedy_names_the_unit_the_pid_or_the_tool_that_finds_them() {
        let busy = |unit: Option<&str>, pid| WaitError::Busy {
            manager: &MANAGER,
            obstacle: Obstacle::Lock(&locks::LOCKS[2]),
            holder: Holder { pid, command: Some("apt-get".into()), unit: unit.map(str::to_owned) },
            waited: Duration::from_secs(300),
        };
        insta::assert_snapshot!(busy(Some("apt-daily.service"), Some(812)), @"the package manager is still busy after 5 min 00 s: /var/lib/apt/lists/lock (apt's package lists) is held by apt-daily.service, pid 812, apt-get");
        insta::assert_snapshot!(busy(Some("apt-daily.service"), Some(812)).help(), @"give it more time, or end it with `systemctl stop apt-daily.service`; `journalctl -u apt-daily.service` shows what it does");
        insta::assert_snapshot!(busy(Some("session-3.scope"), Some(812)).help(), @"`ps -fp 812` shows what it is; let it finish or end it, then run again");
        insta::assert_snapshot!(busy(None, None).help(), @"`lslocks` as root shows who holds it; let it finish or end it, then run again");
    }
}
