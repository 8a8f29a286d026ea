//! `kasm-bootstrap timeline`: where the last run's time went.

use super::{Global, answer::Answer, status};
use crate::error::{Exit, Failure};
use crate::report::Timeline;
use crate::{durable, words};
use serde_json::json;
use std::path::PathBuf;

/// Flags of `timeline`.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// As a picture, an SVG document
    #[arg(long)]
    svg: bool,
    /// Into FILE instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  kasm-bootstrap timeline                  As text
  kasm-bootstrap timeline --svg -o t.svg   As a picture; any browser shows it
  kasm-bootstrap timeline --json           Steps and waits in milliseconds";

/// Runs the command.
pub async fn run(global: &Global, args: Args) -> Result<Answer, Failure> {
    let paths = global.paths();
    if args.svg && global.json {
        let help = "leave one of them out";
        return Err(Failure::new(Exit::Usage, "timeline.form", "a picture is no JSON document", help));
    }
    let timeline = Timeline::of(&status::read(&paths)?);
    let json = serde_json::to_value(&timeline).expect("a timeline holds nothing that JSON cannot");
    let text = if args.svg { timeline.svg().trim_end().to_owned() } else { timeline.text() };
    let Some(path) = args.output else { return Ok(Answer::new(text, json)) };
    let whole = match global.json {
        true => serde_json::to_string_pretty(&json).expect("a JSON value can always be written"),
        false => words::clean(&text),
    };
    durable::write(&path, (whole + "\n").as_bytes(), 0o644).map_err(|error| {
        let message = format!("{} cannot be written: {error}", path.display());
        Failure::new(Exit::Unexpected, "timeline.write", message, "name a file in a directory that you can write to")
    })?;
    let told = path.display().to_string();
    Ok(Answer::new(format!("written to {told}"), json!({ "file": told })))
}
