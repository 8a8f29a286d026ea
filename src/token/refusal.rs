//! Everything that can be wrong with a token, in words that never hold a part of it.

use super::clock::{self, Judge};
use super::placeholder::Placeholder;
use super::{MAX_JWT, MAX_OPAQUE, MIN_OPAQUE};
use jiff::Timestamp;
use std::fmt;

/// Where in a token something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In front of it.
    Before,
    /// Within it.
    Inside,
    /// Behind it.
    Behind,
}

/// One of the three parts of a JSON Web Token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// The first.
    Header,
    /// The second.
    Payload,
    /// The third.
    Signature,
}

/// Why a segment is not base64url without padding (RFC 7515, 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A character outside the alphabet.
    Character {
        /// Its place in the whole token, from 1.
        position: usize,
        /// What it is: `a slash`.
        class: &'static str,
    },
    /// A length that no encoding has.
    Length,
    /// Bits behind the last whole byte that are not zero.
    TrailingBits,
}

/// Why a segment is not the JSON it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonFault {
    /// Not JSON in UTF-8; the byte, from 1, at which it ends to be.
    Syntax {
        /// The byte.
        position: usize,
    },
    /// JSON, but no object.
    NotObject,
    /// A key stands twice in one object.
    DuplicateKey,
    /// Nested beyond all reason.
    TooDeep,
}

