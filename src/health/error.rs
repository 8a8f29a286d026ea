//! Why an installed node is not taken for a healthy one.

use crate::error::{Exit, Explain};
use crate::kasm::{self, docker};

/// The node is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is installed.
    #[error("{current} {why}")]
    NotInstalled {
        /// `/opt/kasm/current`.
        current: String,
        /// `is not there`, `leads nowhere`.
        why: &'static str,
    },
    /// Another version is installed.
    #[error("Kasm {found} is installed, not {wanted}")]
    OtherVersion {
        /// The version there.
        found: String,
        /// The version asked for.
        wanted: String,
    },
    /// The configuration is not what was asked for.
    #[error("the installed configuration is not what was asked for: {}", differences.join("; "))]
    OtherConfiguration {
        /// Where it differs.
        differences: Vec<String>,
    },
    /// The configuration cannot be read.
    #[error("the installed configuration cannot be read")]
    Configuration(#[source] kasm::error::Error),
    /// Docker cannot be asked.
    #[error("Docker cannot be asked about the containers")]
    Docker(#[source] docker::Error),
    /// Containers are missing, stopped or unhealthy.
    #[error("not all containers are up: {}", troubles.join(", "))]
    Containers {
        /// `kasm_agent is restarting (exit 1)`, one each.
        troubles: Vec<String>,
        /// The first of them, for the remedy.
        first: String,
    },
    /// Containers are up, but were started again while they were watched.
    #[error("{}: it does not stay up", super::containers::fell(container, *times))]
    Restarts {
        /// The one that was started again most often.
        container: String,
        /// How often.
        times: u64,
    },
    /// A component is another one to its manager than before.
    #[error("the node is not who it was: {}", changed.join("; "))]
    OtherIdentity {
        /// `the id of guac was …, and is …`, one each.
        changed: Vec<String>,
    },
    /// Components of a connection proxy have not registered.
    #[error(transparent)]
    NotRegistered(Box<NotRegistered>),
    /// Tokens of a connection proxy are not as they must be, and its components have nothing to get others by.
    #[error("the tokens of this connection proxy are no good: {}", troubles.join("; "))]
    Tokens {
        /// `api.auth_token in /opt/kasm/… expired 2 hours ago`, one each.
        troubles: Vec<String>,
    },
}

/// Who has not registered, with whom, and what is known of the reason.
#[derive(Debug, thiserror::Error)]
#[error("{}", not_registered(components, manager, answer.as_ref(), down))]
pub struct NotRegistered {
    /// `guac`, `rdp_gateway`, …
    pub components: Vec<&'static str>,
    /// The manager's address.
    pub manager: String,
    /// What the manager said last when it was asked: that it is healthy, or why not.
    pub answer: Option<Result<(), String>>,
    /// The first one's own words about it, masked.
    #[source]
    pub words: Option<Words>,
    /// Containers that are not up, which may be the consequence.
    pub down: Vec<String>,
    /// The first one's container, for the remedy.
    pub first: &'static str,
}

/// What a component wrote into its log, as a cause. Masked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its log says \"{0}\"")]
pub struct Words(pub String);

fn not_registered(components: &[&str], manager: &str, answer: Option<&Result<(), String>>, down: &[String]) -> String {
    let (who, verb) = match components {
        [] => ("the connection proxy".to_owned(), "has"),
        [one] => ((*one).to_owned(), "has"),
        several => (crate::words::listed(several), "have"),
    };
    let answer = match answer {
        None => String::new(),
        Some(Ok(())) => ", which answers and calls itself healthy".to_owned(),
        Some(Err(why)) => format!(", which is not reachable from here: {why}"),
    };
    let down = if down.is_empty() { String::new() } else { format!("; {}", down.join(", ")) };
    format!("{who} {verb} not registered with manager {manager}{answer}{down}")
}

impl Error {
    /// True if this says nothing against the node itself: what is missing is for the manager to give, and the
    /// manager was not heard to be well. Nothing is undone for such an error.
    pub fn is_remote(&self) -> bool {
        matches!(self, Error::NotRegistered(who) if !matches!(who.answer, Some(Ok(()))))
    }
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::NotInstalled { .. } => "health.not-installed",
            Error::OtherVersion { .. } => "health.other-version",
            Error::OtherConfiguration { .. } => "health.other-configuration",
            Error::Configuration(_) => "health.configuration-unreadable",
            Error::Docker(docker::Error::Answer(_)) => "health.docker-answer",
            Error::Docker(_) => "health.docker-unreachable",
            Error::Containers { .. } => "health.containers",
            Error::Restarts { .. } => "health.restarts",
            Error::OtherIdentity { .. } => "health.other-identity",
            Error::NotRegistered(_) => "health.not-registered",
            Error::Tokens { .. } => "health.tokens",
        }
    }

    fn help(&self) -> String {
        match self {
            Error::NotInstalled { .. } => {
                "`ls -l /opt/kasm` and `kasm-bootstrap status` show how far it came; after an installation that ended \
                 without an error, the end of installer.log below /var/lib/kasm-bootstrap/attempts does"
                    .into()
            }
            Error::OtherVersion { .. } | Error::OtherConfiguration { .. } => {
                "run install with --force to wipe what is there and install what was asked for".into()
            }
            Error::Configuration(cause) => cause.help(),
            Error::Docker(_) => "`systemctl status docker` and `journalctl -u docker` say how Docker is".into(),
            Error::Containers { first, .. } => {
                format!("`docker logs {first}` says why; run it again once it is mended")
            }
            Error::Restarts { container, .. } => {
                format!("`docker logs {container}` says why; run the same command again once it is mended")
            }
            Error::OtherIdentity { .. } => {
                "the manager does not know these identifiers: put the ones from before back into the files, or remove \
                 the old entries in the Admin UI"
                    .into()
            }
            Error::NotRegistered(who) if matches!(who.answer, Some(Err(_))) => {
                "see that the manager is up and can be reached from here; the components go on trying, and running the \
                 same command again only proves the node"
                    .into()
            }
            Error::NotRegistered(who) => format!(
                "`docker logs {}` says what the manager answers; with another registration token (Admin UI: Settings, \
                 Global, Authentication), `kasm-bootstrap token repair` lets it register again",
                who.first
            ),
            Error::Tokens { .. } => {
                "with a registration token (Admin UI: Settings, Global, Authentication), `kasm-bootstrap token repair` \
                 lets the components register again"
                    .into()
            }
        }
    }

    fn exit(&self) -> Exit {
        Exit::Unhealthy
    }
}
