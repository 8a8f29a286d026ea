//! A picture of chosen files, links and directory trees, and of what was *not* there, from which all of it
//! can be put back: taken before something changes them.
//!
//! It lies in a directory of its own: the contents as files named by their SHA-256 (0600: Kasm's
//! configuration holds tokens), and `manifest.json`, written last, without which there is no snapshot.
//! Putting it back only touches what lies at or below the chosen paths, changes only what differs, and can
//! be cut off at any point and done again.

mod error;
mod tree;

pub use error::Error;

use crate::durable;
use crate::paths::Paths;
use crate::record::{self, Record};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// The most that is taken: a configuration has a few hundred files.
const MOST_ENTRIES: usize = 20_000;
/// The largest file that is taken, in bytes: it is held in memory.
const LARGEST: u64 = 8 << 20;
/// All contents together, in bytes.
const MOST_BYTES: u64 = 128 << 20;

/// A snapshot on the disk.
#[derive(Debug)]
pub struct Snapshot {
    paths: Paths,
    dir: PathBuf,
    manifest: Manifest,
}

/// `manifest.json`: nothing secret is in it.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    schema: u32,
    /// The chosen paths, as the machine names them.
    items: Vec<PathBuf>,
    entries: Vec<Entry>,
}

impl Record for Manifest {
    const SCHEMA: u32 = 1;
    const LIMIT: u64 = 8 << 20;
}

/// One path, as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// As the machine names it.
    path: PathBuf,
    #[serde(flatten)]
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Kind {
    /// Nothing was there.
    Absent,
    File {
        mode: u32,
        uid: u32,
        gid: u32,
        sha256: String,
    },
    Directory {
        mode: u32,
        uid: u32,
        gid: u32,
    },
    Link {
        target: PathBuf,
    },
    /// A socket, pipe or device: left alone.
    Other,
}

impl Snapshot {
    /// Takes a snapshot of these paths (below the root), whole trees where they are directories, into `dir`.
    /// What was in `dir` before is gone. When this returns, the snapshot survives a power cut; after an error
    /// there is none.
    ///
    /// # Errors
    /// Something cannot be read or written, or is more than a snapshot holds (20,000 entries, 8 MiB a file,
    /// 128 MiB together).
    pub fn take(paths: &Paths, dir: &Path, items: &[PathBuf]) -> Result<Snapshot, Error> {
        let fail = |source| Error::Write { path: dir.to_owned(), source };
        remove_all(dir).map_err(fail)?;
        durable::directory(dir, 0o700).map_err(fail)?;
        let taken = (|| {
            let mut manifest = Manifest { schema: Manifest::SCHEMA, items: Vec::new(), entries: Vec::new() };
            let (mut kept, mut bytes) = (BTreeSet::new(), 0);
            for item in items {
                manifest.items.push(paths.shown(item));
                for path in tree::walk(item, MOST_ENTRIES)? {
                    let kind = keep(dir, &path, &mut kept, &mut bytes)?;
                    manifest.entries.push(Entry { path: paths.shown(&path), kind });
                    if manifest.entries.len() > MOST_ENTRIES || bytes > MOST_BYTES {
                        return Err(Error::TooLarge { path: item.clone(), what: "holds more than a snapshot takes" });
                    }
                }
            }
            let text = serde_json::to_vec(&manifest)
                .map_err(|error| Error::Write { path: dir.join(MANIFEST), source: io::Error::other(error) })?;
            let path = dir.join(MANIFEST);
            durable::write(&path, &text, 0o600).map_err(|source| Error::Write { path, source })?;
            // The directory's own name, too.
            durable::sync_directory(dir.parent().unwrap_or(dir)).map_err(fail)?;
            Ok(manifest)
        })();
        match taken {
            Ok(manifest) => Ok(Snapshot { paths: paths.clone(), dir: dir.to_owned(), manifest }),
            Err(error) => {
                // What went wrong is the better news; a part without a manifest is no snapshot.
                let _ = remove_all(dir);
                Err(error)
            }
        }
    }

