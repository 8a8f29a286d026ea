//! What a person sees before anything is done: help, version, usage errors.

use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    // As wide as help ever gets, whatever terminal the tests run on.
    Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap")).args(args).env("COLUMNS", "80").output().unwrap()
}

fn help(args: &[&str]) -> String {
    let output = run(&[args, &["--help"]].concat());
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    text
}

#[test]
fn help_fits_eighty_columns_and_says_what_each_command_is_for() {
    insta::assert_snapshot!("main", help(&[]));
    insta::assert_snapshot!("install", help(&["install"]));
    insta::assert_snapshot!("upgrade", help(&["upgrade"]));
    insta::assert_snapshot!("rollback", help(&["rollback"]));
    insta::assert_snapshot!("run", help(&["run"]));
    insta::assert_snapshot!("plan", help(&["plan"]));
    insta::assert_snapshot!("status", help(&["status"]));
    insta::assert_snapshot!("health", help(&["health"]));
    insta::assert_snapshot!("timeline", help(&["timeline"]));
    insta::assert_snapshot!("token-check", help(&["token", "check"]));
    insta::assert_snapshot!("apt-wait", help(&["apt-wait"]));
    insta::assert_snapshot!("release", help(&["release"]));
    insta::assert_snapshot!("config", help(&["config"]));
}

#[test]
fn help_of_the_other_commands_fits_eighty_columns_too() {
    for command in [
        ["bake"].as_slice(),
        &["bundle"],
        &["explain"],
        &["preflight"],
        &["checkin"],
        &["plan", "install"],
        &["plan", "upgrade"],
        &["token"],
        &["token", "list"],
        &["token", "repair"],
        &["release", "fetch"],
        &["release", "verify"],
        &["release", "unpack"],
        &["release", "digest"],
        &["release", "list"],
        &["config", "check"],
        &["config", "show"],
        &["config", "schema"],
        &["config", "example"],
    ] {
        help(command);
    }
}

#[test]
fn a_command_line_that_makes_no_sense_is_a_usage_error() {
    for args in [[].as_slice(), &["instal"], &["install", "--nonsense"], &["token", "check", "--kind", "other"]] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
    let version = run(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(version.stdout, concat!("kasm-bootstrap ", env!("CARGO_PKG_VERSION"), "\n").as_bytes());
}
