//! The house rules that a compiler does not know: imports run downwards, files stay small.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms from the top down. A room may use its own floor's name only for itself.
const FLOORS: [&[&str]; 11] = [
    &["cli"],
    &["flow", "report"],
    &["step", "preflight"],
    &["config"],
    &["health"],
    &["kasm"],
    &["apt", "dnf", "release", "machine"],
    &["intent"],
    &["token", "net", "packages"],
    &["observe", "record", "system"],
    &["paths", "error", "secret", "deadline", "durable", "blocking", "words", "reasons"],
];

fn floor(room: &str) -> usize {
    FLOORS.iter().position(|rooms| rooms.contains(&room)).unwrap_or_else(|| panic!("{room} is on no floor"))
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every source file of the library: its room, its path, its text up to its tests.
fn files() -> Vec<(String, PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&src, &mut paths);
    let mut files = Vec::new();
    for path in paths {
        let inside = path.strip_prefix(&src).unwrap();
        let room = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let is_test = name.ends_with("tests") || inside.iter().any(|part| part == "tests");
        if !is_test && room != "lib" && room != "main" {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap().to_owned();
            files.push((room, path, code));
        }
    }
    assert!(files.len() > 50);
    files
}

#[test]
fn imports_run_downwards_only() {
    let mut wrong = Vec::new();
    for (room, path, code) in files() {
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for used in line.split("crate::").skip(1) {
                let used: String = used.chars().take_while(char::is_ascii_lowercase).collect();
                if !used.is_empty() && used != room && floor(&used) <= floor(&room) {
                    wrong.push(format!("{}: {}", path.display(), line.trim()));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn only_the_command_line_prints() {
    let prints = |code: &str| ["println!(", "eprintln!(", "print!(", "eprint!("].iter().any(|call| code.contains(call));
    let wrong: Vec<_> = files().into_iter().filter(|(room, _, code)| room != "cli" && prints(code)).collect();
    assert!(wrong.is_empty(), "{:?}", wrong.iter().map(|(_, path, _)| path).collect::<Vec<_>>());
}

#[test]
fn no_file_is_longer_than_a_person_reads_at_once() {
    let long: Vec<_> =
        files().into_iter().filter(|(.., code)| code.lines().count() > 420).map(|(_, path, _)| path).collect();
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn no_child_gets_our_whole_environment() {
    let open = |code: &str| code.matches("Command::new(").count() != code.matches(".env_clear()").count();
    let wrong: Vec<_> = files().into_iter().filter(|(.., code)| open(code)).map(|(_, path, _)| path).collect();
    assert!(wrong.is_empty(), "{wrong:?}: our variables may hold tokens; see paths::environment_for_children");
}

/// The processor is asked for at run time (uname(2)), where it matters which one it is: that is for the names of
/// Kasm's files, and `Arch` is the one place that knows them.
#[test]
fn no_code_assumes_a_processor() {
    let words = ["target_arch", "target_pointer_width", "target_endian", "target_feature", "core::arch", "std::arch"];
    let names = ["\"x86_64\"", "\"aarch64\"", "\"amd64\"", "\"arm64\""];
    let mut wrong = Vec::new();
    for (_, path, code) in files() {
        let is_arch = path.ends_with("machine/facts.rs");
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in lines {
            let assumes = words.iter().any(|word| line.contains(word));
            if assumes || (!is_arch && names.iter().any(|name| line.contains(name))) {
                wrong.push(format!("{}: {}", path.display(), line.trim()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}
