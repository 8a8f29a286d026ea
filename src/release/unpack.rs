//! From a verified tarball to `DIR/kasm_release`, or to nothing at all.

use super::ahead::walk;
use super::entry::{Entry, Kind, OverLimit, ROOT, broken};
use super::error::{Error, Refusal};
use super::spool::SOON;
use super::tree::Tree;
use super::{Tarball, Verified};
use crate::durable;
use crate::observe::Observer;
use flate2::bufread::GzDecoder;
use nix::errno::Errno;
use sha2::{Digest as _, Sha256};
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

/// How much is inflated and written at once.
const CHUNK: usize = 128 * 1024;
/// Archives that unpack to less are never called bombs.
const SMALL: u64 = 64 << 20;

/// How big an archive may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes, unpacked.
    pub bytes: u64,
    /// Entries, extension headers among them.
    pub entries: u64,
    /// Path components.
    pub depth: usize,
    /// Unpacked bytes for each compressed byte, beyond the first 64 MiB. Releases have about 3.
    pub ratio: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes: 8 << 30, entries: 200_000, depth: 64, ratio: 100 }
    }
}

/// What was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// `DIR/kasm_release`.
    pub root: PathBuf,
    /// Files.
    pub files: u64,
    /// Symbolic links.
    pub links: u64,
    /// Bytes in files.
    pub bytes: u64,
}

/// Unpacks a release to `destination/kasm_release`; blocking. It is written to a fresh directory of mode
/// 0700 inside `destination`, synced, and renamed; one that was there before is replaced at that moment.
/// Files get 0644 or 0755, directories 0755, all of them this process's owner.
///
/// # Errors
/// [`Error::Refused`] for anything but regular files, directories and symbolic links that stay inside
/// `kasm_release/`, for anything damaged, cut or beyond the limits, for data after the gzip stream (a second
/// gzip member too), and without a file `kasm_release/install.sh`. [`Error::Unpack`] if this machine fails.
/// After an error nothing new is left.
pub fn unpack(
    tarball: &Verified<Tarball>,
    destination: &Path,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Unpacked, Error> {
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| Error::Unpack { path, source }
    };
    let mut scratch = Scratch { remove: make_directories(destination).map_err(fail(destination))? };
    let lock = File::open(destination).map_err(fail(destination))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            observer.note(&format!("another process unpacks in {}", destination.display()));
            lock.lock().map_err(fail(destination))?;
        }
        Err(TryLockError::Error(error)) => return Err(fail(destination)(error)),
    }
    remove_leftovers(destination).map_err(fail(destination))?;

    let temporary = destination.join(format!(".kasm_release.{}.new", std::process::id()));
    DirBuilder::new().mode(0o700).create(&temporary).map_err(fail(&temporary))?;
    scratch.remove.push(temporary.clone());
    let handle = File::open(&temporary).map_err(fail(&temporary))?;
    let tree = Tree::new(handle.try_clone().map_err(fail(&temporary))?.into());
    let mut unpacked = write_tree(tarball, tree, destination, limits, observer).map_err(|error| match error {
        Error::Unreadable { source, .. } => Error::Unreadable { path: tarball.path().to_owned(), source },
        other => other,
    })?;
    tarball.unchanged()?;
    nix::unistd::syncfs(&handle).map_err(|errno| fail(&temporary)(errno.into()))?;

    let (new, place) = (temporary.join("kasm_release"), destination.join("kasm_release"));
    // The name must not be taken by a directory with something in it: move that one away first.
    let before = temporary.join("before");
    match fs::rename(&place, &before) {
        Ok(()) => observer.note(&format!("replacing {}", place.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fail(&place)(error)),
    }
    if let Err(error) = fs::rename(&new, &place) {
        // Where nothing was there before, there is nothing to put back.
        let _ = fs::rename(&before, &place);
        return Err(fail(&place)(error));
    }
    scratch.remove = vec![temporary];
    durable::sync_directory(destination).map_err(fail(destination))?;
    unpacked.root = place;
    Ok(unpacked)
}

