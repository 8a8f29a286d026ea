//! What an installation that was cut off or removed by half has left below `/opt/kasm`.

use super::{Context, Verdict};
use crate::kasm::layout::Installed;
use futures_util::future::{BoxFuture, FutureExt, ready};
use std::io;
use std::path::Path;

/// So many entries are looked at: nobody keeps as many versions.
const ENTRIES: usize = 1000;

pub(super) fn check(context: &Context) -> BoxFuture<'_, Verdict> {
    ready(look(context)).boxed()
}

fn look(context: &Context) -> Verdict {
    let (paths, directory) = (&context.paths, context.paths.kasm_dir());
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Verdict::Pass("nothing is left of an earlier installation".into());
        }
        Err(error) => {
            let shown = paths.shown(&directory);
            return Verdict::Broken { detail: format!("{} cannot be read: {error}", shown.display()) };
        }
    };
    let mut versions: Vec<String> = entries
        .take(ENTRIES)
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(|c: char| c.is_ascii_digit()) && name.contains('.'))
        .collect();
    versions.sort();
    let shown = |name: &String| format!("/opt/kasm/{name}");
    let mut found = Vec::new();
    if Installed::read(paths).is_none() && !versions.is_empty() {
        let names: Vec<String> = versions.iter().map(shown).collect();
        let verb = if names.len() == 1 { "is" } else { "are" };
        found.push(format!("{} {verb} there, but /opt/kasm/current does not lead to a version", names.join(" and ")));
    }
    for version in &versions {
        if !directory.join(version).join("docker/docker-compose.yaml").exists() {
            found.push(format!("{} has no docker/docker-compose.yaml", shown(version)));
        }
    }
    let bin = directory.join("bin");
    if let Ok(target) = std::fs::read_link(&bin)
        && !bin.exists()
        // Kasm links absolutely, which a scratch root does not resolve.
        && !(target.is_absolute() && paths.at(&target).exists())
    {
        found.push(format!("/opt/kasm/bin points to {}, which is not there", Path::new(&target).display()));
    }
    if found.is_empty() {
        return Verdict::Pass("nothing is left of half an installation".into());
    }
    Verdict::Warn {
        detail: found.join("; "),
        remedy: "an installation did not come to its end: installing the same version wipes its directory; remove \
                 what else of it is not needed"
            .into(),
    }
}
