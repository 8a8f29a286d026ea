//! Certificates made on the spot.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A server's certificate, and what a client needs to trust it.
pub struct Identity {
    /// For the server.
    pub config: Arc<ServerConfig>,
    /// The certificate that has to be trusted, PEM: the authority's, or the self-signed one itself.
    pub trust_pem: String,
    /// The server's own certificate, DER.
    pub certificate: Vec<u8>,
    /// The server's public key, DER (SubjectPublicKeyInfo).
    pub public_key: Vec<u8>,
}

/// A self-signed certificate for these names and addresses, as Kasm's installer makes one.
pub fn self_signed(names: &[&str]) -> Identity {
    let key = KeyPair::generate().expect("a key can be made");
    let certificate = params(names).self_signed(&key).expect("a certificate can be signed");
    let trust_pem = certificate.pem();
    identity(certificate.der().to_vec(), &key, trust_pem)
}

/// A certificate as Kasm's installer really makes one: self-signed, marked as an authority, the host in
/// the common name and nowhere else.
pub fn kasm_like(host: &str) -> Identity {
    let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::OrganizationalUnitName, "DoFu");
    params.distinguished_name.push(rcgen::DnType::CommonName, host);
    let key = KeyPair::generate().expect("a key can be made");
    let certificate = params.self_signed(&key).expect("a certificate can be signed");
    let trust_pem = certificate.pem();
    identity(certificate.der().to_vec(), &key, trust_pem)
}

/// A certificate for these names, issued by an authority that nobody knows yet.
pub fn issued(names: &[&str]) -> Identity {
    issued_between(names, 1975, 4096)
}

/// The same, valid from the beginning of one year to the beginning of another.
pub fn issued_between(names: &[&str], from: i32, until: i32) -> Identity {
    let mut authority = CertificateParams::new(Vec::new()).expect("no names are valid names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "stand-in authority");
    let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key can be made"))
        .expect("an authority can sign itself");
    let key = KeyPair::generate().expect("a key can be made");
    let mut params = params(names);
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let certificate = params.signed_by(&key, &issuer).expect("a certificate can be signed");
    identity(certificate.der().to_vec(), &key, issuer.pem())
}

/// A self-signed certificate for these names that ends so long from now.
pub fn ending_in(names: &[&str], left: Duration) -> Identity {
    let key = KeyPair::generate().expect("a key can be made");
    let mut params = params(names);
    params.not_after = (SystemTime::now() + left).into();
    let certificate = params.self_signed(&key).expect("a certificate can be signed");
    let trust_pem = certificate.pem();
    identity(certificate.der().to_vec(), &key, trust_pem)
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names.clone()).expect("the names are valid");
    if let Some(name) = names.first() {
        params.distinguished_name.push(rcgen::DnType::CommonName, name.as_str());
    }
    params
}

fn identity(certificate: Vec<u8>, key: &KeyPair, trust_pem: String) -> Identity {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone().into()], private)
        .expect("key and certificate belong together");
    use rcgen::PublicKeyData;
    Identity { config: Arc::new(config), trust_pem, certificate, public_key: key.subject_public_key_info() }
}