    /// The snapshot in a directory.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn open(paths: &Paths, dir: &Path) -> Result<Snapshot, Error> {
        let path = dir.join(MANIFEST);
        let damaged = |why: String| Error::Damaged { path: path.clone(), why };
        let bytes = durable::read(&path, Manifest::LIMIT).map_err(|error| damaged(error.to_string()))?;
        let manifest: Manifest = record::parse(&bytes).map_err(|error| damaged(error.to_string()))?;
        let below = |entry: &Entry| manifest.items.iter().any(|item| entry.path.starts_with(item));
        let plain = |path: &Path| path.is_absolute() && !path.iter().any(|part| part == "..");
        if let Some(entry) = manifest.entries.iter().find(|entry| !plain(&entry.path) || !below(entry)) {
            return Err(damaged(format!("{} is not below what was taken", entry.path.display())));
        }
        Ok(Snapshot { paths: paths.clone(), dir: dir.to_owned(), manifest })
    }

    /// How what is there differs from the snapshot, one sentence's part each; empty if it does not. Contents
    /// are compared, never told.
    ///
    /// # Errors
    /// Something there cannot be read.
    pub fn differences(&self) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        for entry in &self.manifest.entries {
            let path = self.paths.at(&entry.path);
            if let Some(how) = difference(&path, &entry.kind)? {
                found.push(format!("{} {how}", entry.path.display()));
            }
        }
        found.extend(self.strangers()?.iter().map(|path| format!("{} is new", self.paths.shown(path).display())));
        Ok(found)
    }

    /// Puts everything back: contents, modes, owners, links; what was not there is removed. Each file changes
    /// in one step. Returns what was changed, in words. Doing it again finishes what was cut off.
    ///
    /// # Errors
    /// The snapshot is damaged (then nothing was changed), or something cannot be written.
    pub fn restore(&self) -> Result<Vec<String>, Error> {
        let digests = self.manifest.entries.iter().filter_map(|entry| match &entry.kind {
            Kind::File { sha256, .. } => Some(sha256.as_str()),
            _ => None,
        });
        for sha256 in digests.collect::<BTreeSet<_>>() {
            self.blob(sha256)?;
        }
        let mut changed = Vec::new();
        for path in self.strangers()? {
            remove_all(&path).map_err(|source| Error::Write { path: path.clone(), source })?;
            changed.push(format!("{} was new", self.paths.shown(&path).display()));
        }
        // Compared one after the other: a directory that is put back in a link's place is empty.
        for entry in &self.manifest.entries {
            let path = self.paths.at(&entry.path);
            if let Some(how) = difference(&path, &entry.kind)? {
                self.put_back(&path, &entry.kind)?;
                changed.push(format!("{} {how}", entry.path.display()));
            }
        }
        Ok(changed)
    }

    /// Removes it from the disk.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(self) -> Result<(), Error> {
        // Without its manifest it is none, whenever this is cut off.
        let manifest = self.dir.join(MANIFEST);
        durable::remove(&manifest).map_err(|source| Error::Write { path: manifest, source })?;
        remove_all(&self.dir).map_err(|source| Error::Write { path: self.dir.clone(), source })
    }

    /// What is there now, in a directory that was taken, and was not there then.
    fn strangers(&self) -> Result<Vec<PathBuf>, Error> {
        let known: BTreeSet<PathBuf> = self.manifest.entries.iter().map(|entry| self.paths.at(&entry.path)).collect();
        let mut strangers = Vec::new();
        for entry in &self.manifest.entries {
            let path = self.paths.at(&entry.path);
            if matches!(entry.kind, Kind::Directory { .. }) && tree::is_directory(&path) {
                for child in tree::children(&path)? {
                    if !known.contains(&child) {
                        strangers.push(child);
                    }
                }
            }
        }
        Ok(strangers)
    }

    fn blob(&self, sha256: &str) -> Result<Vec<u8>, Error> {
        let path = self.dir.join(sha256);
        let damaged = |why: String| Error::Damaged { path: path.clone(), why };
        let bytes = durable::read(&path, LARGEST).map_err(|error| damaged(error.to_string()))?;
        match hex(&bytes) == sha256 {
            true => Ok(bytes),
            false => Err(damaged("its content has changed".into())),
        }
    }

    fn put_back(&self, path: &Path, kind: &Kind) -> Result<(), Error> {
        let bytes = match kind {
            Kind::File { sha256, .. } => self.blob(sha256)?,
            _ => Vec::new(),
        };
        if let (Some(parent), false) = (path.parent(), matches!(kind, Kind::Absent | Kind::Other)) {
            let failed = |source| Error::Write { path: parent.to_owned(), source };
            durable::directory(parent, 0o755).map_err(failed)?;
        }
        let done = match kind {
            Kind::Absent => remove_all(path),
            Kind::Other => Ok(()),
            Kind::Directory { mode, uid, gid } => put_directory(path, *mode, *uid, *gid),
            Kind::Link { target } => put_link(path, target),
            Kind::File { mode, uid, gid, .. } => put_file(path, &bytes, *mode, *uid, *gid),
        };
        done.map_err(|source| Error::Write { path: path.to_owned(), source })
    }
}

