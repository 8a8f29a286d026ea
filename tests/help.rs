//! What a person sees before anything is done: help, version, usage errors.

use clap::Command as Tree;
use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    // As wide as help ever gets, whatever terminal the tests run on.
    Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap")).args(args).env("COLUMNS", "80").output().unwrap()
}

fn help(args: &[&str]) -> String {
    let output = run(&[args, &["--help"]].concat());
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// Every command by its words.
fn commands() -> Vec<Vec<String>> {
    fn walk(command: &Tree, words: &[String], all: &mut Vec<Vec<String>>) {
        all.push(words.to_vec());
        for below in command.get_subcommands() {
            walk(below, &[words, &[below.get_name().to_owned()]].concat(), all);
        }
    }
    let mut all = Vec::new();
    walk(&kasm_bootstrap::cli::command(), &[], &mut all);
    all
}

#[test]
fn help_says_what_each_command_is_for() {
    insta::assert_snapshot!("main", help(&[]));
    insta::assert_snapshot!("install", help(&["install"]));
    insta::assert_snapshot!("upgrade", help(&["upgrade"]));
    insta::assert_snapshot!("rollback", help(&["rollback"]));
    insta::assert_snapshot!("run", help(&["run"]));
    insta::assert_snapshot!("plan", help(&["plan"]));
    insta::assert_snapshot!("status", help(&["status"]));
    insta::assert_snapshot!("health", help(&["health"]));
    insta::assert_snapshot!("doctor", help(&["doctor"]));
    insta::assert_snapshot!("timeline", help(&["timeline"]));
    insta::assert_snapshot!("token-check", help(&["token", "check"]));
    insta::assert_snapshot!("apt-wait", help(&["apt-wait"]));
    insta::assert_snapshot!("release", help(&["release"]));
    insta::assert_snapshot!("config", help(&["config"]));
}

/// Words as a shell makes them of a line without variables.
fn words(line: &str) -> Vec<String> {
    let line = line.split(" > ").next().unwrap().split(" | ").next().unwrap().split(" && ").next().unwrap();
    line.split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect()
}

#[test]
fn the_help_of_every_command_fits_eighty_columns_and_its_examples_can_be_typed() {
    let commands = commands();
    assert!(commands.len() > 25, "{commands:?}");
    for command in &commands {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        for flag in ["-h", "--help"] {
            let text = String::from_utf8(run(&[words.as_slice(), &[flag]].concat()).stdout).unwrap();
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{command:?}: {text}");
            let (_, examples) =
                text.split_once("\nExamples:\n").unwrap_or_else(|| panic!("{command:?} has no examples"));
            let lines = examples.split("\\\n").map(str::trim_start).collect::<String>();
            let mut count = 0;
            // What is another program's to understand is not asked for here.
            let ours = lines.lines().filter(|line| !line.contains("systemctl "));
            for line in ours.filter_map(|line| line.find("kasm-bootstrap ").map(|at| &line[at..])) {
                // What it is for stands behind two blanks or more.
                parses(line.split("  ").next().unwrap());
                count += 1;
            }
            assert!(count > 0, "{command:?}: {text}");
        }
    }
}

#[track_caller]
fn parses(line: &str) {
    let parsed = kasm_bootstrap::cli::command().try_get_matches_from(words(line));
    let is_fine = parsed.as_ref().err().is_none_or(|error| !error.use_stderr());
    assert!(is_fine, "{line}: {}", parsed.unwrap_err());
}

#[test]
fn a_command_line_that_makes_no_sense_is_a_usage_error() {
    for args in [[].as_slice(), &["instal"], &["install", "--nonsense"], &["token", "check", "--kind", "other"]] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn the_version_has_a_commit_and_a_target_where_it_is_asked_for_in_full() {
    let short = format!("kasm-bootstrap {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8(run(&["-V"]).stdout).unwrap(), format!("{short}\n"));
    let long = String::from_utf8(run(&["--version"]).stdout).unwrap();
    let told = long.strip_prefix(&format!("{short} (")).and_then(|rest| rest.strip_suffix(")\n"));
    let (commit, target) = told.and_then(|told| told.rsplit_once(", ")).unwrap_or_else(|| panic!("{long}"));
    assert!(!commit.is_empty() && target.split('-').count() >= 3, "{long}");
}
