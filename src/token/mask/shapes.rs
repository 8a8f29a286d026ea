//! What has the look of a secret, or stands where one stands, whoever wrote it: private keys, credentials in URLs,
//! cloud keys, and the values of names such as `password`. Half a megabyte of somebody's log goes through here
//! before it leaves the machine, so it rather hides a word too many.

mod names;
mod value;

use super::is_word;
pub use names::{Name, is_secret};
use value::Place;

/// No private key is longer, in bytes, with what a log puts in front of each of its lines.
const KEY_LIMIT: usize = 16 * 1024;
/// No name of a setting, variable or flag is longer, in bytes.
const NAME_LIMIT: usize = 64;
/// No credentials in an address are longer, in bytes.
const CREDENTIALS_LIMIT: usize = 512;

/// Everything of the text that is hidden, in no order; spans may overlap.
pub(super) fn find(text: &str, spans: &mut Vec<(usize, usize)>) {
    private_keys(text, spans);
    in_urls(text, spans);
    before_hosts(text, spans);
    prefixed(text, spans);
    announced(text, spans);
    flags(text, spans);
}

/// The values of names that announce a secret, and nothing else: what a configuration file holds.
pub(super) fn announced_values(text: &str) -> Vec<&str> {
    let mut spans = Vec::new();
    announced(text, &mut spans);
    spans.into_iter().filter_map(|(start, end)| text.get(start..end)).collect()
}

/// Private keys in PEM's form (RFC 7468), also those that lost their beginning or their end, and those within a
/// string whose line feeds are written out.
fn private_keys(text: &str, spans: &mut Vec<(usize, usize)>) {
    const MARK: &str = "PRIVATE KEY";
    let mut open: Option<usize> = None;
    let mut done = 0;
    let mut from = 0;
    while let Some(found) = text[from..].find(MARK) {
        let at = from + found;
        from = at + MARK.len();
        let before = &text.as_bytes()[at.saturating_sub(40).max(done)..at];
        let says = |word: &[u8]| before.windows(word.len()).rposition(|window| window == word);
        let (begins, ends) = (says(b"BEGIN "), says(b"END "));
        if begins > ends {
            open.get_or_insert(from);
        } else if ends.is_some() {
            // Without a beginning, the front of the text was cut off within the key.
            let begin = open.take().unwrap_or(done).max(text.floor_char_boundary(at.saturating_sub(KEY_LIMIT)));
            spans.push((begin, at));
            done = from;
        }
        if let Some(begin) = open.filter(|begin| from - begin > KEY_LIMIT) {
            spans.push((begin, text.floor_char_boundary(begin + KEY_LIMIT)));
            open = None;
        }
    }
    if let Some(begin) = open {
        spans.push((begin, text.floor_char_boundary(begin + KEY_LIMIT)));
    }
}

/// `scheme://USER:PASSWORD@host`.
fn in_urls(text: &str, spans: &mut Vec<(usize, usize)>) {
    let mut from = 0;
    while let Some(found) = text[from..].find("://") {
        let start = from + found + 3;
        from = start;
        let rest = &text[start..text.floor_char_boundary(start + CREDENTIALS_LIMIT)];
        if !rest.contains('@') {
            continue;
        }
        let rest = rest.as_bytes();
        let ends = |byte: &u8| byte.is_ascii_whitespace() || b"\"'`<>\\".contains(byte);
        let word = &rest[..rest.iter().position(ends).unwrap_or(rest.len())];
        let authority = &word[..word.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(word.len())];
        let port = authority.iter().rposition(|byte| *byte == b':').map(|colon| &authority[colon + 1..]);
        let odd_port =
            authority.first() != Some(&b'[') && port.is_some_and(|port| !port.iter().all(u8::is_ascii_digit));
        let end = match authority.iter().rposition(|byte| *byte == b'@') {
            Some(end) => Some(end),
            // What nobody encoded is part of a password.
            None if odd_port || matches!(word.get(authority.len()), Some(b'#' | b'?')) => {
                word.iter().rposition(|byte| *byte == b'@')
            }
            None => None,
        };
        if let Some(end) = end.filter(|end| *end > 0) {
            spans.push((start, start + end));
        }
    }
}

/// `user:password@host` without a scheme, as proxies are given. An image with its digest is none.
fn before_hosts(text: &str, spans: &mut Vec<(usize, usize)>) {
    let bytes = text.as_bytes();
    let mut done = 0;
    for (at, _) in text.match_indices('@') {
        let host = &text[at + 1..];
        let is_host = host.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'[');
        if !is_host || host.starts_with("sha256:") || host.starts_with("sha512:") {
            continue;
        }
        let tail = &bytes[at.saturating_sub(256).max(done)..at];
        let ends = |byte: &u8| byte.is_ascii_whitespace() || b"\"'`<>(){}[]=,;/\\".contains(byte);
        let word = &tail[tail.iter().rposition(ends).map_or(0, |end| end + 1)..];
        let colon = word.iter().position(|byte| *byte == b':');
        if colon.is_some_and(|colon| colon > 0 && colon + 1 < word.len()) {
            spans.push((at - word.len(), at));
            done = at;
        }
    }
}

