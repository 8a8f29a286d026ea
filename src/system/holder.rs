//! Who holds a lock: the process, its name and its systemd unit, as `/proc` tells them.
//!
//! All of it is a courtesy to the reader of a message. Processes vanish while they are looked at and
//! `/proc` may be missing, so what cannot be learnt is left out and nothing here fails. The process
//! table is the kernel's whatever `--root` says, therefore the paths here are not below the root.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// How much of one file below `/proc` is read.
const READ_LIMIT: u64 = 1 << 20;
/// How many open files of all processes together are looked at for one search.
const SEARCH_LIMIT: usize = 1 << 17;
/// What the kernel cuts a process's name to (`TASK_COMM_LEN` less its final zero, proc(5)).
const COMM_LENGTH: usize = 15;

/// Who holds a lock, as far as it can be known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holder {
    /// The process, unless it cannot be seen from here (another PID namespace).
    pub pid: Option<u32>,
    /// Its program: `apt-get`, `unattended-upgrade`.
    pub command: Option<String>,
    /// The systemd unit it runs in: `apt-daily.service`.
    pub unit: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = self.pid.map(|pid| format!("pid {pid}"));
        let parts: Vec<&str> =
            [&self.unit, &pid, &self.command].into_iter().filter_map(|part| part.as_deref()).collect();
        match parts.is_empty() {
            true => f.write_str("a process that cannot be seen from here"),
            false => f.write_str(&parts.join(", ")),
        }
    }
}

impl Holder {
    /// What `/proc` says of a process.
    pub fn of(pid: u32) -> Holder {
        let directory = Path::new("/proc").join(pid.to_string());
        let comm = read(&directory.join("comm"));
        let cmdline = read(&directory.join("cmdline"));
        Holder {
            pid: Some(pid),
            command: comm.and_then(|comm| command(&comm, cmdline.as_deref().unwrap_or_default())),
            unit: read(&directory.join("cgroup")).and_then(|cgroup| unit(&String::from_utf8_lossy(&cgroup))),
        }
    }
}

/// The names a process goes by: the one it gave itself, its program's, and its script's if there may be one; none if
/// it is gone. The last is an argument and may be anything: it is for comparing, never for showing.
pub fn names(pid: u32) -> Vec<String> {
    let directory = Path::new("/proc").join(pid.to_string());
    let Some(comm) = read(&directory.join("comm")) else { return Vec::new() };
    let cmdline = read(&directory.join("cmdline")).unwrap_or_default();
    let words = cmdline.split(|&byte| byte == 0).take(2).map(String::from_utf8_lossy);
    let words = words.filter(|word| !word.starts_with('-')).map(|word| base_name(&word).to_owned());
    std::iter::once(String::from_utf8_lossy(&comm).trim_end().to_owned()).chain(words).collect()
}

/// A file below `/proc`, bounded; `None` if it cannot be read (any more).
pub fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(READ_LIMIT).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The program's name from its `comm` (cut to 15 bytes by the kernel) and its command line. Only the
/// names of programs are ever taken from a command line: its arguments may hold secrets.
fn command(comm: &[u8], cmdline: &[u8]) -> Option<String> {
    let comm = String::from_utf8_lossy(comm).trim_end_matches('\n').to_owned();
    let mut words = cmdline.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word));
    let program = words.next().map(|word| base_name(&word).to_owned()).unwrap_or_default();
    let script = words.next().filter(|word| !word.starts_with('-')).map(|word| base_name(&word).to_owned());
    let interpreted = ["platform-python", "python", "perl", "sh", "bash", "dash"].iter().any(|name| {
        program.strip_prefix(name).is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
    });
    let script = script.filter(|name| interpreted && !name.is_empty());
    let name = match (&script, comm.len() >= COMM_LENGTH) {
        (Some(script), true) if script.starts_with(&comm) => script,
        (_, true) if program.starts_with(&comm) => &program,
        // The process gave itself a name, or its name is whole.
        (Some(script), false) if comm == program => script,
        _ => &comm,
    };
    let name: String = name.chars().filter(char::is_ascii_graphic).take(64).collect();
    (!name.is_empty()).then_some(name)
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The innermost systemd unit in a `/proc/PID/cgroup` (cgroups(7)): the unified hierarchy's line, or on
/// older machines that of systemd's own hierarchy.
fn unit(cgroup: &str) -> Option<String> {
    cgroup.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        if !matches!(controllers, "" | "name=systemd") {
            return None;
        }
        let name = path.rsplit('/').find(|name| name.ends_with(".service") || name.ends_with(".scope"))?;
        (name.len() <= 255 && name.chars().all(|c| c.is_ascii_graphic())).then(|| name.to_owned())
    })
}

