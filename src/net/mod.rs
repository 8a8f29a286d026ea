//! The HTTP client of the house: one crypto provider, system roots and the operator's own, names that
//! resolve without the C library, proxies from the environment.

pub mod confidential;
pub mod describe;
pub mod dial;
pub mod names;
pub mod pin;
pub mod proxy;
pub mod retry;
pub mod tls;

pub use confidential::Confidential;
pub use describe::{describe, origin, redact};
pub use names::{ResolveError, resolve};
pub use pin::Pin;

use crate::error::{Exit, Explain};
use crate::paths::Paths;
use reqwest::ClientBuilder;
use reqwest::redirect::{Action, Attempt, Policy};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a connection may take to stand: name, TCP and TLS together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How many redirects are followed.
pub const MAX_REDIRECTS: usize = 5;

const USER_AGENT: &str = concat!("kasm-bootstrap/", env!("CARGO_PKG_VERSION"));

/// How connections are trusted and named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Further certificate authorities, PEM files. A server's own (self-signed) certificate may be among
    /// them: it is then trusted itself.
    pub ca_certs: Vec<PathBuf>,
    /// Accept exactly the certificate or public key with this SHA-256, whoever issued it.
    pub pin: Option<Pin>,
    /// Do not verify certificates at all. A pin counts all the same.
    pub insecure: bool,
}

impl Options {
    /// True if whoever answers has proved who it is.
    pub fn verifies(&self) -> bool {
        self.pin.is_some() || !self.insecure
    }

    /// What `--insecure` gives up, where it is in force.
    pub fn warning(&self) -> Option<&'static str> {
        (!self.verifies()).then_some(
            "--insecure: no certificate is verified: anybody on the way can pose as the manager, and see and \
             change what is downloaded; only a pinned SHA-256 protects the release",
        )
    }
}

/// What can go wrong before a byte is sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A CA file cannot be read or holds no certificate.
    #[error("CA certificate file {path} cannot be used")]
    CaFile {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The client cannot be built.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
    /// A secret was to be sent to somebody who need not prove who it is.
    #[error("a token is not sent over a connection that is not verified")]
    Unverified,
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::CaFile { .. } => "net.ca-file",
            Error::Client(_) => "net.client",
            Error::Unverified => "net.unverified",
        }
    }

    fn help(&self) -> String {
        match self {
            Error::CaFile { .. } => "give a readable PEM file with at least one certificate to --ca-cert".into(),
            Error::Client(_) => "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY in the environment".into(),
            Error::Unverified => "use https, and --ca-cert or --tls-pin in place of --insecure".into(),
        }
    }

    fn exit(&self) -> Exit {
        Exit::Configuration
    }
}

/// A redirect that is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedirectRefused {
    /// From TLS to no TLS.
    #[error("it redirects from https to unprotected {to}, which is refused")]
    Downgrade {
        /// Where to, without credentials and query.
        to: String,
    },
    /// To something that is not HTTP.
    #[error("it redirects to {to}, which is neither https nor http")]
    Scheme {
        /// Where to, without credentials and query.
        to: String,
    },
    /// To another host, where only one was meant to be asked.
    #[error("it redirects to {to}, as a captive portal or a login page does")]
    Elsewhere {
        /// Where to, without credentials and query.
        to: String,
    },
    /// Too many.
    #[error("it redirects more than {MAX_REDIRECTS} times")]
    TooMany,
}

/// Builds the client. It follows at most [`MAX_REDIRECTS`] redirects, never from https to http, has no
/// total timeout, a connect timeout of [`CONNECT_TIMEOUT`], and asks for no content encoding. Proxies
/// are those of the environment (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`).
pub fn client(paths: &Paths, options: &Options) -> Result<reqwest::Client, Error> {
    build(paths, options, Policy::custom(redirect))
}

/// The same for questions that are meant for one host: a redirect to another is refused.
pub fn client_of_one_host(paths: &Paths, options: &Options) -> Result<reqwest::Client, Error> {
    let policy = Policy::custom(|attempt| {
        let first = attempt.previous().first().and_then(|url| url.host_str());
        if first.is_some() && first != attempt.url().host_str() {
            let to = redact(attempt.url().as_str());
            return attempt.error(RedirectRefused::Elsewhere { to });
        }
        redirect(attempt)
    });
    build(paths, options, policy)
}

/// The same for what is told to one receiver and to nobody else: no redirect is followed.
pub fn client_of_one_answer(paths: &Paths, options: &Options) -> Result<reqwest::Client, Error> {
    build(paths, options, Policy::none())
}

/// The client for a service on this machine's own link, which is asked by its address: never through a
/// proxy, no redirect is followed, no certificate is trusted. A connection may take `connect`, a whole
/// answer `answer`.
pub fn client_of_link(connect: Duration, answer: Duration) -> Result<reqwest::Client, Error> {
    local(tls::no_config()).connect_timeout(connect).timeout(answer).build().map_err(Error::Client)
}

/// The client for whoever listens on a socket of this machine's, in plain HTTP.
pub fn client_of_socket(socket: &Path) -> Result<reqwest::Client, Error> {
    local(tls::no_config()).unix_socket(socket).build().map_err(Error::Client)
}

/// The client for this machine's own web server, which is asked by its loopback address: never through a proxy, no
/// redirect is followed, and its certificate, made for another name, is not looked at. Nothing secret may be sent.
pub fn client_of_this_machine(answer: Duration) -> Result<reqwest::Client, Error> {
    let anyone = Options { insecure: true, ..Options::default() };
    local(tls::client_config(&anyone)?).timeout(answer).build().map_err(Error::Client)
}

fn local(tls: rustls::ClientConfig) -> ClientBuilder {
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().redirect(Policy::none()).user_agent(USER_AGENT)
}

fn build(paths: &Paths, options: &Options, redirects: Policy) -> Result<reqwest::Client, Error> {
    remote(paths, options)?.tls_info(true).redirect(redirects).build().map_err(Error::Client)
}

fn remote(paths: &Paths, options: &Options) -> Result<ClientBuilder, Error> {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::client_config(options)?)
        .dns_resolver(names::Names::new(paths))
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(USER_AGENT);
    Ok(builder)
}

fn redirect(attempt: Attempt) -> Action {
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error(RedirectRefused::TooMany);
    }
    if !matches!(attempt.url().scheme(), "https" | "http") {
        let to = redact(attempt.url().as_str());
        return attempt.error(RedirectRefused::Scheme { to });
    }
    let secure_before = attempt.previous().iter().any(|url| url.scheme() == "https");
    if secure_before && attempt.url().scheme() != "https" {
        let to = redact(attempt.url().as_str());
        return attempt.error(RedirectRefused::Downgrade { to });
    }
    attempt.follow()
}
