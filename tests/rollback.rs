//! Back to the version before: by hand, after an upgrade that failed, and after a power cut in the middle.

mod common;
mod faults;
mod node;

use common::{Scene, start};
use faults::disk::Disk;
use faults::table::{End, all, saw};
use faults::{is_started, processes_below, until};
use kasm_stand_in::docker::Condition;
use kasm_stand_in::release::{Fault, Options, Point};
use node::{NEW, Node, OLD, Role, reason, release, words};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A node that was upgraded and proved; and how the old version was.
fn upgraded(node: Node) -> (Node, Vec<String>) {
    let before = old(&node);
    let (code, answer, err) = node.upgraded(&[]);
    assert_eq!(code, 0, "{answer:#} {err}");
    (node, before)
}

/// The old version's own directory.
fn old(node: &Node) -> Vec<String> {
    node.kasm().into_iter().filter(|line| line.contains(&format!("/opt/kasm/{OLD}"))).collect()
}

#[track_caller]
fn is_back(node: &Node, before: &[String]) {
    assert_eq!(node.version(), OLD);
    assert!(node.images().lines().all(|line| line.contains(OLD)), "{}", node.images());
    assert_eq!(old(node), before);
    assert!(!node.state("upgrade.json").exists() && !node.state("previous.json").exists());
}

#[test]
fn by_hand_the_version_before_is_back_as_it_was_and_the_newer_one_stays_on_the_disk() {
    let (node, before) = upgraded(Node::agent());
    let (code, answer, err) = node.rolled_back(&[]);
    assert_eq!(code, 0, "{answer:#} {err}");
    is_back(&node, &before);
    assert!(node.scene.root.join("opt/kasm").join(NEW).join("bin").exists());
    let (code, answer, _) = node.rolled_back(&[]);
    assert_eq!((code, reason(&answer).as_str()), (12, "rollback.nothing-before"), "{answer:#}");
    let (code, _, err) = node.upgraded(&[]);
    assert_eq!(code, 0, "a rollback by hand forbids nothing: {err}");
    assert_eq!(node.version(), NEW);
}

#[test]
fn a_connection_proxy_goes_back_with_the_tokens_it_had() {
    let (node, before) = upgraded(Node::guac());
    let (code, answer, err) = node.rolled_back(&[]);
    assert_eq!(code, 0, "{answer:#} {err}");
    is_back(&node, &before);
}

#[test]
fn to_a_version_whose_directory_is_there() {
    let node = Node::agent();
    let (node, before) = upgraded(node);
    fs::remove_file(node.state("previous.json")).unwrap();
    let (code, answer, _) = node.rolled_back(&[]);
    assert_eq!((code, reason(&answer).as_str()), (12, "rollback.nothing-before"), "{answer:#}");
    let (code, answer, _) = node.rolled_back(&["--to", "1.12.0"]);
    assert_eq!((code, reason(&answer).as_str()), (12, "rollback.tree-gone"), "{answer:#}");
    assert!(words(&answer).contains(OLD), "{answer:#}");
    let (code, answer, err) = node.rolled_back(&["--to", OLD]);
    assert_eq!(code, 0, "{answer:#} {err}");
    is_back(&node, &before);
}

#[test]
fn a_version_whose_directory_is_gone_is_named_and_nothing_is_stopped() {
    let (node, _) = upgraded(Node::agent());
    fs::remove_dir_all(node.scene.root.join("opt/kasm").join(OLD)).unwrap();
    let (before, images) = (node.kasm(), node.images());
    let (code, answer, _) = node.rolled_back(&[]);
    assert_eq!((code, reason(&answer).as_str()), (12, "rollback.tree-gone"), "{answer:#}");
    assert_eq!((node.kasm(), node.images()), (before, images));
}

#[test]
fn sessions_hold_up_a_rollback_too() {
    let (node, _) = upgraded(Node::agent());
    node.scene.docker.add_session("brave_fox_1", "0f8fad5b");
    let (code, answer, _) = node.rolled_back(&[]);
    assert_eq!((code, reason(&answer).as_str()), (12, "upgrade.sessions"), "{answer:#}");
    assert_eq!(node.version(), NEW);
    assert_eq!(node.rolled_back(&["--force"]).0, 0);
}

