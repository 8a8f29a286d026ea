//! Telling one event, once: signed, to one receiver, and what comes of it.

use super::spool::Kind;
use crate::intent::{Reporting, WebhookIntent};
use crate::net;
use crate::net::retry::{self, Retry};
use crate::paths::Paths;
use crate::secret::Secret;
use crate::words;
use ring::hmac;
use std::time::Duration;

/// The header with an event's identifier: by it a receiver drops what it has already.
pub const ID: &str = "kasm-bootstrap-id";
/// The header with the time and the signature: `t=SECONDS,v1=HEX` (docs/webhook.md).
pub const SIGNATURE: &str = "kasm-bootstrap-signature";
/// How long a whole answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest wait that a receiver may ask for: it may be mistaken.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// What came of telling it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Told,
    /// Not now: why, and how long the receiver wants to be left alone.
    Later(String, Option<Duration>),
    /// Not until somebody changes something: why.
    Stuck(String),
    /// The receiver does not want this one: why.
    Refused(String),
}

/// How a receiver is reached.
#[derive(Debug, Clone)]
pub struct Receiver {
    paths: Paths,
    url: Secret,
    secret: Option<Secret>,
    network: net::Options,
}

impl Receiver {
    /// The receiver of this webhook.
    pub fn new(paths: &Paths, webhook: &WebhookIntent, reporting: &Reporting) -> Receiver {
        let (url, secret) = (webhook.url.clone(), webhook.secret.clone());
        Receiver { paths: paths.clone(), url, secret, network: reporting.network.clone() }
    }

    /// Who it is, for messages: scheme, host and port.
    pub fn name(&self) -> String {
        net::origin(self.url.expose())
    }

    /// The client to tell it with. It knows name servers and authorities as they were when it was made.
    ///
    /// # Errors
    /// An authority's file cannot be used.
    pub fn client(&self) -> Result<reqwest::Client, net::Error> {
        net::client_of_one_answer(&self.paths, &self.network)
    }

    /// Tells it. No redirect is followed: what is signed for one receiver is not told to another.
    pub async fn tell(&self, client: reqwest::Client, id: &str, kind: Kind, body: Vec<u8>) -> Outcome {
        let mut request = client.post(self.url.expose()).timeout(ANSWER).header(ID, id);
        request = request.header(reqwest::header::CONTENT_TYPE, kind.content_type());
        if let Some(secret) = &self.secret {
            let now = jiff::Timestamp::now().as_second();
            request = request.header(SIGNATURE, sign(secret, now, &body));
        }
        match request.body(body).send().await {
            Ok(response) => judge(response.status(), response.headers()),
            // The error's own text names the URL; this one does not.
            Err(error) => match retry::of_error(&error) {
                Retry::Again(_) => Outcome::Later(net::describe(&error), None),
                Retry::No => Outcome::Stuck(net::describe(&error)),
            },
        }
    }
}

fn judge(status: reqwest::StatusCode, headers: &reqwest::header::HeaderMap) -> Outcome {
    if status.is_success() {
        return Outcome::Told;
    }
    if status.is_redirection() {
        let to = headers.get(reqwest::header::LOCATION).and_then(|to| to.to_str().ok()).map(net::origin);
        let to = to.filter(|to| !to.is_empty()).unwrap_or_else(|| "elsewhere".into());
        return Outcome::Refused(format!("it redirects to {to}, and no redirect is followed"));
    }
    let words = format!("status {}", status.as_u16());
    match retry::of_status(status, headers) {
        Retry::Again(asked) => Outcome::Later(words, asked.map(|asked| asked.min(LONGEST_WAIT))),
        // It is the receiver that is broken, not the event.
        Retry::No if status.is_server_error() => Outcome::Later(words, None),
        Retry::No => Outcome::Refused(words),
    }
}

/// The time and the signature of a body: HMAC-SHA256 (RFC 2104) over the seconds, a dot and the body.
pub fn sign(secret: &Secret, seconds: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{seconds}.").as_bytes());
    context.update(body);
    format!("t={seconds},v1={}", words::hex(context.sign().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reqwest::StatusCode;
    use reqwest::header::HeaderMap;

    #[test]
    fn a_signature_is_what_another_program_makes_of_it() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef
        let signed = sign(&Secret::new("0123456789abcdef"), 1_700_000_000, b"{\"a\":1}");
        assert_eq!(signed, "t=1700000000,v1=9eb18f493f8ec135d9eb2dad817c369bb4e9cbfa818657897a7437c1cd8c3a23");
    }

    #[test]
    fn what_a_receiver_refuses_is_not_told_again_and_what_it_cannot_take_now_is() {
        let judge = |status: u16, headers: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, value.parse().unwrap());
            }
            super::judge(StatusCode::from_u16(status).unwrap(), &map)
        };
        assert_eq!(judge(204, &[]), Outcome::Told);
        for status in [400, 401, 403, 404, 410, 413] {
            assert_eq!(judge(status, &[]), Outcome::Refused(format!("status {status}")));
        }
        for status in [408, 429, 500, 501, 502, 503] {
            assert_eq!(judge(status, &[]), Outcome::Later(format!("status {status}"), None));
        }
        assert_eq!(
            judge(429, &[("retry-after", "7")]),
            Outcome::Later("status 429".into(), Some(Duration::from_secs(7)))
        );
        let long = judge(503, &[("retry-after", "4294967295")]);
        assert_eq!(long, Outcome::Later("status 503".into(), Some(LONGEST_WAIT)));
        let Outcome::Refused(words) = judge(302, &[("location", "https://u:p@other/KEY?x=1")]) else { panic!() };
        assert_eq!(words, "it redirects to https://other, and no redirect is followed");
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic_or_wait_for_ever(status in 100u16..1000, asked in "\\PC{0,40}") {
            let mut headers = HeaderMap::new();
            if let Ok(value) = asked.parse() {
                headers.insert(reqwest::header::RETRY_AFTER, value);
            }
            if let Outcome::Later(_, Some(wait)) = judge(StatusCode::from_u16(status).unwrap(), &headers) {
                prop_assert!(wait <= LONGEST_WAIT);
            }
        }
    }
}
