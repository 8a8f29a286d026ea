//! The thin part: files and standard input, bounded.

use super::error::Error;
use super::file::{self, LIMIT};
use super::layer::Layer;
use crate::paths::Paths;
use crate::secret::Secret;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The largest file a token is read from, in bytes.
const SECRET_LIMIT: u64 = 16 * 1024;

/// Who may read a file.
const READABLE_BY_OTHERS: u32 = 0o044;
/// Who may write to it.
const WRITABLE_BY_ALL: u32 = 0o002;

/// The configuration files in their order: the one that was named, which must be there; or the usual
/// one, what lies in `config.d`, and the user-data that was kept, which need not.
pub(super) fn files(paths: &Paths, named: Option<&Path>) -> Result<Vec<PathBuf>, Error> {
    if let Some(named) = named {
        return Ok(vec![named.to_owned()]);
    }
    let directory = paths.config_dir();
    let fail = |source| unreadable("configuration directory", &directory, source);
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => Some(entries),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(fail(error)),
    };
    let mut more = Vec::new();
    for entry in entries.into_iter().flatten() {
        let path = entry.map_err(fail)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            more.push(path);
        }
    }
    more.sort();
    let there = |path: PathBuf| std::fs::symlink_metadata(&path).is_ok().then_some(path);
    Ok(there(paths.config_file()).into_iter().chain(more).chain(there(paths.user_data())).collect())
}

/// User-data as it was kept: the name of its source, from the comment before it, and the rest, whose lines
/// are counted as its author counts them.
fn user_data(bytes: &[u8]) -> Option<(&Path, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (first, rest) = bytes.split_at_checked(end + 1)?;
    let name = std::str::from_utf8(first).ok()?.trim_end().strip_prefix("# ")?;
    name.starts_with("user-data (").then_some((Path::new(name), rest))
}

/// One configuration file as a layer, or user-data that was kept.
pub(super) fn config(path: &Path, kept: bool) -> Layer {
    let (bytes, mode) = match bounded("configuration file", path, LIMIT) {
        Ok(read) => read,
        Err(error) => return Layer { errors: vec![error], ..Layer::default() },
    };
    let (name, text) = user_data(&bytes).filter(|_| kept).unwrap_or((path, &bytes));
    let mut layer = file::layer_from_bytes(name, text);
    let secrets = layer.entries.iter().any(|entry| entry.setting.is_secret() && !entry.is_silent());
    if secrets {
        layer.warnings.extend(exposed_by(mode, path));
    }
    if mode.is_some_and(|mode| mode & WRITABLE_BY_ALL != 0) {
        layer.warnings.push(format!(
            "every user can write to {0}, and so decide what runs as root here; run: chmod o-w {0}",
            path.display()
        ));
    }
    layer
}

/// A token from its file, without the line feed at its end. Blanks are left for the token's own rules.
pub(super) fn secret(key: &str, path: &Path) -> Result<Secret, Error> {
    let what = format!("the file with {key}");
    let (bytes, _) = bounded(&what, path, SECRET_LIMIT)?;
    text(bytes, path.display().to_string())
}

/// The warning about a token's file that others than its owner can read. Pipes and the like are not files.
pub(super) fn exposed(path: &Path) -> Option<String> {
    let meta = std::fs::metadata(path).ok()?;
    exposed_by(mode(&meta), path)
}

fn exposed_by(mode: Option<u32>, path: &Path) -> Option<String> {
    let path = path.display();
    let exposed = mode? & READABLE_BY_OTHERS != 0;
    exposed.then(|| format!("{path} holds a token and others can read it; run: chmod 600 {path}"))
}

/// The mode of a regular file.
fn mode(meta: &Metadata) -> Option<u32> {
    meta.is_file().then(|| meta.mode())
}

/// A token from standard input.
pub(super) fn secret_from_stdin(key: &str) -> Result<Secret, Error> {
    let what = format!("standard input with {key}");
    let bytes = take(&what, Path::new("-"), io::stdin().lock(), SECRET_LIMIT)?;
    text(bytes, "standard input".into())
}

fn text(bytes: Zeroizing<Vec<u8>>, place: String) -> Result<Secret, Error> {
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::NotUtf8 { place })?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    Ok(Secret::new(text.strip_suffix('\r').unwrap_or(text)))
}

/// The bytes of a file, and its mode if it is a regular one.
fn bounded(what: &str, path: &Path, limit: u64) -> Result<(Zeroizing<Vec<u8>>, Option<u32>), Error> {
    let fail = |source| unreadable(what, path, source);
    let file = File::open(path).map_err(fail)?;
    let mode = mode(&file.metadata().map_err(fail)?);
    Ok((take(what, path, file, limit)?, mode))
}

fn take(what: &str, path: &Path, reader: impl Read, limit: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut bytes = Zeroizing::new(Vec::new());
    reader.take(limit + 1).read_to_end(&mut bytes).map_err(|source| unreadable(what, path, source))?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooLarge { what: what.to_owned(), path: path.to_owned(), limit });
    }
    Ok(bytes)
}

fn unreadable(what: &str, path: &Path, source: io::Error) -> Error {
    Error::Read { what: what.to_owned(), path: path.to_owned(), source: Arc::new(source) }
}
