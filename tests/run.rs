//! The service, whole: the real binary on a scratch machine, with this test in systemd's place.

mod common;

use common::{Scene, TOKEN, holds, picture, start};
use kasm_stand_in::docker::Script;
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
const PATIENCE: Duration = Duration::from_secs(60);

fn plain() -> Options {
    Options::default()
}

/// The service, and systemd's end of its line.
struct Service {
    child: Child,
    notify: UnixDatagram,
    /// Every line it has told systemd.
    heard: Vec<String>,
    output: PathBuf,
    _directory: TempDir,
}

impl Service {
    fn start(scene: &Scene) -> Service {
        Service::start_with(scene, &[])
    }

    fn start_with(scene: &Scene, variables: &[(&str, &str)]) -> Service {
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().join("notify");
        let notify = UnixDatagram::bind(&name).unwrap();
        notify.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let output = directory.path().join("output.txt");
        let mut command = scene.command();
        command.arg("run").env("NOTIFY_SOCKET", &name).env("WATCHDOG_USEC", "20000").env_remove("WATCHDOG_PID");
        command.envs(variables.iter().copied());
        let child = start(&mut command, &output);
        Service { child, notify, heard: Vec::new(), output, _directory: directory }
    }

    /// Takes in what it has told.
    fn listen(&mut self) {
        let mut buffer = [0; 8192];
        while let Ok(length) = self.notify.recv(&mut buffer) {
            assert!(!holds(&buffer[..length], TOKEN.as_bytes()), "the token was told to systemd");
            let text = std::str::from_utf8(&buffer[..length]).unwrap();
            self.heard.extend(text.lines().map(str::to_owned));
        }
    }

    /// Waits until it tells a line that begins like this, after those already waited for.
    fn until(&mut self, line: &str) -> String {
        let begun = Instant::now();
        let mut from = 0;
        loop {
            if let Some(at) = self.heard[from..].iter().position(|heard| heard.starts_with(line)) {
                return self.heard.drain(..=from + at).next_back().unwrap();
            }
            from = self.heard.len();
            let ended = self.child.try_wait().unwrap();
            self.listen();
            let late = begun.elapsed() > PATIENCE || (ended.is_some() && from == self.heard.len());
            assert!(!late, "no {line} ({ended:?}): {:#?}\n{}", self.heard, self.text());
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Its exit code, and everything that it has told since it was last asked.
    fn end(&mut self) -> (i32, Vec<String>) {
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
    fn stop(mut self) -> (i32, Vec<String>, String) {
        self.signal(Signal::SIGTERM);
        let (code, heard) = self.end();
        (code, heard, self.text())
    }

    fn text(&self) -> String {
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
fn whole(scene: &Scene) -> String {
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
fn write(scene: &Scene, path: &str, text: &str) {
    let path = scene.root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, path).unwrap();
}

fn configure(scene: &Scene, text: &str) {
    write(scene, "etc/kasm-bootstrap/config.toml", text);
}

/// What cloud-init says of this machine.
fn instance(scene: &Scene, id: &str) {
    write(scene, "run/cloud-init/instance-data.json", &format!(r#"{{"v1": {{"instance_id": "{id}"}}}}"#));
}

fn ready(options: &Options) -> Scene {
    let scene = Scene::new(options);
    scene.containers(Script { looks: 0, ..Script::default() });
    configure(&scene, &whole(&scene));
    instance(&scene, "i-first");
    scene
}

fn runs(scene: &Scene) -> usize {
    scene.journal().iter().filter(|entry| entry["event"] == "run.started").count()
}

#[test]
fn it_installs_says_what_it_does_and_is_ready_when_the_node_is_healthy() {
    let scene = ready(&Options { pace: Duration::from_millis(60), ..plain() });
    let mut service = Service::start(&scene);
    service.until("EXTEND_TIMEOUT_USEC=");
    service.until("STATUS=install: ");
    service.until("WATCHDOG=1");
    service.until("READY=1");
    assert_eq!(scene.status()["state"], "done");
    service.until("STATUS=healthy: kasm_agent, kasm_proxy");
    let (code, heard, text) = service.stop();
    assert_eq!((code, heard.iter().filter(|line| *line == "READY=1").count()), (0, 0), "{text}");
    assert!(heard.contains(&"STOPPING=1".to_owned()), "{heard:?}");
    assert!(text.ends_with("healthy: kasm_agent, kasm_proxy\nstopped by SIGTERM\n"), "{text}");
    let receipt = fs::read_to_string(scene.root.join("var/lib/kasm-bootstrap/installed.json")).unwrap();
    assert!(receipt.contains("\"instance\": \"cloud-init:i-first\""), "{receipt}");
    assert_eq!(scene.files_with_the_token(), [scene.root.join("etc/kasm-bootstrap/config.toml")]);
}

#[test]
fn after_a_reboot_nothing_is_installed_and_no_token_is_needed() {
    let scene = ready(&plain());
    let mut service = Service::start(&scene);
    service.until("READY=1");
    assert_eq!(service.stop().0, 0);
    let (before, asked) = (picture(&scene.root.join("opt")), scene.mirror.requests().len());
    // An expired token: refused wherever anybody looks at it.
    let old = "eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjF9.c2lnbmF0dXJl";
    configure(&scene, &whole(&scene).replace(TOKEN, old));
    let mut service = Service::start(&scene);
    service.until("READY=1");
    service.until("STATUS=healthy: kasm_agent, kasm_proxy");
    let (code, _, text) = service.stop();
    assert_eq!(code, 0);
    assert!(text.contains("Kasm 1.18.1 was installed at ") && text.contains("it is only watched"), "{text}");
    assert_eq!((picture(&scene.root.join("opt")), scene.mirror.requests().len()), (before, asked));
    assert_eq!(runs(&scene), 1);
}
