//! The locks of apt and dpkg.
//!
//! The four of them are `fcntl` locks. Two more tell that somebody is between two uses of those four, and about
//! to take them again:
//! - `apt.systemd.daily`, which `apt-daily.service` and `apt-daily-upgrade.service` run, holds a
//!   `flock` on `/var/lib/apt/daily_lock` from its start to its end, across all the apt-get and
//!   unattended-upgrade it calls (apt 1.4 to 3).
//! - `unattended-upgrade` holds an `fcntl` lock on `/run/unattended-upgrades.lock` for a whole run. The
//!   daemon `unattended-upgrade-shutdown --wait-for-signal`, which idles for ever, does not hold it.
//!
//! Before its lock is taken, `apt-daily.service` waits for the network (`apt-helper wait-online`, 30 s at
//! most): a process of apt's in that unit's control group counts as well.

use crate::packages::locks::{Lock, Way};
use crate::paths::Paths;

/// Every lock, in the order they are looked at.
pub static LOCKS: [Lock; 6] = [
    // A whole transaction of apt.
    Lock { file: Paths::dpkg_frontend_lock, what: "dpkg", way: Way::Fcntl },
    Lock { file: Paths::dpkg_lock, what: "dpkg", way: Way::Fcntl },
    Lock { file: Paths::apt_lists_lock, what: "apt's package lists", way: Way::Fcntl },
    Lock { file: Paths::apt_archives_lock, what: "apt's downloads", way: Way::Fcntl },
    Lock { file: Paths::unattended_lock, what: "unattended-upgrades", way: Way::Fcntl },
    Lock { file: Paths::apt_daily_lock, what: "apt's daily job", way: Way::Flock },
];
