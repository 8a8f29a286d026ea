//! Where downloaded bytes go while they are hashed: a partial file, or nowhere.

use super::verified::hash;
use super::{Digest, Error};
use crate::durable;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

/// Written bytes are sent on their way to the disk in such portions: it works while the network or the inflating
/// does, and the sync in the end is short.
pub(super) const SOON: u64 = 4 << 20;

/// A growing prefix of a tarball and the hash of exactly this prefix. Its methods block.
#[derive(Debug)]
pub(super) struct Spool {
    target: Option<(File, PathBuf)>,
    hasher: Sha256,
    position: u64,
}

impl Spool {
    /// Hashes only.
    pub fn nowhere() -> Spool {
        Spool { target: None, hasher: Sha256::new(), position: 0 }
    }

    /// Continues a file: what is there already is hashed.
    pub fn into_file(file: File, path: PathBuf) -> Result<Spool, Error> {
        let fail = |source| Error::Spool { path: path.clone(), source };
        let (hasher, position) = hash(&file).map_err(fail)?;
        let mut spool = Spool { target: Some((file, path.clone())), hasher, position };
        spool.seek().map_err(fail)?;
        Ok(spool)
    }

    /// How many bytes there are.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The digest of these bytes.
    pub fn digest(&self) -> Digest {
        Digest::new(self.hasher.clone().finalize().into())
    }

    /// Adds bytes. After an error the file may be longer than what was hashed; nothing else may be done
    /// with the spool then.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let Some((file, path)) = &mut self.target {
            file.write_all(bytes).map_err(|source| Error::Spool { path: path.clone(), source })?;
            let before = self.position;
            if before / SOON != (before + bytes.len() as u64) / SOON {
                durable::write_soon(file, before.saturating_sub(SOON));
            }
        }
        self.hasher.update(bytes);
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Forgets all bytes.
    pub fn start_over(&mut self) -> Result<(), Error> {
        self.hasher = Sha256::new();
        self.position = 0;
        let emptied = self.target.as_ref().map_or(Ok(()), |(file, _)| file.set_len(0)).and_then(|()| self.seek());
        emptied.map_err(|source| Error::Spool {
            path: self.target.as_ref().map(|(_, path)| path.clone()).unwrap_or_default(),
            source,
        })
    }

    /// Another handle of the file, if there is one.
    pub fn handle(&self) -> Option<std::io::Result<File>> {
        self.target.as_ref().map(|(file, _)| file.try_clone())
    }

    /// The file, if there is one.
    pub fn into_target(self) -> Option<(File, PathBuf)> {
        self.target
    }

    fn seek(&mut self) -> std::io::Result<()> {
        match &mut self.target {
            Some((file, _)) => file.seek(SeekFrom::Start(self.position)).map(|_| ()),
            None => Ok(()),
        }
    }
}
