//! `kasm-bootstrap plan`: what would happen. Nothing is written, and nobody is asked.

use super::kasm_flags::KasmFlags;
use super::{Global, answer::Answer};
use crate::error::Failure;
use crate::flow::install::Install;
use crate::flow::rollback::{self, Asked};
use crate::flow::upgrade::{Change, Options, ROLLBACK_BUDGET};
use crate::intent::Intent;
use crate::paths::Paths;
use crate::step::{Plan, PlannedStep};
use crate::words;
use clap::Subcommand;
use serde_json::json;

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
    /// What `upgrade` would do
    Upgrade(Box<super::upgrade::Args>),
}

/// Runs the command.
pub async fn run(global: &Global, args: Args) -> Result<Answer, Failure> {
    match args.verb {
        Verb::Install { kasm } => install(&global.paths(), super::install::intent(global, &kasm)?),
        Verb::Upgrade(args) => {
            let (intent, options) = args.intent(global)?;
            upgrade(&global.paths(), intent, options)
        }
    }
}

/// The plan of an upgrade.
pub fn upgrade(paths: &Paths, intent: Intent, options: Options) -> Result<Answer, Failure> {
    let (role, budget) = (intent.role, intent.budget.saturating_add(options.drain.unwrap_or_default()));
    let work = Change::new(paths, intent, options)?;
    let plan = work.plan();
    let from = work.old.version.clone();
    let head = format!(
        "upgrade: role {role}, from {}, within {}; if it fails after it changed something, back within {} more",
        from.as_deref().unwrap_or("an unknown version"),
        words::span(budget),
        words::span(ROLLBACK_BUDGET)
    );
    let detail = json!({ "role": role, "from": from, "budget_s": budget.as_secs() });
    Ok(answer(&plan, head, detail))
}

/// The plan of a rollback.
pub fn rollback(paths: &Paths, asked: &Asked) -> Result<Answer, Failure> {
    let (_, plan, target) = rollback::plan(paths, asked)?;
    let head = format!("rollback: role {}, from Kasm {} back to Kasm {}", target.role, target.leaves, target.to);
    let detail = json!({ "role": target.role, "from": target.leaves, "to": target.to });
    Ok(answer(&plan, head, detail))
}

fn answer(plan: &Plan<Change>, head: String, detail: serde_json::Value) -> Answer {
    let steps = plan.describe();
    let mut json = json!({ "schema": 1, "verb": plan.verb, "fingerprint": plan.fingerprint, "steps": steps });
    if let (Some(all), serde_json::Value::Object(detail)) = (json.as_object_mut(), detail) {
        all.extend(detail);
    }
    Answer::new(head + &lines(&steps), json)
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
        let above = at.checked_sub(1).and_then(|above| steps.get(above));
        let after = match (step.after, above) {
            ([], _) => String::new(),
            // Nobody expects anything else.
            ([only], Some(above)) if *only == above.name => String::new(),
            (after, _) => format!(" (after {})", after.join(", ")),
        };
        let limit = step.limit_s.map(|limit| format!(", at most {limit} s")).unwrap_or_default();
        let front = format!("{:>3}. {:<width$} ", at + 1, step.name);
        for line in words::hanging(&front, &format!("{}{limit}{after}", step.about), words::CONSOLE) {
            text.push('\n');
            text.push_str(&line);
        }
    }
    text
}
