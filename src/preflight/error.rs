//! What can go wrong with asking, beside what the checks say themselves.

use crate::error::{Exit, Explain};

/// Why the checks do not let the work go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A check that was to be skipped and is not would be a surprise.
    #[error("there is no check named {name}")]
    UnknownCheck {
        /// What was named.
        name: String,
    },
    /// More than one check failed. What each has seen is a cause.
    #[error("{failed} of {made} checks failed")]
    Failed {
        /// So many failed.
        failed: usize,
        /// So many were made.
        made: usize,
        /// What to do, check by check.
        remedies: String,
        /// By what they are about.
        exit: Exit,
    },
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::UnknownCheck { .. } => "preflight.unknown-check",
            Error::Failed { .. } => "preflight.failed",
        }
    }

    fn help(&self) -> String {
        match self {
            Error::UnknownCheck { .. } => {
                let all: Vec<&str> = super::checks().iter().map(|check| check.name).collect();
                format!("the checks are: {}", all.join(", "))
            }
            Error::Failed { remedies, .. } => remedies.clone(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Error::UnknownCheck { .. } => Exit::Usage,
            Error::Failed { exit, .. } => *exit,
        }
    }
}
