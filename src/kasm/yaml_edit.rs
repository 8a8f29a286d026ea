//! Changing one scalar of a YAML file, and nothing else in it: every other byte stays, and with it comments,
//! order, quotes, indentation and line ends.
//!
//! The parser's spans say where the scalar is, and the parser is the judge afterwards: a change is handed out
//! only if the new text reads exactly as the old one does but for that one value. What cannot be changed in
//! this way is refused in words.

mod place;
mod quotes;

use super::yaml;
use crate::secret::Secret;
use place::{line_end, line_end_of, own_line, own_range};
use quotes::written;
use saphyr_parser::{Event, Parser, ScalarStyle};
use zeroize::Zeroizing;

/// Larger files are not edited: Kasm's have a few thousand bytes, and every event of one is held in memory.
pub const LIMIT: usize = 64 * 1024;

/// A new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum New<'a> {
    /// Text: it reads back as this very text, in quotes where another reader could take it for something else.
    Text(&'a Secret),
    /// A number.
    Number(u64),
}

/// Why a file is left as it is: the end of a sentence, without any of the file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// See [`LIMIT`].
    #[error("it is larger than {LIMIT} bytes")]
    TooLarge,
    /// YAML is Unicode; files in UTF-16 are not edited.
    #[error("it is not UTF-8")]
    NotText,
    /// The parser does not understand it.
    #[error("it is not YAML at line {0}")]
    NotYaml(usize),
    /// Which document counts is not for an editor to say.
    #[error("it holds more than one document")]
    SeveralDocuments,
    /// At its top there are no sections.
    #[error("it is no list of sections")]
    NoSections,
    /// The section is not there.
    #[error("the section is not in it")]
    NoSection,
    /// The section's name stands for something without keys.
    #[error("the section holds no keys")]
    NotASection,
    /// The section or the key is there more than once; readers differ in which of them they take.
    #[error("the section or the key is in it twice")]
    Twice,
    /// The key is not there.
    #[error("the key is not in it")]
    NoKey,
    /// Behind the key is no scalar, and no list of exactly one.
    #[error("the value is neither a single value nor a list of one")]
    NotOne,
    /// An anchor, an alias or a merge key: the value counts in other places too, or comes from there.
    #[error("the value is tied to other places in the file (&, * or <<)")]
    Tied,
    /// The value has a tag (`!secret`): what it means is not known.
    #[error("the value has a tag (!)")]
    Tagged,
    /// The value goes over several lines.
    #[error("the value takes more than one line")]
    SeveralLines,
    /// `{a: b}`, `? a`, or a section's only key: no line is the key's own.
    #[error("the key has no line of its own, or is the section's only one")]
    NoLine,
    /// The result would not read as it should: something this program does not know of.
    #[error("the change would alter more than the value")]
    NotClean,
}

/// Gives a key that is there a new value; where it has a list of one, the new value becomes its one item.
///
/// # Errors
/// [`Refusal`]: nothing is changed that could mean anything else.
pub fn set(bytes: &[u8], section: &str, key: &str, value: New<'_>) -> Result<Secret, Refusal> {
    let text = text(bytes)?;
    let nodes = nodes(text)?;
    let entries = section_of(&nodes, section)?.entries;
    let entry = only(&nodes, &entries, key)?.ok_or(Refusal::NoKey)?;
    replace(text, &nodes, &entry, value)
}

/// Gives a key a new value, or adds it to its section where that lacks it: on a line of its own, indented like
/// the others.
///
/// # Errors
/// [`Refusal`], [`Refusal::NoSection`] among them.
pub fn put(bytes: &[u8], section: &str, key: &str, value: New<'_>) -> Result<Secret, Refusal> {
    let text = text(bytes)?;
    let nodes = nodes(text)?;
    let section = section_of(&nodes, section)?;
    match only(&nodes, &section.entries, key)? {
        Some(entry) => replace(text, &nodes, &entry, value),
        None => insert(text, &nodes, &section, key, value),
    }
}

/// Takes a key out of its section, with its whole line: a comment behind the value goes with it. A key that is
/// not there is [`Refusal::NoKey`].
///
/// # Errors
/// [`Refusal`].
pub fn remove(bytes: &[u8], section: &str, key: &str) -> Result<Secret, Refusal> {
    let text = text(bytes)?;
    let nodes = nodes(text)?;
    let entries = section_of(&nodes, section)?.entries;
    let entry = only(&nodes, &entries, key)?.ok_or(Refusal::NoKey)?;
    let scalar = &nodes[entry.value];
    free(scalar)?;
    let written = if is_missing(scalar) { nodes[entry.key].to } else { own_range(text, scalar)?.1 };
    let line = own_line(text, &nodes[entry.key], written).ok_or(Refusal::NoLine)?;
    if entries.len() == 1 {
        return Err(Refusal::NoLine);
    }
    let (from, to) = match (text[..line.to].ends_with('\n'), line.from) {
        // The last line has no end: then the one before it is to have none either.
        (false, from) => (from - line_end_of(text, from).len(), line.to),
        (true, from) => (from, line.to),
    };
    Splice { from, to, with: Zeroizing::default(), at: entry.key, drop: 2, put: Vec::new() }.apply(text, &nodes)
}

