//! Public keys that tokens are signed with: PEM in, a verdict on a signature out.

use super::Error;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Reader, asn1::AnyRef, asn1::ObjectIdentifier, asn1::UintRef};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

/// The largest key file worth reading, in bytes.
pub const MAX_KEY_FILE: usize = 64 * 1024;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

/// A key that verifies RS256 or ES256 (RFC 7518, 3.3 and 3.4): which of the two is a property of the key,
/// never of the token.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    /// RSA: RSAPublicKey (PKCS#1, DER). EC: the uncompressed point.
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Rs256,
    Es256,
}

/// What is wrong with a key file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the sentences say it")]
pub enum KeyFault {
    #[error("it holds no PEM block with a public key or certificate")]
    NoPem,
    #[error("it is a private key, which does not belong here")]
    Private,
    #[error("its PEM block is damaged")]
    Damaged,
    #[error("it is longer than {MAX_KEY_FILE} bytes")]
    TooLong,
    #[error("it is neither an RSA key nor an EC key on the curve P-256")]
    Unsupported,
    #[error("its RSA modulus has {bits} bits, not 2048 to 8192")]
    Size { bits: usize },
}

impl KeyFault {
    pub(super) fn reason(&self) -> &'static str {
        match self {
            KeyFault::Private => "token.key-private",
            KeyFault::Unsupported | KeyFault::Size { .. } => "token.key-unsupported",
            KeyFault::NoPem | KeyFault::Damaged | KeyFault::TooLong => "token.key",
        }
    }
}

impl PublicKey {
    /// The key of the first PEM block that is one: `PUBLIC KEY`, `RSA PUBLIC KEY` or `CERTIFICATE`. Text
    /// around blocks is skipped. A certificate is only the vessel of its key: who issued it and how long
    /// it is valid is not looked at.
    pub fn from_pem(pem: &[u8]) -> Result<PublicKey, Error> {
        from_pem(pem).map_err(Error::Key)
    }

    /// The algorithm its signatures have, as a token's header names it.
    pub fn algorithm(&self) -> &'static str {
        match self.algorithm {
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
        }
    }

    /// True if this key's owner signed the message.
    pub fn confirms(&self, message: &[u8], signature: &[u8]) -> bool {
        let verdict = match self.algorithm {
            Algorithm::Rs256 => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.bytes).verify(message, signature)
            }
            Algorithm::Es256 => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.bytes).verify(message, signature)
            }
        };
        verdict.is_ok()
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({})", self.algorithm())
    }
}

fn from_pem(pem: &[u8]) -> Result<PublicKey, KeyFault> {
    if pem.len() > MAX_KEY_FILE {
        return Err(KeyFault::TooLong);
    }
    let text = str::from_utf8(pem).map_err(|_| KeyFault::NoPem)?;
    let mut rest = text;
    while let Some((_, begin)) = rest.split_once("-----BEGIN ") {
        let (label, body) = begin.split_once("-----").ok_or(KeyFault::Damaged)?;
        let (body, after) = body.split_once("-----END ").ok_or(KeyFault::Damaged)?;
        match label {
            "PUBLIC KEY" => return from_spki(&der(body)?),
            "RSA PUBLIC KEY" => return rsa(der(body)?),
            "CERTIFICATE" | "TRUSTED CERTIFICATE" | "X509 CERTIFICATE" => {
                let certificate = Certificate::from_der(&der(body)?).map_err(|_| KeyFault::Damaged)?;
                return from_info(&certificate.tbs_certificate.subject_public_key_info);
            }
            private if private.ends_with("PRIVATE KEY") => return Err(KeyFault::Private),
            // `EC PARAMETERS` and the like may stand before what counts.
            _ => rest = after,
        }
    }
    Err(KeyFault::NoPem)
}

fn der(body: &str) -> Result<Vec<u8>, KeyFault> {
    let base64: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(base64).map_err(|_| KeyFault::Damaged)
}

fn from_spki(der: &[u8]) -> Result<PublicKey, KeyFault> {
    from_info(&SubjectPublicKeyInfoOwned::from_der(der).map_err(|_| KeyFault::Damaged)?)
}

fn from_info(info: &SubjectPublicKeyInfoOwned) -> Result<PublicKey, KeyFault> {
    let bytes = info.subject_public_key.as_bytes().ok_or(KeyFault::Damaged)?;
    if info.algorithm.oid == RSA {
        return rsa(bytes.to_vec());
    }
    let curve =
        info.algorithm.parameters.as_ref().and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok());
    if info.algorithm.oid != EC || curve != Some(P256) {
        return Err(KeyFault::Unsupported);
    }
    // X9.62 uncompressed point: 0x04 and two coordinates of 32 bytes. Compressed ones are not in use.
    if bytes.len() != 65 || bytes.first() != Some(&4) {
        return Err(KeyFault::Unsupported);
    }
    Ok(PublicKey { algorithm: Algorithm::Es256, bytes: bytes.to_vec() })
}

/// RSAPublicKey (RFC 8017, A.1.1).
fn rsa(der: Vec<u8>) -> Result<PublicKey, KeyFault> {
    let modulus = AnyRef::from_der(&der).and_then(|sequence| {
        sequence.sequence(|reader| {
            let modulus: UintRef<'_> = reader.decode()?;
            let _exponent: UintRef<'_> = reader.decode()?;
            Ok(modulus)
        })
    });
    let modulus = modulus.map_err(|_| KeyFault::Damaged)?.as_bytes().to_vec();
    let leading = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    let bits = modulus.len() * 8 - leading;
    if !(2048..=8192).contains(&bits) {
        return Err(KeyFault::Size { bits });
    }
    Ok(PublicKey { algorithm: Algorithm::Rs256, bytes: der })
}