/// Keys that tell what they are by how they begin: AWS (IAM's "Unique identifiers"), GitHub, GitLab, Slack, Docker
/// Hub, Vault, in the forms that each one's documentation shows.
fn prefixed(text: &str, spans: &mut Vec<(usize, usize)>) {
    const PREFIXES: [&str; 16] = [
        "AKIA",
        "ASIA",
        "ABIA",
        "ACCA",
        "ghp_",
        "gho_",
        "ghs_",
        "ghu_",
        "github_pat_",
        "glpat-",
        "xoxb-",
        "xoxp-",
        "dckr_pat_",
        "hvs.",
        "sk_live_",
        "AGE-SECRET-KEY-",
    ];
    /// As many characters follow at least.
    const SHORTEST: usize = 16;
    let bytes = text.as_bytes();
    for prefix in PREFIXES {
        for (at, _) in text.match_indices(prefix) {
            let inside = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte);
            let length = bytes[at + prefix.len()..].iter().take_while(|byte| inside(byte)).count();
            let begins = at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
            if begins && length >= SHORTEST {
                spans.push((at, at + prefix.len() + length));
            }
        }
    }
}

/// `password: VALUE`, `"apiKey": "VALUE"`, `DB_PASSWORD=VALUE`, `?sig=VALUE`, `Cookie: VALUE`.
fn announced(text: &str, spans: &mut Vec<(usize, usize)>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let behind = match bytes[at] {
            b':' if bytes.get(at + 1) == Some(&b':') || text[at..].starts_with("://") => None,
            b':' if bytes.get(at + 1) == Some(&b'=') => None,
            b'=' if text[at..].starts_with("== ") => None,
            b'=' if bytes.get(at + 1) == Some(&b'>') => Some(at + 2),
            b':' | b'=' => Some(at + 1),
            b'%' if is_word(text, at, "%3d") => Some(at + 3),
            _ => None,
        };
        let span = behind.and_then(|behind| {
            let name = Name::before(text, at)?;
            let weight = name.weight(text)?;
            let place = Place { name: &name, weight, assigned: bytes[at] != b':' };
            value::behind(text, behind, &place)
        });
        match span {
            Some((start, end)) if start < end => {
                spans.push((start, end));
                at = end;
            }
            _ => at += 1,
        }
    }
}

/// `--password VALUE`, also as two elements of a JSON list; Kasm's own `-M` and `-k`, and curl's `-u`.
fn flags(text: &str, spans: &mut Vec<(usize, usize)>) {
    let bytes = text.as_bytes();
    for (at, _) in text.match_indices('-') {
        let begins = at == 0 || bytes[at - 1].is_ascii_whitespace() || b"\"'`,[".contains(&bytes[at - 1]);
        if !begins {
            continue;
        }
        let inside = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
        let length = bytes[at..].iter().take(NAME_LIMIT).take_while(|byte| inside(byte)).count();
        let flag = &text[at..at + length];
        let is_secret = match flag {
            "-M" | "-k" => follows(text, at, &["install.sh", "upgrade.sh", "kasm-bootstrap"]),
            "-u" | "--user" | "-U" | "--proxy-user" => follows(text, at, &["curl"]),
            long => long.starts_with("--") && names::weight(long).is_some(),
        };
        if !is_secret {
            continue;
        }
        let between = |byte: &u8| byte.is_ascii_whitespace() || b"\"',\\".contains(byte);
        let gap = bytes[at + length..].iter().take(NAME_LIMIT).take_while(|byte| between(byte)).count();
        let from = at + length + gap;
        let ends = |byte: &u8| byte.is_ascii_whitespace() || b"\"'`\\".contains(byte);
        let size = bytes[from..].iter().position(ends).unwrap_or(bytes.len() - from);
        let wanted = !flag.starts_with("-u") && flag != "--user" || text[from..from + size].contains(':');
        if gap > 0 && size > 0 && bytes[from] != b'-' && wanted {
            spans.push((from, from + size));
        }
    }
}

/// True if one of these words stands in front on the same line, not too far away.
fn follows(text: &str, at: usize, words: &[&str]) -> bool {
    let near = &text[text.floor_char_boundary(at.saturating_sub(512))..at];
    let line = &near[near.rfind('\n').map_or(0, |end| end + 1)..];
    words.iter().any(|word| line.contains(word))
}

#[cfg(test)]
mod tests;
