//! `kasm-bootstrap doctor`: real nodes with something really wrong, and the cause that is named first.

mod common;
mod nodes;

use common::{Scene, TOKEN, run, service, spoken, unwrapped};
use kasm_stand_in::docker::{Condition, Script};
use kasm_stand_in::manager::{Behaviour, jwt};
use kasm_stand_in::release::Options;
use nodes::{Node, calm, plant, without_guest_agent};
use serde_json::Value;
use std::fs;

fn agent() -> Node {
    let node = Node::agent("1.18.1");
    // A port on which nobody listens.
    node.put(&node.agent_file(), "public_port", Some("1"));
    calm(&node.scene.root);
    node
}

/// The exit code, the screen and the document. The disk below these tests may itself be nearly full: it is left out of
/// what is compared.
fn asked(scene: &Scene) -> (i32, String, Value) {
    let (code, text, err) = spoken(&run(scene.command().arg("doctor")));
    assert_eq!(err, "");
    assert!(text.lines().count() <= 24, "{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 80 || !line.trim().contains(' '), "{line}");
    }
    let (again, json, _) = spoken(&run(scene.command().args(["doctor", "--json"])));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((again, &json["schema"]), (code, &1.into()));
    (code, text, json)
}

/// The names of what is wrong, the first one's words, and what follows from it.
fn causes(json: &Value) -> (Vec<&str>, &str, Vec<&str>) {
    let all = json["causes"].as_array().unwrap();
    let names = all.iter().map(|cause| cause["name"].as_str().unwrap()).filter(|name| !name.starts_with("disk"));
    let first = &all.first().unwrap_or(&Value::Null);
    let follows = first["consequences"].as_array().into_iter().flatten().map(|name| name.as_str().unwrap());
    (names.collect(), first["words"].as_str().unwrap_or_default(), follows.collect())
}

/// The first line below the head is this cause.
#[track_caller]
fn first(scene: &Scene, exit: i32, name: &str, words: &str) -> Value {
    let (code, text, json) = asked(scene);
    assert_eq!(code, exit, "{text}");
    let line = text.lines().nth(2).unwrap();
    assert!(line.starts_with(&format!("FAIL  {name} ")), "{text}");
    assert!(causes(&json).1.contains(words), "{text}");
    assert!(text.contains("help: "), "{text}");
    json
}

#[test]
fn a_healthy_node_is_told_in_a_few_lines_and_nothing_is_changed() {
    for node in [agent(), Node::guac("1.18.1")] {
        calm(&node.scene.root);
        let before = common::picture(&node.scene.root);
        let (code, text, json) = asked(&node.scene);
        assert_eq!((code, causes(&json).0), (0, vec![]), "{text}");
        assert!(text.starts_with("Kasm 1.18.1, ") && text.lines().next().unwrap().ends_with(": healthy"), "{text}");
        assert_eq!((&json["verdict"], &json["tokens"]["good"]), (&"healthy".into(), &true.into()));
        assert!(json["health"]["probes"].is_array() && json["preflight"]["checks"].is_array());
        assert_eq!(common::picture(&node.scene.root), before);
        assert!(node.scene.docker.requests().iter().all(|request| request.method == "GET"));
        let (_, every, _) = spoken(&run(node.scene.command().args(["doctor", "-v"])));
        for words in ["\nhealth:\n", "\npreflight:\n", "\ntokens:\n", "oom-kills", "ports", "good"] {
            assert!(every.contains(words), "{words}: {every}");
        }
    }
}

#[test]
fn a_fresh_machine_has_nothing_wrong() {
    let scene = Scene::new(&Options::default());
    calm(&scene.root);
    let (code, text, json) = asked(&scene);
    let (names, ..) = causes(&json);
    if code != 0 {
        // Only where the disk of these tests is nearly full.
        assert_eq!((code, names), (12, vec![]), "{text}");
        return;
    }
    assert!(text.starts_with("Kasm is not installed here; nothing stands in its way\n"), "{text}");
    assert_eq!((&json["verdict"], &json["tokens"]), (&"not-installed".into(), &Value::Null));
}

#[test]
fn a_token_that_is_configured_is_judged_before_anything_is_installed() {
    let scene = Scene::new(&Options::default());
    calm(&scene.root);
    service::configure(&scene, &service::whole(&scene).replace(TOKEN, "MANAGER_TOKEN"));
    let json = first(&scene, 11, "tokens", "the manager token is the placeholder MANAGER_TOKEN");
    assert_eq!(json["causes"][0]["reason"], "token.placeholder");
    // The run that fails for it is no second cause.
    assert_eq!(spoken(&run(scene.command().arg("install"))).0, 11);
    let json = first(&scene, 11, "tokens", "the manager token is the placeholder MANAGER_TOKEN");
    let (names, _, follows) = causes(&json);
    assert_eq!((names, follows), (vec!["tokens"], vec!["last-run"]));

    service::configure(&scene, &service::whole(&scene));
    let (_, _, json) = asked(&scene);
    assert!(!causes(&json).0.contains(&"tokens"), "{json:#}");
}

