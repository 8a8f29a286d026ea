//! `token repair`: a component gets its token again, or everything is as it was.

mod common;
mod nodes;
#[path = "faults/table.rs"]
mod table;

use common::{Scene, TOKEN, beside, run, start};
use kasm_stand_in::docker::Condition;
use kasm_stand_in::manager::{Behaviour, Issue, Registry, jwt};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nodes::{Node, PROXIES, REGISTRATION, said};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, Instant};
use table::{End, saw};

fn shown(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"127\.0\.0\.1:\d+", "[address]");
    settings.add_filter(r"/\S*/machine/", "[root]/");
    settings.add_filter(r"within \d+(\.\d+)? s\b", "within [time]");
    settings.bind(|| insta::assert_snapshot!(name, text.trim_end()));
}

/// What a person sees of a failure: from the error on.
fn error(err: &str) -> &str {
    &err[err.find("error: ").unwrap_or_else(|| panic!("no error in {err}"))..]
}

fn restarts(scene: &Scene) -> Vec<String> {
    let asked = scene.docker.requests().into_iter().filter(|request| request.target.contains("/restart"));
    asked.map(|request| request.target.split('/').nth(2).unwrap_or_default().to_owned()).collect()
}

/// This container turns out like that from now on.
fn becomes(node: &Node, container: &str, condition: Condition) {
    node.scene.docker.change(|script| {
        script.except.insert(container.to_owned(), condition);
    });
}

#[test]
fn a_node_broken_as_in_816_is_mended_in_the_layout_up_to_1_16() {
    mended_as_in_816("1.16.1");
}

#[test]
fn a_node_broken_as_in_816_is_mended_in_the_layout_from_1_17_on() {
    mended_as_in_816("1.18.1");
}

fn mended_as_in_816(version: &str) {
    let node = Node::guac(version);
    node.break_as_816();
    let before = fs::read_to_string(node.guac_file()).unwrap();
    let (code, out, err) = said(&run(&mut node.repair()));
    assert_eq!(code, 0, "{version}: {err}");
    node.is_repaired();
    assert_eq!(restarts(&node.scene), PROXIES.map(|(_, _, container)| container), "{out}");
    let after = fs::read_to_string(node.guac_file()).unwrap();
    let head = |text: &str| -> Vec<String> {
        let lines = text.lines().take_while(|line| !line.is_empty());
        lines.filter(|line| !line.contains("registration_token")).map(str::to_owned).collect()
    };
    assert_eq!(head(&before), head(&after));
    let status = node.scene.status();
    assert_eq!(status["state"], "done", "{status:#}");
    let left = [node.scene.files_with_the_token(), holding(&node, REGISTRATION)].concat();
    assert_eq!(left, [node.scene.root.join("given-token")], "{left:?}");
}

/// Files outside /opt/kasm that hold this.
fn holding(node: &Node, token: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![node.scene.root.clone()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                left.push(path);
            } else if kind.is_file() && common::holds(&fs::read(&path).unwrap(), token.as_bytes()) {
                found.push(path);
            }
        }
    }
    // The component's own words about what it sent are Kasm's, not ours.
    found.retain(|path| !path.starts_with(node.scene.root.join("opt/kasm")));
    found
}

#[test]
fn a_healthy_node_has_nothing_to_repair_and_nothing_is_touched() {
    for node in [Node::guac("1.18.1"), Node::agent("1.17.0")] {
        let before = node.installed();
        let (code, out, err) = said(&run(&mut node.repair()));
        assert_eq!((code, out.trim()), (0, "nothing to repair: every token is good"), "{err}");
        assert_eq!((node.installed(), restarts(&node.scene)), (before, vec![]));
    }
}

