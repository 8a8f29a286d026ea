//! Did you mean? The name nearest to one that nobody knows.

use super::schema::{self, Setting};
use crate::paths::ENV_PREFIX;

/// The key or table that was probably meant by `key`, dotted and in full; `None` if nothing is near.
/// The same name in another table is nearer than another name in the same.
pub fn key(typed: &str) -> Option<String> {
    // No name of ours is anywhere near that long, and distances cost the product of the lengths.
    if typed.len() > 100 {
        return None;
    }
    let typed = typed.to_lowercase().replace('-', "_");
    let last = typed.rsplit('.').next().unwrap_or(&typed);
    let table = typed.rsplit_once('.').map(|(table, _)| table);
    let beside = |setting: &&Setting| table.is_some() && setting.split().0 == table && setting.also.contains(&last);
    if let Some(known) = schema::lasting().find(beside) {
        return Some(known.key.to_owned());
    }
    let same = schema::lasting().filter(|setting| setting.split().1 == last);
    if let Some(same) = same.min_by_key(|setting| distance(&typed, setting.key).0) {
        return Some(same.key.to_owned());
    }
    if let Some(known) = schema::lasting().find(|setting| setting.also.contains(&last)) {
        return Some(known.key.to_owned());
    }
    let whole = schema::lasting().map(|setting| (setting.key, distance(&typed, setting.key)));
    let names = schema::lasting().map(|setting| (setting.key, distance(last, setting.split().1)));
    let tables = schema::tables().into_iter().map(|table| (table, distance(&typed, table)));
    nearest(tables.chain(whole).chain(names)).map(str::to_owned)
}

/// The environment variable that was probably meant.
pub fn variable(typed: &str) -> Option<String> {
    let rest = typed.strip_prefix(ENV_PREFIX)?;
    if rest.len() > 100 {
        return None;
    }
    let rest = rest.to_lowercase();
    if let Some(same) =
        schema::lasting().find(|setting| setting.split().1 == rest || setting.also.contains(&rest.as_str()))
    {
        return Some(same.variable());
    }
    let whole = schema::lasting().map(|setting| (setting, distance(&rest, &setting.key.replace('.', "_"))));
    nearest(whole).map(Setting::variable)
}

/// The edits between two names, and how many are still a slip of the finger.
fn distance(typed: &str, known: &str) -> (usize, usize) {
    (strsim::damerau_levenshtein(typed, known), (known.chars().count() / 3).max(1))
}

fn nearest<T>(candidates: impl Iterator<Item = (T, (usize, usize))>) -> Option<T> {
    candidates
        .filter(|(_, (distance, most))| distance <= most)
        .min_by_key(|(_, (distance, _))| *distance)
        .map(|(candidate, _)| candidate)
}