mod an_agent_that_never_comes_online_is_told_why {
    use super::*;

    #[test]
    fn the_guest_agent_does_not_run() {
        let node = agent();
        let root = &node.scene.root;
        without_guest_agent(root);
        first(&node.scene, 19, "guest-agent", "qemu-guest-agent is not running");
    }

    #[test]
    fn the_upstream_address_is_wrong() {
        let node = agent();
        node.put(&node.agent_file(), "hostnames", Some("['$request_host$']"));
        first(&node.scene, 19, "upstream-address", "the upstream address is wrong");
    }

    #[test]
    fn the_manager_token_is_wrong() {
        let node = agent();
        node.put(&node.agent_file(), "token", Some("MANAGER_TOKEN"));
        let json = first(&node.scene, 11, "tokens", "the manager token of kasm_agent is no good");
        assert_eq!(causes(&json).0, ["tokens"], "the probe and the list say the same");
        assert_eq!(json["causes"][0]["reason"], "token.placeholder");
        let claims = serde_json::json!({ "exp": jwt::now() - 7_300 });
        node.put(&node.agent_file(), "token", Some(&jwt::sign(&claims, jwt::Signer::Manager)));
        first(&node.scene, 11, "tokens", "expired 2 hours");
    }

    #[test]
    fn dns_does_not_know_the_manager() {
        let node = agent();
        plant(&node.scene.root, "etc/resolv.conf", "nameserver 127.0.53.99\n");
        node.put(&node.agent_file(), "hostnames", Some("['kasm.example.com']"));
        let json = first(&node.scene, 19, "manager-name", "DNS does not lead to the manager");
        let (names, _, follows) = causes(&json);
        assert_eq!(names, ["manager-name"]);
        assert!(follows.contains(&"manager") && follows.contains(&"manager-certificate"), "{follows:?}");
    }

    #[test]
    fn the_download_failed() {
        let scene = Scene::new(&Options::default());
        calm(&scene.root);
        let url = scene.mirror.url("/nothing/here.tar.gz");
        assert_eq!(spoken(&run(&mut scene.install(&["--release-url", &url]))).0, 15);
        let json = first(&scene, 19, "last-run", "the download of the release failed");
        let (_, text, _) = asked(&scene);
        let plain = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(plain.contains("`kasm-bootstrap explain download.no-source`"), "{json:#} {text}");
    }
}

#[test]
fn a_configuration_that_is_wrong_is_the_deepest_cause_and_the_machine_is_looked_at_all_the_same() {
    let scene = Scene::new(&Options::default());
    calm(&scene.root);
    plant(&scene.root, "etc/kasm-bootstrap/config.toml", "role = \"agent\"\n[manager]\naddress = \"$request_host$\"\n");
    let json = first(&scene, 10, "configuration", "$request_host$");
    assert!(json["preflight"]["checks"].as_array().unwrap().len() > 20);
}

#[test]
fn a_docker_that_is_down_is_named_and_not_what_it_takes_along() {
    let node = agent();
    fs::remove_file(node.scene.root.join("run/docker.sock")).unwrap();
    let json = first(&node.scene, 19, "docker", "Docker's daemon does not run");
    let (names, _, follows) = causes(&json);
    assert_eq!(names, ["docker"]);
    assert!(follows.contains(&"containers") && follows.contains(&"restarts"), "{follows:?}");
}

#[test]
fn of_two_faults_the_deeper_one_is_first_and_each_is_said() {
    let node = agent();
    node.scene.manager.behave(Behaviour { down: true, ..Behaviour::default() });
    let except = [("kasm_proxy".to_owned(), Condition::Exited(1))].into_iter().collect();
    let plugins = vec![("kasmweb/sidecar:1.2".into(), false)];
    node.scene.containers(Script { looks: 0, except, plugins, ..Script::default() });
    let (code, text, json) = asked(&node.scene);
    let (names, _, follows) = causes(&json);
    assert_eq!((code, names), (19, vec!["sidecar", "manager"]), "{text}");
    assert!(follows.contains(&"containers"), "{text}");
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r":\d{4,5}\b", ":[PORT]");
    settings.add_filter(r"(?m)^warn  disk.*\n( +.*\n)*", "");
    settings.add_filter(r"the other \d+ things", "the other [N] things");
    settings.bind(|| insta::assert_snapshot!("two-faults", unwrapped(&text)));
}
