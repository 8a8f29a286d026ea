//! What can go wrong with Kasm's scripts and with reading what they leave behind.

use super::classify::{Ended, Finding, decisive};
use crate::error::{Exit, Explain};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The installer's last words, as a cause of its failure. Masked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct LastWords(pub String);

impl fmt::Display for LastWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.trim().is_empty() {
            return f.write_str("the installer said nothing");
        }
        write!(f, "the installer's last words were\n{}", self.0.trim_end())
    }
}

/// The installer's part of this room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The release's script lacks an option that is needed.
    #[error("{release}'s {script} has no {flag}")]
    UnknownFlag {
        /// `install.sh`, `upgrade.sh`.
        script: &'static str,
        /// The option as it was looked for.
        flag: String,
        /// `release 1.16.1`, or `this release`.
        release: String,
    },
    /// A value that Kasm's script would misread.
    #[error("{what} cannot be handed to Kasm's installer: it {why}")]
    BadValue {
        /// Which value; never the value itself, it may be a secret.
        what: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is no such script.
    #[error("the release's script {path} cannot be read")]
    NoScript {
        /// Where it should be.
        path: PathBuf,
        /// Why it cannot be read.
        #[source]
        source: io::Error,
    },
    /// bash is missing.
    #[error("bash cannot be started, and Kasm's installer needs it")]
    NoShell(#[source] io::Error),
    /// The installer cannot be started or supervised.
    #[error("the installer cannot be supervised")]
    Supervise(#[source] io::Error),
    /// The log or the process record cannot be written.
    #[error("{path} cannot be written")]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The installer ran and failed.
    #[error("{}", failed(*ended, findings))]
    Failed {
        /// How its process ended.
        ended: Ended,
        /// What was recognised in its output.
        findings: Vec<Finding>,
        /// Its last words.
        #[source]
        words: LastWords,
    },
    /// The installer did not end in time and was ended.
    #[error("the installer was still at work after {} and was ended", seconds(*ran))]
    TimedOut {
        /// How long it had run; zero: it was not started any more.
        ran: Duration,
        /// What was recognised in its output.
        findings: Vec<Finding>,
        /// Its last words.
        #[source]
        words: LastWords,
    },
    /// The run was called off and the installer was ended.
    #[error("the installer was ended because this run was called off")]
    Cancelled {
        /// Its last words.
        #[source]
        words: LastWords,
    },
    /// Kasm's services could not be stopped or started.
    #[error("{by} {why}")]
    Services {
        /// What should have done it: `/opt/kasm/bin/start`, `systemctl start kasm.service`.
        by: String,
        /// The rest of the sentence, masked.
        why: String,
    },
    /// A file of the installation, or our receipt of it, cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A configuration file of the installation is not the YAML it should be.
    #[error("{path} is not a Kasm configuration file: {why}")]
    NotYaml {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl Error {
    /// True if the installer failed because another program held a lock of the package manager, and for nothing
    /// that explains the failure better: waiting and running it again may help.
    pub fn lost_lock_race(&self) -> bool {
        use super::classify::Marker;
        match self {
            Error::Failed { ended: Ended::Code(_), findings, .. } => {
                decisive(findings).is_some_and(|finding| finding.marker == Marker::PackageManagerBusy)
            }
            _ => false,
        }
    }
}

fn failed(ended: Ended, findings: &[Finding]) -> String {
    match (ended, decisive(findings)) {
        (Ended::Signal(_), _) => format!("the installer was killed by {ended}"),
        (_, Some(finding)) => {
            format!("the installer failed with {ended}: {} (\"{}\")", finding.marker.meaning(), finding.line)
        }
        (CHILD_KILLED, None) => format!("the installer failed with {ended}: a program it ran was killed by SIGKILL"),
        (_, None) => format!("the installer failed with {ended}"),
    }
}

/// bash ends so where a program it ran was killed: 128 and the signal's number (bash(1), EXIT STATUS).
/// The kernel out of memory picks the biggest program, and that is rarely bash.
const CHILD_KILLED: Ended = Ended::Code(128 + 9);

fn is_killed(ended: Ended, findings: &[Finding]) -> bool {
    matches!(ended, Ended::Signal(_)) || (ended == CHILD_KILLED && decisive(findings).is_none())
}

fn seconds(span: Duration) -> String {
    format!("{} s", span.as_secs())
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::UnknownFlag { .. } => "installer.unknown-flag",
            Error::BadValue { .. } => "installer.bad-value",
            Error::NoScript { .. } => "installer.no-script",
            Error::NoShell(_) => "installer.no-bash",
            Error::Supervise(_) => "installer.supervise",
            Error::Record { .. } => "installer.record",
            Error::Failed { ended, findings, .. } if is_killed(*ended, findings) => "installer.killed",
            Error::Failed { findings, .. } => match decisive(findings) {
                Some(finding) => finding.marker.reason(),
                None => "installer.failed",
            },
            Error::TimedOut { .. } => "installer.timeout",
            Error::Cancelled { .. } => "installer.cancelled",
            Error::Services { .. } => "kasm.services",
            Error::Unreadable { .. } => "kasm.unreadable",
            Error::NotYaml { .. } => "kasm.not-yaml",
        }
    }

    fn help(&self) -> String {
        match self {
            Error::UnknownFlag { flag, script, .. } => {
                format!(
                    "leave {flag} out, or pick a release that has it: `bash kasm_release/{script} --help` lists \
                         them"
                )
            }
            Error::BadValue { what, .. } => format!("change {what} to one that Kasm's scripts can take"),
            Error::NoScript { .. } => {
                "remove the release's directory below /var/lib/kasm-bootstrap/releases and run the same command again: \
                 it is unpacked anew"
                    .into()
            }
            Error::NoShell(_) => "install the bash package".into(),
            Error::Supervise(_) => "free memory, processes or file descriptors and run again".into(),
            Error::Record { .. } => "free space below /var/lib/kasm-bootstrap and see that it can be written".into(),
            Error::Failed { ended, findings, .. }
                if is_killed(*ended, findings) && matches!(ended, Ended::Signal(9) | Ended::Code(_)) =>
            {
                "if nobody killed it, the machine ran out of memory: `journalctl -k -g 'out of memory'` says so; give \
                 it more memory or swap (--swap-size)"
                    .into()
            }
            Error::Failed { ended: Ended::Signal(_), .. } => "find out who sent the signal, then run again".into(),
            Error::Failed { findings, .. } => match decisive(findings) {
                Some(finding) => finding.marker.help().into(),
                None => "the whole output is in installer.log below /var/lib/kasm-bootstrap/attempts".into(),
            },
            Error::TimedOut { .. } => "give it longer with --deadline, or bake Docker and the release into the image; \
                 installer.log below /var/lib/kasm-bootstrap/attempts shows where it stood"
                .into(),
            Error::Cancelled { .. } => "run the same command again to go on".into(),
            Error::Services { .. } => {
                "`docker ps -a` shows the containers, and services.log below /var/lib/kasm-bootstrap/attempts what was \
                 said"
                    .into()
            }
            Error::Unreadable { .. } => "look at the file's type and mode, and at the disk; then run again".into(),
            Error::NotYaml { .. } => "restore the file, or install again with --force".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Error::Services { .. } | Error::Unreadable { .. } | Error::NotYaml { .. } => Exit::Unhealthy,
            _ => Exit::Installer,
        }
    }
}