/// One event of the parser, and where it is in the text, in bytes.
struct Node<'a> {
    event: Event<'a>,
    from: usize,
    to: usize,
}

/// A key and its value, by their first nodes.
#[derive(Clone, Copy)]
struct Entry {
    key: usize,
    value: usize,
    /// The value's last node.
    last: usize,
}

struct Section {
    start: usize,
    entries: Vec<Entry>,
}

fn text(bytes: &[u8]) -> Result<&str, Refusal> {
    if bytes.len() > LIMIT.min(yaml::LIMIT) {
        return Err(Refusal::TooLarge);
    }
    std::str::from_utf8(bytes).map_err(|_| Refusal::NotText)
}

fn nodes(text: &str) -> Result<Vec<Node<'_>>, Refusal> {
    // The parser counts in characters.
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let byte = |index: usize| starts.get(index).copied().unwrap_or(text.len());
    let mut nodes = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Refusal::NotYaml(error.marker().line()))?;
        let (from, to) = (byte(span.start.index()), byte(span.end.index()));
        nodes.push(Node { event, from, to: to.max(from) });
    }
    match nodes.iter().filter(|node| matches!(node.event, Event::DocumentStart(_))).count() {
        0 | 1 => Ok(nodes),
        _ => Err(Refusal::SeveralDocuments),
    }
}

