//! What is in a bundle and what is not, and why.

use serde::Serialize;
use serde_json::json;

/// The form of the manifest. It counts up when a field changes its meaning.
const SCHEMA: u32 = 1;

/// One file of the bundle, or one that should have been there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its path in the bundle, below its one directory.
    pub name: String,
    /// Where it came from.
    pub from: String,
    /// `ok`, `missing` (there is no such thing here), `error` (it could not be read), `left-out` (on purpose).
    pub result: &'static str,
    /// Its length in the bundle, bytes.
    pub bytes: u64,
    /// There was more of it: for logs, before this.
    pub truncated: bool,
    /// Why it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What became of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    made_at: String,
    /// Every item, in the order of the bundle.
    pub entries: Vec<Entry>,
}

impl Summary {
    pub(super) fn new(made_at: &str) -> Summary {
        Summary { made_at: made_at.to_owned(), entries: Vec::new() }
    }

    /// So many bytes are in it, before it was compressed.
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    /// What was put into it.
    pub fn packed(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.result == "ok")
    }

    /// What could not be, though it may be there.
    pub fn failed(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.result == "error" || entry.result == "left-out")
    }

    /// What this machine does not have.
    pub fn missing(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.result == "missing")
    }

    /// The document that lies in the bundle.
    pub(super) fn manifest(&self) -> String {
        let document = json!({
            "schema": SCHEMA,
            "made_at": self.made_at,
            "by": concat!("kasm-bootstrap ", env!("CARGO_PKG_VERSION")),
            "user_id": nix::unistd::geteuid().as_raw(),
            "items": self.entries,
        });
        let mut text = serde_json::to_string_pretty(&document).expect("a manifest holds nothing that JSON cannot");
        text.push('\n');
        text
    }
}
