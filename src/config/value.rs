//! Values: from text to what it means, purely. Each error continues a sentence that begins with the
//! setting's name, and brings its remedy.

use super::error::quoted;
use crate::intent::{AddressChoice, CloudAddress, Digest, HostPort, MinisignKey};
use crate::kasm::command_line::SUBSTITUTED;
use crate::net::Pin;
use crate::secret::Secret;
use crate::words;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Why a value cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Continues the sentence that begins with the setting's name.
    pub problem: String,
    /// The remedy.
    pub help: String,
}

fn wrong<T>(problem: impl Into<String>, help: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { problem: problem.into(), help: help.into() })
}

/// A value for Kasm's command line, which pastes it into `sed s/…/…/` and into shell words.
pub fn word(text: &str) -> Result<String, Wrong> {
    if text.starts_with('-') {
        return wrong(
            format!("is {}, which Kasm's installer takes for an option", quoted(text)),
            "let it begin with another character",
        );
    }
    if text.len() > 255 {
        return wrong("is longer than 255 bytes", "check that this is the value you meant");
    }
    let breaks = |c: char| c.is_whitespace() || c.is_control() || "/&\\'\"`$;|<>*?(){}[]!#".contains(c);
    if let Some(bad) = text.chars().find(|c| breaks(*c)) {
        return wrong(
            format!(
                "is {}: the character {} does not survive Kasm's installer",
                quoted(text),
                quoted(&bad.to_string())
            ),
            "use letters, digits, `.`, `_` and `-`",
        );
    }
    if let Some(substituted) = SUBSTITUTED.iter().find(|word| text.contains(*word)) {
        return wrong(
            format!("is {}: Kasm's installer replaces the word {substituted} in it", quoted(text)),
            "choose a name without that word",
        );
    }
    Ok(text.to_owned())
}

/// A DNS name or an address, without a port; an IPv6 address with or without brackets.
fn host(text: &str) -> Result<String, Wrong> {
    if text.is_empty() {
        return wrong("names no host", "write host, or host:port");
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare.parse::<Ipv6Addr>().is_ok() {
        return Ok(bare.to_owned());
    }
    if bare.contains('%') && bare.contains(':') {
        return wrong(
            format!("is {}: an address with a scope means something on one machine only", quoted(text)),
            "use a global address or a DNS name",
        );
    }
    let text = word(text)?;
    if text.parse::<Ipv4Addr>().is_ok() {
        return Ok(text);
    }
    let name = text.strip_suffix('.').unwrap_or(&text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return wrong(
            format!("is {}, neither a DNS name nor an address", quoted(&text)),
            "write a name such as kasm.example.com, or an address",
        );
    }
    // Resolvers take a name that ends in a number for a broken address.
    if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        return wrong(
            format!("is {}, which is no valid IPv4 address", quoted(&text)),
            "correct the address: four numbers from 0 to 255",
        );
    }
    Ok(text)
}

/// A host, and a port where one is given; an IPv6 address with a port stands in brackets.
pub fn host_port(text: &str) -> Result<HostPort, Wrong> {
    // Not quoted: there may be a password before it.
    if text.contains('@') {
        return wrong("holds an `@`", "write only the host, without a user: kasm.example.com");
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let only = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let scheme = quoted(scheme);
        return wrong(
            format!("is {}, a URL", quoted(text)),
            format!("write only the host, without {scheme} and path: {only}"),
        );
    }
    if let Some((only, _)) = text.split_once('/') {
        return wrong(format!("is {}, with a path", quoted(text)), format!("write only the host: {only}"));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok(HostPort { host: text.to_owned(), port: None });
    }
    let (name, digits) = match text.rsplit_once(':') {
        // The last colon of `[::1]` is inside of the brackets.
        Some((_, rest)) if rest.ends_with(']') => (text, None),
        Some((name, digits)) => (name, Some(digits)),
        None => (text, None),
    };
    if digits.is_some() && name.contains(':') && !name.ends_with(']') {
        return wrong(
            format!("is {}, no valid IPv6 address", quoted(text)),
            "correct the address; with a port it stands in brackets: [2001:db8::1]:443",
        );
    }
    let port = digits.map(port).transpose().map_err(|wrong| Wrong {
        problem: format!("is {}, and the port {}", quoted(text), wrong.problem),
        help: "write host, or host:port".into(),
    })?;
    Ok(HostPort { host: host(name)?, port })
}

