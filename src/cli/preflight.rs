//! `kasm-bootstrap preflight`: the checks alone.

use super::kasm_flags::KasmFlags;
use super::screen::{self, Row, Told};
use super::{Global, answer::Answer, views};
use crate::config::understand::Known;
use crate::error::{Exit, Failure};
use crate::machine::facts::Facts;
use crate::paths::Paths;
use crate::preflight::{self, Check, CheckResult, Context, Fixed, Report};

/// Flags of `preflight`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    kasm: KasmFlags,
    /// Mend what can be mended safely, say what was done, and check again
    #[arg(long)]
    fix: bool,
}

const EXAMPLES: &str = "\
Takes the flags of install, and what the configuration says; what is not known
is not asked. Nothing is changed. Ends with 0, or with 12 if a check failed (13
if nothing but the manager did).

Examples:
  kasm-bootstrap preflight                        By the configuration
  kasm-bootstrap preflight -m kasm.example.com    With this manager
  kasm-bootstrap preflight --fix                  Mend what can be mended
  kasm-bootstrap preflight -v                     One line for each check";

/// What a person wants to read of a machine that is well.
const TELLING: [&str; 6] = ["os", "kasm-present", "disk-kasm", "docker", "manager-health", "address"];

/// Runs the command.
pub async fn run(global: &Global, args: Args) -> Result<Answer, Failure> {
    let loaded = args.kasm.load(global)?;
    views::warn(global, &loaded.warnings);
    // Half a configuration is enough for the checks: what is not known is not asked.
    let known = loaded.merged.known()?;
    preflight::known(&known.skip)?;
    let context = context(global.paths(), known);
    let checks = preflight::checks();
    let mut report = preflight::run(&checks, &context).await;
    let mut fixes = Vec::new();
    if args.fix {
        fixes = preflight::fix::fix(&checks, &context, &report).await;
        if !fixes.is_empty() {
            report = preflight::run(&checks, &context.forgotten()).await;
        }
    }
    Ok(answer(&checks, &report, args.fix.then_some(fixes.as_slice()), global.verbose > 0))
}

/// What the checks look at: this machine, and what is known of the intent.
pub(super) fn context(paths: Paths, known: Known) -> Context {
    let facts = Facts::gather(&paths);
    let mut context = Context::new(paths, facts);
    context.role = known.role;
    context.manager = known.manager;
    context.address = Some(known.address);
    context.network = known.network;
    context.metadata = known.metadata;
    context.sources = known.sources;
    context.proxy_port = known.proxy_port;
    context.installer = known.installer;
    context.skip = known.skip;
    context
}

/// `fixes`: what was mended before; `None` if that was not asked for.
pub(super) fn answer(checks: &[Check], report: &Report, fixes: Option<&[Fixed]>, verbose: bool) -> Answer {
    let mut json = serde_json::to_value(report).expect("a report holds nothing that JSON cannot");
    let mut text = if verbose { report.text() } else { screen(report) };
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

/// For people: what is wrong first, each with its remedy, then what is well and what was not asked, in short.
fn screen(report: &Report) -> String {
    let words = ["fail", "warn", "broken", "pass", "skipped"];
    let rows: Vec<Row<'_>> = words.iter().flat_map(|word| report.of(word)).map(row).collect();
    let anything_wrong = report.of("fail").chain(report.of("warn")).next().is_some();
    let told = |row: &Row<'_>| match row.mark {
        "skip" => Told::Together,
        "ok" if anything_wrong || !TELLING.contains(&row.name) => Told::Named,
        _ => Told::Whole,
    };
    screen::lines(&rows, told).join("\n") + "\n" + &report.sum()
}

fn row(result: &CheckResult) -> Row<'_> {
    let verdict = &result.verdict;
    let more = verdict.remedy().map(|remedy| format!("help: {remedy}")).into_iter().collect();
    Row { mark: verdict.mark(), name: result.name, words: verdict.detail(), more }
}
