//! Package managers, as far as somebody has to wait for them: who holds their locks, what starts them behind
//! our back, and the wait until nobody uses them. Which locks and which units those are is each one's own
//! affair.

pub mod locks;
pub mod timers;
pub mod wait;

use crate::error::{Exit, Explain};
use crate::paths::Paths;
use crate::system::holder::Holder;
use crate::words;
use locks::{Lock, Obstacle};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A package manager: what it locks and what starts it.
#[derive(Debug)]
pub struct Manager {
    /// What it is called: `apt`.
    pub name: &'static str,
    /// It and what works below it: `apt and dpkg`.
    pub both: &'static str,
    /// A machine that has one of these paths has it.
    pub signs: &'static [&'static str],
    /// Every lock, in the order they are looked at.
    pub locks: &'static [Lock],
    /// What the names of its programs begin with.
    pub programs: &'static [&'static str],
    /// The units that start it behind our back, and that can be stopped without ending a run of it.
    pub timers: &'static [&'static str],
    /// The services in which it runs then.
    pub services: &'static [&'static str],
    /// How a person puts the timers back when nobody knows any more which they were, as a clause.
    pub puts_back: &'static str,
    /// The reason code of a wait for it that ends without success.
    pub busy: &'static str,
    /// The reason code of a lock of its that nobody can be asked about.
    pub unreadable: &'static str,
}

impl Manager {
    /// True if this machine has it.
    pub fn is_there(&self, paths: &Paths) -> bool {
        self.signs.iter().any(|path| paths.at(path).exists())
    }
}

/// What can go wrong while a package manager is waited for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The deadline passed and somebody still held it.
    #[error("the package manager is still busy after {}: {}", words::span(*waited), obstacle.with(holder))]
    Busy {
        /// Which one.
        manager: &'static Manager,
        /// What is in the way.
        obstacle: Obstacle,
        /// Who, as far as it can be known.
        holder: Holder,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A lock file is there, and it cannot be found out whether somebody holds it.
    #[error("cannot tell whether {} is held", path.display())]
    Unreadable {
        /// Whose.
        manager: &'static Manager,
        /// The lock file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::Busy { manager, .. } => manager.busy,
            Error::Unreadable { manager, .. } => manager.unreadable,
        }
    }

    fn help(&self) -> String {
        match self {
            Error::Busy { manager, holder, .. } => match (&holder.unit, holder.pid) {
                (Some(unit), _) if manager.services.contains(&unit.as_str()) => format!(
                    "give it more time, or end it with `systemctl stop {unit}`; `journalctl -u {unit}` shows what it \
                     does"
                ),
                (_, Some(pid)) => format!("`ps -fp {pid}` shows what it is; let it finish or end it, then run again"),
                (_, None) => "`lslocks` as root shows who holds it; let it finish or end it, then run again".into(),
            },
            Error::Unreadable { .. } => "run as root, with /proc mounted".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Error::Busy { .. } => Exit::PackageManager,
            Error::Unreadable { .. } => Exit::Unexpected,
        }
    }
}
