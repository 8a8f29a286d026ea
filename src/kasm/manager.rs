//! The manager over HTTP: does its name resolve, does it take connections, who does its certificate say
//! it is, and does it call itself healthy.

mod certificate;
mod clock;
mod error;
mod fault;
mod look;
mod reply;

use crate::deadline::Deadline;
use crate::intent::HostPort;
use crate::net;
use crate::net::proxy::{self, Proxy, authority};
use crate::net::retry::random_fraction;
use crate::observe::{Observer, Wait};
use crate::paths::Paths;
use crate::words;
pub use certificate::Validity;
pub use clock::{Clocks, REMEDY as CLOCK_REMEDY};
pub use error::Error;
pub(in crate::kasm) use error::classify;
pub use fault::Fault;
pub use look::{Look, Through};
pub(in crate::kasm) use reply::Reply;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

/// The longest one answer may take.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(10);
/// The first pause between two health checks while waiting.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// No health check's answer is longer than this; Kasm's has a dozen bytes.
const LONGEST_BODY: usize = 64 * 1024;

/// A manager and how it is reached.
#[derive(Debug, Clone)]
pub struct Manager {
    paths: Paths,
    address: HostPort,
    network: net::Options,
}

/// How far the certificate was believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Verified against the system's authorities, the operator's own, or a pin.
    Verified,
    /// Not verified, as the operator asked.
    NotAsked,
    /// Could not be verified; why, as a verb phrase (`is self-signed or its issuer is unknown`). The
    /// question was asked all the same, because nothing secret is in it.
    Distrusted(String),
}

/// A healthy manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// From the question to the whole answer, connection included.
    pub latency: Duration,
    /// The manager's clock and this machine's, where the manager tells its time.
    pub clocks: Option<Clocks>,
    /// Whether its certificate was believed.
    pub trust: Trust,
}

impl Health {
    /// True if the certificate was verified.
    pub fn verified(&self) -> bool {
        self.trust == Trust::Verified
    }

    /// What to warn of, where the certificate could not be verified.
    pub fn warning(&self) -> Option<String> {
        match &self.trust {
            Trust::Distrusted(why) => {
                Some(format!("the manager's certificate {why}: pass --ca-cert or --tls-pin to verify it"))
            }
            Trust::Verified | Trust::NotAsked => None,
        }
    }
}

/// A connection that was made and closed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// Which of the manager's addresses answered first.
    pub address: SocketAddr,
    /// How long it took.
    pub latency: Duration,
}

/// What came of asking once.
struct Answer {
    trust: Option<Trust>,
    clocks: Option<Clocks>,
    certificate: Option<Validity>,
    health: Result<Health, Error>,
}

impl Manager {
    /// A manager; nothing is asked yet.
    pub fn new(paths: &Paths, address: &HostPort, network: &net::Options) -> Manager {
        Manager { paths: paths.clone(), address: address.clone(), network: network.clone() }
    }

    /// Its address with the port, for messages: `kasm.example.com:443`.
    pub fn name(&self) -> String {
        authority(&self.address.host, self.address.port_or_https())
    }

    fn url(&self) -> String {
        format!("https://{}/api/__healthcheck", self.name())
    }

    /// Its addresses; never an empty list.
    pub async fn resolve(&self, deadline: Deadline) -> Result<Vec<IpAddr>, Error> {
        self.find(deadline).await.map(|found| found.addresses)
    }

    async fn find(&self, deadline: Deadline) -> Result<net::names::Found, Error> {
        let names = net::names::Names::new(&self.paths);
        let found = names.find(&self.address.host, deadline.remaining()).await;
        found.map_err(|cause| Error::Dns { manager: self.name(), cause })
    }

    /// The addresses that packets on their way to the manager have first: the manager's own, or a proxy's
    /// where the name is known to that proxy only.
    pub async fn first_hop(&self, deadline: Deadline) -> Result<Vec<IpAddr>, Error> {
        match (self.resolve(deadline).await, proxy::on_the_way_to(&self.url())) {
            (Err(_), Some(proxy)) => {
                proxy.resolve(&self.paths).await.map_err(|cause| Error::Tunnel { manager: self.name(), cause })
            }
            (found, _) => found,
        }
    }

