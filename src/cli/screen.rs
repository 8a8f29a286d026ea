//! How answers about a node are laid out: one line for each thing that was asked, what belongs to it below it, and what
//! is alike in one line together.

use crate::words::{self, CONSOLE};

/// What marks a line takes so much.
const MARK: usize = 6;
/// A column of words is not narrower than this, however long the names are.
const NARROWEST: usize = 40;

/// One thing that was asked.
#[derive(Debug)]
pub struct Row<'a> {
    /// What stands in front: `FAIL`, `warn`, `ok`.
    pub mark: &'static str,
    /// Its name.
    pub name: &'a str,
    /// What was found.
    pub words: &'a str,
    /// What is to be said below, a paragraph each.
    pub more: Vec<String>,
}

/// How much of a row is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// All of it.
    Whole,
    /// Its words, once for all rows of the mark that have the same ones.
    Together,
    /// Its name, beside the others of the mark.
    Named,
}

/// Rows as lines, those of one mark together: whole ones first. The marks' order is that of their first rows.
pub fn lines(rows: &[Row<'_>], told: impl Fn(&Row<'_>) -> Told) -> Vec<String> {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
    let mut marks: Vec<&'static str> = Vec::new();
    for row in rows {
        if !marks.contains(&row.mark) {
            marks.push(row.mark);
        }
    }
    let mut lines = Vec::new();
    for mark in marks {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for row in rows.iter().filter(|row| row.mark == mark) {
            let words = match told(row) {
                Told::Whole => {
                    whole(&mut lines, row, width);
                    continue;
                }
                Told::Together => row.words,
                Told::Named => "",
            };
            match groups.iter_mut().find(|(known, _)| *known == words) {
                Some((_, names)) => names.push(row.name),
                None => groups.push((words, vec![row.name])),
            }
        }
        for (words, names) in groups {
            let names = names.join(", ");
            let said = if words.is_empty() { names } else { format!("{names}: {words}") };
            lines.extend(words::hanging(&format!("{mark:<5} "), &said, CONSOLE));
        }
    }
    lines
}

fn whole(lines: &mut Vec<String>, row: &Row<'_>, width: usize) {
    let indent = MARK + width + 2;
    let room = CONSOLE.saturating_sub(indent).max(NARROWEST);
    let texts = std::iter::once(row.words).chain(row.more.iter().map(String::as_str));
    for (at, line) in texts.flat_map(|text| words::wrap(text, room)).enumerate() {
        let front = if at == 0 { format!("{:<5} {:<width$}", row.mark, row.name) } else { String::new() };
        lines.push(format!("{front:<indent$}{line}"));
    }
}
