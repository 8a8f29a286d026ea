//! Room and rights on the file systems that are written to.

use super::{Context, Verdict};
use crate::error::Exit;
use crate::intent::Role;
use crate::kasm::layout::Installed;
use crate::machine::mounts::{self, Place};
use futures_util::future::{BoxFuture, FutureExt, ready};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;

/// Room for an unpacked release, as a multiple of its tarball: it unpacks to about three times that, and
/// the installer writes beside it. Our own measure, on the safe side.
const UNPACKED_PER_PACKED: u64 = 4;
/// The tarball, where its size is not known. Our own measure: with the multiple above, 1 GiB unpacked.
const PACKED_UNKNOWN: u64 = 256 * MIB;
/// Files and directories of an unpacked release. Our own measure: several times what a release has.
const UNPACKED_INODES: u64 = 20_000;
/// Configuration, certificates and logs of one installed version. Our own measure; container images lie
/// elsewhere and have checks of Kasm's own.
const KASM_BYTES: u64 = 512 * MIB;
/// Files of one installed version. Our own measure.
const KASM_INODES: u64 = 10_000;

/// Room for the images of Kasm's own services, below which a pull is likely to fail midway. Our own
/// measure: an agent's sessions need far more.
const IMAGES_GUAC: u64 = 2048 * MIB;
/// The same for an agent, with one small workspace image.
const IMAGES_AGENT: u64 = 5120 * MIB;
/// Room without which not even one image can be pulled. Our own measure.
const IMAGES_LEAST: u64 = 256 * MIB;
/// Files of Kasm's service images. Our own measure.
const IMAGES_INODES: u64 = 50_000;

struct Need {
    path: PathBuf,
    bytes: u64,
    inodes: u64,
}

pub(super) fn state(context: &Context) -> BoxFuture<'_, Verdict> {
    let packed = context.release_bytes.unwrap_or(PACKED_UNKNOWN);
    let unpacked = packed.saturating_mul(UNPACKED_PER_PACKED);
    let needs = [
        Need { path: context.paths.unpacked_dir(), bytes: unpacked, inodes: UNPACKED_INODES },
        Need { path: context.paths.cache_dir(), bytes: packed, inodes: 10 },
    ];
    ready(room(context, &needs)).boxed()
}

pub(super) fn kasm(context: &Context) -> BoxFuture<'_, Verdict> {
    let old = if context.upgrade { Installed::read(&context.paths) } else { None };
    // The old version stays beside the new one: what it takes is taken already, and the new one takes as much again.
    let (bytes, inodes) = old.as_ref().map(|old| tree(&old.dir)).unwrap_or_default();
    let need = Need { path: context.paths.kasm_dir(), bytes: KASM_BYTES.max(bytes), inodes: KASM_INODES.max(inodes) };
    let noexec = mounts::look(&need.path).ok().filter(|place| place.noexec);
    let verdict = match noexec {
        // Kasm's services are started by scripts in /opt/kasm/bin (docs/kasm-facts.md, 4).
        Some(place) => noexec_below(&context.paths.shown(&need.path).display().to_string(), &place),
        None => room(context, &[need]),
    };
    let verdict = match (old, verdict) {
        (Some(old), Verdict::Pass(detail)) => Verdict::Pass(format!("{detail}; {}", stays(context, &old, bytes))),
        (Some(old), Verdict::Fail { detail, remedy, reason, exit }) => {
            let detail = format!("{detail}; {}", stays(context, &old, bytes));
            let remedy = format!("{remedy}; versions before this one below /opt/kasm can go");
            Verdict::Fail { detail, remedy, reason, exit }
        }
        (_, verdict) => verdict,
    };
    ready(verdict).boxed()
}

/// `/opt/kasm/1.17.0 takes 310 MiB and stays for a rollback`.
fn stays(context: &Context, old: &Installed, bytes: u64) -> String {
    format!("{} takes {} and stays for a rollback", context.paths.shown(&old.dir).display(), size(bytes))
}

/// So many files of a version are counted.
const MOST_FILES: u64 = 500_000;

/// What a tree takes on its disk, in bytes and in files; links are not followed. What cannot be looked at counts
/// for nothing.
fn tree(directory: &Path) -> (u64, u64) {
    let (mut bytes, mut files) = (0u64, 0u64);
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else { continue };
            // stat(2): blocks of 512 bytes, whatever the file system's own are.
            bytes = bytes.saturating_add(found.blocks().saturating_mul(512));
            files += 1;
            if files >= MOST_FILES {
                return (bytes, files);
            }
            if found.is_dir() {
                left.push(entry.path());
            }
        }
    }
    (bytes, files)
}

