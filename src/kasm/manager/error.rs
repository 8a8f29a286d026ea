//! What can be wrong between this machine and its manager, and what to do about each.

use crate::error::{Exit, Explain};
use crate::net::describe::chain;
use crate::net::{self, tls::PinMismatch};
use std::error::Error as StdError;
use std::io;
use std::time::Duration;

/// Why the manager did not answer as a healthy manager does. `manager` is always its address with the
/// port, as `kasm.example.com:443`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The HTTP client cannot be made; nothing was asked.
    #[error("{0}")]
    Client(#[from] net::Error),
    /// Its name does not resolve.
    #[error("manager {manager} cannot be found: {cause}")]
    Dns {
        /// The manager.
        manager: String,
        /// Why. Its sentence is part of this one's, so it is no further cause.
        cause: net::ResolveError,
    },
    /// Nothing listens there.
    #[error("manager {manager} refuses the connection")]
    Refused {
        /// The manager.
        manager: String,
    },
    /// The kernel or a router knows no way there.
    #[error("no route leads to manager {manager}")]
    NoRoute {
        /// The manager.
        manager: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// This machine itself does not let the connection be made.
    #[error("no connection to manager {manager} can be made")]
    Connect {
        /// The manager.
        manager: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Not even a refusal came back.
    #[error("manager {manager} does not answer a connection attempt ({} s)", .after.as_secs())]
    Timeout {
        /// The manager.
        manager: String,
        /// How long it was given.
        after: Duration,
    },
    /// The connection stands, but no answer comes.
    #[error("manager {manager} takes the connection but does not answer ({} s)", .after.as_secs())]
    Silent {
        /// The manager.
        manager: String,
        /// How long it was given.
        after: Duration,
    },
    /// The connection was closed or reset before an answer came.
    #[error("manager {manager} closes the connection without an answer")]
    Cut {
        /// The manager.
        manager: String,
        /// What was seen.
        #[source]
        source: reqwest::Error,
    },
    /// Something other than TLS came back.
    #[error("{manager} does not speak TLS")]
    NotTls {
        /// The manager.
        manager: String,
        /// What was seen.
        #[source]
        source: reqwest::Error,
    },
    /// Both speak TLS but do not come to terms.
    #[error("the TLS handshake with manager {manager} fails")]
    Handshake {
        /// The manager.
        manager: String,
        /// What was seen.
        #[source]
        source: reqwest::Error,
    },
    /// The certificate does not stand the verification that was asked for.
    #[error("the certificate of manager {manager} {why}")]
    Untrusted {
        /// The manager.
        manager: String,
        /// What is wrong with it, as a verb phrase: `has expired`.
        why: String,
        /// True where time alone may mend it.
        early: bool,
    },
    /// A proxy stands in the way.
    #[error("the proxy does not let this machine through to manager {manager}")]
    Proxy {
        /// The manager.
        manager: String,
        /// What was seen.
        #[source]
        source: reqwest::Error,
    },
    /// It sends from one place to the next, or away from HTTPS.
    #[error("manager {manager} sends its health check elsewhere")]
    Redirect {
        /// The manager.
        manager: String,
        /// What was seen.
        #[source]
        source: reqwest::Error,
    },
    /// Another status than 200.
    #[error("manager {manager} answers its health check with status {status}")]
    Status {
        /// The manager.
        manager: String,
        /// The status.
        status: reqwest::StatusCode,
    },
    /// Status 200, but not `{"ok": true}`.
    #[error("manager {manager} answers its health check with {came}")]
    Body {
        /// The manager.
        manager: String,
        /// What came instead, as a noun phrase.
        came: String,
    },
    /// Anything else.
    #[error("manager {manager} cannot be asked for its health")]
    Request {
        /// The manager.
        manager: String,
        /// What was seen.
        #[source]
        source: reqwest::Error,
    },
    /// Waited until the deadline; this was the last answer.
    #[error("{last} (waited {} s)", .waited.as_secs())]
    GaveUp {
        /// How long.
        waited: Duration,
        /// The last real error. Its sentence is part of this one's, so it is no further cause.
        last: Box<Error>,
    },
}

impl Error {
    /// True if asking again later may help: the manager may still be starting, the network still coming up.
    pub fn heals(&self) -> bool {
        match self {
            Error::Client(_) | Error::NotTls { .. } | Error::Handshake { .. } | Error::Redirect { .. } => false,
            Error::Untrusted { early, .. } => *early,
            Error::Status { status, .. } => !status.is_client_error() || *status == reqwest::StatusCode::NOT_FOUND,
            Error::Dns { cause, .. } => cause.may_pass(),
            Error::GaveUp { last, .. } => last.heals(),
            _ => true,
        }
    }
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::Client(error) => error.reason(),
            Error::Dns { .. } => "manager.dns",
            Error::Refused { .. } => "manager.refused",
            Error::NoRoute { .. } => "manager.no-route",
            Error::Connect { .. } => "manager.connect",
            Error::Timeout { .. } => "manager.timeout",
            Error::Silent { .. } => "manager.silent",
            Error::Cut { .. } => "manager.cut",
            Error::NotTls { .. } => "manager.not-tls",
            Error::Handshake { .. } => "manager.tls",
            Error::Untrusted { .. } => "manager.certificate",
            Error::Proxy { .. } => "manager.proxy",
            Error::Redirect { .. } => "manager.redirect",
            Error::Status { .. } => "manager.status",
            Error::Body { .. } => "manager.body",
            Error::Request { .. } => "manager.request",
            Error::GaveUp { last, .. } => last.reason(),
        }
    }

    fn help(&self) -> String {
        match self {
            Error::Client(error) => error.help(),
            Error::Dns { manager, .. } => format!(
                "check the name in {manager}, given with -m, and that the name servers in /etc/resolv.conf know it; an entry in /etc/hosts will do too"
            ),
            Error::Refused { manager } => format!(
                "nothing listens at {manager}: check the address and port given with -m, and that Kasm's web server runs on the manager"
            ),
            Error::NoRoute { manager, .. } => format!(
                "see `ip route`: this machine needs a way to {manager}; check its network, gateway and VLAN"
            ),
            Error::Connect { manager, .. } => {
                format!("check this machine's own firewall (`nft list ruleset`): it must let connections out to {manager}")
            }
            Error::Timeout { manager, .. } => format!(
                "a firewall or security group most likely drops the packets: let this machine connect to {manager} (TCP)"
            ),
            Error::Silent { manager, .. } | Error::Cut { manager, .. } => format!(
                "see `docker ps` on the manager: its containers must be healthy; a load balancer at {manager} needs a healthy manager behind it"
            ),
            Error::NotTls { manager, .. } => {
                format!("check the port in {manager}: the manager's HTTPS port is wanted with -m HOST:PORT, 443 unless it was changed")
            }
            Error::Handshake { manager, .. } => {
                format!("the web server at {manager} must offer TLS 1.2 or 1.3; check for a TLS-inspecting firewall in between")
            }
            Error::Untrusted { .. } => {
                "give the authority that issued it to --ca-cert, or the certificate's SHA-256 to --tls-pin; compare `date` with the real time".into()
            }
            Error::Proxy { manager, .. } => {
                format!("add the host in {manager} to NO_PROXY, or have the proxy in HTTPS_PROXY let it through")
            }
            Error::Redirect { manager, .. } | Error::Body { manager, .. } => format!(
                "check that {manager} is the Kasm manager itself: a captive portal, proxy or other web server may answer in its place (try `curl -k https://{manager}/api/__healthcheck`)"
            ),
            Error::Status { manager, status } if status.is_server_error() => format!(
                "Kasm's API behind {manager} is not up: see `docker ps` and the log of kasm_api on the manager"
            ),
            Error::Status { manager, .. } => format!(
                "check that {manager} is the Kasm manager itself (try `curl -k https://{manager}/api/__healthcheck`)"
            ),
            Error::Request { manager, .. } => {
                format!("try `curl -vk https://{manager}/api/__healthcheck` from this machine")
            }
            Error::GaveUp { last, .. } => last.help(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Error::Client(error) => error.exit(),
            Error::GaveUp { last, .. } => last.exit(),
            _ => Exit::Manager,
        }
    }
}

/// What a failed request means, read from its whole chain of causes.
pub(super) fn classify(manager: &str, source: reqwest::Error) -> Error {
    let manager = manager.to_owned();
    let mentions = |words: &str| chain(&source).any(|cause| cause.to_string().contains(words));
    if let Some(tls) = find::<rustls::Error>(&source) {
        return match tls {
            rustls::Error::InvalidCertificate(certificate) => {
                let (why, early) = distrust(certificate);
                Error::Untrusted { manager, why, early }
            }
            rustls::Error::InvalidMessage(_) => Error::NotTls { manager, source },
            _ => Error::Handshake { manager, source },
        };
    }
    if let Some(cause) = find::<net::ResolveError>(&source) {
        return Error::Dns { manager, cause: cause.clone() };
    }
    if source.is_redirect() {
        return Error::Redirect { manager, source };
    }
    // The words of hyper's connector, which has no public type to ask.
    if mentions("tunnel error") || mentions("proxy") {
        return Error::Proxy { manager, source };
    }
    match find::<io::Error>(&source).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => Error::Refused { manager },
        Some(kind @ (io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable)) => {
            Error::NoRoute { manager, source: kind.into() }
        }
        Some(
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe,
        ) => Error::Cut { manager, source },
        _ if mentions("connection closed before message completed") => Error::Cut { manager, source },
        _ => Error::Request { manager, source },
    }
}

