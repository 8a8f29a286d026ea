//! What a release is refused for, before anything is made.

use super::{Options, Signer, other, run};
use minisign_verify::PublicKey;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// The version in `Cargo.toml`.
pub(super) fn version(top: &Path) -> io::Result<String> {
    let text = fs::read_to_string(top.join("Cargo.toml"))?;
    let package = text.split_once("[package]\n").map(|(_, rest)| rest).unwrap_or_default();
    let line = package.lines().find_map(|line| line.strip_prefix("version = \""));
    let version = line.and_then(|rest| rest.strip_suffix('"'));
    version.map(str::to_owned).ok_or_else(|| other("Cargo.toml names no version"))
}

/// What speaks against calling this tree that version.
pub(super) fn reasons(top: &Path, version: &str) -> io::Result<Vec<String>> {
    let mut reasons = Vec::new();
    let changed = run(Command::new("git").arg("-C").arg(top).args(["status", "--porcelain"]))?;
    if let Some(first) = changed.lines().next() {
        let more = changed.lines().count() - 1;
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        reasons.push(format!("this is not what is committed ({}{more})", first.trim()));
    }
    let changelog = fs::read_to_string(top.join("CHANGELOG.md"))?;
    if !has_entry(&changelog, version) {
        reasons.push(format!("CHANGELOG.md has no entry `## [{version}] - YYYY-MM-DD` with something in it"));
    }
    Ok(reasons)
}

/// True if the changelog says of this version when it came and what is in it.
pub(super) fn has_entry(changelog: &str, version: &str) -> bool {
    let Some((_, rest)) = changelog.split_once(&format!("\n## [{version}] - ")) else { return false };
    let (date, rest) = rest.split_once('\n').unwrap_or_default();
    let entry = rest.split("\n## ").next().unwrap_or_default();
    let is_date = date.len() == 10
        && date
            .bytes()
            .enumerate()
            .all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() });
    is_date && entry.lines().any(|line| line.starts_with("- "))
}

/// Who signs, where somebody is to.
pub(super) fn signer(options: &Options) -> io::Result<Option<Signer>> {
    let (key, public_key) = match (&options.key, &options.public_key) {
        (None, None) => return Ok(None),
        (Some(key), Some(public_key)) => (key, public_key),
        _ => return Err(other("--key and --public-key belong together: what is signed is verified")),
    };
    // Other programs are called with it from elsewhere.
    let key = fs::canonicalize(key).map_err(|error| other(format!("{}: {error}", key.display())))?;
    let text = fs::read_to_string(public_key).map_err(|error| other(format!("{}: {error}", public_key.display())))?;
    let public_key = PublicKey::decode(&text)
        .map_err(|error| other(format!("{} is no minisign public key: {error}", public_key.display())))?;
    let password = options.password_file.as_ref().map(fs::read).transpose()?;
    if Command::new("minisign").arg("-v").output().is_err() {
        return Err(other("minisign is not here: install the package minisign"));
    }
    Ok(Some(Signer { key, public_key, password }))
}
