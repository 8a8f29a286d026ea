//! Is the package manager free? Asked without taking a lock, creating a file or writing a byte.
//!
//! The four locks of apt and dpkg are `fcntl` locks. `F_OFD_GETLK` names whoever would keep us from
//! taking one, so a file that is merely open is free, and so is one that is not there. A write lock may
//! be asked about through a descriptor open for reading; only taking it needs more (fcntl_locking(2),
//! and tried).
//!
//! Two more locks tell that somebody is between two uses of those four, and about to take them again:
//! - `apt.systemd.daily`, which `apt-daily.service` and `apt-daily-upgrade.service` run, holds a
//!   `flock` on `/var/lib/apt/daily_lock` from its start to its end, across all the apt-get and
//!   unattended-upgrade it calls (apt 1.4 to 3). `flock` has no question without taking, so
//!   `/proc/locks` is read.
//! - `unattended-upgrade` holds an `fcntl` lock on `/run/unattended-upgrades.lock` for a whole run. The
//!   daemon `unattended-upgrade-shutdown --wait-for-signal`, which idles for ever, does not hold it.
//!
//! Before its lock is taken, `apt-daily.service` waits for the network (`apt-helper wait-online`, 30 s at
//! most): on the running machine a process of apt's in that unit's control group counts as well.
//! Nothing more is guessed: a service that is only queued, or a person's next command, is not seen.

use super::Error;
use super::holder::{self, Entry, Holder, Kind};
use crate::paths::{APT_SERVICES, Paths};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::stat::{major, minor};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A lock that keeps an installer's apt from working.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lock {
    /// dpkg's outer lock: a whole transaction of apt.
    Frontend,
    /// dpkg's inner lock.
    Dpkg,
    /// `apt-get update`.
    Lists,
    /// apt's downloads.
    Archives,
    /// A whole run of unattended-upgrade.
    Unattended,
    /// A whole run of apt's daily job.
    Daily,
}

impl Lock {
    /// Every lock, in the order they are looked at.
    pub const ALL: [Lock; 6] = [Lock::Frontend, Lock::Dpkg, Lock::Lists, Lock::Archives, Lock::Unattended, Lock::Daily];

    /// The file it lies on.
    pub fn path(self, paths: &Paths) -> PathBuf {
        match self {
            Lock::Frontend => paths.dpkg_frontend_lock(),
            Lock::Dpkg => paths.dpkg_lock(),
            Lock::Lists => paths.apt_lists_lock(),
            Lock::Archives => paths.apt_archives_lock(),
            Lock::Unattended => paths.unattended_lock(),
            Lock::Daily => paths.apt_daily_lock(),
        }
    }
}

/// What is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Obstacle {
    /// A lock is held.
    Lock(Lock),
    /// One of apt's services is in the middle of a run.
    Run(&'static str),
}

impl Obstacle {
    /// The obstacle and its holder in one sentence.
    pub fn with(self, holder: &Holder) -> String {
        let (what, lock) = match self {
            Obstacle::Lock(lock @ (Lock::Frontend | Lock::Dpkg)) => ("dpkg", lock),
            Obstacle::Lock(lock @ Lock::Lists) => ("apt's package lists", lock),
            Obstacle::Lock(lock @ Lock::Archives) => ("apt's downloads", lock),
            Obstacle::Lock(lock @ Lock::Unattended) => ("unattended-upgrades", lock),
            Obstacle::Lock(lock @ Lock::Daily) => ("apt's daily job", lock),
            Obstacle::Run(service) => return format!("{service} is in the middle of a run: {holder}"),
        };
        format!("{} ({what}) is held by {holder}", lock.path(&Paths::default()).display())
    }
}

/// Something is in the way, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// What is in the way.
    pub obstacle: Obstacle,
    /// Whose, where the kernel said so at once.
    pid: Option<u32>,
    kind: Kind,
}

impl Held {
    /// Who it is. Reads `/proc`: once for each change, not for each look.
    pub fn holder(&self, paths: &Paths) -> Holder {
        let pid = match (self.obstacle, self.kind) {
            (_, Kind::Posix) | (Obstacle::Run(_), _) => self.pid,
            (Obstacle::Lock(lock), kind) => holder::search(&lock.path(paths), kind),
        };
        pid.map(Holder::of).unwrap_or_default()
    }
}

