//! What this machine is called.

use crate::durable;
use crate::paths::Paths;

/// No hosts(5) is read beyond this, in bytes.
const LONGEST: u64 = 64 * 1024;

/// The machine's name (uname(2)); empty where it has none that is text.
pub fn hostname() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}

/// Its name with its domain, as hosts(5) has it; otherwise the name.
pub fn full_name(paths: &Paths) -> String {
    let hosts = durable::read(&paths.hosts(), LONGEST).unwrap_or_default();
    in_full(&hostname(), &String::from_utf8_lossy(&hosts)).to_owned()
}

fn in_full<'a>(hostname: &'a str, hosts: &'a str) -> &'a str {
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let mut names = lines.flat_map(|line| line.split_ascii_whitespace().skip(1));
    let is_full = |name: &&str| {
        !hostname.is_empty() && name.strip_prefix(hostname).is_some_and(|rest| rest.starts_with('.') && rest.len() > 1)
    };
    names.find(is_full).unwrap_or(hostname)
}

#[cfg(test)]
mod tests {
    use super::in_full;

    #[test]
    fn a_name_with_its_domain_is_taken_from_the_hosts() {
        assert_eq!(in_full("h", "127.0.0.1 localhost\n10.0.0.1 other.lan h.lan h # h.no\n"), "h.lan");
        assert_eq!(in_full("h", "10.0.0.1 h h. hh.lan"), "h");
        assert_eq!(in_full("", "10.0.0.1 .lan"), "");
    }
}
