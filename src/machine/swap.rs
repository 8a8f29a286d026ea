//! The swap file: made once, whole or not at all, and switched on at every boot from then on.
//!
//! What tells a finished file from one that a crash left is `mkswap`'s signature, which is written last.
//! A file that is not switched on holds nothing worth keeping, so a half-made one is made anew.
//! Below a scratch root the file and its line in fstab are made, but nothing is switched on: that would
//! change the machine and not the root.

mod error;

pub use error::SwapError;

use super::facts::read_small;
use super::mounts;
use crate::blocking;
use crate::deadline::Deadline;
use crate::durable;
use crate::paths::program;
use crate::paths::{Paths, environment_for_children};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{SysconfVar, sysconf};
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// What must be left of the disk beside the swap file, in bytes: a full disk hurts more than no swap.
const MARGIN: u64 = 1 << 30;
/// The longest fstab that is read.
const FSTAB_LIMIT: u64 = 1 << 20;
/// What `mkswap` ends the first page with (mkswap(8), "SWAPSPACE2").
const SIGNATURE: &[u8; 10] = b"SWAPSPACE2";

/// How the swap stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The file was made; `on` is false below a scratch root.
    Made {
        /// Its size in MiB.
        mib: u64,
        /// Switched on.
        on: bool,
    },
    /// The file was there already, whole; `on` is false below a scratch root.
    Kept {
        /// Switched on.
        on: bool,
    },
    /// This machine has swap: this file or another.
    Present {
        /// The kernel's name of it (`/dev/sda2`).
        name: String,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, on) = match self {
            Outcome::Present { name } => return write!(f, "this machine has swap already: {name}"),
            Outcome::Made { mib, on } => (format!("made a swap file of {mib} MiB"), on),
            Outcome::Kept { on } => ("the swap file is there already".to_owned(), on),
        };
        write!(f, "{what}, {}", if *on { "switched on" } else { "not switched on below --root" })
    }
}

/// The programs that are needed.
#[derive(Debug, Clone, Default)]
pub struct Tools {
    /// `mkswap`.
    pub mkswap: Option<PathBuf>,
    /// `swapon`.
    pub swapon: Option<PathBuf>,
}

impl Tools {
    /// The first of each in a `PATH`, usually the environment's, and then where they usually lie.
    pub fn find(path: Option<&OsStr>) -> Tools {
        let directories: Vec<PathBuf> =
            std::env::split_paths(path.unwrap_or_default()).chain(["/usr/sbin", "/sbin"].map(PathBuf::from)).collect();
        let find = |name: &str| program(name, directories.iter().cloned());
        Tools { mkswap: find("mkswap"), swapon: find("swapon") }
    }
}

/// Sees to it that there is swap: none is made where the machine has any; otherwise a file of `mib` MiB,
/// its line in fstab, and, on the running machine, switched on. Repeating it changes nothing.
///
/// # Errors
/// What stood in the way. Nothing half-made is left then, save that [`SwapError::Fstab`] leaves the swap
/// on until the next boot.
pub async fn ensure(paths: &Paths, mib: u64, tools: &Tools, deadline: Deadline) -> Result<Outcome, SwapError> {
    ensure_with(paths, mib, tools, deadline, paths.is_machine()).await
}

async fn ensure_with(
    paths: &Paths,
    mib: u64,
    tools: &Tools,
    deadline: Deadline,
    switch_on: bool,
) -> Result<Outcome, SwapError> {
    let path = paths.swap_file();
    let size = mib.checked_mul(1 << 20).filter(|&size| size > 0 && i64::try_from(size).is_ok());
    let size = size.ok_or(SwapError::Size { mib })?;
    if let Some(name) = first_swap(paths, switch_on)? {
        if Path::new(&name) == paths.shown(&path) {
            // A run that died between the two: the line is what is left to do.
            keep_in_fstab(paths)?;
        }
        return Ok(Outcome::Present { name });
    }
    let mkswap = tools.mkswap.as_deref().ok_or(SwapError::Missing { name: "mkswap" })?;
    let swapon = match (switch_on, tools.swapon.as_deref()) {
        (false, _) => None,
        (true, Some(swapon)) => Some(swapon),
        (true, None) => return Err(SwapError::Missing { name: "swapon" }),
    };
    let failed = |name, path: &Path, source| {
        let filesystem = troublesome(path);
        // The first error is the one to report; a file that stays is made anew by the next run.
        let _ = durable::remove(path);
        SwapError::Program { name, path: path.to_owned(), filesystem, source }
    };
    let kept = clear_the_way(&path, size)?;
    if !kept {
        reserve(&path, mib, size, deadline).await?;
        run(mkswap, &path, deadline).await.map_err(|source| failed("mkswap", &path, source))?;
        File::open(&path)
            .and_then(|file| file.sync_all())
            .map_err(|source| SwapError::Make { path: path.clone(), source })?;
    }
    if let Some(swapon) = swapon {
        run(swapon, &path, deadline).await.map_err(|source| failed("swapon", &path, source))?;
    }
    keep_in_fstab(paths)?;
    Ok(if kept { Outcome::Kept { on: switch_on } } else { Outcome::Made { mib, on: switch_on } })
}

/// The first swap the kernel uses (proc_swaps(5)).
fn first_swap(paths: &Paths, needed: bool) -> Result<Option<String>, SwapError> {
    let path = paths.proc_dir().join("swaps");
    match read_small(&path) {
        Ok(text) => Ok(parse_swaps(&text)),
        Err(_) if needed => Err(SwapError::Kernel { path }),
        Err(_) => Ok(None),
    }
}

