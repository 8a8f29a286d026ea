//! The unit in `systemd/`, held against systemd itself and against the program it starts.

use kasm_bootstrap::error::Exit;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What `systemd-analyze security` may say at most, times ten: the lower, the less is open. It was 7.3 on systemd 252
/// when this was written.
const EXPOSURE: u32 = 73;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)
}

/// The unit's lines that say something, each with the section it stands in.
fn directives() -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in fs::read_to_string(file("kasm-bootstrap.service")).unwrap().lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.to_owned();
        } else if let (false, Some((name, value))) = (line.starts_with('#'), line.split_once('=')) {
            found.push((section.clone(), name.to_owned(), value.to_owned()));
        }
    }
    found
}

fn values(wanted: &str) -> Vec<String> {
    directives().into_iter().filter(|(_, name, _)| name == wanted).map(|(.., value)| value).collect()
}

/// Runs `systemd-analyze` over the unit as it is when the package is installed. `None` where there is none.
fn analyze(arguments: &[&str]) -> Option<Output> {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("skipped: there is no systemd-analyze here (package systemd)");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("kasm-bootstrap");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let unit = fs::read_to_string(file("kasm-bootstrap.service")).unwrap();
    assert!(unit.contains("ExecStart=/usr/bin/kasm-bootstrap run\n"));
    let unit = unit.replace("/usr/bin/kasm-bootstrap", program.to_str().unwrap());
    let path = directory.path().join("kasm-bootstrap.service");
    fs::write(&path, unit).unwrap();
    Some(Command::new("systemd-analyze").args(arguments).arg(&path).env("LC_ALL", "C").output().unwrap())
}

#[test]
fn systemd_has_nothing_to_say_about_the_unit() {
    let Some(output) = analyze(&["verify", "--man=no", "--recursive-errors=no"]) else { return };
    let said = String::from_utf8_lossy(&output.stderr);
    // On a machine that systemd did not boot it may miss what other units need, but says nothing of ours.
    let ours: Vec<_> = said.lines().filter(|line| line.contains("kasm-bootstrap")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

#[test]
fn the_unit_is_not_more_exposed_than_it_was() {
    let threshold = format!("--threshold={EXPOSURE}");
    let Some(output) = analyze(&["security", "--offline=yes", "--no-pager", &threshold]) else { return };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_unit_is_not_started_again_after_what_cannot_pass_by_itself() {
    let never: Vec<u8> =
        values("RestartPreventExitStatus").concat().split(' ').map(|code| code.parse().unwrap()).collect();
    for exit in Exit::ALL.into_iter().filter(|exit| *exit != Exit::Done) {
        assert_eq!(never.contains(&exit.code()), !exit.may_pass(), "{exit:?}");
    }
}

#[test]
fn no_target_waits_for_the_unit_and_it_waits_for_nothing_that_waits_for_it() {
    assert_eq!(values("DefaultDependencies"), ["no"]);
    let after = values("After").join(" ");
    for late in ["cloud", "multi-user", "network-online", "docker.service"] {
        assert!(!after.contains(late), "{after}");
    }
    assert_eq!(values("WantedBy"), ["multi-user.target"]);
    // The timers' own order is before basic.target, and so before us: naming them would be a cycle.
    assert_eq!(values("Before"), ["shutdown.target", "apt-daily.service apt-daily-upgrade.service"]);
}

#[test]
fn the_unit_hands_over_the_credentials_that_settings_name() {
    let mut named: Vec<&str> =
        kasm_bootstrap::config::schema::SETTINGS.iter().filter_map(|setting| setting.credential).collect();
    let mut loaded = values("LoadCredential");
    named.sort_unstable();
    loaded.sort_unstable();
    assert_eq!(loaded, named);
}

#[test]
fn every_directive_that_is_not_plain_says_why() {
    // A block of directives has its reason above it; what a reader of any unit knows has none.
    let plain = ["Description", "Documentation", "Type", "ExecStart", "WantedBy"];
    let text = fs::read_to_string(file("kasm-bootstrap.service")).unwrap();
    let mut reason = false;
    for line in text.lines() {
        match line.split_once('=') {
            _ if line.starts_with('#') => reason = true,
            None => reason = reason && !line.is_empty() && !line.starts_with('['),
            Some((name, _)) => assert!(reason || plain.contains(&name) || name == "NotifyAccess", "{line}"),
        }
    }
}

#[test]
fn the_preset_enables_the_unit() {
    let preset = fs::read_to_string(file("90-kasm-bootstrap.preset")).unwrap();
    assert!(preset.lines().any(|line| line == "enable kasm-bootstrap.service"));
}

#[test]
fn tmpfiles_makes_the_directories_with_the_modes_that_the_service_gives_them() {
    if Command::new("systemd-tmpfiles").arg("--version").output().is_err() {
        eprintln!("skipped: there is no systemd-tmpfiles here (package systemd)");
        return;
    }
    let text = fs::read_to_string(file("kasm-bootstrap.tmpfiles.conf")).unwrap();
    let paths: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("d "))
        .map(|line| line.split_whitespace().nth(1).unwrap())
        .collect();
    assert_eq!(paths, ["/run/kasm-bootstrap", "/var/lib/kasm-bootstrap", "/var/cache/kasm-bootstrap"]);
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("skipped: only root can let systemd-tmpfiles make root's directories");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let configs = root.path().join("usr/lib/tmpfiles.d");
    fs::create_dir_all(&configs).unwrap();
    fs::write(configs.join("kasm-bootstrap.conf"), &text).unwrap();
    let output = Command::new("systemd-tmpfiles")
        .arg(format!("--root={}", root.path().display()))
        .args(["--create", "kasm-bootstrap.conf"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    for (path, mode) in paths.iter().zip([0o711, 0o700, 0o755]) {
        let made = fs::metadata(root.path().join(&path[1..])).unwrap_or_else(|error| panic!("{path}: {error}: {said}"));
        assert_eq!(made.permissions().mode() & 0o7777, mode, "{path}");
    }
}
