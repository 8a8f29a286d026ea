//! From one version to another: the real binary on a node that another release has made.

mod common;
mod node;

use common::{TOKEN, run, spoken};
use kasm_stand_in::release::{Fault, Options, Point};
use node::{NEW, Node, OLD, Role, reason, release, words};
use std::fs;

#[test]
fn an_agent_is_upgraded_by_naming_nothing_but_the_release() {
    let node = Node::agent();
    let (code, answer, err) = node.upgraded(&[]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(answer["result"], "done");
    node.is_new();
    let yaml = node.scene.root.join("opt/kasm/current/conf/app/agent/agent.app.config.yaml");
    let yaml = fs::read_to_string(yaml).unwrap();
    assert!(yaml.contains("server-7") && yaml.contains(TOKEN) && yaml.contains("10.0.0.6"), "{yaml}");
    assert!(fs::metadata(node.state("previous.json")).unwrap().len() > 0);
}

#[test]
fn a_connection_proxy_is_upgraded_and_registers_anew() {
    let node = Node::guac();
    let (code, _, err) = node.upgraded(&[]);
    assert_eq!(code, 0, "{err}");
    node.is_new();
    let current = node.scene.root.join("opt/kasm/current/conf/app");
    for file in ["guac/kasmguac", "rdp_gateway/passthrough", "rdp_https_gateway/rdp_https_gateway"] {
        let yaml = fs::read_to_string(current.join(format!("{file}.app.config.yaml"))).unwrap();
        assert!(!yaml.contains("registration_token"), "{yaml}");
    }
}

#[test]
fn layouts_before_and_after_1_17_and_across_are_known() {
    for (role, old, new) in [(Role::Agent, "1.15.0", "1.16.1"), (Role::Guac, "1.16.1", OLD)] {
        let node = Node::new(role, &release(old), &release(new));
        let (code, _, err) = node.upgraded(&[]);
        assert_eq!(code, 0, "{old} to {new}: {err}");
        assert_eq!(node.version(), new);
    }
}

#[test]
fn a_version_that_is_there_already_is_done() {
    let node = Node::agent();
    assert_eq!(node.upgraded(&[]).0, 0);
    let before = node.kasm();
    for more in [&[][..], &["--force"]] {
        let (code, answer, err) = node.upgraded(more);
        assert_eq!((code, &answer["result"]), (0, &"already".into()), "{err}");
        assert_eq!(node.kasm(), before);
    }
}

#[test]
fn a_downgrade_is_refused_unless_it_is_forced() {
    let node = Node::new(Role::Agent, &release(NEW), &release(OLD));
    let before = node.machine();
    let (code, answer, _) = node.upgraded(&[]);
    assert_eq!((code, reason(&answer).as_str()), (12, "upgrade.downgrade"), "{answer:#}");
    assert_eq!(node.machine(), before);
    let (code, _, err) = node.upgraded(&["--force"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(node.version(), OLD);
}

#[test]
fn the_placeholder_that_broke_a_cluster_is_refused_before_anything_is_touched() {
    let node = Node::guac();
    let before = node.machine();
    let (asked, docker) = (node.scene.manager.requests().len(), node.images());
    let args = ["--registration-token", "[COMPONENT_REGISTRATION_TOKEN]"];
    let (code, answer, _) = node.upgraded(&args);
    assert_eq!((code, reason(&answer).as_str()), (11, "token.placeholder"), "{answer:#}");
    assert_eq!(node.machine(), before);
    assert_eq!((node.scene.manager.requests().len(), node.images()), (asked, docker));
    assert!(!node.state("upgrade.json").exists());
}

#[test]
fn a_connection_proxy_without_a_registration_token_is_told_so() {
    let node = Node::guac();
    let mut command = node.command("upgrade");
    command.args(["--release", NEW, "--release-file", "/x", "--sha256", &"a".repeat(64)]);
    let (code, _, err) = spoken(&run(&mut command));
    assert!([10, 11].contains(&code), "{code} {err}");
    assert!(err.contains("registration-token"), "{err}");
}

#[test]
fn sessions_are_named_and_refused_waited_for_or_cut_off() {
    let node = Node::agent();
    node.scene.docker.add_session("brave_fox_1", "0f8fad5b");
    let before = node.machine();
    let (code, answer, _) = node.upgraded(&[]);
    assert_eq!((code, reason(&answer).as_str()), (12, "upgrade.sessions"), "{answer:#}");
    assert!(words(&answer).contains("brave_fox_1"), "{answer:#}");
    assert_eq!(node.machine(), before);

    let (code, answer, _) = node.upgraded(&["--drain-timeout", "1s"]);
    assert_eq!((code, reason(&answer).as_str()), (12, "upgrade.sessions"), "{answer:#}");
    assert_eq!(node.version(), OLD);

    let (code, _, err) = std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| node.upgraded(&["--drain-timeout", "30s"]));
        let begun = std::time::Instant::now();
        while !node
            .scene
            .journal()
            .iter()
            .any(|entry| entry["what"] == "sessions to end" && entry["ms"].as_u64() > Some(0))
            || node.scene.journal().iter().filter(|entry| entry["event"] == "run.started").count() < 3
        {
            assert!(begun.elapsed().as_secs() < 60);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        node.scene.docker.end_session("brave_fox_1");
        upgrade.join().unwrap()
    });
    assert_eq!(code, 0, "{err}");
    node.is_new();
}

#[test]
fn force_cuts_sessions_off_and_says_so() {
    let node = Node::agent();
    node.scene.docker.add_session("brave_fox_1", "0f8fad5b");
    let (code, _, err) = node.upgraded(&["--force"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("they are cut off"), "{err}");
    node.is_new();
}

#[test]
fn a_version_with_a_unit_is_started_by_systemd_and_the_one_before_by_its_script() {
    let node = Node::agent().with_systemd();
    let (code, _, err) = node.upgraded(&[]);
    assert_eq!(code, 0, "{err}");
    node.is_new();
    let unit = node.scene.root.join("etc/systemd/system/kasm.service");
    assert!(unit.exists());
    let (code, _, err) = node.rolled_back(&[]);
    assert_eq!(code, 0, "{err}");
    assert!(!unit.exists(), "a unit that was not there before is still there");
    assert_eq!(node.version(), OLD);
    let calls = kasm_stand_in::systemd::calls(&node.scene.root).join("\n");
    assert!(calls.contains("stop kasm"), "{calls}");
}

#[test]
fn an_installed_setting_wins_over_one_that_was_given_and_that_is_said() {
    let node = Node::agent();
    let (code, _, err) = node.upgraded(&["-i", "other-id", "-r", "aws"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("other-id") && err.contains("an upgrade keeps what is installed"), "{err}");
    let yaml = node.scene.root.join("opt/kasm/current/conf/app/agent/agent.app.config.yaml");
    assert!(fs::read_to_string(yaml).unwrap().contains("server-7"));
}

#[test]
fn flags_that_upgrade_sh_does_not_have_are_left_out_and_named() {
    let node = Node::agent();
    let (code, _, err) = node.upgraded(&["--skip-egress", "--no-check-disk"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("--skip-egress is left out"), "{err}");
}

#[test]
fn what_would_happen_is_told_and_nothing_is_touched() {
    let node = Node::agent();
    let before = node.machine();
    let (code, answer, err) = node.upgraded(&["--dry-run"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!((&answer["verb"], &answer["from"]), (&"upgrade".into(), &OLD.into()));
    let steps: Vec<&str> = answer["steps"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(steps.last(), Some(&"commit"));
    assert_eq!(node.machine(), before);
    assert!(!node.state("journal.jsonl").exists());
}

#[test]
fn a_machine_without_kasm_is_sent_to_install() {
    let scene = common::Scene::new(&Options::default());
    let mut command = scene.command();
    command.args([
        "upgrade",
        "--json",
        "-S",
        "agent",
        "-m",
        "m",
        "-M",
        TOKEN,
        "--release",
        NEW,
        "--sha256",
        &"a".repeat(64),
    ]);
    let (code, out, _) = spoken(&run(&mut command));
    assert_eq!(code, 12, "{out}");
    assert!(out.contains("upgrade.nothing-installed"), "{out}");
}

#[test]
fn a_lost_race_for_apts_locks_is_run_again() {
    let fault = Fault::AptLocked { at: Point::Apt, times: 1, words: kasm_stand_in::release::LISTS_LOCKED.into() };
    let node = Node::agent_to(&Options { faults: vec![fault], ..release(NEW) });
    let (code, _, err) = node.upgraded(&[]);
    assert_eq!(code, 0, "{err}");
    node.is_new();
}
