//! What can go wrong with the way back, and what an upgrade ends with that was put back.

use crate::error::{Exit, Explain};

/// Why a node is not where it was to be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Both roles could be what is here.
    #[error("what is installed could be an agent or a connection proxy")]
    UnknownRole,
    /// No upgrade led here.
    #[error("no upgrade is on record that led to Kasm {leaves}")]
    NothingBefore {
        /// The version in use.
        leaves: String,
        /// The versions that are there, in words.
        there: String,
    },
    /// There is no way to go.
    #[error("Kasm {to} is the version in use")]
    SameVersion {
        /// The version.
        to: String,
        /// The versions that are there, in words.
        there: String,
    },
    /// The version that is asked for was removed.
    #[error("Kasm {to} is not there any more: /opt/kasm has no directory of it")]
    TreeGone {
        /// The version.
        to: String,
        /// The versions that are there, in words.
        there: String,
    },
    /// An upgrade that failed, and the version before is back. The failure itself is its cause.
    #[error("the upgrade to Kasm {to} failed; Kasm {from} is back and healthy")]
    RolledBack {
        /// The version that is back.
        from: String,
        /// The version that failed.
        to: String,
        /// The attempt with the failed version's logs.
        attempt: u32,
        /// What helps against the failure; `None` if that would wipe what is back.
        remedy: Option<String>,
    },
    /// The way back did not come to its end.
    #[error("Kasm {from} could not be brought back and proved, and Kasm {to} is not in use: {why}; {current}")]
    Failed {
        /// The version that was to come back.
        from: String,
        /// The version that was left.
        to: String,
        /// What failed, in words.
        why: String,
        /// Where `/opt/kasm/current` leads, in words.
        current: String,
        /// What helps against it.
        remedy: String,
        /// Where the version before is kept.
        kept: String,
    },
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::UnknownRole => "rollback.unknown-role",
            Error::NothingBefore { .. } => "rollback.nothing-before",
            Error::SameVersion { .. } => "rollback.same-version",
            Error::TreeGone { .. } => "rollback.tree-gone",
            Error::RolledBack { .. } => "upgrade.rolled-back",
            Error::Failed { .. } => "rollback.failed",
        }
    }

    fn help(&self) -> String {
        match self {
            Error::UnknownRole => {
                "see /opt/kasm/current/docker/docker-compose.yaml: it names kasm_agent or kasm_guac".into()
            }
            Error::NothingBefore { there, .. } => {
                format!("`kasm-bootstrap rollback --to VERSION` goes to a version whose directory is there: {there}")
            }
            Error::SameVersion { there, .. } => {
                format!("`kasm-bootstrap rollback --to VERSION` goes to another one: {there}")
            }
            Error::TreeGone { to, there } => {
                format!("there is: {there}; `kasm-bootstrap upgrade --force --release {to}` installs it anew")
            }
            Error::RolledBack { attempt, remedy, .. } => {
                let logs = format!("the failed version's logs are below /var/lib/kasm-bootstrap/attempts/{attempt}");
                match remedy {
                    Some(remedy) => format!("{remedy}; {logs}"),
                    None => format!(
                        "nothing has to be done at once; {logs}: find out why upgrade.sh left that, then try --force"
                    ),
                }
            }
            Error::Failed { remedy, kept, .. } => format!(
                "{remedy}; then `kasm-bootstrap rollback` goes on from here. What was there before is kept in {kept}"
            ),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Error::UnknownRole | Error::NothingBefore { .. } | Error::SameVersion { .. } | Error::TreeGone { .. } => {
                Exit::Preflight
            }
            Error::RolledBack { .. } => Exit::RolledBack,
            Error::Failed { .. } => Exit::Unhealthy,
        }
    }
}