#[test]
fn only_what_is_broken_is_changed_and_comments_owner_and_mode_stay() {
    let node = Node::guac("1.18.1");
    node.expire();
    let file = node.guac_file();
    let text = fs::read_to_string(&file).unwrap().replace("kasmguac:\n", "# mine\nkasmguac:\n  # who we are\n");
    fs::write(&file, &text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let owned = std::os::unix::fs::chown(&file, Some(12_345), Some(12_346)).is_ok();
    let others: Vec<Vec<u8>> =
        PROXIES[1..].iter().map(|(directory, name, _)| fs::read(node.file(directory, name)).unwrap()).collect();
    let (code, _, err) = said(&run(&mut node.repair()));
    assert_eq!(code, 0, "{err}");
    node.is_repaired();
    assert_eq!(restarts(&node.scene), ["kasm_guac"]);
    let after = fs::read_to_string(&file).unwrap();
    assert!(after.starts_with("# mine\nkasmguac:\n  # who we are\n"), "{after}");
    let data = fs::metadata(&file).unwrap();
    assert_eq!(data.mode() & 0o7777, 0o640);
    assert!(!owned || (data.uid(), data.gid()) == (12_345, 12_346));
    let now: Vec<Vec<u8>> =
        PROXIES[1..].iter().map(|(directory, name, _)| fs::read(node.file(directory, name)).unwrap()).collect();
    assert!(others == now);
}

#[test]
fn the_method_says_where_the_registration_token_is_written() {
    let node = Node::guac("1.18.1");
    for (method, files) in [("both", 2), ("file", 1), ("yaml", 1)] {
        node.expire();
        fs::create_dir_all(node.scene.root.join("etc/kasm-bootstrap")).unwrap();
        let config = node.scene.root.join("etc/kasm-bootstrap/config.toml");
        fs::write(&config, format!("[repair]\nmethod = \"{method}\"\n")).unwrap();
        let output = run(node.repair().args(["--dry-run", "--json"]));
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["changes"].as_array().unwrap().len(), files, "{json:#}");
        let (code, _, err) = said(&run(&mut node.repair()));
        assert_eq!(code, 0, "{method}: {err}");
        node.is_repaired();
    }
}

#[test]
fn a_dry_run_shows_the_difference_with_every_token_masked_and_changes_nothing() {
    let node = Node::guac("1.18.1");
    node.expire();
    let file = node.file(PROXIES[1].0, PROXIES[1].1);
    node.put(&file, "auth_token", Some("\"false\" # what the upgrade left"));
    node.put(&file, "registration_token", Some("password"));
    let (before, asked) = (node.installed(), node.scene.manager.requests().len());
    let (code, out, err) = said(&run(node.repair().arg("--dry-run")));
    assert_eq!(code, 0, "{err}");
    shown("repair-dry-run", &out);
    assert!(!out.contains("password"), "{out}");
    assert_eq!((node.installed(), node.scene.manager.requests().len()), (before, asked));
    assert_eq!(restarts(&node.scene), Vec::<String>::new());
}

#[test]
fn without_a_token_it_says_what_is_needed_and_where_it_is_found() {
    let node = Node::guac("1.18.1");
    node.break_as_816();
    let before = node.installed();
    let (code, _, err) = said(&run(node.scene.command().args(["token", "repair"])));
    assert_eq!(code, 11, "{err}");
    shown("repair-no-token", error(&err));
    assert_eq!(node.installed(), before);
}

#[test]
fn a_token_that_cannot_be_right_is_refused_before_anything_is_touched() {
    let node = Node::guac("1.18.1");
    node.break_as_816();
    let before = node.installed();
    let asked = node.scene.manager.requests().len();
    let expired = jwt::sign(&serde_json::json!({ "exp": jwt::now() - 600 }), jwt::Signer::Manager);
    for (token, reason) in [
        ("[COMPONENT_REGISTRATION_TOKEN]", "token.placeholder"),
        ("password", "token.placeholder"),
        ("", "token.empty"),
        ("short", "token.too-short"),
        (expired.as_str(), "token.expired"),
    ] {
        let (code, _, err) = said(&run(&mut node.repair_with("--registration-token-file", token)));
        assert_eq!(code, 11, "{err}");
        assert!(err.contains(&format!("[{reason}]")), "{reason}: {err}");
    }
    assert_eq!((node.installed(), restarts(&node.scene)), (before, vec![]));
    let health = node.scene.manager.requests().len() - asked;
    assert!(health <= 2, "asked for nothing but the time: {health}");
    saw("repair", "expired token", "tokens", End::AsItWas, 11, "token.expired");
}

