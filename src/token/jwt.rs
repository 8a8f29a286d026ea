//! JSON Web Tokens (RFC 7519, RFC 7515): structure, claims, signature.
//!
//! The order of the checks is PyJWT's, so that where several things are wrong both name the same one.

use super::refusal::{Fault, Refusal, Segment};
use super::{Accepted, Context, Form, Signature, clock, json, shape};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// The longest JSON Web Token, in bytes. Kasm's are below 1 KiB; a longer one than this fits into no
/// HTTP header that its nginx takes.
pub const MAX_JWT: usize = 8 * 1024;

/// What a JSON Web Token says of itself. Times beyond the years that can be written are cut to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The signature algorithm its header names: letters, digits and dashes.
    pub alg: String,
    /// When it expires.
    pub exp: Option<Timestamp>,
    /// From when on it is valid.
    pub nbf: Option<Timestamp>,
    /// When it was issued.
    pub iat: Option<Timestamp>,
    /// What Kasm allows its bearer to do, by number (docs/kasm-facts.md, 5): at most 64 numbers. A claim of
    /// another form counts as none.
    pub authorizations: Vec<u64>,
    /// Which connection proxy it was made for: 1 to 64 letters, digits and dashes. A claim of another form
    /// counts as none.
    pub connection_proxy_id: Option<String>,
}

/// So many of Kasm's authorizations are kept; its own tokens have one or two.
const AUTHORIZATIONS: usize = 64;

/// True for everything that the format `auto` takes for a JSON Web Token.
pub(super) fn has_its_look(text: &str) -> bool {
    text.contains('.') || text.starts_with("eyJ")
}

/// True for what is a JSON Web Token or was meant to be one, although somebody said "opaque". A dot alone
/// does not make one.
pub(super) fn has_its_shape(text: &str) -> bool {
    text.starts_with("eyJ") || text.matches('.').count() == 2
}

/// A token taken apart: every segment is what it must be by itself.
pub(super) struct Parts<'a> {
    header: Map<String, Value>,
    payload: Vec<u8>,
    signed: &'a str,
    signature: Vec<u8>,
}

/// Takes a token apart without judging its claims or its signature.
pub(super) fn parse(text: &str) -> Result<Parts<'_>, Refusal> {
    let found = text.matches('.').count() + 1;
    let (Some((signed, signature)), Some((header, _))) = (text.rsplit_once('.'), text.split_once('.')) else {
        return Err(Refusal::NotEnoughSegments { found });
    };
    let Some((_, payload)) = signed.split_once('.') else {
        return Err(Refusal::NotEnoughSegments { found });
    };
    let header = decode(text, Segment::Header, header)
        .and_then(|bytes| json::object(&bytes).map_err(|fault| Refusal::Json(Segment::Header, fault)));
    if found > 3 {
        // PyJWT looks at the header first, and then takes all that stands in the middle for the payload.
        let words = header.err().and_then(|refusal| refusal.pyjwt()).unwrap_or("Invalid payload padding");
        return Err(Refusal::TooManySegments { found, words });
    }
    let header = header?;
    let payload = decode(text, Segment::Payload, payload)?;
    let signature = decode(text, Segment::Signature, signature)?;
    Ok(Parts { header, payload, signed, signature })
}

/// Checks a token from its structure to its signature.
pub(super) fn check(text: &str, context: &Context) -> Result<Accepted, Refusal> {
    let parts = parse(text)?;
    header_parameters(&parts.header)?;
    let alg = algorithm(&parts.header)?;
    if parts.signature.is_empty() {
        return Err(Refusal::SignatureMissing);
    }
    let signature = match context.key {
        Some(key) => {
            if alg != key.algorithm() {
                return Err(Refusal::AlgorithmNotForKey { token: alg, key: key.algorithm() });
            }
            if !key.confirms(parts.signed.as_bytes(), &parts.signature) {
                return Err(Refusal::SignatureMismatch);
            }
            Signature::Verified
        }
        None => Signature::NotChecked,
    };
    let payload = json::object(&parts.payload).map_err(|fault| Refusal::Json(Segment::Payload, fault))?;
    let claims = Claims {
        iat: date(&payload, "iat")?,
        nbf: date(&payload, "nbf")?,
        exp: date(&payload, "exp")?,
        alg,
        authorizations: numbers(&payload, "authorizations"),
        connection_proxy_id: identifier(&payload, "connection_proxy_id"),
    };
    let mut warnings = clock::judge(&claims, context)?;
    for claim in ["sub", "jti"] {
        // RFC 7519, 4.1.2 and 4.1.7; PyJWT refuses them from 2.10 on.
        if payload.get(claim).is_some_and(|value| !value.is_string()) {
            return Err(Refusal::ClaimType { claim });
        }
    }
    if let Some(least) = least_signature(&claims.alg).filter(|least| parts.signature.len() < *least) {
        warnings.push(format!(
            "the signature has {} bytes where {} has at least {least}: the token may have been cut",
            parts.signature.len(),
            claims.alg
        ));
    }
    Ok(Accepted { form: Form::Jwt, claims: Some(claims), signature, warnings })
}

