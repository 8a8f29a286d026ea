//! The installer's run, a bounded number of times, and the proof of what it left.

use super::super::packages;
use super::{Error, INSTALLED, Install};
use crate::apt;
use crate::blocking;
use crate::durable;
use crate::error::{Exit, Failure};
use crate::health::{self, Proof};
use crate::kasm;
use crate::kasm::command_line::CommandLine;
use crate::kasm::layout::Installed;
use crate::kasm::receipt::Receipt;
use crate::kasm::run::{self, Finished, RunOptions};
use crate::kasm::script::ScriptFlags;
use crate::machine::instance::{Identity, Instance};
use crate::observe::Observer;
use crate::paths::Paths;
use crate::record::Record;
use crate::release::Digest;
use crate::step::{Context, Finish, engine};
use crate::words;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// So often is the installer run when others take the package manager's locks from under it.
pub(in crate::flow) const RUNS: u32 = 3;
/// So many attempts are kept for reading.
const ATTEMPTS_KEPT: u32 = 10;
/// How long Kasm's own stop script may take before a wipe.
const STOP_TIME: std::time::Duration = std::time::Duration::from_secs(60);

/// The number of the last attempt on record.
pub fn last_attempt(paths: &Paths) -> Option<u32> {
    let entries = fs::read_dir(paths.attempts_dir()).ok()?;
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).max()
}

/// A new attempt's number; its directory is there.
pub(in crate::flow) fn new_attempt(paths: &Paths) -> Result<u32, Failure> {
    let attempt = last_attempt(paths).unwrap_or(0).saturating_add(1);
    durable::directory(&paths.attempt_dir(attempt), 0o700).map_err(|source| {
        let path = paths.attempt_dir(attempt).display().to_string();
        Failure::from(crate::step::Error::State { path, source })
    })?;
    if let Some(old) = attempt.checked_sub(ATTEMPTS_KEPT) {
        // Old attempts are kept for reading only; one that cannot be removed does no harm.
        let _ = fs::remove_dir_all(paths.attempt_dir(old));
    }
    Ok(attempt)
}

impl Install {
    /// For the engine: has the installer done its work, as far as a look can tell?
    pub fn is_installed(&self) -> bool {
        let receipt = Receipt::read(&self.paths).ok().flatten();
        let (Some(receipt), Some(installed)) = (receipt, Installed::read(&self.paths)) else { return false };
        receipt.version == installed.version && receipt.digest == self.digest() && self.copied(&receipt).is_none()
    }
}

/// Runs the release's installer.
pub async fn install(work: &Install, cx: Context<'_>) -> Result<Finish, Failure> {
    if work.installed.get() {
        return Ok(Finish::Skipped(INSTALLED.into()));
    }
    let command = command_line(work)?;
    cx.observer.note(&format!("running {}", command.shown()));
    let mut attempt = new_attempt(&work.paths)?;
    if work.intent.force {
        wipe(work, attempt, "--force", cx).await?;
    } else if Receipt::read(&work.paths)?.is_some_and(|receipt| work.copied(&receipt).is_some()) {
        wipe(work, attempt, "a copy of another instance", cx).await?;
    }
    let mut runs = 1;
    let finished = loop {
        match supervised(work, &command, attempt, cx).await {
            Ok(finished) => break finished,
            Err(error) if error.lost_lock_race() && runs < RUNS && Installed::read(&work.paths).is_none() => {
                runs += 1;
                let whose = packages::owner(&work.paths).name;
                cx.observer.warn(&format!(
                    "the installer lost a race for {whose}'s locks before anything was installed: once more"
                ));
                packages::until_quiet(&work.paths, cx.deadline, cx.observer).await?;
                attempt = new_attempt(&work.paths)?;
            }
            Err(error) => return Err(judge(work, error)),
        }
    };
    let Some(installed) = Installed::read(&work.paths) else {
        let current = "there is no /opt/kasm/current".into();
        return Err(Error::NothingInstalled { script: "the installer", current, attempt }.into());
    };
    sync(&work.paths, cx).await;
    // By hand nobody asks which instance this is, but whoever copies this disk wants to be told from it.
    let here = Identity::find(&work.paths, None);
    let receipt = Receipt {
        schema: Receipt::SCHEMA,
        role: work.intent.role,
        digest: work.digest(),
        version: installed.version.clone(),
        at: words::now(),
        manager: work.intent.manager.address.to_string(),
        address: work.own_address(),
        attempt,
        proved: false,
        instance: work.identity.best().or(here.best()).map(Instance::to_string),
        owes_settings: false,
    };
    receipt.write(&work.paths)?;
    let name = installed.version.map_or_else(|| "Kasm".into(), |version| format!("Kasm {version}"));
    let again = if runs > 1 { format!(" at run {runs}") } else { String::new() };
    Ok(Finish::Done(format!(
        "{name} is installed{again} ({} lines in attempts/{attempt}/installer.log)",
        finished.lines
    )))
}

/// Runs a script of the release to its good end, under supervision: its output goes into the attempt's log.
pub(in crate::flow) async fn supervised(
    work: &Install,
    command: &CommandLine,
    attempt: u32,
    cx: Context<'_>,
) -> Result<Finished, kasm::Error> {
    // While it runs, its own apt waits for the locks that it can be told to wait for.
    if let Err(error) = apt::snippet::place(&work.paths, cx.deadline.remaining()) {
        cx.observer.warn(&format!("{} cannot be written: {error}", work.paths.apt_snippet().display()));
    }
    let mask = work.mask();
    let release = command.script.parent().unwrap_or(Path::new("/")).to_owned();
    let mut options = RunOptions::new(release, &work.paths.attempt_dir(attempt), cx.deadline, &mask);
    options.env = environment(&work.paths);
    // TERM, KILL and the report all have to fit into what is kept of the budget.
    options.grace = run::GRACE.min(engine::reserve(work.intent.budget) / 2);
    run::run(command, options, cx.observer).await.and_then(Finished::check)
}

