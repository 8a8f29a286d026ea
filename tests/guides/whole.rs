//! Configurations out of documents: whole ones, and parts that are put into a whole one.

use crate::common::{TOKEN, run, spoken};
use saphyr_parser::Parser;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use toml::{Table, Value};

/// What a part of a configuration is put into.
const AGENT: &str = r#"
role = "agent"
[release]
version = "1.19.0"
[manager]
address = "kasm.example.com"
token = "Zq7Wk3Rt9Xv5Lm1Pn8Bd"
"#;
const GUAC: &str = r#"
role = "guac"
[release]
version = "1.19.0"
[manager]
address = "kasm.example.com"
[guac]
registration_token = "Zq7Wk3Rt9Xv5Lm1Pn8Bd"
"#;
/// What Kasm fills into a template.
const FILLED: [(&str, &str); 6] = [
    ("{upstream_auth_address}", "kasm.example.com"),
    ("{manager_token}", TOKEN),
    ("{server_id}", "0f1e2d3c4b5a69788796a5b4c3d2e1f0"),
    ("{provider_name}", "harvester"),
    ("{server_external_fqdn}", "None"),
    ("{ssh_key}", "ssh-ed25519 AAAA admin"),
];

/// Whether a block of TOML is a configuration that `config check` has nothing against.
pub fn check_toml(place: &str, text: &str, part: bool) {
    let text = FILLED.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    let given: Table = text.parse().unwrap_or_else(|error| panic!("{place}: {error}"));
    let whole = match part {
        true => {
            let base = if given.contains_key("guac") { GUAC } else { AGENT };
            let mut whole = base.parse().unwrap();
            put(&given, &mut whole);
            whole
        }
        false => given,
    };
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("etc/kasm-bootstrap");
    fs::create_dir_all(&directory).unwrap();
    files(&whole, root.path());
    private(&directory.join("config.toml"), &whole.to_string());
    let mut command = Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap"));
    command.arg("--root").arg(root.path()).args(["config", "check"]).env_clear();
    let (code, _, err) = spoken(&run(&mut command));
    assert!(code == 0 && !err.contains("warning"), "{place}: {code}\n{err}\n{whole}");
}

/// Puts what is given over what is there. A secret in a file takes the place of one that is there as it is.
fn put(given: &Table, into: &mut Table) {
    for (key, value) in given {
        if let Some(plain) = key.strip_suffix("_file") {
            into.remove(plain);
        }
        match (value, into.get_mut(key)) {
            (Value::Table(given), Some(Value::Table(there))) => put(given, there),
            _ => drop(into.insert(key.clone(), value.clone())),
        }
    }
}

/// Makes the files that a configuration names, below this root.
fn files(table: &Table, root: &Path) {
    for (key, value) in table {
        match value {
            Value::Table(below) => files(below, root),
            Value::String(path) if path.starts_with('/') && key.ends_with("_file") => {
                let path = root.join(&path[1..]);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                private(&path, TOKEN);
            }
            _ => {}
        }
    }
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Whether a block is YAML, and the configuration in it, if it is a cloud-config, a right one.
pub fn check_yaml(place: &str, text: &str) {
    for event in Parser::new_from_str(text) {
        event.unwrap_or_else(|error| panic!("{place}: {error}"));
    }
    let mut lines = text.lines().skip_while(|line| !line.ends_with("content: |"));
    if let Some(head) = lines.next() {
        let indent = head.len() - head.trim_start().len();
        let inside = lines.take_while(|line| line.len() - line.trim_start().len() > indent);
        let configuration: String = inside.flat_map(|line| [line.trim_start(), "\n"]).collect();
        check_toml(place, &configuration, true);
    }
}
