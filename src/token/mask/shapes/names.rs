//! Names that announce a secret, and those that only sound like it.

use super::NAME_LIMIT;

/// How sure it is that a name's value is a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Prose has such words, too: `token: expired`.
    Likely,
    /// Whatever stands behind it.
    Sure,
}

/// A name in front of a `:` or `=`.
#[derive(Debug, Clone, Copy)]
pub struct Name {
    start: usize,
    end: usize,
    /// In quotation marks, so that its value is as well.
    pub(super) quoted: bool,
    /// It begins its line.
    pub(super) leads: bool,
    /// Its line is one within a string: its line feeds are written out.
    pub(super) escaped: bool,
    /// So far its line is indented, in bytes.
    pub(super) indent: usize,
    /// What stands in front of it, where that separates it from others like it: `,`, `&`, `;`.
    pub(super) separator: Option<u8>,
}

/// True for the name of a variable, setting or field whose value is not for everybody's eyes: `DB_PASSWORD`,
/// `aws.secretAccessKey`, `registration_token`; not for `token_file` or `public_key`.
pub fn is_secret(name: &str) -> bool {
    weight(name).is_some()
}

impl Name {
    /// The name that ends in front of a place.
    pub(super) fn before(text: &str, at: usize) -> Option<Name> {
        let bytes = text.as_bytes();
        let back = |at: usize, is: &dyn Fn(u8) -> bool, most: usize| {
            bytes[..at].iter().rev().take(most).take_while(|byte| is(**byte)).count()
        };
        let mut end = at - back(at, &|byte| byte == b' ' || byte == b'\t', 16);
        // Go's and make's `:=`.
        if bytes[at] == b'=' && end == at && end > 0 && bytes[end - 1] == b':' {
            end -= 1;
            end -= back(end, &|byte| byte == b' ' || byte == b'\t', 16);
        }
        let quoted = end > 0 && matches!(bytes[end - 1], b'"' | b'\'');
        if quoted {
            end -= 1;
            end -= back(end, &|byte| byte == b'\\', 16);
        }
        let length = back(end, &|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte), NAME_LIMIT);
        let mut start = end - length;
        // `\n` in a string: the letter belongs to the line feed.
        let escaped = !quoted && length > 1 && start > 0 && bytes[start - 1] == b'\\' && b"nrt".contains(&bytes[start]);
        if escaped {
            start += 1;
        }
        if start == end {
            return None;
        }
        let mut front = start;
        if quoted {
            front -= back(front, &|byte| matches!(byte, b'"' | b'\'' | b'\\'), 16);
        }
        let length = bytes[..front].iter().rev().take(128).take_while(|byte| **byte != b'\n').count();
        let line = &bytes[front - length..front];
        let mut words = line.split(|byte| byte.is_ascii_whitespace() || b"-+#\"'".contains(byte));
        let leads = length < 128
            && words
                .all(|word| matches!(word, b"" | b"export" | b"declare" | b"x" | b"set" | b"env" | b"Environment="));
        Some(Name {
            start,
            end,
            quoted,
            leads: leads || escaped,
            escaped,
            indent: line.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == b'-').count(),
            separator: front.checked_sub(1).map(|at| bytes[at]).filter(|byte| b",;&?|".contains(byte)),
        })
    }

    /// What ends a value here and begins the next name; in an URL, what began the first one does not.
    pub(super) fn ends_at(&self) -> Option<u8> {
        match self.separator {
            Some(b'?') => Some(b'&'),
            other => other,
        }
    }

    /// How much it announces; `None`: nothing.
    pub(super) fn weight(&self, text: &str) -> Option<Weight> {
        let name = text.get(self.start..self.end)?;
        // Shared access signatures of Azure have this word, and signals are called so elsewhere.
        if name.eq_ignore_ascii_case("sig") {
            return matches!(self.separator, Some(b'&' | b'?')).then_some(Weight::Sure);
        }
        weight(name)
    }
}

/// How much a name announces; `None`: nothing.
pub(super) fn weight(name: &str) -> Option<Weight> {
    const SURE: [&str; 6] = ["password", "passwd", "passphrase", "secret", "apikey", "privatekey"];
    #[rustfmt::skip]
    const KEYS: [&str; 10] = [
        "api", "access", "secret", "private", "signing", "encryption", "master", "account", "shared", "storage",
    ];
    #[rustfmt::skip]
    const LIKELY: [&str; 14] = [
        "token", "tokens", "key", "auth", "pass", "pwd", "jwt", "cookie", "otp", "signature", "credential",
        "credentials", "psk", "hmac",
    ];
    // What is about a secret and is none.
    #[rustfmt::skip]
    const ABOUT: [&str; 38] = [
        "file", "files", "path", "dir", "format", "policy", "name", "length", "min", "max", "expires", "expiry",
        "expiration", "url", "uri", "endpoint", "type", "kind", "count", "age", "ttl", "timeout", "required", "enabled",
        "method", "lifetime", "algorithm", "alg", "days", "hint", "prompt", "changed", "state", "status", "version",
        "mode", "valid", "wait",
    ];
    if ["pwd", "oldpwd"].iter().any(|one| name.eq_ignore_ascii_case(one)) {
        return None;
    }
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut was_lower = false;
    for c in name.chars() {
        let ends = !c.is_ascii_alphanumeric() || (was_lower && c.is_ascii_uppercase());
        if ends && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
        }
        if c.is_ascii_alphanumeric() {
            part.push(c.to_ascii_lowercase());
        }
        was_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
    }
    parts.push(part);
    let mut parts: Vec<&str> = parts.iter().map(|part| part.trim_end_matches(|c: char| c.is_ascii_digit())).collect();
    parts.retain(|part| !part.is_empty());
    let (last, before) = parts.split_last()?;
    if ABOUT.contains(last) || (parts.contains(&"public") && *last == "key") {
        return None;
    }
    let whole: String = parts.concat();
    let pair = || *last != "id" && parts.windows(2).any(|pair| pair[1] == "key" && KEYS.contains(&pair[0]));
    if SURE.iter().any(|word| whole.contains(word)) || pair() {
        return Some(Weight::Sure);
    }
    let joined = last.ends_with("token") || (last.ends_with("pass") && !before.is_empty());
    (LIKELY.contains(last) || joined).then_some(Weight::Likely)
}
