//! Two clocks, the manager's and ours, read at the same moment.

use crate::token::in_words;
use jiff::{SignedDuration, Timestamp};
use std::time::{Duration, SystemTime};

/// What to do about a wrong clock.
pub const REMEDY: &str =
    "set this machine's clock: `timedatectl set-ntp true`, and on a virtual machine see to the host's clock too";

/// What two clocks say at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// The manager's, from its `Date` header.
    pub manager: SystemTime,
    /// This machine's.
    pub ours: SystemTime,
}

impl Clocks {
    /// How far the manager's clock is ahead of this machine's; nothing where one of them says a time beyond all
    /// calendars.
    pub fn ahead(&self) -> Option<SignedDuration> {
        let time = |time| Timestamp::try_from(time).ok();
        Some(time(self.manager)?.duration_since(time(self.ours)?))
    }

    /// They may be so far apart: as far as a token's claims may be.
    pub const LEEWAY: Duration = Duration::from_secs(60);

    /// How far this machine's clock is from the manager's, if further than [`Clocks::LEEWAY`], as words
    /// before a noun: `3 days behind`, `2 hours ahead of`.
    pub fn apart(&self) -> Option<String> {
        let (span, side) = match self.manager.duration_since(self.ours) {
            Ok(behind) => (behind, "behind"),
            Err(ahead) => (ahead.duration(), "ahead of"),
        };
        (span > Clocks::LEEWAY).then(|| format!("{} {side}", in_words(span)))
    }
}
