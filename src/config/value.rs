//! Values: from text to what it means, purely. Each error continues a sentence that begins with the
//! setting's name, and brings its remedy.

mod host;

pub use host::{address, endpoint, host_port, is_request_host, listen, port, word};

use super::catalog;
use super::error::{Error, quoted};
use super::layer::Origin;
use crate::intent::{Digest, MinisignKey};
use crate::net::Pin;
use crate::secret::Secret;
use crate::words;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Why a value cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Continues the sentence that begins with the setting's name.
    pub problem: String,
    /// The remedy.
    pub help: String,
}

impl Wrong {
    /// The error it is once it is known whose value this is.
    pub(super) fn at(self, key: &'static str, origin: &Origin) -> Error {
        let Wrong { problem, help } = self;
        Error::Value { key, origin: origin.clone(), problem, help }
    }
}

fn wrong<T>(problem: impl Into<String>, help: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { problem: problem.into(), help: help.into() })
}

/// One of a few words.
pub fn choice<T: Copy>(words: &[(&str, T)], text: &str) -> Result<T, Wrong> {
    match words.iter().find(|(word, _)| *word == text) {
        Some((_, meant)) => Ok(*meant),
        None => {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            wrong(format!("is {}", quoted(text)), format!("write {}", words::either(&words)))
        }
    }
}

/// A version of Kasm, with its build where one is given.
pub fn version(text: &str) -> Result<String, Wrong> {
    match catalog::split_version(text) {
        Some(_) => Ok(text.to_owned()),
        None => {
            wrong(format!("is {}, which is no version of Kasm", quoted(text)), "write three numbers such as 1.18.1")
        }
    }
}

/// A whole number within a range.
pub fn count(text: &str, range: RangeInclusive<u32>, help: &str) -> Result<u32, Wrong> {
    match text.parse() {
        Ok(count) if range.contains(&count) => Ok(count),
        _ => wrong(format!("is {}", quoted(text)), help),
    }
}

/// True or false.
pub fn boolean(text: &str) -> Result<bool, Wrong> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => wrong(format!("is {}", quoted(text)), "write true or false"),
    }
}

/// A span of time: a number of seconds, or numbers with the units `ms`, `s`, `m`, `h`. At most a day.
pub fn duration(text: &str) -> Result<Duration, Wrong> {
    match words::parse_span(text) {
        Some(span) => Ok(span),
        None => wrong(
            format!("is {}, which is no span of time up to a day", quoted(text)),
            "write a number with a unit: 90s, 2m, 1h30m",
        ),
    }
}

/// [`duration`], and no time at all is refused.
pub fn some_time(text: &str, refused_because: &str, such_as: &str) -> Result<Duration, Wrong> {
    match duration(text)? {
        Duration::ZERO => {
            wrong(format!("is 0, and {refused_because}"), format!("write a number with a unit, such as {such_as}"))
        }
        span => Ok(span),
    }
}

/// An amount of memory in MiB: a number, or a number with a binary unit. At most 4 TiB.
pub fn mebibytes(text: &str) -> Result<u64, Wrong> {
    let help = "write MiB as a number, or with a unit: 8192, 8192M, 8G";
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "m" | "mb" | "mib" => Some(1),
        "g" | "gb" | "gib" => Some(1024),
        "t" | "tb" | "tib" => Some(1024 * 1024),
        _ => None,
    };
    let amount = digits.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    match amount {
        None => wrong(format!("is {}, which is no amount of memory", quoted(text)), help),
        Some(amount) if amount > 4 * 1024 * 1024 => wrong(format!("is {}, more than 4 TiB", quoted(text)), help),
        Some(amount) => Ok(amount),
    }
}

/// How a release is verified.
pub fn digest(text: &str) -> Result<Digest, Wrong> {
    if text == "sidecar" {
        return Ok(Digest::Sidecar);
    }
    let help = "write the 64 digits that `kasm-bootstrap release digest FILE` prints, or sidecar";
    match text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(Digest::Pinned(text.to_ascii_lowercase())),
        false => wrong(format!("is {}, which is no SHA-256", quoted(text)), help),
    }
}

/// A minisign public key: itself, or the path of its file.
pub fn minisign_key(text: &str) -> Result<MinisignKey, Wrong> {
    if is_path(text) {
        return Ok(MinisignKey::File(text.into()));
    }
    match text.parse::<crate::release::signature::Key>() {
        Ok(_) => Ok(MinisignKey::Text(text.to_owned())),
        Err(_) => wrong(
            format!("is {}, which is no minisign public key", quoted(text)),
            "write the line of minisign.pub that begins with RW, or the whole path of that file",
        ),
    }
}

/// True if this is the path of a minisign key's file: a key begins with `RW`, and has no dot.
pub fn is_path(text: &str) -> bool {
    text.starts_with(['/', '.']) || text.ends_with(".pub")
}

/// The SHA-256 of a certificate or public key, in any spelling that [`Pin`] reads.
pub fn pin(text: &str) -> Result<Pin, Wrong> {
    text.parse().or_else(|_| {
        wrong(
            format!("is {}, which is no SHA-256", quoted(text)),
            "write the 64 digits that `openssl x509 -in CERT -noout -fingerprint -sha256` prints",
        )
    })
}

/// A URL a release can be fetched from.
pub fn url(text: &str) -> Result<String, Wrong> {
    let help = "write https://HOST/PATH or file:///PATH";
    let Ok(url) = reqwest::Url::parse(text) else {
        // The address is not repeated where it may hold a password.
        let shown = if text.contains('@') { "a text with an `@`".into() } else { quoted(text) };
        return wrong(format!("holds {shown}, which is no URL"), help);
    };
    let sound = match url.scheme() {
        "http" | "https" => url.has_host(),
        "file" => url.path().len() > 1 && url.host_str().is_none_or(|host| host == "localhost"),
        _ => return wrong(format!("holds a URL with the scheme {}", quoted(url.scheme())), help),
    };
    match sound {
        true => Ok(text.to_owned()),
        false => wrong("holds a URL that leads nowhere", help),
    }
}

/// Where a webhook is. Nothing of it is repeated, because its path may be its key. `verifies`: whoever answers
/// there has to prove who it is.
pub fn webhook(text: &str, verifies: bool) -> Result<Secret, Wrong> {
    let help = "write https://HOST/PATH";
    let url = match reqwest::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() && text.len() <= 2048 => url,
        _ => return wrong("is no URL that begins with https:// or http://", help),
    };
    let is_secret = !url.username().is_empty() || url.password().is_some();
    if is_secret && (url.scheme() == "http" || !verifies) {
        return wrong(
            "holds a user and a password, and they would go to whoever answers",
            "use https, and network.ca_certs or network.tls_pin in place of network.insecure",
        );
    }
    Ok(Secret::new(text))
}
