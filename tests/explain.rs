//! Every reason has a page and every page a reason, and whatever a page, a document or a remedy tells somebody to
//! type exists.

use kasm_bootstrap::config::schema::SETTINGS;
use kasm_bootstrap::reasons;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    let scratch = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap")).arg("--root").arg(scratch.path()).args(args).output().unwrap()
}

fn answer(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn files(directory: &str, ending: &str) -> Vec<PathBuf> {
    let mut left = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)];
    let mut found = Vec::new();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|end| end == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The sources without their tests, and without comments.
fn sources() -> String {
    let is_test = |path: &Path| path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
    let mut all = String::new();
    for path in files("src", "rs").iter().filter(|path| !is_test(path)) {
        let text = fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//") && !line.contains("serde(rename"));
        lines.for_each(|line| all.extend([line, "\n"]));
    }
    all
}

/// Every text in the sources that looks like a reason code: two words, dashes in the second.
fn candidates(sources: &str) -> BTreeSet<String> {
    let is_code = |text: &str| {
        let Some((room, words)) = text.split_once('.') else { return false };
        let lower = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase());
        lower(room) && words.split('-').all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric()))
    };
    sources.split('"').filter(|text| is_code(text)).map(str::to_owned).collect()
}

/// What looks like a reason and is none: files, keys, units.
const OTHERS: &str = "api.hostnames apt.conf auth.log baked.json c.example cgroup.controllers cgroup.procs \
    credential.secret daemon.log docker.io health.docker install.sh installer.log installer.pid kasm.kasmid \
    kasm.service kern.log manager.hostnames manager.localhost manifest.json modules.builtin modules.dep partial.json \
    pkgcache.bin resolv.conf result.json services.log srcpkgcache.bin status.json system.slice tar.gz upgrade.sh \
    user.log";

#[test]
fn every_reason_has_a_page_and_every_page_a_reason() {
    let pages: BTreeSet<String> = reasons::pages().into_iter().map(|page| page.reason).collect();
    let candidates = candidates(&sources());
    let gone: Vec<&String> = pages.iter().filter(|page| !candidates.contains(*page)).collect();
    assert!(gone.is_empty(), "pages of no reason: {gone:?}");
    let bare: Vec<&String> = candidates
        .iter()
        .filter(|text| !pages.contains(*text) && !SETTINGS.iter().any(|setting| setting.key == **text))
        .filter(|text| !OTHERS.split(' ').any(|other| other == *text))
        .collect();
    assert!(bare.is_empty(), "reasons without a page in docs/errors: {bare:?}");
}

#[test]
fn the_file_of_a_page_is_named_by_its_reason_and_pages_lead_to_pages() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors");
    for page in reasons::pages() {
        let path = directory.join(format!("{}.md", page.reason));
        assert_eq!(fs::read_to_string(path).unwrap().trim(), page.markdown);
        let titles: Vec<&str> = page.markdown.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(titles, ["What happened", "How to be sure", "What to do", "How to avoid it"], "{}", page.reason);
        for target in page.markdown.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            assert!(target.contains("://") || directory.join(target).exists(), "{}: {target}", page.reason);
        }
        assert!(page.markdown.lines().all(|line| line.chars().count() <= 110), "{} is too wide", page.reason);
    }
}

/// Whether the commands and the long flags exist that somebody is told to type after `kasm-bootstrap`.
fn is_known(told: &str, command: &clap::Command) -> Result<(), String> {
    let mut here = command;
    let end = |word: &&str| !matches!(*word, "|" | ">" | ">>" | "<" | "&&" | "||" | ";" | "#" | "\\");
    for word in told.split_whitespace().take_while(end) {
        let word = word.trim_end_matches([',', ';', ':', '.', ')']);
        if let Some(flag) = word.strip_prefix("--") {
            let flag = flag.split(['=', ']']).next().unwrap_or_default();
            let known = here.get_arguments().any(|arg| {
                arg.get_long() == Some(flag) || arg.get_all_aliases().is_some_and(|all| all.contains(&flag))
            });
            if !known && !["help", "version"].contains(&flag) {
                return Err(format!("--{flag} is no flag of it"));
            }
        } else if let Some(found) = here.find_subcommand(word) {
            here = found;
        } else if here.has_subcommands() && !word.starts_with('-') && !word.starts_with('[') {
            return Err(format!("{word} is no command"));
        }
    }
    Ok(())
}

