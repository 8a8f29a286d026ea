//! The tokens an installed node holds, and what each is worth (docs/kasm-facts.md, 5).
//!
//! They are read from the components' own files and judged by the rules every token is judged by
//! ([`token::check`]), and beyond them by what only an installed node can tell: a component's auth token must
//! be signed by the key in the component's own file, give the rights its component needs, and be made for
//! this component. Nothing here holds or tells a token.

use super::error::Error;
use super::layout::{AGENT, Installed, ProxyConfig};
use crate::durable;
use crate::intent::Role;
use crate::secret::Secret;
use crate::token::{self, Accepted, Context, Format, KeyFault, Kind, PublicKey, Refusal};
use jiff::Timestamp;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The file that gives a component its registration token again (Kasm's documentation, "Server Tokens"; that
/// it lies beside the component's own YAML file is not known for sure: docs/kasm-facts.md, 5).
pub const REGISTRATION_FILE: &str = "registration_token.txt";
/// No token's file is longer, in bytes.
const LIMIT: u64 = 16 * 1024;

/// A token of the node, or the lack of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Whose it is: `agent`, `guac`, `rdp_gateway`, `rdp_https_gateway`.
    pub component: &'static str,
    /// The container that reads it.
    pub container: &'static str,
    /// The file it is in, or should be in.
    pub file: PathBuf,
    /// Where in the file: `manager.token`, `kasmguac.registration_token`, `api.auth_token`; for a file that is
    /// nothing but a token, its name.
    pub key: String,
    /// What it is for.
    pub kind: Kind,
    /// What it is worth.
    pub verdict: Verdict,
}

/// What a token is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is none.
    Missing,
    /// It is as it must be. An auth token's signature is verified.
    Accepted(Accepted),
    /// It cannot be right.
    Refused(token::Error),
    /// It is well-formed, but does not give the right its component needs.
    WrongClass {
        /// The right: 80 for guac, 90 for the RDP gateways.
        wanted: u64,
        /// What it gives.
        found: Vec<u64>,
    },
    /// It is well-formed, but was made for another component.
    Foreign {
        /// Whom it was made for.
        found: String,
        /// Who this component is.
        id: String,
    },
    /// It is well-formed, but there is nothing that its signature could be verified with.
    Unverified {
        /// What it is.
        accepted: Accepted,
        /// What is wrong with the component's `api.public_jwt_cert`; `None` if there is none.
        fault: Option<KeyFault>,
    },
}

impl Verdict {
    /// True if nothing speaks against the token, so that its component can work with it.
    pub fn is_good(&self) -> bool {
        matches!(self, Verdict::Accepted(_))
    }

    /// What the token says of itself, where it was accepted or would have been.
    pub fn accepted(&self) -> Option<&Accepted> {
        match self {
            Verdict::Accepted(accepted) | Verdict::Unverified { accepted, .. } => Some(accepted),
            _ => None,
        }
    }

    /// When it expires or has expired, where it says so.
    pub fn expires(&self) -> Option<Timestamp> {
        match self {
            Verdict::Refused(token::Error::Refused { refusal: Refusal::Expired { at, .. }, .. }) => Some(*at),
            other => other.accepted()?.claims.as_ref()?.exp,
        }
    }

    /// The stable code of what is wrong; `None` if nothing is.
    pub fn reason(&self) -> Option<&'static str> {
        use crate::error::Explain;
        match self {
            Verdict::Accepted(_) => None,
            Verdict::Missing => Some("token.missing"),
            Verdict::Refused(error) => Some(error.reason()),
            Verdict::WrongClass { .. } => Some("token.wrong-class"),
            Verdict::Foreign { .. } => Some("token.other-component"),
            Verdict::Unverified { .. } => Some("token.not-verified"),
        }
    }
}

/// The end of a sentence that begins with the token's kind or place.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |numbers: &[u64]| match numbers {
            [] => "nothing".to_owned(),
            some => some.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
        };
        match self {
            Verdict::Missing => f.write_str("is not there"),
            Verdict::Accepted(_) => f.write_str("is good"),
            Verdict::Refused(token::Error::Refused { refusal, words, .. }) => {
                let words = words.map(|words| format!(" (\"{words}\")")).unwrap_or_default();
                write!(f, "{refusal}{words}")
            }
            Verdict::Refused(error) => write!(f, "cannot be judged: {error}"),
            Verdict::WrongClass { wanted, found } => {
                write!(f, "is of the wrong class: it allows {}, and {wanted} is needed", list(found))
            }
            Verdict::Foreign { found, id } => {
                write!(f, "belongs to another component: it was made for {found}, and this one's id is {id}")
            }
            Verdict::Unverified { fault: None, .. } => {
                f.write_str("cannot be verified: the file has no api.public_jwt_cert")
            }
            Verdict::Unverified { fault: Some(fault), .. } => {
                write!(f, "cannot be verified: the api.public_jwt_cert beside it cannot be used, {fault}")
            }
        }
    }
}

impl Held {
    /// `api.auth_token in /opt/kasm/1.18.1/conf/app/guac/kasmguac.app.config.yaml expired 2 hours ago, …`;
    /// the file is named as the machine names it.
    pub fn describe(&self, paths: &crate::paths::Paths) -> String {
        format!("{} {}", self.place(paths), self.verdict)
    }

    /// `api.auth_token in /opt/kasm/…`.
    pub fn place(&self, paths: &crate::paths::Paths) -> String {
        let file = paths.shown(&self.file);
        match self.file.ends_with(&self.key) {
            true => file.display().to_string(),
            false => format!("{} in {}", self.key, file.display()),
        }
    }
}

