//! The proxy on the way, if the environment names one: whether it is there, and whether it leads through.

use super::describe::describe_io;
use super::{ResolveError, dial::dial, resolve};
use crate::deadline::Deadline;
use crate::paths::Paths;
use hyper_util::client::proxy::matcher::Matcher;
use std::io;
use std::net::IpAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// hyper-util's words for a 407: its error has no public type.
pub(super) const AUTH_WORDS: &str = "tunnel error: proxy authorization required";
/// No status line is longer.
const LONGEST_ANSWER: usize = 1024;
/// The variables that name a proxy for HTTPS, in the order in which they count.
const VARIABLES: [[&str; 2]; 2] = [["HTTPS_PROXY", "https_proxy"], ["ALL_PROXY", "all_proxy"]];

/// A proxy, as the environment names it.
#[derive(Clone)]
pub struct Proxy {
    scheme: String,
    host: String,
    port: u16,
    credentials: Option<Vec<u8>>,
}

/// Why a proxy does not lead to where it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Its name does not resolve.
    #[error("proxy {proxy} cannot be found: {cause}")]
    Name {
        /// The proxy.
        proxy: String,
        /// Why. Its sentence is part of this one's, so it is no further cause.
        cause: ResolveError,
    },
    /// No connection to it.
    #[error("proxy {proxy} cannot be reached: {why}")]
    Unreachable {
        /// The proxy.
        proxy: String,
        /// Why, as a clause.
        why: String,
    },
    /// It takes the connection and does not behave as a proxy.
    #[error("proxy {proxy} {what}")]
    Wrong {
        /// The proxy.
        proxy: String,
        /// What it does, as a verb phrase.
        what: &'static str,
    },
    /// Status 407.
    #[error(
        "proxy {proxy} {} (status 407)",
        if *.sent { "refuses the user name and password in its URL" } else { "asks for a user name and a password" }
    )]
    Credentials {
        /// The proxy.
        proxy: String,
        /// Some were sent.
        sent: bool,
    },
    /// Another status than 2xx.
    #[error("proxy {proxy} does not connect to {target}: status {status}")]
    Status {
        /// The proxy.
        proxy: String,
        /// Where it should have connected to.
        target: String,
        /// Its answer.
        status: u16,
    },
    /// A kind of proxy that is not spoken here.
    #[error("proxy {proxy} is a {scheme} proxy, and only http and https ones can be used")]
    Scheme {
        /// The proxy.
        proxy: String,
        /// The URL's scheme.
        scheme: String,
    },
}

impl ProxyError {
    /// True if asking again later may help.
    pub fn may_pass(&self) -> bool {
        match self {
            ProxyError::Name { cause, .. } => cause.may_pass(),
            ProxyError::Unreachable { .. } | ProxyError::Wrong { .. } => true,
            ProxyError::Status { status, .. } => *status >= 500,
            ProxyError::Credentials { .. } | ProxyError::Scheme { .. } => false,
        }
    }

    /// What to do.
    pub fn help(&self) -> &'static str {
        match self {
            ProxyError::Name { .. } | ProxyError::Unreachable { .. } | ProxyError::Wrong { .. } => {
                "check host and port in HTTPS_PROXY, or name the host in NO_PROXY if no proxy is needed"
            }
            ProxyError::Credentials { .. } => {
                "set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT, or name the host in NO_PROXY if no proxy is needed"
            }
            ProxyError::Status { .. } => {
                "have the proxy let this machine CONNECT there, or name the host in NO_PROXY if no proxy is needed"
            }
            ProxyError::Scheme { .. } => "set HTTPS_PROXY=http://HOST:PORT, or unset it if no proxy is needed",
        }
    }
}

/// The proxy that requests to this URL go through: the same that the HTTP client takes.
pub fn on_the_way_to(url: &str) -> Option<Proxy> {
    Proxy::of(&Matcher::from_system(), url)
}

/// A variable that is set and names no proxy that could be understood. The HTTP client passes over it.
pub fn misunderstood() -> Option<&'static str> {
    let set = |name: &&str| std::env::var(name).is_ok_and(|value| !value.is_empty());
    let (name, value) = VARIABLES.iter().find_map(|names| {
        let name = *names.iter().find(|name| set(name))?;
        Some((name, std::env::var(name).ok()?))
    })?;
    Proxy::of(&Matcher::builder().https(value).build(), "https://name.invalid/").is_none().then_some(name)
}

