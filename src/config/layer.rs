//! A layer is what one source says: settings, raw values, and where each was found. Layers are merged
//! in the order of their sources; the last one to mention a setting decides.

use super::error::Error;
use super::schema::{Kind, Setting};
use crate::secret::Secret;
use std::fmt;
use std::path::PathBuf;

/// Where a value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// A configuration file of the node that is installed, as the machine names it.
    Installed(PathBuf),
    /// A systemd credential, by its name.
    Credential(&'static str),
    /// A configuration file, or in its place the name of the user-data; and the line counted from 1.
    File(PathBuf, usize),
    /// An environment variable.
    Environment(String),
    /// A flag, by its long form.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Installed(path) => write!(f, "installed {}", path.display()),
            Origin::Credential(name) => write!(f, "credential {name}"),
            Origin::File(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// A value as its source has it, not yet understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raw {
    /// Text, also where something else is wanted: environment and templates know only text.
    Text(String),
    /// A TOML integer.
    Integer(i64),
    /// A TOML boolean, or a flag without a value.
    Boolean(bool),
    /// A list of texts.
    List(Vec<String>),
    /// The text of a secret setting.
    Secret(Secret),
}

impl Raw {
    /// A single value as text; `None` for a list and for a secret.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Raw::Text(text) => Some(text.clone()),
            Raw::Integer(number) => Some(number.to_string()),
            Raw::Boolean(value) => Some(value.to_string()),
            Raw::List(_) | Raw::Secret(_) => None,
        }
    }
}

/// One setting in one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The setting.
    pub setting: &'static Setting,
    /// Its value there.
    pub raw: Raw,
    /// Where it was found.
    pub origin: Origin,
}

impl Entry {
    /// True for an empty secret in a file or a variable: it says nothing, and an earlier source shows
    /// through. Given as a flag it is a token, to be refused as one.
    pub(super) fn is_silent(&self) -> bool {
        match &self.raw {
            _ if matches!(self.origin, Origin::Flag(_)) => false,
            Raw::Secret(secret) => secret.expose().trim().is_empty(),
            Raw::Text(text) => self.setting.kind == Kind::SecretFile && text.trim().is_empty(),
            _ => false,
        }
    }
}

/// What one source says.
#[derive(Debug, Clone, Default)]
pub struct Layer {
    /// Settings, each at most once.
    pub entries: Vec<Entry>,
    /// What is wrong with the source; the rest of it is still read, so that all is said at once.
    pub errors: Vec<Error>,
    /// What is not as it should be, but can be worked with.
    pub warnings: Vec<String>,
}

impl Layer {
    /// Adds a value.
    pub fn set(&mut self, setting: &'static Setting, raw: Raw, origin: Origin) {
        // Whatever the source calls it, the text of a secret lives in a `Secret` from here on.
        let raw = match (setting.kind, raw) {
            (Kind::Secret, Raw::Text(text)) => Raw::Secret(Secret::new(text)),
            (_, raw) => raw,
        };
        self.entries.push(Entry { setting, raw, origin });
    }

    fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.setting.key == key)
    }
}

/// All layers in one: each setting at most once.
#[derive(Debug, Clone, Default)]
pub(super) struct Stack {
    entries: Vec<Entry>,
}

impl Stack {
    /// Puts a later layer on top.
    ///
    /// Some settings only make sense together, so that a later source that gives one of them takes the
    /// others away that an earlier source gave:
    /// - a token and the file it is in;
    /// - the URLs and the file of a release;
    /// - another version, and the earlier version's URLs, file and digest;
    /// - URLs or a file with a digest of their own, and the earlier version.
    pub(super) fn push(&mut self, layer: &Layer) {
        let says = |key: &str| layer.get(key).is_some();
        let sources = says("release.urls") || says("release.file");
        let renamed = match (layer.get("release.version"), self.get("release.version")) {
            (Some(new), Some(old)) => new.raw != old.raw,
            // Nobody knows which version the earlier source's URLs lead to: not to this one, perhaps.
            (Some(_), None) => self.get("release.urls").or(self.get("release.file")).is_some(),
            (None, _) => false,
        };
        if sources || renamed {
            self.drop(&["release.urls", "release.file"]);
        }
        if renamed {
            self.drop(&["release.sha256"]);
        }
        if sources && says("release.sha256") && !says("release.version") {
            self.drop(&["release.version"]);
        }
        for entry in &layer.entries {
            if entry.is_silent() {
                continue;
            }
            match entry.setting.kind {
                Kind::Secret => {
                    self.drop(&[entry.setting.key]);
                    self.entries.retain(|other| other.setting.fills != Some(entry.setting.key));
                }
                Kind::SecretFile => {
                    let filled = entry.setting.fills.unwrap_or_default();
                    // In one source the value itself wins over the file.
                    if layer.get(filled).is_some_and(|value| !value.is_silent()) {
                        continue;
                    }
                    self.drop(&[filled, entry.setting.key]);
                }
                _ => self.drop(&[entry.setting.key]),
            }
            self.entries.push(entry.clone());
        }
    }

    /// The entry that decides a setting.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.setting.key == key)
    }

    fn drop(&mut self, keys: &[&str]) {
        self.entries.retain(|entry| !keys.contains(&entry.setting.key));
    }
}
