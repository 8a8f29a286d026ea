//! The table of faults in `docs/faults.md` is made from what the tests see, and held to it:
//!
//! - with `KASM_FAULTS_DIR` set, each cell a test saw is written there, and `cargo xtask faults DIR` puts them
//!   into the document;
//! - without it, what a test saw must be what the document says.
//!
//! ```sh
//! KASM_FAULTS_DIR=$PWD/target/faults cargo nextest run && cargo xtask faults target/faults
//! ```

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs;
use std::path::Path;

/// In which state the node is at last. After `kill -9` that is: when the next run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing was changed: what was there runs on as it was.
    Untouched,
    /// What was asked for is there, proved to be healthy.
    New,
    /// What was there before is back, proved to be healthy.
    Old,
    /// What was asked for is there and nobody has undone it, but it is not proved yet: the next run goes on.
    Unproved,
    /// What was to be repaired is repaired.
    Repaired,
    /// What was to be repaired is as it was, to the byte.
    AsItWas,
    /// Neither: a failure that says in which state the node is and what to do.
    Named,
}

impl End {
    fn words(self) -> &'static str {
        match self {
            End::Untouched => "untouched",
            End::New => "new, healthy",
            End::Old => "old, healthy",
            End::Unproved => "new, not proved yet",
            End::Repaired => "repaired",
            End::AsItWas => "as it was",
            End::Named => "named failure",
        }
    }
}

/// True where every cell is asked for: `KASM_FAULTS_DIR`, or `KASM_FAULTS=all`. An ordinary run passes over some
/// whose neighbours it looks at.
pub fn all() -> bool {
    std::env::var_os("KASM_FAULTS_DIR").is_some() || std::env::var("KASM_FAULTS").is_ok_and(|value| value == "all")
}

/// A test has seen how this fault at this point ends. `verb`, `fault` and `point` are as in
/// `xtask/src/faults.rs`; `exit` is of the run that met the fault (after `kill -9`: of the next one), `reason`
/// its reason code, empty after 0.
///
/// # Panics
/// The document says otherwise.
#[track_caller]
pub fn saw(verb: &str, fault: &str, point: &str, end: End, exit: i32, reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("?").rsplit("::").next().unwrap_or("?").to_owned();
    let test = format!("{} {test}", env!("CARGO_CRATE_NAME"));
    let reason = if reason.is_empty() { "–" } else { reason };
    let exit = exit.to_string();
    let cell = [verb, fault, point, end.words(), &exit, reason, &test];
    assert!(cell.iter().all(|text| !text.contains(['\t', '\n', '|']) && !text.is_empty()), "{cell:?}");
    if let Some(directory) = std::env::var_os("KASM_FAULTS_DIR") {
        fs::create_dir_all(&directory).unwrap();
        let name: String =
            [verb, fault, point].join("-").chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        fs::write(Path::new(&directory).join(format!("{name}.tsv")), cell.join("\t") + "\n").unwrap();
        return;
    }
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/faults.md")).unwrap();
    let row = |cells: &[&str]| cells.iter().map(|cell| format!("| {cell} ")).collect::<String>();
    let section = document.split("<!-- faults: ").find(|section| section.starts_with(&format!("{verb} -->")));
    let begins = row(&cell[1..3]);
    let written = section.unwrap_or_default().lines().find(|line| line.starts_with(&begins));
    let wanted = row(&cell[1..]) + "|";
    assert_eq!(written, Some(wanted.as_str()), "docs/faults.md says otherwise: see tests/faults/table.rs");
}
