//! Numbers as people read and write them.

use std::borrow::Borrow;
use std::time::Duration;

/// The columns of a console that nobody has set up: what is told of a node goes into lines of at most so many.
pub const CONSOLE: usize = 80;

/// `0.3 s`, `12.4 s`, `2 min 05 s`, `1 h 02 min`.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", span.as_secs_f64().min(59.9)),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Whole milliseconds, as records have them.
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The wall clock as it is written everywhere, RFC 3339 in UTC with milliseconds: `2026-01-02T03:04:05.678Z`. It may
/// jump, so nothing is computed with it.
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// What is waited for, and who holds it up: `the package manager (pid 812, apt-get)`.
pub fn held_up(what: &str, holder: Option<&str>) -> String {
    match holder {
        Some(holder) => format!("{what} ({holder})"),
        None => what.to_owned(),
    }
}

/// `a`, `a and b`, `a, b and c`.
pub fn listed<S: Borrow<str>>(names: &[S]) -> String {
    joined(names, "and")
}

/// `a`, `a or b`, `a, b or c`.
pub fn either<S: Borrow<str>>(names: &[S]) -> String {
    joined(names, "or")
}

fn joined<S: Borrow<str>>(names: &[S], word: &str) -> String {
    match names {
        [first @ .., last] if !first.is_empty() => format!("{} {word} {}", first.join(", "), last.borrow()),
        _ => names.concat(),
    }
}

/// True if one of these words is in the text: one pass over it, however many they are.
pub fn holds_any(text: &str, words: &[&str]) -> bool {
    let mut begins = [false; 256];
    for byte in words.iter().filter_map(|word| word.as_bytes().first()) {
        begins[usize::from(*byte)] = true;
    }
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if begins[usize::from(*first)] && words.iter().any(|word| rest.starts_with(word.as_bytes())) {
            return true;
        }
        rest = after;
    }
    false
}

/// The longest span anybody may ask for.
pub const LONGEST_SPAN: Duration = Duration::from_secs(24 * 3600);

/// A span as people write it: `90s`, `5m`, `1h30m`, `PT5M`; a bare number counts seconds. `None` for what
/// is no span, is negative or is longer than a day.
pub fn parse_span(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text.len() > 64 {
        return None;
    }
    let span = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => Duration::try_from(text.parse::<jiff::SignedDuration>().ok()?).ok()?,
    };
    (span <= LONGEST_SPAN).then_some(span)
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of hexadecimal digits, upper or lower case. `None` for what is no row of pairs of them.
pub fn parse_hex(digits: &str) -> Option<Vec<u8>> {
    let value = |digit: &u8| char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(value(high)? << 4 | value(low)?)).collect()
}

/// `812 B`, `1.5 MB`, `4.2 GB`: decimal units, as mirrors and disks are sold.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// One line of text with no control characters, so that a hostile value cannot move a cursor, forge a
/// line, colour a log or turn the direction of reading.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if is_unsafe(c) { ' ' } else { c }).collect()
}

/// The same for a text of several lines.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if is_unsafe(c) && c != '\n' { ' ' } else { c }).collect()
}

/// Lines of at most so many characters, broken at blanks. A longer word stands alone.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in one_line(text).split(' ').filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The text behind `front`, in lines of at most so many characters with it; what is broken hangs below its beginning.
pub fn hanging(front: &str, text: &str, width: usize) -> Vec<String> {
    let indent = front.chars().count();
    let lines = wrap(text, width.saturating_sub(indent)).into_iter().enumerate();
    lines.map(|(at, line)| if at == 0 { format!("{front}{line}") } else { format!("{:indent$}{line}", "") }).collect()
}

/// Control characters, line and paragraph separators, and what reorders text (UAX #9, 2).
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_read_well() {
        let spans = [0, 340, 59_990, 60_000, 125_000, 3_720_000].map(|ms| span(Duration::from_millis(ms)));
        assert_eq!(spans, ["0.0 s", "0.3 s", "59.9 s", "1 min 00 s", "2 min 05 s", "1 h 02 min"]);
        let sizes = [0, 999, 1000, 1_500_000, 999_960_000, u64::MAX].map(bytes);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "1.5 MB", "1.0 GB", "18446744.1 TB"]);
    }

    #[test]
    fn spans_are_read_as_people_write_them() {
        let seconds = |text: &str| parse_span(text).map(|span| span.as_secs());
        for (text, wanted) in
            [("30s", 30), ("5m", 300), ("1h30m", 5400), ("90 sec", 90), ("24h", 86_400), ("PT5M", 300), ("570", 570)]
        {
            assert_eq!(seconds(text), Some(wanted), "{text}");
        }
        for text in ["", "m", "-5m", "5m ago", "25h", "86401", "five minutes", "99999999999999999999h", "5m\0"] {
            assert_eq!(seconds(text), None, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_a_panic_and_none_leaves_the_bounds(text in ".{0,24}|[0-9]{1,20}(ns|ms|s|m|h|d)") {
            proptest::prop_assert!(parse_span(&text).is_none_or(|span| span <= LONGEST_SPAN));
        }
    }

    #[test]
    fn a_word_is_found_wherever_it_stands_and_no_part_of_one_is() {
        for text in ["b lock", "a lock", "in a lock", "é a lock"] {
            assert!(holds_any(text, &["x", "a lock", "b lock"]), "{text}");
        }
        for text in ["", "a loc", "A lock", "é"] {
            assert!(!holds_any(text, &["x", "a lock", "b lock"]), "{text}");
        }
        assert!(!holds_any("a lock", &[]));
    }

    #[test]
    fn names_are_listed_as_people_write_them() {
        let names = ["a", "b", "c"];
        assert_eq!([0, 1, 2, 3].map(|count| listed(&names[..count])), ["", "a", "a and b", "a, b and c"]);
        assert_eq!([0, 1, 2, 3].map(|count| either(&names[..count])), ["", "a", "a or b", "a, b or c"]);
    }

    #[test]
    fn a_line_cannot_break_out() {
        assert_eq!(one_line("a\x1b[31mb\nc"), "a [31mb c");
        assert_eq!(one_line("gpj.\u{202e}exe\u{9b}2J\u{2028}x"), "gpj. exe 2J x");
        assert_eq!(clean("a\n\tb\r\x07"), "a\n b  ");
    }
}
