//! Auth tokens signed by a test's key, as a manager would make them.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use std::path::PathBuf;

/// A component's id, as its file has it.
pub const ID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

fn data(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/token").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// What a component's `public_jwt_cert` is.
pub fn certificate() -> String {
    data("test-only-rsa.cert.pem")
}

/// A token to be signed.
pub struct Jwt {
    /// Whom it is for, as a manager writes it.
    pub id: String,
    /// JSON.
    pub authorizations: &'static str,
    /// Seconds from now.
    pub expires_in: i64,
    /// Whose key signs it.
    pub key: &'static str,
}

impl Default for Jwt {
    fn default() -> Jwt {
        Jwt { id: ID.replace('-', ""), authorizations: "[80]", expires_in: 86_400, key: "test-only-rsa.key.pem" }
    }
}

impl Jwt {
    pub fn signed(&self) -> String {
        let exp = jiff::Timestamp::now().as_second() + self.expires_in;
        let payload =
            format!(r#"{{"connection_proxy_id":"{}","exp":{exp},"authorizations":{}}}"#, self.id, self.authorizations);
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", encode(r#"{"alg":"RS256","typ":"JWT"}"#), encode(&payload));
        let pem = data(self.key);
        let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let pair = RsaKeyPair::from_pkcs8(&STANDARD.decode(base64).unwrap()).unwrap();
        let mut signature = vec![0; pair.public().modulus_len()];
        let random = ring::rand::SystemRandom::new();
        pair.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
