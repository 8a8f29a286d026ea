//! What can go wrong with the engine itself.

use crate::error::{Exit, Explain};
use std::io;

/// Errors of the engine, its journal and its lock.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another run holds the lock.
    #[error("another run is at work here{}", holder.as_deref().map(|h| format!(" ({h})")).unwrap_or_default())]
    Locked {
        /// What the other run wrote into its lock file.
        holder: Option<String>,
    },
    /// The state directory or the lock cannot be used.
    #[error("{path} cannot be used")]
    State {
        /// Which file or directory.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The journal cannot be written. The run ends: what is not on record cannot be resumed.
    #[error("the journal {path} cannot be written")]
    Journal {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The budget of the whole run is used up.
    #[error(
        "the budget of {budget_s} s ran out during step {step}{}",
        waiting.as_deref().map(|w| format!(", waiting for {w}")).unwrap_or_default()
    )]
    Budget {
        /// The whole budget, seconds.
        budget_s: u64,
        /// The step that was open.
        step: &'static str,
        /// What it waited for, if it had said so.
        waiting: Option<String>,
    },
    /// SIGTERM or SIGINT.
    #[error("interrupted by {signal} during step {step}")]
    Interrupted {
        /// The signal's name.
        signal: &'static str,
        /// The step that was open.
        step: String,
    },
}

/// The reason of a run that a signal has ended.
pub const INTERRUPTED: &str = "run.interrupted";

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::Locked { .. } => "run.locked",
            Error::State { .. } => "run.state",
            Error::Journal { .. } => "run.journal",
            Error::Budget { .. } => "run.budget",
            Error::Interrupted { .. } => INTERRUPTED,
        }
    }

    fn help(&self) -> String {
        match self {
            Error::Locked { .. } => {
                "wait for it with `kasm-bootstrap status --wait`, or end that process; its lock ends with it".into()
            }
            Error::State { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run it as root (sudo), or give --root a directory you own".into()
            }
            Error::State { path, source } if source.kind() == io::ErrorKind::Other => {
                format!("see `ls -ld {path}`: make it root's own (chown root, chmod 700), and look who changed it")
            }
            Error::State { path, source } if source.kind() == io::ErrorKind::InvalidData => {
                format!(
                    "another version of kasm-bootstrap wrote it, or it is damaged: use that version, or move \
                         {path} aside"
                )
            }
            Error::State { .. } | Error::Journal { .. } => {
                "see to it that /var/lib/kasm-bootstrap is on a writable filesystem with free space, then run it again"
                    .into()
            }
            Error::Budget { .. } => {
                "`kasm-bootstrap status` shows where the time went; run it again to go on from there, or give more \
                 (--deadline, or deadline in the configuration)"
                    .into()
            }
            Error::Interrupted { .. } => "run the same command again: it goes on from there".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Error::Locked { .. } => Exit::Locked,
            Error::Budget { .. } => Exit::Budget,
            Error::State { .. } | Error::Journal { .. } | Error::Interrupted { .. } => Exit::Unexpected,
        }
    }
}
