//! The intent: what the operator asked for, from every source in its order.
//!
//! ```text
//! schema        the table of settings; all names derive from it
//! file          TOML ─┐
//! environment   ──────┼─> layer ─> merged ─> understand ─> intent
//! flags (cli)   ──────┘    values keep where they were found
//! ```
//!
//! Later sources win: built-in, what an installed node says of itself (for commands that work on it), systemd
//! credentials, `/etc/kasm-bootstrap/config.toml`, `config.d/*.toml` in the order of their names, user-data, the
//! environment, flags. `--config FILE` takes the place of all files and of user-data. The last source to mention
//! a setting decides it, also by leaving it empty; an empty token in a file or a variable says nothing. In one
//! source a token itself wins over the file it may be in.

pub mod catalog;
pub mod document;
pub mod environment;
pub mod error;
pub mod file;
pub mod installed;
pub mod layer;
pub mod meaning;
pub mod merged;
mod read;
pub mod schema;
pub mod suggest;
#[cfg(test)]
mod tests;
pub mod understand;
pub mod value;

pub use crate::intent::Intent;
pub use error::Error;
pub use layer::Layer;
pub use merged::Merged;
pub use understand::{Ready, Remedies, RunOptions, Understood};

use crate::paths::Paths;
use layer::{Origin, Raw};
use schema::Kind;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where a configuration is looked for.
#[derive(Debug, Clone)]
pub struct Sources<'a> {
    /// Where the usual files lie.
    pub paths: &'a Paths,
    /// The one file to read instead of the usual ones (`--config`). It must be there.
    pub file: Option<&'a Path>,
    /// The environment.
    pub environment: Vec<(OsString, OsString)>,
    /// What the command line says.
    pub flags: Layer,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What all sources together say.
    pub merged: Merged,
    /// What is not as it should be, but can be worked with.
    pub warnings: Vec<String>,
    /// The files that were read, in their order.
    pub files: Vec<PathBuf>,
}

/// Reads every source. Errors are about the sources themselves: files that cannot be read, names that
/// no setting has, values of a wrong type; all of them in one.
pub fn load(sources: &Sources<'_>) -> Result<Loaded, Error> {
    load_above(Layer::default(), sources)
}

/// [`load`] with a layer below all sources: [`installed::layer`].
pub fn load_above(lowest: Layer, sources: &Sources<'_>) -> Result<Loaded, Error> {
    let files = read::files(sources.paths, sources.file)?;
    let mut layers = vec![lowest, environment::credentials(&sources.environment)];
    for path in &files {
        layers.push(read::config(path, *path == sources.paths.user_data()));
    }
    layers.push(environment::layer(&sources.environment));
    for layer in &mut layers {
        settle_paths(sources.paths, layer);
    }
    layers.push(sources.flags.clone());

    if let Some(error) = Error::of(layers.iter().flat_map(|layer| layer.errors.clone()).collect()) {
        return Err(error);
    }
    let mut warnings: Vec<String> = layers.iter().flat_map(|layer| layer.warnings.clone()).collect();
    let mut merged = Merged::of(&layers);
    merged.fill(&mut warnings)?;
    Ok(Loaded { merged, warnings, files })
}

/// Paths in files and variables must be absolute. Those in a configuration file are the machine's: with
/// `--root` they are below the root, where they are there.
fn settle_paths(paths: &Paths, layer: &mut Layer) {
    let Layer { entries, errors, .. } = layer;
    for entry in entries {
        let moves = matches!(entry.origin, Origin::File(..)) && !paths.is_machine();
        let (key, origin) = (entry.setting.key, &entry.origin);
        let mut settle = |text: &mut String| {
            let path = Path::new(text.trim());
            if meaning::of(text) != meaning::Meaning::Given(text.trim()) || path == Path::new("-") {
                return;
            }
            if !path.is_absolute() {
                errors.push(Error::Value {
                    key,
                    origin: origin.clone(),
                    problem: format!("is {}, relative to nothing in particular", error::quoted(text)),
                    help: "write the whole path, beginning with /".into(),
                });
                return;
            }
            let below = paths.at(path);
            if moves
                && !path.starts_with(paths.root())
                && below.exists()
                && let Some(below) = below.to_str()
            {
                *text = below.to_owned();
            }
        };
        match (entry.setting.kind, &mut entry.raw) {
            (Kind::Path | Kind::SecretFile, Raw::Text(text)) => settle(text),
            (Kind::MinisignKey, Raw::Text(text)) if value::is_path(text.trim()) => settle(text),
            (Kind::Paths, Raw::List(items)) => items.iter_mut().for_each(settle),
            _ => {}
        }
    }
}
