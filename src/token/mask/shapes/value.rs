//! Where the value of a name begins and ends: in YAML, JSON, TOML, INI files, environments, URLs and prose.

use super::super::{MASK, blanks, looks_random};
use super::names::{Name, Weight};

/// No quoted text that lost its end is followed further, in bytes.
const LONGEST: usize = 16 * 1024;
/// No list is followed further, in bytes.
const LONGEST_LIST: usize = 2 * 1024;

/// What is known of a value before it is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub name: &'a Name,
    pub weight: Weight,
    /// Behind a `=`, which prose does not have.
    pub assigned: bool,
}

/// The value, if it is to be hidden.
pub(super) fn behind(text: &str, at: usize, place: &Place<'_>) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let from = blanks(text, at);
    if let Some((start, end)) = quoted(text, from) {
        let end = match text.as_bytes().get(end) {
            Some(b'"' | b'\'' | b'\\') => joined(text, end, place.name.ends_at()),
            // The mark was lost with the end of its line.
            _ => end,
        };
        return is_worth(text.get(start..end)?).then_some((start, end));
    }
    let rest = &bytes[from..];
    let line = &text[from..from + position(rest, |byte| byte == b'\n')];
    match rest.first()? {
        b'\n' | b'\r' if place.name.leads && !place.assigned => return items(text, from, place.name.indent),
        b'|' | b'>' if place.name.leads && ends_line(rest) => return block(text, from, place.name.indent),
        b'[' => {
            if let Some(found) = list(text, from, place.name.ends_at()) {
                return found;
            }
        }
        // What is in it has names of its own.
        b'{' if is_map(line) => return None,
        _ => {}
    }
    let value = match literal(line).filter(|_| place.name.quoted) {
        Some(literal) => literal,
        None if place.name.leads && place.name.escaped => {
            &line[..line.find("\\n").into_iter().chain(line.find('"')).min().unwrap_or(line.len())]
        }
        None if place.name.leads => line,
        None => line.get(..position(line.as_bytes(), |byte| ends_word(byte, place)))?,
    };
    let value = value.trim_end();
    let surely = place.weight == Weight::Sure || place.assigned || place.name.leads || place.name.quoted;
    (is_worth(value) && (surely || looks_random(value))).then_some((from, from + value.len()))
}

/// What begins like a map of YAML's or JSON's, quoted in a text or not, or is all of one that goes on below.
fn is_map(line: &str) -> bool {
    let inner = line.trim_end().strip_prefix('{').unwrap_or_default();
    let key = inner.trim_start_matches([' ', '\\']);
    let behind_key = key.strip_prefix('"').and_then(|key| key.split_once('"')).map(|(_, rest)| rest.trim_start());
    matches!(inner, "" | "}") || inner.contains(": ") || behind_key.is_some_and(|rest| rest.starts_with(':'))
}

/// A number or a word of JSON's.
fn literal(line: &str) -> Option<&str> {
    let length = position(line.as_bytes(), |byte| !byte.is_ascii_alphanumeric() && !b"+-.".contains(&byte));
    let (literal, rest) = line.split_at(length);
    let known = ["null", "true", "false"].contains(&literal) || literal.parse::<f64>().is_ok();
    (known && matches!(rest.bytes().next(), None | Some(b',' | b'}' | b']' | b' ' | b'\r'))).then_some(literal)
}

/// Where a value ends whose quoted part, or list, ends here: shells join what is written together. What is text's own
/// structure (`"x","y"`, `"x"},{`, another option behind a comma), or mere punctuation, is not joined to it.
fn joined(text: &str, end: usize, separator: Option<u8>) -> usize {
    let bytes = &text.as_bytes()[end..];
    let word = &bytes[..position(bytes, |byte| byte.is_ascii_whitespace())];
    let marks = position(word, |byte| !b"\\\"'".contains(&byte));
    if separator.is_some() && separator == word.get(marks).copied() {
        return end;
    }
    let ends = position(&word[marks..], |byte| !b",;}])\\\"'".contains(&byte));
    let (closing, rest) = word[marks..].split_at(ends);
    // A comma, and behind it what only a next value begins with.
    let next = [b"{".as_slice(), b"["].iter().any(|begin| rest.starts_with(begin)) && closing.contains(&b',')
        || closing.windows(2).any(|pair| pair[0] == b',' && b"\"'\\".contains(&pair[1]));
    if next || !rest.iter().any(u8::is_ascii_alphanumeric) { end } else { end + word.len() }
}