#[test]
fn what_would_happen_is_told_and_nothing_is_touched() {
    let (node, _) = upgraded(Node::agent());
    let before = node.machine();
    let (code, answer, err) = node.rolled_back(&["--dry-run"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!((&answer["from"], &answer["to"]), (&NEW.into(), &OLD.into()));
    assert_eq!(node.machine(), before);
}

/// The old version cannot be started any more.
fn break_start(node: &Node) -> impl Fn() {
    let script = node.scene.root.join("opt/kasm").join(OLD).join("bin/start");
    let good = fs::read(&script).unwrap();
    fs::write(&script, "#!/bin/bash\necho it cannot be started\nexit 5\n").unwrap();
    move || fs::write(&script, &good).unwrap()
}

#[test]
fn a_version_that_does_not_start_is_a_named_failure_and_the_next_run_goes_on() {
    let (node, before) = upgraded(Node::agent());
    let mend = break_start(&node);
    let (code, answer, _) = node.rolled_back(&[]);
    assert_eq!((code, reason(&answer).as_str()), (19, "rollback.failed"), "{answer:#}");
    let told = words(&answer);
    assert!(told.contains("it cannot be started") && told.contains("/opt/kasm/current leads to"), "{told}");
    mend();
    let (again, answer, err) = node.rolled_back(&[]);
    assert_eq!(again, 0, "{answer:#} {err}");
    is_back(&node, &before);
    saw("rollback", "start script fails", "start", End::Named, code, "rollback.failed");
}

#[test]
fn a_version_that_is_not_healthy_when_it_is_back_is_a_named_failure() {
    let (node, before) = upgraded(Node::agent());
    node.scene.docker.change(|script| {
        script.versions.insert(OLD.into(), Condition::Unhealthy);
    });
    let (code, answer, _) = node.rolled_back(&["--deadline", "6s"]);
    assert_eq!((code, reason(&answer).as_str()), (19, "rollback.failed"), "{answer:#}");
    node.scene.docker.change(|script| script.versions.clear());
    let (again, answer, err) = node.rolled_back(&[]);
    assert_eq!(again, 0, "{answer:#} {err}");
    is_back(&node, &before);
    saw("rollback", "container unhealthy", "prove-old", End::Named, code, "rollback.failed");
}

#[test]
fn a_rollback_after_a_failure_that_cannot_be_proved_says_both() {
    let fault = Fault::Fail { at: Point::Linked, words: "in Kasm's own words".into(), code: 7 };
    let node = Node::agent_to(&Options { faults: vec![fault], ..release(NEW) });
    let mend = break_start(&node);
    let (code, answer, _) = node.upgraded(&[]);
    assert_eq!((code, reason(&answer).as_str()), (19, "rollback.failed"), "{answer:#}");
    assert!(words(&answer).contains("the upgrade failed before that"), "{answer:#}");
    mend();
    let (again, answer, err) = node.rolled_back(&[]);
    assert_eq!(again, 0, "{answer:#} {err}");
    node.is_old();
}

#[test]
fn a_damaged_snapshot_is_named_before_anything_is_stopped() {
    let (node, _) = upgraded(Node::agent());
    fs::remove_file(node.state("snapshots/upgrade-1/manifest.json")).unwrap();
    let (before, images) = (node.kasm(), node.images());
    let (code, answer, _) = node.rolled_back(&[]);
    assert_eq!((code, reason(&answer).as_str()), (1, "snapshot.damaged"), "{answer:#}");
    assert_eq!((node.kasm(), node.images()), (before, images));
    saw("rollback", "snapshot damaged", "begin", End::Untouched, code, &reason(&answer));
}

#[test]
fn a_manager_that_is_down_holds_up_no_rollback() {
    let (node, before) = upgraded(Node::agent());
    node.scene.manager.take_down(true);
    let (code, answer, err) = node.rolled_back(&[]);
    assert_eq!(code, 0, "{answer:#} {err}");
    is_back(&node, &before);
    saw("rollback", "manager down", "prove-old", End::Old, code, "");
}

#[test]
fn a_full_disk_below_the_restore_is_helped_by_the_new_versions_own_room() {
    let scene = Scene::new(&release(OLD));
    let Some(disk) = Disk::over(&scene, "opt/kasm") else { return };
    let lines = "echo changed >>\"$OLD/conf/app/agent/agent.app.config.yaml\"\n\
                 truncate -s 0 \"$OLD/docker/docker-compose.yaml\"\necho ready\n\
                 until [ -e \"$ROOT/run/go\" ]; do sleep 0.05; done\nexit 9";
    let fault = Fault::Bash { at: Point::Carried, lines: lines.into() };
    let node = Node::on(scene, Role::Agent, &Options { faults: vec![fault], ..release(NEW) });
    let before = node.kasm();
    let (code, answer, err) = disk.fill_during(&node.scene, || node.upgraded(&[]));
    assert_eq!((code, reason(&answer).as_str()), (20, "upgrade.rolled-back"), "{answer:#} {err}");
    disk.has_room_again();
    node.is_old();
    assert_eq!(node.kasm(), before);
    saw("rollback", "disk full", "restore", End::Old, code, "upgrade.rolled-back");
}

/// Kills a rollback when it begins this step, and rolls back again.
fn killed_at(step: &str) {
    let (node, before) = upgraded(Node::agent());
    let mark = format!("\"event\":\"step.started\",\"step\":\"{step}\"");
    // The last step may be over before it can be killed: then once more.
    for _ in 0..8 {
        let said = node.scene.root.join("run/said.txt");
        let journal = node.state("journal.jsonl");
        let begun = fs::metadata(&journal).unwrap().len() as usize;
        let mut child = start(&mut node.command("rollback"), &said);
        while !fs::read(&journal).unwrap()[begun..].windows(mark.len()).any(|window| window == mark.as_bytes()) {
            assert!(child.try_wait().unwrap().is_none(), "{}", fs::read_to_string(&said).unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let (code, answer, err) = node.rolled_back(&[]);
        let came_to_its_end = code == 12 && reason(&answer) == "rollback.nothing-before";
        assert!(code == 0 || came_to_its_end, "{answer:#} {err}");
        is_back(&node, &before);
        assert_eq!(processes_below(&node.scene), Vec::<String>::new());
        if code == 0 {
            return saw("rollback", "kill -9", step, End::Old, code, "");
        }
        assert_eq!(node.upgraded(&[]).0, 0);
    }
}

macro_rules! killed_at {
    ($($test:ident: $step:literal,)*) => { $(
        #[test]
        fn $test() {
            if !all() && !["begin", "stop", "restore", "start", "prove-old"].contains(&$step) {
                return;
            }
            killed_at($step);
        }
    )* };
}

killed_at! {
    killed_while_it_recovers_the_next_run_ends_with_the_version_before: "recover",
    killed_while_it_looks_for_sessions_the_next_run_ends_with_the_version_before: "sessions",
    killed_while_it_drains_the_next_run_ends_with_the_version_before: "drain",
    killed_while_it_begins_the_next_run_ends_with_the_version_before: "begin",
    killed_while_it_keeps_logs_the_next_run_ends_with_the_version_before: "keep-logs",
    killed_while_it_stops_the_new_version_the_next_run_ends_with_the_version_before: "stop",
    killed_while_it_restores_the_next_run_ends_with_the_version_before: "restore",
    killed_while_it_starts_the_old_version_the_next_run_ends_with_the_version_before: "start",
    killed_while_it_proves_the_old_version_the_next_run_ends_with_the_version_before: "prove-old",
    killed_while_it_settles_the_next_run_ends_with_the_version_before: "settle",
}

#[test]
fn killed_in_the_rollback_of_an_upgrade_that_failed_the_next_upgrade_finishes_it_and_refuses_the_release() {
    let fault = Fault::Fail { at: Point::Linked, words: "in Kasm's own words".into(), code: 7 };
    let node = Node::agent_to(&Options { faults: vec![fault], ..release(NEW) });
    let before = node.kasm();
    let mut child = start(&mut node.upgrade(&[]), &node.scene.root.join("run/said.txt"));
    until(&node.scene, |entry| is_started(entry, "restore"));
    child.kill().unwrap();
    child.wait().unwrap();
    let (code, answer, err) = node.upgraded(&[]);
    assert_eq!((code, reason(&answer).as_str()), (12, "upgrade.bad-release"), "{answer:#} {err}");
    node.is_old();
    assert_eq!(node.kasm(), before);
}

#[test]
fn state_is_for_roots_eyes_alone() {
    let (node, _) = upgraded(Node::agent());
    for name in ["previous.json", "installed.json", "snapshots/upgrade-1/manifest.json"] {
        let mode = fs::metadata(node.state(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
}
