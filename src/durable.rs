//! Files that are whole or not there: written beside their place, synced, renamed, and the directory
//! synced too. Modes hold from birth, whatever the umask.

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Replaces `path` by `bytes` in one step, with exactly `mode`. After success the new content survives
/// a power cut; after a failure the old content is untouched and no temporary file is left.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write_for(path, bytes, mode, None)
}

/// The same, for an owner (user and group) other than this process, where one is given.
pub fn write_for(path: &Path, bytes: &[u8], mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    replace(path, mode, owner, true, |file| file.write_all(bytes))
}

/// [`write()`] for what is not in memory: `fill` writes it. Where that fails, nothing was written.
pub fn write_by(path: &Path, mode: u32, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    replace(path, mode, None, true, fill)
}

/// [`write()`] for what does not outlive the boot anyway: whole or not there, and nothing waits for a disk.
pub fn write_for_this_boot(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace(path, mode, None, false, |file| file.write_all(bytes))
}

fn replace(
    path: &Path,
    mode: u32,
    owner: Option<(u32, u32)>,
    lasting: bool,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let directory = parent(path);
    let temporary = temporary_beside(path)?;
    let result = (|| {
        // Nobody else reads it before it is the owner's.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode & 0o700).open(&temporary)?;
        let made = file.metadata()?;
        if let Some((user, group)) = owner.filter(|owner| *owner != (made.uid(), made.gid())) {
            std::os::unix::fs::fchown(&file, Some(user), Some(group))?;
        }
        file.set_permissions(Permissions::from_mode(mode))?;
        fill(&mut file)?;
        if lasting {
            file.sync_all()?;
        }
        fs::rename(&temporary, path)
    })();
    if result.is_err() {
        // The first error is the one to report; a temporary file that cannot be removed is harmless.
        let _ = fs::remove_file(&temporary);
    }
    result?;
    if lasting { sync_directory(directory) } else { Ok(()) }
}

/// Removes a file durably. True if it was there.
pub fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => sync_directory(parent(path)).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes what processes that were killed in the middle of a `write` left in a directory: of every file
/// there, or of the one called `name`. Files of living processes stay. What cannot be removed or looked at
/// stays too: it takes a little room and does no other harm.
pub fn sweep(directory: &Path, name: Option<&str>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let temporary = entry.file_name();
        let Some((of, pid)) = temporary.to_str().and_then(taken_apart) else { continue };
        let gone = kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH);
        if gone && name.is_none_or(|name| name == of) {
            // See above.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// `.NAME.PID.COUNT.new`: the file's name and the process.
fn taken_apart(temporary: &str) -> Option<(&str, i32)> {
    let (rest, count) = temporary.strip_prefix('.')?.strip_suffix(".new")?.rsplit_once('.')?;
    let (name, pid) = rest.rsplit_once('.')?;
    let _: u32 = count.parse().ok()?; // only that it is a number matters
    Some((name, pid.parse().ok().filter(|pid| *pid > 1)?))
}

/// Makes a directory and its parents; the ones made get `mode`. An existing one is left as it is.
pub fn directory(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// Makes a directory that is this user's alone, mode 0700, and its parents. One that is there already loses
/// the rights it gives to others.
///
/// # Errors
/// It belongs to somebody else, or others could write to it: what lies in it cannot be trusted then.
pub fn private_directory(path: &Path) -> io::Result<()> {
    directory(path, 0o700)?;
    let handle = File::open(path)?;
    let found = handle.metadata()?;
    let us = nix::unistd::geteuid().as_raw();
    if others_can_write(&found) {
        return Err(io::Error::other("other users can write to it, so what lies in it cannot be trusted"));
    }
    if found.mode() & 0o077 != 0 && found.uid() == us {
        handle.set_permissions(Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// True if somebody else than root, this user and this user's group can change what this is about.
pub fn others_can_write(found: &Metadata) -> bool {
    let (us, group) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let foreign_owner = found.uid() != us && found.uid() != 0;
    let foreign_group = found.gid() != group && found.gid() != 0 && found.mode() & 0o020 != 0;
    foreign_owner || foreign_group || found.mode() & 0o002 != 0
}

/// Opens a regular file to read it, and never waits: a pipe or a device is an error.
pub fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no regular file"));
    }
    Ok(file)
}

/// Reads a regular file of at most `limit` bytes ([`open()`]). What is longer is an error.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is longer than {limit} bytes")));
    }
    Ok(bytes)
}

/// True if there was no room on the disk, or none left for this user.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Syncs a directory, so that names made, renamed or removed in it survive a power cut.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Syncs the whole filesystem that a directory lies on (syncfs(2)), so that what other programs wrote survives a
/// power cut: a file that nobody synced may be there afterwards and be empty (mount options of ext4(5), `delalloc`).
pub fn sync_filesystem(directory: &Path) -> io::Result<()> {
    Ok(nix::unistd::syncfs(File::open(directory)?)?)
}

/// Asks the kernel to begin writing a file's bytes from `offset` on to the disk, and does not wait
/// (sync_file_range(2)): a sync that comes later finds less to wait for. Nothing is promised, so nothing
/// can fail.
pub fn write_soon(file: &File, offset: u64) {
    let Ok(offset) = i64::try_from(offset) else { return };
    // SAFETY: the call takes a descriptor, which `file` keeps open, and numbers; it touches no memory of ours.
    unsafe { nix::libc::sync_file_range(file.as_raw_fd(), offset, 0, nix::libc::SYNC_FILE_RANGE_WRITE) };
}

/// The directory that a path lies in: `.` for a bare name.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{} names no file", path.display())))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.{}.new", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    Ok(path.with_file_name(temporary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_and_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        write(&path, b"one", 0o600).unwrap();
        write(&path, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(remove(&path).unwrap());
        assert!(!remove(&path).unwrap());
    }

    #[test]
    fn a_private_directory_is_closed_to_others_or_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        private_directory(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
        fs::set_permissions(&path, Permissions::from_mode(0o1777)).unwrap();
        assert!(private_directory(&path).unwrap_err().to_string().contains("other users can write"));
    }

    #[test]
    fn only_regular_files_of_a_bounded_length_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert!(read(&path, 4).is_err());
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(&pipe, 4).is_err() && read(directory.path(), 4).is_err());
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_a_living_ones_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let (gone, ours) = (child.id(), std::process::id());
        let left = [format!(".a.json.{gone}.0.new"), format!(".fstab.{gone}.3.new")];
        let stay = [format!(".a.json.{ours}.0.new"), format!(".a.{gone}.new"), "a.json".into(), ".0.0.new".into()];
        for name in left.iter().chain(&stay) {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let names = || -> Vec<String> {
            let mut names: Vec<String> = fs::read_dir(directory.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        sweep(directory.path(), Some("fstab"));
        assert!(names().contains(&left[0]) && !names().contains(&left[1]));
        sweep(directory.path(), None);
        let mut stay = stay.to_vec();
        stay.sort();
        assert_eq!(names(), stay);
        sweep(&directory.path().join("nowhere"), None);
    }

    #[test]
    fn a_write_that_cannot_be_done_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), b"x").unwrap();
        assert!(write(&path, b"one", 0o600).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
