//! The unit in `systemd/`, as systemd itself reads it.

use kasm_bootstrap::error::Exit;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What `systemd-analyze security` says of the unit, in tenths: a root installer bears no more. Lower it when
/// the unit bears more, never the other way round.
const EXPOSURE: &str = "83";

fn unit() -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/kasm-bootstrap.service");
    let text = fs::read_to_string(&path).unwrap();
    (path, text)
}

/// Every value of a key that may be given several times.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// The unit with the program that is there on this machine, analysed; `None` without systemd-analyze.
fn analyse(arguments: &[&str]) -> Option<Output> {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().join("kasm-bootstrap.service");
    let (_, text) = unit();
    fs::write(&here, text.replace("/usr/bin/kasm-bootstrap", env!("CARGO_BIN_EXE_kasm-bootstrap"))).unwrap();
    match Command::new("systemd-analyze").args(arguments).arg(&here).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("not looked at: systemd-analyze is not installed here");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let Some(output) = analyse(&["verify", "--man=no"]) else { return };
    let said = String::from_utf8_lossy(&output.stderr);
    // Other units of this machine are read along, and are not ours to mend.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("kasm-bootstrap")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

#[test]
fn the_unit_is_no_more_exposed_than_it_was() {
    let Some(output) = analyse(&["security", "--offline=yes", "--no-pager", "--threshold", EXPOSURE]) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn what_trying_again_cannot_mend_is_not_tried_again() {
    let (_, text) = unit();
    let hopeless: Vec<String> = Exit::ALL
        .into_iter()
        .filter(|exit| *exit != Exit::Done && !exit.may_pass())
        .map(|exit| exit.code().to_string())
        .collect();
    assert_eq!(values(&text, "RestartPreventExitStatus"), [hopeless.join(" ")]);
}

#[test]
fn nothing_waits_for_the_unit_that_it_waits_for() {
    let (_, text) = unit();
    assert_eq!(values(&text, "DefaultDependencies"), ["no"]);
    for after in values(&text, "After").iter().flat_map(|value| value.split(' ')) {
        assert!(!after.starts_with("cloud-") && !after.starts_with("network-online"), "{after}");
    }
    assert_eq!(values(&text, "Before"), ["shutdown.target", "apt-daily.service apt-daily-upgrade.service"]);
}

#[test]
fn every_credential_of_the_configuration_is_asked_for() {
    use kasm_bootstrap::config::schema::SETTINGS;
    let (_, text) = unit();
    let mut known: Vec<&str> = SETTINGS.iter().filter_map(|setting| setting.credential).collect();
    let mut asked = values(&text, "LoadCredential");
    known.sort_unstable();
    asked.sort_unstable();
    assert_eq!(asked, known);
}