impl Proxy {
    fn of(matcher: &Matcher, url: &str) -> Option<Proxy> {
        let found = matcher.intercept(&url.parse().ok()?)?;
        let scheme = found.uri().scheme_str().unwrap_or("http").to_owned();
        let usual = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => 1080,
        };
        Some(Proxy {
            host: found.uri().host()?.trim_matches(['[', ']']).to_owned(),
            port: found.uri().port_u16().unwrap_or(usual),
            credentials: found.basic_auth().map(|value| value.as_bytes().to_vec()),
            scheme,
        })
    }

    /// Host and port, without credentials.
    pub fn name(&self) -> String {
        authority(&self.host, self.port)
    }

    /// Its addresses.
    pub async fn resolve(&self, paths: &Paths) -> Result<Vec<IpAddr>, ProxyError> {
        resolve(paths, &self.host).await.map_err(|cause| ProxyError::Name { proxy: self.name(), cause })
    }

    /// Asks it for a connection to this host (`CONNECT`, RFC 9110, 9.3.6) and lets it go again. A proxy that
    /// itself speaks TLS is only connected to: the request that follows says the rest.
    pub async fn connect(&self, paths: &Paths, host: &str, port: u16, deadline: Deadline) -> Result<(), ProxyError> {
        let proxy = self.name();
        if !matches!(self.scheme.as_str(), "http" | "https") {
            return Err(ProxyError::Scheme { proxy, scheme: self.scheme.clone() });
        }
        let wrong = |what| ProxyError::Wrong { proxy: self.name(), what };
        let addresses = self.resolve(paths).await?;
        let (mut stream, _) = dial(&addresses, self.port, deadline).await.map_err(|error| {
            let why = describe_io(&error).map_or_else(|| error.to_string(), str::to_owned);
            ProxyError::Unreachable { proxy: self.name(), why }
        })?;
        if self.scheme == "https" {
            return Ok(());
        }
        let target = authority(host, port);
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
        if let Some(credentials) = &self.credentials {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(credentials);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        let asked = async {
            stream.write_all(&request).await?;
            let mut answer = Vec::new();
            let mut buffer = [0; 256];
            while answer.len() < LONGEST_ANSWER && !answer.contains(&b'\n') {
                match stream.read(&mut buffer).await? {
                    0 => break,
                    count => answer.extend_from_slice(&buffer[..count]),
                }
            }
            Ok::<_, io::Error>(answer)
        };
        let answer = match tokio::time::timeout_at(deadline.instant().into(), asked).await {
            Ok(Ok(answer)) if !answer.is_empty() => answer,
            Ok(_) => return Err(wrong("closes the connection without an answer")),
            Err(_) => return Err(wrong("takes the connection but does not answer")),
        };
        match status(&answer) {
            Some(200..=299) => Ok(()),
            Some(407) => Err(ProxyError::Credentials { proxy, sent: self.credentials.is_some() }),
            Some(status) => Err(ProxyError::Status { proxy, target, status }),
            None => Err(wrong("does not answer as an HTTP proxy does")),
        }
    }
}

/// The status of an HTTP/1 answer (RFC 9112, 4).
fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let rest = std::str::from_utf8(line).ok()?.strip_prefix("HTTP/1.")?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok().filter(|status| (100..600).contains(status))
}

/// What hyper-util's words for a tunnel that did not come about mean.
pub(super) fn tunnel_words(words: &str) -> Option<&'static str> {
    Some(match words.strip_prefix("tunnel error: ")? {
        "proxy authorization required" => "it asks for a user name and a password (status 407)",
        "unsuccessful" => "it does not connect there",
        "unexpected end of file" => "it closes the connection without an answer",
        _ => return None,
    })
}

/// `host:port`, an IPv6 address in brackets (RFC 3986, 3.2.2).
pub fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_named_without_its_credentials_and_no_proxy_counts() {
        let of = |proxy: &str, url: &str| {
            Proxy::of(&Matcher::builder().https(proxy).no("kasm.example.com,10.0.0.0/8").build(), url)
        };
        let found = of("http://user:pass@proxy.example:3128", "https://other.example/x").unwrap();
        assert_eq!((found.name().as_str(), found.credentials.is_some()), ("proxy.example:3128", true));
        assert_eq!(of("proxy.example", "https://[fd00::1]:8443/").unwrap().name(), "proxy.example:80");
        assert_eq!(of("http://[fd00::9]:8080", "https://other.example/").unwrap().name(), "[fd00::9]:8080");
        assert!(of("http://proxy.example:3128", "https://kasm.example.com/").is_none());
        assert!(of("http://proxy.example:3128", "https://10.1.2.3/").is_none());
        assert!(of("::nonsense::", "https://other.example/").is_none());
        assert!(of("http://proxy.example:3128", "no url").is_none());
    }

    #[test]
    fn only_a_status_line_has_a_status() {
        assert_eq!(status(b"HTTP/1.1 200 Connection established\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407\r\n"), Some(407));
        for answer in
            [&b""[..], b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1\r\n", b"HTTP/1.1 99999 x", b"\x15\x03\x01\x00\x02"]
        {
            assert_eq!(status(answer), None);
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]
        #[test]
        fn no_answer_makes_it_panic(answer in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            status(&answer);
        }
    }
}
