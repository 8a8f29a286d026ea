//! Takes secrets out of text that other programs wrote: the installer's output, logs, reports.
//!
//! Two nets: the secrets that are known, in the forms they travel in, and everything that has the look of
//! a token or stands where one stands. The first is exact; the second is a guess that rather hides a word
//! too many, but leaves messages such as `decoding token: Not enough segments` alone.

mod shapes;

use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
pub use shapes::is_secret as is_secret_name;
use std::borrow::Cow;
use std::fmt;
use zeroize::Zeroizing;

/// What stands where a secret stood.
pub const MASK: &str = "[masked]";
/// Secrets shorter than this, in bytes, are not looked for: hiding each `1` or `test` would shred the
/// log, and show the secret by what is missing. No token that passes [`super::check`] is that short.
pub const SHORTEST_MASKED: usize = 6;

/// Hides secrets. Works in time linear in the text, for a fixed set of secrets.
pub struct Masker {
    patterns: Vec<Pattern>,
    thorough: bool,
}

struct Pattern {
    text: Zeroizing<String>,
    /// Base64 shares bits with its neighbours, so all of the run around a hit goes.
    whole_run: bool,
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masker({} patterns)", self.patterns.len())
    }
}

impl Masker {
    /// A masker for these secrets, and for whatever looks like a token. Each secret is found as it is,
    /// percent-encoded, as a JSON string, and in base64 and base64url, there also within a longer text
    /// that was encoded.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Masker {
        let mut patterns = Vec::new();
        for secret in secrets {
            // A secret that is part of the mask itself could never be gone.
            if secret.expose().len() >= SHORTEST_MASKED && !MASK.contains(secret.expose()) {
                forms(secret.expose(), &mut patterns);
            }
        }
        patterns.sort_by(|a, b| b.text.len().cmp(&a.text.len()).then_with(|| a.text.cmp(&b.text)));
        patterns.dedup_by(|a, b| *a.text == *b.text);
        Masker { patterns, thorough: false }
    }

    /// The same, and it hides whatever else has the shape of a secret: private keys, credentials in URLs, cloud
    /// keys, the values of names such as `password`. For text that leaves the machine; give it whole.
    pub fn thorough(self) -> Masker {
        Masker { thorough: true, ..self }
    }

    /// The text without secrets; borrowed if there were none. Any text is taken; for a stream, give whole
    /// lines, since a secret that is cut in two is not found.
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut spans = Vec::new();
        for pattern in &self.patterns {
            // A run that is hidden already is not measured again, or many hits in one would cost its square.
            let mut covered = 0;
            for (start, hit) in text.match_indices(pattern.text.as_str()) {
                if start >= covered {
                    let span = (start, start + hit.len());
                    let span = if pattern.whole_run { base64_run(text, span) } else { span };
                    spans.push(span);
                    covered = span.1;
                }
            }
        }
        jwts(text, &mut spans);
        named(text, &mut spans);
        if self.thorough {
            shapes::find(text, &mut spans);
        }
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        // Whoever looks back a number of bytes may have stopped within a character.
        for (start, end) in &mut spans {
            (*start, *end) = (text.floor_char_boundary(*start), text.ceil_char_boundary(*end));
        }
        spans.sort_unstable();
        let mut masked = String::with_capacity(text.len());
        let mut done = 0;
        let mut open: Option<(usize, usize)> = None;
        for (start, end) in spans {
            match &mut open {
                // Spans that overlap are one; spans that only touch stay two secrets.
                Some((_, last)) if start < *last => *last = end.max(*last),
                _ => {
                    if let Some((from, to)) = open.replace((start, end)) {
                        masked.push_str(&text[done..from]);
                        masked.push_str(MASK);
                        done = to;
                    }
                }
            }
        }
        if let Some((from, to)) = open {
            masked.push_str(&text[done..from]);
            masked.push_str(MASK);
            done = to;
        }
        masked.push_str(&text[done..]);
        Cow::Owned(masked)
    }
}