fn parse_swaps(text: &str) -> Option<String> {
    let line = text.lines().skip(1).find(|line| !line.trim().is_empty())?;
    let name = line.split_ascii_whitespace().next()?;
    Some(name.replace("\\040(deleted)", "").replace("\\040", " "))
}

/// True if a finished swap file of this size is there; a half-made one is removed.
fn clear_the_way(path: &Path, size: u64) -> Result<bool, SwapError> {
    let made = |source| SwapError::Make { path: path.to_owned(), source };
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(made(error)),
    };
    if !found.is_file() {
        return Err(SwapError::InTheWay { path: path.to_owned() });
    }
    if found.len() == size && found.mode() & 0o7777 == 0o600 && has_signature(path) {
        return Ok(true);
    }
    durable::remove(path).map(|_| false).map_err(made)
}

fn has_signature(path: &Path) -> bool {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|page| u64::try_from(page).ok()).unwrap_or(4096);
    let mut found = [0; SIGNATURE.len()];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut found, page - SIGNATURE.len() as u64));
    read.is_ok() && &found == SIGNATURE
}

/// Makes the file with all its blocks: a swap file must not have holes.
async fn reserve(path: &Path, mib: u64, size: u64, deadline: Deadline) -> Result<(), SwapError> {
    let directory = path.parent().unwrap_or(path);
    let made = |source| SwapError::Make { path: path.to_owned(), source };
    let free = mounts::look(directory).map_err(made)?.free_bytes;
    if free < size.saturating_add(MARGIN) {
        return Err(SwapError::Space { path: directory.to_owned(), free: free >> 20, mib });
    }
    let target = path.to_owned();
    let filled = blocking::run(move || {
        let result = fill(&target, size, deadline);
        if result.is_err() {
            // The first error is the one to report; a file that stays is made anew by the next run.
            let _ = durable::remove(&target);
        }
        result
    });
    filled.await.map_err(made)
}

fn fill(path: &Path, size: u64, deadline: Deadline) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    // The system call and not posix_fallocate(3): where a filesystem cannot, the C library's stand-in
    // writes a byte into each block, knows no deadline, and differs between C libraries.
    match fallocate(&file, FallocateFlags::empty(), 0, size as i64) {
        Ok(()) => {}
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => write_zeros(&mut file, size, deadline)?,
        Err(errno) => return Err(errno.into()),
    }
    file.sync_all()
}

fn write_zeros(file: &mut File, size: u64, deadline: Deadline) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    for _ in 0..size >> 20 {
        if deadline.is_over() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "there was not enough time to write it"));
        }
        file.write_all(&zeros)?;
    }
    Ok(())
}

/// Runs a program on the file; its last words are the error.
async fn run(program: &Path, path: &Path, deadline: Deadline) -> io::Result<()> {
    let mut command = Command::new(program);
    command.arg(path).stdin(Stdio::null()).kill_on_drop(true);
    command.env_clear().envs(environment_for_children());
    let output = match tokio::time::timeout_at(deadline.instant().into(), command.output()).await {
        Ok(output) => output?,
        Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "it did not end in time")),
    };
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no words");
    Err(io::Error::other(format!("{} ({})", words.chars().take(400).collect::<String>(), output.status)))
}

/// Filesystems whose files often cannot be swap (swapon(8), NOTES).
fn troublesome(path: &Path) -> Option<&'static str> {
    match mounts::look(path).ok()?.mount?.kind.as_str() {
        "btrfs" => Some("btrfs"),
        "overlay" => Some("overlayfs"),
        "tmpfs" => Some("tmpfs"),
        "nfs" | "nfs4" => Some("NFS"),
        _ => None,
    }
}

/// The line in fstab.
const LINE: &str = "/var/swap.1 none swap sw 0 0";

fn keep_in_fstab(paths: &Paths) -> Result<(), SwapError> {
    let path = paths.fstab();
    edit_fstab(&path).map_err(|source| SwapError::Fstab { path, source })
}

fn edit_fstab(path: &Path) -> io::Result<()> {
    let (old, mode) = match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => return Err(io::Error::other("it is not a regular file")),
        Ok(found) if found.len() > FSTAB_LIMIT => return Err(io::Error::other("it is too long for an fstab")),
        Ok(found) => (fs::read(path)?, found.mode() & 0o7777),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), 0o644),
        Err(error) => return Err(error),
    };
    match with_line(&old) {
        Some(new) => durable::write(path, &new, mode),
        None => Ok(()),
    }
}

/// An fstab with our line after everything that was there; `None` if it is there already.
fn with_line(fstab: &[u8]) -> Option<Vec<u8>> {
    let file = LINE.split(' ').next().unwrap_or(LINE).as_bytes();
    let names_it = |line: &[u8]| line.trim_ascii_start().split(u8::is_ascii_whitespace).next() == Some(file);
    if fstab.split(|&byte| byte == b'\n').any(names_it) {
        return None;
    }
    let mut new = fstab.to_vec();
    if !new.is_empty() && !new.ends_with(b"\n") {
        new.push(b'\n');
    }
    new.extend_from_slice(LINE.as_bytes());
    new.push(b'\n');
    Some(new)
}

#[cfg(test)]
mod tests;
