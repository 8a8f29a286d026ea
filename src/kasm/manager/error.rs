//! What can be wrong between this machine and its manager, and what to do about each.

use super::fault::Fault;
use crate::error::{Exit, Explain};
use crate::net;
use crate::net::describe::chain;
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
    },
    /// Something other than TLS came back.
    #[error("{manager} does not speak TLS")]
    NotTls {
        /// The manager.
        manager: String,
    },
    /// Both speak TLS but do not come to terms.
    #[error("the TLS handshake with manager {manager} fails: {cause}")]
    Handshake {
        /// The manager.
        manager: String,
        /// What was seen.
        cause: String,
    },
    /// The certificate does not stand the verification that was asked for.
    #[error("the certificate of manager {manager} {}", .fault.why)]
    Untrusted {
        /// The manager.
        manager: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A proxy stands in the way.
    #[error("there is no way through the proxy to manager {manager}: {cause}")]
    Proxy {
        /// The manager.
        manager: String,
        /// What was seen.
        cause: String,
    },
    /// The proxy on the way does not lead to it.
    #[error("there is no way through the proxy to manager {manager}: {cause}")]
    Tunnel {
        /// The manager.
        manager: String,
        /// Why. Its sentence is part of this one's, so it is no further cause.
        cause: net::proxy::ProxyError,
    },
    /// The certificate is good by the manager's clock and not by this machine's.
    #[error("this machine's clock is wrong: it is {apart} that of manager {manager}, whose certificate {looks} by it")]
    Clock {
        /// The manager.
        manager: String,
        /// By how much, and to which side: `3 days behind`.
        apart: String,
        /// What the certificate looks like, as a verb phrase.
        looks: &'static str,
    },
    /// It sends from one place to the next, or away from HTTPS.
    #[error("manager {manager} sends its health check elsewhere: {cause}")]
    Redirect {
        /// The manager.
        manager: String,
        /// What was seen.
        cause: String,
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
    #[error("manager {manager} cannot be asked for its health: {cause}")]
    Request {
        /// The manager.
        manager: String,
        /// What was seen.
        cause: String,
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
    /// True if it may as well be the fault of a proxy on the way.
    pub(super) fn is_about_the_way(&self) -> bool {
        use Error as E;
        matches!(
            self,
            E::Dns { .. } | E::Refused { .. } | E::NoRoute { .. } | E::Cut { .. } | E::Proxy { .. } | E::Request { .. }
        )
    }

    /// True if asking again later may help: the manager may still be starting, the network still coming up.
    pub fn heals(&self) -> bool {
        match self {
            Error::Client(_) | Error::NotTls { .. } | Error::Handshake { .. } | Error::Redirect { .. } => false,
            Error::Untrusted { fault, .. } => fault.early,
            // Not there yet, too slow a question, too early, and too many that ask.
            Error::Status { status, .. } => {
                !status.is_client_error() || matches!(status.as_u16(), 404 | 408 | 425 | 429)
            }
            Error::Dns { cause, .. } => cause.may_pass(),
            Error::Tunnel { cause, .. } => cause.may_pass(),
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
            Error::Proxy { .. } | Error::Tunnel { .. } => "manager.proxy",
            Error::Clock { .. } => "manager.clock",
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
                "check the name in {manager}, given with -m, and that the name servers in /etc/resolv.conf know it; an \
                 entry in /etc/hosts will do too"
            ),
            Error::Refused { manager } => format!(
                "nothing listens at {manager}: check the address and port given with -m, and that Kasm's web server \
                 runs on the manager"
            ),
            Error::NoRoute { manager, .. } => {
                format!("see `ip route`: this machine needs a way to {manager}; check its network, gateway and VLAN")
            }
            Error::Connect { manager, .. } => {
                format!(
                    "check this machine's own firewall (`nft list ruleset`): it must let connections out to {manager}"
                )
            }
            Error::Timeout { manager, .. } => format!(
                "a firewall or security group most likely drops the packets: let this machine connect to {manager} \
                 (TCP)"
            ),
            Error::Silent { manager, .. } | Error::Cut { manager } => format!(
                "see `docker ps` on the manager: its containers must be healthy; a load balancer at {manager} needs a \
                 healthy manager behind it"
            ),
            Error::NotTls { manager } => {
                format!(
                    "check the port in {manager}: the manager's HTTPS port is wanted with -m HOST:PORT, 443 unless it \
                     was changed"
                )
            }
            Error::Handshake { manager, .. } => {
                format!(
                    "the web server at {manager} must offer TLS 1.2 or 1.3; check for a TLS-inspecting firewall in \
                     between"
                )
            }
            Error::Untrusted { fault, .. } => fault.remedy.into(),
            Error::Proxy { manager, .. } => {
                format!("add the host in {manager} to NO_PROXY, or have the proxy in HTTPS_PROXY let it through")
            }
            Error::Tunnel { cause, .. } => cause.help().into(),
            Error::Clock { .. } => super::clock::REMEDY.into(),
            Error::Redirect { manager, .. } | Error::Body { manager, .. } => format!(
                "check that {manager} is the Kasm manager itself: a captive portal, proxy or other web server may \
                 answer in its place (try `curl -k https://{manager}/api/__healthcheck`)"
            ),
            Error::Status { manager, status } if status.is_server_error() => {
                format!("Kasm's API behind {manager} is not up: see `docker ps` and the log of kasm_api on the manager")
            }
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
pub(in crate::kasm) fn classify(manager: &str, error: reqwest::Error) -> Error {
    let manager = manager.to_owned();
    let cause = || net::describe(&error);
    let mentions = |words: &str| chain(&error).any(|cause| cause.to_string().contains(words));
    if let Some(tls) = find::<rustls::Error>(&error) {
        return match tls {
            rustls::Error::InvalidCertificate(certificate) => {
                Error::Untrusted { manager, fault: Fault::of(certificate) }
            }
            rustls::Error::InvalidMessage(_) => Error::NotTls { manager },
            _ => Error::Handshake { manager, cause: cause() },
        };
    }
    if let Some(cause) = find::<net::ResolveError>(&error) {
        return Error::Dns { manager, cause: cause.clone() };
    }
    if error.is_redirect() {
        return Error::Redirect { manager, cause: cause() };
    }
    // The words of hyper's connector, which has no public type to ask.
    if mentions("tunnel error") || mentions("proxy") {
        return Error::Proxy { manager, cause: cause() };
    }
    for io in chain(&error).filter_map(|cause| cause.downcast_ref::<io::Error>()) {
        match io.kind() {
            io::ErrorKind::ConnectionRefused => return Error::Refused { manager },
            kind @ (io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
                return Error::NoRoute { manager, source: kind.into() };
            }
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => return Error::Cut { manager },
            _ => {}
        }
    }
    // The words of hyper for a connection that ends before its answer does.
    if mentions("connection closed before message completed") {
        return Error::Cut { manager };
    }
    Error::Request { manager, cause: cause() }
}

fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    chain(error).find_map(|cause| cause.downcast_ref::<T>())
}
