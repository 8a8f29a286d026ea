//! Markdown as the documents of this repository use it: fenced blocks, what the comment before one says of it,
//! headings and links.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The line of its fence, from 1.
    pub line: usize,
    /// What stands behind the fence: `sh`, `text`, `toml`.
    pub kind: String,
    /// What is in it, whole lines.
    pub text: String,
    /// What the comments `<!-- test: ... -->` before it say: names and values.
    pub marks: Vec<(String, String)>,
    /// True if nothing but comments stands between it and the block before it.
    pub follows: bool,
}

impl Block {
    /// What a comment says of it.
    pub fn mark(&self, name: &str) -> Option<&str> {
        self.marks.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// The repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of this repository with this ending below a directory of it, by its name from there.
pub fn files(directory: &str, ending: &str) -> Vec<PathBuf> {
    let mut left = vec![repository().join(directory)];
    let mut found = Vec::new();
    while let Some(path) = left.pop() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            // What is built, and what a fuzzer has found, is nobody's document.
            if !["target", "corpus", ".git"].contains(&name.as_str()) {
                left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            }
        } else if path.extension().is_some_and(|end| end == ending) {
            found.push(path.strip_prefix(repository()).unwrap().to_owned());
        }
    }
    found.sort();
    found
}

/// A file of this repository.
pub fn read(path: &Path) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The words of `test: agent exit=11` or `test: syntax-only: why`.
fn marks(comment: &str, into: &mut Vec<(String, String)>) {
    let mut rest = comment.trim();
    while let Some(word) = rest.split_whitespace().next() {
        rest = rest[word.len()..].trim_start();
        if let Some(name) = word.strip_suffix(':') {
            return into.push((name.to_owned(), rest.to_owned()));
        }
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        into.push((name.to_owned(), value.to_owned()));
    }
}

/// The fenced blocks of a document, in order.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut all: Vec<Block> = Vec::new();
    let mut open: Option<(Block, usize)> = None;
    let mut said = Vec::new();
    let mut alone = false;
    for (at, line) in text.lines().enumerate() {
        let bare = line.trim_start();
        let indent = line.len() - bare.len();
        match &mut open {
            Some(_) if bare.starts_with("```") => all.extend(open.take().map(|(block, _)| block)),
            Some((block, indent)) => {
                let line = line.get(*indent..).unwrap_or(bare);
                block.text.extend([line, "\n"]);
            }
            None if bare.starts_with("```") => {
                let kind = bare.trim_start_matches('`').trim().to_owned();
                let (marks, follows) = (std::mem::take(&mut said), alone && !all.is_empty());
                open = Some((Block { line: at + 1, kind, text: String::new(), marks, follows }, indent));
                alone = true;
            }
            None => match bare.strip_prefix("<!-- test:").and_then(|rest| rest.strip_suffix("-->")) {
                Some(comment) => marks(comment, &mut said),
                None if !bare.is_empty() => alone = false,
                None => {}
            },
        }
    }
    assert!(open.is_none(), "a block without an end: {open:?}");
    assert!(said.is_empty(), "a comment about a block that does not come: {said:?}");
    all
}

/// The same text with blanks in place of fenced blocks, code spans and comments, so that what is left means what it
/// looks like. Lines stay where they are.
pub fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut outside = String::new();
    for line in text.lines() {
        let fence = line.trim_start().starts_with("```");
        if !fence && !fenced {
            outside.push_str(line);
        }
        outside.push('\n');
        fenced ^= fence;
    }
    let blank = |text: &str| text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect::<String>();
    let mut clear = String::new();
    let mut rest = outside.as_str();
    while let Some(at) = rest.find(['`', '<']) {
        let (before, from) = rest.split_at(at);
        clear.push_str(before);
        let ticks = from.len() - from.trim_start_matches('`').len();
        let end = match ticks {
            0 if from.starts_with("<!--") => from.find("-->").map(|end| end + 3),
            0 => None,
            _ => from[ticks..].find(&"`".repeat(ticks)).map(|end| end + 2 * ticks),
        };
        let (gone, after) = from.split_at(end.unwrap_or(1));
        clear.push_str(&if end.is_some() { blank(gone) } else { gone.to_owned() });
        rest = after;
    }
    clear + rest
}

