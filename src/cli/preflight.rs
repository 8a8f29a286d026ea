//! `kasm-bootstrap preflight`: the checks alone.

use super::kasm_flags::KasmFlags;
use super::{Global, answer::Answer, views};
use crate::error::{Exit, Failure};
use crate::machine::facts::Facts;
use crate::preflight;

/// Flags of `preflight`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    kasm: KasmFlags,
}

/// Runs the command.
pub async fn run(global: &Global, args: Args) -> Result<Answer, Failure> {
    let loaded = args.kasm.load(global)?;
    views::warn(global, &loaded.warnings);
    let paths = global.paths();
    let facts = Facts::gather(&paths);
    let mut context = preflight::Context::new(paths, facts);
    // Half a configuration is enough for the checks: what is not known is not asked.
    let known = loaded.merged.known()?;
    preflight::known(&known.skip)?;
    context.role = known.role;
    context.manager = known.manager;
    context.address = Some(known.address);
    context.network = known.network;
    context.metadata = known.metadata;
    context.sources = known.sources;
    context.proxy_port = known.proxy_port;
    context.installer = known.installer;
    context.skip = known.skip;
    let report = preflight::run(&preflight::checks(), &context).await;
    let json = serde_json::to_value(&report).expect("a report holds nothing that JSON cannot");
    let mut answer = Answer::new(report.text(), json);
    answer.exit = report.failure().map_or(Exit::Done, |failure| failure.exit());
    Ok(answer)
}
