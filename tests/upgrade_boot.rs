//! The service and upgrades: what was cut off is brought to its end at boot, and what was upgraded by hand is
//! not taken back because a configuration still names the version before.

mod common;
mod faults;
mod node;

use common::start;
use faults::{exit_code, until};
use kasm_stand_in::release::{Fault, Options, Point};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use node::{NEW, Node, OLD, release};
use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

/// The configuration of this node's image: it names a release.
fn configure(node: &Node, version: &str) {
    let directory = node.scene.root.join("etc/kasm-bootstrap");
    fs::create_dir_all(&directory).unwrap();
    let manager = node.scene.manager.address();
    let text = format!(
        "role = 'agent'\n[manager]\naddress = '{manager}'\ntoken = '{}'\n[release]\nversion = '{version}'\nsha256 = '{}'\n",
        common::TOKEN,
        "a".repeat(64),
    );
    fs::write(directory.join("config.toml"), text).unwrap();
}

/// A boot: the service until it says this, and then told to stop. Everything it said.
fn boot(node: &Node, until_it_says: &str) -> String {
    let path: PathBuf = node.scene.root.join("run/boot.txt");
    let mut child: Child = start(&mut node.command("run"), &path);
    let begun = Instant::now();
    let said = loop {
        let said = fs::read_to_string(&path).unwrap();
        if said.contains(until_it_says) {
            break said;
        }
        assert!(child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(60), "{said}");
        std::thread::sleep(Duration::from_millis(20));
    };
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(exit_code(&mut child), Some(0), "{}", fs::read_to_string(&path).unwrap());
    said
}

const HEALTHY: &str = "healthy: kasm_agent, kasm_proxy";

#[test]
fn an_upgrade_that_was_cut_off_is_rolled_back_at_boot_and_the_old_version_is_watched() {
    let fault = Fault::Bash { at: Point::Linked, lines: "echo here\nsleep 30".into() };
    let node = Node::agent_to(&Options { faults: vec![fault], ..release(NEW) });
    configure(&node, OLD);
    let before = node.kasm();
    let mut child = start(&mut node.upgrade(&[]), &node.scene.root.join("run/said.txt"));
    until(&node.scene, |entry| entry["line"] == "here");
    child.kill().unwrap();
    child.wait().unwrap();
    let said = boot(&node, HEALTHY);
    assert!(said.contains("an upgrade had been cut off: Kasm 1.17.0 is back and healthy"), "{said}");
    node.is_old();
    assert_eq!(node.kasm(), before);
}

#[test]
fn what_was_upgraded_by_hand_is_watched_though_the_configuration_names_the_version_before() {
    let node = Node::agent();
    configure(&node, OLD);
    let (code, answer, err) = node.upgraded(&[]);
    assert_eq!(code, 0, "{answer:#} {err}");
    let before = node.kasm();
    let said = boot(&node, HEALTHY);
    assert!(said.contains("the configuration names Kasm 1.17.0, and Kasm 1.18.1 is installed here"), "{said}");
    assert_eq!(node.kasm(), before);
    node.is_new();
}

#[test]
fn an_upgrade_that_could_not_be_proved_without_its_manager_is_watched_and_proved_at_a_later_start() {
    let slow = Options { pace: Duration::from_millis(100), ..release(NEW) };
    let node = Node::agent_to(&slow);
    configure(&node, NEW);
    std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| node.upgraded(&["--deadline", "20s"]));
        until(&node.scene, |entry| entry["event"] == "step.started" && entry["step"] == "upgrade");
        node.scene.manager.take_down(true);
        assert_eq!(upgrade.join().unwrap().0, 13);
    });
    // The manager's silence costs this start two minutes at most, and it is told at once here.
    node.scene.manager.take_down(false);
    let said = boot(&node, HEALTHY);
    assert!(said.contains("an upgrade had been cut off: Kasm 1.18.1 is up"), "{said}");
    node.is_new();
}
