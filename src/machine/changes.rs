//! Waiting for files to come or change, without asking again and again (inotify(7)).

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How long it takes to look again where the kernel has no watch left to give
/// (`fs.inotify.max_user_instances`, `max_user_watches`).
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A watch on directories. Set it, then look, then wait: nothing happens unseen in between.
pub struct Changes(Option<AsyncFd<OwnedFd>>);

impl Changes {
    /// Watches these directories; where one is not there yet, the nearest one above it that is. Needs a
    /// tokio runtime.
    pub fn of(directories: &[PathBuf]) -> Changes {
        Changes(watch(directories).ok())
    }

    /// Returns once anything there was made, written, moved or removed since the watch was set: after
    /// that, set it anew. Where there is no watch to be had, it returns after a second.
    pub async fn next(self) {
        match &self.0 {
            Some(watch) => drop(watch.readable().await),
            None => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

fn watch(directories: &[PathBuf]) -> io::Result<AsyncFd<OwnedFd>> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let flags = AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_DELETE;
    let nearest = |directory: &Path| {
        let mut last = nix::Error::ENOENT;
        for directory in directory.ancestors() {
            match inotify.add_watch(directory, flags) {
                Ok(_) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    // Twice: a directory made after the first look is watched by the second, one made after that is seen
    // by the watch above it.
    for directory in directories.iter().chain(directories) {
        nearest(directory)?;
    }
    // SAFETY: the descriptor is open as long as its `OwnedFd`, which the `AsyncFd` owns, and never another.
    let watch = unsafe { AsyncFd::register_with_interest(OwnedFd::from(inotify), Interest::READABLE) };
    watch.map_err(|error| error.into_parts().1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    async fn come(changes: Changes) -> bool {
        tokio::time::timeout(Duration::from_secs(20), changes.next()).await.is_ok()
    }

    #[tokio::test]
    async fn a_file_in_a_directory_that_is_not_there_yet_is_seen_step_by_step() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("etc/kasm-bootstrap");
        let watched = [directory.clone()];
        for made in [root.path().join("etc"), directory.clone()] {
            let changes = Changes::of(&watched);
            fs::create_dir(made).unwrap();
            assert!(come(changes).await);
        }
        let changes = Changes::of(&watched);
        fs::write(directory.join("config.toml"), "x").unwrap();
        assert!(come(changes).await);
        let changes = Changes::of(&watched);
        fs::rename(directory.join("config.toml"), directory.join("other.toml")).unwrap();
        assert!(come(changes).await);
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_happens_nothing_is_told() {
        let root = tempfile::tempdir().unwrap();
        let changes = Changes::of(&[root.path().to_owned()]);
        assert!(tokio::time::timeout(Duration::from_secs(3600), changes.next()).await.is_err());
        // Without a watch the clock tells.
        Changes(None).next().await;
    }
}
