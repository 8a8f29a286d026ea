//! What each fault of a certificate is called.

use super::*;
use rustls::CertificateError as C;
use rustls::OtherError;
use rustls::pki_types::{ServerName, UnixTime};
use std::sync::Arc;

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

#[test]
fn each_fault_of_a_certificate_has_its_words() {
    #[derive(Debug, thiserror::Error)]
    #[error("an authority used as a server")]
    struct CaUsedAsEndEntity;
    let expected = ServerName::try_from("kasm.example.com").unwrap();
    let presented = vec!["DnsName(\"a.example\")".into(), "IpAddress(10.0.0.1)".into(), "c.example".into()];
    let faults = [
        C::UnknownIssuer,
        C::BadSignature,
        C::Other(OtherError(Arc::new(CaUsedAsEndEntity))),
        C::NotValidForNameContext { expected: expected.clone(), presented },
        C::NotValidForNameContext { expected, presented: Vec::new() },
        C::ExpiredContext { time: at(1_800_000_000), not_after: at(1_700_000_000) },
        C::NotValidYetContext { time: at(0), not_before: at(1_700_000_000) },
        C::ExpiredContext { time: at(u64::MAX), not_after: at(0) },
        C::Revoked,
    ];
    let words: Vec<String> = faults.iter().map(|fault| format!("the certificate {}", Fault::of(fault).why)).collect();
    insta::assert_snapshot!(words.join("\n"), @"
    the certificate is self-signed or its issuer is unknown
    the certificate is not signed by the authority it names
    the certificate is self-signed
    the certificate is for another name (a.example, 10.0.0.1, c.example)
    the certificate names no host
    the certificate expired at 2023-11-14 22:13 UTC, and this machine's clock says 2027-01-15 08:00 UTC
    the certificate is valid from 2023-11-14 22:13 UTC on, but this machine's clock says 1970-01-01 00:00 UTC
    the certificate expired at 1970-01-01 00:00 UTC, and this machine's clock says an unknown time
    the certificate is refused: Revoked
    ");
}

#[test]
fn only_a_certificate_that_is_not_valid_yet_is_mended_by_waiting() {
    assert!(Fault::of(&C::NotValidYet).early);
    for fault in [C::Expired, C::UnknownIssuer, C::NotValidForName, C::Revoked] {
        assert!(!Fault::of(&fault).early, "{fault}");
    }
}

#[test]
fn a_status_that_only_asking_otherwise_would_change_is_not_waited_for() {
    let status = |code| Error::Status { manager: "m:443".into(), status: reqwest::StatusCode::from_u16(code).unwrap() };
    for code in [404, 500, 502, 503, 504] {
        assert!(status(code).heals(), "{code}");
    }
    for code in [400, 401, 403] {
        assert!(!status(code).heals(), "{code}");
    }
}
