//! The status document and the journal of version 1: what was written then is read now, and whoever reads the document
//! finds every field where it was.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Everything of `then` is in `now`, which may have more fields.
fn holds(now: &Value, then: &Value, place: &str) {
    match (now, then) {
        (Value::Object(now), Value::Object(then)) => {
            for (name, value) in then {
                let place = format!("{place}.{name}");
                holds(now.get(name).unwrap_or_else(|| panic!("{place} is gone")), value, &place);
            }
        }
        (Value::Array(now), Value::Array(then)) => {
            assert_eq!(now.len(), then.len(), "{place}");
            now.iter().zip(then).enumerate().for_each(|(at, (now, then))| holds(now, then, &format!("{place}[{at}]")));
        }
        (now, then) => assert_eq!(now, then, "{place}"),
    }
}

#[test]
fn a_journal_of_version_1_gives_the_document_of_version_1() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/status");
    let scratch = tempfile::tempdir().unwrap();
    let state = scratch.path().join("var/lib/kasm-bootstrap");
    fs::create_dir_all(&state).unwrap();
    let mut journal = fs::read_to_string(data.join("v1.journal.jsonl")).unwrap();
    // What a later version writes is passed over.
    journal.push_str(r#"{"v":9,"run":"5f0c21aa","at":"2027","ms":12001,"event":"step.dreamt","step":"install"}"#);
    fs::write(state.join("journal.jsonl"), journal).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap"))
        .arg("--root")
        .arg(scratch.path())
        .args(["status", "--json"])
        .output()
        .unwrap();
    let now: Value = serde_json::from_slice(&output.stdout).unwrap();
    let then: Value = serde_json::from_slice(&fs::read(data.join("v1.json")).unwrap()).unwrap();
    holds(&now, &then, "status");
    assert_eq!(now["schema"], 1, "a document of another version wants a fixture of its own");
}