/// What follows `kasm-bootstrap ` where something is told to be typed: in backticks, or on a line of a block.
fn told(text: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut fenced = false;
    let mut outside = String::new();
    let mut continued = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            continued.push_str(line.trim_end_matches('\\'));
            if !line.ends_with('\\') {
                let line = std::mem::take(&mut continued);
                let words = line.trim_start().trim_start_matches("sudo ");
                all.extend(words.strip_prefix("kasm-bootstrap ").map(str::to_owned));
            }
        } else {
            outside.extend([line, "\n"]);
        }
    }
    let spans = outside.split('`').skip(1).step_by(2);
    all.extend(spans.filter_map(|span| span.strip_prefix("kasm-bootstrap ")).map(|span| span.replace('\n', " ")));
    all
}

#[test]
fn every_command_that_somebody_is_told_to_type_exists() {
    let mut wrong = Vec::new();
    let mut count = 0;
    let mut command = kasm_bootstrap::cli::command();
    command.build();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts: Vec<(PathBuf, String)> = vec![(PathBuf::from("src"), sources())];
    for path in files("docs", "md").into_iter().chain([root.join("README.md"), root.join("SECURITY.md")]) {
        let text = fs::read_to_string(&path).unwrap();
        texts.push((path, text));
    }
    for (path, text) in texts {
        for told in told(&text) {
            count += 1;
            if let Err(why) = is_known(&told, &command) {
                wrong.push(format!("{}: kasm-bootstrap {told}: {why}", path.display()));
            }
        }
    }
    assert!(count > 300, "only {count} were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_reason_is_explained_as_it_stands_behind_an_error() {
    insta::assert_snapshot!(answer(&["explain", "[token.repeated]"]), @r"
    token.repeated

    The token is one character over and over.

    Exit 11 (token refused)

    What happened

    An opaque value of the right length consists of a single character, such as `xxxxxxxxxxxxxxxx` or
    `0000000000000000`. That is what somebody types to fill a mandatory field, or what a masking layer
    puts in a secret's place. No generator makes such a token. Nothing was changed. Rows of `*` or dots
    are recognised as what a screen shows and are token.placeholder.

    How to be sure

    One line of output from the second command confirms it:

        kasm-bootstrap token check --kind manager /run/token
        fold -w1 /run/token | sort -u

    What to do

    Put the real token in. If it comes from a CI system or a secret store, look whether that system
    masks values it prints: the mask, not the secret, was written to the file.

    How to avoid it

    Never copy a secret out of a log or a build's output. Hand it over as a file or a systemd
    credential.
    ");
    let json: Value = serde_json::from_str(&answer(&["explain", "token.repeated", "--json"])).unwrap();
    assert_eq!(json["reason"], "token.repeated");
    assert_eq!(json["exit"], "Exit 11 (token refused)");
}

#[test]
fn all_reasons_are_listed_and_the_last_runs_own_is_the_one_that_is_meant() {
    let list = answer(&["explain", "--list"]);
    assert_eq!(list.lines().count(), reasons::pages().len());
    assert!(answer(&["explain"]).starts_with("the last run has not failed"));
    let scratch = tempfile::tempdir().unwrap();
    let ours = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap"));
        command.arg("--root").arg(scratch.path()).args(args).output().unwrap()
    };
    let flags = ["-S", "agent", "-p", "auto", "-m", "127.0.0.1", "-M", "[MANAGER_TOKEN]", "--release", "1.19.0"];
    assert_eq!(ours(&[&["install", "-e"], &flags[..]].concat()).status.code(), Some(11));
    let text = String::from_utf8(ours(&["explain"]).stdout).unwrap();
    assert!(text.starts_with("token.placeholder\n"), "{text}");
}

#[test]
fn what_is_no_reason_is_not_repeated_and_what_is_nearly_one_is_named() {
    let output = run(&["explain", "token.placeholdr"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("did you mean token.placeholder?"));
    let output = run(&["explain", "Zq7Wk3Rt9Xv5Lm1Pn8Bd"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("explain.unknown-reason") && !said.contains("Zq7"), "{said}");
}
