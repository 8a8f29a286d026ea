//! What can be wrong with a configuration, each with the place it was found at and a remedy.

use super::layer::Origin;
use crate::error::{Exit, Explain};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Why there is no intent.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{what} {} cannot be read", path.display())]
    Read {
        /// What kind of file: `configuration file`, `file with manager.token`.
        what: String,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// A file is larger than any sensible one.
    #[error("{what} {} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// What kind of file.
        what: String,
        /// Which.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// A file or a variable is not UTF-8.
    #[error("{place} is not UTF-8 text")]
    NotUtf8 {
        /// The file with line and column, or the variable.
        place: String,
    },
    /// A file is not TOML.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
        /// What the parser says. It never quotes the file, which may hold a token.
        message: String,
        /// True if the line looks like a template variable without quotes.
        bare_template: bool,
    },
    /// No setting has this name.
    #[error("{origin}: there is no setting `{key}`")]
    Unknown {
        /// The name, shortened and escaped.
        key: String,
        /// Where it was found.
        origin: Origin,
        /// The name that was probably meant.
        suggestion: Option<String>,
    },
    /// A setting that is a flag and nothing else.
    #[error("{origin}: `{key}` can only be given as the flag {flag}")]
    FlagOnly {
        /// The setting.
        key: &'static str,
        /// Its flag.
        flag: &'static str,
        /// Where it was found.
        origin: Origin,
    },
    /// A value of the wrong TOML type.
    #[error("{origin}: {key} must be {wanted}, not {found}")]
    Type {
        /// The setting or table.
        key: String,
        /// Where it was found.
        origin: Origin,
        /// The right type, with its article.
        wanted: &'static str,
        /// What was there, with its article.
        found: &'static str,
    },
    /// A value that cannot be.
    #[error("{origin}: {key} {problem}")]
    Value {
        /// The setting.
        key: &'static str,
        /// Where its value came from.
        origin: Origin,
        /// What is wrong with it, continuing the sentence that begins with the key.
        problem: String,
        /// The remedy.
        help: String,
    },
    /// A template was not filled in.
    #[error("{origin}: {key} {}", LeftOver(placeholder))]
    Placeholder {
        /// The setting.
        key: &'static str,
        /// Where its value came from.
        origin: Origin,
        /// The placeholder, or the word `None`.
        placeholder: String,
    },
    /// The manager's address is Kasm's default for the zone's upstream auth address.
    #[error("{origin}: {key} is `$request_host$`, which only means something to the manager itself")]
    RequestHost {
        /// The setting.
        key: &'static str,
        /// Where its value came from.
        origin: Origin,
    },
    /// A mandatory setting is nowhere.
    #[error("{key} is not set{}", Aside(emptied))]
    Missing {
        /// The setting.
        key: &'static str,
        /// How to give it.
        help: String,
        /// Where it was given an empty value.
        emptied: Option<Origin>,
    },
    /// No source gives the token that the role needs.
    #[error("{key} is not set: a node with the role {role} cannot register without it")]
    TokenMissing {
        /// The setting.
        key: &'static str,
        /// The role.
        role: &'static str,
        /// Its flag.
        flag: &'static str,
        /// The credential's name.
        credential: &'static str,
        /// True if the other role's token is there.
        other_given: bool,
    },
    /// The licence is not accepted.
    #[error("{origin}: accept_eula is false, and Kasm Workspaces cannot be installed without accepting its EULA")]
    Eula {
        /// Where it was said.
        origin: Origin,
    },
    /// There is nothing to verify a release with.
    #[error(
        "release.sha256 is not set, and Kasm publishes no digest for {}",
        version.as_deref().unwrap_or("this release")
    )]
    DigestMissing {
        /// The version, where it is known.
        version: Option<String>,
        /// The URL or file to take the digest from.
        source_shown: String,
    },
    /// Two tokens cannot both be read from standard input.
    #[error("{first} and {second} are both to be read from standard input")]
    StandardInput {
        /// One setting.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// More than one of the above.
    #[error("{count} things are wrong with the configuration")]
    Several {
        /// How many, at least two.
        count: usize,
        /// What is not set, if that is all that is wrong; else empty.
        missing: Vec<&'static str>,
        /// All of them, chained.
        #[source]
        all: Arc<Chained>,
    },
}

/// One of several errors as a link in a chain of causes, with its own remedy.
#[derive(Debug, Clone)]
pub struct Chained {
    text: String,
    next: Option<Arc<Chained>>,
}

impl fmt::Display for Chained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Chained {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.next.as_deref().map(|next| next as _)
    }
}

impl Error {
    /// A template was not filled in.
    pub(super) fn placeholder(key: &'static str, origin: &Origin, placeholder: &str) -> Error {
        Error::Placeholder { key, origin: origin.clone(), placeholder: placeholder.to_owned() }
    }

    /// No source says anything about a setting that must be set.
    pub(super) fn not_set(key: &'static str, help: impl Into<String>) -> Error {
        Error::Missing { key, help: help.into(), emptied: None }
    }

    /// The sentence, and behind a colon its cause.
    pub(super) fn with_cause(&self) -> String {
        let cause = std::error::Error::source(self).map(|cause| format!(": {cause}"));
        format!("{self}{}", cause.unwrap_or_default())
    }

