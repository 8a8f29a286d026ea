//! What can go wrong with a snapshot.

use crate::durable;
use crate::error::{Exit, Explain};
use std::io;
use std::path::PathBuf;

/// Errors of snapshots.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something to be taken or compared cannot be read.
    #[error("{path} cannot be read for its snapshot")]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The snapshot, or what it puts back, cannot be written.
    #[error("{path} cannot be written")]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// More than a snapshot holds.
    #[error("{path} {what}")]
    TooLarge {
        /// What.
        path: PathBuf,
        /// `is larger than 8 MiB`.
        what: &'static str,
    },
    /// The snapshot is not what was written once.
    #[error("the snapshot {path} cannot be used: {why}")]
    Damaged {
        /// The manifest, or the content.
        path: PathBuf,
        /// In words.
        why: String,
    },
}

impl Error {
    /// True if there was no room for it on the disk.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Error::Write { source, .. } if durable::is_full(source))
    }
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::Read { .. } => "snapshot.unreadable",
            Error::Write { .. } if self.is_disk_full() => "snapshot.disk-full",
            Error::Write { .. } => "snapshot.unwritable",
            Error::TooLarge { .. } => "snapshot.too-large",
            Error::Damaged { .. } => "snapshot.damaged",
        }
    }

    fn help(&self) -> String {
        match self {
            Error::Write { path, .. } if self.is_disk_full() => {
                let directory = path.parent().unwrap_or(path).display();
                format!("free space (`df -h {directory}` shows how much there is), then run it again")
            }
            Error::Read { path, .. } | Error::Write { path, .. } => {
                format!("see `ls -ld {}`: its type, its mode, the disk it is on; then run it again", path.display())
            }
            Error::TooLarge { path, .. } => {
                format!("move what does not belong to Kasm's configuration away from {}", path.display())
            }
            Error::Damaged { .. } => {
                "something else has changed or removed it: restore it, or this machine, from your own backup".into()
            }
        }
    }

    fn exit(&self) -> Exit {
        Exit::Unexpected
    }
}
