//! Values that stand where a token should be: copied from an example, or left by a template that had
//! nothing to put there.
//!
//! A placeholder is shown in messages only if every word of it is a word of this file's list: a real
//! token in brackets must not be shown.

use std::fmt;

/// A placeholder that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholder {
    look: Look,
    /// Its text, if it is made of harmless words only.
    shown: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Square,
    Angle,
    Braces,
    Dollar,
    Percent,
    /// What a template writes for "no value".
    Nothing,
    /// What a screen shows instead of a secret.
    Masked,
    Words,
}

/// What templates and scripts write when they have nothing to write.
const NOTHING: [&str; 9] = ["none", "null", "nil", "false", "true", "undefined", "unset", "n/a", "nan"];

/// The words that names and placeholders of tokens are made of.
#[rustfmt::skip]
const WORDS: [&str; 74] = [
    "123", "1234", "12345", "123456", "access", "actual", "add", "admin", "agent", "api", "auth", "authentication",
    "change", "changeit", "changeme", "check", "checkin", "component", "copied", "default", "dummy", "enter",
    "example", "fake", "fill", "from", "generated", "goes", "guac", "here", "in", "insert", "is", "it", "jwt", "kasm",
    "key", "later", "manager", "me", "my", "name", "not", "of", "passwd", "password", "paste", "placeholder", "proxy",
    "put", "real", "redacted", "registration", "replace", "replaceme", "sample", "secret", "server", "set", "some",
    "string", "tbd", "test", "that", "the", "this", "to", "todo", "token", "ui", "value", "with", "workspaces", "your",
];

impl Placeholder {
    /// Looks for a placeholder in a text without line breaks. Linear in the text's length.
    pub(super) fn find(text: &str) -> Option<Placeholder> {
        let look = look(text)?;
        let harmless = text.len() <= 80 && (look == Look::Nothing || is_made_of_words(text));
        let shown = harmless.then(|| text.to_owned());
        Some(Placeholder { look, shown })
    }

    pub(super) fn remedy(&self) -> Option<&'static str> {
        match self.look {
            Look::Braces => Some(
                "a startup script that Kasm renders replaces variables in single braces; doubled braces stay as they \
                 are",
            ),
            Look::Dollar => {
                Some("make sure that the variable is set, and that the shell sees it outside single quotes")
            }
            Look::Masked => Some("copy the token itself, not what the screen shows in its place"),
            _ => None,
        }
    }
}

fn look(text: &str) -> Option<Look> {
    let lower = text.to_ascii_lowercase();
    if NOTHING.contains(&lower.as_str()) {
        return Some(Look::Nothing);
    }
    if text.chars().all(|character| matches!(character, '*' | '•' | '●' | '·' | '…')) {
        return Some(Look::Masked);
    }
    let encloses = |open: char, close: char| text.find(open).is_some_and(|at| text[at..].contains(close));
    if encloses('{', '}') {
        return Some(if text.contains("${") { Look::Dollar } else { Look::Braces });
    }
    if encloses('[', ']') {
        return Some(Look::Square);
    }
    if encloses('<', '>') {
        return Some(Look::Angle);
    }
    let names_variable = |(at, _): (usize, &str)| {
        text[at + 1..].starts_with(|next: char| next.is_ascii_alphabetic() || matches!(next, '_' | '(' | '{'))
    };
    if text.starts_with('$') || text.match_indices('$').any(names_variable) {
        return Some(Look::Dollar);
    }
    if text.len() > 2 && text.starts_with('%') && text.ends_with('%') {
        return Some(Look::Percent);
    }
    let yours = lower.strip_prefix("your").is_some_and(|rest| rest.starts_with(['_', '-', ' ', '.']));
    if yours || is_made_of_words(text) {
        return Some(Look::Words);
    }
    None
}

/// True if the letters and digits of a text, without what stands between them, are nothing but words of
/// the list. A random token is that by chance about never.
fn is_made_of_words(text: &str) -> bool {
    let separator = |character: char| matches!(character, '_' | '-' | '.' | ' ' | '/' | ':');
    let enclosing = |character: char| matches!(character, '[' | ']' | '<' | '>' | '{' | '}' | '(' | ')' | '$' | '%');
    let mut letters = Vec::with_capacity(text.len().min(128));
    for character in text.chars() {
        if character.is_ascii_alphanumeric() {
            letters.push(character.to_ascii_lowercase() as u8);
        } else if !separator(character) && !enclosing(character) {
            return false;
        }
        if letters.len() > 128 {
            return false;
        }
    }
    if letters.is_empty() {
        return false;
    }
    // reached[n]: the first n letters are words of the list.
    let mut reached = vec![false; letters.len() + 1];
    reached[0] = true;
    for start in 0..letters.len() {
        if reached[start] {
            for word in WORDS.iter().filter(|word| letters[start..].starts_with(word.as_bytes())) {
                reached[start + word.len()] = true;
            }
        }
    }
    reached[letters.len()]
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = match (&self.shown, self.look) {
            (Some(shown), Look::Nothing) => {
                return write!(f, "is the word {shown}, which templates and scripts leave where they have no value");
            }
            (_, Look::Masked) => return f.write_str("is a row of dots or asterisks, as a screen shows a hidden token"),
            (Some(shown), _) => shown,
            (None, look) => {
                return f.write_str(match look {
                    Look::Square => "holds a placeholder in square brackets",
                    Look::Angle => "holds a placeholder in angle brackets",
                    Look::Braces => "holds a template variable in braces that nothing replaced",
                    Look::Dollar => "holds a variable with a dollar sign that nothing replaced",
                    Look::Percent => "holds a variable between percent signs that nothing replaced",
                    Look::Nothing | Look::Masked | Look::Words => "is a placeholder that begins with YOUR",
                });
            }
        };
        match self.look {
            Look::Square | Look::Angle => write!(f, "is the placeholder {shown} out of an example, not a token"),
            Look::Braces | Look::Dollar | Look::Percent => {
                write!(f, "is the variable {shown}, which nothing replaced")
            }
            Look::Nothing | Look::Masked | Look::Words => write!(f, "is the placeholder {shown}, not a token"),
        }
    }
}
