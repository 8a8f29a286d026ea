//! Whose clock says what: an expired token and a wrong clock look alike and need different cures.

use super::jwt::Claims;
use super::{Context, Refusal};
use jiff::Timestamp;
use std::fmt;
use std::time::Duration;

/// The clock a token was judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judge {
    /// What it says.
    pub time: Timestamp,
    /// What this machine's clock says.
    pub ours: Timestamp,
    /// True if it is the manager's clock.
    pub is_manager: bool,
    /// True if it is no clock, but a moment somebody asked about.
    pub is_assumed: bool,
    /// How far the two may be apart.
    pub leeway: Duration,
}

impl Judge {
    fn new(context: &Context) -> Judge {
        Judge {
            time: context.manager_time.unwrap_or(context.now),
            ours: context.now,
            is_manager: context.manager_time.is_some(),
            is_assumed: context.is_assumed,
            leeway: context.leeway,
        }
    }

    /// What is wrong with this machine's clock, if anything is and if that can be known.
    fn difference(&self) -> Option<String> {
        let apart = self.time.duration_until(self.ours);
        if !self.is_manager || apart.unsigned_abs() <= self.leeway {
            return None;
        }
        let side = if apart.is_positive() { "ahead of" } else { "behind" };
        Some(format!("this machine's clock is {} {side} the manager's", in_words(apart.unsigned_abs())))
    }

    /// What to do about this machine's clock, if it may be wrong.
    pub(super) fn remedy(&self) -> Option<String> {
        match (self.is_manager, self.difference()) {
            (true, Some(_)) => Some("set this machine's clock".into()),
            (true, None) => None,
            (false, _) if self.is_assumed => None,
            (false, _) => Some(format!("if {} is not the right time, set this machine's clock", seconds(self.ours))),
        }
    }
}

impl fmt::Display for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_manager, self.difference()) {
            (false, _) if self.is_assumed => write!(f, ", as of {}", self.time),
            (false, _) => f.write_str(", by this machine's clock"),
            (true, None) => f.write_str(", by the manager's clock and by this machine's"),
            (true, Some(difference)) => write!(f, ", by the manager's clock; {difference}"),
        }
    }
}

/// Judges the claims about time; what is good but not quite is said in the warnings.
///
/// Where the manager's time is known it decides, because the manager is who will judge the token: a token
/// that only this machine's wrong clock calls expired is accepted, and the clock is named.
pub(super) fn judge(claims: &Claims, context: &Context) -> Result<Vec<String>, Refusal> {
    let judge = Judge::new(context);
    let leeway = jiff::SignedDuration::try_from(context.leeway).unwrap_or(jiff::SignedDuration::MAX);
    let ahead = |at: Timestamp| judge.time.duration_until(at) > leeway;
    if let Some(at) = claims.iat.filter(|at| ahead(*at)) {
        return Err(Refusal::IssuedInFuture { at, judge });
    }
    if let Some(at) = claims.nbf.filter(|at| ahead(*at)) {
        return Err(Refusal::Early { at, judge });
    }
    if let Some(at) = claims.exp.filter(|at| at.duration_until(judge.time) >= leeway) {
        return Err(Refusal::Expired { at, judge });
    }
    let mut warnings = Vec::new();
    if let Some(at) = claims.exp {
        let left = judge.time.duration_until(at);
        let needed = in_words(context.needed);
        if left.is_negative() {
            warnings.push(format!("the token expired {} ago; only the leeway keeps it", between(at, judge.time)));
        } else if left.unsigned_abs() < context.needed {
            let left = in_words(left.unsigned_abs());
            warnings.push(format!("the token expires in {left}, and the work ahead may take {needed}"));
        }
    }
    warnings.extend(judge.difference().map(|difference| format!("{difference}; the token is good by the manager's")));
    Ok(warnings)
}

/// The time from one moment to a later one, in words; zero if it is not later.
pub(super) fn between(from: Timestamp, to: Timestamp) -> String {
    let span = from.duration_until(to);
    in_words(if span.is_negative() { Duration::ZERO } else { span.unsigned_abs() })
}

fn seconds(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}

/// A span in words, as exact as a person wants it: the two largest units, `3 hours 12 minutes`.
pub fn in_words(span: Duration) -> String {
    const UNITS: [(u64, &str); 5] =
        [(365 * 86_400, "year"), (86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let total = span.as_secs();
    let word = |count: u64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    let Some(first) = UNITS.iter().position(|(size, _)| total >= *size) else { return word(0, "second") };
    let (size, unit) = UNITS[first];
    let mut words = word(total / size, unit);
    if let Some((next, name)) = UNITS.get(first + 1) {
        let rest = total % size / next;
        if rest > 0 {
            words.push(' ');
            words.push_str(&word(rest, name));
        }
    }
    words
}
