//! A directory tree that is written through handles, one name at a time: no path is ever resolved, so
//! nothing can lead outside.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::symlinkat;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

const DIRECTORY: Mode = Mode::from_bits_truncate(0o755);

/// A tree below an open directory. The directories on the way to the last place written stay open.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    way: Vec<(Vec<u8>, OwnedFd)>,
}

impl Tree {
    /// A tree below this directory.
    pub fn new(root: OwnedFd) -> Tree {
        Tree { root, way: Vec::new() }
    }

    /// Makes a directory, and those above it, mode 0755. One that is there already is fine.
    pub fn directory(&mut self, path: &[Vec<u8>]) -> nix::Result<BorrowedFd<'_>> {
        let shared = self.way.iter().zip(path).take_while(|((name, _), part)| name == *part).count();
        self.way.truncate(shared);
        for part in &path[shared..] {
            let next = enter(self.here(), OsStr::from_bytes(part))?;
            self.way.push((part.clone(), next));
        }
        Ok(self.here())
    }

    /// Makes a file that must not be there yet, mode 0644 or 0755 whatever the umask.
    pub fn file(&mut self, path: &[Vec<u8>], executable: bool) -> nix::Result<File> {
        let (parent, name) = self.parent(path)?;
        let mode = Mode::from_bits_truncate(if executable { 0o755 } else { 0o644 });
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = open(parent, name, flags, mode)?;
        fchmod(&file, mode)?;
        Ok(File::from(file))
    }

    /// Makes a symbolic link where nothing is yet.
    pub fn link(&mut self, path: &[Vec<u8>], target: &[u8]) -> nix::Result<()> {
        let (parent, name) = self.parent(path)?;
        symlinkat(OsStr::from_bytes(target), parent, name)
    }

    /// True if there is a regular file at this place.
    pub fn has_file(&mut self, path: &[Vec<u8>]) -> bool {
        let Ok((parent, name)) = self.parent(path) else { return false };
        nix::sys::stat::fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| stat.st_mode & nix::libc::S_IFMT == nix::libc::S_IFREG)
    }

    fn parent<'a>(&'a mut self, path: &'a [Vec<u8>]) -> nix::Result<(BorrowedFd<'a>, &'a OsStr)> {
        let (name, parents) = path.split_last().ok_or(Errno::EINVAL)?;
        Ok((self.directory(parents)?, OsStr::from_bytes(name)))
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.way.last().map_or(self.root.as_fd(), |(_, handle)| handle.as_fd())
    }
}

fn enter(parent: BorrowedFd<'_>, name: &OsStr) -> nix::Result<OwnedFd> {
    let made = match mkdirat(parent, name, DIRECTORY) {
        Ok(()) => true,
        Err(Errno::EEXIST) => false,
        Err(error) => return Err(error),
    };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let handle = open(parent, name, flags, Mode::empty())?;
    if made {
        fchmod(&handle, DIRECTORY)?;
    }
    Ok(handle)
}

/// Opens one name. Kernels before 5.6 and some containers have no openat2(2): there `O_NOFOLLOW` on a
/// single name says the same.
fn open(parent: BorrowedFd<'_>, name: &OsStr, flags: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
    debug_assert!(!name.as_bytes().contains(&b'/') && name != "..");
    let inside = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    match openat2(parent, name, OpenHow::new().flags(flags).mode(mode).resolve(inside)) {
        Err(Errno::ENOSYS | Errno::EPERM) => openat(parent, name, flags, mode),
        other => other,
    }
}
