//! Why a token was refused, or could not be judged.

use super::{Kind, Refusal, key::KeyFault};
use crate::error::{Exit, Explain};

/// The errors of this room. None of them holds a token or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The token cannot be right.
    #[error("the {kind} {refusal}{}", said(*words))]
    Refused {
        /// What it was for.
        kind: Kind,
        /// What is wrong with it.
        refusal: Refusal,
        /// PyJWT's words for it, which is what operators find in Kasm's logs and search for.
        words: Option<&'static str>,
    },
    /// A kind of token that is never opaque was to be checked as one.
    #[error("a {kind} is always a JSON Web Token and cannot be checked as an opaque one")]
    AlwaysJwt {
        /// The kind.
        kind: Kind,
    },
    /// The key to verify signatures with is none.
    #[error("the key cannot be used: {0}")]
    Key(KeyFault),
}

impl Error {
    /// True if it was a clock that decided. A caller that did not know the manager's time may ask the
    /// manager for it and check again before it gives up.
    pub fn is_about_time(&self) -> bool {
        matches!(self, Error::Refused { refusal, .. } if refusal.is_about_time())
    }
}

fn said(words: Option<&'static str>) -> String {
    words.map(|words| format!(" (PyJWT: \"{words}\")")).unwrap_or_default()
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::Refused { refusal, .. } => refusal.reason(),
            Error::AlwaysJwt { .. } => "token.always-jwt",
            Error::Key(fault) => fault.reason(),
        }
    }

    fn help(&self) -> String {
        match self {
            Error::Refused { kind, refusal, .. } => match refusal.remedy() {
                // It is the right token, only not yet.
                Some(remedy) if matches!(refusal, Refusal::Early { .. } | Refusal::IssuedInFuture { .. }) => remedy,
                Some(remedy) => format!("{remedy}; {}", source(*kind)),
                None => source(*kind).to_owned(),
            },
            Error::AlwaysJwt { .. } => "leave out --format opaque".into(),
            Error::Key(_) => {
                "give a PEM file with a public key (RSA of 2048 bits or more, or EC P-256) or a certificate, \
                 such as the public_jwt_cert of a component's configuration"
                    .into()
            }
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Error::Refused { .. } => Exit::Token,
            Error::AlwaysJwt { .. } => Exit::Usage,
            Error::Key(_) => Exit::Configuration,
        }
    }
}

/// Where the right token is found (`docs/kasm-facts.md`, 5 and 7).
fn source(kind: Kind) -> &'static str {
    match kind {
        Kind::Manager => {
            "take the manager token from the Admin UI, or let Kasm put it in place of {manager_token} in a startup \
             script"
        }
        Kind::Registration => {
            "copy the Component Registration Token from the Admin UI: Settings, Global, Authentication"
        }
        Kind::CheckIn => {
            "use what Kasm puts in place of {checkin_jwt} in a server pool's startup script; it is valid for 4 hours"
        }
        Kind::Auth => {
            "`kasm-bootstrap token repair --registration-token-file FILE` lets the component register again; one \
             without any token must be redeployed"
        }
    }
}
