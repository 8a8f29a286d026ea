//! Who is trusted: the system's roots, the operator's own authorities and certificates, a pin, or nobody
//! in particular. Whatever is trusted, the other side always has to prove that it holds the key.

use super::{Error, Options, Pin};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use std::sync::Arc;
use x509_cert::der::{Decode, Encode};

/// The certificate is another one than the pinned one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its certificate is not the pinned one (it is {seen})")]
pub struct PinMismatch {
    /// The SHA-256 of the certificate that was shown.
    pub seen: Pin,
}

/// The TLS client configuration for these options.
pub fn client_config(options: &Options) -> Result<rustls::ClientConfig, Error> {
    if options.pin.is_none() && options.insecure && options.ca_certs.is_empty() {
        // Nobody's certificate is looked at: then a machine's hundred and more need not be read.
        return Ok(trusting(Trust::Anyone));
    }
    let mut roots = RootCertStore::empty();
    // A machine without any CA bundle is a normal case: connections then fail to verify, the client stands.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let mut own = Vec::new();
    for path in &options.ca_certs {
        let fail = |source| Error::CaFile { path: path.display().to_string(), source };
        let certs = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| fail(std::io::Error::other(error)))?;
        if roots.add_parsable_certificates(certs.iter().cloned()).0 == 0 {
            return Err(fail(std::io::Error::other("no certificate in it")));
        }
        own.extend(certs);
    }
    let trust = match (options.pin, options.insecure) {
        (Some(pin), _) => Trust::Pinned(pin),
        (None, true) => Trust::Anyone,
        (None, false) => Trust::Issued { roots, own },
    };
    Ok(trusting(trust))
}

/// For connections without TLS: nobody is trusted, and no file is read.
pub(super) fn no_config() -> rustls::ClientConfig {
    trusting(Trust::Issued { roots: RootCertStore::empty(), own: Vec::new() })
}

fn trusting(trust: Trust) -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { trust, algorithms }))
        .with_no_client_auth()
}

#[derive(Debug)]
enum Trust {
    /// Issued by one of the roots, or one of our own certificates itself.
    Issued { roots: RootCertStore, own: Vec<CertificateDer<'static>> },
    /// This one, whoever issued it and whatever names it carries.
    Pinned(Pin),
    /// Anyone.
    Anyone,
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.trust {
            Trust::Anyone => {}
            Trust::Pinned(pin) => verify_pin(end_entity, *pin)?,
            Trust::Issued { own, .. } if own.iter().any(|certificate| certificate == end_entity) => {
                verify_own(end_entity, server_name, now)?;
            }
            Trust::Issued { roots, .. } => {
                let certificate = ParsedCertificate::try_from(end_entity)?;
                let algorithms = self.algorithms.all;
                verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
                verify_server_name(&certificate, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn verify_pin(end_entity: &CertificateDer<'_>, pin: Pin) -> Result<(), rustls::Error> {
    let seen = Pin::of(end_entity);
    let key = || -> Option<Pin> {
        let certificate = x509_cert::Certificate::from_der(end_entity).ok()?;
        Some(Pin::of(&certificate.tbs_certificate.subject_public_key_info.to_der().ok()?))
    };
    if seen == pin || key() == Some(pin) {
        return Ok(());
    }
    Err(CertificateError::Other(OtherError(Arc::new(PinMismatch { seen }))).into())
}

/// A certificate that is itself among the operator's: no issuer has to vouch for it, but it must be in
/// its time and for this name. Kasm's own certificates are such: self-signed, marked as an authority,
/// with the host in the common name only (docs/kasm-facts.md, 6); all of which a public issuer's may not be.
fn verify_own(
    end_entity: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> Result<(), rustls::Error> {
    let certificate = x509_cert::Certificate::from_der(end_entity).map_err(|_| CertificateError::BadEncoding)?;
    let tbs = &certificate.tbs_certificate;
    let seconds = |time: &x509_cert::time::Time| UnixTime::since_unix_epoch(time.to_unix_duration());
    let (not_before, not_after) = (seconds(&tbs.validity.not_before), seconds(&tbs.validity.not_after));
    if now.as_secs() < not_before.as_secs() {
        return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
    }
    if now.as_secs() > not_after.as_secs() {
        return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
    }
    const SUBJECT_ALT_NAME: &str = "2.5.29.17";
    const COMMON_NAME: &str = "2.5.4.3";
    let extensions = tbs.extensions.iter().flatten();
    if extensions.into_iter().any(|extension| extension.extn_id.to_string() == SUBJECT_ALT_NAME) {
        return verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name);
    }
    let attributes = tbs.subject.0.iter().flat_map(|name| name.0.iter());
    let presented: Vec<String> = attributes
        .filter(|attribute| attribute.oid.to_string() == COMMON_NAME)
        .filter_map(|attribute| std::str::from_utf8(attribute.value.value()).ok().map(str::to_owned))
        .collect();
    let expected = server_name.to_str();
    if presented.iter().any(|name| name.eq_ignore_ascii_case(&expected)) {
        return Ok(());
    }
    Err(CertificateError::NotValidForNameContext { expected: server_name.to_owned(), presented }.into())
}