/// What is wrong with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the sentences below say what each means")]
pub enum Refusal {
    Empty,
    NotText { position: usize },
    NotOneLine,
    Quoted,
    Blank(Place),
    Placeholder(Placeholder),
    StartsWithDash,
    Character { position: usize, class: &'static str },
    TooShort { length: usize },
    TooLong { length: usize, most: usize },
    Repeated,
    NotEnoughSegments { found: usize },
    TooManySegments { found: usize, words: &'static str },
    Base64(Segment, Fault),
    Json(Segment, JsonFault),
    HeaderParameter { name: &'static str, words: &'static str },
    AlgorithmMissing,
    AlgorithmNone,
    AlgorithmOdd,
    AlgorithmNotForKey { token: String, key: &'static str },
    ClaimType { claim: &'static str },
    Expired { at: Timestamp, judge: Judge },
    Early { at: Timestamp, judge: Judge },
    IssuedInFuture { at: Timestamp, judge: Judge },
    SignatureMissing,
    SignatureMismatch,
    NothingSigned,
}

impl Refusal {
    /// The stable reason code.
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::Empty => "token.empty",
            Refusal::NotText { .. } | Refusal::Character { .. } => "token.character",
            Refusal::NotOneLine => "token.not-one-line",
            Refusal::Quoted => "token.quoted",
            Refusal::Blank(_) => "token.blank",
            Refusal::Placeholder(_) => "token.placeholder",
            Refusal::StartsWithDash => "token.starts-with-dash",
            Refusal::TooShort { .. } => "token.too-short",
            Refusal::TooLong { .. } => "token.too-long",
            Refusal::Repeated => "token.repeated",
            Refusal::NotEnoughSegments { .. } => "token.not-enough-segments",
            Refusal::TooManySegments { .. } => "token.too-many-segments",
            Refusal::Base64(Segment::Header, _) => "token.header-padding",
            Refusal::Base64(Segment::Payload, _) => "token.payload-padding",
            Refusal::Base64(Segment::Signature, _) => "token.signature-padding",
            Refusal::Json(_, JsonFault::DuplicateKey) => "token.duplicate-key",
            Refusal::Json(Segment::Header, _) => "token.header-json",
            Refusal::Json(..) => "token.payload-json",
            Refusal::HeaderParameter { .. } => "token.header-parameter",
            Refusal::AlgorithmNone => "token.none-algorithm",
            Refusal::AlgorithmMissing | Refusal::AlgorithmOdd | Refusal::AlgorithmNotForKey { .. } => "token.algorithm",
            Refusal::ClaimType { .. } => "token.claim-type",
            Refusal::Expired { .. } => "token.expired",
            Refusal::Early { .. } => "token.early",
            Refusal::IssuedInFuture { .. } => "token.issued-in-future",
            Refusal::SignatureMissing => "token.signature-missing",
            Refusal::SignatureMismatch => "token.signature-mismatch",
            Refusal::NothingSigned => "token.nothing-signed",
        }
    }

    /// PyJWT's words for the same thing (api_jws.py and api_jwt.py of PyJWT 2.15; the table in
    /// tests/data/token/pyjwt.json was made by PyJWT itself).
    pub fn pyjwt(&self) -> Option<&'static str> {
        Some(match self {
            Refusal::NotEnoughSegments { .. } => "Not enough segments",
            Refusal::TooManySegments { words, .. } => words,
            Refusal::Base64(Segment::Header, _) => "Invalid header padding",
            Refusal::Base64(Segment::Payload, _) => "Invalid payload padding",
            Refusal::Base64(Segment::Signature, _) => "Invalid crypto padding",
            Refusal::Json(Segment::Header, JsonFault::NotObject) => "Invalid header string: must be a json object",
            Refusal::Json(_, JsonFault::NotObject) => "Invalid payload string: must be a json object",
            // PyJWT takes duplicate keys.
            Refusal::Json(_, JsonFault::DuplicateKey) => return None,
            Refusal::Json(Segment::Header, _) => "Invalid header string",
            Refusal::Json(..) => "Invalid payload string",
            Refusal::HeaderParameter { words, .. } => words,
            Refusal::AlgorithmMissing => "Algorithm not specified",
            Refusal::AlgorithmNone | Refusal::AlgorithmOdd | Refusal::AlgorithmNotForKey { .. } => {
                "The specified alg value is not allowed"
            }
            Refusal::ClaimType { claim: "exp" } => "Expiration Time claim (exp) must be an integer.",
            Refusal::ClaimType { claim: "nbf" } => "Not Before claim (nbf) must be an integer.",
            Refusal::ClaimType { claim: "iat" } => "Issued At claim (iat) must be an integer.",
            Refusal::ClaimType { claim: "sub" } => "Subject must be a string",
            Refusal::ClaimType { .. } => "JWT ID must be a string",
            Refusal::Expired { .. } => "Signature has expired",
            Refusal::Early { .. } => "The token is not yet valid (nbf)",
            Refusal::IssuedInFuture { .. } => "The token is not yet valid (iat)",
            Refusal::SignatureMissing | Refusal::SignatureMismatch => "Signature verification failed",
            _ => return None,
        })
    }

    /// What to do about it beyond getting the right token.
    pub(super) fn remedy(&self) -> Option<String> {
        let remedy = match self {
            Refusal::NotOneLine => "give the token alone, on one line",
            Refusal::Quoted => "remove the quotes: they became part of the token",
            Refusal::Blank(_) => "give the token alone, without blanks and without words such as Bearer",
            Refusal::Placeholder(placeholder) => return placeholder.remedy().map(str::to_owned),
            Refusal::StartsWithDash => {
                "look for a flag whose value is missing; Kasm's installer takes every value that begins with a dash \
                 for an option"
            }
            Refusal::Character { .. } => {
                "only letters, digits and . _ ~ - survive Kasm's scripts: if the token really holds another \
                 character, make a new one"
            }
            Refusal::TooShort { .. } | Refusal::Repeated => "make sure that the whole token was copied",
            Refusal::TooLong { most: MAX_OPAQUE, .. } => {
                "make sure that only the token was copied; a JSON Web Token begins with eyJ and has two dots"
            }
            Refusal::NotEnoughSegments { .. }
            | Refusal::TooManySegments { .. }
            | Refusal::Base64(..)
            | Refusal::Json(_, JsonFault::Syntax { .. })
            | Refusal::SignatureMissing => "the token was probably cut or changed on its way: copy it again, whole",
            Refusal::Expired { judge, .. } => return judge.remedy(),
            Refusal::Early { judge, .. } => return Some(or(judge.remedy(), "wait until then")),
            Refusal::IssuedInFuture { judge, .. } => {
                return Some(or(judge.remedy(), "wait until then, and set the clock of the manager that issued it"));
            }
            Refusal::AlgorithmNotForKey { .. } | Refusal::SignatureMismatch => {
                "make sure that the key belongs to the manager that issued the token"
            }
            Refusal::NothingSigned => "leave out --key, or give a JSON Web Token",
            _ => return None,
        };
        Some(remedy.to_owned())
    }

    pub(super) fn is_about_time(&self) -> bool {
        matches!(self, Refusal::Expired { .. } | Refusal::Early { .. } | Refusal::IssuedInFuture { .. })
    }
}

fn or(first: Option<String>, second: &str) -> String {
    first.map_or_else(|| second.to_owned(), |first| format!("{first}, or {second}"))
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Empty => f.write_str("is empty"),
            Refusal::NotText { position } => write!(f, "is not text: byte {position} is not UTF-8"),
            Refusal::NotOneLine => f.write_str("is more than one line"),
            Refusal::Quoted => f.write_str("is wrapped in quotes"),
            Refusal::Blank(Place::Before) => f.write_str("begins with a blank"),
            Refusal::Blank(Place::Inside) => f.write_str("has a blank inside"),
            Refusal::Blank(Place::Behind) => f.write_str("ends with a blank"),
            Refusal::Placeholder(placeholder) => placeholder.fmt(f),
            Refusal::StartsWithDash => f.write_str("begins with a dash, as a flag does"),
            Refusal::Character { position, class } => {
                write!(f, "holds a character that no token has: character {position} is {class}")
            }
            Refusal::TooShort { length } => {
                write!(f, "is too short: {length} characters, and an opaque token has at least {MIN_OPAQUE}")
            }
            Refusal::TooLong { length, most: MAX_OPAQUE } => {
                write!(f, "is too long: {length} characters, and an opaque token has at most {MAX_OPAQUE}")
            }
            Refusal::TooLong { length, .. } => {
                write!(f, "is too long: {length} bytes, and a JSON Web Token has at most {MAX_JWT}")
            }
            Refusal::Repeated => f.write_str("is one character over and over"),
            Refusal::NotEnoughSegments { found } => {
                let segments = if *found == 1 { "segment" } else { "segments" };
                write!(f, "is not a JSON Web Token: it has {found} {segments} between dots, not 3")
            }
            Refusal::TooManySegments { found, .. } => {
                write!(f, "is not a JSON Web Token: it has {found} segments between dots, not 3")
            }
            Refusal::Base64(segment, fault) => write!(f, "is damaged: its {segment} is not base64url, {fault}"),
            Refusal::Json(segment, JsonFault::Syntax { position }) => {
                write!(f, "is damaged: its {segment} is not JSON from byte {position} on")
            }
            Refusal::Json(segment, JsonFault::NotObject) => {
                write!(f, "is not a JSON Web Token: its {segment} is JSON, but not an object")
            }
            Refusal::Json(segment, JsonFault::DuplicateKey) => {
                write!(f, "is ambiguous: its {segment} holds the same key twice")
            }
            Refusal::Json(segment, JsonFault::TooDeep) => {
                write!(f, "is not a JSON Web Token of Kasm's: its {segment} is nested too deep")
            }
            Refusal::HeaderParameter { name, .. } => {
                write!(f, "has a header parameter \"{name}\" that cannot be accepted")
            }
            Refusal::AlgorithmMissing => f.write_str("names no signature algorithm in its header"),
            Refusal::AlgorithmNone => f.write_str("is not signed: its header says that the algorithm is none"),
            Refusal::AlgorithmOdd => f.write_str("names something in its header that is no signature algorithm"),
            Refusal::AlgorithmNotForKey { token, key } => {
                write!(f, "is signed with {token}, but the key is for {key}")
            }
            Refusal::ClaimType { claim: claim @ ("sub" | "jti") } => write!(f, "has a claim {claim} that is no string"),
            Refusal::ClaimType { claim } => write!(f, "has a claim {claim} that is no number"),
            Refusal::Expired { at, judge } => {
                write!(f, "expired {} ago, at {at}{judge}", clock::between(*at, judge.time))
            }
            Refusal::Early { at, judge } => {
                write!(f, "is valid only from {at} on, in {}{judge}", clock::between(judge.time, *at))
            }
            Refusal::IssuedInFuture { at, judge } => {
                write!(f, "was issued at {at}, {} in the future{judge}", clock::between(judge.time, *at))
            }
            Refusal::SignatureMissing => f.write_str("has no signature"),
            Refusal::SignatureMismatch => f.write_str("was not signed with this key, or was changed since"),
            Refusal::NothingSigned => f.write_str("is opaque and has no signature that the key could confirm"),
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Segment::Header => "header",
            Segment::Payload => "payload",
            Segment::Signature => "signature",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Character { position, class } => write!(f, "character {position} is {class}"),
            Fault::Length => f.write_str("a character is missing or one too many"),
            Fault::TrailingBits => f.write_str("its last character is wrong"),
        }
    }
}
