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
        }
    }

    fn help(&self) -> String {
        match self {
            Error::NotInstalled { .. } => {
                "look at installer.log below /var/lib/kasm-bootstrap/attempts: the installer ended \
                 without an error, but without installing anything"
                    .into()
            }
            Error::OtherVersion { .. } | Error::OtherConfiguration { .. } => {
                "run install with --force to wipe what is there and install what was asked for".into()
            }
            Error::Configuration(cause) => cause.help(),
            Error::Docker(_) => "`systemctl status docker` and `journalctl -u docker` say how Docker is".into(),
            Error::Containers { first, .. } => {
                format!("`docker logs {first}` says why; run install again once it is mended")
            }
        }
    }

    fn exit(&self) -> Exit {
        Exit::Unhealthy
    }
}
