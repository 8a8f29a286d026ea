//! One configuration file: from TOML to a layer, purely. Every value keeps its line.

use super::error::{Error, shortened};
use super::layer::{Layer, Origin, Raw};
use super::schema::{self, Kind};
use super::suggest;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// The largest configuration file that is read, in bytes.
pub const LIMIT: u64 = 1024 * 1024;

/// After so many errors a file is not looked at any further: it is not a configuration.
const ENOUGH: usize = 20;

/// Reads the text of a configuration file. What is wrong is in the layer's errors.
pub fn layer(path: &Path, text: &str) -> Layer {
    let mut layer = Layer::default();
    let lines = Lines::of(text);
    match DeTable::parse(text) {
        Ok(table) => walk(&mut layer, path, &lines, "", table.get_ref()),
        Err(error) => layer.errors.push(syntax(path, &lines, &error)),
    }
    layer
}

/// Reads the bytes of a configuration file.
pub fn layer_from_bytes(path: &Path, bytes: &[u8]) -> Layer {
    match std::str::from_utf8(bytes) {
        Ok(text) => layer(path, text),
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let (line, column) = Lines::of(&String::from_utf8_lossy(good)).position(good.len());
            let place = format!("{}:{line}:{column}", path.display());
            Layer { errors: vec![Error::NotUtf8 { place }], ..Layer::default() }
        }
    }
}

fn walk(layer: &mut Layer, path: &Path, lines: &Lines<'_>, prefix: &str, table: &DeTable<'_>) {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    for (name, value) in entries {
        if layer.errors.len() >= ENOUGH {
            return;
        }
        let key = if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
        let origin = Origin::File(path.to_owned(), lines.position(name.span().start).0);
        let value = value.get_ref();
        let nested = schema::tables().contains(&key.as_str());
        match (schema::find(&key), value) {
            (Some(setting), _) if setting.flag_only => {
                let flag = setting.flag.unwrap_or_default();
                layer.errors.push(Error::FlagOnly { key: setting.key, flag, origin });
            }
            (Some(setting), value) => match raw(setting.kind, value) {
                Ok(raw) => layer.set(setting, raw, origin),
                Err((wanted, found)) => layer.errors.push(Error::Type { key, origin, wanted, found }),
            },
            (None, DeValue::Table(inner)) if nested => walk(layer, path, lines, &key, inner),
            (None, value) if nested => {
                let wanted = "a table";
                layer.errors.push(Error::Type { key, origin, wanted, found: kind_of(value) });
            }
            (None, _) => {
                let suggestion = suggest::key(&key);
                layer.errors.push(Error::Unknown { key: shortened(&key), origin, suggestion });
            }
        }
    }
}

/// The raw value, or what was wanted and what was found.
fn raw(kind: Kind, value: &DeValue<'_>) -> Result<Raw, (&'static str, &'static str)> {
    let wanted = match kind {
        Kind::Boolean => "true or false",
        Kind::Port | Kind::Count => "a number",
        Kind::Duration | Kind::Mebibytes => "a number, or a text with a unit",
        list if list.is_list() => "a list of texts",
        _ => "a text in quotes",
    };
    let refused = || (wanted, kind_of(value));
    match (kind, value) {
        (list, DeValue::Array(items)) if list.is_list() => {
            let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
            texts.collect::<Option<_>>().map(Raw::List).ok_or((wanted, "a list of other things"))
        }
        (list, DeValue::String(text)) if list.is_list() => Ok(Raw::List(vec![text.to_string()])),
        // Templates put everything into quotes, numbers too.
        (_, DeValue::String(text)) => Ok(Raw::Text(text.to_string())),
        (Kind::Boolean, DeValue::Boolean(value)) => Ok(Raw::Boolean(*value)),
        (Kind::Port | Kind::Count | Kind::Duration | Kind::Mebibytes, DeValue::Integer(number)) => {
            i64::from_str_radix(number.as_str(), number.radix()).map(Raw::Integer).map_err(|_| refused())
        }
        _ => Err(refused()),
    }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn syntax(path: &Path, lines: &Lines<'_>, error: &toml::de::Error) -> Error {
    let start = error.span().map(|span| span.start).unwrap_or_default();
    let (line, column) = lines.position(start);
    let compact: String = lines.text(line).split_whitespace().collect();
    Error::Syntax {
        path: path.to_owned(),
        line,
        column,
        message: error.message().to_owned(),
        bare_template: compact.contains("={") && compact.contains('}'),
    }
}

/// Where the lines of a text begin.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Lines<'a> {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Lines { text, starts }
    }

    /// Line and column of a byte, counted from 1; the column counts characters.
    fn position(&self, byte: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= byte).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or_default();
        let column = self.text.get(start..byte).map(|before| before.chars().count()).unwrap_or_default();
        (line, column + 1)
    }

    /// A line, counted from 1.
    fn text(&self, line: usize) -> &'a str {
        self.text.lines().nth(line.saturating_sub(1)).unwrap_or_default()
    }
}
