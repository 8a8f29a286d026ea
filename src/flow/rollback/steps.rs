//! The way back, step by step. Each can be cut off and done again.

use super::super::install::installer;
use super::super::read::{self, Fault};
use super::super::tree;
use super::super::upgrade::Change;
use super::super::upgrade::record::{Bad, BadReleases, Open, Previous};
use crate::durable;
use crate::error::Failure;
use crate::health::{self, Expectations};
use crate::kasm::docker;
use crate::kasm::held;
use crate::kasm::layout::Installed;
use crate::kasm::receipt::Receipt;
use crate::kasm::snapshot::{self, Snapshot};
use crate::record::Record;
use crate::step::{Context, Finish};
use crate::token;
use crate::words;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

/// How long the services of the version that is left may take to stop.
const STOP_TIME: Duration = Duration::from_secs(120);
/// So many lines of a container's log are kept.
const LOG_LINES: u32 = 500;
/// So much of the end of a log file is kept, in bytes, and of so many files.
const LOG_BYTES: u64 = 256 * 1024;
const LOG_FILES: usize = 40;
/// How long all that may take.
const LOG_TIME: Duration = Duration::from_secs(20);

/// Keeps the logs of the version that is left, masked. What cannot be kept is a warning.
pub(super) async fn keep_logs(work: &Change, cx: Context<'_>) -> Result<Finish, Failure> {
    let (paths, open) = (work.paths(), work.record()?);
    let left = open.newer(paths);
    let directory = paths.attempt_dir(open.attempt).join(format!("kasm-{}", open.to));
    let mut kept = 0;
    let mut keep = |name: String, text: String| {
        if text.trim().is_empty() {
            return;
        }
        let masked = work.install.masker.mask(&text);
        let written = durable::directory(&directory, 0o700)
            .and_then(|()| durable::write(&directory.join(name), masked.as_bytes(), 0o600));
        match written {
            Ok(()) => kept += 1,
            Err(error) => cx.observer.warn(&format!("a log cannot be kept: {error}")),
        }
    };
    let (until, logs) = (cx.deadline.within(LOG_TIME), left.dir.join("log"));
    // They lie where Kasm's own user may put what he likes: links, pipes.
    let found = read::patiently(move || Ok(tree::walk(&logs, 3)?)).await.unwrap_or_default();
    for (name, spot) in found.into_iter().take(LOG_FILES).filter(|_| !until.is_over()) {
        let name = words::one_line(&name);
        let spot = match spot {
            Ok(spot) => spot,
            Err(why) => {
                cx.observer.note(&format!("{name} is not kept: {why}"));
                continue;
            }
        };
        match read::patiently(move || read::tail(&spot, LOG_BYTES)).await {
            Ok(text) => keep(name.replace('/', "-"), text.text),
            Err(Fault::Missing(_)) => {}
            Err(Fault::Error(why)) => cx.observer.warn(&format!("{name} cannot be kept: {why}")),
        }
    }
    // An upgrade that did not get to starting anything has containers of the old version, or none.
    let socket = paths.docker_socket();
    for name in left.containers(open.role) {
        let asked = docker::logs(&socket, name, LOG_LINES);
        match tokio::time::timeout(until.remaining(), asked).await {
            Ok(Ok(text)) => keep(format!("{name}.log"), text),
            Ok(Err(docker::Error::Unknown(_))) => {}
            Ok(Err(error)) => cx.observer.note(&format!("the log of {name} cannot be kept: {error}")),
            Err(_) => cx.observer.note(&format!("the log of {name} cannot be kept: Docker does not answer")),
        }
    }
    let shown = paths.shown(&directory);
    Ok(match kept {
        0 => Finish::Skipped(format!("Kasm {} has left no logs", open.to)),
        count => Finish::Done(format!("{count} logs of Kasm {} are kept in {}", open.to, shown.display())),
    })
}