/// What stands behind names that announce a secret in a configuration file. A value that is too short to be looked
/// for, or is a mere word such as `true`, is none.
pub fn announced(text: &str) -> Vec<Secret> {
    let values = shapes::announced_values(text).into_iter().map(str::trim);
    values
        .filter(|value| value.len() >= 12 || (value.len() >= SHORTEST_MASKED && looks_random(value)))
        .map(Secret::new)
        .collect()
}

/// All forms one secret is looked for in.
fn forms(secret: &str, patterns: &mut Vec<Pattern>) {
    let mut plain = |text: String| patterns.push(Pattern { text: Zeroizing::new(text), whole_run: false });
    plain(secret.to_owned());
    plain(percent_encoded(secret, b"0123456789ABCDEF"));
    plain(percent_encoded(secret, b"0123456789abcdef"));
    if let Ok(quoted) = serde_json::to_string(secret) {
        plain(quoted.trim_matches('"').to_owned());
    }
    for before in 0..3 {
        // Within a longer text the secret may begin at any of three places of a base64 group: what only
        // its own bytes decide is the same in all of them.
        let mut bytes = Zeroizing::new(vec![0; before]);
        bytes.extend_from_slice(secret.as_bytes());
        let first = (before * 8).div_ceil(6);
        let last = bytes.len() * 8 / 6;
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let encoded = Zeroizing::new(engine.encode(bytes.as_slice()));
            let core = encoded[first..last].to_owned();
            if core.len() >= SHORTEST_MASKED {
                patterns.push(Pattern { text: Zeroizing::new(core), whole_run: true });
            }
        }
    }
}

fn percent_encoded(secret: &str, digits: &[u8; 16]) -> String {
    let mut encoded = String::with_capacity(secret.len());
    for byte in secret.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(digits[usize::from(byte >> 4)]));
            encoded.push(char::from(digits[usize::from(byte & 15)]));
        }
    }
    encoded
}

fn base64_run(text: &str, (start, end): (usize, usize)) -> (usize, usize) {
    let belongs = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte);
    let bytes = text.as_bytes();
    let before = bytes[..start].iter().rev().take_while(|byte| belongs(byte)).count();
    let behind = bytes[end..].iter().take_while(|byte| belongs(byte)).count();
    (start - before, end + behind)
}

/// Everything with the shape of a JSON Web Token: `eyJ….….…`, the last part may be missing or empty.
fn jwts(text: &str, spans: &mut Vec<(usize, usize)>) {
    const SHORTEST_HEADER: usize = 12;
    let run = |from: usize| {
        let bytes = text.as_bytes().get(from..).unwrap_or_default();
        from + bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)).count()
    };
    let dot = |at: usize| text.as_bytes().get(at) == Some(&b'.');
    let mut from = 0;
    while let Some(found) = text[from..].find("eyJ") {
        let start = from + found;
        let header = run(start);
        // Whatever else begins in this run ends where it ends and is shorter: no need to look at it.
        from = header;
        if header - start < SHORTEST_HEADER || !dot(header) {
            continue;
        }
        let mut end = run(header + 1);
        if end - header < 3 {
            continue;
        }
        if dot(end) {
            end = run(end + 1);
        }
        spans.push((start, end));
        from = end;
    }
}

/// What stands behind a word that announces a secret.
fn named(text: &str, spans: &mut Vec<(usize, usize)>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let found = match bytes[at] | 0x20 {
            b't' if is_word(text, at, "token") => after_token(text, at),
            b'a' if is_word(text, at, "authorization") => after_authorization(text, at + "authorization".len()),
            b'b' if is_word(text, at, "bearer ") => {
                let value = value(text, at + "bearer ".len());
                looks_random(&text[value.0..value.1]).then_some(value)
            }
            _ => None,
        };
        match found {
            Some(span) if span.0 < span.1 => {
                spans.push(span);
                at = span.1;
            }
            _ => at += 1,
        }
    }
}

