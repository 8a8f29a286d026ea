//! When the manager's certificate is valid, as it says itself.

use jiff::Timestamp;
use x509_cert::der::Decode;

/// From when and until when a certificate is valid. Whether it is believed is another question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// From when on.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

impl Validity {
    /// Of the certificate that was shown with an answer; `None` where there was none, or none that can be read.
    pub(super) fn shown_with(response: &reqwest::Response) -> Option<Validity> {
        let info = response.extensions().get::<reqwest::tls::TlsInfo>()?;
        Validity::of(info.peer_certificate()?)
    }

    /// Of a certificate, DER.
    pub fn of(der: &[u8]) -> Option<Validity> {
        let validity = x509_cert::Certificate::from_der(der).ok()?.tbs_certificate.validity;
        let moment = |time: &x509_cert::time::Time| {
            Timestamp::from_second(i64::try_from(time.to_unix_duration().as_secs()).ok()?).ok()
        };
        Some(Validity { from: moment(&validity.not_before)?, until: moment(&validity.not_after)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustls::pki_types::{CertificateDer, pem::PemObject};

    fn certificate() -> Vec<u8> {
        let pem = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/token/test-only-rsa.cert.pem");
        CertificateDer::from_pem_file(pem).unwrap().to_vec()
    }

    #[test]
    fn a_certificate_says_from_when_until_when() {
        let validity = Validity::of(&certificate()).unwrap();
        assert!(validity.from < validity.until);
        assert_eq!(Validity::of(b""), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_damage_makes_the_reader_panic(at in 0usize..2000, byte in any::<u8>(), length in 0usize..2000) {
            let mut der = certificate();
            let at = at % der.len();
            der[at] = byte;
            der.truncate(length);
            Validity::of(&der);
        }
    }
}
