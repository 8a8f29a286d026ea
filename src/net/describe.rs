//! What is really wrong with a connection, in one short clause that an operator can act on.

use super::tls::PinMismatch;
use super::{RedirectRefused, ResolveError, proxy};
use rustls::{AlertDescription, CertificateError};
use std::error::Error as StdError;
use std::io;

/// The real cause of a failed request, as a clause that fits after "because": no URL in it, no
/// credentials.
pub fn describe(error: &reqwest::Error) -> String {
    for cause in chain(error) {
        if let Some(refused) = cause.downcast_ref::<RedirectRefused>() {
            return refused.to_string();
        }
        if let Some(unresolved) = cause.downcast_ref::<ResolveError>() {
            return unresolved.to_string();
        }
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return describe_tls(tls);
        }
    }
    let words = io_causes(error).find_map(describe_io);
    // Where a proxy stands in between, it is the proxy that was not reached.
    if error.is_connect()
        && let Some(proxy) = error.url().and_then(|url| proxy::on_the_way_to(url.as_str()))
    {
        let words = chain(error).find_map(|cause| proxy::tunnel_words(&cause.to_string())).or(words);
        return format!("the proxy {}: {}", proxy.name(), words.unwrap_or("it did not answer in time"));
    }
    if let Some(words) = words {
        return words.to_owned();
    }
    if error.is_timeout() {
        return "it did not answer in time".into();
    }
    // Only an error's own text may name the URL; its causes do not.
    let deepest = chain(error).skip(1).last().map(ToString::to_string);
    deepest.map_or_else(|| "the request failed".into(), |text| shorten(&text))
}

/// The chain of causes, also through `io::Error`, whose `source` passes over what it wraps.
pub(crate) fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error: &&'a (dyn StdError + 'static)| {
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

pub(super) fn io_causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a io::Error> {
    chain(error).filter_map(|cause| cause.downcast_ref())
}

pub(super) fn describe_io(error: &io::Error) -> Option<&'static str> {
    Some(match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "the connection was reset",
        io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            "the connection was closed too early"
        }
        io::ErrorKind::HostUnreachable => "there is no route to it",
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => "the network is unreachable",
        io::ErrorKind::TimedOut => "it did not answer in time",
        _ => return None,
    })
}

fn describe_tls(error: &rustls::Error) -> String {
    let certificate = match error {
        rustls::Error::InvalidCertificate(certificate) => certificate,
        rustls::Error::InvalidMessage(_) => return "it does not speak TLS on this port".into(),
        rustls::Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            return "it serves no certificate for this name".into();
        }
        rustls::Error::AlertReceived(alert) => return format!("it refused the TLS handshake ({alert:?})"),
        rustls::Error::PeerIncompatible(_) => return "it offers no TLS version or cipher that is accepted here".into(),
        other => return format!("the TLS handshake failed ({other})"),
    };
    match certificate {
        CertificateError::UnknownIssuer => "its certificate's issuer is not trusted here".into(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            // A certificate may hold thousands of names.
            let shown: String = presented.iter().take(4).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = if presented.len() > 4 { ", …" } else { "" };
            let presented = if presented.is_empty() { "none".to_owned() } else { shorten(&shown) + more };
            format!("its certificate is not for {}, but for: {presented}", expected.to_str())
        }
        CertificateError::NotValidForName => "its certificate is for another name".into(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired, or the clock here is wrong".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet, or the clock here is wrong".into()
        }
        CertificateError::Other(other) => match other.0.downcast_ref::<PinMismatch>() {
            Some(mismatch) => mismatch.to_string(),
            None if format!("{:?}", other.0).contains("CaUsedAsEndEntity") => {
                "its certificate is self-signed and not trusted here".into()
            }
            None => format!("its certificate is not acceptable ({})", other.0),
        },
        other => format!("its certificate is not acceptable ({other})"),
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(300).collect()
}

/// A URL as it may be shown: without credentials, query and fragment, which may all hold secrets.
pub fn redact(url: &str) -> String {
    match reqwest::Url::parse(url) {
        Ok(mut parsed) if parsed.has_host() || parsed.scheme() == "file" => {
            // Both fail only for URLs that cannot have credentials.
            let _ = parsed.set_username("");
            let _ = parsed.set_password(None);
            parsed.set_query(None);
            parsed.set_fragment(None);
            parsed.to_string()
        }
        _ => {
            let end = url.find(['?', '#']).unwrap_or(url.len());
            let start = url[..end].rfind('@').map_or(0, |at| at + 1);
            url[start..end].chars().filter(|character| !character.is_control()).take(200).collect()
        }
    }
}

/// Who answers at a URL, for those that have a key in their path: scheme, host and port. Empty for what is no URL.
pub fn origin(url: &str) -> String {
    match reqwest::Url::parse(url) {
        Ok(parsed) if parsed.has_host() => parsed.origin().ascii_serialization(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_holds_no_credentials_and_no_query() {
        let cases = [
            ("https://user:pass@mirror.example/a/b.tar.gz?X-Amz-Signature=1#x", "https://mirror.example/a/b.tar.gz"),
            ("file:///srv/a.tar.gz", "file:///srv/a.tar.gz"),
            ("user:pass@mirror.example/a?b", "mirror.example/a"),
            ("not a url", "not a url"),
            ("", ""),
        ];
        for (url, shown) in cases {
            assert_eq!(redact(url), shown);
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]
        #[test]
        fn no_text_whatever_makes_it_panic(text in "\\PC{0,60}") {
            redact(&text);
        }
    }
}
