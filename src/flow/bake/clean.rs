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

/// How long another program may take with its own clean-up.
const TOOL_TIME: Duration = Duration::from_secs(60);
/// What tells of one machine's life, below /var/log: the logs that rsyslog writes on the distributions we know, and
/// who logged in (utmp(5)).
const LOGS: [&str; 11] = [
    "syslog",
    "messages",
    "auth.log",
    "secure",
    "kern.log",
    "daemon.log",
    "user.log",
    "debug",
    "wtmp",
    "btmp",
    "lastlog",
];

pub(super) fn about() -> String {
    "remove what belongs to one machine alone: our own state, cloud-init's, ssh host keys, the machine id, its logs, \
     apt's lists"
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

    // What `bake` itself has written, the lock that it holds, and the timers that are put back after this step.
    let stays = [paths.baked(), paths.run_lock(), paths.paused_timers()];
    let mut ours = inside(&paths.state_dir(), |_| true)?;
    ours.retain(|path| !stays.contains(path));
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
            // It also runs what other packages have put into its clean.d. What it leaves, or all of it where it
            // cannot be run, is removed below.
            ask("cloud-init", &["clean", "--logs"], cx).await;
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
    let runs = paths.is_machine() && paths.systemd_booted().exists();
    if runs {
        // It writes a new seed when it is stopped, at the machine's shutdown otherwise.
        ask("systemctl", &["stop", "systemd-random-seed.service"], cx).await;
    }
    // Both are to be no image's (systemd's "Building Images Safely").
    let systemd = ["random-seed", "credential.secret"].map(|name| paths.at("/var/lib/systemd").join(name));
    sweep.remove_and_tell("systemd's random seed and credential key", systemd)?;

    if runs {
        // journald makes a file anew that was removed under it, unless it is told to write elsewhere (journalctl(1)).
        ask("journalctl", &["--relinquish-var"], cx).await;
    }
    let journal = inside(&paths.at("/var/log/journal"), |_| true)?;
    let rotated = inside(&paths.at("/var/log"), |name| LOGS.iter().any(|log| is_rotated(name, log)))?;
    let mut logs = sweep.remove("logs", journal.into_iter().chain(rotated))?;
    for log in LOGS.map(|log| paths.at("/var/log").join(log)) {
        // Whoever writes it has it open.
        logs |= empty(&log).map_err(|source| Error::File { path: log, source })?;
    }
    if logs {
        sweep.changed.push("logs".into());
    }

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

/// What logrotate(8) made of a log: `auth.log.1`, `auth.log.2.gz`, `messages-20260102`.
fn is_rotated(name: &str, log: &str) -> bool {
    let rest = name.strip_prefix(log).and_then(|rest| rest.strip_prefix(['.', '-']));
    rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
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

/// Another program's own clean-up.
async fn ask(program: &str, arguments: &[&str], cx: Context<'_>) {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command.env_clear().envs(environment_for_children());
    let wrong = match tokio::time::timeout(TOOL_TIME, command.output()).await {
        Ok(Ok(output)) if output.status.success() => return,
        Ok(Ok(output)) => format!("failed ({})", output.status),
        Ok(Err(error)) => format!("cannot be run: {error}"),
        Err(_) => "did not end in time".into(),
    };
    cx.observer.warn(&format!("`{program} {}` {wrong}", arguments.join(" ")));
}

#[cfg(test)]
mod tests {
    use super::is_rotated;

    #[test]
    fn only_what_was_rotated_out_of_a_log_is_taken_for_it() {
        for rotated in ["auth.log.1", "auth.log.2.gz", "auth.log-20260102", "auth.log-20260102.xz"] {
            assert!(is_rotated(rotated, "auth.log"), "{rotated}");
        }
        for other in ["auth.log", "auth.log.", "auth.log.old", "auth.logs", "auth.log1", "my-auth.log.1"] {
            assert!(!is_rotated(other, "auth.log"), "{other}");
        }
    }
}