/// Scripts sync nothing, and a power cut must not empty what goes on record as installed: files of Kasm's, units, and
/// Docker's own. Below a root there is no power to be cut.
pub async fn sync(paths: &Paths, cx: Context<'_>) {
    if !paths.is_machine() {
        return;
    }
    let directory = paths.kasm_dir();
    let synced = blocking::run(move || durable::sync_filesystem(&directory));
    let why = match tokio::time::timeout_at(cx.deadline.instant().into(), synced).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the disk takes too long".to_owned(),
    };
    cx.observer.warn(&format!("what was installed may not survive a power cut: {why}"));
}

/// A script of the unpacked release, and what it understands.
pub(in crate::flow) fn script(work: &Install, name: &str) -> Result<(PathBuf, ScriptFlags), kasm::Error> {
    let path = work.unpacked().unwrap_or_default().join("kasm_release").join(name);
    let text = fs::read(&path).map_err(|source| kasm::Error::NoScript { path: path.clone(), source })?;
    Ok((path, ScriptFlags::read(&text)))
}

fn command_line(work: &Install) -> Result<CommandLine, Failure> {
    let (script, flags) = script(work, "install.sh")?;
    let version = work.intent.release.version.as_deref();
    Ok(CommandLine::install(script, &work.intent, &work.own_address(), &flags, version)?)
}

/// What a script of the release gets beside our environment.
pub(in crate::flow) fn environment(paths: &Paths) -> Vec<(OsString, OsString)> {
    let mut environment: Vec<(OsString, OsString)> =
        apt::environment().iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    environment.extend(paths.told_root());
    environment
}

/// An installer that the end of the budget ended did not fail: the budget ran out.
pub(in crate::flow) fn judge(work: &Install, error: kasm::Error) -> Failure {
    let timed_out = matches!(error, kasm::Error::TimedOut { .. });
    let mut failure = Failure::from(error);
    if timed_out {
        failure.code = Exit::Budget.code();
        failure.message = format!("{}: the budget of {} s ran out", failure.message, work.intent.budget.as_secs());
    }
    failure
}

/// Removes what is installed, and says what and why.
async fn wipe(work: &Install, attempt: u32, why: &str, cx: Context<'_>) -> Result<(), Failure> {
    let Some(installed) = Installed::read(&work.paths) else { return Ok(()) };
    let shown = work.paths.shown(&installed.dir);
    cx.observer.warn(&format!(
        "{why}: wiping {} with its configuration, certificates and tokens, and the links current and bin",
        shown.display()
    ));
    let mask = work.mask();
    let services = work.services(attempt, &mask, cx.observer);
    // Containers of the old version must not go on; but what is wiped need not have stopped in order.
    if let Err(error) = services.stop(&installed, cx.deadline.within(STOP_TIME)).await {
        cx.observer.warn(&error.to_string());
    }
    let failed = |why| Error::Wipe { path: shown.clone(), why };
    for link in [work.paths.kasm_current(), work.paths.kasm_dir().join("bin")] {
        if fs::symlink_metadata(&link).is_ok_and(|data| data.is_symlink()) {
            fs::remove_file(&link).map_err(failed)?;
        }
    }
    // Only what lies directly below /opt/kasm is a version's directory; a link that led elsewhere does
    // not make us remove what is there.
    if installed.dir.parent() == Some(&work.paths.kasm_dir()) {
        fs::remove_dir_all(&installed.dir).map_err(failed)?;
    }
    Receipt::remove(&work.paths)?;
    Ok(())
}

/// Sees that what was installed is what was asked for, and that it is up.
pub async fn prove(work: &Install, cx: Context<'_>) -> Result<Finish, Failure> {
    let address = work.own_address();
    let proof = health::prove(&work.paths, &work.intent, &address, cx.deadline, cx.observer).await?;
    // Tokens that components got meanwhile, too.
    sync(&work.paths, cx).await;
    Receipt::prove(&work.paths, work.intent.settings.is_some())?;
    // The unpacked tree has done its work; the verified tarball stays in the cache.
    remove_unpacked(&work.paths, &work.digest(), cx.observer);
    let words = told(&proof);
    Ok(match proof.warnings.is_empty() {
        true => Finish::Done(words),
        false => Finish::Warned(format!("{words}, but {}", proof.warnings.join("; "))),
    })
}

fn told(proof: &Proof) -> String {
    let version = proof.version.as_deref().unwrap_or("of unknown version");
    let containers: Vec<&str> = proof.containers.iter().map(|(name, _)| name.as_str()).collect();
    match proof.not_started {
        true => format!("Kasm {version} is configured as asked; nothing was started (--no-start)"),
        false => {
            let registered = if proof.tokens.is_empty() { "" } else { "; registered with the manager" };
            format!("Kasm {version} is up and configured as asked: {} healthy{registered}", containers.join(", "))
        }
    }
}

/// Removes the unpacked tree of the release with this digest; a warning if that cannot be done.
pub fn remove_unpacked(paths: &Paths, digest: &str, observer: &dyn Observer) {
    // No digest, no directory: without one this would be the directory of all of them.
    let Ok(digest) = digest.parse::<Digest>() else { return };
    let directory = paths.unpacked_dir().join(digest.to_string());
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            observer.warn(&format!("{} cannot be removed: {error}", directory.display()));
        }
        _ => {}
    }
}
