//! How a component's log tells that the manager has refused its token.

use super::docker;

/// Words that a manager's refusal has (docs/kasm-facts.md, 5): all of a row's in one line, in lower case.
const REFUSALS: [&[&str]; 8] = [
    &["token", "expired"],
    &["token", "invalid"],
    &["token", "not enough segments"],
    &["token", "signature"],
    &["decoding token"],
    &["jwt", "expired"],
    &["token", "unauthorized"],
    &["registration", "denied"],
];

/// True for a line of a log, with Docker's time in front of it or without, that tells of a refusal.
pub fn is_refusal(line: &str) -> bool {
    let line = docker::without_time(line).to_lowercase();
    // What was sent is no answer.
    !line.starts_with("post ") && REFUSALS.iter().any(|words| words.iter().all(|word| line.contains(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_known_by_the_managers_words_and_other_lines_are_none() {
        for line in [
            "ERROR: Error while decoding token: Not enough segments",
            "2026-01-02T03:04:05.678Z The JWT token has expired.",
            "Expired JWT utilized on register_component",
            "Token has been expired beyond the configured refresh period",
            "ERROR: Invalid manager token",
        ] {
            assert!(is_refusal(line), "{line}");
        }
        for line in [
            "",
            "POST https://m/api/admin/register_component {\"token\": \"expired\"}",
            "register_component: done",
            "curl: (7) Failed to connect",
            "Connection expired, reconnecting",
        ] {
            assert!(!is_refusal(line), "{line}");
        }
    }
}
