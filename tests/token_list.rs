//! `token list`: what an installed node holds, in both layouts; never a token.

mod common;
mod nodes;

use common::{TOKEN, run};
use kasm_stand_in::manager::jwt;
use nodes::{Node, REGISTRATION, said};
use serde_json::Value;
use std::fs;

fn shown(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "[time]");
    settings.add_filter(r"in \d+ [a-z]+( \d+ [a-z]+)*", "in [span]");
    settings.bind(|| insta::assert_snapshot!(name, text.trim_end()));
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
        assert!(line.chars().count() <= 80 || line.contains("/opt/kasm/"), "{line}");
    }
}

#[test]
fn a_healthy_connection_proxy_is_shown_with_what_each_token_is_good_for() {
    let node = Node::guac("1.18.1");
    let (code, out, _) = said(&node.list(&["--check"]));
    assert_eq!(code, 0, "{out}");
    shown("guac-healthy", &out);
}

#[test]
fn both_layouts_are_read() {
    for (version, path) in [("1.16.1", "conf/app/kasmguac"), ("1.17.0", "conf/app/guac/kasmguac")] {
        let node = Node::guac(version);
        let (code, out, _) = said(&node.list(&["--json", "--check"]));
        let json: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, &json["schema"], &json["good"]), (0, &1.into(), &true.into()), "{out}");
        let tokens = json["tokens"].as_array().unwrap();
        assert_eq!(tokens.len(), 3);
        for (token, class) in tokens.iter().zip(["guac", "rdp", "rdp"]) {
            assert_eq!((&token["kind"], &token["signature"]), (&"auth".into(), &"verified".into()), "{token:#}");
            assert_eq!((&token["class"], &token["reason"]), (&class.into(), &Value::Null));
            assert!(token["expires"].is_string());
        }
        assert!(tokens[0]["file"].as_str().unwrap().contains(path), "{out}");
    }
}

#[test]
fn a_node_broken_as_in_816_is_found_and_explained() {
    let node = Node::guac("1.16.1");
    node.break_as_816();
    let (code, out, _) = said(&node.list(&[]));
    assert_eq!(code, 0, "it could be read: {out}");
    shown("guac-816", &out);
    assert_eq!(node.list(&["--check"]).status.code(), Some(11));
    let json: Value = serde_json::from_slice(&node.list(&["--json"]).stdout).unwrap();
    assert_eq!(json["components"][0]["repair"], "register");
    assert_eq!(json["tokens"][0]["reason"], "token.placeholder");
}

#[test]
fn every_way_in_which_an_auth_token_can_be_wrong_has_its_own_reason() {
    let node = Node::guac("1.18.1");
    let file = node.guac_file();
    let id = nodes::value(&fs::read_to_string(&file).unwrap(), "id");
    let (later, manager) = (jwt::now() + 86_400, jwt::Signer::Manager);
    for (token, reason, signature) in [
        (jwt::auth_token(&id, jwt::now() - 9_000, &[80], manager), "token.expired", Value::Null),
        (jwt::auth_token(&id, later, &[90], manager), "token.wrong-class", Value::Null),
        (jwt::auth_token("ab", later, &[80], manager), "token.other-component", Value::Null),
        (jwt::auth_token(&id, later, &[80], jwt::Signer::Another), "token.signature-mismatch", "wrong".into()),
        ("''".into(), "token.missing", Value::Null),
    ] {
        node.put(&file, "auth_token", Some(&token));
        let (_, out, _) = said(&node.list(&["--json"]));
        let json: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            (&json["tokens"][0]["reason"], &json["tokens"][0]["signature"]),
            (&reason.into(), &signature),
            "{out}"
        );
        assert_eq!(json["good"], false);
    }
}

#[test]
fn what_will_have_expired_by_a_day_can_be_asked() {
    let node = Node::guac("1.18.1");
    let output = node.list(&["--check", "--at", "2120-01-01T00:00:00Z"]);
    assert_eq!(said(&output).0, 11);
}

#[test]
fn an_agents_manager_token_is_listed_and_a_missing_one_is_named() {
    let node = Node::agent("1.18.1");
    let (code, out, _) = said(&node.list(&["--check"]));
    assert_eq!(code, 0, "{out}");
    shown("agent-healthy", &out);
    node.put(&node.agent_file(), "token", None);
    let (code, out, _) = said(&node.list(&["--check"]));
    assert_eq!(code, 11);
    shown("agent-without-token", &out);
}

#[test]
fn a_machine_without_kasm_is_told_so() {
    let node = Node::agent("1.18.1");
    fs::remove_dir_all(node.scene.root.join("opt/kasm")).unwrap();
    let (code, _, err) = said(&node.list(&[]));
    assert_eq!(code, 12);
    assert!(err.contains("no Kasm is installed here") && err.contains("[token.not-installed]"), "{err}");
}

#[test]
fn an_unreadable_configuration_is_no_empty_list() {
    let node = Node::guac("1.18.1");
    fs::write(node.guac_file(), format!("kasmguac: \"{REGISTRATION}\n{TOKEN}")).unwrap();
    let (code, _, err) = said(&node.list(&[]));
    assert_eq!(code, 19, "{err}");
    assert!(err.contains("kasmguac.app.config.yaml"), "{err}");
    let output = run(node.scene.command().args(["token", "list", "--bogus"]));
    assert_eq!(output.status.code(), Some(2));
}