/// False for words that say that there is no secret, or that it is hidden already.
fn is_worth(value: &str) -> bool {
    let bare = value.trim().trim_end_matches([',', ';', '}', ']', '"', '\'']).trim_end();
    !["", "null", "none", "None", "true", "false", "~", "{", "[secret", MASK].contains(&bare) && bare != "[masked"
}

fn position(bytes: &[u8], ends: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|byte| ends(*byte)).unwrap_or(bytes.len())
}

fn ends_word(byte: u8, place: &Place<'_>) -> bool {
    byte.is_ascii_whitespace() || b"\"'`\\".contains(&byte) || place.name.ends_at() == Some(byte)
}

/// A text in quotation marks, which may be escaped any number of times: what is between them.
fn quoted(text: &str, at: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let depth = bytes[at..].iter().take(16).take_while(|byte| **byte == b'\\').count();
    let mark = *bytes.get(at + depth).filter(|byte| matches!(byte, b'"' | b'\''))?;
    let start = at + depth + 1;
    let mut slashes = 0;
    let mut here = start;
    while here < bytes.len().min(start + LONGEST) {
        let byte = bytes[here];
        // '' is a quotation mark of YAML's.
        if byte == mark && mark == b'\'' && depth == 0 && bytes.get(here + 1) == Some(&mark) {
            here += 2;
            continue;
        }
        // A text within the text has more of them.
        if byte == mark && slashes <= depth {
            return Some((start, here - slashes));
        }
        if byte == b'\n' {
            return Some((start, here));
        }
        slashes = if byte == b'\\' { slashes + 1 } else { 0 };
        here += 1;
    }
    Some((start, text.floor_char_boundary(here)))
}

/// Behind `|` or `>`: a block of YAML's begins, and nothing else is on the line.
fn ends_line(rest: &[u8]) -> bool {
    let mark = rest.iter().skip(1).take_while(|byte| b"+-0123456789 \t\r".contains(byte)).count();
    matches!(rest.get(1 + mark), Some(b'\n') | None)
}

/// The lines below that are indented further.
fn block(text: &str, at: usize, indent: usize) -> Option<(usize, usize)> {
    below(text, at, |line| line.trim().is_empty() || blanks(line, 0) > indent)
}

/// The items of a list below: `- VALUE`.
fn items(text: &str, at: usize, indent: usize) -> Option<(usize, usize)> {
    below(text, at, |line| blanks(line, 0) >= indent && line.trim_start().starts_with("- "))
}

fn below(text: &str, at: usize, belongs: impl Fn(&str) -> bool) -> Option<(usize, usize)> {
    let start = at + text[at..].find('\n')? + 1;
    let lines = text[start..].split_inclusive('\n').take_while(|line| belongs(line));
    let length = text[start..start + lines.map(str::len).sum::<usize>()].trim_end().len();
    let from = blanks(text, start);
    (start + length > from).then_some((from, start + length))
}

/// `[VALUE, VALUE]`, up to its end; within `Some`, whether there is something to hide. `None`: it is no list.
fn list(text: &str, at: usize, separator: Option<u8>) -> Option<Option<(usize, usize)>> {
    if text[at..].starts_with(MASK) || text[at..].starts_with("[secret]") {
        return Some(None);
    }
    let end = at + text[at..text.floor_char_boundary(at + LONGEST_LIST)].find(']')?;
    let ends = joined(text, end + 1, separator) == end + 1;
    ends.then(|| is_worth(&text[at + 1..end]).then_some((at + 1, end)))
}
