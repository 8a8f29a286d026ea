//! Taking out of the image what belongs to one machine alone: two machines with one identity, one set of keys
//! or one journal are worse than a slow boot.

use super::{Bake, Error, left_out};
use crate::error::Failure;
use crate::paths::environment_for_children;
use crate::step::{Context, Finish};
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// How long `cloud-init clean` may take.
const CLOUD_INIT_TIME: Duration = Duration::from_secs(60);
/// What stays of our own state: what `bake` itself has written, the lock that it holds, and the timers that are
/// put back after this step.
const OURS_TO_KEEP: [&str; 3] = ["baked.json", "lock", "paused-timers.json"];

pub(super) fn about() -> String {
    "remove what belongs to one machine alone: our own state, cloud-init's, ssh host keys, the machine id, apt's lists"
        .into()
}

/// One thing that is cleaned.
struct Sweep<'a> {
    work: &'a Bake,
    cleaned: Vec<String>,
    changed: Vec<String>,
}

/// Cleans, each kind by itself.
pub(super) async fn clean(work: &Bake, cx: Context<'_>) -> Result<Finish, Failure> {
    if work.skips("clean") {
        return left_out();
    }
    let paths = &work.paths;
    let mut sweep = Sweep { work, cleaned: Vec::new(), changed: Vec::new() };

    let ours = inside(&paths.state_dir(), |name| !OURS_TO_KEEP.contains(&name))?;
    // This run's own journal is always there.
    let only_now = ours.iter().all(|path| *path == paths.journal());
    let news = sweep.remove("our own state", ours.into_iter().chain([paths.run_dir()]))?;
    if news && !only_now {
        sweep.changed.push("our own state".into());
    }

    let cloud = paths.at("/var/lib/cloud");
    let has_cloud_init = cloud.is_dir();
    if has_cloud_init {
        let state = inside(&cloud, |name| name != "seed")?;
        if !state.is_empty() && paths.is_machine() {
            cloud_init_clean(cx).await;
        }
        let logs = ["/var/log/cloud-init.log", "/var/log/cloud-init-output.log"].map(|log| paths.at(log));
        let left = inside(&cloud, |name| name != "seed")?;
        let news = sweep.remove("cloud-init's state", left.into_iter().chain(logs))?;
        if news || !state.is_empty() {
            sweep.changed.push("cloud-init's state".into());
        }
    }

    let keys = inside(&paths.at("/etc/ssh"), |name| name.starts_with("ssh_host_") && name.contains("_key"))?;
    match has_cloud_init {
        true => sweep.remove_and_tell("ssh host keys", keys)?,
        false if keys.is_empty() => {}
        // sshd does not start without any.
        false => cx.observer.warn("the ssh host keys stay: without cloud-init nothing would make new ones at boot"),
    }

    // An empty file: a new identity at the next boot, without what systemd calls a first boot (machine-id(5)).
    let id = paths.machine_id();
    if empty(&id).map_err(|source| Error::File { path: id, source })? {
        sweep.changed.push("the machine id".into());
    }
    sweep.cleaned.push("the machine id".into());
    let dbus = paths.at("/var/lib/dbus/machine-id");
    let copy = fs::symlink_metadata(&dbus).is_ok_and(|data| data.is_file());
    sweep.remove_and_tell("D-Bus's copy of it", copy.then_some(dbus))?;
    // Both are to be no image's (systemd's "Building Images Safely").
    let systemd = ["random-seed", "credential.secret"].map(|name| paths.at("/var/lib/systemd").join(name));
    sweep.remove_and_tell("systemd's random seed and credential key", systemd)?;

    let lists = inside(&paths.at("/var/lib/apt/lists"), |name| !["lock", "partial", "auxfiles"].contains(&name))?;
    let archives = inside(&paths.at("/var/cache/apt/archives"), |name| name.ends_with(".deb"))?;
    let caches = ["pkgcache.bin", "srcpkgcache.bin"].map(|name| paths.at("/var/cache/apt").join(name));
    sweep.remove_and_tell("apt's lists and downloads", lists.into_iter().chain(archives).chain(caches))?;

    let Sweep { cleaned, changed, .. } = sweep;
    work.record.borrow_mut().cleaned = cleaned;
    if changed.is_empty() {
        return Ok(Finish::Skipped("nothing of a machine's own is here".into()));
    }
    work.changed.set(true);
    Ok(Finish::Done(format!("removed {}", changed.join(", "))))
}

impl Sweep<'_> {
    /// Removes these files and directories; true if any was there.
    fn remove(&mut self, what: &str, paths: impl IntoIterator<Item = PathBuf>) -> Result<bool, Failure> {
        let mut news = false;
        for path in paths {
            let removed = match fs::symlink_metadata(&path) {
                Ok(data) if data.is_dir() => fs::remove_dir_all(&path),
                Ok(_) => fs::remove_file(&path),
                Err(error) => Err(error),
            };
            match removed {
                Ok(()) => news = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(Error::File { path: self.work.paths.shown(&path), source }.into()),
            }
        }
        self.cleaned.push(what.to_owned());
        Ok(news)
    }

    fn remove_and_tell(&mut self, what: &str, paths: impl IntoIterator<Item = PathBuf>) -> Result<(), Failure> {
        if self.remove(what, paths)? {
            self.changed.push(what.to_owned());
        }
        Ok(())
    }
}

/// What is in a directory under names that are to go; nothing where there is no such directory.
fn inside(directory: &Path, goes: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, Error> {
    let fail = |source| Error::File { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fail(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(fail)?;
        if goes(&entry.file_name().to_string_lossy()) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Empties a file where it lies (it may be mounted over); true if something was in it.
fn empty(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(data) if data.is_file() && data.len() > 0 => {
            OpenOptions::new().write(true).truncate(true).open(path)?.sync_all()?;
            Ok(true)
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(false),
    }
}

/// cloud-init's own clean-up, which also runs what other packages have put into its clean.d. What it leaves, or
/// all of it where it cannot be run, is removed afterwards.
async fn cloud_init_clean(cx: Context<'_>) {
    let mut command = Command::new("cloud-init");
    command.args(["clean", "--logs"]).stdin(Stdio::null()).kill_on_drop(true);
    command.env_clear().envs(environment_for_children());
    match tokio::time::timeout(CLOUD_INIT_TIME, command.output()).await {
        Ok(Ok(output)) if output.status.success() => {}
        Ok(Ok(output)) => cx.observer.warn(&format!("`cloud-init clean --logs` failed ({})", output.status)),
        Ok(Err(error)) => cx.observer.warn(&format!("`cloud-init clean --logs` cannot be run: {error}")),
        Err(_) => cx.observer.warn("`cloud-init clean --logs` did not end in time"),
    }
}
