//! The little YAML that Kasm's configuration files need: sections of keys, with a scalar or a list of
//! scalars behind each.
//!
//! It is read as a stream of events and never as a tree: a file can neither nest nor refer to itself
//! until memory or stack run out.

use crate::secret::Secret;
use saphyr_parser::{Event, Parser, ScalarStyle};
use std::collections::BTreeMap;

/// Larger files are no configuration files.
pub const LIMIT: usize = 1 << 20;
/// So many keys are kept.
const KEYS: usize = 4096;

/// A value behind `section: key:`. Kept as a secret, since some of them are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Scalar(Secret),
    List(Vec<String>),
}

/// What a configuration file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Document {
    values: BTreeMap<(String, String), Value>,
}

impl Document {
    /// Reads a file's text. The error is a sentence's end, without any of the file's content.
    pub fn read(bytes: &[u8]) -> Result<Document, String> {
        if bytes.len() > LIMIT {
            return Err(format!("it is larger than {LIMIT} bytes"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let mut reader = Reader::default();
        for event in Parser::new_from_str(text) {
            // The parser's own words may quote the file, and with it a token: only the place is told.
            let (event, _) = event.map_err(|error| format!("it is not YAML at line {}", error.marker().line()))?;
            if !reader.take(event) {
                break;
            }
        }
        Ok(reader.document)
    }

    /// The sections' names.
    pub fn sections(&self) -> impl Iterator<Item = &str> {
        let mut last = None;
        self.values.keys().map(|(section, _)| section.as_str()).filter(move |name| last.replace(*name) != Some(*name))
    }

    /// True if the section has the key.
    pub fn has(&self, section: &str, key: &str) -> bool {
        self.values.contains_key(&(section.to_owned(), key.to_owned()))
    }

    /// A scalar as text, however it is written; `None` for null, empty and lists.
    pub fn text(&self, section: &str, key: &str) -> Option<String> {
        self.secret(section, key).map(|secret| secret.expose().to_owned())
    }

    /// The same, as a secret.
    pub fn secret(&self, section: &str, key: &str) -> Option<Secret> {
        match self.values.get(&(section.to_owned(), key.to_owned()))? {
            Value::Scalar(secret) if !secret.is_empty() => Some(secret.clone()),
            _ => None,
        }
    }

    /// A scalar as a number.
    pub fn port(&self, section: &str, key: &str) -> Option<u16> {
        self.secret(section, key)?.expose().parse().ok()
    }

    /// A list of scalars; a lone scalar counts as a list of one.
    pub fn list(&self, section: &str, key: &str) -> Vec<String> {
        match self.values.get(&(section.to_owned(), key.to_owned())) {
            Some(Value::List(items)) => items.clone(),
            Some(Value::Scalar(one)) if !one.is_empty() => vec![one.expose().to_owned()],
            _ => Vec::new(),
        }
    }
}

/// Where in the file the reader is. Depth 1: keys are sections; depth 2: keys of a section; depth 3, in
/// a list: its items. Everything else is passed over by counting.
#[derive(Default)]
struct Reader {
    document: Document,
    depth: usize,
    /// What is open at depth 1 and 2: a mapping (its key, once read) or a list.
    open: [Open; 2],
    /// The list at depth 3 that is being filled.
    list: Option<Vec<String>>,
}

#[derive(Default)]
enum Open {
    #[default]
    Other,
    Mapping(Option<String>),
}

impl Reader {
    /// False once there is nothing more to learn.
    fn take(&mut self, event: Event<'_>) -> bool {
        match event {
            Event::MappingStart(..) => self.enter(Open::Mapping(None), false),
            Event::SequenceStart(..) => self.enter(Open::Other, true),
            Event::MappingEnd | Event::SequenceEnd => self.leave(),
            Event::Scalar(text, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                let null = plain && matches!(text.as_ref(), "~" | "null" | "Null" | "NULL" | "None");
                self.scalar(if null { "" } else { &text });
            }
            Event::Alias(_) => self.scalar(""),
            // The first document is the configuration.
            Event::DocumentEnd => return false,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
        }
        self.document.values.len() < KEYS
    }

    fn enter(&mut self, open: Open, is_list: bool) {
        self.depth += 1;
        match self.depth {
            1 | 2 => self.open[self.depth - 1] = open,
            3 if is_list && self.place().is_some() => self.list = Some(Vec::new()),
            _ => {}
        }
    }

    fn leave(&mut self) {
        if self.depth == 3 {
            match (self.list.take(), self.place()) {
                (Some(items), Some(place)) => {
                    self.document.values.insert(place, Value::List(items));
                }
                // A mapping below a key: there, but of no interest.
                (None, Some(place)) => {
                    self.document.values.insert(place, Value::List(Vec::new()));
                }
                (_, None) => {}
            }
        }
        self.depth = self.depth.saturating_sub(1);
        // The value of the key around is complete; and a mapping can be a key itself.
        self.value_done();
    }

    fn scalar(&mut self, text: &str) {
        match self.depth {
            1 | 2 => {
                let place = self.place();
                let depth = self.depth;
                match &mut self.open[depth - 1] {
                    Open::Mapping(key @ None) => *key = Some(text.to_owned()),
                    Open::Mapping(_) => {
                        if let Some(place) = place {
                            self.document.values.insert(place, Value::Scalar(Secret::new(text)));
                        }
                        self.value_done();
                    }
                    Open::Other => {}
                }
            }
            3 => {
                if let Some(list) = &mut self.list {
                    list.push(text.to_owned());
                }
            }
            _ => {}
        }
    }

    /// Section and key, while the reader stands behind a key of a section.
    fn place(&self) -> Option<(String, String)> {
        match &self.open {
            [Open::Mapping(Some(section)), Open::Mapping(Some(key))] if self.depth >= 2 => {
                Some((section.clone(), key.clone()))
            }
            _ => None,
        }
    }

    fn value_done(&mut self) {
        if let Some(Open::Mapping(key)) = self.depth.checked_sub(1).and_then(|index| self.open.get_mut(index)) {
            *key = match key.take() {
                Some(_) => None,
                // What ended was a collection used as a key; the value that follows belongs to it.
                None => Some(String::new()),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sections_keys_and_lists_are_read_however_they_are_written() {
        let text = "---\nagent:\n  server_id: 'abc'\n  public_port: 443\n  provider: null\n  deep: {a: [1, {b: 2}]}\n  \
                    after: x\nmanager:\n  hostnames: [\"one\", two]\n  token: \"12345678901234567890\"\n  empty: \"\"\n\
                    list:\n- a\n- b: c\nlast: {k: v}\n";
        let document = Document::read(text.as_bytes()).unwrap();
        assert_eq!(document.text("agent", "server_id").as_deref(), Some("abc"));
        assert_eq!(document.port("agent", "public_port"), Some(443));
        assert_eq!(document.text("agent", "provider"), None);
        assert!(document.has("agent", "provider"));
        assert_eq!(document.text("agent", "after").as_deref(), Some("x"));
        assert_eq!(document.list("manager", "hostnames"), ["one", "two"]);
        assert_eq!(document.text("manager", "token").as_deref(), Some("12345678901234567890"));
        assert_eq!(document.text("manager", "empty"), None);
        assert_eq!(document.text("last", "k").as_deref(), Some("v"));
        assert_eq!(document.sections().collect::<Vec<_>>(), ["agent", "last", "manager"]);
    }

    #[test]
    fn nesting_without_end_and_references_to_oneself_cost_nothing() {
        let deep = "- ".repeat(200_000);
        assert!(Document::read(deep.as_bytes()).is_ok_and(|document| document == Document::default()));
        let flow = format!("a: {}", "[".repeat(100_000));
        assert!(Document::read(flow.as_bytes()).is_err());
        let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc:\n  k: *b\n";
        assert_eq!(Document::read(bomb.as_bytes()).unwrap().text("c", "k"), None);
        assert!(Document::read(&vec![b'#'; LIMIT + 1]).unwrap_err().contains("larger"));
    }

    #[test]
    fn an_error_does_not_quote_the_file() {
        let error = Document::read(b"manager:\n  token: \"hunter2hunter2\n").unwrap_err();
        assert!(!error.contains("hunter2") && error.contains("line"), "{error}");
        assert!(!format!("{:?}", Document::read(b"m:\n  token: hunter2\n")).contains("hunter2"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..1000)) {
            drop(Document::read(&bytes));
        }

        #[test]
        fn yaml_like_text_can_be_read(
            text in "([a-c]|: |- |\n|  |\\[|\\]|\\{|\\}|, |&a |\\*a|\"|'|\\||>|\\?|---\n|!t |#|é){0,120}",
        ) {
            drop(Document::read(text.as_bytes()));
        }

        #[test]
        fn what_was_written_is_read(value in "[A-Za-z0-9._~-]{1,40}", key in "[a-z_]{1,12}") {
            prop_assume!(!matches!(value.as_str(), "~" | "null" | "Null" | "NULL" | "None"));
            let document = Document::read(format!("manager:\n  x: 1\n  {key}: \"{value}\"\n").as_bytes()).unwrap();
            prop_assert_eq!(document.text("manager", &key), Some(value));
        }
    }
}
