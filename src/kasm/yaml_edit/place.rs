//! Where in the text something is written: on one line, and on a line of its own.

use super::{Node, Refusal};
use saphyr_parser::{Event, ScalarStyle};

/// Where a scalar is written, if it is on one line.
pub(super) fn own_range(text: &str, node: &Node<'_>) -> Result<(usize, usize), Refusal> {
    let Event::Scalar(value, style, ..) = &node.event else { return Err(Refusal::NotOne) };
    let raw = &text[node.from..node.to];
    let length = match style {
        ScalarStyle::Plain if raw == value.as_ref() => raw.len(),
        ScalarStyle::Plain if raw.contains(['\n', '\r']) => return Err(Refusal::SeveralLines),
        ScalarStyle::Plain => return Err(Refusal::NotClean),
        // The parser counts what is behind the quote to the span, to the end of the line.
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => quoted(raw)?,
        ScalarStyle::Literal | ScalarStyle::Folded => return Err(Refusal::SeveralLines),
    };
    Ok((node.from, node.from + length))
}

/// How long the quoted text is that this begins with, its quotes included (YAML 1.2.2, 7.3).
fn quoted(raw: &str) -> Result<usize, Refusal> {
    let bytes = raw.as_bytes();
    let quote = *bytes.first().filter(|first| matches!(first, b'"' | b'\'')).ok_or(Refusal::NotClean)?;
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'\n' | b'\r' => return Err(Refusal::SeveralLines),
            b'\\' if quote == b'"' => 2,
            b'\'' if quote == b'\'' && bytes.get(at + 1) == Some(&b'\'') => 2,
            byte if *byte == quote => return Ok(at + 1),
            _ => 1,
        };
    }
    Err(Refusal::NotClean)
}

/// A line, its end included.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub(super) from: usize,
    pub(super) to: usize,
}

/// The line that is this key's own: only blanks are before the key, and its value ends on it, at `written`.
pub(super) fn own_line(text: &str, key: &Node<'_>, written: usize) -> Option<Line> {
    let from = text[..key.from].rfind('\n').map_or(0, |at| at + 1);
    let indent = &text[from..key.from];
    if !indent.bytes().all(|byte| byte == b' ') || written < key.from || text[key.from..written].contains(['\n', '\r'])
    {
        return None;
    }
    let to = text[written..].find('\n').map_or(text.len(), |at| written + at + 1);
    // Old line ends: what follows them would be taken for the rest of this line.
    let line = &text[written..to];
    let rest = line.strip_suffix("\r\n").or(line.strip_suffix('\n')).unwrap_or(line);
    (!rest.contains('\r')).then_some(Line { from, to })
}

/// The line end that stands before `at`.
pub(super) fn line_end_of(text: &str, at: usize) -> &str {
    let before = &text[..at];
    match (before.ends_with("\r\n"), before.ends_with('\n')) {
        (true, _) => "\r\n",
        (_, true) => "\n",
        _ => "",
    }
}

/// The line end this file uses.
pub(super) fn line_end(text: &str) -> &str {
    let first = text.find('\n').map_or(0, |at| at + 1);
    match line_end_of(text, first) {
        "" => "\n",
        end => end,
    }
}
