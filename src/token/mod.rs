//! Tokens: what they must look like before anything is touched, and how they are kept out of sight.
//!
//! [`check`] answers one question: can this be right? Its rules in their order: the `shape` any token
//! must have, then either a JSON Web Token (`jwt`, `key`, `clock`) or a random string (`opaque`).
//! No message, `Debug` text or answer of this room holds a token. `mask` keeps them out of other
//! programs' output.

mod clock;
mod error;
mod json;
mod jwt;
mod key;
mod mask;
mod opaque;
mod placeholder;
mod refusal;
mod shape;

pub use clock::{Judge, in_words};
pub use error::Error;
pub use jwt::{Claims, MAX_JWT};
pub use key::{KeyFault, MAX_KEY_FILE, PublicKey};
pub use mask::{MASK, Masker, SHORTEST_MASKED, announced, is_secret_name};
pub use opaque::{MAX_OPAQUE, MIN_OPAQUE};
pub use placeholder::Placeholder;
pub use refusal::{Fault, JsonFault, Place, Refusal, Segment};

use crate::secret::Secret;
use jiff::{SignedDuration, Timestamp};
use std::fmt;
use std::time::Duration;

/// How a token must look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// By its look, strictly.
    #[default]
    Auto,
    /// A JSON Web Token.
    Jwt,
    /// A random string.
    Opaque,
}

impl Format {
    /// The words of `token_format`.
    pub const ALL: [(&'static str, Format); 3] =
        [("auto", Format::Auto), ("jwt", Format::Jwt), ("opaque", Format::Opaque)];
}

/// What a token is for (`docs/kasm-facts.md`, 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The manager token of an agent (`-M`).
    Manager,
    /// The component registration token of a connection proxy (`-k`).
    Registration,
    /// The check-in token of a server pool's machine. Always a JSON Web Token.
    CheckIn,
    /// A registered component's `auth_token`. Always a JSON Web Token.
    Auth,
}

impl Kind {
    /// The word `--kind` takes.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Manager => "manager",
            Kind::Registration => "registration",
            Kind::CheckIn => "checkin",
            Kind::Auth => "auth",
        }
    }

    /// True if a token of this kind is a JSON Web Token in every Kasm release.
    pub fn is_always_jwt(self) -> bool {
        matches!(self, Kind::CheckIn | Kind::Auth)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Manager => "manager token",
            Kind::Registration => "component registration token",
            Kind::CheckIn => "check-in token",
            Kind::Auth => "component auth token",
        })
    }
}

/// What a token is judged against.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// This machine's clock.
    pub now: Timestamp,
    /// True if `now` is no clock's time but a moment somebody asked about.
    pub is_assumed: bool,
    /// The manager's clock at the same moment (its `Date` header), where it is known. It is the one that
    /// counts, because the manager is who will judge the token.
    pub manager_time: Option<Timestamp>,
    /// The key that must have signed the token. With a key, only signed tokens are accepted.
    pub key: Option<&'a PublicKey>,
    /// How long the token must still be good for the work ahead; less is a warning.
    pub needed: Duration,
    /// How far two clocks may be apart.
    pub leeway: Duration,
}

impl Context<'_> {
    /// Now, by both clocks where it is known how far the manager's is ahead of ours; no key, the usual leeway and need.
    pub fn now(ahead: Option<SignedDuration>) -> Context<'static> {
        let now = Timestamp::now();
        Context { manager_time: ahead.and_then(|ahead| now.checked_add(ahead).ok()), ..Context::at(now) }
    }

    /// The leeway every check of this program grants.
    pub const LEEWAY: Duration = Duration::from_secs(60);
    /// What the work ahead needs unless the caller knows better: a whole boot.
    pub const NEEDED: Duration = Duration::from_secs(600);

    /// This moment, no manager's clock, no key, the usual leeway and need.
    pub fn at(now: Timestamp) -> Context<'static> {
        Context {
            now,
            is_assumed: false,
            manager_time: None,
            key: None,
            needed: Context::NEEDED,
            leeway: Context::LEEWAY,
        }
    }
}

/// What an accepted token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A JSON Web Token.
    Jwt,
    /// A random string.
    Opaque,
}

impl Form {
    /// The word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Form::Jwt => "jwt",
            Form::Opaque => "opaque",
        }
    }
}

/// What is known of an accepted token's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// The key confirms it.
    Verified,
    /// There was no key to check it with, or nothing to check.
    NotChecked,
}

impl Signature {
    /// The word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Signature::Verified => "verified",
            Signature::NotChecked => "not-checked",
        }
    }
}

/// What an accepted token says of itself. Never the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// What it is.
    pub form: Form,
    /// What a JSON Web Token claims.
    pub claims: Option<Claims>,
    /// Whether its signature was checked. A wrong one is never accepted.
    pub signature: Signature,
    /// What the operator should know although the token is accepted: lower-case sentences.
    pub warnings: Vec<String>,
}

/// Checks a token before it is used.
///
/// # Errors
/// [`Error::Refused`] if it cannot be right, with a reason and, where PyJWT (which Kasm decodes tokens
/// with) has words for the same thing, those words. [`Error::AlwaysJwt`] if `format` contradicts `kind`.
pub fn check(kind: Kind, format: Format, token: &Secret, context: &Context) -> Result<Accepted, Error> {
    if kind.is_always_jwt() && format == Format::Opaque {
        return Err(Error::AlwaysJwt { kind });
    }
    let text = token.expose();
    judge(kind, format, text, context).map_err(|refusal| Error::Refused {
        kind,
        words: words(kind, format, text, &refusal),
        refusal,
    })
}

fn judge(kind: Kind, format: Format, text: &str, context: &Context) -> Result<Accepted, Refusal> {
    shape::check(text)?;
    let must_be_jwt = kind.is_always_jwt() || format == Format::Jwt;
    let looks_like_jwt = match format {
        Format::Opaque => jwt::has_its_shape(text),
        Format::Auto | Format::Jwt => jwt::has_its_look(text),
    };
    if must_be_jwt || looks_like_jwt {
        let accepted = jwt::check(text, context)?;
        if format == Format::Opaque {
            opaque::check(text)?;
        }
        return Ok(accepted);
    }
    shape::characters(text)?;
    opaque::check(text)?;
    if context.key.is_some() {
        return Err(Refusal::NothingSigned);
    }
    Ok(Accepted { form: Form::Opaque, claims: None, signature: Signature::NotChecked, warnings: Vec::new() })
}

/// PyJWT's words for what is wrong, where PyJWT will see this token at all.
fn words(kind: Kind, format: Format, text: &str, refusal: &Refusal) -> Option<&'static str> {
    if let Some(words) = refusal.pyjwt() {
        return Some(words);
    }
    // An opaque token is never decoded, so nobody would meet these words. A placeholder in the place of
    // a registration token is: that is how operators come to search for them (#816).
    let decoded = kind.is_always_jwt()
        || format == Format::Jwt
        || (kind == Kind::Registration && matches!(refusal, Refusal::Placeholder { .. }));
    if decoded { jwt::parse(text).err().and_then(|refusal| refusal.pyjwt()) } else { None }
}

#[cfg(test)]
mod tests;