#[test]
fn a_token_that_the_manager_refuses_leaves_everything_as_it_was_with_the_managers_words() {
    let node = Node::guac("1.18.1");
    node.break_as_816();
    let before = node.installed();
    let (code, _, err) =
        said(&run(node.repair_with("--registration-token-file", "AnotherToken9876").args(["--deadline", "16s"])));
    assert_eq!(code, 11, "{err}");
    assert!(!err.contains("AnotherToken9876"), "{err}");
    shown("repair-refused", error(&err));
    assert_eq!(node.installed(), before);
    node.nothing_open();
    assert_eq!(restarts(&node.scene), ["kasm_guac", "kasm_guac"]);
    saw("repair", "wrong token", "wait", End::AsItWas, 11, "repair.refused");
}

#[test]
fn what_the_manager_gives_out_has_to_be_good() {
    let faults = [(Issue::WrongClass, "wrong class"), (Issue::OtherKey, "not signed with this key")];
    beside(faults, |(issue, words)| {
        let node = Node::guac("1.17.0");
        node.expire();
        let before = node.installed();
        node.deal(Registry { issue, ..Registry::default() });
        let (code, _, err) = said(&run(node.repair().args(["--deadline", "6s"])));
        assert!(code == 19 && err.contains(words), "{issue:?}: {code} {err}");
        assert!(err.contains("everything is as it was"), "{err}");
        assert_eq!(node.installed(), before);
        node.nothing_open();
    });
}

#[test]
fn a_manager_that_is_silent_is_told_before_anything_is_touched() {
    let node = Node::guac("1.18.1");
    node.expire();
    let before = node.installed();
    node.scene.manager.behave(Behaviour { down_for: usize::MAX, ..Behaviour::default() });
    let (code, _, err) = said(&run(node.repair().args(["--deadline", "3s"])));
    assert_eq!(code, 13, "{err}");
    assert_eq!((node.installed(), restarts(&node.scene)), (before, vec![]));
    let reason = reason(&err);
    saw("repair", "manager down", "manager", End::AsItWas, 13, &reason);
}

fn reason(err: &str) -> String {
    let line = error(err).lines().next().unwrap();
    line.rsplit_once('[').unwrap().1.trim_end_matches(']').to_owned()
}

/// Runs until the journal has this many lines that matter, or to the end; true if it was still at work.
fn until(node: &Node, child: &mut std::process::Child, found: impl Fn(&[Value]) -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if found(&node.scene.journal()) {
            return true;
        }
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_micros(300));
    }
}

fn has_note(journal: &[Value], words: &str) -> bool {
    journal.iter().any(|entry| entry["text"].as_str().is_some_and(|text| text.contains(words)))
}

#[test]
fn a_manager_that_falls_silent_while_a_component_registers_costs_nothing() {
    let node = Node::guac("1.18.1");
    node.expire();
    let before = node.installed();
    let mut child = start(node.repair().args(["--deadline", "8s"]), &node.scene.root.join("said.txt"));
    assert!(until(&node, &mut child, |journal| has_note(journal, "backed up")));
    node.scene.manager.take_down(true);
    let code = child.wait().unwrap().code();
    let err = fs::read_to_string(node.scene.root.join("said.txt")).unwrap();
    if code == Some(0) {
        // It had registered before the manager fell silent.
        return node.is_repaired();
    }
    assert_eq!(code, Some(19), "{err}");
    assert_eq!(reason(&err), "repair.not-registered");
    assert_eq!(node.installed(), before);
    node.nothing_open();
    saw("repair", "manager down", "wait", End::AsItWas, 19, "repair.not-registered");
    node.scene.manager.take_down(false);
    assert_eq!(said(&run(&mut node.repair())).0, 0);
    node.is_repaired();
}

