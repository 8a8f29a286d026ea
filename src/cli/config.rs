//! `kasm-bootstrap config`: check, show, schema, example.

use super::kasm_flags::KasmFlags;
use super::{Global, answer::Answer, views};
use crate::config::layer::Origin;
use crate::config::merged::Shown;
use crate::config::{Intent, document};
use crate::error::Failure;
use serde_json::{Map, Value, json};

/// The command's flags.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Is the configuration complete and sound?
    Check(Box<KasmFlags>),
    /// What is set, and where that came from; with -v every setting
    Show(Box<KasmFlags>),
    /// The JSON Schema of the configuration file
    Schema,
    /// A complete configuration file, with comments
    Example,
}

/// Runs the command.
pub async fn run(global: &Global, args: Args) -> Result<Answer, Failure> {
    match args.command {
        Command::Check(flags) => check(global, &flags),
        Command::Show(flags) => show(global, &flags),
        Command::Schema => {
            let schema = document::json_schema();
            let text = serde_json::to_string_pretty(&schema).expect("a JSON value can always be written");
            Ok(Answer::new(text, schema))
        }
        Command::Example => {
            let example = document::example();
            let json = json!({ "example": example });
            Ok(Answer::new(example.trim_end(), json))
        }
    }
}

fn check(global: &Global, flags: &KasmFlags) -> Result<Answer, Failure> {
    let loaded = flags.load(global)?;
    let understood = loaded.merged.understand();
    let mut warnings = loaded.warnings;
    if let Ok(understood) = &understood {
        warnings.extend(understood.notes.iter().cloned());
    }
    warn(global, &warnings);
    let intent = understood?.intent;
    let text = format!("configuration is valid ({})", summary(&intent));
    Ok(Answer::new(text, json!({ "valid": true, "summary": summary(&intent), "warnings": warnings })))
}

fn summary(intent: &Intent) -> String {
    let release = match &intent.release.version {
        Some(version) => format!("release {version}"),
        None => "a release known by its digest".into(),
    };
    format!("{} of {}, {release}", intent.role, intent.manager.address)
}

fn show(global: &Global, flags: &KasmFlags) -> Result<Answer, Failure> {
    let loaded = flags.load(global)?;
    let shown = loaded.merged.shown();
    warn(global, &loaded.warnings);
    let settings: Map<String, Value> = shown
        .iter()
        .map(|one| (one.key.to_owned(), json!({ "value": one.value, "from": one.from.to_string(), "note": one.note })))
        .collect();
    let files: Vec<String> = loaded.files.iter().map(|path| path.display().to_string()).collect();
    let json = json!({ "settings": settings, "files": files, "warnings": loaded.warnings });
    let text = if global.verbose > 0 { table(shown.iter()) } else { given(&shown) };
    Ok(Answer::new(text, json))
}

/// What somebody has given.
fn given(shown: &[Shown]) -> String {
    let given = table(shown.iter().filter(|one| one.from != Origin::Default || one.note.is_some()));
    let (set, more) =
        if given.is_empty() { ("nothing is set", "") } else { (given.as_str(), "\n\nnothing else is set") };
    format!("{set}{more}; -v tells every setting and its default")
}

fn table<'a>(shown: impl Iterator<Item = &'a Shown> + Clone) -> String {
    const MOST: usize = 48;
    let value = |one: &Shown| match &one.value {
        Some(value) => value.chars().flat_map(char::escape_debug).collect(),
        None => "-".to_owned(),
    };
    let keys = shown.clone().map(|one| one.key.len()).max().unwrap_or_default();
    // A long value pushes only its own line out of the table.
    let values = shown.clone().map(|one| value(one).chars().count()).filter(|width| *width <= MOST).max();
    let values = values.unwrap_or_default();
    let line = |one: &Shown| {
        let from = match (&one.from, &one.value) {
            (Origin::Default, None) => "not set".to_owned(),
            (from, _) => from.to_string(),
        };
        let note = one.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        format!("{:keys$}  {:values$}  {from}{note}", one.key, value(one))
    };
    shown.map(line).collect::<Vec<_>>().join("\n")
}

/// Warnings go beside the answer, never into it; as JSON they are a part of it.
fn warn(global: &Global, warnings: &[String]) {
    if !global.json {
        views::warn(global, warnings);
    }
}