/// Decodes base64url strictly: its alphabet, no padding, no bits left over.
fn decode(text: &str, segment: Segment, part: &str) -> Result<Vec<u8>, Refusal> {
    let odd = |character: char| !character.is_ascii_alphanumeric() && !matches!(character, '-' | '_' | '.');
    if let Some((at, character)) = part.char_indices().find(|(_, character)| odd(*character)) {
        // A part is a slice of the text, so its address says where it begins.
        let begin = part.as_ptr().addr() - text.as_ptr().addr();
        let position = text[..begin + at].chars().count() + 1;
        return Err(Refusal::Base64(segment, Fault::Character { position, class: shape::class(character) }));
    }
    URL_SAFE_NO_PAD.decode(part).map_err(|error| {
        let fault = match error {
            base64::DecodeError::InvalidLastSymbol { .. } => Fault::TrailingBits,
            _ => Fault::Length,
        };
        Refusal::Base64(segment, fault)
    })
}

/// Header parameters that change what the rest means. Kasm's tokens have none of them.
fn header_parameters(header: &Map<String, Value>) -> Result<(), Refusal> {
    let refuse = |name, words| Err(Refusal::HeaderParameter { name, words });
    if header.get("b64") == Some(&Value::Bool(false)) {
        return refuse("b64", "Payload segment must be empty when 'b64' is false.");
    }
    if header.get("kid").is_some_and(|kid| !kid.is_string()) {
        return refuse("kid", "Key ID header parameter must be a string");
    }
    match header.get("crit") {
        None => Ok(()),
        Some(Value::Array(names)) if !names.is_empty() => {
            if names.iter().all(Value::is_string) {
                refuse("crit", "Unsupported critical extension")
            } else {
                refuse("crit", "Invalid 'crit' header: values must be strings")
            }
        }
        Some(_) => refuse("crit", "Invalid 'crit' header: must be a non-empty list"),
    }
}

fn algorithm(header: &Map<String, Value>) -> Result<String, Refusal> {
    let alg = match header.get("alg") {
        None => return Err(Refusal::AlgorithmMissing),
        Some(Value::String(alg)) => alg,
        Some(_) => return Err(Refusal::AlgorithmOdd),
    };
    if alg.trim().eq_ignore_ascii_case("none") {
        return Err(Refusal::AlgorithmNone);
    }
    // It is shown to people, so it must look like a name of the IANA registry.
    let is_name = (1..=24).contains(&alg.len()) && alg.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_name { Ok(alg.clone()) } else { Err(Refusal::AlgorithmOdd) }
}

/// A NumericDate (RFC 7519, 2): a number of seconds; a fraction is dropped, as PyJWT does.
fn date(payload: &Map<String, Value>, claim: &'static str) -> Result<Option<Timestamp>, Refusal> {
    let Some(value) = payload.get(claim) else { return Ok(None) };
    let number = value.as_f64().filter(|number| number.is_finite()).ok_or(Refusal::ClaimType { claim })?;
    let bounds = Timestamp::MIN.as_second()..=Timestamp::MAX.as_second();
    // The cast saturates, so no number is outside its meaning.
    let seconds = (number as i64).clamp(*bounds.start(), *bounds.end());
    Ok(Some(Timestamp::from_second(seconds).unwrap_or(Timestamp::MIN)))
}

/// A list of numbers, as far as it is one. PyJWT does not look at these claims, so neither does this refuse them.
fn numbers(payload: &Map<String, Value>, claim: &str) -> Vec<u64> {
    let list = payload.get(claim).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_u64).take(AUTHORIZATIONS).collect()
}

fn identifier(payload: &Map<String, Value>, claim: &str) -> Option<String> {
    let text = payload.get(claim)?.as_str()?;
    let is_id = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_id.then(|| text.to_owned())
}

/// The least number of bytes of a signature of this algorithm, where that is known (RFC 7518, 3).
fn least_signature(alg: &str) -> Option<usize> {
    Some(match alg {
        "HS256" => 32,
        "HS384" => 48,
        "HS512" => 64,
        "ES256" | "EdDSA" => 64,
        "ES384" => 96,
        "ES512" => 132,
        "RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512" => 128,
        _ => return None,
    })
}
