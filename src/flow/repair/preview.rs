//! What a repair would change, line by line, with every token masked. Nothing is written, and nobody
//! is asked anything but the time.

use super::diagnose::Cure;
use super::error::Error;
use super::{Repair, context, diagnose, here};
use crate::error::Failure;
use crate::intent::RepairIntent;
use crate::kasm::layout::Installed;
use crate::kasm::yaml_edit;
use crate::observe::Silent;
use crate::paths::Paths;
use crate::secret::Secret;
use crate::token::{MASK, Masker};
use serde::Serialize;

/// One file that would be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The component's container, which would be restarted unless this only takes something away.
    pub container: &'static str,
    /// The file, as the machine names it.
    pub file: String,
    /// The lines: `-` and `+` for those taken away and added, two blanks for those around them.
    pub lines: Vec<String>,
}

/// What would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// The files, in their order.
    pub changes: Vec<Change>,
    /// The containers that would be restarted.
    pub restarts: Vec<&'static str>,
}

/// Works out what a repair would change.
///
/// # Errors
/// Whatever it would refuse before it changes anything, as far as nobody has to be asked for that.
pub async fn preview(paths: &Paths, intent: RepairIntent) -> Result<Preview, Failure> {
    let work = Repair::new(paths, intent);
    let installed = Installed::read(paths).ok_or(Error::NotInstalled)?;
    let list = here(paths, &installed, &context(&work))?;
    if list.is_empty() {
        return Err(Error::NoComponents.into());
    }
    let cases = super::case::cases(&installed, &diagnose(&list), &work.intent)?;
    super::check(&work, &installed, &cases, &Silent).await?;
    let (mut changes, mut restarts) = (Vec::new(), Vec::new());
    for case in &cases {
        let (before, mut after) = case.edited()?;
        let mut change = |file: &std::path::Path, lines: Vec<String>| {
            let file = paths.shown(file).display().to_string();
            changes.push(Change { container: case.container, file, lines });
        };
        if case.cure == Cure::Clean {
            let (bytes, section) = (before.expose().as_bytes(), case.section.as_deref().unwrap_or_default());
            if let Ok(less) = yaml_edit::remove(bytes, section, super::case::KEY) {
                after = less;
            }
            if case.registration_file().exists() {
                change(&case.registration_file(), vec![format!("- {MASK}")]);
            }
        } else {
            restarts.push(case.container);
        }
        if case.token_file.is_some() {
            change(&case.registration_file(), vec![format!("+ {MASK}")]);
        }
        if before != after {
            change(&case.config, difference(&before, &after, &work.masker));
        }
    }
    Ok(Preview { changes, restarts })
}

/// The lines that differ, and one around them on each side.
fn difference(before: &Secret, after: &Secret, masker: &Masker) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.expose().lines().collect(), after.expose().lines().collect());
    let mut lines = Vec::new();
    let mut say = |mark: &str, line: &str| lines.push(format!("{mark} {}", shown(line, masker)));
    let (mut at, mut to) = (0, 0);
    // At most one line is added or taken away at a place, so a look one line ahead finds the way again.
    let mut last_same = None;
    while at < old.len() || to < new.len() {
        match (old.get(at), new.get(to)) {
            (Some(one), Some(other)) if one == other => {
                last_same = Some(at);
                (at, to) = (at + 1, to + 1);
                continue;
            }
            (one, other) => {
                if let Some(same) = last_same.take() {
                    say(" ", old[same]);
                }
                if one.is_some() && old.get(at + 1) == other && other.is_some() {
                    say("-", old[at]);
                    at += 1;
                } else if other.is_some() && new.get(to + 1) == one {
                    say("+", new[to]);
                    to += 1;
                } else {
                    one.iter().for_each(|line| say("-", line));
                    other.iter().for_each(|line| say("+", line));
                    (at, to) = ((at + 1).min(old.len()), (to + 1).min(new.len()));
                }
            }
        }
    }
    lines
}

/// A line whose tokens are masked, whatever they look like: a short one, too, behind a key that holds tokens.
fn shown(line: &str, masker: &Masker) -> String {
    let (name, rest) = match line.split_once(':') {
        Some((name, rest)) if !rest.trim().is_empty() => (name, rest),
        _ => return masker.mask(line).into_owned(),
    };
    if !name.trim().trim_matches(['"', '\'']).ends_with("token") {
        return masker.mask(line).into_owned();
    }
    let comment = rest.find(" #").map(|at| &rest[at..]).unwrap_or_default();
    format!("{name}: {MASK}{}", masker.mask(comment))
}
