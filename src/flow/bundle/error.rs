//! Why there is no bundle.

use crate::durable;
use crate::error::{Exit, Explain};
use std::io;
use std::path::PathBuf;

/// A bundle that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is there already.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// The file cannot be made or written.
    #[error("the bundle cannot be written to {}", .path.display())]
    Output {
        /// Where it was to be.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What the bundle is written to takes no more.
    #[error("the bundle cannot be written")]
    Write(#[source] io::Error),
}

impl Error {
    /// The same, knowing where it was written to.
    pub(super) fn at(self, path: &std::path::Path) -> Error {
        match self {
            Error::Write(source) => Error::Output { path: path.to_owned(), source },
            other => other,
        }
    }
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::Exists(_) => "bundle.exists",
            Error::Output { .. } | Error::Write(_) => "bundle.write",
        }
    }

    fn help(&self) -> String {
        match self {
            Error::Exists(_) => "name another file with -o, or move that one away".into(),
            Error::Output { source, .. } | Error::Write(source) => match source.kind() {
                _ if durable::is_full(source) => {
                    "free some space, or write it elsewhere: `kasm-bootstrap bundle -o FILE`".into()
                }
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    "write it where you may: `kasm-bootstrap bundle -o FILE`".into()
                }
                _ => "write it elsewhere: `kasm-bootstrap bundle -o FILE`".into(),
            },
        }
    }

    fn exit(&self) -> Exit {
        Exit::Unexpected
    }
}
