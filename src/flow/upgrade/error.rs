//! What can go wrong with an upgrade, beside what its parts say themselves. What an upgrade ends with that was put
//! back is an error of the way back.

use super::record::{Bad, Open};
use crate::error::{Exit, Explain};
use crate::intent::Role;

/// The reason of an upgrade that is in place, and that only the manager could prove.
pub(super) const NOT_PROVED: &str = "upgrade.not-proved";

/// Why a node was not upgraded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is here to upgrade, or to go back from.
    #[error("no Kasm is installed here, so there is nothing to upgrade or to go back from")]
    NothingInstalled,
    /// An upgrade keeps the role.
    #[error("the role {asked} was asked for, and the role {installed} is installed here")]
    OtherRole {
        /// The one that is asked for.
        asked: Role,
        /// The one that is here.
        installed: Role,
    },
    /// What is installed is not as Kasm's installer leaves it.
    #[error("/opt/kasm/current is no link to a version's directory below /opt/kasm, as Kasm makes one")]
    UnknownVersion,
    /// The release that is asked for has no version.
    #[error("nobody says which version this release is, so it cannot be compared with the one that is here")]
    UnknownRelease,
    /// A lower version is asked for.
    #[error("Kasm {to} is older than Kasm {from}, which is installed here")]
    Downgrade {
        /// What is here.
        from: String,
        /// What is asked for.
        to: String,
    },
    /// It failed here before.
    #[error("this release of Kasm {} was tried here at {} and put back: {}", .0.version, .0.at, .0.why)]
    BadRelease(Bad),
    /// Somebody works here.
    #[error("{0}")]
    Sessions(String),
    /// What an earlier run began is not at its end.
    #[error("the {what} from Kasm {from} to {to}, begun at {at}, has not come to its end")]
    Open {
        /// Upgrade, or way back.
        what: &'static str,
        /// Where it began.
        from: String,
        /// Where it was to lead.
        to: String,
        /// When it began, RFC 3339.
        at: String,
    },
    /// A step came before the one that makes the record.
    #[error("there is no open upgrade")]
    NoRecord,
    /// The new version is well as far as this machine can tell.
    #[error("Kasm {to} is in place, and not proved yet: its manager {manager} is silent")]
    NotProved {
        /// The new version.
        to: String,
        /// Its manager.
        manager: String,
    },
}

impl Error {
    /// For an upgrade, or a rollback by hand, that is open.
    pub(in crate::flow) fn still_open(open: &Open) -> Error {
        let (from, to, at) = (open.from.clone(), open.to.clone(), open.at.clone());
        match open.is_by_hand() {
            true => Error::Open { what: "way back", from: to, to: from, at },
            false => Error::Open { what: "upgrade", from, to, at },
        }
    }
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::NothingInstalled => "upgrade.nothing-installed",
            Error::OtherRole { .. } => "upgrade.other-role",
            Error::UnknownVersion => "upgrade.unknown-version",
            Error::UnknownRelease => "upgrade.version-unknown",
            Error::Downgrade { .. } => "upgrade.downgrade",
            Error::BadRelease(_) => "upgrade.bad-release",
            Error::Sessions(_) => "upgrade.sessions",
            Error::Open { .. } => "upgrade.open",
            Error::NoRecord => "upgrade.no-record",
            Error::NotProved { .. } => NOT_PROVED,
        }
    }

    fn help(&self) -> String {
        match self {
            Error::NothingInstalled => "run `kasm-bootstrap install`".into(),
            Error::OtherRole { .. } => {
                "an upgrade keeps the role: leave it out; to change it, use `kasm-bootstrap install --force`".into()
            }
            Error::UnknownVersion => {
                "see `ls -l /opt/kasm`; what was put together by hand has to be upgraded by hand".into()
            }
            Error::UnknownRelease => "say it with --release VERSION, beside --release-url or --release-file".into(),
            Error::Downgrade { to, .. } => format!(
                "`kasm-bootstrap rollback --to {to}` goes back to it where it is still there; --force runs its \
                 upgrade.sh all the same"
            ),
            Error::BadRelease(_) => {
                "mend what it failed for and try it again with --force, or take another release".into()
            }
            Error::Sessions(_) => {
                "disable this agent in the Admin UI, so that no new ones come, and give them time with \
                 --drain-timeout 30m; --force cuts them off"
                    .into()
            }
            Error::Open { .. } => {
                "`kasm-bootstrap upgrade` with the same flags finishes it and goes on; `kasm-bootstrap rollback` goes \
                 back to the version before"
                    .into()
            }
            Error::NoRecord => "report this as a bug".into(),
            Error::NotProved { .. } => {
                "see that the manager is up and can be reached from here, then run the same command again: it only \
                 proves the node. Nothing is rolled back for a manager that is silent; `kasm-bootstrap rollback` does \
                 it by hand"
                    .into()
            }
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Error::NothingInstalled
            | Error::OtherRole { .. }
            | Error::UnknownVersion
            | Error::Downgrade { .. }
            | Error::BadRelease(_)
            | Error::Sessions(_)
            | Error::Open { .. } => Exit::Preflight,
            Error::UnknownRelease => Exit::Configuration,
            Error::NoRecord => Exit::Unexpected,
            Error::NotProved { .. } => Exit::Manager,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Phase;
    use super::*;

    #[test]
    fn an_upgrade_that_is_open_and_a_way_back_are_told_in_the_direction_they_go() {
        let mut open = Open::example(Phase::Running);
        let end = "begun at 2026-01-02T03:04:05Z, has not come to its end";
        let upgrade = format!("the upgrade from Kasm 1.17.0 to 1.18.1, {end}");
        assert_eq!(Error::still_open(&open).to_string(), upgrade);
        open.digest.clear();
        let back = format!("the way back from Kasm 1.18.1 to 1.17.0, {end}");
        assert_eq!(Error::still_open(&open).to_string(), back);
    }
}
