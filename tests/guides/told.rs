//! What a page says is printed, beside what was.

/// Units behind a number that differs from run to run.
const UNITS: [&str; 12] = ["s", "ms", "min", "h", "B", "kB", "KB", "MB", "GB", "KiB", "MiB", "bytes"];

/// A line with blanks made even, and with what no two runs have in common masked: times, sizes, processes.
pub fn even(line: &str) -> String {
    // A bar of a timeline: where it begins and ends is time, too.
    let bar = |text: &str| text.strip_suffix('|').is_some_and(|bar| bar.chars().all(|c| " =.".contains(c)));
    let line = line.split_once('|').filter(|(_, rest)| bar(rest)).map_or(line, |(before, _)| before);
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let date = |word: &str| {
        let word = word.as_bytes();
        word.len() >= 10 && word[..4].iter().all(u8::is_ascii_digit) && word[4] == b'-' && word[7] == b'-'
    };
    let mut shown = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let bare = word.trim_matches(|c: char| "(),;:".contains(c));
        let next = words.get(at + 1).map_or("", |word| word.trim_matches(|c: char| "(),;:.".contains(c)));
        let after = at.checked_sub(1).and_then(|at| words.get(at)).copied().unwrap_or_default();
        let clock =
            bare.len() >= 5 && bare.as_bytes()[2] == b':' && bare.bytes().all(|b| b.is_ascii_digit() || b == b':');
        if (number(bare) && (UNITS.contains(&next) || after == "pid")) || date(bare) || clock {
            shown.push(word.replace(bare, "#"));
        } else {
            shown.push((*word).to_owned());
        }
    }
    shown.join(" ")
}

/// Whether this is what was printed. A line `…` stands for any lines, `…` in a line for any text.
pub fn is_told(page: &str, said: &str) -> bool {
    let lines = |text: &str| text.trim_end().lines().map(even).collect::<Vec<_>>();
    lines_match(&lines(page), &lines(said))
}

fn lines_match(page: &[String], said: &[String]) -> bool {
    match page.split_first() {
        None => said.is_empty(),
        Some((line, rest)) if line == "…" => (0..=said.len()).any(|skip| lines_match(rest, &said[skip..])),
        Some((line, rest)) => {
            said.split_first().is_some_and(|(first, others)| line_matches(line, first) && lines_match(rest, others))
        }
    }
}

fn line_matches(page: &str, said: &str) -> bool {
    let mut parts = page.split('…').map(str::trim);
    let Some(mut rest) = parts.next().and_then(|first| said.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn what_is_printed_is_compared_but_for_what_no_two_runs_share() {
    assert!(is_told("a  b 1.5 s\n…\nlast", "a b 22.0 s\nx\ny\nlast\n"));
    assert!(
        is_told("in 2 ms, but", "in 31 ms, but")
            && is_told("a … c", "a b b c")
            && is_told("at 2026-01-02 03:04 UTC", "at 2027-05-06 07:08 UTC")
    );
    for (page, said) in [("a", "b"), ("a", "a\nb"), ("a\n…\nb", "a\nc"), ("a … c", "a b d"), ("1.19.0 is", "1.18.0 is")]
    {
        assert!(!is_told(page, said), "{page} / {said}");
    }
}