#[test]
fn a_clock_that_is_wrong_is_no_broken_token() {
    let node = Node::guac("1.18.1");
    let before = node.installed();
    // By the manager's clock it is still the day before this token's last one.
    let file = node.guac_file();
    let id = nodes::value(&fs::read_to_string(&file).unwrap(), "id");
    let token = jwt::auth_token(&id, jwt::now() - 86_400, &[80], jwt::Signer::Manager);
    node.put(&file, "auth_token", Some(&token));
    let changed = node.installed();
    assert_ne!(before, changed);
    let date = httpdate::fmt_http_date(std::time::SystemTime::now() - Duration::from_secs(3 * 86_400));
    let registry = Registry { registration_token: Some(REGISTRATION.into()), ..Registry::default() };
    node.scene.manager.behave(Behaviour { date: Some(date), registry, ..Behaviour::default() });
    let (code, out, err) = said(&run(&mut node.repair()));
    assert_eq!((code, out.trim()), (0, "nothing to repair: every token is good"), "{err}");
    assert!(err.contains("this machine's clock is 3 days ahead of the manager's"), "{err}");
    assert_eq!(node.installed(), changed);
    saw("repair", "clock off", "tokens", End::AsItWas, 0, "");
}

#[test]
fn a_component_that_stays_unhealthy_keeps_its_good_token_and_is_named() {
    let node = Node::guac("1.18.1");
    node.expire();
    becomes(&node, "kasm_guac", Condition::Unhealthy);
    let (code, _, err) = said(&run(node.repair().args(["--deadline", "8s"])));
    assert_eq!(code, 19, "{err}");
    shown("repair-unhealthy", error(&err));
    node.is_repaired();
    saw("repair", "container unhealthy", "wait", End::Repaired, 19, "repair.unhealthy");
}

#[test]
fn docker_that_does_not_answer_is_told_before_anything_is_touched() {
    let node = Node::guac("1.18.1");
    node.expire();
    becomes(&node, "kasm_guac", Condition::Gone);
    let before = node.installed();
    let (code, _, err) = said(&run(&mut node.repair()));
    assert_eq!(code, 19, "{err}");
    assert!(err.contains("Docker has no container kasm_guac") && err.contains("[repair.docker]"), "{err}");
    assert_eq!(node.installed(), before);
    node.nothing_open();
}

#[test]
fn a_file_that_cannot_be_changed_safely_is_left_alone() {
    let node = Node::guac("1.18.1");
    node.expire();
    let file = node.guac_file();
    let text = fs::read_to_string(&file).unwrap().replace("kasmguac:\n", "kasmguac: &here\n") + "more: *here\n";
    fs::write(&file, &text).unwrap();
    let (code, _, err) = said(&run(&mut node.repair()));
    assert_eq!(code, 19, "{err}");
    assert!(err.contains("[repair.not-editable]") && err.contains("tied to other places"), "{err}");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn an_upgrade_that_has_not_come_to_its_end_comes_first() {
    let node = Node::guac("1.18.1");
    node.expire();
    // Once, so that our state is there.
    assert_eq!(said(&run(node.scene.command().args(["token", "repair"]))).0, 11);
    let before = node.installed();
    let open = serde_json::json!({
        "schema": 1, "phase": "running", "role": "guac", "from": "1.17.0", "to": "1.18.1", "digest": "", "attempt": 1,
        "snapshot": null, "to_was_there": false, "manager": "m", "at": "2026-01-01T00:00:00Z"
    });
    fs::write(node.scene.root.join("var/lib/kasm-bootstrap/upgrade.json"), open.to_string()).unwrap();
    let (code, _, err) = said(&run(&mut node.repair()));
    assert_eq!(code, 12, "{err}");
    assert!(err.contains("[upgrade.open]"), "{err}");
    assert_eq!(node.installed(), before);
}

#[test]
fn a_component_without_any_token_is_tried_and_named_where_that_fails() {
    let node = Node::guac("1.18.1");
    node.put(&node.guac_file(), "auth_token", Some("''"));
    let (code, _, err) = said(&run(node.scene.command().args(["token", "repair"])));
    assert_eq!(code, 11);
    assert!(err.contains("must be redeployed"), "{err}");
    assert_eq!(said(&run(&mut node.repair())).0, 0);
    node.is_repaired();
}

#[test]
fn what_is_left_of_a_used_registration_token_is_removed_without_a_restart() {
    let node = Node::guac("1.18.1");
    let before = node.installed();
    let file = node.guac_file();
    node.put(&file, "registration_token", Some("'password' # left"));
    fs::write(file.with_file_name("registration_token.txt"), REGISTRATION).unwrap();
    let (code, out, err) = said(&run(node.scene.command().args(["token", "repair"])));
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("registration_token.txt and kasmguac.registration_token"), "{out}");
    assert_eq!((node.installed(), restarts(&node.scene)), (before, vec![]));
}

