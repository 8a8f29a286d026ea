//! What can go wrong between this machine and those who gave it its configuration.

use crate::error::{Exit, Explain};
use crate::intent::{Cloud, CloudAddress};
use crate::net;
use std::io;
use std::path::PathBuf;

/// Why a cloud's metadata or a disk with user-data could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The HTTP client cannot be built.
    #[error(transparent)]
    Client(net::Error),
    /// The firmware names another cloud than the configuration.
    #[error("agent.address is {method}, but this machine's firmware says that it runs on {here}")]
    OtherCloud {
        /// What was asked for.
        method: CloudAddress,
        /// Where the machine is.
        here: Cloud,
    },
    /// No answer until the deadline.
    #[error("{service} does not answer: {why}")]
    Unreachable {
        /// Who.
        service: String,
        /// What came of the last try.
        why: String,
    },
    /// It takes connections, and the answer to the question for a token does not arrive.
    #[error("{service} takes the connection, but its token does not arrive")]
    Silent {
        /// Who.
        service: String,
    },
    /// It gives no token.
    #[error("{service} gives no token: status {status}")]
    NoToken {
        /// Who.
        service: String,
        /// Its answer.
        status: u16,
    },
    /// It gives tokens and does not take them.
    #[error("{service} refuses the token that it has just given (status 401)")]
    TokenRefused {
        /// Who.
        service: String,
    },
    /// An answer that makes no sense.
    #[error("{service} answers {path} with {problem}")]
    Answer {
        /// Who.
        service: String,
        /// What it was asked.
        path: String,
        /// Its answer, as a noun phrase.
        problem: String,
    },
    /// The machine has no such address.
    #[error("{} says that this machine has no {} address", method.cloud, method.kind())]
    NoAddress {
        /// What was asked for.
        method: CloudAddress,
    },
    /// A disk cannot be read.
    #[error("the {what} {} cannot be {verb}", path.display())]
    Disk {
        /// `NoCloud disk` or `config drive`.
        what: &'static str,
        /// The device.
        path: PathBuf,
        /// `mounted` or `read`.
        verb: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// User-data that is broken.
    #[error("user-data ({source_name}) {problem}")]
    Broken {
        /// Where it is from.
        source_name: &'static str,
        /// What is wrong with it, as a verb phrase.
        problem: &'static str,
    },
    /// User-data cannot be kept for those who come later.
    #[error("{} cannot be written", path.display())]
    Keep {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// True if the same question may be answered later.
    pub fn may_pass(&self) -> bool {
        matches!(self, Error::Unreachable { .. })
    }
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::Client(error) => error.reason(),
            Error::OtherCloud { .. } => "machine.other-cloud",
            Error::Unreachable { .. } => "machine.metadata-unreachable",
            Error::Silent { .. } => "machine.metadata-silent",
            Error::NoToken { .. } => "machine.metadata-no-token",
            Error::TokenRefused { .. } => "machine.metadata-token-refused",
            Error::Answer { .. } => "machine.metadata-answer",
            Error::NoAddress { .. } => "machine.cloud-no-address",
            Error::Disk { .. } => "machine.user-data-disk",
            Error::Broken { .. } => "machine.user-data-broken",
            Error::Keep { .. } => "machine.user-data-keep",
        }
    }

    fn help(&self) -> String {
        match self {
            Error::Client(error) => error.help(),
            Error::OtherCloud { here: Cloud::KubeVirt, .. } => {
                "write auto or interface:NAME: there is no metadata service here to ask".into()
            }
            Error::OtherCloud { .. } => "write the method of that cloud, auto, or the address itself".into(),
            Error::Unreachable { .. } => {
                "see `ip route get 169.254.169.254` and this machine's firewall; the service may also be switched off \
                 for this machine, or answer elsewhere (metadata.endpoint)"
                    .into()
            }
            // "Configure the Instance Metadata Service options" in Amazon's documentation.
            Error::Silent { .. } => "in a container, or behind a bridge, the answer dies after its first hop: aws ec2 \
                 modify-instance-metadata-options --instance-id ID --http-put-response-hop-limit 2 \
                 (HttpPutResponseHopLimit)"
                .into(),
            Error::NoToken { status: 403, .. } => {
                "it is switched off for this instance: aws ec2 modify-instance-metadata-options --instance-id ID \
                 --http-endpoint enabled"
                    .into()
            }
            Error::NoToken { .. } | Error::TokenRefused { .. } => {
                "only version 2 of it is spoken here; look for something that answers in its place: a firewall rule \
                 for 169.254.169.254, or metadata.endpoint"
                    .into()
            }
            Error::Answer { .. } => "look for something that answers in its place; see metadata.endpoint".into(),
            Error::NoAddress { method: CloudAddress { public: true, .. } } => {
                "give this machine a public address, or ask for the private one, or write the address itself".into()
            }
            Error::NoAddress { .. } => "write auto, interface:NAME, or the address itself".into(),
            Error::Disk { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "only root may mount a disk; or set run.user_data = \"off\"".into()
            }
            Error::Disk { .. } => {
                "it must hold an iso9660, vfat or ext4 file system; if it is not meant for this, set run.user_data = \
                 \"off\""
                    .into()
            }
            Error::Broken { .. } => {
                "it is TOML that begins with the line #kasm-bootstrap, or a MIME part text/x-kasm-bootstrap; at most \
                 64 KiB, as it is or packed with gzip or base64"
                    .into()
            }
            Error::Keep { .. } => "make room below /run, and run as root".into(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Error::Client(error) => error.exit(),
            Error::Broken { .. } => Exit::Configuration,
            // A boot may end with these: started again, the service may be awake.
            Error::Unreachable { .. } | Error::Silent { .. } | Error::Keep { .. } => Exit::Unexpected,
            _ => Exit::Preflight,
        }
    }
}
