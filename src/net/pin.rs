//! A pinned certificate or public key.

use crate::words;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// The SHA-256 of a certificate (DER) or of its public key (DER, SubjectPublicKeyInfo).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin(pub [u8; 32]);

/// The text is no pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pin is sha256: and 64 hexadecimal digits, or the same 32 bytes in base64")]
pub struct NotAPin;

impl Pin {
    /// The pin of these bytes.
    pub fn of(der: &[u8]) -> Pin {
        Pin(Sha256::digest(der).into())
    }
}

impl FromStr for Pin {
    type Err = NotAPin;

    /// Accepts `sha256:HEX`, bare hex, hex with colons as `openssl x509 -fingerprint -sha256` prints it,
    /// base64, and curl's `sha256//BASE64`.
    fn from_str(text: &str) -> Result<Pin, NotAPin> {
        let text = text.trim();
        let body = ["sha256//", "sha256/", "sha256:", "SHA256:"].iter().find_map(|prefix| text.strip_prefix(prefix));
        let body = body.unwrap_or(text);
        let digits: String = body.chars().filter(|character| *character != ':').collect();
        let of_digits = Some(digits).filter(|digits| digits.len() == 64).and_then(|digits| words::parse_hex(&digits));
        let bytes = of_digits.or_else(|| STANDARD.decode(body).ok()).ok_or(NotAPin)?;
        bytes.try_into().map(Pin).map_err(|_| NotAPin)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", words::hex(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_read_in_every_usual_spelling() {
        let pin = Pin::of(b"certificate");
        let hex = pin.to_string().replace("sha256:", "");
        let colons = hex.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).to_uppercase());
        let colons = colons.collect::<Vec<_>>().join(":");
        let base64 = STANDARD.encode(pin.0);
        for text in [format!("sha256:{hex}"), hex.clone(), colons, format!("sha256//{base64}"), base64.clone()] {
            assert_eq!(text.parse(), Ok(pin), "{text}");
        }
        for text in ["", "sha256:", &hex[1..], "sha1:00", &format!("{hex}00"), "+1".repeat(32).as_str()] {
            assert_eq!(text.parse::<Pin>(), Err(NotAPin), "{text}");
        }
    }
}
