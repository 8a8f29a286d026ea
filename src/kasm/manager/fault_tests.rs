//! What each fault of a certificate is called.

use super::*;
use crate::error::Explain;
use rustls::CertificateError as C;
use rustls::OtherError;
use rustls::pki_types::{ServerName, UnixTime};
use std::sync::Arc;
use std::time::Duration;

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

#[test]
fn a_certificate_out_of_its_time_is_judged_by_the_managers_clock_too() {
    let moment = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let (began, ended) = (1_700_000_000, 1_800_000_000);
    let early = |ours| C::NotValidYetContext { time: at(ours), not_before: at(began) };
    let late = |ours| C::ExpiredContext { time: at(ours), not_after: at(ended) };
    let cases = [
        (early(0), 0, began + 10),
        (late(ended + 90_000), ended + 90_000, ended - 10),
        (late(ended + 90_000), ended + 90_000, ended + 90_010),
        (late(ended + 900_000), ended + 900_000, ended + 10),
        (early(0), 0, 5_000),
        (early(began - 30), began - 30, began - 20),
    ];
    let words: Vec<String> = cases
        .iter()
        .map(|(fault, ours, theirs)| {
            let clocks = Clocks { manager: moment(*theirs), ours: moment(*ours) };
            let error = Fault::of(fault).by(&clocks, "kasm:443");
            format!("{error} [{}, {}]", error.reason(), if error.heals() { "heals" } else { "stays" })
        })
        .collect();
    insta::assert_snapshot!(words.join("\n"), @"
    this machine's clock is wrong: it is 53 years 330 days behind that of manager kasm:443, whose certificate is not valid yet by it [manager.clock, heals]
    this machine's clock is wrong: it is 1 day 1 hour ahead of that of manager kasm:443, whose certificate has expired by it [manager.clock, heals]
    the certificate of manager kasm:443 expired at 2027-01-15 08:00 UTC, by the manager's clock and by this machine's [manager.certificate, stays]
    the certificate of manager kasm:443 expired at 2027-01-15 08:00 UTC, also by the manager's clock, and this machine's clock is 10 days 9 hours ahead of that one [manager.certificate, stays]
    the certificate of manager kasm:443 is valid from 2023-11-14 22:13 UTC on, also by the manager's clock, and this machine's clock is 1 hour 23 minutes behind that one [manager.certificate, heals]
    the certificate of manager kasm:443 is valid from 2023-11-14 22:13 UTC on, by the manager's clock and by this machine's [manager.certificate, heals]
    ");
}