/// What is wrong with a certificate, as a verb phrase, and whether time alone may mend it.
pub(super) fn distrust(error: &rustls::CertificateError) -> (String, bool) {
    use rustls::CertificateError as C;
    let day = |time: &rustls::pki_types::UnixTime| {
        i64::try_from(time.as_secs())
            .ok()
            .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
            .map(|time| time.strftime("%Y-%m-%d %H:%M UTC").to_string())
            .unwrap_or_else(|| "an unknown time".into())
    };
    match error {
        C::UnknownIssuer => ("is self-signed or its issuer is unknown".into(), false),
        C::Other(other) if other.0.is::<PinMismatch>() => {
            (other.0.to_string().trim_start_matches("its certificate ").to_owned(), false)
        }
        // What OpenSSL makes by default, and Kasm's installer with it: a certificate that calls itself an
        // authority, used by the server.
        C::Other(other) if format!("{:?}", other.0).contains("CaUsedAsEndEntity") => ("is self-signed".into(), false),
        C::NotValidForName => ("is for another name".into(), false),
        C::NotValidForNameContext { presented, .. } if presented.is_empty() => ("names no host".into(), false),
        C::NotValidForNameContext { presented, .. } => {
            let names = presented.iter().take(4).map(String::as_str).collect::<Vec<_>>().join(", ");
            (format!("is for another name ({names})"), false)
        }
        C::Expired => ("has expired, or this machine's clock is wrong".into(), false),
        C::ExpiredContext { time, not_after } => {
            (format!("expired at {}, and this machine's clock says {}", day(not_after), day(time)), false)
        }
        C::NotValidYet => ("is not valid yet, or this machine's clock is wrong".into(), true),
        C::NotValidYetContext { time, not_before } => {
            (format!("is valid from {} on, but this machine's clock says {}", day(not_before), day(time)), true)
        }
        other => (format!("is refused: {other}"), false),
    }
}

fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    chain(error).find_map(|cause| cause.downcast_ref::<T>())
}