/// Stops what runs, of whichever version. What does not stop in order is a warning: the old version's start
/// is what counts.
pub(super) async fn stop(work: &Change, cx: Context<'_>) -> Result<Finish, Failure> {
    let (paths, open) = (work.paths(), work.record()?);
    let mask = work.install.mask();
    let services = work.install.services(open.attempt, &mask, cx.observer);
    let mut by = Vec::new();
    let deadline = cx.deadline.within(STOP_TIME);
    let mut versions: Vec<Installed> = Installed::read(paths).into_iter().collect();
    let new = open.newer(paths);
    // The links may not have been moved yet, or not all of them.
    if new.dir.join("bin/stop").exists() && !versions.contains(&new) {
        versions.push(new);
    }
    for version in &versions {
        match services.stop(version, deadline).await {
            Ok(how) => by.push(how),
            Err(error) => cx.observer.warn(&error.to_string()),
        }
    }
    by.dedup();
    Ok(match by.is_empty() {
        true => Finish::Warned("nothing was stopped in order".into()),
        false => Finish::Done(format!("by {}", by.join(", "))),
    })
}

/// Links, configuration and receipt as they were; what the upgrade made is gone.
pub(super) async fn restore(work: &Change, cx: Context<'_>) -> Result<Finish, Failure> {
    let (paths, open) = (work.paths(), work.record()?);
    let Some(dir) = open.snapshot_dir(paths) else {
        relink(work, &open)?;
        return Ok(Finish::Done(format!("/opt/kasm/current and /opt/kasm/bin lead to Kasm {}", open.from)));
    };
    let snapshot = Snapshot::open(paths, &dir)?;
    let changed = match snapshot.restore() {
        // The new version's own directory is what fills the disk, and goes anyhow.
        Err(error) if error.is_disk_full() && remove_new(paths, &open) => snapshot.restore()?,
        Err(error @ snapshot::Error::Damaged { .. }) => return Err(error.into()),
        other => other?,
    };
    remove_new(paths, &open);
    if changed.iter().any(|words| words.contains("kasm.service")) {
        let mask = work.install.mask();
        work.install.services(open.attempt, &mask, cx.observer).reload(cx.deadline.within(STOP_TIME)).await;
    }
    for words in changed.iter().take(50) {
        cx.observer.note(&format!("put back: {words}"));
    }
    Ok(match changed.len() {
        0 => Finish::Skipped("everything is as it was".into()),
        count => Finish::Done(format!("{count} files and links of Kasm {} put back", open.from)),
    })
}

/// Removes the directory that the upgrade made. True if there was one.
fn remove_new(paths: &crate::paths::Paths, open: &Open) -> bool {
    let dir = open.newer(paths).dir;
    let is_ours = !open.to_was_there && open.to != open.from && dir.parent() == Some(&paths.kasm_dir());
    // What is left of it takes room and does no other harm.
    is_ours && !open.to.is_empty() && fs::remove_dir_all(&dir).is_ok()
}

fn relink(work: &Change, open: &Open) -> Result<(), Failure> {
    let paths = work.paths();
    let old = open.old(paths).dir;
    // An installer that knows of the root has put it into the links.
    let target = match paths.is_machine() || fs::read_link(paths.kasm_current()).is_ok_and(|to| to.starts_with(&old)) {
        true => old,
        false => match fs::read_link(paths.kasm_current()) {
            Ok(to) if to.starts_with(paths.root()) => old,
            _ => paths.shown(&old),
        },
    };
    for (link, target) in [(paths.kasm_current(), target.clone()), (paths.kasm_dir().join("bin"), target.join("bin"))] {
        let temporary = link.with_file_name(".kasm-bootstrap.link");
        let _ = fs::remove_file(&temporary); // of a run that was killed; else there is none
        symlink(&target, &temporary)
            .and_then(|()| fs::rename(&temporary, &link))
            .and_then(|()| durable::sync_directory(&paths.kasm_dir()))
            .map_err(|source| snapshot::Error::Write { path: link.clone(), source })?;
    }
    Ok(())
}

