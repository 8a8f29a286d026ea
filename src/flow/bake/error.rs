//! What can go wrong with baking, beside what its parts say themselves.

use crate::error::{Exit, Explain};
use std::io;
use std::path::PathBuf;

/// Why an image cannot be baked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Packages, keys and machine-id(5) are root's.
    #[error("only root can bake an image")]
    NotRoot,
    /// A node is no image.
    #[error("Kasm{} is installed here, and baking would take this machine's identity from it", version.as_deref().map(|version| format!(" {version}")).unwrap_or_default())]
    InUse {
        /// Its version, where it is known.
        version: Option<String>,
    },
    /// Packages that were asked for by name are not to be had.
    #[error("apt has no package {}", names.join(", "))]
    NoPackage {
        /// Their names.
        names: Vec<String>,
    },
    /// A file or directory of the image cannot be read or written.
    #[error("{} cannot be used", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::NotRoot => "bake.not-root",
            Error::InUse { .. } => "bake.in-use",
            Error::NoPackage { .. } => "bake.no-package",
            Error::File { .. } => "bake.file",
        }
    }

    fn help(&self) -> String {
        match self {
            Error::NotRoot => "run the same command with sudo".into(),
            Error::InUse { .. } => {
                "bake a fresh machine that is only there to become an image; to fetch releases and packages here all \
                 the same, leave the clean-up out with --no-clean"
                    .into()
            }
            Error::NoPackage { .. } => {
                "correct the names, or add the repository that has them to apt's sources; `apt-cache policy NAME` \
                 shows what apt knows"
                    .into()
            }
            Error::File { path, .. } => {
                format!("see `ls -ld {}` and `df -h`; a writable disk with free space is needed", path.display())
            }
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Error::NotRoot | Error::InUse { .. } => Exit::Preflight,
            Error::NoPackage { .. } => Exit::Usage,
            Error::File { .. } => Exit::Unexpected,
        }
    }
}