/// Every token the installed components of a role hold, of both roles if none is given, in the order of the
/// files. Judged at `context`'s time; a key in it is not used, since each file has its own.
///
/// An auth token and a manager token are in the list also where there is none ([`Verdict::Missing`]). A
/// registration token is in it only where there is one: a registered component has none.
///
/// # Errors
/// [`Error::Unreadable`] and [`Error::NotYaml`] for a configuration file that is there and cannot be used.
pub fn read(installed: &Installed, role: Option<Role>, context: &Context<'_>) -> Result<Vec<Held>, Error> {
    let context = Context { key: None, ..*context };
    let mut list = Vec::new();
    if role != Some(Role::Guac)
        && let Some(config) = installed.agent()?
    {
        list.push(Held {
            component: AGENT.component,
            container: AGENT.container,
            file: config.path,
            key: "manager.token".into(),
            kind: Kind::Manager,
            verdict: verdict(Kind::Manager, config.token.as_ref(), &context),
        });
    }
    if role != Some(Role::Agent) {
        for config in installed.proxies()? {
            list.extend(of_proxy(&config, &context)?);
        }
        // Up to 1.16 the three files share a directory, and with it such a file.
        let mut last: Option<PathBuf> = None;
        list.retain(|held| {
            held.key != REGISTRATION_FILE || last.replace(held.file.clone()).as_ref() != Some(&held.file)
        });
    }
    Ok(list)
}

/// What a connection proxy's file holds, and the file beside it that would give it a registration token.
///
/// # Errors
/// [`Error::Unreadable`] if that file is there and cannot be read.
pub fn of_proxy(config: &ProxyConfig, context: &Context<'_>) -> Result<Vec<Held>, Error> {
    let held = |file: &Path, key: String, kind, verdict| Held {
        component: config.component,
        container: config.container,
        file: file.to_owned(),
        key,
        kind,
        verdict,
    };
    let context = Context { key: None, ..*context };
    let mut list = Vec::new();
    if let Some(token) = &config.registration_token {
        let key = format!("{}.registration_token", config.section);
        let verdict = verdict(Kind::Registration, Some(token), &context);
        list.push(held(&config.path, key, Kind::Registration, verdict));
    }
    let auth = auth(config, &context);
    list.push(held(&config.path, "api.auth_token".into(), Kind::Auth, auth));
    let file = registration_file(&config.path);
    if let Some(token) = one_line(&file)? {
        let verdict = verdict(Kind::Registration, Some(&token), &context);
        list.push(held(&file, REGISTRATION_FILE.into(), Kind::Registration, verdict));
    }
    Ok(list)
}

/// Where a component with this configuration file looks for its registration token.
pub fn registration_file(config: &Path) -> PathBuf {
    config.with_file_name(REGISTRATION_FILE)
}

fn verdict(kind: Kind, token: Option<&Secret>, context: &Context<'_>) -> Verdict {
    let Some(token) = token else { return Verdict::Missing };
    match token::check(kind, Format::Auto, token, context) {
        Ok(accepted) => Verdict::Accepted(accepted),
        Err(error) => Verdict::Refused(error),
    }
}

fn auth(config: &ProxyConfig, context: &Context<'_>) -> Verdict {
    let key = config.public_jwt_cert.as_deref().filter(|pem| !pem.trim().is_empty()).map(public_key).transpose();
    let context = match &key {
        Ok(Some(key)) => Context { key: Some(key), ..*context },
        _ => *context,
    };
    let accepted = match verdict(Kind::Auth, config.auth_token.as_ref(), &context) {
        Verdict::Accepted(accepted) => accepted,
        other => return other,
    };
    let (wanted, claims) = (config.authorization, accepted.claims.as_ref());
    let found = claims.map(|claims| claims.authorizations.clone()).unwrap_or_default();
    if !found.contains(&wanted) {
        return Verdict::WrongClass { wanted, found };
    }
    let claimed = claims.and_then(|claims| claims.connection_proxy_id.clone());
    if let (Some(found), Some(id)) = (claimed, config.id.clone())
        && !is_same_id(&found, &id)
    {
        let id = crate::words::one_line(&id).chars().take(64).collect();
        return Verdict::Foreign { found, id };
    }
    match key {
        Ok(Some(_)) => Verdict::Accepted(accepted),
        Ok(None) => Verdict::Unverified { accepted, fault: None },
        Err(token::Error::Key(fault)) => Verdict::Unverified { accepted, fault: Some(fault) },
        Err(_) => Verdict::Unverified { accepted, fault: Some(KeyFault::Damaged) },
    }
}

/// True for two spellings of one identifier: a token has 32 hexadecimal digits, a file has a UUID.
pub fn is_same_id(one: &str, other: &str) -> bool {
    let digits = |text: &str| -> String { text.chars().filter(|c| *c != '-').collect() };
    digits(one).eq_ignore_ascii_case(&digits(other))
}

/// A certificate or key as YAML may hold it: in one line, its line feeds are written out.
fn public_key(pem: &str) -> Result<PublicKey, token::Error> {
    match pem.contains("\\n") {
        true => PublicKey::from_pem(pem.replace("\\n", "\n").as_bytes()),
        false => PublicKey::from_pem(pem.as_bytes()),
    }
}

/// A token that is a file's only line; `None` if there is no such file.
fn one_line(path: &Path) -> Result<Option<Secret>, Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    let bytes = match durable::read(path, LIMIT) {
        Ok(bytes) => zeroize::Zeroizing::new(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let bytes = bytes.strip_suffix(b"\n").map_or(&bytes[..], |line| line.strip_suffix(b"\r").unwrap_or(line));
    // What is no text is no token, and is refused as such.
    Ok(Some(Secret::new(String::from_utf8_lossy(bytes))))
}
