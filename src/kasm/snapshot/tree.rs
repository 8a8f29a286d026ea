//! Walking a tree without following links.

use super::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// True for a directory itself, not for a link to one.
pub(super) fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|data| data.is_dir())
}

/// What lies in a directory, in the order of the names. One that has gone meanwhile holds nothing.
pub(super) fn children(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let unreadable = |source| Error::Read { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        // The manifest is text, and Kasm's names are.
        if path.to_str().is_none() {
            return Err(unreadable(io::Error::new(io::ErrorKind::InvalidData, "a name in it is no UTF-8")));
        }
        found.push(path);
    }
    found.sort();
    Ok(found)
}

/// The path and everything below it, each directory before what is in it; `limit`: about so many at most.
pub(super) fn walk(item: &Path, limit: usize) -> Result<Vec<PathBuf>, Error> {
    let mut found = vec![item.to_owned()];
    let mut at = 0;
    while let Some(path) = found.get(at).cloned() {
        at += 1;
        if is_directory(&path) {
            found.extend(children(&path)?);
        }
        if found.len() > limit {
            return Err(Error::TooLarge { path: item.to_owned(), what: "holds more than a snapshot takes" });
        }
    }
    Ok(found)
}
