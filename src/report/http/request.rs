//! The head of a request, read as far as it matters here (RFC 9112). Requests have no body here, and each connection
//! is for one of them: so what else may stand in a head needs no understanding.

use std::net::IpAddr;

/// So many headers may stand in it.
const HEADERS: usize = 64;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Only the head of the answer is wanted.
    pub head_only: bool,
    /// The path.
    pub path: &'a str,
    /// What stands behind its question mark.
    pub query: &'a str,
    /// The header `Host`: nothing in a request of HTTP/1.0 without it.
    pub host: Option<&'a str>,
    /// The header `Accept`; empty where it is not there or no text.
    pub accept: &'a str,
}

/// Why a request is refused: an HTTP status and words.
pub type Refusal = (u16, &'static str);

/// How long the head is, in bytes, if it is whole. What was looked at before is `seen` bytes long.
pub fn whole(bytes: &[u8], seen: usize) -> Option<usize> {
    let from = seen.saturating_sub(3);
    let rest = bytes.get(from..)?;
    (0..rest.len()).find_map(|at| {
        let end = rest.get(at..)?;
        let length = if end.starts_with(b"\n\r\n") { 3 } else { 2 };
        (length == 3 || end.starts_with(b"\n\n")).then_some(from + at + length)
    })
}

/// A whole head.
pub fn parse(head: &[u8]) -> Result<Asked<'_>, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err((431, "there are too many headers")),
        Err(httparse::Error::Version) => return Err((505, "this speaks HTTP/1.1")),
        Ok(httparse::Status::Partial) | Err(_) => return Err((400, "this is no HTTP request")),
    }
    let head_only = match request.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Err((405, "this only tells: GET and HEAD")),
    };
    let named = |name: &'static str| {
        let headers = request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        headers.map(|header| header.value)
    };
    // RFC 9112, 3.2: a request of HTTP/1.1 names its host, once.
    if named("host").count() > 1 || (request.version == Some(1) && named("host").next().is_none()) {
        return Err((400, "there must be one Host header"));
    }
    let text = |value| std::str::from_utf8(value).unwrap_or_default();
    let (host, accept) = (named("host").next().map(text), named("accept").next().map(text).unwrap_or_default());
    let (path, query) = target(request.path.unwrap_or_default());
    Ok(Asked { head_only, path, query, host, accept })
}

/// True if this `Host` (RFC 9110, 7.2) is an address, `localhost`, or a name of this machine. Any other name may belong to
/// somebody who lets it lead here, so that a page of his in a browser reads what only this machine's network may (DNS
/// rebinding).
pub fn is_ours(host: &str, names: impl FnOnce() -> [String; 2]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    address.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || (!name.is_empty() && names().iter().any(|own| name.eq_ignore_ascii_case(own)))
}

/// Path and query of a target in its usual form, or in the absolute one (RFC 9112, 3.2.2).
fn target(target: &str) -> (&str, &str) {
    let target = match target.split_once("://") {
        Some((scheme, rest)) if ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) => {
            rest.find(['/', '?']).and_then(|at| rest.get(at..)).unwrap_or("/")
        }
        _ => target,
    };
    target.split_once('?').unwrap_or((target, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked(text: &str) -> Result<Asked<'_>, u16> {
        parse(text.as_bytes()).map_err(|(status, _)| status)
    }

    #[test]
    fn a_request_is_understood_in_all_its_forms() {
        let host = Some("x");
        let plain = Asked { head_only: false, path: "/healthz", query: "verbose", host, accept: "text/html" };
        assert_eq!(asked("GET /healthz?verbose HTTP/1.1\r\nhost: x\r\nAccept: text/html\r\n\r\n"), Ok(plain));
        let absolute = Asked { head_only: true, accept: "", ..plain };
        assert_eq!(asked("HEAD http://x:80/healthz?verbose HTTP/1.1\r\nHost: x\r\n\r\n"), Ok(absolute));
        let root = Asked { head_only: false, path: "/", query: "", host: None, accept: "" };
        assert_eq!(asked("GET http://x HTTP/1.0\n\n"), Ok(root));
        assert_eq!(asked("GET /?a?b HTTP/1.0\r\n\r\n"), Ok(Asked { query: "a?b", ..root }));
    }

    #[test]
    fn what_is_no_request_of_ours_is_refused_by_its_own_status() {
        for (text, status) in [
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n", 405),
            ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 405),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
            ("GET /\r\n\r\n", 400),
            ("\u{16}\u{3}\u{1}\n\n", 400),
            ("PRI * HTTP/2.0\r\n\r\n", 505),
            ("GET / HTTP/1.1\r\nHost: x\r\n", 400),
        ] {
            assert_eq!(asked(text), Err(status), "{text:?}");
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS + 1));
        assert_eq!(asked(&many), Err(431));
    }

    #[test]
    fn only_addresses_and_names_of_this_machine_are_hosts_of_ours() {
        let is_ours = |host: &str| is_ours(host, || ["node-1".into(), "node-1.lan".into()]);
        for host in [
            "10.0.0.4",
            "10.0.0.4:9107",
            "[::1]:9107",
            "[::1]",
            "localhost",
            "LOCALHOST:9107",
            "Node-1:9107",
            "node-1.lan.",
        ] {
            assert!(is_ours(host), "{host}");
        }
        for host in
            ["", ":9107", "evil.example", "10.0.0.4.evil.example:9107", "node-1.evil.example", "[::1].x", "a b", "."]
        {
            assert!(!is_ours(host), "{host}");
        }
        assert!(!super::is_ours("", || [String::new(), String::new()]), "a machine without a name");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), seen in 0usize..400) {
            whole(&bytes, seen);
            let _ = parse(&bytes);
            is_ours(&String::from_utf8_lossy(&bytes), Default::default);
        }

        #[test]
        fn no_request_line_makes_the_reader_panic(line in "(GET|HEAD) [ -~]{0,40} HTTP/1\\.[01]\r\nhost: [ -~]{0,9}\r\n\r\n") {
            let _ = parse(line.as_bytes());
        }

        #[test]
        fn the_end_of_a_head_is_found_in_however_many_pieces_it_comes(cut in 0usize..60) {
            let bytes = b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET /second HTTP/1.1\r\n\r\n";
            let cut = cut.min(bytes.len());
            let found = whole(&bytes[..cut], 0).or_else(|| whole(bytes, cut));
            prop_assert_eq!(found, Some(27));
        }
    }
}