    /// Connects to all the addresses at once and tells which answered first.
    pub async fn connect(&self, addresses: &[IpAddr], deadline: Deadline) -> Result<Reached, Error> {
        let started = Instant::now();
        let manager = self.name();
        match net::dial::dial(addresses, self.address.port_or_https(), deadline).await {
            Ok((_, address)) => Ok(Reached { address, latency: started.elapsed() }),
            Err(source) => Err(match source.kind() {
                io::ErrorKind::ConnectionRefused => Error::Refused { manager },
                io::ErrorKind::TimedOut => Error::Timeout { manager, after: started.elapsed() },
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
                    Error::NoRoute { manager, source }
                }
                _ => Error::Connect { manager, source },
            }),
        }
    }

    /// Has the proxy connect to the manager.
    async fn tunnel(&self, proxy: &Proxy, deadline: Deadline) -> Result<(), Error> {
        let (host, port) = (&self.address.host, self.address.port_or_https());
        let connected = proxy.connect(&self.paths, host, port, deadline).await;
        connected.map_err(|cause| Error::Tunnel { manager: self.name(), cause })
    }

    /// Asks `GET /api/__healthcheck` (docs/kasm-facts.md, 6) once, within the deadline and at most 10 s.
    ///
    /// The certificate is verified first. Where that fails and the operator named neither an authority
    /// nor a pin, the question is asked again without verifying, and [`Health::trust`] says why: a fresh
    /// Kasm installation is self-signed, and nothing secret is in the question.
    pub async fn healthcheck(&self, deadline: Deadline) -> Result<Health, Error> {
        self.ask(deadline).await.health
    }

    /// The manager's clock beside ours, if it tells its time. No certificate is verified for it: one that
    /// looks out of its time is what the question is for, and nothing secret is in it.
    pub async fn clocks(&self, deadline: Deadline) -> Option<Clocks> {
        let unverified = net::Options { insecure: true, ..net::Options::default() };
        clocks(&self.request(&unverified, deadline, deadline).await.ok()?)
    }

    /// Asks again and again until the manager is healthy, with growing pauses, each told to the observer.
    /// The name is resolved anew each time. What waiting cannot mend ends it at once; at the deadline
    /// the last real error comes back with how long it was waited.
    pub async fn wait(&self, deadline: Deadline, observer: &dyn Observer) -> Result<Health, Error> {
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut last: Option<Error> = None;
        loop {
            let asked = Instant::now();
            match self.healthcheck(deadline).await {
                Ok(health) => return Ok(health),
                Err(error) if !error.heals() => return Err(error),
                // An answer that only ran into the deadline says less than the one before it.
                Err(_) if last.is_some() && deadline.is_over() && asked.elapsed() < ANSWER_TIME => {}
                Err(error) => last = Some(error),
            }
            let holder = last.as_ref().map(ToString::to_string);
            match last {
                // No time left in which an answer could still come.
                Some(error) if deadline.remaining() <= FIRST_PAUSE => {
                    return Err(Error::GaveUp { waited: started.elapsed(), last: Box::new(error) });
                }
                _ => observer.waiting(&Wait { what: format!("manager {}", self.name()), holder, deadline }),
            }
            tokio::time::sleep(jittered(pause).min(deadline.remaining() / 2)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn ask(&self, deadline: Deadline) -> Answer {
        let deadline = deadline.within(ANSWER_TIME);
        let started = Instant::now();
        // The rest of the time is for finding out what is missing, should no answer come.
        let answer_by = deadline.within(deadline.remaining().mul_f32(0.85));
        let named = !self.network.ca_certs.is_empty() || self.network.pin.is_some();
        let (trust, response) = match self.request(&self.network, answer_by, deadline).await {
            Ok(response) if !self.network.verifies() => (Trust::NotAsked, Ok(response)),
            Ok(response) => (Trust::Verified, Ok(response)),
            Err(Error::Untrusted { fault, .. }) if !named && !self.network.insecure => {
                let unverified = net::Options { insecure: true, ..net::Options::default() };
                let response = self.request(&unverified, answer_by, deadline).await;
                (Trust::Distrusted(self.why(fault, response.as_ref().ok().and_then(clocks))), response)
            }
            Err(Error::Untrusted { manager, fault }) if fault.is_about_time() => {
                let clocks = self.clocks(deadline).await;
                let error = match &clocks {
                    Some(clocks) => fault.by(clocks, &manager),
                    None => Error::Untrusted { manager, fault },
                };
                return Answer { trust: None, clocks, certificate: None, health: Err(error) };
            }
            Err(error) => return Answer { trust: None, clocks: None, certificate: None, health: Err(error) },
        };
        let response = match response {
            Ok(response) => response,
            Err(error) => {
                return Answer { trust: Some(trust), clocks: None, certificate: None, health: Err(error) };
            }
        };
        let (clocks, certificate) = (clocks(&response), Validity::shown_with(&response));
        let answer = match tokio::time::timeout_at(deadline.instant().into(), self.judge(response)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Silent { manager: self.name(), after: started.elapsed() }),
        };
        let health = answer.map(|()| Health { latency: started.elapsed(), clocks, trust: trust.clone() });
        Answer { trust: Some(trust), clocks, certificate, health }
    }

    /// Why a certificate is not believed, by both clocks where both are known.
    fn why(&self, fault: Fault, clocks: Option<Clocks>) -> String {
        let Some(clocks) = clocks else { return fault.why };
        match fault.by(&clocks, &self.name()) {
            Error::Clock { apart, looks, .. } => {
                format!("{looks} by this machine's clock, which is wrong: it is {apart} the manager's")
            }
            Error::Untrusted { fault, .. } => fault.why,
            other => other.to_string(),
        }
    }

    async fn request(
        &self,
        network: &net::Options,
        answer_by: Deadline,
        deadline: Deadline,
    ) -> Result<reqwest::Response, Error> {
        let started = Instant::now();
        // A client anew each time: it reads resolv.conf once, and on first boot that changes.
        let client = net::client_of_one_host(&self.paths, network)?;
        let request = client.get(self.url()).send();
        let error = match tokio::time::timeout_at(answer_by.instant().into(), request).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(error)) if !error.is_timeout() => error::classify(&self.name(), error),
            Ok(Err(_)) | Err(_) => return Err(self.silence(started.elapsed(), deadline).await),
        };
        // What looks like the manager's fault may be the proxy's, which can say so itself.
        match (error.is_about_the_way(), proxy::on_the_way_to(&self.url())) {
            (true, Some(proxy)) => self.tunnel(&proxy, deadline).await.and(Err(error)),
            _ => Err(error),
        }
    }

    /// No answer came in time: finds out in what is left whether the connection or the answer is missing.
    async fn silence(&self, after: Duration, deadline: Deadline) -> Error {
        let reached = match proxy::on_the_way_to(&self.url()) {
            Some(proxy) => self.tunnel(&proxy, deadline).await,
            None => match self.resolve(deadline).await {
                Ok(addresses) => self.connect(&addresses, deadline).await.map(drop),
                Err(error) => Err(error),
            },
        };
        match reached {
            Ok(()) => Error::Silent { manager: self.name(), after },
            Err(Error::Timeout { manager, .. }) => Error::Timeout { manager, after },
            Err(error) => error,
        }
    }

    async fn judge(&self, mut response: reqwest::Response) -> Result<(), Error> {
        let status = response.status();
        if status != reqwest::StatusCode::OK {
            return Err(Error::Status { manager: self.name(), status });
        }
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(None) => break,
                Ok(Some(chunk)) if body.len() + chunk.len() <= LONGEST_BODY => body.extend_from_slice(&chunk),
                Ok(Some(_)) => {
                    let came = format!("more than {} KiB", LONGEST_BODY / 1024);
                    return Err(Error::Body { manager: self.name(), came });
                }
                Err(source) => return Err(error::classify(&self.name(), source)),
            }
        }
        match came_instead(&body) {
            None => Ok(()),
            Some(came) => Err(Error::Body { manager: self.name(), came }),
        }
    }
}

