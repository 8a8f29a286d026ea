//! Names and addresses of machines, and the words of Kasm's command line.

use super::{Wrong, wrong};
use crate::config::error::quoted;
use crate::intent::{AddressChoice, CloudAddress, HostPort};
use crate::kasm::command_line::SUBSTITUTED;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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

/// Kasm's default for a zone's upstream auth address (docs/kasm-facts.md, 7).
pub fn is_request_host(text: &str) -> bool {
    text.contains("$request_host$") || text.trim() == "$request_host"
}
