//! Tarballs that are kept, one file a digest, and the ones that are still coming.

use super::error::Causes;
use super::signature::{self, Key, Seal};
use super::spool::Spool;
use super::verified::Proof;
use super::{Digest, Error, Tarball, Verified};
use crate::blocking;
use crate::deadline::Deadline;
use crate::durable;
use crate::observe::{Observer, Wait};
use crate::paths::Paths;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How often a partial file that another process holds is looked at: flock(2) cannot be awaited.
const LOCK_POLL: Duration = Duration::from_millis(200);

/// Where verified tarballs are kept.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: PathBuf,
    /// The finished file, as the caller wrote it, where it is not named by its digest.
    file: Option<PathBuf>,
}

/// One file of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The digest in its name. Only [`Cache::lookup`] proves it.
    pub digest: Digest,
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub length: u64,
    /// When it was written last.
    pub modified: SystemTime,
    /// True if the download has not come to its end.
    pub partial: bool,
}

/// What is remembered of a partial file's origin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// The URL without credentials and query, for people.
    pub url: String,
    /// The SHA-256 of the whole URL, to know it again.
    pub url_sha256: String,
    /// A validator for `If-Range`: a strong ETag or a Last-Modified (RFC 9110, 13.1.5).
    pub validator: Option<String>,
    /// How long the whole is.
    pub total: Option<u64>,
}

impl Cache {
    /// The machine's cache.
    pub fn new(paths: &Paths) -> Cache {
        Cache::below(paths.cache_dir())
    }

    /// A cache in any directory.
    pub fn below(directory: impl Into<PathBuf>) -> Cache {
        Cache { directory: directory.into(), file: None }
    }

    /// A place for exactly one file, named `path`: what is still coming lies beside it.
    pub fn at_file(path: &Path) -> Cache {
        Cache { directory: durable::parent(path).to_owned(), file: path.file_name().map(|_| path.to_owned()) }
    }