const MANIFEST: &str = "manifest.json";

/// Keeps one path: its content goes below `dir`.
fn keep(dir: &Path, path: &Path, kept: &mut BTreeSet<String>, bytes: &mut u64) -> Result<Kind, Error> {
    let (kind, content) = look(path)?;
    if let (Kind::File { sha256, .. }, Some(content)) = (&kind, content)
        && kept.insert(sha256.clone())
    {
        *bytes += content.len() as u64;
        let blob = dir.join(sha256);
        durable::write(&blob, &content, 0o600).map_err(|source| Error::Write { path: blob, source })?;
    }
    Ok(kind)
}

/// What is there now.
fn look(path: &Path) -> Result<(Kind, Option<Vec<u8>>), Error> {
    let unreadable = |source| Error::Read { path: path.to_owned(), source };
    let data = match fs::symlink_metadata(path) {
        Ok(data) => data,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok((Kind::Absent, None));
        }
        Err(error) => return Err(unreadable(error)),
    };
    let (mode, uid, gid) = (data.mode() & 0o7777, data.uid(), data.gid());
    if data.is_symlink() {
        return Ok((Kind::Link { target: fs::read_link(path).map_err(unreadable)? }, None));
    }
    if data.is_dir() {
        return Ok((Kind::Directory { mode, uid, gid }, None));
    }
    if !data.is_file() {
        return Ok((Kind::Other, None));
    }
    if data.len() > LARGEST {
        return Err(Error::TooLarge { path: path.to_owned(), what: "is larger than 8 MiB" });
    }
    let content = durable::read(path, LARGEST).map_err(unreadable)?;
    Ok((Kind::File { mode, uid, gid, sha256: hex(&content) }, Some(content)))
}

/// How what is there differs from what was: the end of a sentence.
fn difference(path: &Path, was: &Kind) -> Result<Option<&'static str>, Error> {
    let is = match look(path) {
        Ok((is, _)) => is,
        // Whatever it is, it is not what was taken.
        Err(Error::TooLarge { .. }) => return Ok(Some("has another content")),
        Err(error) => return Err(error),
    };
    Ok(match (was, &is) {
        _ if *was == is => None,
        (Kind::Other, _) => None,
        (_, Kind::Absent) => Some("is not there"),
        (Kind::Absent, _) => Some("is new"),
        (Kind::Link { .. }, Kind::Link { .. }) => Some("leads elsewhere"),
        (Kind::File { sha256: one, .. }, Kind::File { sha256: other, .. }) if one != other => {
            Some("has another content")
        }
        (Kind::File { .. }, Kind::File { .. }) | (Kind::Directory { .. }, Kind::Directory { .. }) => {
            Some("has another owner or mode")
        }
        _ => Some("is something else"),
    })
}

fn put_directory(path: &Path, mode: u32, uid: u32, gid: u32) -> io::Result<()> {
    if !tree::is_directory(path) {
        remove_all(path)?;
        fs::create_dir(path)?;
    }
    own(path, uid, gid)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    durable::sync_directory(path.parent().unwrap_or(path))
}

fn put_link(path: &Path, target: &Path) -> io::Result<()> {
    if tree::is_directory(path) {
        remove_all(path)?;
    }
    let temporary = beside(path);
    remove_all(&temporary)?;
    symlink(target, &temporary)?;
    fs::rename(&temporary, path)?;
    durable::sync_directory(path.parent().unwrap_or(path))
}

fn put_file(path: &Path, bytes: &[u8], mode: u32, uid: u32, gid: u32) -> io::Result<()> {
    if tree::is_directory(path) {
        remove_all(path)?;
    }
    durable::write_for(path, bytes, mode, Some((uid, gid)))
}

/// A name of our own beside a path; the same each time, so that a next run clears what was cut off.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.kasm-bootstrap"))
}

fn own(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    let data = fs::symlink_metadata(path)?;
    // Without root the owner can stay as it is.
    if (data.uid(), data.gid()) == (uid, gid) {
        return Ok(());
    }
    std::os::unix::fs::lchown(path, Some(uid), Some(gid))
}

/// Removes whatever is there, a link and not what it leads to. Nothing there is no error.
fn remove_all(path: &Path) -> io::Result<()> {
    let removed = match tree::is_directory(path) {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
    match removed {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
        other => other,
    }
}

fn hex(bytes: &[u8]) -> String {
    crate::words::hex(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests;
