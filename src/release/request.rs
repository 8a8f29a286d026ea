//! What is to be fetched, and how it is known to be the right thing.

use super::signature::Key;
use super::{Digest, Error};
use crate::intent::{self, Source};
use std::time::Duration;

/// How the release is known to be the right one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// By this digest.
    Pinned(Digest),
    /// By the `.sha256sum` beside the tarball: trusted as far as the mirror is.
    Sidecar,
    /// By the minisign signature beside the tarball, and by the digest too where one is pinned.
    Signed {
        /// Whose signature.
        key: Key,
        /// The digest, where it is known beforehand.
        digest: Option<Digest>,
    },
}

impl Wanted {
    /// Demands a signature too. It says all that a sidecar could say.
    pub fn signed_by(self, key: Key) -> Wanted {
        match self {
            Wanted::Pinned(digest) => Wanted::Signed { key, digest: Some(digest) },
            Wanted::Sidecar => Wanted::Signed { key, digest: None },
            Wanted::Signed { digest, .. } => Wanted::Signed { key, digest },
        }
    }
}

impl TryFrom<&intent::ReleaseIntent> for Wanted {
    type Error = Error;

    /// Reads the key's file, where the key is in one; blocking.
    fn try_from(release: &intent::ReleaseIntent) -> Result<Wanted, Error> {
        let wanted = match &release.digest {
            intent::Digest::Pinned(text) => Wanted::Pinned(text.parse()?),
            intent::Digest::Sidecar => Wanted::Sidecar,
        };
        match &release.minisign_key {
            Some(key) => Ok(wanted.signed_by(Key::try_from(key)?)),
            None => Ok(wanted),
        }
    }
}

/// What is to be fetched, and within which bounds.
#[derive(Debug, Clone)]
pub struct Request {
    /// Mirrors in the order they are tried.
    pub sources: Vec<Source>,
    /// What is wanted.
    pub digest: Wanted,
    /// How long a mirror may be silent.
    pub idle: Duration,
    /// No tarball is longer, in bytes.
    pub max_bytes: u64,
}

impl Request {
    /// With the usual bounds: 30 s of silence, 8 GiB.
    pub fn new(sources: Vec<Source>, digest: Wanted) -> Request {
        Request { sources, digest, idle: Duration::from_secs(30), max_bytes: 8 << 30 }
    }
}

impl TryFrom<&intent::ReleaseIntent> for Request {
    type Error = Error;

    fn try_from(release: &intent::ReleaseIntent) -> Result<Request, Error> {
        Ok(Request::new(release.sources.clone(), Wanted::try_from(release)?))
    }
}