    /// Where the tarball with this digest is kept.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        match &self.file {
            Some(file) => file.clone(),
            None => self.directory.join(format!("{digest}.tar.gz")),
        }
    }

    /// The tarball with this digest, hashed again in a thread of its own. A kept file that is not what its
    /// name says is removed.
    pub async fn lookup(&self, digest: &Digest, observer: &dyn Observer) -> Option<Verified<Tarball>> {
        let (path, wanted) = (self.path(digest), *digest);
        let reading = {
            let path = path.clone();
            move || Verified::read(&path, wanted)
        };
        match blocking::run(reading).await {
            // It would be changed as soon as we have said that it is good.
            Ok(tarball) if self.file.is_some() && tarball.others_can_write() => {
                observer.warn(&format!("{} is not used: other users can write to it", path.display()));
                None
            }
            Ok(tarball) => Some(tarball),
            Err(Error::Mismatch { found, .. }) if self.file.is_none() => {
                observer.warn(&format!("{} is damaged (SHA-256 is {found}) and removed", path.display()));
                // What cannot be removed is replaced by the download.
                let _ = fs::remove_file(&path);
                None
            }
            Err(_) => None,
        }
    }

    /// The tarball that this seal is on, with this digest where one is given; in a thread of its own. Without
    /// a digest only one that was kept with the very same seal is found.
    pub(super) async fn sealed(&self, digest: Option<Digest>, seal: &Seal) -> Option<Verified<Tarball>> {
        let (cache, seal) = (self.clone(), seal.clone());
        blocking::run(move || {
            let paths = match (digest, &cache.file) {
                (Some(digest), _) => vec![cache.path(&digest)],
                (None, Some(file)) => vec![file.clone()],
                (None, None) => cache.list().unwrap_or_default().into_iter().map(|kept| kept.path).collect(),
            };
            paths.into_iter().find_map(|path| {
                let kept = digest.is_some() || signature::kept_with(&path).is_some_and(|text| text == seal.text());
                let proof = Proof::Sealed { seal: seal.clone(), digest };
                if kept { Verified::check(&path, proof).ok() } else { None }
            })
        })
        .await
    }

    /// The tarball with this digest, kept with a seal of this key; in a thread of its own.
    pub async fn lookup_signed(&self, digest: &Digest, key: &Key) -> Option<Verified<Tarball>> {
        let (path, digest, key) = (self.path(digest), *digest, key.clone());
        blocking::run(move || Verified::read_signed(&path, &key, Some(digest)).ok()).await
    }

    /// Everything kept, oldest first. An absent cache is an empty one.
    pub fn list(&self) -> Result<Vec<Kept>, Error> {
        let fail = |source| Error::Unreadable { path: self.directory.clone(), source };
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(fail(error)),
        };
        let mut kept = Vec::new();
        for entry in entries {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name();
            let Some((stem, ending)) = name.to_str().and_then(|name| name.split_once('.')) else { continue };
            let (Ok(digest), true) = (stem.parse(), matches!(ending, "tar.gz" | "partial")) else { continue };
            let Ok(meta) = entry.metadata() else { continue }; // gone in between
            let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            kept.push(Kept { digest, path: entry.path(), length: meta.len(), modified, partial: ending == "partial" });
        }
        kept.sort_by_key(|kept| (kept.modified, kept.digest));
        Ok(kept)
    }

    /// Opens the partial file of this name, and holds it against other processes. `None` if the
    /// deadline passed first.
    pub(super) async fn partial(
        &self,
        digest: &Digest,
        deadline: Deadline,
        observer: &dyn Observer,
    ) -> Result<Partial, Error> {
        let path = self.directory.join(format!("{digest}.partial"));
        let fail = |source| Error::Spool { path: path.clone(), source };
        durable::directory(&self.directory, 0o755)
            .map_err(|source| Error::Spool { path: self.directory.clone(), source })?;
        let mut told = false;
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let file = options.custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK).open(&path).map_err(fail)?;
            // In a directory that others can write to it may have been put there by one of them.
            let found = file.metadata().map_err(fail)?;
            if durable::others_can_write(&found) || found.nlink() > 1 {
                return Err(fail(io::Error::other("it was put there by another user, or others can write to it")));
            }
            match file.try_lock() {
                // The one before us may have finished or removed the file while we opened it.
                Ok(()) if is_at(&file, &path) => return Ok(Partial { file, path }),
                Ok(()) => continue,
                Err(TryLockError::Error(error)) => return Err(fail(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            if deadline.is_over() {
                let line = format!("{} is held by another process that downloads it", path.display());
                return Err(Error::Deadline { causes: Causes::new(vec![line]) });
            }
            if !told {
                observer.waiting(&Wait {
                    what: "the download of the release".into(),
                    holder: Some("another process that downloads the same release".into()),
                    deadline,
                });
                told = true;
            }
            tokio::time::sleep(LOCK_POLL.min(deadline.remaining())).await;
        }
    }

    /// Makes a finished download the kept file; blocking. Nothing is synced: whoever takes it out of the
    /// cache later hashes it again.
    pub(super) fn keep(
        &self,
        file: File,
        partial: &Path,
        digest: Digest,
        seal: Option<Seal>,
    ) -> Result<Verified<Tarball>, Error> {
        let path = self.path(&digest);
        let fail = |source| Error::Spool { path: path.clone(), source };
        if let Some(seal) = &seal {
            let path = signature::path(&path);
            durable::write(&path, seal.text(), 0o644).map_err(|source| Error::Spool { path, source })?;
        }
        file.set_permissions(fs::Permissions::from_mode(0o644)).map_err(fail)?;
        fs::rename(partial, &path).map_err(fail)?;
        forget_origin(partial);
        Verified::written(file, path.clone(), digest, seal)
    }
}

/// A partial file that we hold.
#[derive(Debug)]
pub(super) struct Partial {
    file: File,
    path: PathBuf,
}

impl Partial {
    /// Hashes what is there, in a thread of its own, and tells where it came from.
    pub async fn into_spool(self) -> Result<(Spool, Option<Origin>), Error> {
        let Partial { file, path } = self;
        let origin = read_origin(&path);
        Ok((blocking::run(move || Spool::into_file(file, path)).await?, origin))
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn origin_path(partial: &Path) -> PathBuf {
    partial.with_extension("partial.json")
}

fn read_origin(partial: &Path) -> Option<Origin> {
    let bytes = durable::read(&origin_path(partial), 1 << 16).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Remembers where a partial file comes from; blocking.
pub(super) fn remember_origin(partial: &Path, origin: &Origin) -> Result<(), Error> {
    let path = origin_path(partial);
    let bytes = serde_json::to_vec(origin).expect("strings and numbers can always be written");
    durable::write(&path, &bytes, 0o600).map_err(|source| Error::Spool { path, source })
}

/// Forgets a partial file and its origin; blocking.
pub(super) fn discard(partial: &Path) {
    // What cannot be removed is found, hashed and judged again by the next download.
    let _ = fs::remove_file(partial);
    forget_origin(partial);
}

fn forget_origin(partial: &Path) {
    // An origin without a partial file is of no use to anybody.
    let _ = fs::remove_file(origin_path(partial));
}
