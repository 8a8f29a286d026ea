//! What is worth another try, and when.

use super::describe::{chain, io_causes};
use super::{RedirectRefused, ResolveError, proxy};
use crate::deadline::Deadline;
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::CertificateError;
use std::time::{Duration, SystemTime};

/// Whether a failure may pass by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It may: ask again, not before the time the server asked for.
    Again(Option<Duration>),
    /// It will not.
    No,
}

/// Classifies a failed request by its whole chain of causes.
pub fn of_error(error: &reqwest::Error) -> Retry {
    if error.is_builder() {
        return Retry::No;
    }
    for cause in chain(error) {
        if cause.is::<RedirectRefused>() {
            return Retry::No;
        }
        if let Some(unresolved) = cause.downcast_ref::<ResolveError>() {
            return if unresolved.may_pass() { Retry::Again(None) } else { Retry::No };
        }
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return of_tls(tls);
        }
    }
    if chain(error).any(|cause| cause.to_string() == proxy::AUTH_WORDS) {
        return Retry::No; // its answer will be the same
    }
    if io_causes(error).any(|io| io.kind() == std::io::ErrorKind::PermissionDenied) {
        return Retry::No; // a local firewall says so
    }
    Retry::Again(None)
}

/// True if a name server says that the host does not exist. That may pass at boot, and will not pass if
/// somebody mistyped it: whoever asks again should not do so for long.
pub fn is_unknown_name(error: &reqwest::Error) -> bool {
    chain(error).any(|cause| matches!(cause.downcast_ref(), Some(ResolveError::NoSuchName { .. })))
}

fn of_tls(error: &rustls::Error) -> Retry {
    match error {
        // At boot the clock may not be set yet; it will be.
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => Retry::Again(None),
        rustls::Error::InvalidCertificate(_)
        | rustls::Error::InvalidMessage(_)
        | rustls::Error::PeerIncompatible(_)
        | rustls::Error::AlertReceived(_) => Retry::No,
        _ => Retry::Again(None),
    }
}

/// Classifies an answer that is not the one asked for.
pub fn of_status(status: StatusCode, headers: &HeaderMap) -> Retry {
    match status.as_u16() {
        408 | 425 | 429 => Retry::Again(retry_after(headers, SystemTime::now())),
        501 | 505 => Retry::No,
        500.. => Retry::Again(retry_after(headers, SystemTime::now())),
        _ => Retry::No,
    }
}

/// `Retry-After` in both its forms (RFC 9110, 10.2.3). A moment is measured by the server's own clock where
/// its `Date` tells it, because ours may be wrong. A moment that has passed is no wait.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let moment = httpdate::parse_http_date(text).ok()?;
    let theirs = headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    let now = theirs.unwrap_or(now);
    Some(moment.duration_since(now).unwrap_or_default())
}

/// The pauses between tries: exponential from [`Backoff::FIRST`] to [`Backoff::LONGEST`], each drawn
/// at random below its ceiling, so that a fleet that boots at once does not ask at once.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    tries: u32,
    longest: Option<Duration>,
}

impl Backoff {
    /// No pause is shorter.
    pub const FIRST: Duration = Duration::from_millis(250);
    /// No pause is longer.
    pub const LONGEST: Duration = Duration::from_secs(15);

    /// Pauses of another length at most, for those who have the time.
    pub fn up_to(longest: Duration) -> Backoff {
        Backoff { tries: 0, longest: Some(longest) }
    }

    /// The next pause.
    pub fn next_delay(&mut self) -> Duration {
        self.tries = self.tries.saturating_add(1);
        let ceiling = Self::FIRST.saturating_mul(1 << self.tries.min(16)).min(self.longest.unwrap_or(Self::LONGEST));
        ceiling.mul_f64(random_fraction()).max(Self::FIRST)
    }

    /// The next pause, no shorter than what the server asked for, and ending at the deadline.
    pub fn next_within(&mut self, asked: Option<Duration>, deadline: Deadline) -> Duration {
        let asked = asked.map(|asked| spread(asked, deadline)).unwrap_or_default();
        self.next_delay().max(asked).min(deadline.remaining())
    }

