//! Who is trusted: the system's roots, the operator's own authorities, a pin, or nobody in particular.

use super::{Error, Options};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::sync::Arc;

/// The SHA-256 of a certificate (DER) or of its public key (DER, SubjectPublicKeyInfo).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin(pub [u8; 32]);

/// The TLS client configuration for these options.
pub fn client_config(options: &Options) -> Result<rustls::ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    // A machine without any CA bundle is a normal case: connections then fail to verify, the client stands.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for path in &options.ca_certs {
        let fail = |source| Error::CaFile { path: path.display().to_string(), source };
        let certs = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| fail(std::io::Error::other(error)))?;
        if roots.add_parsable_certificates(certs).0 == 0 {
            return Err(fail(std::io::Error::other("no certificate in it")));
        }
    }
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth())
}
