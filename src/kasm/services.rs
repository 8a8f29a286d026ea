//! Stops and starts Kasm's services the way the installed version wants it: `/opt/kasm/bin/stop` and
//! `/opt/kasm/bin/start` up to 1.17, `systemctl stop kasm` and `systemctl start kasm` from 1.18 on
//! (docs/kasm-facts.md, 4). Where systemd does not run or does not know the unit, the scripts are left.

use super::command_line::CommandLine;
use super::docker;
use super::error::Error;
use super::layout::Installed;
use super::run::{self, Mask, RunOptions};
use super::version::{Version, version};
use crate::deadline::Deadline;
use crate::intent::Role;
use crate::observe::{Observer, Wait};
use crate::paths::Paths;
use crate::system::systemctl::Systemctl;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The unit, from 1.18 on.
pub const UNIT: &str = "kasm.service";
/// The first version of Kasm that has it.
const UNIT_SINCE: Version = (1, 18, 0);
/// How long TERM may take to end a script that is over its time.
const GRACE: Duration = Duration::from_secs(5);

/// Stops and starts services.
pub struct Services<'a> {
    /// Every path.
    pub paths: &'a Paths,
    /// Where the scripts' output goes (`services.log`, 0600, masked), and where their process is remembered.
    pub attempt_dir: PathBuf,
    /// Keeps secrets out of that output.
    pub mask: &'a Mask<'a>,
    /// Who is told.
    pub observer: &'a dyn Observer,
}

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Stop,
    Start,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Verb::Stop => "stop",
            Verb::Start => "start",
        }
    }
}

