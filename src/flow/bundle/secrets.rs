//! Every secret this machine is known to hold, so that it is masked wherever it stands: those of our configuration and
//! credentials, those in Kasm's files, those in the environment.

use super::Ask;
use crate::config::schema::SETTINGS;
use crate::flow::read;
use crate::flow::tree::{self, Spot};
use crate::kasm::layout::Installed;
use crate::paths::Paths;
use crate::secret::Secret;
use crate::token::{SHORTEST_MASKED, announced, is_secret_name};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// No file is read further for its secrets, in bytes.
const LIMIT: u64 = 1 << 20;
/// No more secrets are looked for: each is looked for in all the text.
const MOST: usize = 64;

/// The secrets of the configuration and the environment.
pub fn given(ask: &Ask<'_>) -> Vec<Secret> {
    let mut secrets = Vec::new();
    if let Ok(loaded) = &ask.configuration {
        for setting in SETTINGS.iter().filter(|setting| setting.is_secret()) {
            if let Some(Ok(secret)) = loaded.merged.secret(setting.key) {
                secrets.push(secret.clone());
            }
        }
        // Receivers of webhooks have keys in their addresses.
        secrets.extend(loaded.merged.reporting().ok().and_then(|told| told.webhook).map(|webhook| webhook.url));
    }
    for (name, value) in &ask.environment {
        if let (Some(name), Some(value)) = (name.to_str(), value.to_str())
            && is_secret_name(name)
        {
            secrets.push(Secret::new(value));
        }
    }
    secrets
}

/// The secrets that lie on the machine, as far as this user may read them.
pub fn lying_about(paths: &Paths, credentials: Option<PathBuf>) -> Vec<Secret> {
    let mut secrets = Vec::new();
    // Whatever systemd hands to the service is a secret, and so is each line of it.
    for directory in credentials.into_iter().chain([paths.credentials()]) {
        for text in texts(&directory, 1) {
            secrets.extend(text.lines().map(str::trim).map(Secret::new));
        }
    }
    secrets.extend(read_text(&Spot::fixed(paths.config_file())).iter().flat_map(|text| announced(text)));
    secrets.extend(read_text(&Spot::fixed(paths.user_data())).iter().flat_map(|text| announced(text)));
    secrets.extend(texts(&paths.config_dir(), 1).iter().flat_map(|text| announced(text)));
    for version in versions(paths).into_iter().rev() {
        let installed = Installed { version: None, dir: version.clone() };
        if let Ok(Some(agent)) = installed.agent() {
            secrets.extend(agent.token);
        }
        for proxy in installed.proxies().unwrap_or_default() {
            secrets.extend(proxy.registration_token.into_iter().chain(proxy.auth_token));
        }
        secrets.extend(in_kasm(&version.join("conf")));
    }
    for directory in [paths.snapshots_dir(), paths.repair_backup()] {
        secrets.extend(in_kasm(&directory));
    }
    secrets
}

/// The secrets in Kasm's configuration files below a directory.
fn in_kasm(directory: &Path) -> Vec<Secret> {
    let Ok(found) = tree::walk(directory, 8) else { return Vec::new() };
    let mut secrets = Vec::new();
    for (name, spot) in found {
        let Some(text) = spot.ok().filter(|_| is_configuration(&name)).and_then(|spot| read_text(&spot)) else {
            continue;
        };
        match name.ends_with(".txt") {
            true => secrets.extend(text.lines().map(str::trim).map(Secret::new)),
            false => secrets.extend(announced(&text)),
        }
    }
    secrets
}

fn is_configuration(name: &str) -> bool {
    [".yaml", ".yml", ".json", ".conf", ".env", "registration_token.txt"].iter().any(|ending| name.ends_with(ending))
}

fn texts(directory: &Path, depth: usize) -> Vec<String> {
    let found = tree::walk(directory, depth).unwrap_or_default();
    found.into_iter().filter_map(|(_, spot)| read_text(&spot.ok()?)).collect()
}

fn read_text(spot: &Spot) -> Option<String> {
    read::whole(spot, LIMIT).ok().map(|read| read.text)
}

/// The directories of Kasm's versions, in the order of their names; links are none.
pub fn versions(paths: &Paths) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(paths.kasm_dir()) else { return Vec::new() };
    let directories = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut versions: Vec<PathBuf> = directories.map(|entry| entry.path()).take(32).collect();
    versions.sort();
    versions
}

/// Each once, and no more than can be looked for: the first, which are the surest.
pub fn distinct(secrets: Vec<Secret>) -> Vec<Secret> {
    let mut seen = BTreeSet::new();
    let mut kept = Vec::new();
    for secret in secrets {
        let is_new = secret.expose().len() >= SHORTEST_MASKED && seen.insert(Sha256::digest(secret.expose()));
        if is_new && kept.len() < MOST {
            kept.push(secret);
        }
    }
    kept
}
