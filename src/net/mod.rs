//! The HTTP client of the house: one crypto provider, system roots and the operator's own, names that
//! resolve without the C library, proxies from the environment.

pub mod tls;

use crate::error::{Exit, Explain};
use crate::paths::Paths;
use std::path::PathBuf;
use std::time::Duration;

/// How connections are trusted and named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Further certificate authorities, PEM files.
    pub ca_certs: Vec<PathBuf>,
    /// Accept exactly the certificate or public key with this SHA-256, whoever issued it.
    pub pin: Option<tls::Pin>,
    /// Do not verify certificates at all.
    pub insecure: bool,
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
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::CaFile { .. } => "net.ca-file",
            Error::Client(_) => "net.client",
        }
    }

    fn help(&self) -> String {
        match self {
            Error::CaFile { .. } => "give a readable PEM file with at least one certificate to --ca-cert".into(),
            Error::Client(_) => "check HTTP_PROXY, HTTPS_PROXY and NO_PROXY in the environment".into(),
        }
    }

    fn exit(&self) -> Exit {
        Exit::Configuration
    }
}

/// Builds the client. It follows at most 5 redirects, never from https to http, has no total timeout,
/// a connect timeout of 10 s, and asks for no content encoding.
pub fn client(_paths: &Paths, options: &Options) -> Result<reqwest::Client, Error> {
    let tls = tls::client_config(options)?;
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::limited(5))
        .user_agent(concat!("kasm-bootstrap/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(Error::Client)
}
