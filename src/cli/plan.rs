//! `kasm-bootstrap plan`: what would happen. Nothing is written, and nobody is asked.

use super::kasm_flags::KasmFlags;
use super::{Global, answer::Answer};
use crate::error::Failure;
use crate::flow::install::Install;
use crate::intent::Intent;
use crate::paths::Paths;
use crate::step::PlannedStep;
use crate::words;
use clap::Subcommand;
use serde_json::json;
use std::fmt::Write;

/// Flags of `plan`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// What `install` would do
    Install {
        #[command(flatten)]
        kasm: Box<KasmFlags>,
    },
}

/// Runs the command.
pub async fn run(global: &Global, args: Args) -> Result<Answer, Failure> {
    let Verb::Install { kasm } = args.verb;
    let intent = super::install::intent(global, &kasm)?;
    install(&global.paths(), intent)
}

/// The plan of an install.
pub fn install(paths: &Paths, intent: Intent) -> Result<Answer, Failure> {
    let (role, budget, manager) = (intent.role, intent.budget, intent.manager.address.to_string());
    let plan = Install::new(paths, intent)?.plan();
    let steps = plan.describe();
    let mut text = format!("install: role {role}, manager {manager}, within {}", words::span(budget));
    text.push_str(&lines(&steps));
    let json = json!({
        "schema": 1,
        "verb": plan.verb,
        "role": role,
        "manager": manager,
        "budget_s": budget.as_secs(),
        "fingerprint": plan.fingerprint,
        "steps": steps,
    });
    Ok(Answer::new(text, json))
}

/// A plan's steps, each on a line that begins with its line feed.
pub fn lines(steps: &[PlannedStep]) -> String {
    let mut text = String::new();
    let width = steps.iter().map(|step| step.name.len()).max().unwrap_or_default().max(10);
    for (at, step) in steps.iter().enumerate() {
        let after = match step.after {
            [] => String::new(),
            after => format!(" (after {})", after.join(", ")),
        };
        let limit = step.limit_s.map(|limit| format!(", at most {limit} s")).unwrap_or_default();
        // Writing into a String cannot fail.
        let _ = write!(text, "\n{:>3}. {:<width$} {}{limit}{after}", at + 1, step.name, words::one_line(&step.about));
    }
    text
}
