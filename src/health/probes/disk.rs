//! Room on the disks that a node fills: the root, Docker's, Kasm's.

use crate::health::model::{Finding, Level, Measure, ProbeStatus};
use crate::health::probe::Context;
use crate::machine::mounts::{self, Place};
use crate::paths::Paths;
use crate::words::{self, listed};
use futures_util::future::{BoxFuture, FutureExt};
use std::io;
use std::path::PathBuf;

pub(super) const NAME: &str = "disk";

/// Less room than so many bytes is worth a word, and less than a tenth of a smaller disk.
const LITTLE: u64 = 10_000_000_000;
/// With less room than so many bytes, and less than a fiftieth of a smaller disk, sessions cannot start and logs
/// cannot be written.
const NONE: u64 = 500_000_000;
/// The same for inodes.
const LITTLE_INODES: u64 = 100_000;
const NO_INODES: u64 = 5_000;

pub(super) fn room<'a>(context: &'a Context, _: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    async move {
        let paths = context.paths.clone();
        match context.errands.run(NAME, move || look(&paths)).await {
            Err(finding) => finding,
            Ok(looks) => judge(&looks),
        }
    }
    .boxed()
}

/// A path as the machine names it, and what was seen there.
type Look = (String, io::Result<Place>);

fn look(paths: &Paths) -> Vec<Look> {
    let all: [PathBuf; 3] = [paths.at("/"), paths.docker_dir(), paths.at("/opt")];
    all.iter().map(|path| (paths.shown(path).display().to_string(), mounts::look(path))).collect()
}

/// How bad it is that so much of so much is left.
fn level(free: u64, total: u64, little: u64, none: u64) -> Level {
    match free {
        free if free < none.min(total / 50) => Level::Fail,
        free if free < little.min(total / 10) => Level::Warn,
        _ => Level::Ok,
    }
}

fn judge(looks: &[Look]) -> Finding {
    let mut measures = Vec::new();
    // Several of the paths may lie on one disk.
    let mut disks: Vec<(&Place, Vec<String>)> = Vec::new();
    let mut broken = Vec::new();
    for (shown, look) in looks {
        let place = match look {
            Ok(place) => place,
            Err(error) => {
                broken.push(format!("{shown} cannot be looked at: {error}"));
                continue;
            }
        };
        let mut measure = |name: &str, value: u64| measures.push(Measure::of(name, "path", shown, value as f64));
        measure("disk_free_bytes", place.free_bytes);
        measure("disk_size_bytes", place.total_bytes);
        if let (Some(free), Some(total)) = (place.free_inodes, place.total_inodes) {
            measure("disk_free_inodes", free);
            measure("disk_inodes", total);
        }
        match disks.iter_mut().find(|(known, _)| known.device == place.device) {
            Some((_, names)) => names.push(shown.clone()),
            None => disks.push((place, vec![shown.clone()])),
        }
    }
    let mut found: Vec<(Level, String, String)> = Vec::new();
    for (place, names) in &disks {
        let names = listed(names);
        if place.read_only {
            let remedy =
                format!("`dmesg` says why, if it went read-only by itself; mount -o remount,rw {}", place.point());
            found.push((Level::Fail, format!("{} is mounted read-only ({names})", place.name()), remedy));
            continue;
        }
        let bytes = level(place.free_bytes, place.total_bytes, LITTLE, NONE);
        if bytes > Level::Ok {
            let words = format!(
                "{} free of {} for {names}, on {}",
                words::bytes(place.free_bytes),
                words::bytes(place.total_bytes),
                place.name()
            );
            let words =
                if bytes == Level::Fail { format!("the disk is full: {words}") } else { format!("only {words}") };
            let remedy = "`docker system df` shows what can go (`docker image prune`), `journalctl --disk-usage` the \
                          logs; or give the machine a larger disk";
            found.push((bytes, words, remedy.into()));
        }
        if let (Some(free), Some(total)) = (place.free_inodes, place.total_inodes) {
            let inodes = level(free, total, LITTLE_INODES, NO_INODES);
            if inodes > Level::Ok {
                let words = format!("{free} inodes free of {total} for {names}, on {}", place.name());
                let words = if inodes == Level::Fail {
                    format!("no inodes are left: {words}")
                } else {
                    format!("only {words}")
                };
                found.push((inodes, words, format!("see `df -i {}`: remove small files there", place.point())));
            }
        }
    }
    found.sort_by_key(|(level, ..)| std::cmp::Reverse(*level));
    let finding = match (found.first(), broken.is_empty()) {
        (Some((level, _, remedy)), _) => {
            let words: Vec<&str> = found.iter().map(|(_, words, _)| words.as_str()).collect();
            Finding { level: *level, remedy: Some(remedy.clone()), ..Finding::ok(words.join("; ")) }
        }
        (None, false) => Finding::unknown(broken.join("; ")),
        (None, true) => {
            let line = |(place, names): &(&Place, Vec<String>)| {
                format!("{} free for {}", words::bytes(place.free_bytes), listed(names))
            };
            Finding::ok(disks.iter().map(line).collect::<Vec<_>>().join(", "))
        }
    };
    Finding { measures, ..finding }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(device: u64, free_bytes: u64, total_bytes: u64, inodes: Option<(u64, u64)>) -> Place {
        Place {
            at: "/x".into(),
            device,
            total_bytes,
            free_bytes,
            total_inodes: inodes.map(|(_, total)| total),
            free_inodes: inodes.map(|(free, _)| free),
            read_only: false,
            noexec: false,
            mount: None,
        }
    }

    fn judged(looks: Vec<(&str, io::Result<Place>)>) -> String {
        let looks: Vec<Look> = looks.into_iter().map(|(name, look)| (name.to_owned(), look)).collect();
        let finding = judge(&looks);
        format!("{}: {}", finding.level, finding.words)
    }

    #[test]
    fn disks_are_judged_by_what_is_left_and_each_is_told_once() {
        const GB: u64 = 1_000_000_000;
        let good = || Ok(place(1, 50 * GB, 100 * GB, Some((900_000, 1_000_000))));
        let lines = [
            judged(vec![("/", good()), ("/var/lib/docker", good()), ("/opt", good())]),
            judged(vec![("/", good()), ("/var/lib/docker", Ok(place(2, 9 * GB, 2000 * GB, None)))]),
            judged(vec![("/", Ok(place(1, GB / 10, 20 * GB, None))), ("/opt", Ok(place(2, 3 * GB, 20 * GB, None)))]),
            judged(vec![("/", Ok(place(1, 3 * GB, 20 * GB, Some((9, 1_000_000)))))]),
            judged(vec![("/", Ok(Place { read_only: true, ..place(1, 0, 0, None) }))]),
            judged(vec![("/", good()), ("/opt", Err(io::ErrorKind::PermissionDenied.into()))]),
            judged(vec![("/", Ok(place(1, 0, 0, Some((0, 0)))))]),
        ];
        insta::assert_snapshot!(lines.join("\n"), @"
        ok: 50.0 GB free for /, /var/lib/docker and /opt
        warn: only 9.0 GB free of 2.0 TB for /var/lib/docker, on the file system of /x
        fail: the disk is full: 100.0 MB free of 20.0 GB for /, on the file system of /x
        fail: no inodes are left: 9 inodes free of 1000000 for /, on the file system of /x
        fail: the file system of /x is mounted read-only (/)
        unknown: /opt cannot be looked at: permission denied
        ok: 0 B free for /
        ");
    }
}
