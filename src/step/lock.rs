//! One run at a time. The lock is the kernel's: it ends with the process, however that ends.

use super::error::Error;
use crate::durable;
use crate::paths::Paths;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// How long a look of `status` at the lock may take, and how many may come in a row.
const LOOK: Duration = Duration::from_millis(10);
const LOOKS: usize = 10;

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
        let mut locked = file.try_lock();
        for _ in 0..LOOKS {
            if !matches!(locked, Err(TryLockError::WouldBlock)) {
                break;
            }
            // It may be no run, but `status`, which can only look at a lock by sharing it for a moment.
            std::thread::sleep(LOOK);
            locked = file.try_lock();
        }
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked { holder: holder(&mut file) }),
            Err(TryLockError::Error(source)) => return Err(fail(source)),
        }
        // What is written here is for people only, so a disk that is full does not matter.
        let _ = file.set_len(0).and_then(|()| write!(file, "{verb}, pid {}", std::process::id()));
        Ok(RunLock { _file: file })
    }

    /// True if some process holds the lock now.
    pub fn is_held(paths: &Paths) -> bool {
        let Ok(file) = File::open(paths.run_lock()) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }
}

fn holder(file: &mut File) -> Option<String> {
    let mut text = String::new();
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
}