impl Services<'_> {
    /// Stops the services of this version. Returns what did it, in words; nothing there to do it is no error.
    ///
    /// # Errors
    /// [`Error::Services`]: what should have stopped them failed, or was not done by the deadline.
    pub async fn stop(&self, installed: &Installed, deadline: Deadline) -> Result<String, Error> {
        self.wait("Kasm's services to stop", deadline);
        let mut by = None;
        if let Some(systemctl) = self.systemctl(installed, deadline).await {
            self.ask(&systemctl, Verb::Stop, deadline).await?;
            // A unit that systemd takes for stopped stops nothing; a script may have started the containers.
            if !self.is_any_running(installed, deadline).await {
                return Ok(format!("systemctl stop {UNIT}"));
            }
            by = Some(format!("systemctl stop {UNIT}"));
        }
        match self.script(installed, Verb::Stop) {
            Some(script) => self.run(&script, Verb::Stop, deadline).await,
            None => Ok(by.unwrap_or_else(|| "nothing: there is no stop script".into())),
        }
    }

    /// Starts the services of this version, which are stopped. Returns what did it, in words. Whether they
    /// come up is for the proof to see.
    ///
    /// # Errors
    /// [`Error::Services`]: there is nothing to start them with, it failed, or it was not done by the deadline.
    pub async fn start(&self, installed: &Installed, deadline: Deadline) -> Result<String, Error> {
        self.wait("Kasm's services to start", deadline);
        if let Some(systemctl) = self.systemctl(installed, deadline).await {
            self.ask(&systemctl, Verb::Start, deadline).await?;
            return Ok(format!("systemctl start {UNIT}"));
        }
        match self.script(installed, Verb::Start) {
            Some(script) => self.run(&script, Verb::Start, deadline).await,
            None => {
                let shown = self.paths.shown(&installed.dir.join("bin/start"));
                Err(Error::Services { by: shown.display().to_string(), why: "is not there".into() })
            }
        }
    }

    /// Lets systemd read its units anew: they were changed. Without systemd there is nothing to do.
    pub async fn reload(&self, deadline: Deadline) {
        let booted = self.paths.systemd_booted().exists();
        let Some(systemctl) = booted.then(|| Systemctl::find(std::env::var_os("PATH").as_deref())).flatten() else {
            return;
        };
        if let Err(words) = systemctl.with_limit(deadline.remaining()).change("daemon-reload", &[]).await {
            self.observer.warn(&format!("systemd did not read its units anew: {words}"));
        }
    }

    fn wait(&self, what: &str, deadline: Deadline) {
        self.observer.waiting(&Wait { what: what.into(), holder: None, deadline });
    }

    /// systemd, where it has to be asked.
    async fn systemctl(&self, installed: &Installed, deadline: Deadline) -> Option<Systemctl> {
        let too_old = installed.version.as_deref().and_then(version).is_some_and(|version| version < UNIT_SINCE);
        if too_old || !self.paths.systemd_booted().exists() {
            return None;
        }
        let systemctl = Systemctl::find(std::env::var_os("PATH").as_deref())?.with_limit(deadline.remaining());
        systemctl.is_loaded(UNIT).await.then_some(systemctl)
    }

    async fn ask(&self, systemctl: &Systemctl, verb: Verb, deadline: Deadline) -> Result<(), Error> {
        let systemctl = systemctl.clone().with_limit(deadline.remaining());
        systemctl.change(verb.as_str(), &[UNIT]).await.map_err(|why| Error::Services {
            by: format!("systemctl {} {UNIT}", verb.as_str()),
            why: format!("failed: {why}"),
        })
    }

    /// `/opt/kasm/bin/VERB` where that is this version's, else the one in its own directory.
    fn script(&self, installed: &Installed, verb: Verb) -> Option<PathBuf> {
        let own = installed.dir.join("bin").join(verb.as_str());
        let linked = self.paths.kasm_dir().join("bin").join(verb.as_str());
        let real = |path: &Path| fs::canonicalize(path).ok();
        if real(&linked).is_some() && real(&linked) == real(&own) {
            return Some(linked);
        }
        own.exists().then_some(own)
    }

    async fn run(&self, script: &Path, verb: Verb, deadline: Deadline) -> Result<String, Error> {
        let shown = self.paths.shown(script).display().to_string();
        let command = CommandLine { script: script.to_owned(), args: Vec::new() };
        let directory = script.parent().unwrap_or(Path::new("/")).to_owned();
        let mut options = RunOptions::new(directory, &self.attempt_dir, deadline, self.mask);
        options.log_path = self.attempt_dir.join("services.log");
        options.grace = GRACE;
        options.env.extend(self.paths.told_root());
        match run::run(&command, options, self.observer).await.and_then(run::Finished::check) {
            Ok(_) => Ok(shown),
            Err(error) => Err(Error::Services { by: shown, why: self.why(error, verb) }),
        }
    }

    /// The supervisor's words are an installer's.
    fn why(&self, error: Error, verb: Verb) -> String {
        match error {
            Error::Failed { ended, words, .. } => match words.0.lines().rfind(|line| !line.trim().is_empty()) {
                Some(line) => format!("ended with {ended}: {}", line.trim()),
                None => format!("ended with {ended}"),
            },
            Error::TimedOut { ran, .. } => format!("did not {} them within {} s", verb.as_str(), ran.as_secs()),
            other => match std::error::Error::source(&other) {
                Some(cause) => format!("cannot be run: {other}: {cause}"),
                None => format!("cannot be run: {other}"),
            },
        }
    }

    async fn is_any_running(&self, installed: &Installed, deadline: Deadline) -> bool {
        let socket = self.paths.docker_socket();
        let asked = tokio::time::timeout(deadline.remaining(), docker::containers(&socket)).await;
        let Ok(Ok(list)) = asked else { return false };
        let ours: Vec<&str> =
            [Role::Agent, Role::Guac].into_iter().flat_map(|role| installed.containers(role)).collect();
        list.iter().any(|one| {
            matches!(one.state.as_str(), "running" | "restarting") && ours.iter().any(|name| one.is_named(name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Silent;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn machine(scripts: &[(&str, &str)]) -> (tempfile::TempDir, Paths, Installed) {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        let dir = paths.kasm_dir().join("1.17.0");
        fs::create_dir_all(dir.join("bin")).unwrap();
        for (name, text) in scripts {
            let path = dir.join("bin").join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        symlink("1.17.0/bin", paths.kasm_dir().join("bin")).unwrap();
        let installed = Installed { version: Some("1.17.0".into()), dir };
        (directory, paths, installed)
    }

    fn services<'a>(paths: &'a Paths, mask: &'a Mask<'a>) -> Services<'a> {
        Services { paths, attempt_dir: paths.attempt_dir(1), mask, observer: &Silent }
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(20))
    }

    #[tokio::test]
    async fn the_linked_scripts_do_it_and_what_they_say_is_kept_masked() {
        let (_directory, paths, installed) = machine(&[
            ("start", "#!/bin/bash\necho \"started below $KASM_BOOTSTRAP_ROOT with hunter2hunter2\"\n"),
            ("stop", "#!/bin/bash\necho no such network >&2\nexit 3\n"),
        ]);
        let mask = |line: &str| line.replace("hunter2hunter2", "[masked]");
        let services = services(&paths, &mask);
        assert_eq!(services.start(&installed, soon()).await.unwrap(), "/opt/kasm/bin/start");
        let error = services.stop(&installed, soon()).await.unwrap_err();
        assert_eq!(error.to_string(), "/opt/kasm/bin/stop ended with exit code 3: no such network");
        let log = fs::read_to_string(paths.attempt_dir(1).join("services.log")).unwrap();
        assert!(log.contains("with [masked]") && log.contains(&paths.root().display().to_string()), "{log}");
        assert!(!paths.attempt_dir(1).join("installer.pid").exists());
    }

    #[tokio::test]
    async fn links_that_lead_to_another_version_are_not_followed() {
        let (_directory, paths, _) = machine(&[("start", "#!/bin/bash\nexit 1\n")]);
        let dir = paths.kasm_dir().join("1.16.1");
        let other = Installed { version: Some("1.16.1".into()), dir: dir.clone() };
        let mask = |line: &str| line.to_owned();
        let services = services(&paths, &mask);
        assert_eq!(
            services.start(&other, soon()).await.unwrap_err().to_string(),
            "/opt/kasm/1.16.1/bin/start is not there"
        );
        assert!(services.stop(&other, soon()).await.is_ok());
        fs::create_dir_all(dir.join("bin")).unwrap();
        fs::write(dir.join("bin/start"), "#!/bin/bash\n").unwrap();
        assert_eq!(services.start(&other, soon()).await.unwrap(), "/opt/kasm/1.16.1/bin/start");
    }

    #[tokio::test]
    async fn a_script_that_hangs_is_ended() {
        let (_directory, paths, installed) = machine(&[("stop", "#!/bin/bash\nsleep 600\n")]);
        let mask = |line: &str| line.to_owned();
        let deadline = Deadline::after(Duration::from_millis(300));
        let error = services(&paths, &mask).stop(&installed, deadline).await.unwrap_err();
        assert_eq!(error.to_string(), "/opt/kasm/bin/stop did not stop them within 0 s");
    }
}
