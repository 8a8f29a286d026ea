//! All sources in one, before their values are understood: what holds for each setting and where it was
//! found.

use super::error::Error;
use super::layer::{Entry, Layer, Origin, Raw, Stack};
use super::meaning::{self, Meaning};
use super::schema::{self, Kind, Setting};
use super::{read, value};
use crate::net;
use crate::secret::Secret;
use std::path::Path;

/// What is shown in the place of a secret.
const HIDDEN: &str = "[secret]";

/// What all sources together say.
#[derive(Debug, Clone, Default)]
pub struct Merged {
    stack: Stack,
    /// The secrets that came out of files named by a setting, or why they did not.
    filled: Vec<(&'static str, Result<Secret, Error>)>,
}

/// One setting as a person wants to see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The setting's key.
    pub key: &'static str,
    /// Its value, `[secret]` for a secret; `None` where it is not set.
    pub value: Option<String>,
    /// Where the value was found.
    pub from: Origin,
    /// What there is to say beside: which file a secret is in, why a setting is not set.
    pub note: Option<String>,
}

impl Merged {
    /// Merges layers, the first being the lowest. Pure: secrets that are in files are not there yet.
    pub fn of<'a>(layers: impl IntoIterator<Item = &'a Layer>) -> Merged {
        let mut stack = Stack::default();
        for layer in layers {
            stack.push(layer);
        }
        Merged { stack, filled: Vec::new() }
    }

    /// Reads the files of the secrets that are named by their file. What cannot be read is an error only
    /// once it is needed: an agent does not need a connection proxy's token.
    pub(super) fn fill(&mut self, warnings: &mut Vec<String>) -> Result<(), Error> {
        let mut stdin: Option<&'static str> = None;
        for setting in schema::SETTINGS {
            let Some((secret, entry)) = setting.fills.zip(self.stack.get(setting.key)) else { continue };
            let Raw::Text(path) = &entry.raw else { continue };
            let given = match meaning::of(path) {
                Meaning::Given(given) => given,
                Meaning::Empty => continue,
                Meaning::Left(placeholder) | Meaning::Torn(placeholder) => {
                    let error = Error::placeholder(setting.key, &entry.origin, placeholder);
                    self.filled.push((secret, Err(error)));
                    continue;
                }
            };
            let text = match (given, &entry.origin) {
                ("-", Origin::Flag(_)) => {
                    if let Some(first) = stdin.replace(secret) {
                        return Err(Error::StandardInput { first, second: secret });
                    }
                    read::secret_from_stdin(secret)
                }
                ("-", origin) => Err(Error::Value {
                    key: setting.key,
                    origin: origin.clone(),
                    problem: "is `-`, and only a flag can mean standard input by that".into(),
                    help: "name a file".into(),
                }),
                (path, _) => {
                    let path = Path::new(path);
                    warnings.extend(read::exposed(path));
                    read::secret(secret, path)
                }
            };
            self.filled.push((secret, text));
        }
        Ok(())
    }

    /// The entry that decides a setting.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.stack.get(key)
    }

    /// A secret by its key, as its source has it: it may still be a template's placeholder, and empty if it
    /// was given as an empty flag or file. `None` if no source gives it.
    pub fn secret(&self, key: &str) -> Option<Result<&Secret, Error>> {
        if let Some(Entry { raw: Raw::Secret(secret), .. }) = self.get(key) {
            return Some(Ok(secret));
        }
        let (_, filled) = self.filled.iter().find(|(filled, _)| *filled == key)?;
        Some(filled.as_ref().map_err(Error::clone))
    }

    /// True if a setting is what Kasm's templates leave where the zone's upstream auth address is the default.
    pub(super) fn is_request_host(&self, key: &str) -> bool {
        matches!(self.get(key).map(|entry| &entry.raw), Some(Raw::Text(text)) if value::is_request_host(text))
    }

    /// True if a setting was given for this very run: by a flag, or in the environment.
    pub fn is_given_for_this_run(&self, key: &str) -> bool {
        matches!(self.get(key).map(|entry| &entry.origin), Some(Origin::Flag(_) | Origin::Environment(_)))
    }

    /// Every setting with its value and where that was found, in the table's order. Secrets are hidden.
    pub fn shown(&self) -> Vec<Shown> {
        let wanted = |setting: &&Setting| {
            setting.kind != Kind::SecretFile && (!setting.flag_only || self.get(setting.key).is_some())
        };
        schema::SETTINGS.iter().filter(wanted).map(|setting| self.shown_one(setting)).collect()
    }

    fn shown_one(&self, setting: &'static Setting) -> Shown {
        let key = setting.key;
        if setting.is_secret() {
            return self.shown_secret(setting);
        }
        let Some(entry) = self.get(key) else {
            return Shown { key, value: built_in(setting), from: Origin::Default, note: None };
        };
        let from = entry.origin.clone();
        if let Raw::List(items) = &entry.raw {
            let items: Vec<String> = match setting.kind {
                Kind::Urls => items.iter().map(|item| net::redact(item)).collect(),
                _ => items.clone(),
            };
            return Shown { key, value: Some(items.join(" ")), from, note: None };
        }
        let text = entry.raw.text().unwrap_or_else(|| HIDDEN.to_owned());
        let (value, note) = match meaning::of(&text) {
            Meaning::Given(given) if setting.kind == Kind::Url => {
                (Some(net::origin(given)), Some("its path is not shown".to_owned()))
            }
            Meaning::Given(given) => (Some(given.to_owned()), None),
            Meaning::Empty => (built_in(setting), Some("unset: it is empty".to_owned())),
            Meaning::Left(left) => (built_in(setting), Some(format!("unset: the template left {left}"))),
            Meaning::Torn(_) => {
                let shown = if setting.kind == Kind::Url { net::origin(&text) } else { text.clone() };
                (Some(shown.trim().to_owned()), Some("a placeholder is left in it".to_owned()))
            }
        };
        Shown { key, value, from, note }
    }

    fn shown_secret(&self, setting: &'static Setting) -> Shown {
        let key = setting.key;
        let hidden = || Some(HIDDEN.to_owned());
        if let Some(entry) = self.get(key) {
            let empty = matches!(&entry.raw, Raw::Secret(secret) if secret.is_empty());
            let note = empty.then(|| "it is empty".to_owned());
            return Shown { key, value: hidden(), from: entry.origin.clone(), note };
        }
        let named = schema::SETTINGS.iter().find(|file| file.fills == Some(key)).and_then(|file| self.get(file.key));
        let Some(Entry { raw: Raw::Text(path), origin, .. }) = named else {
            return Shown { key, value: None, from: Origin::Default, note: None };
        };
        let from = origin.clone();
        let place = if path.trim() == "-" { "standard input" } else { path.trim() };
        match self.secret(key) {
            Some(Ok(_)) => Shown { key, value: hidden(), from, note: Some(format!("from {place}")) },
            Some(Err(error)) => Shown { key, value: None, from, note: Some(format!("unset: {}", error.with_cause())) },
            None => Shown { key, value: None, from, note: Some(format!("from {place}")) },
        }
    }
}

/// The value a setting has where nobody sets it, if its default begins with a value and is not only a
/// description of one.
fn built_in(setting: &Setting) -> Option<String> {
    let word = setting.default.split([':', ' ']).next()?;
    let sound = match setting.kind {
        Kind::Choice(words) => words.contains(&word),
        Kind::Boolean => value::boolean(word).is_ok(),
        Kind::Duration => value::duration(word).is_ok(),
        Kind::Count => word.parse::<u64>().is_ok(),
        Kind::Address => word == "auto",
        _ => false,
    };
    sound.then(|| word.to_owned())
}
