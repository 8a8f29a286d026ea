//! Colour, and what else is for a terminal alone.

use crate::report::paint::{BAD, BOLD, DOUBTFUL, FAINT, GOOD, paint};
use std::io::IsTerminal;

/// What a line may begin with, and its colour.
const MARKS: [(&str, &str); 6] =
    [("error:", BAD), ("FAIL", BAD), ("warn", DOUBTFUL), ("warning:", DOUBTFUL), ("ok", GOOD), ("help:", BOLD)];
/// What may stand in a line's second column.
const STATES: [(&str, &str); 6] =
    [("done", GOOD), ("warned", DOUBTFUL), ("failed", BAD), ("FAILED", BAD), ("skipped", FAINT), ("stopped", FAINT)];

/// True for a terminal on which a cursor can be moved: one that says what it is, and not that it is dumb.
pub fn is_live(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// True where colour is wanted: on such terminals only, and never where `--no-color` or a NO_COLOR that is not empty
/// (no-color.org) speaks against it.
pub fn is_wanted(stream: &impl IsTerminal, no_color: bool) -> bool {
    is_live(stream) && !no_color && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The same text with colour where it is wanted: on the marks in front of its lines and on the states beside them.
pub fn painted(text: &str, stream: &impl IsTerminal, no_color: bool) -> String {
    if !is_wanted(stream, no_color) {
        return text.to_owned();
    }
    text.split('\n').map(painted_line).collect::<Vec<_>>().join("\n")
}

fn painted_line(line: &str) -> String {
    let code =
        |word: &str, known: &[(&str, &'static str)]| known.iter().find(|(one, _)| *one == word).map(|(_, code)| *code);
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    if let Some(code) = code(first, &MARKS) {
        return paint(code, first) + &line[first.len()..];
    }
    let second = rest.trim_start().split(' ').next().unwrap_or_default();
    let Some(code) = code(second, &STATES) else { return line.to_owned() };
    let at = line.len() - rest.trim_start().len();
    let end = at + second.len();
    // A column, not a word of a sentence; capitals are never one.
    if second != "FAILED" && !line[end..].starts_with("  ") {
        return line.to_owned();
    }
    format!("{}{}{}", &line[..at], paint(code, second), &line[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_columns_are_painted_and_sentences_are_not() {
        for (line, seen) in [
            ("error: it is so [a.b]", "\x1b[1;31merror:\x1b[0m it is so [a.b]"),
            ("ok    disk", "\x1b[32mok\x1b[0m    disk"),
            ("fetch      done         0.1 s  |= |", "fetch      \x1b[32mdone\x1b[0m         0.1 s  |= |"),
            ("install FAILED after 3.0 s", "install \x1b[1;31mFAILED\x1b[0m after 3.0 s"),
            ("it failed because of me", "it failed because of me"),
            ("", ""),
            ("   ", "   "),
            ("okay", "okay"),
        ] {
            assert_eq!(painted_line(line), seen);
        }
    }
}
