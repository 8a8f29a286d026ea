//! `kasm-bootstrap explain`: what a reason code means, and what to do.

use super::{Global, answer::Answer, status};
use crate::error::{Exit, Failure};
use crate::reasons::{self, Page};
use serde_json::{Value, json};

/// Flags of `explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The code, as it stands in brackets behind an error; without one: why the last run failed
    #[arg(value_name = "REASON")]
    reason: Option<String>,
    /// Name every reason there is
    #[arg(long, conflicts_with = "reason")]
    list: bool,
}

const EXAMPLES: &str = "\
Examples:
  kasm-bootstrap explain                       Why the last run failed
  kasm-bootstrap explain token.placeholder     One of them
  kasm-bootstrap explain --list | grep apt     Those about apt";

/// How far a name may be from the right one to be taken for it (Jaro-Winkler, 0 to 1).
const ALIKE: f64 = 0.84;

/// Runs the command.
pub fn run(global: &Global, args: Args) -> Result<Answer, Failure> {
    let pages = reasons::pages();
    if args.list {
        return Ok(list(&pages));
    }
    let reason = match args.reason {
        // As it is copied from an error, brackets and all.
        Some(reason) => reason.trim_matches(['[', ']', ' ']).to_owned(),
        None => match last(global)? {
            Some(reason) => reason,
            None => {
                let text = "the last run has not failed: `kasm-bootstrap explain --list` names every reason there is";
                return Ok(Answer::new(text, Value::Null));
            }
        },
    };
    match pages.iter().find(|page| page.reason == reason) {
        Some(page) => Ok(Answer::new(page.text(), document(page))),
        None => Err(unknown(&reason, &pages)),
    }
}

fn list(pages: &[Page]) -> Answer {
    let widest = pages.iter().map(|page| page.reason.len()).max().unwrap_or_default();
    let lines: Vec<String> = pages.iter().map(|page| format!("{:<widest$}  {}", page.reason, page.sentence)).collect();
    let short = |page: &Page| json!({ "reason": page.reason, "sentence": page.sentence, "exit": page.exit });
    Answer::new(lines.join("\n"), pages.iter().map(short).collect())
}

fn document(page: &Page) -> Value {
    json!({ "reason": page.reason, "sentence": page.sentence, "exit": page.exit, "page": page.markdown })
}

/// The reason for which the last run failed, if it did.
fn last(global: &Global) -> Result<Option<String>, Failure> {
    Ok(status::read(&global.paths())?.error.map(|failure| failure.reason))
}

fn unknown(reason: &str, pages: &[Page]) -> Failure {
    let distance = |page: &&Page| strsim::jaro_winkler(&page.reason, reason);
    let nearest = pages.iter().max_by(|one, other| distance(one).total_cmp(&distance(other)));
    let help = match nearest.filter(|page| distance(page) >= ALIKE) {
        Some(page) => format!("did you mean {}?", page.reason),
        None => "`kasm-bootstrap explain --list` names every reason there is".into(),
    };
    // What is not shown could be anything that was pasted, a token too.
    Failure::new(Exit::Usage, "explain.unknown-reason", "there is no such reason", help)
}