    /// Things went well for a while: start from the beginning.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

/// The pause after a server was too busy for the `times`th time and named none: drawn at random below a ceiling that
/// begins high, because what it needs is that those it has turned away together come back one after the other.
pub fn after_busy(times: u32) -> Duration {
    let ceiling = Duration::from_secs(2).saturating_mul(1 << times.clamp(1, 8)).min(SPREAD);
    between(Backoff::FIRST, ceiling)
}

/// Any span between two, each as likely as the other.
fn between(least: Duration, most: Duration) -> Duration {
    least + most.saturating_sub(least).mul_f64(random_fraction())
}

/// Nobody waits longer than this beyond what a server asked for.
const SPREAD: Duration = Duration::from_secs(30);

/// What a server asked for in `Retry-After`, and up to as much again. It has told everybody the same, so everybody
/// would be back at the same moment, and sent away again; it asks for a wait of at least so long (RFC 9110, 10.2.3).
/// Of what is left after it until the deadline, at most half is waited beyond it.
pub fn spread(asked: Duration, deadline: Deadline) -> Duration {
    let left = deadline.remaining().saturating_sub(asked) / 2;
    asked + asked.min(SPREAD).min(left).mul_f64(random_fraction())
}

/// Between 0 and 1, without a generator of its own; 1 where the kernel has no randomness to give.
pub fn random_fraction() -> f64 {
    let mut bytes = [0; 4];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 1.0, // without randomness the longest pause is the safe one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_in_their_bounds() {
        let mut backoff = Backoff::default();
        for n in 1..40 {
            let delay = backoff.next_delay();
            let ceiling = Backoff::FIRST.saturating_mul(1 << n.min(16)).min(Backoff::LONGEST);
            assert!(delay >= Backoff::FIRST && delay <= ceiling, "{n}: {delay:?}");
        }
        let deadline = Deadline::after(Duration::from_millis(100));
        assert!(backoff.next_within(Some(Duration::from_secs(60)), deadline) <= Duration::from_millis(100));
    }

    #[test]
    fn those_who_were_sent_away_together_do_not_come_back_together() {
        let (asked, deadline) = (Duration::from_secs(10), Deadline::after(Duration::from_secs(600)));
        let waits: Vec<Duration> = (0..400).map(|_| spread(asked, deadline)).collect();
        assert!(waits.iter().all(|wait| (asked..=2 * asked).contains(wait)));
        // No second of the ten has more than twice its share of them.
        for second in 10..20 {
            let at = waits.iter().filter(|wait| wait.as_secs() == second).count();
            assert!(at <= 80, "{at} of 400 in second {second}");
        }
        assert!(
            spread(Duration::from_secs(3600), Deadline::after(Duration::from_secs(7200))) <= Duration::from_secs(3630)
        );
        // What is asked for may be all the time there is.
        assert_eq!(spread(asked, Deadline::after(Duration::from_secs(5))), asked);
        assert_eq!(spread(Duration::ZERO, deadline), Duration::ZERO);
        for times in 0..100 {
            assert!((Backoff::FIRST..=SPREAD).contains(&after_busy(times)), "{times}");
        }
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date() {
        let now = httpdate::parse_http_date("Wed, 21 Oct 2015 07:28:00 GMT").unwrap();
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read("Wed, 21 Oct 2015 07:28:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(read("Wed, 21 Oct 2015 07:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("soon"), None);
        assert_eq!(read("-1"), None);
    }

    #[test]
    fn a_moment_to_come_back_at_is_measured_by_the_clock_of_who_named_it() {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, "Wed, 21 Oct 2015 07:28:00 GMT".parse().unwrap());
        headers.insert(RETRY_AFTER, "Wed, 21 Oct 2015 07:28:30 GMT".parse().unwrap());
        for ours in ["Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 21 Oct 2050 07:28:00 GMT"] {
            let now = httpdate::parse_http_date(ours).unwrap();
            assert_eq!(retry_after(&headers, now), Some(Duration::from_secs(30)), "{ours}");
        }
    }

    #[test]
    fn a_status_that_may_pass_is_asked_again() {
        let headers = HeaderMap::new();
        for status in [408, 429, 500, 502, 503, 504, 520] {
            assert_eq!(of_status(StatusCode::from_u16(status).unwrap(), &headers), Retry::Again(None), "{status}");
        }
        for status in [304, 400, 401, 403, 404, 410, 501] {
            assert_eq!(of_status(StatusCode::from_u16(status).unwrap(), &headers), Retry::No, "{status}");
        }
    }
}