/// How a lock came about. They do not see each other: a `flock` keeps no `fcntl` away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `fcntl(F_SETLK)`, the kind apt, dpkg and rpm use. Belongs to a process.
    Posix,
    /// `fcntl(F_OFD_SETLK)`. Belongs to an open file, and excludes the kind above.
    Ofd,
    /// `flock(2)`. Belongs to an open file.
    Flock,
}

/// One lock that is held, out of `/proc/locks` (proc_locks(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// How it came about.
    pub kind: Kind,
    /// Who took it; that process may be gone while others hold the open file.
    pub pid: Option<u32>,
    /// The file's device: its major and its minor number.
    pub device: (u64, u64),
    /// The file's number on it.
    pub inode: u64,
}

/// The held locks in a `/proc/locks`. Waiters (`->`) hold nothing; leases and what this does not know
/// are passed over.
pub fn parse_locks(text: &str) -> impl Iterator<Item = Entry> {
    text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        words.next()?.strip_suffix(':')?;
        let kind = match words.next()? {
            "POSIX" => Kind::Posix,
            "OFDLCK" => Kind::Ofd,
            "FLOCK" => Kind::Flock,
            _ => return None,
        };
        let (_advisory, _mode, pid, file) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let mut numbers = file.split(':');
        let major = u64::from_str_radix(numbers.next()?, 16).ok()?;
        let minor = u64::from_str_radix(numbers.next()?, 16).ok()?;
        let inode = numbers.next()?.parse().ok()?;
        let pid = pid.parse().ok().filter(|&pid| pid > 0);
        Some(Entry { kind, pid, device: (major, minor), inode })
    })
}

/// A process that has this file open and, through that very open file, holds a lock of this kind.
///
/// Where the lock belongs to the open file and not to a process, this is the only way to a name:
/// `/proc/PID/fdinfo/FD` has a `lock:` line for it (proc_pid_fdinfo(5)).
pub fn search(file: &Path, kind: Kind) -> Option<u32> {
    let wanted = fs::symlink_metadata(file).ok()?;
    let name = file.file_name()?;
    let mut looked_at = 0;
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        for descriptor in descriptors.flatten() {
            looked_at += 1;
            if looked_at > SEARCH_LIMIT {
                return None;
            }
            // The link's text first: following it would ask the file's own filesystem, and a dead
            // network mount of somebody else's would hold us up for ever.
            let link = fs::read_link(descriptor.path()).unwrap_or_default();
            if link.file_name() != Some(name) {
                continue;
            }
            let same = fs::metadata(descriptor.path())
                .is_ok_and(|found| (found.dev(), found.ino()) == (wanted.dev(), wanted.ino()));
            if same && holds(&process.path().join("fdinfo").join(descriptor.file_name()), kind) {
                return Some(pid);
            }
        }
    }
    None
}

fn holds(fdinfo: &Path, kind: Kind) -> bool {
    let Some(text) = read(fdinfo) else { return false };
    let text = String::from_utf8_lossy(&text);
    let locks: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("lock:")).map(str::trim).collect();
    parse_locks(&locks.join("\n")).any(|entry| entry.kind == kind)
}

#[cfg(test)]
mod tests;