/// The last node of what begins at `start`.
fn last_of(nodes: &[Node<'_>], start: usize) -> usize {
    let mut depth = 0usize;
    for (at, node) in nodes.iter().enumerate().skip(start) {
        match node.event {
            Event::MappingStart(..) | Event::SequenceStart(..) => depth += 1,
            Event::MappingEnd | Event::SequenceEnd => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    nodes.len().saturating_sub(1)
}

/// The entries of the mapping that begins at `start`.
fn entries(nodes: &[Node<'_>], start: usize) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut at = start + 1;
    while at < nodes.len() && nodes[at].event != Event::MappingEnd {
        let value = last_of(nodes, at) + 1;
        if value >= nodes.len() {
            break;
        }
        let last = last_of(nodes, value);
        found.push(Entry { key: at, value, last });
        at = last + 1;
    }
    found
}

/// The one entry of this name.
fn only(nodes: &[Node<'_>], entries: &[Entry], name: &str) -> Result<Option<Entry>, Refusal> {
    let is = |entry: &&Entry| matches!(&nodes[entry.key].event, Event::Scalar(text, ..) if text == name);
    let mut found = entries.iter().filter(is);
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err(Refusal::Twice),
        (one, _) => Ok(one.copied()),
    }
}

/// True if one of the keys is `<<` or stands elsewhere: then not every key is known.
fn is_merged(nodes: &[Node<'_>], entries: &[Entry]) -> bool {
    let unknown = |entry: &Entry| match &nodes[entry.key].event {
        Event::Scalar(text, style, ..) => text == "<<" && *style == ScalarStyle::Plain,
        Event::Alias(_) => true,
        _ => false,
    };
    entries.iter().any(unknown)
}

fn section_of(nodes: &[Node<'_>], name: &str) -> Result<Section, Refusal> {
    let root = nodes.iter().position(|node| matches!(node.event, Event::DocumentStart(_))).map(|at| at + 1);
    let root = root.filter(|at| matches!(nodes.get(*at).map(|node| &node.event), Some(Event::MappingStart(..))));
    let root = root.ok_or(Refusal::NoSections)?;
    free(&nodes[root])?;
    let top = entries(nodes, root);
    let entry = only(nodes, &top, name)?.ok_or(Refusal::NoSection)?;
    let node = &nodes[entry.value];
    free(node)?;
    if !matches!(node.event, Event::MappingStart(..)) {
        return Err(Refusal::NotASection);
    }
    let entries = entries(nodes, entry.value);
    if is_merged(nodes, &top) || is_merged(nodes, &entries) {
        return Err(Refusal::Tied);
    }
    Ok(Section { start: entry.value, entries })
}

/// Refuses what other places refer to, or what means more than it says.
fn free(node: &Node<'_>) -> Result<(), Refusal> {
    let (anchor, tag) = match &node.event {
        Event::Scalar(_, _, anchor, tag) | Event::MappingStart(anchor, tag) | Event::SequenceStart(anchor, tag) => {
            (*anchor, tag.is_some())
        }
        Event::Alias(_) => return Err(Refusal::Tied),
        _ => (0, false),
    };
    match (anchor, tag) {
        (0, false) => Ok(()),
        (0, true) => Err(Refusal::Tagged),
        _ => Err(Refusal::Tied),
    }
}

/// True for a value that is not written at all (`key:`).
fn is_missing(node: &Node<'_>) -> bool {
    matches!(node.event, Event::Scalar(_, ScalarStyle::Plain, ..)) && node.from == node.to
}

fn replace(text: &str, nodes: &[Node<'_>], entry: &Entry, value: New<'_>) -> Result<Secret, Refusal> {
    let mut at = entry.value;
    free(&nodes[at])?;
    if matches!(nodes[at].event, Event::SequenceStart(..)) {
        at += 1;
        match entry.last - entry.value {
            // Only one written with brackets says where its items would be.
            1 if text[nodes[entry.value].from..].starts_with('[') => {
                let from = nodes[entry.value].from + 1;
                let (with, event) = written(value, None);
                return Splice { from, to: from, with, at, drop: 0, put: vec![event] }.apply(text, nodes);
            }
            2 => free(&nodes[at])?,
            _ => return Err(Refusal::NotOne),
        }
    }
    let node = &nodes[at];
    let Event::Scalar(_, style, ..) = &node.event else { return Err(Refusal::NotOne) };
    let (with, event) = written(value, Some(*style));
    if is_missing(node) {
        if at != entry.value {
            return Err(Refusal::NotOne);
        }
        let key = &nodes[entry.key];
        let rest = &text[key.to..];
        let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        if !rest[blanks..].starts_with(':') {
            return Err(Refusal::NoLine);
        }
        let from = key.to + blanks + 1;
        let with = Zeroizing::new(format!(" {}", with.as_str()));
        return Splice { from, to: from, with, at, drop: 1, put: vec![event] }.apply(text, nodes);
    }
    let (from, to) = own_range(text, node)?;
    Splice { from, to, with, at, drop: 1, put: vec![event] }.apply(text, nodes)
}

fn insert(text: &str, nodes: &[Node<'_>], section: &Section, key: &str, value: New<'_>) -> Result<Secret, Refusal> {
    // Behind the last key that has a line of its own.
    let on_own_line = |entry: &Entry| {
        let (name, value) = (&nodes[entry.key], &nodes[entry.value]);
        let written = match is_missing(value) {
            true => name.to,
            false => own_range(text, value).ok()?.1,
        };
        own_line(text, name, written).map(|line| (*entry, line))
    };
    let found = section.entries.iter().rev().find_map(on_own_line);
    let (after, line) = found.filter(|_| !text[nodes[section.start].from..].starts_with('{')).ok_or(Refusal::NoLine)?;
    let indent = &text[line.from..nodes[after.key].from];
    let (name, name_event) = written(New::Text(&Secret::new(key)), None);
    let (value, value_event) = written(value, None);
    let added = Zeroizing::new(format!("{indent}{}: {}", name.as_str(), value.as_str()));
    let end = line_end_of(text, line.to);
    let with = match end {
        // The file's last line has no end, and is to have none.
        "" => Zeroizing::new(format!("{}{}", line_end(text), added.as_str())),
        end => Zeroizing::new(format!("{}{end}", added.as_str())),
    };
    let put = vec![name_event, value_event];
    Splice { from: line.to, to: line.to, with, at: after.last + 1, drop: 0, put }.apply(text, nodes)
}

/// Some bytes of the text for others, and what that must do to the events.
struct Splice<'a> {
    from: usize,
    to: usize,
    with: Zeroizing<String>,
    at: usize,
    drop: usize,
    put: Vec<Event<'a>>,
}

impl Splice<'_> {
    fn apply(self, text: &str, before: &[Node<'_>]) -> Result<Secret, Refusal> {
        let (head, tail) = (&text[..self.from], &text[self.to..]);
        let new = Secret::new([head, self.with.as_str(), tail].concat());
        let after = nodes(new.expose()).map_err(|_| Refusal::NotClean)?;
        let wanted = before[..self.at].iter().map(|node| &node.event);
        let wanted = wanted.chain(&self.put).chain(before[self.at + self.drop..].iter().map(|node| &node.event));
        match wanted.eq(after.iter().map(|node| &node.event)) {
            true => Ok(new),
            false => Err(Refusal::NotClean),
        }
    }
}

#[cfg(test)]
mod tests;
