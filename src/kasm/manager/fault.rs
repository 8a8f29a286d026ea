//! What can be wrong with a certificate, in words.

use super::Error;
use super::clock::Clocks;
use crate::net::tls::PinMismatch;
use rustls::pki_types::UnixTime;
use std::time::SystemTime;

const CLOCK_AND_RENEW: &str = "set this machine's clock, and renew the manager's certificate";

/// What is wrong with a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A verb phrase: `has expired`.
    pub why: String,
    /// What to do.
    pub remedy: &'static str,
    /// True where time alone may mend it.
    pub early: bool,
    /// The bound of its validity that it is beyond, where that is what is wrong.
    bound: Option<Bound>,
}

/// When a certificate is valid, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    From(UnixTime),
    Until(UnixTime),
}

impl Fault {
    /// True if it is about time, so that a wrong clock may be all there is to it.
    pub(super) fn is_about_time(&self) -> bool {
        self.bound.is_some()
    }

    /// What is wrong by two clocks instead of one: with the certificate, or with this machine's clock. The
    /// manager's clock may have come over an unverified connection: it decides about words, never about trust.
    pub(super) fn by(self, clocks: &Clocks, manager: &str) -> Error {
        let manager = manager.to_owned();
        let Some(bound) = self.bound else { return Error::Untrusted { manager, fault: self } };
        let theirs = clocks.manager.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let good = match bound {
            Bound::From(from) => theirs.as_secs() >= from.as_secs(),
            Bound::Until(until) => theirs.as_secs() <= until.as_secs(),
        };
        let early = matches!(bound, Bound::From(_));
        let (bare, remedy) = match bound {
            Bound::From(from) => (format!("is valid from {} on", day(from)), "renew the manager's certificate"),
            Bound::Until(until) => (format!("expired at {}", day(until)), "renew the manager's certificate"),
        };
        match clocks.apart() {
            Some(apart) if good => {
                let looks = if early { "is not valid yet" } else { "has expired" };
                Error::Clock { manager, apart, looks }
            }
            Some(apart) => {
                let why = format!("{bare}, also by the manager's clock, and this machine's clock is {apart} that one");
                Error::Untrusted { manager, fault: Fault { why, remedy: CLOCK_AND_RENEW, early, ..self } }
            }
            None => {
                let why = format!("{bare}, by the manager's clock and by this machine's");
                Error::Untrusted { manager, fault: Fault { why, remedy, early, ..self } }
            }
        }
    }

    pub(super) fn of(error: &rustls::CertificateError) -> Fault {
        use rustls::CertificateError as C;
        let issuer = "give the authority that issued it to --ca-cert, or the certificate's SHA-256 to --tls-pin";
        let name =
            "give the manager by a name its certificate is for with -m, or the certificate's SHA-256 to --tls-pin";
        let clock = "compare `date` with the real time; if the clock is right, renew the manager's certificate";
        let fault = |why: &str, remedy| Fault { why: why.to_owned(), remedy, early: false, bound: None };
        let timed = |why: String, bound| {
            let early = matches!(bound, Bound::From(_));
            Fault { why, remedy: clock, early, bound: Some(bound) }
        };
        match error {
            C::UnknownIssuer => fault("is self-signed or its issuer is unknown", issuer),
            C::BadSignature => fault("is not signed by the authority it names", issuer),
            C::Other(other) if other.0.is::<PinMismatch>() => {
                let text = other.0.to_string();
                let remedy = "make sure that this is the manager that is meant, then give the SHA-256 of its \
                              certificate to --tls-pin";
                fault(text.trim_start_matches("its certificate "), remedy)
            }
            // What OpenSSL makes by default, and Kasm's installer with it: a certificate that calls itself
            // an authority, used by the server.
            C::Other(other) if format!("{:?}", other.0).contains("CaUsedAsEndEntity") => {
                fault("is self-signed", issuer)
            }
            C::NotValidForName => fault("is for another name", name),
            C::NotValidForNameContext { presented, .. } if presented.is_empty() => fault("names no host", name),
            C::NotValidForNameContext { presented, .. } => {
                let names: Vec<&str> = presented.iter().take(4).map(|presented| bare(presented)).collect();
                fault(&format!("is for another name ({})", names.join(", ")), name)
            }
            C::Expired => fault("has expired, or this machine's clock is wrong", clock),
            C::ExpiredContext { time, not_after } => timed(
                format!("expired at {}, and this machine's clock says {}", day(*not_after), day(*time)),
                Bound::Until(*not_after),
            ),
            C::NotValidYet => {
                Fault { early: true, ..fault("is not valid yet, or this machine's clock is wrong", clock) }
            }
            C::NotValidYetContext { time, not_before } => timed(
                format!("is valid from {} on, but this machine's clock says {}", day(*not_before), day(*time)),
                Bound::From(*not_before),
            ),
            other => fault(&format!("is refused: {other}"), issuer),
        }
    }
}

/// The name in rustls' way of writing one: `DnsName("a.example")`, `IpAddress(10.0.0.1)`.
fn bare(presented: &str) -> &str {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(presented);
    inner.trim_matches('"')
}

fn day(time: UnixTime) -> String {
    let moment = i64::try_from(time.as_secs()).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    moment.map_or_else(|| "an unknown time".into(), |moment| moment.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

#[cfg(test)]
#[path = "fault_tests.rs"]
mod tests;
