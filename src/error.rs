//! How every room says what went wrong: a sentence, the chain of causes, a remedy, a stable reason
//! code and an exit class.
//!
//! Each room has one `thiserror` enum that implements [`Explain`]. At the edge of a command it becomes
//! a [`Failure`], which is plain data and can be printed, serialised and kept in the journal.

use serde::{Deserialize, Serialize};

/// The exit codes of the command-line contract. The numbers never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Done, or already done.
    Done = 0,
    /// Something nobody expected.
    Unexpected = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The configuration is invalid.
    Configuration = 10,
    /// A token was refused.
    Token = 11,
    /// A preflight check failed.
    Preflight = 12,
    /// The manager could not be reached.
    Manager = 13,
    /// The package manager stayed busy past its deadline.
    PackageManager = 14,
    /// No source of the release could be downloaded.
    Download = 15,
    /// A digest or signature does not match.
    Digest = 16,
    /// The archive is unsafe, or is not a Kasm release.
    Archive = 17,
    /// The installer failed.
    Installer = 18,
    /// Installed, but not healthy.
    Unhealthy = 19,
    /// The upgrade failed; the previous version is back and healthy.
    RolledBack = 20,
    /// Another run holds the lock.
    Locked = 21,
    /// The boot budget ran out.
    Budget = 22,
}

impl Exit {
    /// Every exit code, in numeric order.
    pub const ALL: [Exit; 16] = [
        Exit::Done,
        Exit::Unexpected,
        Exit::Usage,
        Exit::Configuration,
        Exit::Token,
        Exit::Preflight,
        Exit::Manager,
        Exit::PackageManager,
        Exit::Download,
        Exit::Digest,
        Exit::Archive,
        Exit::Installer,
        Exit::Unhealthy,
        Exit::RolledBack,
        Exit::Locked,
        Exit::Budget,
    ];

    /// The process exit status.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// True if the same command may end better a while later without anybody's doing: a mirror comes back, a
    /// manager starts, apt ends. The others stay as they are until somebody changes something, so a service
    /// that ends with one of them is not to be started again (`RestartPreventExitStatus=`).
    pub fn may_pass(self) -> bool {
        match self {
            Exit::Unexpected
            | Exit::Manager
            | Exit::PackageManager
            | Exit::Download
            | Exit::Installer
            | Exit::Unhealthy
            | Exit::Locked
            | Exit::Budget => true,
            Exit::Done
            | Exit::Usage
            | Exit::Configuration
            | Exit::Token
            | Exit::Preflight
            | Exit::Digest
            | Exit::Archive
            | Exit::RolledBack => false,
        }
    }

    /// The exit class of a number, [`Exit::Unexpected`] for one the contract does not know.
    pub fn from_code(code: u8) -> Exit {
        Exit::ALL.into_iter().find(|exit| exit.code() == code).unwrap_or(Exit::Unexpected)
    }
}

/// What each room's error enum promises beside its sentence and its sources.
pub trait Explain: std::error::Error {
    /// A stable code such as `token.placeholder`: room, dot, words joined by dashes.
    fn reason(&self) -> &'static str;
    /// What the operator should do now: one or two sentences, lower case, no full stop at the end.
    fn help(&self) -> String;
    /// Which exit code of the contract this error ends a command with.
    fn exit(&self) -> Exit;
}

/// An error at the end of its way: plain data, ready to be printed or kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stable reason code.
    pub reason: String,
    /// One lower-case sentence.
    pub message: String,
    /// The chain of causes, nearest first.
    #[serde(default)]
    pub causes: Vec<String>,
    /// What to do.
    pub help: String,
    /// The exit status.
    #[serde(rename = "exit")]
    pub code: u8,
}

impl Failure {
    /// A failure from its parts, for the few that no room's enum stands behind.
    pub fn new(exit: Exit, reason: &str, message: impl Into<String>, help: impl Into<String>) -> Failure {
        Failure {
            reason: reason.to_owned(),
            message: message.into(),
            causes: Vec::new(),
            help: help.into(),
            code: exit.code(),
        }
    }

    /// The same, caused by another one: by its sentence, then by its causes.
    pub fn caused_by(self, cause: Failure) -> Failure {
        let causes = std::iter::once(cause.message).chain(cause.causes).collect();
        Failure { causes, ..self }
    }

    /// The exit class.
    pub fn exit(&self) -> Exit {
        Exit::from_code(self.code)
    }
}

impl<E: Explain> From<E> for Failure {
    fn from(error: E) -> Failure {
        let mut causes: Vec<String> = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Libraries like to repeat their source's words in their own: say each thing once.
            if causes.last() != Some(&text) {
                causes.push(text);
            }
            source = cause.source();
        }
        Failure {
            reason: error.reason().to_owned(),
            message: error.to_string(),
            causes,
            help: error.help(),
            code: error.exit().code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer words")]
    struct Outer(#[source] std::io::Error);

    impl Explain for Outer {
        fn reason(&self) -> &'static str {
            "test.outer"
        }
        fn help(&self) -> String {
            "do something".into()
        }
        fn exit(&self) -> Exit {
            Exit::Download
        }
    }

    #[test]
    fn a_failure_keeps_reason_causes_help_and_exit() {
        let failure = Failure::from(Outer(std::io::Error::other("inner words")));
        assert_eq!(failure.reason, "test.outer");
        assert_eq!(failure.message, "outer words");
        assert_eq!(failure.causes, ["inner words"]);
        assert_eq!(failure.exit(), Exit::Download);
        let json = serde_json::to_value(&failure).unwrap();
        assert_eq!(json["exit"], 15);
    }

    #[test]
    fn exit_codes_are_the_contract() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22]);
        assert_eq!(Exit::from_code(99), Exit::Unexpected);
    }
}