/// `token=VALUE`, `token: VALUE`, `"token": "VALUE"`, `--token VALUE`, `token as VALUE`.
fn after_token(text: &str, word: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let at = quote(text, word + "token".len());
    let blank = blanks(text, at);
    let announced = match bytes.get(blank) {
        Some(b'=') => Some((blank + 1, true)),
        Some(b':') => Some((blank + 1, false)),
        Some(b'%') if is_word(text, blank, "%3d") => Some((blank + 3, true)),
        Some(_) if blank > at && is_word(text, blank, "as ") => {
            Some((blank + 3, ends_with_word(&text[..word], "manager ")))
        }
        Some(_) if blank > at && is_flag(&text[..word]) => Some((blank, true)),
        _ => None,
    };
    let (from, surely) = announced?;
    let from = blanks(text, from);
    let inner = quote(text, from);
    let value = value(text, inner);
    (surely || inner > from || looks_random(&text[value.0..value.1])).then_some(value)
}

/// `Authorization: SCHEME VALUE`, or a value without a scheme.
fn after_authorization(text: &str, at: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let colon = blanks(text, quote(text, at));
    if !matches!(bytes.get(colon), Some(b':' | b'=')) {
        return None;
    }
    let scheme = value(text, quote(text, blanks(text, colon + 1)));
    let next = blanks(text, scheme.1);
    let is_scheme = ["bearer", "basic", "token", "digest", "negotiate"]
        .iter()
        .any(|name| text[scheme.0..scheme.1].eq_ignore_ascii_case(name));
    if is_scheme && next > scheme.1 { Some(value(text, next)) } else { Some(scheme) }
}

/// A value: all up to a blank, a quote or what separates values.
fn value(text: &str, from: usize) -> (usize, usize) {
    let bytes = text.as_bytes().get(from..).unwrap_or_default();
    let ends = |byte: &u8| byte.is_ascii_whitespace() || b"\"'`,;&\\)}".contains(byte);
    let length = bytes.iter().position(ends).unwrap_or(bytes.len());
    (from.min(text.len()), from.min(text.len()) + length)
}

/// True for what is hardly a word of a message: digits or capitals within, or very long.
fn looks_random(value: &str) -> bool {
    // What is hidden already says nothing about the rest; else masking twice would hide more.
    let value = value.replace(MASK, "");
    let bytes = value.as_bytes();
    let digit = bytes.iter().any(u8::is_ascii_digit);
    let mixed = bytes.iter().any(u8::is_ascii_lowercase) && bytes.iter().skip(1).any(u8::is_ascii_uppercase);
    bytes.len() >= 24 || (bytes.len() >= SHORTEST_MASKED && (digit || mixed))
}

fn blanks(text: &str, from: usize) -> usize {
    let bytes = text.as_bytes().get(from..).unwrap_or_default();
    from + bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

/// Behind a quotation mark, which may be escaped; where there is none, the same place.
fn quote(text: &str, at: usize) -> usize {
    match text.as_bytes().get(at..).unwrap_or_default() {
        [b'\\', b'"' | b'\'', ..] => at + 2,
        [b'"' | b'\'', ..] => at + 1,
        _ => at,
    }
}

fn is_word(text: &str, at: usize, word: &str) -> bool {
    text.as_bytes().get(at..at + word.len()).is_some_and(|bytes| bytes.eq_ignore_ascii_case(word.as_bytes()))
}

fn ends_with_word(text: &str, word: &str) -> bool {
    text.len() >= word.len() && is_word(text, text.len() - word.len(), word)
}

/// True if the text ends within a flag: `--`, or `--registration-`.
fn is_flag(text: &str) -> bool {
    // No flag of Kasm's is longer; the bound keeps the whole linear.
    let tail = &text.as_bytes()[text.len().saturating_sub(32)..];
    let word = tail.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').count();
    tail[tail.len() - word..].windows(2).any(|pair| pair == b"--")
}

#[cfg(test)]
mod tests;
