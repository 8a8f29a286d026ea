//! The proof that bytes were hashed, as a type.

use super::error::Causes;
use super::signature::{self, Flaw, Key, Seal};
use super::{Digest, Error};
use crate::durable;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// How much is read or written at once.
pub(super) const CHUNK: usize = 256 * 1024;

/// Something whose bytes were hashed, all of them, through the handle that it holds, and are what was
/// wanted: by their digest, by their signature, or by both where both were given. Nothing outside this room
/// can make one.
#[derive(Debug)]
pub struct Verified<T> {
    value: T,
    digest: Digest,
    seal: Option<Seal>,
}

/// What a file must be. Nothing at all cannot be asked for.
#[derive(Debug, Clone)]
pub(super) enum Proof {
    /// What has this digest.
    Digest(Digest),
    /// What this seal is on, with this digest where one is given.
    Sealed { seal: Seal, digest: Option<Digest> },
}

impl<T> Verified<T> {
    /// The SHA-256 of its bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The text of the `.minisig` that fits it, where a signature was asked for.
    pub fn signature(&self) -> Option<&[u8]> {
        self.seal.as_ref().map(Seal::text)
    }
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A tarball, by an open handle: whoever replaces the file at its path changes nothing here.
#[derive(Debug)]
pub struct Tarball {
    file: File,
    path: PathBuf,
    stamp: Stamp,
}

/// What changes whenever somebody writes to the file itself (inode(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &File) -> io::Result<Stamp> {
        let meta = file.metadata()?;
        Ok(Stamp {
            length: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

impl Tarball {
    /// Where it was when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.stamp.length
    }

    /// True if another user than root and ours can write to the file: its stamp then proves little, because
    /// what is written through a mapping of it leaves no time behind at once (mmap(2)).
    pub(super) fn others_can_write(&self) -> bool {
        self.file.metadata().map_or(true, |found| durable::others_can_write(&found))
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

impl Verified<Tarball> {
    /// Opens and hashes a file; blocking. The file is used where it lies.
    ///
    /// # Errors
    /// [`Error::Unreadable`], [`Error::Mismatch`], and [`Error::Changed`] if somebody writes to it.
    pub fn read(path: &Path, wanted: Digest) -> Result<Verified<Tarball>, Error> {
        Verified::check(path, Proof::Digest(wanted))
    }

    /// The same by the signature in `PATH.minisig`, and by the digest too where one is given; blocking.
    ///
    /// # Errors
    /// Those of [`Verified::read`], and [`Error::Signature`].
    pub fn read_signed(path: &Path, key: &Key, wanted: Option<Digest>) -> Result<Verified<Tarball>, Error> {
        // A file that is not there is the better news.
        durable::open(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        let seal = signature::beside_file(path, key).map_err(|fault| {
            let causes = Causes::new(vec![format!("{}: {}", path.display(), fault.text)]);
            Error::Signature { flaw: fault.flaw.unwrap_or(Flaw::Missing), causes }
        })?;
        Verified::check(path, Proof::Sealed { seal, digest: wanted })
    }

    /// Opens a file and demands the proof; blocking.
    pub(super) fn check(path: &Path, proof: Proof) -> Result<Verified<Tarball>, Error> {
        let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
        let file = durable::open(path).map_err(unreadable)?;
        let stamp = Stamp::of(&file).map_err(unreadable)?;
        let (found, _) = hash(&file).map_err(unreadable)?;
        let found = Digest::new(found.finalize().into());
        let causes = |what: String| Causes::new(vec![format!("{}: {what}", path.display())]);
        let (wanted, seal) = match proof {
            Proof::Digest(digest) => (Some(digest), None),
            Proof::Sealed { seal, digest } => (digest, Some(seal)),
        };
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
            return Err(Error::Mismatch { wanted, found, causes: causes(format!("SHA-256 is {found}")) });
        }
        if let Some(seal) = &seal
            && !seal.fits(&file).map_err(unreadable)?
        {
            let causes = causes(format!("its {} does not match it", signature::ENDING));
            return Err(Error::Signature { flaw: Flaw::Mismatch, causes });
        }
        let tarball = Tarball { file, path: path.to_owned(), stamp };
        let verified = Verified { value: tarball, digest: found, seal };
        verified.unchanged()?;
        Ok(verified)
    }

    /// An error if somebody wrote to the file since it was verified; blocking. Renaming or removing it
    /// leaves traces in the inode too: then the bytes are hashed once more.
    pub(super) fn unchanged(&self) -> Result<(), Error> {
        let same = match Stamp::of(&self.file) {
            Ok(stamp) if stamp == self.stamp => true,
            _ => hash(&self.file).is_ok_and(|(hasher, _)| hasher.finalize() == *self.digest.bytes()),
        };
        if same { Ok(()) } else { Err(Error::Changed { path: self.path.clone() }) }
    }

    /// A file that this room itself wrote and hashed, byte for byte, through this handle, and on which it
    /// found the seal to fit where there is one.
    pub(super) fn written(
        file: File,
        path: PathBuf,
        digest: Digest,
        seal: Option<Seal>,
    ) -> Result<Verified<Tarball>, Error> {
        let stamp = Stamp::of(&file).map_err(|source| Error::Spool { path: path.clone(), source })?;
        Ok(Verified { value: Tarball { file, path, stamp }, digest, seal })
    }

    /// Copies it to `path`, whole or not at all, mode 0644, with its signature beside it where it has one;
    /// blocking. What is copied is hashed again.
    pub fn copy_to(&self, path: &Path) -> Result<(), Error> {
        if let Some(text) = self.signature() {
            let path = signature::path(path);
            durable::write(&path, text, 0o644).map_err(|source| Error::Spool { path, source })?;
        }
        let mut changed = false;
        let written = durable::write_by(path, 0o644, |target| {
            let mut hasher = Sha256::new();
            each_chunk(self.file(), |chunk| {
                hasher.update(chunk);
                target.write_all(chunk)
            })?;
            changed = Digest::new(hasher.finalize().into()) != self.digest;
            if changed { Err(io::Error::other("it was changed while it was copied")) } else { Ok(()) }
        });
        match written {
            Err(_) if changed => Err(Error::Changed { path: self.path.clone() }),
            written => written.map_err(|source| Error::Spool { path: path.to_owned(), source }),
        }
    }
}

/// Hashes a file for somebody who wants to know its digest; blocking. Returns the length too.
pub fn measure_file(path: &Path) -> Result<(Digest, u64), Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    let (hasher, length) = durable::open(path).and_then(|file| hash(&file)).map_err(unreadable)?;
    Ok((Digest::new(hasher.finalize().into()), length))
}

/// Hashes a file; returns its length too.
pub(super) fn hash(file: &File) -> io::Result<(Sha256, u64)> {
    let mut hasher = Sha256::new();
    let length = each_chunk(file, |chunk| {
        hasher.update(chunk);
        Ok(())
    })?;
    Ok((hasher, length))
}

/// Reads a file piece by piece, by position: its handle may be shared. Returns how many bytes there were.
pub(super) fn each_chunk(file: &File, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    loop {
        match file.read_at(&mut buffer, at) {
            Ok(0) => return Ok(at),
            Ok(read) => {
                take(&buffer[..read])?;
                at += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