#[test]
fn an_agents_wrong_manager_token_is_replaced_where_a_right_one_is_given() {
    let node = Node::agent("1.16.1");
    let before = fs::read_to_string(node.agent_file()).unwrap();
    node.put(&node.agent_file(), "token", Some("\"OldTokenOldToken1234\" # old"));
    let (code, _, err) = said(&run(node.repair_with("--manager-token-file", TOKEN).args(["--deadline", "16s"])));
    assert_eq!(code, 0, "{err}");
    assert_eq!(restarts(&node.scene), ["kasm_agent"]);
    let after = fs::read_to_string(node.agent_file()).unwrap();
    assert!(after.contains(&format!("  token: \"{TOKEN}\" # old\n")), "{after}");
    assert_eq!(before.lines().count(), after.lines().count());
    node.nothing_open();
}

#[test]
fn a_manager_token_that_the_manager_refuses_is_taken_back() {
    let node = Node::agent("1.18.1");
    let before = node.installed();
    let (code, _, err) =
        said(&run(node.repair_with("--manager-token-file", "NotTheRightToken12").args(["--deadline", "16s"])));
    assert_eq!(code, 11, "{err}");
    shown("repair-agent-refused", error(&err));
    assert_eq!(node.installed(), before);
    node.nothing_open();
}

#[test]
fn an_agent_that_does_not_come_up_with_its_new_settings_gets_the_old_ones_back() {
    let node = Node::agent("1.18.1");
    node.put(&node.agent_file(), "token", Some("password"));
    let before = node.installed();
    becomes(&node, "kasm_agent", Condition::Unhealthy);
    let mut command = node.repair_with("--manager-token-file", TOKEN);
    let (code, _, err) = said(&run(command.args(["--deadline", "8s"])));
    assert_eq!(code, 19, "{err}");
    assert!(err.contains("[repair.not-up]") && err.contains("everything is as it was"), "{err}");
    assert_eq!(node.installed(), before);
    node.nothing_open();
}

#[test]
fn an_agents_wrong_manager_address_is_found_and_replaced() {
    let node = Node::agent("1.18.1");
    let file = node.agent_file();
    let right = node.scene.manager.address().to_string();
    // Nobody listens there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = fs::read_to_string(&file).unwrap();
    node.put(&file, "hostnames", Some("['127.0.0.1']  # the manager"));
    node.put(&file, "public_port", Some(&nobody.port().to_string()));
    let wrong = node.installed();
    let (code, _, err) = said(&run(node.scene.command().args(["token", "repair"])));
    assert_eq!(code, 13, "{text} {err}");
    assert!(err.contains("--manager-hostname"), "{err}");
    assert_eq!(node.installed(), wrong);
    let mut command = node.scene.command();
    let (code, _, err) =
        said(&run(command.args(["token", "repair", "--deadline", "16s", "--manager-hostname", &right])));
    assert_eq!(code, 0, "{err}");
    let after = fs::read_to_string(&file).unwrap();
    assert!(after.contains("['127.0.0.1']  # the manager"), "{after}");
    assert!(after.contains(&format!("public_port: {}\n", node.scene.manager.port())), "{after}");
    node.nothing_open();
}

