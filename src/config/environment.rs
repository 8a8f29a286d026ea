//! What the environment says: our variables, and systemd's credentials.

use super::error::{Error, shortened};
use super::layer::{Layer, Origin, Raw};
use super::schema::{self, Setting};
use super::{read, suggest};
use crate::paths::{ENV_CREDENTIALS, ENV_PREFIX, ENV_ROOT};
use std::ffi::OsString;
use std::path::PathBuf;

/// The layer of our variables. Variables that are not ours are not looked at; one of ours that names no
/// setting is an error, because a misspelt variable would otherwise be silently without effect.
pub fn layer(variables: &[(OsString, OsString)]) -> Layer {
    let mut layer = Layer::default();
    let mut ours: Vec<(String, &OsString)> = variables
        .iter()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
        .filter(|(name, _)| name.starts_with(ENV_PREFIX) && name != ENV_ROOT)
        .collect();
    ours.sort();
    for (name, value) in ours {
        let origin = Origin::Environment(shortened(&name));
        let Some(setting) = schema::find_variable(&name) else {
            let suggestion = suggest::variable(&name);
            layer.errors.push(Error::Unknown { key: shortened(&name), origin, suggestion });
            continue;
        };
        let Some(text) = value.to_str() else {
            layer.errors.push(Error::NotUtf8 { place: origin.to_string() });
            continue;
        };
        if setting.is_secret() && !text.is_empty() {
            layer.warnings.push(format!(
                "{name} holds a token in the environment, where every process of this user can read it; \
                 put it into a file and name that in {name}_FILE"
            ));
        }
        match raw(setting, text) {
            Some(raw) => layer.set(setting, raw, origin),
            None => layer.errors.push(Error::Value {
                key: setting.key,
                origin,
                problem: "begins like a TOML list of texts, but is none".into(),
                help: "separate the values by blanks, or write [\"one\", \"two\"]".into(),
            }),
        }
    }
    layer
}

/// Lists are separated by blanks; values that hold blanks themselves are written as a TOML list.
fn raw(setting: &Setting, text: &str) -> Option<Raw> {
    if !setting.kind.is_list() {
        return Some(Raw::Text(text.to_owned()));
    }
    if !text.trim_start().starts_with("[\"") {
        return Some(Raw::List(text.split_whitespace().map(str::to_owned).collect()));
    }
    let table: toml::Table = toml::from_str(&format!("list = {}", text.trim())).ok()?;
    let items = table.get("list")?.as_array()?;
    items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<_>>().map(Raw::List)
}

/// The layer of systemd's credentials (systemd.exec(5), `LoadCredential=`): the lowest of all, so that
/// whatever is said elsewhere decides.
pub fn credentials(variables: &[(OsString, OsString)]) -> Layer {
    let mut layer = Layer::default();
    let directory = variables.iter().find(|(name, _)| name == ENV_CREDENTIALS).map(|(_, value)| PathBuf::from(value));
    let Some(directory) = directory.filter(|directory| directory.is_absolute()) else {
        return layer;
    };
    for setting in schema::SETTINGS {
        let Some(name) = setting.credential else { continue };
        match read::secret(setting.key, &directory.join(name)) {
            Ok(text) => layer.set(setting, Raw::Secret(text), Origin::Credential(name)),
            Err(Error::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => layer.errors.push(error),
        }
    }
    layer
}
