//! Tokens as a manager gives its components them (`docs/kasm-facts.md`, 5), signed with keys that lie open in
//! this repository and are of no use to anybody.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::rand::SystemRandom;
use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// The certificate of [`Signer::Manager`], PEM: what a component keeps as `public_jwt_cert`.
pub const CERTIFICATE: &str = include_str!("../../keys/test-only-manager.cert.pem");

/// Whose key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Signer {
    /// The manager's, which [`CERTIFICATE`] belongs to.
    #[default]
    Manager,
    /// One that nobody knows.
    Another,
}

/// A component's auth token: RS256, with the three claims that real ones have.
///
/// `id` is the component's, with dashes or without; `expires` is in seconds since 1970.
pub fn auth_token(id: &str, expires: i64, authorizations: &[u64], signer: Signer) -> String {
    let id: String = id.chars().filter(char::is_ascii_hexdigit).collect();
    sign(&json!({ "connection_proxy_id": id, "exp": expires, "authorizations": authorizations }), signer)
}

/// A token of any claims: a registration token that is one, say.
pub fn sign(claims: &Value, signer: Signer) -> String {
    // Written out, because the order of its keys is a real one's.
    let header = BASE64URL.encode(br#"{"alg":"RS256","typ":"JWT"}"#);
    let message = format!("{header}.{}", BASE64URL.encode(claims.to_string()));
    let pair = pair(signer);
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)
        .expect("the buffer has the length of the modulus");
    format!("{message}.{}", BASE64URL.encode(signature))
}

/// The claims of a token, signed by anybody; otherwise PyJWT's words for what is wrong.
pub fn claims(token: &str) -> Result<Value, &'static str> {
    let mut segments = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (segments.next(), segments.next(), segments.next(), segments.next())
    else {
        return Err("Not enough segments");
    };
    let payload = BASE64URL.decode(payload).map_err(|_| "Invalid payload padding")?;
    serde_json::from_slice(&payload).map_err(|_| "Invalid payload string")
}

/// The claims of a token that this manager signed; otherwise PyJWT's words for what is wrong.
pub fn verified(token: &str) -> Result<Value, &'static str> {
    let found = claims(token)?;
    let (message, signature) = token.rsplit_once('.').ok_or("Not enough segments")?;
    let signature = BASE64URL.decode(signature).map_err(|_| "Invalid crypto padding")?;
    let pair = pair(Signer::Manager);
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref())
        .verify(message.as_bytes(), &signature)
        .map_err(|_| "Signature verification failed")?;
    Ok(found)
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    i64::try_from(since.as_secs()).expect("it is earlier than the end of time")
}

fn pair(signer: Signer) -> RsaKeyPair {
    let pem = match signer {
        Signer::Manager => include_bytes!("../../keys/test-only-manager.key.pem").as_slice(),
        Signer::Another => include_bytes!("../../keys/test-only-other.key.pem"),
    };
    let key = PrivatePkcs8KeyDer::from_pem_slice(pem).expect("the key file is one");
    RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).expect("the key file holds an RSA key")
}
