//! The settings as a machine and a person read them: a JSON Schema and a complete example, both derived
//! from the table.

use super::schema::{self, Kind, Setting};
use serde_json::{Map, Value, json};

/// The JSON Schema (2020-12) of the configuration file.
pub fn json_schema() -> Value {
    let mut properties = Map::new();
    for setting in schema::lasting() {
        let (table, name) = setting.split();
        let place = match table {
            None => &mut properties,
            Some(table) => {
                let empty = || json!({ "type": "object", "additionalProperties": false, "properties": {} });
                let table = properties.entry(table).or_insert_with(empty);
                match table.get_mut("properties").and_then(Value::as_object_mut) {
                    Some(place) => place,
                    None => continue,
                }
            }
        };
        place.insert(name.to_owned(), property(setting));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kasm-bootstrap configuration",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn property(setting: &Setting) -> Value {
    let text = json!({ "type": "string" });
    let span = json!({ "type": ["string", "integer"] });
    let texts = json!({ "oneOf": [{ "type": "array", "items": { "type": "string" } }, { "type": "string" }] });
    let mut property = match setting.kind {
        // Not an enumeration: a template's placeholder is a sound file, and a value only once it is filled.
        Kind::Choice(words) => json!({ "type": "string", "examples": words }),
        Kind::Boolean => json!({ "type": ["boolean", "string"] }),
        Kind::Port => json!({ "type": ["integer", "string"], "minimum": 1, "maximum": 65535 }),
        Kind::Count => json!({ "type": ["integer", "string"], "minimum": 0 }),
        Kind::Duration | Kind::Mebibytes => span,
        list if list.is_list() => texts,
        Kind::Secret => json!({ "type": "string", "writeOnly": true }),
        _ => text,
    };
    property["description"] = json!(format!("{}. Default: {}.", setting.doc, setting.default));
    property["x-environment"] = json!(setting.variable());
    if let Some(flag) = setting.flag {
        property["x-flag"] = json!(flag);
    }
    property
}

/// A complete configuration file: what must be set is set, all else is a comment.
pub fn example() -> String {
    let mut text = String::from(
        "# kasm-bootstrap: every setting. What is commented out shows an example; its default is beside it.\n\
         # Later sources win: systemd credentials, /etc/kasm-bootstrap/config.toml, config.d/*.toml,\n\
         # user-data, the environment, flags. Values a template left empty, `None` or as a {placeholder} are unset.\n",
    );
    let mut current = None;
    for setting in schema::lasting() {
        let (table, name) = setting.split();
        if table == current {
            text.push('\n');
        } else {
            text.push_str(&format!("\n[{}]\n", table.unwrap_or_default()));
            current = table;
        }
        text.push_str(&format!("# {}.\n# Default: {}.\n", setting.doc, setting.default));
        if let Some(credential) = setting.credential {
            text.push_str(&format!("# Better as the systemd credential {credential}, or in a file.\n"));
        }
        text.push_str(&format!("# {}", setting.variable()));
        if let Some(flag) = setting.flag {
            text.push_str(&format!(", {flag}"));
        }
        let comment = if SET_IN_EXAMPLE.contains(&setting.key) { "" } else { "#" };
        text.push_str(&format!("\n{comment}{name} = {}\n", setting.example));
    }
    text
}

/// What the example sets: together with a token, enough for an agent.
const SET_IN_EXAMPLE: [&str; 3] = ["role", "release.version", "manager.address"];
