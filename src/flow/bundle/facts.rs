//! What this program finds out itself for a bundle.

use super::Ask;
use super::secrets::versions;
use super::table::Fact;
use crate::config::Loaded;
use crate::flow::install::Install;
use crate::flow::read::{Fault, Text, bounded};
use crate::flow::tree;
use crate::machine::address;
use crate::machine::facts::Facts;
use crate::machine::{mounts, sockets};
use crate::paths::Paths;
use crate::words;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// So many names of a directory are listed.
const MOST_NAMES: usize = 500;

/// What needs more than the machine: the configuration, and what follows from it.
pub fn of_intent(fact: Fact, ask: &Ask<'_>, limit: u64) -> Option<Result<Text, Fault>> {
    let loaded = || ask.configuration.as_ref().map_err(|why| Fault::Error(why.clone()));
    match fact {
        Fact::Configuration => Some(loaded().map(|loaded| document(&configuration(loaded), limit))),
        Fact::Plan => Some(loaded().and_then(|loaded| plan(ask.paths, loaded)).map(|plan| document(&plan, limit))),
        Fact::Proxies => Some(Ok(bounded(proxies(ask), limit))),
        _ => None,
    }
}

/// What the machine alone tells. It may block.
pub fn of_machine(fact: Fact, paths: &Paths, limit: u64) -> Result<Text, Fault> {
    match fact {
        Fact::Machine => {
            let mut facts = serde_json::to_value(Facts::gather(paths)).unwrap_or_default();
            facts["kasm_bootstrap"] = env!("CARGO_PKG_VERSION").into();
            let kasm = versions(paths).into_iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
            facts["kasm_versions"] = kasm.collect();
            let current = fs::read_link(paths.kasm_current()).ok();
            facts["kasm_current"] = current.map(|to| to.display().to_string()).into();
            Ok(document(&facts, limit))
        }
        Fact::Disks => Ok(bounded(disks(paths), limit)),
        Fact::Addresses => {
            let locals = address::locals().map_err(|error| Fault::Error(error.to_string()))?;
            Ok(bounded(locals.iter().map(|local| format!("{} {}\n", local.interface, local.address)).collect(), limit))
        }
        Fact::Listening => listening(&paths.proc_dir()).map(|text| bounded(text, limit)),
        Fact::Listing => Ok(bounded(listing(paths), limit)),
        Fact::Configuration | Fact::Plan | Fact::Proxies => Err(Fault::Missing("nobody asked".into())),
    }
}

fn document(value: &Value, limit: u64) -> Text {
    bounded(serde_json::to_string_pretty(value).expect("a JSON value can always be written") + "\n", limit)
}

fn configuration(loaded: &Loaded) -> Value {
    let settings: Map<String, Value> = loaded
        .merged
        .shown()
        .into_iter()
        .map(|one| (one.key.to_owned(), json!({ "value": one.value, "from": one.from.to_string(), "note": one.note })))
        .collect();
    let files: Vec<String> = loaded.files.iter().map(|path| path.display().to_string()).collect();
    json!({ "settings": settings, "files": files, "warnings": loaded.warnings })
}

fn plan(paths: &Paths, loaded: &Loaded) -> Result<Value, Fault> {
    let intent = loaded.merged.understand().map_err(|error| Fault::Error(error.to_string()))?.intent;
    let work = Install::new(paths, intent).map_err(|failure| Fault::Error(failure.message))?;
    let plan = work.plan();
    Ok(json!({ "verb": plan.verb, "fingerprint": plan.fingerprint, "steps": plan.describe() }))
}

fn proxies(ask: &Ask<'_>) -> String {
    let mut lines: Vec<String> = Vec::new();
    for (name, value) in &ask.environment {
        let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
        if name.to_ascii_lowercase().ends_with("_proxy") {
            lines.push(format!("{name}={value}\n"));
        }
    }
    lines.sort();
    match lines.is_empty() {
        true => "none\n".into(),
        false => lines.concat(),
    }
}

fn disks(paths: &Paths) -> String {
    let mut text = String::new();
    for path in ["/", "/var", "/var/lib/docker", "/var/lib/kasm-bootstrap", "/opt", "/tmp", "/run"] {
        // Writing into a String cannot fail.
        let _ = match mounts::look(&paths.at(path)) {
            Err(error) => writeln!(text, "{path}: {error}"),
            Ok(place) => {
                let inodes = place.free_inodes.map_or("-".into(), |count| count.to_string());
                let mount = place.mount.map(|mount| format!(" on {} ({})", mount.point.display(), mount.kind));
                let flags = [(place.read_only, ", read-only"), (place.noexec, ", noexec")];
                let flags: String = flags.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
                let mount = mount.unwrap_or_default();
                writeln!(text, "{path}: {} free, {inodes} inodes free{mount}{flags}", words::bytes(place.free_bytes))
            }
        };
    }
    text
}

fn listening(proc: &Path) -> Result<String, Fault> {
    let mut text = String::new();
    for name in sockets::TABLES {
        let mut found = match sockets::table(proc, name) {
            Ok(found) => found,
            // A kernel without IPv6 has no such table.
            Err(_) if name == "tcp6" => continue,
            Err(error) => return Err(error.into()),
        };
        found.sort_by_key(|one| one.port);
        for one in found {
            let holder = sockets::holder(proc, one.inode).map(|pid| {
                let comm = fs::read_to_string(proc.join(pid.to_string()).join("comm")).unwrap_or_default();
                format!("pid {pid} {}", words::one_line(comm.trim()))
            });
            // Writing into a String cannot fail.
            let _ =
                writeln!(text, "{name} port {} {}", one.port, holder.unwrap_or_else(|| "by another's process".into()));
        }
    }
    Ok(text)
}

fn listing(paths: &Paths) -> String {
    let mut text = String::new();
    for (directory, depth) in [
        (paths.state_dir(), 3),
        (paths.cache_dir(), 2),
        (paths.config_home(), 2),
        (paths.run_dir(), 2),
        (paths.kasm_dir(), 2),
    ] {
        list(paths, &directory, depth, &mut text);
    }
    text
}

fn list(paths: &Paths, directory: &Path, depth: usize, text: &mut String) {
    let shown = paths.shown(directory);
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{}: {error}", shown.display());
            return;
        }
    };
    let mut names: Vec<_> = entries.flatten().take(MOST_NAMES).collect();
    names.sort_by_key(fs::DirEntry::file_name);
    for entry in names {
        let Ok(data) = entry.metadata() else { continue };
        let path = entry.path();
        let target = fs::read_link(&path).map(|to| format!(" -> {}", to.display())).unwrap_or_default();
        let shown = words::one_line(&format!("{}{target}", paths.shown(&path).display()));
        let (mode, owner) = (data.permissions().mode(), data.uid());
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{mode:06o} {owner:>5} {:>12} {shown}", data.len());
        if data.is_dir() && depth > 1 {
            list(paths, &path, depth - 1, text);
        }
    }
}

/// The trees of logs that Kasm's versions have: each one's name in the bundle, and what is in it.
pub fn kasm_logs(paths: &Paths) -> Vec<(String, Result<tree::Found, Fault>)> {
    let logs = versions(paths).into_iter().map(|version| {
        let name = version.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (format!("/{name}/log/"), tree::walk(&version.join("log"), 3).map_err(Fault::from))
    });
    logs.collect()
}
