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
    /// Mend what can be mended safely, say what was done, and check again
    #[arg(long)]
    fix: bool,
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
    let checks = preflight::checks();
    let mut report = preflight::run(&checks, &context).await;
    let mut fixes = Vec::new();
    if args.fix {
        fixes = preflight::fix::fix(&checks, &context, &report).await;
        if !fixes.is_empty() {
            report = preflight::run(&checks, &context.forgotten()).await;
        }
    }
    Ok(answer(&checks, &report, args.fix.then_some(fixes.as_slice())))
}

/// `fixes`: what was mended before; `None` if that was not asked for.
fn answer(checks: &[preflight::Check], report: &preflight::Report, fixes: Option<&[preflight::Fixed]>) -> Answer {
    let mut json = serde_json::to_value(report).expect("a report holds nothing that JSON cannot");
    let mut text = report.text();
    let fixable = preflight::fix::fixable(checks, report);
    match fixes {
        Some(fixes) => {
            json["fixes"] = serde_json::to_value(fixes).expect("texts can always be written as JSON");
            let lines: String = fixes.iter().map(|fixed| fixed.text() + "\n").collect();
            text = format!("{}{text}", if fixes.is_empty() { "nothing to fix\n".into() } else { lines });
        }
        None if !fixable.is_empty() => {
            let at = text.rfind('\n').map_or(0, |at| at + 1);
            text.insert_str(at, &format!("`kasm-bootstrap preflight --fix` mends: {}\n", fixable.join(", ")));
        }
        None => {}
    }
    json["fixable"] = serde_json::json!(fixable);
    let mut answer = Answer::new(text, json);
    answer.exit = report.failure().map_or(Exit::Done, |failure| failure.exit());
    answer
}
