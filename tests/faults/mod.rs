//! What the tests of faults share: how a scene is looked at while a run is at work, and afterwards.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod disk;
pub mod table;

use crate::common::{Scene, TOKEN, holds};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// No test waits for this; one that would wait in vain fails after it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the journal has such an entry.
pub fn until(scene: &Scene, found: impl Fn(&Value) -> bool) {
    let begun = Instant::now();
    while !scene.journal().iter().any(&found) {
        assert!(begun.elapsed() < PATIENCE, "{:#?}", scene.journal());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits for a child's exit code; one that hangs is killed and fails the test.
pub fn exit_code(child: &mut Child) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it hangs");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn is_started(entry: &Value, step: &str) -> bool {
    entry["event"] == "step.started" && entry["step"] == step
}

pub fn is_ended(entry: &Value, step: &str) -> bool {
    entry["event"] == "step.ended" && entry["step"] == step
}

/// How a step ended last, as recorded.
pub fn ending(scene: &Scene, step: &str) -> String {
    let journal = scene.journal();
    let ended = journal.iter().rfind(|entry| is_ended(entry, step));
    ended.map_or("none", |entry| entry["ending"].as_str().unwrap()).to_owned()
}

/// Command lines of processes that know of this scene's root.
pub fn processes_below(scene: &Scene) -> Vec<String> {
    let root = format!("KASM_BOOTSTRAP_ROOT={}", scene.root.display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        if holds(&environment, root.as_bytes()) {
            let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push(String::from_utf8_lossy(&words).replace('\0', " "));
        }
    }
    found
}

/// A machine with systemd, whose `systemctl` writes down what it is asked; both timers are active.
pub fn with_timers(scene: &Scene, command: &mut Command) {
    fs::create_dir_all(scene.root.join("run/systemd/system")).unwrap();
    let bin = scene.root.join("bin");
    fs::create_dir_all(&bin).unwrap();
    let calls = scene.root.join("run/calls");
    let script = format!(
        "#!/bin/sh\necho \"$*\" >>{}\ncase \"$*\" in *is-active*) echo active; echo active ;; esac\n",
        calls.display()
    );
    // Renamed into place: a second run must not find a program that is open for writing.
    fs::write(bin.join("new"), script).unwrap();
    fs::set_permissions(bin.join("new"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(bin.join("new"), bin.join("systemctl")).unwrap();
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", bin.display()));
}

/// True if each timer that was stopped was started again afterwards.
pub fn timers_run(scene: &Scene) -> bool {
    let text = fs::read_to_string(scene.root.join("run/calls")).unwrap_or_default();
    ["apt-daily.timer", "apt-daily-upgrade.timer"].iter().all(|timer| {
        let about = |line: &&str| (line.contains(" stop ") || line.contains(" start ")) && line.contains(timer);
        text.lines().rfind(about).is_none_or(|line| line.contains(" start "))
    })
}

/// What a run changes for itself only is as it was, and nobody it started is left.
pub fn nothing_left_behind(scene: &Scene) {
    assert_eq!(processes_below(scene), Vec::<String>::new());
    assert!(timers_run(scene));
    assert!(!scene.root.join("etc/apt/apt.conf.d/99kasm-bootstrap").exists());
    assert_eq!(scene.files_with_the_token(), Vec::<PathBuf>::new());
    assert_eq!(temporary_files(&scene.root), Vec::<PathBuf>::new());
}

/// The node is installed as asked, the last run says so, and nothing is left behind.
pub fn ended_well(scene: &Scene) {
    let current = scene.root.join("opt/kasm/current");
    let configuration = fs::read_to_string(current.join("conf/app/agent/agent.app.config.yaml")).unwrap();
    assert!(configuration.contains(TOKEN) && configuration.contains("server-7"), "{configuration}");
    let status = scene.status();
    assert_eq!(status["state"], "done", "{status:#}");
    let unpacked = scene.root.join("var/lib/kasm-bootstrap/releases");
    assert!(!unpacked.exists() || fs::read_dir(unpacked).unwrap().next().is_none(), "the unpacked release was left");
    nothing_left_behind(scene);
}

/// Files that were to be renamed to their place and never were.
fn temporary_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if entry.file_type().unwrap().is_dir() {
            found.extend(temporary_files(&path));
        }
        if name.ends_with(".new") {
            found.push(path);
        }
    }
    found
}
