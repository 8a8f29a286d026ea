//! ARCHITECTURE.md, CONTRIBUTING.md and CHANGELOG.md, held to the code: what they name exists.

use std::fs;
use std::path::{Path, PathBuf};

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(top().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

const PAPERS: [&str; 3] = ["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/release.md"];

/// What stands between backticks, outside blocks of code.
fn quoted(text: &str) -> Vec<String> {
    let outside: Vec<&str> = text.split("```").step_by(2).collect();
    let spans = outside.iter().flat_map(|part| part.split('`').skip(1).step_by(2));
    let spans: Vec<String> = spans.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(spans.len() > 10, "{spans:?}");
    spans
}

/// The targets of links inside this repository, without their anchors.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.contains("://"))
        .map(|target| target.split('#').next().unwrap().to_owned())
        .collect()
}

fn is_file_name(span: &str) -> bool {
    let is_plain = span.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b));
    let places = ["src/", "tests/", "docs/", "scripts/", "xtask/", "stand-in/", "fuzz/", "bench/", "packaging/"];
    let endings = [".md", ".rs"];
    let is_ours = places.iter().any(|place| span.starts_with(place)) || endings.iter().any(|end| span.ends_with(end));
    is_plain && is_ours && !span.contains("REASON")
}

#[test]
fn every_file_that_the_papers_name_is_there() {
    let mut count = 0;
    for paper in PAPERS {
        let text = read(paper);
        let directory = top().join(paper).parent().unwrap().to_owned();
        for name in quoted(&text).into_iter().filter(|span| is_file_name(span)) {
            // A bare `tests.rs` is any file of that name.
            assert!(top().join(&name).exists() || name == "tests.rs", "{paper}: there is no {name}");
            count += 1;
        }
        for target in links(&text) {
            assert!(directory.join(&target).exists(), "{paper}: there is no {target}");
        }
    }
    assert!(count > 60, "{count}");
}

/// The rooms in the map of `src/lib.rs`, by its modules.
fn rooms() -> Vec<String> {
    let text = read("src/lib.rs");
    let rooms = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).map(str::to_owned);
    rooms.collect()
}

#[test]
fn every_room_has_its_words_in_the_architecture_and_none_is_made_up() {
    let text = read("ARCHITECTURE.md");
    let map = text.split("```").nth(1).unwrap();
    let flowing = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let rooms = rooms();
    for room in &rooms {
        assert!(flowing.contains(&format!("**{room}** (`src/{room}")), "{room} has no words");
        assert!(map.split_whitespace().any(|word| word == room), "{room} is not in the map");
    }
    for line in text.lines().filter(|line| line.starts_with("- **") && line.contains("** (`src/")) {
        let room = line[4..].split("**").next().unwrap();
        assert!(rooms.iter().any(|known| known == room), "there is no room {room}");
    }
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => sources(&path, found),
            path if path.extension().is_some_and(|end| end == "rs") => found.push(path),
            _ => {}
        }
    }
}

/// The text of a room.
fn room(name: &str) -> String {
    let mut files = vec![];
    let file = top().join("src").join(format!("{name}.rs"));
    files.extend(file.is_file().then_some(file));
    let directory = top().join("src").join(name);
    if directory.is_dir() {
        sources(&directory, &mut files);
    }
    files.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// True if something is declared under this name.
fn declares(text: &str, name: &str) -> bool {
    ["struct ", "enum ", "trait ", "fn ", "const ", "type ", "mod "].iter().any(|word| {
        let declaration = format!("{word}{name}");
        text.match_indices(&declaration).any(|(at, _)| {
            let after = text[at + declaration.len()..].chars().next();
            !after.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
        })
    })
}

#[test]
fn every_name_in_the_papers_is_one_of_the_code() {
    let rooms = rooms();
    let mut count = 0;
    for paper in PAPERS {
        for span in quoted(&read(paper)) {
            let path: Vec<&str> = span.split("::").collect();
            let is_name = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let [first, rest @ ..] = path.as_slice() else { continue };
            if rest.is_empty() || !rooms.iter().any(|room| room == first) || !rest.iter().all(|part| is_name(part)) {
                continue;
            }
            let text = room(first);
            for part in rest {
                assert!(declares(&text, part), "{paper}: {span}: nothing in {first} is called {part}");
            }
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
    // It can tell.
    assert!(!declares(&room("step"), "Hubs") && declares(&room("step"), "Hub"));
}

#[test]
fn the_files_of_state_in_the_architecture_are_in_paths() {
    let paths = read("src/paths.rs");
    for span in quoted(&read("ARCHITECTURE.md")).iter().filter(|span| span.ends_with(".json")) {
        assert!(paths.contains(span.rsplit('/').next().unwrap()), "{span}");
    }
}

#[test]
fn the_changelog_has_this_version_and_keeps_its_form() {
    let text = read("CHANGELOG.md");
    let version = env!("CARGO_PKG_VERSION");
    let entries: Vec<&str> = text.split("\n## ").skip(1).collect();
    let entry = entries.iter().find(|entry| entry.starts_with(&format!("[{version}] - ")));
    // Until it is released, what is to come stands above the versions.
    let entry = entry.or_else(|| entries.first().filter(|entry| entry.starts_with("[Unreleased]\n")));
    let entry = entry.unwrap_or_else(|| panic!("neither {version} nor Unreleased is there"));
    assert!(entry.lines().any(|line| line.starts_with("- ")), "nothing is said of {version}");
    let known = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
    for title in text.lines().filter_map(|line| line.strip_prefix("### ")) {
        assert!(known.contains(&title), "{title} is none of {known:?}");
    }
    for target in links(&text) {
        assert!(top().join(&target).exists(), "there is no {target}");
    }
}
