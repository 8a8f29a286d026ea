//! How a value is written so that it reads back exactly, for readers of YAML 1.1 and 1.2.

use super::New;
use saphyr_parser::{Event, ScalarStyle};
use zeroize::Zeroizing;

/// A value as it is written, and as it must be read. Keeps the quotes that were there where they can hold it.
pub(super) fn written<'a>(value: New<'_>, before: Option<ScalarStyle>) -> (Zeroizing<String>, Event<'a>) {
    let number;
    let (text, may_be_plain) = match value {
        New::Text(text) => (text.expose(), is_surely_text(text.expose())),
        New::Number(value) => {
            number = value.to_string();
            (number.as_str(), true)
        }
    };
    let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let style = match before {
        Some(ScalarStyle::SingleQuoted) if printable => ScalarStyle::SingleQuoted,
        Some(ScalarStyle::DoubleQuoted) => ScalarStyle::DoubleQuoted,
        _ if may_be_plain => ScalarStyle::Plain,
        _ if printable => ScalarStyle::SingleQuoted,
        _ => ScalarStyle::DoubleQuoted,
    };
    let written = match style {
        ScalarStyle::SingleQuoted => format!("'{}'", text.replace('\'', "''")),
        ScalarStyle::DoubleQuoted => in_double_quotes(text),
        _ => text.to_owned(),
    };
    (Zeroizing::new(written), Event::Scalar(text.to_owned().into(), style, 0, None))
}

/// True if no reader, of YAML 1.1 or 1.2, takes this for anything but text when it stands without quotes.
fn is_surely_text(text: &str) -> bool {
    // YAML 1.1's words for true, false and null (yaml.org/type/bool.html, null.html).
    let words = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"];
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        && !words.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// YAML 1.2.2, 7.3.1: every character that is not printable ASCII is escaped, so that no reader folds it.
fn in_double_quotes(text: &str) -> String {
    let mut written = String::with_capacity(text.len() + 2);
    written.push('"');
    for c in text.chars() {
        match (c, u32::from(c)) {
            ('"' | '\\', _) => written.extend(['\\', c]),
            (' '..='~', _) => written.push(c),
            (_, code @ ..=0xff) => written.push_str(&format!("\\x{code:02X}")),
            (_, code @ ..=0xffff) => written.push_str(&format!("\\u{code:04X}")),
            (_, code) => written.push_str(&format!("\\U{code:08X}")),
        }
    }
    written.push('"');
    written
}
