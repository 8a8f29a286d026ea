//! The rules that hold for every token, whatever it is for: they are about what survives shells, Kasm's
//! `sed` and careless copying.

use super::MAX_JWT;
use super::placeholder::Placeholder;
use super::refusal::{Place, Refusal};

/// Checks everything but the alphabet, which depends on the form. Works in linear time.
pub(super) fn check(text: &str) -> Result<(), Refusal> {
    if text.trim().is_empty() {
        return Err(Refusal::Empty);
    }
    if text.len() > MAX_JWT {
        return Err(Refusal::TooLong { length: text.len(), most: MAX_JWT });
    }
    if text.contains(['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}']) {
        return Err(Refusal::NotOneLine);
    }
    if text.starts_with(char::is_whitespace) {
        return Err(Refusal::Blank(Place::Before));
    }
    if text.ends_with(char::is_whitespace) {
        return Err(Refusal::Blank(Place::Behind));
    }
    if text.starts_with(is_quote) || text.ends_with(is_quote) {
        return Err(Refusal::Quoted);
    }
    if let Some(placeholder) = Placeholder::find(text) {
        return Err(Refusal::Placeholder(placeholder));
    }
    if text.contains(char::is_whitespace) {
        return Err(Refusal::Blank(Place::Inside));
    }
    if text.starts_with('-') {
        return Err(Refusal::StartsWithDash);
    }
    Ok(())
}

/// Checks that every character survives Kasm's `sed` and shell words.
pub(super) fn characters(text: &str) -> Result<(), Refusal> {
    match text.chars().enumerate().find(|(_, character)| !is_token_character(*character)) {
        Some((index, character)) => Err(Refusal::Character { position: index + 1, class: class(character) }),
        None => Ok(()),
    }
}

fn is_token_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '~' | '-')
}

fn is_quote(character: char) -> bool {
    matches!(character, '"' | '\'' | '`' | '‘' | '’' | '“' | '”' | '„' | '«' | '»')
}

/// What a character is, said without showing it.
pub(super) fn class(character: char) -> &'static str {
    match character {
        '/' => "a slash",
        '\\' => "a backslash",
        '+' => "a plus sign",
        '=' => "an equals sign",
        '&' => "an ampersand",
        '%' => "a percent sign",
        '$' => "a dollar sign",
        '#' => "a number sign",
        '@' => "an at sign",
        ':' => "a colon",
        ';' => "a semicolon",
        ',' => "a comma",
        '*' => "an asterisk",
        '|' => "a vertical bar",
        '~' => "a tilde",
        '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' => "a bracket",
        quote if is_quote(quote) => "a quotation mark",
        '\u{feff}' => "a byte order mark",
        '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{ad}' => "an invisible character",
        blank if blank.is_whitespace() => "a blank",
        control if control.is_control() => "a control character",
        ascii if ascii.is_ascii() => "punctuation",
        letter if letter.is_alphabetic() => "a letter outside a-z",
        _ => "a character outside ASCII",
    }
}
