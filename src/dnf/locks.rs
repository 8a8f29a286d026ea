//! The locks of dnf, yum, PackageKit and rpm.
//!
//! - rpm takes an `fcntl` lock on `.rpm.lock` beside its database for a whole transaction, whoever uses it (rpm's
//!   lib/rpmlock.c, macro `%_rpmlock_path`). The database is below `/var/lib/rpm`, on newer systems below
//!   `/usr/lib/sysimage/rpm`.
//! - dnf 4 writes its process id into `download_lock.pid` and `metadata_lock.pid` in its cache directory and
//!   `rpmdb_lock.pid` in its persistent one, and removes them afterwards (dnf/lock.py). Between two of them it holds
//!   none.
//! - dnf 5 takes an `fcntl` lock on `/run/dnf/rpmtransaction.lock` (libdnf5/utils/locker.cpp).
//! - PackageKit and whatever else uses libdnf: `/run/dnf-rpmdb.lock` and the like, again with a process id
//!   (libdnf/dnf-lock.cpp; PackageKit's dnf backend sets that directory).
//! - yum 3: `/run/yum.pid` for a whole run (yum/__init__.py, `doLock`).
//!
//! PackageKit's daemon idles for minutes without a lock, so that it runs does not count. dnf's services do: what
//! they run works for a while before it takes its first lock.

use crate::packages::locks::{Lock, Way};
use crate::paths::Paths;

/// Every lock, in the order they are looked at.
pub static LOCKS: [Lock; 10] = [
    Lock { file: Paths::rpm_lock, what: "rpm", way: Way::Fcntl },
    Lock { file: Paths::rpm_lock_sysimage, what: "rpm", way: Way::Fcntl },
    Lock { file: Paths::dnf5_lock, what: "dnf's transaction", way: Way::Fcntl },
    Lock { file: Paths::dnf_rpmdb_lock, what: "dnf's transaction", way: Way::Pid },
    Lock { file: Paths::dnf_download_lock, what: "dnf's downloads", way: Way::Pid },
    Lock { file: Paths::dnf_metadata_lock, what: "dnf's metadata", way: Way::Pid },
    Lock { file: Paths::libdnf_rpmdb_lock, what: "PackageKit's transaction", way: Way::Pid },
    Lock { file: Paths::libdnf_metadata_lock, what: "PackageKit's metadata", way: Way::Pid },
    Lock { file: Paths::libdnf_repo_lock, what: "PackageKit's repositories", way: Way::Pid },
    Lock { file: Paths::yum_lock, what: "yum", way: Way::Pid },
];