/// Where the links of a document lead, with their lines: `[words](target)`, images, `[name]: target`, `<https://...>`.
pub fn links(text: &str) -> Vec<(usize, String)> {
    let prose = prose(text);
    let line = |at: usize| prose[..at].matches('\n').count() + 1;
    let mut found = Vec::new();
    for (at, _) in prose.match_indices("](") {
        let target: String = prose[at + 2..].chars().take_while(|c| *c != ')').collect();
        found.push((line(at), target.split_whitespace().next().unwrap_or_default().to_owned()));
    }
    for (at, _) in prose.match_indices("<http") {
        found.push((line(at), prose[at + 1..].chars().take_while(|c| *c != '>').collect()));
    }
    for (at, text) in prose.lines().enumerate().filter(|(_, line)| line.starts_with('[')) {
        if let Some((_, target)) = text.split_once("]: ") {
            found.push((at + 1, target.trim().to_owned()));
        }
    }
    found.sort();
    found
}

/// The anchors of a document's headings, as code forges and mdBook make them: lower case, letters, digits, `-` and `_`
/// kept, blanks to `-`, and a number behind one that was there already.
pub fn anchors(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut all: Vec<String> = Vec::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let title = line.trim_start_matches('#');
        if fenced || title.len() == line.len() || line.len() - title.len() > 6 || !title.starts_with(' ') {
            continue;
        }
        let mut shown = String::new();
        let mut rest = title.trim();
        while let Some((before, after)) = rest.split_once('[') {
            let (words, target) = after.split_once("](").unwrap_or((after, ""));
            shown.extend([before, words]);
            rest = target.split_once(')').map_or("", |(_, rest)| rest);
        }
        shown.push_str(rest);
        let keep = |c: char| match c {
            ' ' => Some('-'),
            _ if c.is_alphanumeric() || c == '-' || c == '_' => c.to_lowercase().next(),
            _ => None,
        };
        let anchor: String = shown.chars().filter_map(keep).collect();
        let again = all.iter().filter(|other| **other == anchor).count();
        all.push(if again == 0 { anchor } else { format!("{anchor}-{again}") });
    }
    all
}

#[test]
fn blocks_are_read_with_what_is_said_of_them() {
    let text = "# T\n<!-- test: world=agent exit=11 -->\n```sh\na\n```\n\n```text\nb\n```\nx\n- y\n  ```sh\n  c\n    d\n  ```\n";
    let blocks = blocks(text);
    assert_eq!(blocks.len(), 3);
    assert_eq!((blocks[0].mark("world"), blocks[0].mark("exit")), (Some("agent"), Some("11")));
    assert_eq!((blocks[0].line, blocks[0].text.as_str(), blocks[0].follows), (3, "a\n", false));
    assert!(blocks[1].follows && !blocks[2].follows);
    assert_eq!(blocks[2].text, "c\n  d\n");
    let why = super::pages::blocks("<!-- test: syntax-only: it needs AWS -->\n```sh\n```\n");
    assert_eq!(why[0].mark("syntax-only"), Some("it needs AWS"));
}

#[test]
fn links_in_code_are_none_and_anchors_are_as_a_forge_makes_them() {
    let text = "# A [link](b.md) and `code()`!\n`[no](x)` [yes](y.md#z \"title\")\n```\n[no](z)\n```\n## A\n## A\n\n[r]: w.md\n<https://a.example/>\n";
    let targets: Vec<String> = links(text).into_iter().map(|(_, target)| target).collect();
    assert_eq!(targets, ["b.md", "y.md#z", "w.md", "https://a.example/"]);
    assert_eq!(anchors(text), ["a-link-and-code", "a", "a-1"]);
}
