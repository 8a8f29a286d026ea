//! The table of settings. Everything else about names derives from it: what is refused as unknown, the
//! environment's variables, the JSON Schema, the example file, `config show`.

mod table;

pub use table::SETTINGS;

use crate::paths::ENV_PREFIX;

/// What a setting's value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A word of Kasm's command line: it must survive Kasm's parser and `sed`.
    Word,
    /// A Kasm version.
    Version,
    /// A DNS name or an address, with a port where one is given.
    HostPort,
    /// `auto`, `interface:NAME`, a cloud's method, a DNS name or an address.
    Address,
    /// True or false.
    Boolean,
    /// Where a service answers: `http://ADDRESS:PORT`.
    Endpoint,
    /// A TCP port.
    Port,
    /// A whole number, 0 or more.
    Count,
    /// A span of time: `90s`, `2m`, `1h30m`; a number means seconds.
    Duration,
    /// Mebibytes as a number, or with a unit: `8G`, `8192M`.
    Mebibytes,
    /// 64 hexadecimal digits, or `sidecar`.
    Digest,
    /// The SHA-256 of a certificate or public key.
    Pin,
    /// A minisign public key, or the file it is in.
    MinisignKey,
    /// A file.
    Path,
    /// Files.
    Paths,
    /// URLs.
    Urls,
    /// A URL that may hold a key: only who answers there is shown of it.
    Url,
    /// Texts as they are.
    Texts,
    /// A secret.
    Secret,
    /// The file a secret is in.
    SecretFile,
}

impl Kind {
    /// True for a list of texts.
    pub fn is_list(self) -> bool {
        matches!(self, Kind::Paths | Kind::Urls | Kind::Texts)
    }
}

/// One setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its dotted name.
    pub key: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// What it is for: one sentence without a full stop.
    pub doc: &'static str,
    /// What holds where it is not set, in words.
    pub default: &'static str,
    /// An example in TOML.
    pub example: &'static str,
    /// Its flag in the long form; the one way to give it where `flag_only`.
    pub flag: Option<&'static str>,
    /// True if no file and no variable may set it.
    pub flag_only: bool,
    /// The secret that the file named here fills.
    pub fills: Option<&'static str>,
    /// The systemd credential that fills it (systemd.exec(5), `LoadCredential=`).
    pub credential: Option<&'static str>,
    /// Other names people know it by, for suggestions.
    pub also: &'static [&'static str],
}

const fn setting(
    key: &'static str,
    kind: Kind,
    default: &'static str,
    example: &'static str,
    doc: &'static str,
) -> Setting {
    Setting { key, kind, doc, default, example, flag: None, flag_only: false, fills: None, credential: None, also: &[] }
}

impl Setting {
    const fn flag(self, flag: &'static str) -> Setting {
        Setting { flag: Some(flag), ..self }
    }
    const fn also(self, also: &'static [&'static str]) -> Setting {
        Setting { also, ..self }
    }
    const fn flag_only(self) -> Setting {
        Setting { flag_only: true, ..self }
    }
    const fn fills(self, secret: &'static str) -> Setting {
        Setting { fills: Some(secret), ..self }
    }
    const fn credential(self, name: &'static str) -> Setting {
        Setting { credential: Some(name), ..self }
    }

    /// Its environment variable: the prefix, and the key in capitals with `_` for the dot.
    pub fn variable(&self) -> String {
        format!("{ENV_PREFIX}{}", self.key.replace('.', "_").to_uppercase())
    }

    /// Its table and its name in it.
    pub fn split(&self) -> (Option<&'static str>, &'static str) {
        match self.key.split_once('.') {
            Some((table, name)) => (Some(table), name),
            None => (None, self.key),
        }
    }

    /// True if its value must not be shown.
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Secret
    }
}

/// The setting of this name.
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// The settings that files and variables may set: all but those that are flags and nothing else.
pub fn lasting() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(|setting| !setting.flag_only)
}

/// The setting behind this environment variable.
pub fn find_variable(name: &str) -> Option<&'static Setting> {
    lasting().find(|setting| setting.variable() == name)
}

/// The tables, each once, in the order of the settings.
pub fn tables() -> Vec<&'static str> {
    let mut tables: Vec<&str> = SETTINGS.iter().filter_map(|setting| setting.split().0).collect();
    tables.dedup();
    tables
}
