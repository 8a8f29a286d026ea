//! What a component itself says of its token: the lines of its log since it was restarted.

use super::error::Said;
use crate::kasm::docker;
use crate::kasm::refusal::is_refusal;
use crate::paths::Paths;
use crate::token::Masker;
use std::time::Duration;

/// So many lines of a log are looked at.
const LINES: u32 = 400;
/// A question that only explains is not waited for longer.
const QUICK: Duration = Duration::from_secs(1);
/// No more of a line is quoted, in characters.
const QUOTED: usize = 300;

/// A component's log, from a moment on.
pub(super) struct Log {
    container: &'static str,
    before: String,
}

impl Log {
    /// From now on.
    ///
    /// # Errors
    /// Docker does not answer, or there is no such container.
    pub(super) async fn from_now(paths: &Paths, container: &'static str) -> Result<Log, docker::Error> {
        let before = docker::logs(&paths.docker_socket(), container, LINES).await?;
        Ok(Log { container, before })
    }

    /// Its end as it is now; empty where Docker does not tell it.
    async fn now(&self, paths: &Paths) -> String {
        let socket = paths.docker_socket();
        let asked = tokio::time::timeout(QUICK, docker::logs(&socket, self.container, LINES)).await;
        asked.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// The last line in which the manager refuses the token, masked.
    pub(super) async fn refusal(&self, paths: &Paths, masker: &Masker) -> Option<Said> {
        self.last_line(paths, masker, is_refusal).await
    }

    /// The last thing it says at all, masked.
    pub(super) async fn last(&self, paths: &Paths, masker: &Masker) -> Option<Said> {
        self.last_line(paths, masker, |line| !docker::without_time(line).trim().is_empty()).await
    }

    async fn last_line(&self, paths: &Paths, masker: &Masker, counts: impl Fn(&str) -> bool) -> Option<Said> {
        let log = self.now(paths).await;
        let line = fresh(&self.before, &log).lines().rfind(|line| counts(line))?;
        Some(Said { container: self.container, words: docker::quoted(line, masker, QUOTED) })
    }
}

/// What was written between two looks at the end of one log.
fn fresh<'a>(before: &str, now: &'a str) -> &'a str {
    if let Some(rest) = now.strip_prefix(before) {
        return rest;
    }
    // More was written than is looked at: what follows the last line that was known.
    let last = before.trim_end().lines().next_back().filter(|line| !line.is_empty());
    match last.and_then(|last| now.rfind(last).map(|at| at + last.len())) {
        Some(at) => &now[at..],
        None => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_in_a_log_counts() {
        assert_eq!(fresh("a\nb\n", "a\nb\nc\n"), "c\n");
        assert_eq!(fresh("a\nb\n", "b\nc\n").trim(), "c");
        assert_eq!(fresh("", "c\n"), "c\n");
        assert_eq!(fresh("a\n", "z\n"), "z\n");
    }
}
