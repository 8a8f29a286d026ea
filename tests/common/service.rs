//! The service on a scratch machine, with the test in systemd's place.

use super::{Scene, TOKEN, holds, start};
use kasm_stand_in::docker::{Condition, Script};
use kasm_stand_in::release::Options;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// So long is waited for what must come; a test waits so long only to fail.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The service, and systemd's end of its line.
pub struct Service {
    pub child: Child,
    notify: UnixDatagram,
    /// Every line it has told systemd.
    pub heard: Vec<String>,
    pub output: PathBuf,
    _directory: TempDir,
}

impl Service {
    pub fn start(scene: &Scene) -> Service {
        Service::start_with(scene, &[])
    }

    pub fn start_with(scene: &Scene, variables: &[(&str, &str)]) -> Service {
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().join("notify");
        let notify = UnixDatagram::bind(&name).unwrap();
        notify.set_nonblocking(true).unwrap();
        let output = directory.path().join("output.txt");
        let mut command = scene.command();
        command.arg("run").env("NOTIFY_SOCKET", &name).env("WATCHDOG_USEC", "10000000").env_remove("WATCHDOG_PID");
        command.envs(variables.iter().copied());
        let child = start(&mut command, &output);
        Service { child, notify, heard: Vec::new(), output, _directory: directory }
    }

    /// Takes in what it has told.
    pub fn listen(&mut self) {
        let mut buffer = [0; 8192];
        while let Ok(length) = self.notify.recv(&mut buffer) {
            assert!(!holds(&buffer[..length], TOKEN.as_bytes()), "the token was told to systemd");
            let text = std::str::from_utf8(&buffer[..length]).unwrap();
            self.heard.extend(text.lines().map(str::to_owned));
        }
        std::thread::sleep(Duration::from_millis(2));
    }

    /// Waits until it tells a line that begins like this, after those already waited for.
    pub fn until(&mut self, line: &str) -> String {
        self.until_one(line, |heard| heard.starts_with(line))
    }

    /// Waits until its status holds these words.
    pub fn status(&mut self, words: &str) -> String {
        self.until_one(words, |heard| heard.starts_with("STATUS=") && heard.contains(words))
    }

    pub fn until_one(&mut self, line: &str, wanted: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        let mut from = 0;
        loop {
            if let Some(at) = self.heard[from..].iter().position(|heard| wanted(heard)) {
                return self.heard.drain(..=from + at).next_back().unwrap();
            }
            from = self.heard.len();
            let ended = self.child.try_wait().unwrap();
            self.listen();
            let late = begun.elapsed() > PATIENCE || (ended.is_some() && from == self.heard.len());
            assert!(!late, "no {line} ({ended:?}): {:#?}\n{}", self.heard, self.text());
        }
    }

    /// Waits until there is such a thing.
    pub fn until_so<T>(&mut self, mut found: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = found() {
                return found;
            }
            let ended = self.child.try_wait().unwrap();
            self.listen();
            assert!(ended.is_none() && begun.elapsed() < PATIENCE, "{ended:?}: {:#?}\n{}", self.heard, self.text());
        }
    }

    /// Waits until it has said this on standard error.
    pub fn says(&mut self, words: &str) {
        let output = self.output.clone();
        self.until_so(|| fs::read_to_string(&output).unwrap().contains(words).then_some(()));
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Its exit code, and everything that it has told since it was last asked.
    pub fn end(&mut self) -> (i32, Vec<String>) {
        let begun = Instant::now();
        loop {
            let ended = self.child.try_wait().unwrap();
            self.listen();
            if let Some(status) = ended {
                return (status.code().unwrap_or(-1), std::mem::take(&mut self.heard));
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end: {:#?}\n{}", self.heard, self.text());
        }
    }

    /// Ends it as systemd does.
    pub fn stop(mut self) -> (i32, Vec<String>, String) {
        self.signal(Signal::SIGTERM);
        let (code, heard) = self.end();
        (code, heard, self.text())
    }

    pub fn text(&self) -> String {
        let text = fs::read(&self.output).unwrap();
        assert!(!holds(&text, TOKEN.as_bytes()), "the token was printed");
        String::from_utf8(text).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It has ended already, but for a test that failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An agent's configuration, complete.
pub fn whole(scene: &Scene) -> String {
    format!(
        "role = \"agent\"\ndeadline = \"120s\"\n[release]\nurls = [\"{}\"]\nsha256 = \"{}\"\n\
         [manager]\naddress = \"{}\"\ntoken = \"{TOKEN}\"\n\
         [agent]\nserver_id = \"server-7\"\nprovider = \"harvester\"\n[run]\nwatch = \"100ms\"\n",
        scene.url(),
        scene.release.sha256,
        scene.manager.address(),
    )
}

/// Puts a file where it belongs, whole and at once.
pub fn write(scene: &Scene, path: &str, text: &str) {
    let path = scene.root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, path).unwrap();
}

pub fn configure(scene: &Scene, text: &str) {
    write(scene, "etc/kasm-bootstrap/config.toml", text);
}

/// What cloud-init says of this machine.
pub fn instance(scene: &Scene, id: &str) {
    write(scene, "run/cloud-init/instance-data.json", &format!(r#"{{"v1": {{"instance_id": "{id}"}}}}"#));
}

pub fn ready(options: &Options) -> Scene {
    let scene = Scene::new(options);
    scene.containers(healthy());
    configure(&scene, &whole(&scene));
    instance(&scene, "i-first");
    scene
}

pub fn healthy() -> Script {
    Script { looks: 0, ..Script::default() }
}

pub fn ill(condition: Condition) -> Script {
    Script { except: [("kasm_agent".to_owned(), condition)].into(), ..healthy() }
}