    /// One error out of all that were found; `None` if there are none.
    pub fn of(mut errors: Vec<Error>) -> Option<Error> {
        if errors.len() < 2 {
            return errors.pop();
        }
        let text = |error: &Error| format!("{} [{}]\n{}", error.with_cause(), error.reason(), error.help());
        let chain = errors.iter().rev().fold(None, |next, error| Some(Arc::new(Chained { text: text(error), next })));
        let missing = errors.iter().map(Error::missing).collect::<Option<Vec<_>>>().unwrap_or_default().concat();
        chain.map(|all| Error::Several { count: errors.len(), missing, all })
    }

    /// The settings that are in no source, if that is all that is wrong: then another file may bring them.
    /// What was given empty, or as a template's placeholder, is wrong.
    pub fn missing(&self) -> Option<Vec<&'static str>> {
        match self {
            Error::Missing { key, emptied: None, .. } | Error::TokenMissing { key, .. } => Some(vec![key]),
            Error::Several { missing, .. } if !missing.is_empty() => Some(missing.clone()),
            _ => None,
        }
    }
}

struct LeftOver<'a>(&'a str);

impl fmt::Display for LeftOver<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "None" => f.write_str("is `None`, which is what a template leaves for a variable without a value"),
            placeholder => write!(f, "still holds the placeholder {}", shortened(placeholder)),
        }
    }
}

struct Aside<'a>(&'a Option<Origin>);

impl fmt::Display for Aside<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(origin) => write!(f, " (it is empty in {origin})"),
            None => Ok(()),
        }
    }
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::Read { .. } => "config.read",
            Error::TooLarge { .. } => "config.too-large",
            Error::NotUtf8 { .. } => "config.not-utf8",
            Error::Syntax { .. } => "config.syntax",
            Error::Unknown { .. } => "config.unknown-key",
            Error::FlagOnly { .. } => "config.flag-only",
            Error::Type { .. } => "config.type",
            Error::Value { .. } => "config.value",
            Error::Placeholder { .. } => "config.placeholder",
            Error::RequestHost { .. } => "config.request-host",
            Error::Missing { .. } => "config.missing",
            Error::TokenMissing { .. } => "config.token-missing",
            Error::Eula { .. } => "config.eula",
            Error::DigestMissing { .. } => "config.digest-missing",
            Error::StandardInput { .. } => "config.standard-input",
            Error::Several { .. } => "config.several",
        }
    }

    fn help(&self) -> String {
        match self {
            Error::Read { .. } => "check its name, its mode and who runs this".into(),
            Error::TooLarge { .. } => "this is hardly the file that was meant: check its name".into(),
            Error::NotUtf8 { .. } => "save it as UTF-8".into(),
            Error::Syntax { bare_template: true, .. } => {
                "put template variables in quotes: address = \"{upstream_auth_address}\"".into()
            }
            Error::Syntax { .. } => "correct the line; `kasm-bootstrap config example` shows a complete file".into(),
            Error::Unknown { suggestion: Some(suggestion), .. } => format!("did you mean `{suggestion}`?"),
            Error::Unknown { origin: Origin::Environment(_), .. } => {
                "remove the variable; `kasm-bootstrap config example` lists every setting".into()
            }
            Error::Unknown { .. } => "remove it; `kasm-bootstrap config example` lists every setting".into(),
            Error::FlagOnly { flag, .. } => format!("remove it, and give {flag} to the one run that needs it"),
            Error::Type { .. } => "correct it; `kasm-bootstrap config example` shows every setting".into(),
            Error::Value { help, .. } | Error::Missing { help, .. } => help.clone(),
            Error::Placeholder { key, .. } => {
                let from = template_variable(key)
                    .map(|variable| format!("; Kasm fills {variable} in when it creates the machine"))
                    .unwrap_or_default();
                format!("write the real value, or find out why the template was not filled in{from}")
            }
            Error::RequestHost { .. } => "in Kasm's admin interface open Infrastructure, Zones, this zone, and set \
                                          \"Upstream Auth Address\" to the name or address under which this node \
                                          reaches the manager; or write that into manager.address here"
                .into(),
            Error::TokenMissing { key, flag, credential, other_given, .. } => {
                let other = match (*other_given, *key) {
                    (false, _) => "",
                    (true, "manager.token") => "; the component registration token is for the role guac",
                    (true, _) => "; the manager token is for the role agent",
                };
                format!("give {flag} FILE, {key} in the configuration, or the systemd credential {credential}{other}")
            }
            Error::Eula { .. } => "read Kasm's EULA, then remove the line or give --accept-eula".into(),
            Error::DigestMissing { source_shown, .. } => {
                format!("take the digest once, when you bake the image: kasm-bootstrap release digest {source_shown}")
            }
            Error::StandardInput { .. } => "put one of the two tokens into a file".into(),
            Error::Several { .. } => "correct each of them, then try again with `kasm-bootstrap config check`".into(),
        }
    }

    fn exit(&self) -> Exit {
        Exit::Configuration
    }
}

/// The template variable from which a setting is usually filled (docs/kasm-facts.md, 7).
fn template_variable(key: &str) -> Option<&'static str> {
    match key {
        "manager.address" | "guac.api_host" => Some("{upstream_auth_address}"),
        _ => None,
    }
}

/// A text from outside, quoted for a message: escaped, and never longer than a line.
pub fn quoted(text: &str) -> String {
    format!("`{}`", shortened(text))
}

/// A text from outside, escaped and at most 60 characters long.
pub fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    shown = shown.replace("\\\"", "\"").replace("\\'", "'");
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    shown
}