/// Starts the services of the version that is back.
pub(super) async fn start(work: &Change, cx: Context<'_>) -> Result<Finish, Failure> {
    let (paths, open) = (work.paths(), work.record()?);
    let mask = work.install.mask();
    let services = work.install.services(open.attempt, &mask, cx.observer);
    let how = services.start(&open.old(paths), cx.deadline).await?;
    Ok(Finish::Done(format!("by {how}")))
}

/// The same probes as for the new version. What was wrong with its tokens before the upgrade is not held
/// against it.
pub(super) async fn prove(work: &Change, cx: Context<'_>) -> Result<Finish, Failure> {
    let (paths, open) = (work.paths(), work.record()?);
    let known = match open.is_by_hand() {
        true => Vec::new(),
        false if work.known.borrow().is_empty() => {
            held::read(&open.old(paths), Some(open.role), &token::Context::now(None))?
        }
        false => work.known.borrow().clone(),
    };
    let expectations = Expectations {
        version: Some(open.from.clone()),
        known,
        settle: work.install.intent.settle,
        manager: Some(work.manager()),
        ..Expectations::default()
    };
    let proof = health::prove_installed(paths, open.role, &expectations, cx.deadline, cx.observer).await?;
    for warning in &proof.warnings {
        cx.observer.warn(warning);
    }
    let containers: Vec<&str> = proof.containers.iter().map(|(name, _)| name.as_str()).collect();
    Ok(Finish::Done(format!("Kasm {} is up: {}", open.from, containers.join(", "))))
}

/// Remembers a release that is no good, and ends the record.
pub(super) async fn settle(work: &Change, cx: Context<'_>) -> Result<Finish, Failure> {
    let (paths, open) = (work.paths(), work.record()?);
    if let Some(cause) = open.cause.as_ref().filter(|cause| blames_the_release(cause)) {
        let bad =
            Bad { digest: open.digest.clone(), version: open.to.clone(), at: words::now(), why: cause.message.clone() };
        if let Err(error) = BadReleases::add(paths, bad) {
            cx.observer.warn(&format!("that this release failed here is not remembered: {error}"));
        }
    }
    if open.is_by_hand() {
        receipt(work, &open)?;
        Previous::remove(paths)?;
    }
    // A script that was killed has left its own log there, which holds tokens in clear.
    installer::remove_unpacked(paths, &open.digest, cx.observer);
    work.close()?;
    Ok(Finish::Done(format!("Kasm {} is back and healthy", open.from)))
}

/// A receipt for a version that none was kept of.
fn receipt(work: &Change, open: &Open) -> Result<(), Failure> {
    let paths = work.paths();
    match Receipt::read(paths)? {
        Some(mut receipt) if receipt.version.as_deref() == Some(&open.from) => {
            receipt.proved = true;
            receipt.write(paths)?;
        }
        before => {
            let receipt = Receipt {
                schema: Receipt::SCHEMA,
                role: open.role,
                // Nobody knows any more.
                digest: String::new(),
                version: Some(open.from.clone()),
                at: words::now(),
                manager: open.manager.clone(),
                address: before.as_ref().map(|before| before.address.clone()).unwrap_or_default(),
                attempt: open.attempt,
                proved: true,
                owes_settings: before.as_ref().is_some_and(|before| before.owes_settings),
                instance: before.and_then(|before| before.instance),
            };
            receipt.write(paths)?;
        }
    }
    Ok(())
}

/// True for a failure that the release would meet again: not a full disk, a signal, the end of the budget, or
/// somebody else's being away.
fn blames_the_release(cause: &Failure) -> bool {
    let theirs = [
        "installer.failed",
        "installer.fatal",
        "installer.nothing-installed",
        "installer.unknown-option",
        "installer.invalid-role",
        "installer.unsupported-system",
    ];
    let dockers = cause.reason.starts_with("health.docker");
    theirs.contains(&cause.reason.as_str()) || (cause.reason.starts_with("health.") && !dockers)
}