fn clocks(response: &reqwest::Response) -> Option<Clocks> {
    let date = response.headers().get(reqwest::header::DATE)?.to_str().ok()?;
    Some(Clocks { manager: httpdate::parse_http_date(date).ok()?, ours: SystemTime::now() })
}

/// What came as the health check's body instead of the right one: `None` for a JSON object whose `ok` is
/// `true`; else what it is, as a short noun phrase.
pub fn came_instead(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    if text.is_empty() {
        return Some("nothing".into());
    }
    match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(value) => match value.get("ok") {
            Some(serde_json::Value::Bool(true)) => None,
            _ => Some(format!("{} instead of {{\"ok\": true}}", excerpt(text))),
        },
        Err(_) => {
            let start: String = text.chars().take(200).collect::<String>().to_ascii_lowercase();
            let page = start.starts_with('<') && (start.contains("<html") || start.contains("<!doctype html"));
            Some(if page {
                "a web page instead of JSON (a captive portal or a login page?)".into()
            } else {
                format!("{} instead of JSON", excerpt(text))
            })
        }
    }
}

fn excerpt(text: &str) -> String {
    let short: String = words::one_line(text).chars().take(60).collect();
    if text.chars().nth(60).is_some() { format!("`{short}…`") } else { format!("`{short}`") }
}

/// Between half of the span and the whole of it, so that a fleet does not knock in step.
fn jittered(span: Duration) -> Duration {
    span / 2 + (span / 2).mul_f64(random_fraction())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_json_with_ok_true_is_health() {
        let cases: [(&str, Option<&str>); 9] = [
            (r#"{"ok": true}"#, None),
            ("{\"ok\":true,\"more\":1}\n", None),
            (r#"{"ok": false}"#, Some(r#"`{"ok": false}` instead of {"ok": true}"#)),
            (r#"{"ok": "true"}"#, Some(r#"`{"ok": "true"}` instead of {"ok": true}"#)),
            ("true", Some("`true` instead of {\"ok\": true}")),
            ("", Some("nothing")),
            (" \n", Some("nothing")),
            (
                "<!DOCTYPE html><html>true</html>",
                Some("a web page instead of JSON (a captive portal or a login page?)"),
            ),
            ("it is\ttrue", Some("`it is true` instead of JSON")),
        ];
        for (body, expected) in cases {
            assert_eq!(came_instead(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn pauses_are_spread_but_never_longer_than_meant() {
        for _ in 0..100 {
            let pause = jittered(LONGEST_PAUSE);
            assert!(pause >= LONGEST_PAUSE / 2 && pause <= LONGEST_PAUSE);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_body_makes_the_judge_panic_or_talk_long(body in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Some(came) = came_instead(&body) {
                prop_assert!(came.chars().count() < 120 && !came.contains(|c: char| c.is_control()));
            }
        }
    }
}