pub(super) fn docker(context: &Context) -> BoxFuture<'_, Verdict> {
    async move {
        if context.tells("no-check-disk", "-b") {
            return Verdict::Skipped("--no-check-disk is given".into());
        }
        let root_dir = context.docker().await.root_dir();
        let path = root_dir.map_or_else(|| context.paths.docker_dir(), |path| context.paths.at(path));
        let wanted = if context.role == Some(Role::Agent) { IMAGES_AGENT } else { IMAGES_GUAC };
        let place = match mounts::look(&path) {
            Err(error) => return broken(context, &path, &error),
            Ok(place) => place,
        };
        let shown = context.paths.shown(&path).display().to_string();
        let least = Need { path, bytes: IMAGES_LEAST, inodes: IMAGES_INODES };
        match room(context, &[least]) {
            Verdict::Pass(_) if place.free_bytes < wanted => Verdict::Warn {
                detail: format!(
                    "{} free on {} for {shown}, Kasm's images take up to {}{}",
                    size(place.free_bytes),
                    place.name(),
                    size(wanted),
                    if context.upgrade { ", and those of the version before stay" } else { "" }
                ),
                remedy: format!("free space on {} or give the machine a larger disk", place.point()),
            },
            Verdict::Pass(_) => Verdict::Pass(format!("{} free for {shown}", size(place.free_bytes))),
            other => other,
        }
    }
    .boxed()
}

fn noexec_below(shown: &str, place: &Place) -> Verdict {
    Verdict::refuse(
        "preflight.noexec",
        format!("programs cannot be run below {shown}: {} is mounted noexec", place.name()),
        format!("mount -o remount,exec {}, and take noexec out of /etc/fstab", place.point()),
    )
}

pub(super) fn exec_allowed(context: &Context) -> BoxFuture<'_, Verdict> {
    let path = context.paths.unpacked_dir();
    let shown = context.paths.shown(&path).display().to_string();
    let verdict = match mounts::look(&path) {
        Err(error) => broken(context, &path, &error),
        Ok(place) if place.noexec => noexec_below(&shown, &place),
        Ok(place) if place.read_only => read_only(&shown, &place),
        Ok(_) => Verdict::Pass(format!("programs can be run below {shown}")),
    };
    ready(verdict).boxed()
}

/// Judges needs together: those on one file system must fit side by side.
fn room(context: &Context, needs: &[Need]) -> Verdict {
    let mut places: Vec<(Place, Vec<&Need>)> = Vec::new();
    for need in needs {
        match mounts::look(&need.path) {
            Err(error) => return broken(context, &need.path, &error),
            Ok(place) => match places.iter_mut().find(|(known, _)| known.device == place.device) {
                Some((_, list)) => list.push(need),
                None => places.push((place, vec![need])),
            },
        }
    }
    let mut seen = Vec::new();
    for (place, needs) in &places {
        let shown: Vec<String> =
            needs.iter().map(|need| context.paths.shown(&need.path).display().to_string()).collect();
        let shown = shown.join(" and ");
        let bytes = needs.iter().fold(0u64, |sum, need| sum.saturating_add(need.bytes));
        let inodes = needs.iter().fold(0u64, |sum, need| sum.saturating_add(need.inodes));
        if place.read_only {
            return read_only(&shown, place);
        }
        if place.free_bytes < bytes {
            return Verdict::Fail {
                detail: format!(
                    "{} free on {} for {shown}, {} needed",
                    size(place.free_bytes),
                    place.name(),
                    size(bytes)
                ),
                remedy: format!("free space on {} or give the machine a larger disk", place.point()),
                reason: "preflight.disk-space",
                exit: Exit::Preflight,
            };
        }
        if let Some(free) = place.free_inodes.filter(|free| *free < inodes) {
            return Verdict::Fail {
                detail: format!("{free} inodes free on {} for {shown}, {inodes} needed", place.name()),
                remedy: format!("see `df -i {}`: remove small files there", place.point()),
                reason: "preflight.inodes",
                exit: Exit::Preflight,
            };
        }
        seen.push(format!("{} free for {shown} ({} needed)", size(place.free_bytes), size(bytes)));
    }
    Verdict::Pass(seen.join(", "))
}

fn read_only(shown: &str, place: &Place) -> Verdict {
    Verdict::Fail {
        detail: format!("{shown} cannot be written: {} is mounted read-only", place.name()),
        remedy: format!(
            "mount -o remount,rw {}; if it went read-only by itself, see `dmesg` for disk errors",
            place.point()
        ),
        reason: "preflight.read-only",
        exit: Exit::Preflight,
    }
}

fn broken(context: &Context, path: &Path, error: &io::Error) -> Verdict {
    Verdict::Broken { detail: format!("{} cannot be looked at: {error}", context.paths.shown(path).display()) }
}

/// Bytes for people: GiB with one digit from one GiB on, else MiB; rounded down, so that it never
/// promises more than there is.
pub(super) fn size(bytes: u64) -> String {
    match bytes / MIB {
        mib @ 1024.. => format!("{}.{} GiB", mib / 1024, mib % 1024 * 10 / 1024),
        mib => format!("{mib} MiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_down() {
        let cases = [(0, "0 MiB"), (MIB - 1, "0 MiB"), (1023 * MIB, "1023 MiB"), (1024 * MIB, "1.0 GiB")];
        for (bytes, expected) in cases {
            assert_eq!(size(bytes), expected);
        }
        assert_eq!(size(2047 * MIB), "1.9 GiB");
        assert_eq!(size(u64::MAX), "17179869183.9 GiB");
    }
}
