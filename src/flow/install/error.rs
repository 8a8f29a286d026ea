//! What can go wrong with an installation, beside what its parts say themselves.

use crate::error::{Exit, Explain};
use crate::release::Digest;
use std::io;
use std::path::PathBuf;

/// Why a node was not installed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is here is something else than what was asked for.
    #[error("{installed} is installed here, and {wanted} was asked for")]
    OtherVersion {
        /// In words.
        installed: String,
        /// In words.
        wanted: String,
    },
    /// The installer would take baked images as they are.
    #[error("the container images in {} are not what was baked: their SHA-256 is {found}", path.display())]
    OtherImages {
        /// Their file.
        path: PathBuf,
        /// What it should be.
        digest: Digest,
        /// What it is.
        found: Digest,
    },
    /// An installer that a killed run has left does not die.
    #[error("the installer of an earlier run cannot be ended: {who}")]
    Stuck {
        /// Its process, in words.
        who: String,
    },
    /// A script of the release left no version in use, or not the one it was to bring.
    #[error("{script} ended well, but {current}")]
    NothingInstalled {
        /// Who says that all went well.
        script: &'static str,
        /// What `/opt/kasm/current` is instead: a sentence's end.
        current: String,
        /// The attempt with its log.
        attempt: u32,
    },
    /// What is to be replaced cannot be removed.
    #[error("{} cannot be wiped: {why}", path.display())]
    Wipe {
        /// The version's directory.
        path: PathBuf,
        /// Why not: it stands in the sentence, and is no cause beside it.
        why: io::Error,
    },
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::OtherVersion { .. } => "preflight.other-version",
            Error::OtherImages { .. } => "digest.mismatch",
            Error::Stuck { .. } => "installer.stuck",
            Error::NothingInstalled { .. } => "installer.nothing-installed",
            Error::Wipe { .. } => "installer.wipe",
        }
    }

    fn help(&self) -> String {
        match self {
            Error::OtherVersion { .. } => {
                "to replace it and lose its configuration, use --force; to upgrade it, run `kasm-bootstrap upgrade` \
                 with the same --release"
                    .into()
            }
            Error::OtherImages { path, digest, .. } => format!(
                "remove {} and bake the image again; here, `kasm-bootstrap release fetch --sha256 {digest} URL` \
                 fetches them anew",
                path.display()
            ),
            Error::Stuck { .. } => {
                "it hangs in the kernel, usually for a disk that does not answer: restart this machine".into()
            }
            Error::NothingInstalled { attempt, .. } => {
                format!("read /var/lib/kasm-bootstrap/attempts/{attempt}/installer.log")
            }
            Error::Wipe { .. } => "see what is mounted or running there, then run it again".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Error::OtherVersion { .. } => Exit::Preflight,
            Error::OtherImages { .. } => Exit::Digest,
            Error::Stuck { .. } | Error::NothingInstalled { .. } | Error::Wipe { .. } => Exit::Installer,
        }
    }
}