/// One look at everything: the first thing in the way, or `None` if the package manager is free.
///
/// # Errors
/// A lock file is there, but neither it nor `/proc/locks` can be read.
pub fn look(paths: &Paths) -> Result<Option<Held>, Error> {
    for lock in Lock::ALL {
        let path = lock.path(paths);
        let found = match lock {
            Lock::Daily => listed(&path, |kind| kind == Kind::Flock),
            _ => asked(&path),
        };
        match found {
            Ok(Some((pid, kind))) => return Ok(Some(Held { obstacle: Obstacle::Lock(lock), pid, kind })),
            Ok(None) => {}
            Err(source) => return Err(Error::Unreadable { path, source }),
        }
    }
    // The control groups are the running machine's; a scratch root has none of its own.
    Ok(if paths.is_machine() { running(Path::new("/sys/fs/cgroup")) } else { None })
}

/// Asks the kernel who would keep us from taking a write lock on a file.
fn asked(path: &Path) -> io::Result<Option<(Option<u32>, Kind)>> {
    // The flags apt opens its locks with, less those that write; no device and no pipe can hold us up.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if is_missing(&error) => return Ok(None),
        // Lock files are 0640: whoever is not root looks for them in the kernel's list instead.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return listed(path, |kind| kind != Kind::Flock);
        }
        Err(error) => return Err(error),
    };
    let answer = match query(&file, true) {
        // Kernels before 3.15.
        Err(Errno::EINVAL) => query(&file, false),
        answer => answer,
    }?;
    Ok(match answer.l_type as i32 {
        libc::F_UNLCK => None,
        _ if answer.l_pid == -1 => Some((None, Kind::Ofd)),
        _ => Some((u32::try_from(answer.l_pid).ok().filter(|&pid| pid > 0), Kind::Posix)),
    })
}

fn query(file: &File, ofd: bool) -> Result<libc::flock, Errno> {
    let mut question = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    let argument = match ofd {
        true => FcntlArg::F_OFD_GETLK(&mut question),
        false => FcntlArg::F_GETLK(&mut question),
    };
    fcntl(file, argument)?;
    Ok(question)
}

/// Looks for a lock on a file in the kernel's list.
fn listed(path: &Path, wanted: impl Fn(Kind) -> bool) -> io::Result<Option<(Option<u32>, Kind)>> {
    let file = match fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let text = holder::read(Path::new("/proc/locks")).ok_or_else(|| io::Error::other("/proc/locks cannot be read"))?;
    let found = holder::parse_locks(&String::from_utf8_lossy(&text))
        .filter(|entry| wanted(entry.kind) && entry.inode == file.ino())
        .find(|entry| same_device(entry, file.dev()) || holder::search(path, entry.kind).is_some());
    Ok(found.map(|entry| (entry.pid, entry.kind)))
}

/// On some filesystems (btrfs, overlays) stat(2) and `/proc/locks` name different devices; a mismatch
/// therefore proves nothing and is looked into.
fn same_device(entry: &Entry, device: u64) -> bool {
    entry.device == (major(device), minor(device))
}

/// A process of apt's in the control group of one of apt's services, below the unified hierarchy or
/// below systemd's own.
fn running(cgroups: &Path) -> Option<Held> {
    for service in APT_SERVICES {
        for slice in ["system.slice", "systemd/system.slice", "unified/system.slice"] {
            let Some(text) = holder::read(&cgroups.join(slice).join(service).join("cgroup.procs")) else { continue };
            let text = String::from_utf8_lossy(&text);
            for pid in text.lines().filter_map(|line| line.parse::<u32>().ok()) {
                // `KillMode=process` lets daemons that a package's scripts started live on in there.
                let comm = holder::read(&Path::new("/proc").join(pid.to_string()).join("comm")).unwrap_or_default();
                if comm.starts_with(b"apt") || comm.starts_with(b"unattended-upgr") || comm.starts_with(b"dpkg") {
                    return Some(Held { obstacle: Obstacle::Run(service), pid: Some(pid), kind: Kind::Posix });
                }
            }
        }
    }
    None
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests;
