//! `kasm-bootstrap install`: one shot, safe to repeat.

use super::kasm_flags::KasmFlags;
use super::{Global, answer::Answer, plan, reports, views};
use crate::error::Failure;
use crate::flow;
use crate::intent::Intent;
use crate::preflight;

/// Flags of `install`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    kasm: KasmFlags,
}

/// The intent from every source, its warnings said.
pub fn intent(global: &Global, flags: &KasmFlags) -> Result<Intent, Failure> {
    let loaded = flags.load(global)?;
    let understood = loaded.merged.understand()?;
    views::warn(global, &loaded.warnings);
    views::warn(global, &understood.notes);
    preflight::known(&understood.intent.skip)?;
    Ok(understood.intent)
}

/// Runs the command.
pub async fn run(global: &Global, args: Args) -> Result<Answer, Failure> {
    let (intent, paths) = (intent(global, &args.kasm)?, global.paths());
    if args.kasm.dry_run {
        return plan::install(&paths, intent);
    }
    let reporting = intent.reporting.clone();
    let run = async |views| flow::install::run(&paths, intent, views).await;
    Ok(Answer::of_run(reports::told(global, &reporting, run).await?))
}
