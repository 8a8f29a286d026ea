//! The catalogue for `journalctl -x`, held against the program that sends the events and against journald's own tools.

use kasm_bootstrap::error::{Exit, Failure};
use kasm_bootstrap::health::{Level, Verdict};
use kasm_bootstrap::report::journald::fields;
use kasm_bootstrap::report::message::{KINDS, id};
use kasm_bootstrap::step::event::VERSION;
use kasm_bootstrap::step::{Ending, Entry, Event};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

fn text() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/kasm-bootstrap.catalog")).unwrap()
}

/// Each entry's text by its identifier.
fn catalogue() -> BTreeMap<String, String> {
    let text = text();
    let mut entries = text.split("\n-- ");
    assert!(entries.next().unwrap().lines().all(|line| line.is_empty() || line.starts_with('#')));
    entries
        .map(|entry| {
            let (id, rest) = entry.split_once('\n').unwrap();
            (id.to_owned(), rest.to_owned())
        })
        .collect()
}

/// One event of each kind that is explained.
fn events() -> Vec<Event> {
    let ended = |exit: Exit, reason: &str| Event::RunEnded {
        exit: exit.code(),
        detail: "it failed".into(),
        failure: Some(Failure::new(exit, reason, "it failed", "mend it")),
    };
    let health = |now| Event::HealthChanged { before: None, now, words: "words".into() };
    vec![
        Event::RunStarted {
            verb: "install".into(),
            fingerprint: String::new(),
            version: String::new(),
            boot: String::new(),
            uptime_ms: None,
            pid: 1,
            budget_ms: 1,
            resumes: None,
            steps: vec![],
        },
        Event::RunEnded { exit: 0, detail: "done".into(), failure: None },
        ended(Exit::Download, "release.download"),
        ended(Exit::Unexpected, "run.interrupted"),
        ended(Exit::Token, "token.placeholder"),
        ended(Exit::Budget, "run.budget"),
        ended(Exit::RolledBack, "upgrade.rolled-back"),
        Event::StepEnded { step: "fetch".into(), ending: Ending::Failed, detail: "it failed".into(), took_ms: 5 },
        Event::ProbeChanged {
            probe: "disk".into(),
            before: None,
            now: Level::Fail,
            words: "full".into(),
            remedy: Some("free space".into()),
        },
        health(Verdict::Healthy),
        health(Verdict::Degraded),
        health(Verdict::Failed),
        Event::HealthMended { probe: "sidecar".into(), words: "enabled again".into(), done: true },
    ]
}

#[test]
fn every_kind_of_event_has_its_entry_and_every_entry_its_kind() {
    let known: BTreeSet<&str> = KINDS.iter().map(|(_, id)| *id).collect();
    assert_eq!(known.len(), KINDS.len());
    let sent: BTreeSet<&str> = events().iter().map(|event| id(event).unwrap()).collect();
    assert_eq!(sent, known);
    let catalogue = catalogue();
    assert_eq!(catalogue.keys().map(String::as_str).collect::<BTreeSet<_>>(), known);
    for (id, entry) in catalogue {
        assert!(
            id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)),
            "{id}"
        );
        let (head, body) = entry.split_once("\n\n").unwrap();
        assert!(head.starts_with("Subject: ") && head.contains("\nDefined-By: kasm-bootstrap\n"), "{head}");
        assert!(body.trim().len() > 60, "{id}");
    }
}

#[test]
fn every_field_that_an_entry_names_is_sent_with_its_event() {
    let catalogue = catalogue();
    for event in events() {
        let (id, words) = (id(&event).unwrap(), format!("{event:?}"));
        let entry = Entry { v: VERSION, run: "5f0c21aa".into(), at: String::new(), ms: 1, event };
        let sent: Vec<&str> = fields(&entry).into_iter().map(|(name, _)| name).collect();
        assert!(sent.contains(&"MESSAGE_ID"), "{words}");
        for (at, name) in catalogue[id].split('@').enumerate().filter(|(at, _)| at % 2 == 1) {
            assert!(sent.contains(&name), "{id}, {at}: @{name}@ is not among {sent:?}");
        }
    }
}

#[test]
fn what_is_not_explained_has_no_identifier() {
    let step = || "fetch".to_owned();
    for event in [
        Event::StepStarted { step: step() },
        Event::StepOutput { step: step(), line: String::new() },
        Event::StepEnded { step: step(), ending: Ending::Done, detail: String::new(), took_ms: 0 },
        Event::HealthChanged { before: None, now: Verdict::Starting, words: String::new() },
        Event::HealthMended { probe: String::new(), words: String::new(), done: false },
    ] {
        assert_eq!(id(&event), None, "{event:?}");
    }
}

#[test]
fn journald_takes_the_catalogue_and_knows_every_entry() {
    if Command::new("journalctl").arg("--version").output().is_err() {
        eprintln!("skipped: there is no journalctl here (package systemd)");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    for path in ["usr/lib/systemd/catalog", "var/lib/systemd/catalog"] {
        fs::create_dir_all(root.path().join(path)).unwrap();
    }
    fs::write(root.path().join("usr/lib/systemd/catalog/kasm-bootstrap.catalog"), text()).unwrap();
    let journalctl = |arguments: &[&str]| {
        let at = format!("--root={}", root.path().display());
        let output = Command::new("journalctl").arg(at).args(arguments).env("LC_ALL", "C").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{said}");
        String::from_utf8(output.stdout).unwrap()
    };
    journalctl(&["--update-catalog"]);
    let known = journalctl(&["--list-catalog"]);
    for (kind, id) in KINDS {
        assert!(known.contains(id), "{kind}: {known}");
    }
    let one = journalctl(&["--dump-catalog", KINDS[0].1]);
    assert!(one.contains("Defined-By: kasm-bootstrap") && one.contains("KASM_RUN=@KASM_RUN@"), "{one}");
}