/// The point of a repair that its journal has come to.
fn point(journal: &[Value]) -> &'static str {
    let words = [("restarted", "wait"), ("is written", "restart"), ("backed up", "write")];
    if journal.iter().any(|entry| entry["event"] == "run.ended") || has_note(journal, "is repaired") {
        return "after";
    }
    if let Some((_, point)) = words.iter().find(|(words, _)| has_note(journal, words)) {
        return point;
    }
    let begun = |step: &str| journal.iter().any(|entry| entry["event"] == "step.started" && entry["step"] == step);
    match (begun("repair"), begun("manager")) {
        (true, _) => "backup",
        (_, true) => "manager",
        _ => "tokens",
    }
}

#[test]
fn killed_at_any_entry_of_its_journal_a_repair_is_finished_or_undone_by_the_next_run() {
    // The short form kills at every third entry; KASM_KILLS=1 asks for each.
    let step = if std::env::var_os("KASM_KILLS").is_some() { 1 } else { 3 };
    let node = Node::guac("1.18.1");
    for moment in (1..40).step_by(step) {
        node.expire();
        let before = node.installed();
        let earlier = node.scene.journal().len();
        let mut child = start(&mut node.repair(), &node.scene.root.join("first.txt"));
        let killed = until(&node, &mut child, |journal| journal.len() >= earlier + moment);
        child.kill().unwrap();
        child.wait().unwrap();
        let at = point(&node.scene.journal()[earlier..]);
        // Without a token the next run can only finish it, or put it back and say what it needs.
        let (code, _, err) = said(&run(node.scene.command().args(["token", "repair"])));
        match code {
            0 => node.is_repaired(),
            11 => {
                assert_eq!(node.installed(), before, "killed at {moment}, {at}: {err}");
                node.nothing_open();
            }
            _ => panic!("killed at {moment}, {at}: {code} {err}"),
        }
        let (code, _, err) = said(&run(&mut node.repair()));
        assert_eq!(code, 0, "killed at {moment}, {at}: {err}");
        node.is_repaired();
        saw("repair", "kill -9", at, End::Repaired, 0, "");
        if !killed {
            return;
        }
    }
    panic!("a repair has more entries than this test knows");
}

#[test]
fn the_service_ends_a_repair_that_was_cut_off_when_it_starts() {
    let node = Node::guac("1.18.1");
    node.expire();
    node.deal(Registry { refusal: Some("the manager has no time".into()), ..Registry::default() });
    let before = node.installed();
    let mut child = start(&mut node.repair(), &node.scene.root.join("first.txt"));
    assert!(until(&node, &mut child, |journal| has_note(journal, "restarted")));
    child.kill().unwrap();
    child.wait().unwrap();
    let state = node.scene.root.join("var/lib/kasm-bootstrap");
    assert!(state.join("repair.json").exists());

    // The node counts as installed and proved: the service only watches it.
    let (digest, manager) = (node.scene.release.sha256.clone(), node.scene.manager.address().to_string());
    let receipt = serde_json::json!({
        "schema": 1, "role": "guac", "digest": digest, "version": "1.18.1", "at": "2026-01-01T00:00:00Z",
        "manager": manager, "address": "10.0.0.6", "attempt": 1, "proved": true
    });
    fs::write(state.join("installed.json"), receipt.to_string()).unwrap();
    fs::create_dir_all(node.scene.root.join("etc/kasm-bootstrap")).unwrap();
    let config = format!(
        "role = \"guac\"\n[release]\nurls = [\"{}\"]\nsha256 = \"{digest}\"\n[manager]\naddress = \"{manager}\"\n\
         [guac]\nregistration_token = \"{REGISTRATION}\"\n[run]\nuser_data = \"off\"\n",
        node.scene.url()
    );
    let path = node.scene.root.join("etc/kasm-bootstrap/config.toml");
    fs::write(&path, config).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    // Docker starts beside it: without Docker nothing can be restarted.
    fs::write(node.scene.root.join("usr/bin/docker"), "").unwrap();
    let (socket, away) = (node.scene.root.join("run/docker.sock"), node.scene.root.join("run/not-yet"));
    fs::rename(&socket, &away).unwrap();
    let said = node.scene.root.join("service.txt");
    let mut service = start(node.scene.command().arg("run"), &said);
    let begun = Instant::now();
    while !fs::read_to_string(&said).unwrap().contains("waiting for Docker") {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", fs::read_to_string(&said).unwrap());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(state.join("repair.json").exists());
    fs::rename(&away, &socket).unwrap();
    while state.join("repair.json").exists() || state.join("repair").exists() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", fs::read_to_string(&said).unwrap());
        assert!(service.try_wait().unwrap().is_none(), "{}", fs::read_to_string(&said).unwrap());
        std::thread::sleep(Duration::from_millis(5));
    }
    service.kill().unwrap();
    service.wait().unwrap();
    assert_eq!(node.installed(), before);
    node.nothing_open();
}

