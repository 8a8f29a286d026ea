//! What can go wrong with mending a token, beside what its parts say themselves.

use crate::durable;
use crate::error::{Exit, Explain};
use crate::kasm::{self, docker};
use crate::token::Kind;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// What a component said of it, as a cause. Masked, one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Said {
    /// Who.
    pub container: &'static str,
    /// Its words.
    pub words: String,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} says: {}", self.container, self.words)
    }
}

/// How a component came to be as it is, as a cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Story(pub String);

/// Why a token was not mended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No Kasm is installed.
    #[error("no Kasm is installed here: there is no /opt/kasm/current")]
    NotInstalled,
    /// Neither role's configuration is there.
    #[error("the Kasm installed here is neither an agent nor a connection proxy: it has no configuration of one")]
    NoComponents,
    /// A token is needed and none was given.
    #[error("{container} needs a good {kind}, and none was given")]
    NoToken {
        /// Who needs it.
        container: &'static str,
        /// Which.
        kind: Kind,
        /// How it came to be so.
        #[source]
        story: Option<Story>,
    },
    /// A configuration file cannot be changed safely.
    #[error("{path} cannot be changed by this program: {why}")]
    NotEditable {
        /// The file.
        path: PathBuf,
        /// The end of a sentence.
        why: String,
    },
    /// A file cannot be read or written.
    #[error("{path} cannot be used")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The installed configuration cannot be read.
    #[error("the installed configuration cannot be read")]
    Configuration(#[source] kasm::Error),
    /// Docker cannot be asked, or does not restart the component.
    #[error("Docker cannot restart {container}")]
    Docker {
        /// Whom.
        container: &'static str,
        /// Why.
        #[source]
        cause: docker::Error,
    },
    /// The manager does not take the token.
    #[error("the manager refuses the {kind} of {container}")]
    Refused {
        /// Whose.
        container: &'static str,
        /// Which.
        kind: Kind,
        /// How the component tells it.
        #[source]
        said: Said,
    },
    /// No good auth token came.
    #[error("{container} did not get a good auth token within {waited}: {verdict}")]
    NotRegistered {
        /// Who.
        container: &'static str,
        /// How long.
        waited: String,
        /// What there is instead: `api.auth_token is not there`.
        verdict: String,
        /// What it says itself.
        #[source]
        said: Option<Said>,
    },
    /// An agent did not come up again.
    #[error("{container} did not come up with its new settings: it {trouble}")]
    NotUp {
        /// Who.
        container: &'static str,
        /// `is running but unhealthy`.
        trouble: String,
        /// What it says itself.
        #[source]
        said: Option<Said>,
    },
    /// Its files are as they were, and it still runs with what they said meanwhile.
    #[error("its files are as they were, but {container} was not restarted: {why}")]
    NotRestarted {
        /// Who.
        container: String,
        /// Why not: it stands in the sentence, and is no cause beside it.
        why: docker::Error,
    },
    /// A component is neither mended nor as it was. What keeps it so is its cause.
    #[error("{container} could be neither repaired nor put back as it was")]
    NotPutBack {
        /// Who.
        container: String,
        /// What helps against the cause.
        remedy: String,
    },
    /// The token is mended, and yet the component is not up.
    #[error("the tokens are mended, but {container} {trouble}")]
    Unhealthy {
        /// Who.
        container: &'static str,
        /// `is running but unhealthy`.
        trouble: String,
    },
}

impl Error {
    /// For what cannot be done with a file.
    pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::File { path: path.into(), source }
    }
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::NotInstalled => "token.not-installed",
            Error::NoComponents => "token.no-components",
            Error::NoToken { .. } => "repair.no-token",
            Error::NotEditable { .. } => "repair.not-editable",
            Error::File { source, .. } if durable::is_full(source) => "repair.disk-full",
            Error::File { .. } => "repair.file",
            Error::Configuration(_) => "repair.configuration-unreadable",
            Error::Docker { .. } | Error::NotRestarted { .. } => "repair.docker",
            Error::NotPutBack { .. } => "repair.put-back-failed",
            Error::Refused { .. } => "repair.refused",
            Error::NotRegistered { .. } => "repair.not-registered",
            Error::NotUp { .. } => "repair.not-up",
            Error::Unhealthy { .. } => "repair.unhealthy",
        }
    }

    fn help(&self) -> String {
        match self {
            Error::NotInstalled | Error::NoComponents => {
                "run this on an agent or a connection proxy; `kasm-bootstrap install` makes a machine one".into()
            }
            Error::NoToken { kind, .. } => {
                let flag = match kind {
                    Kind::Manager => "--manager-token-file",
                    _ => "--registration-token-file",
                };
                format!("copy the {kind} from the Admin UI into a file and give it with {flag} FILE")
            }
            Error::NotEditable { path, .. } => {
                format!("change the value in {} by hand, then restart its container", path.display())
            }
            Error::File { path, source } if durable::is_full(source) => {
                format!("free space (`df -h {}`), then run it again", path.parent().unwrap_or(path).display())
            }
            Error::File { path, .. } => format!("see `ls -ld {}`; then run it again", path.display()),
            Error::Configuration(cause) => cause.help(),
            Error::Docker { .. } => {
                "see that Docker and Kasm's services run (`docker ps -a`, `systemctl status docker`), then run it again"
                    .into()
            }
            Error::Refused { kind: Kind::Manager, .. } => {
                "copy the manager token from the Admin UI again: the manager knows another one".into()
            }
            Error::Refused { .. } => {
                "copy the Component Registration Token from the Admin UI again (Settings, Global, Authentication), and \
                 see that it has not expired there"
                    .into()
            }
            Error::NotRegistered { container, .. } => {
                format!(
                    "`docker logs {container}` says more; see that this node reaches the manager. Kasm documents that a \
                     component that never had a token must be redeployed: `kasm-bootstrap install --force` does that"
                )
            }
            Error::NotRestarted { container, .. } => format!("once Docker answers, run `docker restart {container}`"),
            Error::NotPutBack { remedy, .. } => {
                format!("{remedy}; then `kasm-bootstrap token repair` puts it back first")
            }
            Error::NotUp { container, .. } | Error::Unhealthy { container, .. } => {
                format!("`docker logs {container}` says why")
            }
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Error::NotInstalled | Error::NoComponents => Exit::Preflight,
            Error::NoToken { .. } | Error::Refused { .. } => Exit::Token,
            Error::File { .. } => Exit::Unexpected,
            Error::NotEditable { .. }
            | Error::Configuration(_)
            | Error::Docker { .. }
            | Error::NotRegistered { .. }
            | Error::NotUp { .. }
            | Error::NotRestarted { .. }
            | Error::NotPutBack { .. }
            | Error::Unhealthy { .. } => Exit::Unhealthy,
        }
    }
}
