//! Is a package manager free? Asked without taking a lock, creating a file or writing a byte.
//!
//! Most locks are `fcntl` locks. `F_OFD_GETLK` names whoever would keep us from taking one, so a file that
//! is merely open is free, and so is one that is not there. A write lock may be asked about through a
//! descriptor open for reading; only taking it needs more (fcntl_locking(2), and tried). `flock` has no
//! question without taking, so `/proc/locks` is read.
//!
//! Some locks are files with a process id in them. Such a one is held while that process is alive and may be one of
//! the package manager's: what a killed one left is not, nor a number that another program has got since.
//!
//! A service that works for a while before it takes its first lock counts as well: on the running machine, a
//! process of the package manager's in the control group of one of its services. Nothing more is guessed: a
//! service that is only queued, or a person's next command, is not seen.

use super::{Error, Manager};
use crate::paths::Paths;
use crate::system::holder::{self, Entry, Holder, Kind};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::stat::{major, minor};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A process id is shorter, with whatever else may stand in the file.
const PID_FILE_LIMIT: u64 = 64;

/// A file by which a package manager keeps others out.
#[derive(Debug)]
pub struct Lock {
    /// Where it lies.
    pub file: fn(&Paths) -> PathBuf,
    /// Whose it is: `dpkg`, `apt's downloads`.
    pub what: &'static str,
    /// How it is held.
    pub way: Way,
}

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By `fcntl`, of a process or of an open file.
    Fcntl,
    /// By `flock(2)`.
    Flock,
    /// By being there, with the process id of its holder in it.
    Pid,
}

/// There is one of each, in its manager's table.
impl PartialEq for Lock {
    fn eq(&self, other: &Lock) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Lock {}

/// What is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// A lock is held.
    Lock(&'static Lock),
    /// One of its services is in the middle of a run.
    Run(&'static str),
}

impl Obstacle {
    /// The obstacle and its holder in one sentence.
    pub fn with(self, holder: &Holder) -> String {
        match self {
            Obstacle::Lock(lock) => {
                format!("{} ({}) is held by {holder}", (lock.file)(&Paths::default()).display(), lock.what)
            }
            Obstacle::Run(service) => format!("{service} is in the middle of a run: {holder}"),
        }
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
            (Obstacle::Lock(lock), kind) => holder::search(&(lock.file)(paths), kind),
        };
        pid.map(Holder::of).unwrap_or_default()
    }
}

/// One look at everything: the first thing in the way, or `None` if the package manager is free.
///
/// # Errors
/// A lock file is there, but neither it nor `/proc/locks` can be read.
pub fn look(manager: &'static Manager, paths: &Paths) -> Result<Option<Held>, Error> {
    for lock in manager.locks {
        let path = (lock.file)(paths);
        let found = match lock.way {
            Way::Fcntl => asked(&path),
            Way::Flock => listed(&path, |kind| kind == Kind::Flock),
            Way::Pid => {
                written(&path).map(|pid| pid.filter(|&pid| is_one_of(manager, pid)).map(|pid| (Some(pid), Kind::Posix)))
            }
        };
        match found {
            Ok(Some((pid, kind))) => return Ok(Some(Held { obstacle: Obstacle::Lock(lock), pid, kind })),
            Ok(None) => {}
            Err(source) => return Err(Error::Unreadable { manager, path, source }),
        }
    }
    // The control groups are the running machine's; a scratch root has none of its own.
    Ok(if paths.is_machine() { running(manager, Path::new("/sys/fs/cgroup")) } else { None })
}

/// Lock files that name a process which is alive and is none of the package manager's: whoever wrote that is gone, and
/// its number was given to another. They count as free, but the package manager itself only sees that the process
/// is alive, and waits for its end.
pub fn stale(manager: &'static Manager, paths: &Paths) -> Vec<(PathBuf, Holder)> {
    let files = manager.locks.iter().filter(|lock| lock.way == Way::Pid).map(|lock| (lock.file)(paths));
    files
        .filter_map(|path| {
            let pid = written(&path).ok().flatten().filter(|&pid| !is_one_of(manager, pid))?;
            let holder = Holder::of(pid);
            holder.command.is_some().then_some((path, holder))
        })
        .collect()
}

/// A lock file, if it is there. Nothing is written or followed; no device and no pipe can hold us up.
fn opened(path: &Path) -> io::Result<Option<File>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The process id in a lock file. An empty file is about to be written, and one that makes no sense names nobody.
fn written(path: &Path) -> io::Result<Option<u32>> {
    let Some(file) = opened(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(PID_FILE_LIMIT).read_to_end(&mut bytes)?;
    Ok(parse_pid(&bytes))
}

/// The process id that a lock file names: a decimal number on its first line.
pub fn parse_pid(bytes: &[u8]) -> Option<u32> {
    let line = bytes.split(|&byte| byte == b'\n').next()?;
    let text = std::str::from_utf8(line).ok()?.trim();
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&pid: &u32| is_number && (1..=i32::MAX as u32).contains(&pid))
}

/// True if this process is alive and may be one of the package manager's: by its name, or because it is a Python
/// program, as whoever uses dnf's or yum's modules is.
fn is_one_of(manager: &Manager, pid: u32) -> bool {
    holder::names(pid).iter().any(|name| {
        ["python", "platform-python"].iter().any(|python| name.starts_with(python))
            || manager.programs.iter().any(|program| name.contains(program))
    })
}

/// Asks the kernel who would keep us from taking a write lock on a file.
fn asked(path: &Path) -> io::Result<Option<(Option<u32>, Kind)>> {
    let file = match opened(path) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(None),
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

/// A process of the package manager's in the control group of one of its services, below the unified hierarchy
/// or below systemd's own.
fn running(manager: &Manager, cgroups: &Path) -> Option<Held> {
    for service in manager.services {
        for slice in ["system.slice", "systemd/system.slice", "unified/system.slice"] {
            let Some(text) = holder::read(&cgroups.join(slice).join(service).join("cgroup.procs")) else { continue };
            let text = String::from_utf8_lossy(&text);
            for pid in text.lines().filter_map(|line| line.parse::<u32>().ok()) {
                // `KillMode=process` lets daemons that a package's scripts started live on in there.
                let comm = holder::read(&Path::new("/proc").join(pid.to_string()).join("comm")).unwrap_or_default();
                if manager.programs.iter().any(|program| comm.starts_with(program.as_bytes())) {
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