#[test]
fn a_repair_that_is_told_to_end_puts_everything_back_first() {
    let node = Node::guac("1.18.1");
    node.expire();
    node.deal(Registry { refusal: Some("the manager has no time".into()), ..Registry::default() });
    let before = node.installed();
    let mut child = start(&mut node.repair(), &node.scene.root.join("said.txt"));
    assert!(until(&node, &mut child, |journal| has_note(journal, "restarted")));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let code = child.wait().unwrap().code();
    let err = fs::read_to_string(node.scene.root.join("said.txt")).unwrap();
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("kasm_guac is as it was before its repair"), "{err}");
    assert_eq!(node.installed(), before);
    node.nothing_open();
    saw("repair", "SIGTERM", "wait", End::AsItWas, 1, "run.interrupted");
}

/// A tmpfs over one directory, what is in it kept; gone when dropped. `None` where none may be mounted.
struct Disk(std::path::PathBuf);

impl Disk {
    fn over(path: std::path::PathBuf) -> Option<Disk> {
        let files: Vec<_> = fs::read_dir(&path).unwrap().flatten().map(|entry| entry.path()).collect();
        let kept: Vec<_> = files.iter().map(|path| (path, fs::read(path).unwrap())).collect();
        if let Err(errno) = mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), Some("mode=0755")) {
            println!("skipped: no file system can be mounted here: {errno}");
            return None;
        }
        kept.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
        Some(Disk(path))
    }

    /// Not one file more.
    fn fill(&self) {
        let used = fs::read_dir(&self.0).unwrap().count() + 1;
        let none: Option<&str> = None;
        mount(none, &self.0, none, MsFlags::MS_REMOUNT, Some(format!("nr_inodes={used}").as_str())).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(errno) = umount2(&self.0, MntFlags::MNT_DETACH) {
            println!("{} cannot be unmounted: {errno}", self.0.display());
        }
    }
}

#[test]
fn a_full_disk_leaves_everything_as_it_was() {
    let node = Node::guac("1.18.1");
    node.expire();
    let (state, conf) = (node.scene.root.join("var/lib/kasm-bootstrap"), node.guac_file());
    // Once, so that journal and lock are there.
    assert_eq!(said(&run(node.scene.command().args(["token", "repair"]))).0, 11);
    for (directory, point) in [(state, "backup"), (conf.parent().unwrap().to_owned(), "write")] {
        let Some(disk) = Disk::over(directory) else { return };
        let before = node.installed();
        disk.fill();
        let (code, _, err) = said(&run(&mut node.repair()));
        assert_eq!(node.installed(), before, "{err}");
        node.nothing_open();
        saw("repair", "ENOSPC", point, End::AsItWas, code, &reason(&err));
        assert!(err.contains("help: free space"), "{err}");
    }
    assert_eq!(said(&run(&mut node.repair())).0, 0);
    node.is_repaired();
}
