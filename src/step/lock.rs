//! One run at a time. The lock is the kernel's: it ends with the process, however that ends.

use super::error::Error;
use crate::durable;
use crate::paths::Paths;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

/// How often a lock that may be free in a moment is tried.
const LOOK: Duration = Duration::from_millis(5);
/// How long `status` may hold it: it can only look at a lock by sharing it for a moment.
const LOOKED_AT: Duration = Duration::from_millis(100);
/// A run that is killed while it starts a program leaves the lock with the new process until that has
/// become the program (flock(2): a fork has the same lock), so for moments.
const ORPHANED: Duration = Duration::from_secs(2);

/// Held while it lives.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the lock, or says who holds it.
    pub fn take(paths: &Paths, verb: &str) -> Result<RunLock, Error> {
        let path = paths.run_lock();
        let fail = |source| Error::State { path: path.display().to_string(), source };
        durable::private_directory(&paths.state_dir())
            .map_err(|source| Error::State { path: paths.state_dir().display().to_string(), source })?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
            .open(&path)
            .map_err(fail)?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let holder = holder(&mut file);
                    let patience = if holder.as_deref().is_some_and(is_dead) { ORPHANED } else { LOOKED_AT };
                    if begun.elapsed() > patience {
                        return Err(Error::Locked { holder });
                    }
                    // Nobody tells when the last of them has gone.
                    std::thread::sleep(LOOK);
                }
                Err(TryLockError::Error(source)) => return Err(fail(source)),
            }
        }
        // What is written here is for people only, so a disk that is full does not matter.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{verb}, pid {}", std::process::id()));
        Ok(RunLock { _file: file })
    }

    /// True if some process holds the lock now.
    pub fn is_held(paths: &Paths) -> bool {
        RunLock::holder(paths).is_some()
    }

    /// Who holds the lock now, in his own words: `upgrade, pid 812`. They are empty where he could not write them.
    pub fn holder(paths: &Paths) -> Option<String> {
        let mut file = File::open(paths.run_lock()).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(holder(&mut file).unwrap_or_default()),
            _ => None,
        }
    }
}

/// True if the process of a holder's line is gone.
fn is_dead(holder: &str) -> bool {
    let pid = holder.rsplit_once("pid ").and_then(|(_, pid)| pid.parse().ok()).filter(|pid| *pid > 1);
    pid.is_some_and(|pid| kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH))
}

fn holder(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(200).read_to_string(&mut text).ok()?;
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Exit, Failure};

    #[test]
    fn a_second_run_is_refused_and_told_who_is_at_work() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        assert!(!RunLock::is_held(&paths));
        let first = RunLock::take(&paths, "install").unwrap();
        assert!(RunLock::is_held(&paths));
        let failure = Failure::from(RunLock::take(&paths, "install").unwrap_err());
        assert_eq!(failure.exit(), Exit::Locked);
        assert!(failure.message.contains(&format!("install, pid {}", std::process::id())), "{}", failure.message);
        drop(first);
        assert!(!RunLock::is_held(&paths));
        RunLock::take(&paths, "install").unwrap();
    }

    #[test]
    fn a_lock_that_a_dead_run_left_with_a_process_it_was_starting_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let first = RunLock::take(&paths, "install").unwrap();
        std::fs::write(paths.run_lock(), format!("install, pid {}", child.id())).unwrap();
        let second = std::thread::spawn({
            let paths = paths.clone();
            move || RunLock::take(&paths, "install").map(drop)
        });
        drop(first);
        second.join().unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(paths.run_lock()).unwrap(), format!("install, pid {}", std::process::id()));
    }
}