/// This node's own address.
pub fn address(text: &str) -> Result<AddressChoice, Wrong> {
    if text == "auto" {
        return Ok(AddressChoice::Auto);
    }
    if let Some(name) = text.strip_prefix("interface:") {
        // IFNAMSIZ is 16 with the closing NUL (netdevice(7)).
        let sound = (1..=15).contains(&name.len())
            && name.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '/' && c != ':');
        return match sound {
            true => Ok(AddressChoice::Interface(name.to_owned())),
            false => wrong(
                format!("is {}, which names no network interface", quoted(text)),
                "write interface:NAME as `ip link` shows it, such as interface:enp1s0",
            ),
        };
    }
    if let Some(method) = CloudAddress::parse(text) {
        return Ok(AddressChoice::Cloud(method));
    }
    if let Some(wrong) = nearly_a_method(text) {
        return Err(wrong);
    }
    let given = host_port(text)?;
    match given.port {
        Some(_) => wrong(
            format!("is {}, with a port", quoted(text)),
            format!("write {} here, and the port into proxy_port", given.host),
        ),
        None if given.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) => wrong(
            format!("is {}, which is no address of one machine", quoted(text)),
            "write auto, interface:NAME, or an address the manager can reach",
        ),
        None => Ok(AddressChoice::Given(given.host)),
    }
}

/// A misspelt method would pass for a host's name.
fn nearly_a_method(text: &str) -> Option<Wrong> {
    if text.len() > 30 || text.contains(['.', ':']) {
        return None;
    }
    let lower = text.to_ascii_lowercase().replace('_', "-");
    let words = CloudAddress::ALL.map(|(word, _)| word);
    let known = |cloud: &str| words.iter().any(|word| word.split('-').next() == Some(cloud));
    let near = words.iter().map(|word| (word, strsim::damerau_levenshtein(&lower, word)));
    let help = match (lower.rsplit_once('-'), near.min_by_key(|(_, distance)| *distance)) {
        (_, Some((word, 0))) => format!("did you mean {word}?"),
        (Some((cloud, "private" | "public")), _) if known(cloud) => format!("the methods are {}", words.join(", ")),
        (_, Some((word, 1..=2))) => format!("did you mean {word}?"),
        _ => return None,
    };
    Some(Wrong { problem: format!("is {}, which is no method to find an address", quoted(text)), help })
}

/// Where a service answers: plain HTTP and an address, so that no name server has a say in it.
pub fn endpoint(text: &str) -> Result<String, Wrong> {
    let host = text.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest)).unwrap_or_default();
    let v6 = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let sound = host.parse::<SocketAddr>().is_ok()
        || host.parse::<Ipv4Addr>().is_ok()
        || v6.is_some_and(|v6| v6.parse::<Ipv6Addr>().is_ok());
    match sound {
        true => Ok(format!("http://{host}")),
        false => wrong(
            format!("is {}, and not http:// and an address", quoted(text)),
            "write http://169.254.169.254, or on IPv6 http://[fd00:ec2::254]",
        ),
    }
}

/// Where to listen: an address of this machine and a port.
pub fn listen(text: &str) -> Result<SocketAddr, Wrong> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 => Ok(address),
        _ => wrong(
            format!("is {}, and not an address with a port", quoted(text)),
            "write 127.0.0.1:9107, on all addresses [::]:9107",
        ),
    }
}

/// A TCP port.
pub fn port(text: &str) -> Result<u16, Wrong> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 && !text.starts_with('+') => Ok(port),
        _ => wrong(format!("is {}, which is no port", quoted(text)), "write a number from 1 to 65535"),
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

/// Kasm's default for a zone's upstream auth address (docs/kasm-facts.md, 7).
pub fn is_request_host(text: &str) -> bool {
    text.contains("$request_host$") || text.trim() == "$request_host"
}
