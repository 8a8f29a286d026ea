//! Why a component could not register: whether the manager answers at all, and what the component itself
//! says of it.

use super::error::Words;
use crate::deadline::Deadline;
use crate::kasm::docker;
use crate::kasm::manager::Manager;
use crate::paths::Paths;
use crate::secret::Secret;
use crate::token::Masker;
use std::time::{Duration, Instant};

/// A component that registers at once needs no explanation.
const AFTER: Duration = Duration::from_secs(3);
/// Asking again sooner finds nothing new.
const AGAIN: Duration = Duration::from_secs(5);
/// What one question may take.
const QUICK: Duration = Duration::from_secs(2);
/// So many lines of a component's log are looked through.
const LINES: u32 = 200;
/// So much of a line is shown, in characters.
const SHOWN: usize = 300;

/// What is known of the reason, so far.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    since: Option<Instant>,
    asked: Option<Instant>,
    /// What the manager said last: nothing if it was not asked, else whether it is healthy, or why not.
    pub(super) manager: Option<Result<(), String>>,
    /// The component's own words, masked.
    pub(super) words: Option<Words>,
}

impl Evidence {
    /// Asks, if it is time to.
    pub(super) async fn gather(
        &mut self,
        paths: &Paths,
        manager: Option<&Manager>,
        container: &str,
        secrets: &[Secret],
        deadline: Deadline,
    ) {
        let since = *self.since.get_or_insert_with(Instant::now);
        // Not so late that the answer would come after the deadline.
        let longer = |span| self.asked.is_none_or(|asked| asked.elapsed() >= span);
        let is_last = (QUICK..AGAIN).contains(&deadline.remaining()) && longer(QUICK);
        let is_time = since.elapsed() >= AFTER && longer(AGAIN);
        if !is_last && !is_time {
            return;
        }
        self.asked = Some(Instant::now());
        let until = deadline.within(QUICK);
        if let Some(manager) = manager {
            self.manager = Some(manager.healthcheck(until).await.map(drop).map_err(|error| error.to_string()));
        }
        let socket = paths.docker_socket();
        let log = tokio::time::timeout_at(until.instant().into(), docker::logs(&socket, container, LINES)).await;
        if let Ok(Ok(log)) = log {
            self.words = telling(&log).map(|line| Words(docker::quoted(line, &Masker::new(secrets), SHOWN)));
        }
    }

    /// Registered now.
    pub(super) fn forget(&mut self) {
        *self = Evidence::default();
    }
}

/// The last line that tells of tokens or of registering, and of something that went wrong.
fn telling(log: &str) -> Option<&str> {
    const ABOUT: [&str; 4] = ["token", "jwt", "regist", "auth"];
    const WRONG: [&str; 10] =
        ["error", "fail", "expired", "invalid", "denied", "refused", "not enough", "unable", "cannot", "timed out"];
    log.lines().rev().find(|line| {
        let line = line.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
        has(&ABOUT) && has(&WRONG)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_telling_line_is_found() {
        let log = "2026-01-02T03:04:05.6Z registering component\n\
                   2026-01-02T03:04:06.6Z error_message: The JWT token has expired.\n\
                   2026-01-02T03:04:07.6Z retrying in 5 s\n";
        assert_eq!(telling(log), Some("2026-01-02T03:04:06.6Z error_message: The JWT token has expired."));
        assert_eq!(telling("registration refused"), Some("registration refused"));
        assert_eq!(telling("all is well\n"), None);
    }
}