fn write_tree(
    tarball: &Verified<Tarball>,
    mut tree: Tree,
    destination: &Path,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Unpacked, Error> {
    // Where others can write to the file, what counts are the very bytes that are unpacked.
    let hasher = tarball.others_can_write().then(Sha256::new);
    let (file, length) = (tarball.file(), tarball.length());
    let compressed = Compressed { file, position: 0, told: 0, length, hasher, observer };
    let allowed = limits.bytes.min(tarball.length().saturating_mul(limits.ratio).max(SMALL));
    let inflated = Bounded::new(GzDecoder::new(BufReader::with_capacity(CHUNK, compressed)), allowed);
    write_entries(inflated, &mut tree, destination, limits, |reader| {
        let mut after = reader.inner.into_inner();
        if !after.fill_buf().map_err(broken)?.is_empty() {
            return Err(Refusal::archive("archive.trailing-data", "there is more after the end of its gzip stream"));
        }
        if let Some(hasher) = after.into_inner().hasher
            && hasher.finalize() != *tarball.digest().bytes()
        {
            return Err(Error::Changed { path: tarball.path().to_owned() });
        }
        Ok(())
    })
}

/// Writes what the reader has to the tree. `at_end` looks at what is left of the reader.
pub(super) fn write_entries<R: Read + Send>(
    reader: Bounded<R>,
    tree: &mut Tree,
    destination: &Path,
    limits: &Limits,
    at_end: impl FnOnce(Bounded<R>) -> Result<(), Error>,
) -> Result<Unpacked, Error> {
    let allowed = reader.allowed;
    let mut unpacked = Unpacked { root: PathBuf::new(), files: 0, links: 0, bytes: 0 };
    let mut links: Vec<Entry> = Vec::new();
    let mut buffer = vec![0; CHUNK];
    let reader = walk(reader, limits, &mut |entry, content| {
        match &entry.kind {
            Kind::Directory => {
                tree.directory(&entry.path).map(|_| ()).map_err(|errno| failed(errno, entry, destination))
            }
            // Made last, so that nothing can be written through one.
            Kind::Link { .. } => {
                links.push(entry.clone());
                Ok(())
            }
            Kind::File { executable } => {
                if entry.size > allowed - unpacked.bytes.min(allowed) {
                    return Err(broken(io::Error::other(OverLimit(allowed))));
                }
                let file = tree.file(&entry.path, *executable).map_err(|errno| failed(errno, entry, destination))?;
                copy(content, file, entry, &mut buffer, destination)?;
                unpacked.files += 1;
                unpacked.bytes += entry.size;
                Ok(())
            }
        }
    })?;
    at_end(reader)?;
    for entry in &links {
        if let Kind::Link { target } = &entry.kind {
            tree.link(&entry.path, target).map_err(|errno| failed(errno, entry, destination))?;
            unpacked.links += 1;
        }
    }
    if !tree.has_file(&[ROOT.to_vec(), b"install.sh".to_vec()]) {
        let why = "it has no file kasm_release/install.sh: this is not a kasm_release tarball";
        return Err(Refusal::archive("archive.not-a-release", why));
    }
    Ok(unpacked)
}

fn copy(
    content: &mut dyn Read,
    mut file: File,
    entry: &Entry,
    buffer: &mut [u8],
    destination: &Path,
) -> Result<(), Error> {
    let (mut left, mut since) = (entry.size, 0);
    while left > 0 {
        let read = match content.read(buffer) {
            Ok(0) => return Err(Refusal::entry("archive.truncated", "is cut off", &entry.name())),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(error)),
        };
        file.write_all(&buffer[..read]).map_err(|source| Error::Unpack { path: place(entry, destination), source })?;
        left = left.saturating_sub(read as u64);
        since += read as u64;
        // A file's end is worth sending from much less on: nothing follows that would.
        if since >= SOON || (left == 0 && since >= SOON / 32) {
            durable::write_soon(&file, entry.size.saturating_sub(left + since));
            since = 0;
        }
    }
    Ok(())
}

fn place(entry: &Entry, destination: &Path) -> PathBuf {
    destination.join(super::error::shown(&entry.name()))
}

/// What the tree says when a name is taken is the archive's fault, all else is the machine's.
fn failed(errno: Errno, entry: &Entry, destination: &Path) -> Error {
    match errno {
        Errno::EEXIST | Errno::ENOTDIR | Errno::ELOOP | Errno::EISDIR => Refusal::entry(
            "archive.duplicate",
            "is there twice, or lies below something that is no directory",
            &entry.name(),
        ),
        other => Error::Unpack { path: place(entry, destination), source: other.into() },
    }
}

/// The tarball, read by position: its handle may be shared.
struct Compressed<'a> {
    file: &'a File,
    position: u64,
    told: u64,
    length: u64,
    hasher: Option<Sha256>,
    observer: &'a dyn Observer,
}

impl Read for Compressed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position)?;
        self.position += read as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..read]);
        }
        if self.position >= self.told + (1 << 20) || read == 0 {
            self.told = self.position;
            self.observer.bytes(self.position, Some(self.length));
        }
        Ok(read)
    }
}

/// Ends in an error where more comes than is allowed.
pub(super) struct Bounded<R> {
    inner: R,
    left: u64,
    allowed: u64,
}

impl<R> Bounded<R> {
    pub(super) fn new(inner: R, allowed: u64) -> Bounded<R> {
        Bounded { inner, left: allowed, allowed }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| io::Error::other(OverLimit(self.allowed)))?;
        Ok(read)
    }
}

/// What is removed in the end: the temporary directory, and the directories that were made for nothing.
struct Scratch {
    remove: Vec<PathBuf>,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for path in self.remove.iter().rev() {
            let temporary = path.extension().is_some_and(|ending| ending == "new");
            // The first error is the one to report; what is left is removed by the next run.
            let _ = if temporary { fs::remove_dir_all(path) } else { fs::remove_dir(path) };
        }
    }
}

/// Makes a directory and those above it; returns the ones made, outermost first.
fn make_directories(path: &Path) -> io::Result<Vec<PathBuf>> {
    let missing: Vec<&Path> =
        path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    let mut made = Vec::new();
    for path in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o755).create(path) {
            Ok(()) => made.push(path.to_owned()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            Err(error) => {
                drop(Scratch { remove: made });
                return Err(error);
            }
        }
    }
    Ok(made)
}

/// Removes what a run before us left when it was killed. We hold the lock, so nobody works there.
fn remove_leftovers(destination: &Path) -> io::Result<()> {
    for entry in fs::read_dir(destination)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(".kasm_release.") && name.ends_with(".new") && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
