//! `kasm-bootstrap upgrade`: to another version, or back to where it was.

use super::kasm_flags::KasmFlags;
use super::{Global, answer::Answer, plan, reports, views};
use crate::config::{self, Layer};
use crate::error::Failure;
use crate::flow::upgrade::{self, Options};
use crate::intent::Intent;
use crate::preflight;
use std::time::Duration;

/// Flags of `upgrade`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    kasm: KasmFlags,
    /// Wait so long for sessions on this node to end, instead of refusing
    #[arg(long, value_name = "TIME", value_parser = super::duration::parse_duration, help_heading = "This run")]
    drain_timeout: Option<Duration>,
}

const EXAMPLES: &str = "\
What the node is, it knows itself: an agent needs the release only, a
connection proxy a registration token beside. What is installed is kept.

If it fails after it changed something, the version before is put back and
proved (exit 20). A manager that is silent afterwards undoes nothing (exit 13):
the same command again proves the node.

Examples:
  kasm-bootstrap upgrade --release 1.19.0
  kasm-bootstrap upgrade --release 1.19.0 --registration-token-file /run/token
  kasm-bootstrap upgrade --release 1.19.0 --drain-timeout 30m
  kasm-bootstrap upgrade --release 1.19.0 --dry-run    What would happen";

/// Two of the flags that `install` has mean something else here.
pub fn reworded(command: clap::Command) -> clap::Command {
    let force = "Go on although sessions are open, or the release is older or failed here before";
    command
        .mut_arg("force", |flag| flag.help(force))
        .mut_arg("deadline", |flag| flag.help("How long the whole run may take [default: 30m]"))
}

impl Args {
    /// The intent from every source, with what is installed below all of them; and what is asked for beside.
    pub fn intent(&self, global: &Global) -> Result<(Intent, Options), Failure> {
        let paths = global.paths();
        let lowest = match upgrade::standing(&paths)? {
            Some(installed) => config::installed::layer(&paths, &installed)?,
            None => Layer::default(),
        };
        let loaded = self.kasm.load_above(global, lowest)?;
        let mut understood = loaded.merged.understand()?;
        views::warn(global, &loaded.warnings);
        views::warn(global, &understood.notes);
        preflight::known(&understood.intent.skip)?;
        let options = Options { drain: self.drain_timeout, force: understood.intent.force };
        // Files are written for machines at their first boot, where time is short.
        if !loaded.merged.is_given_for_this_run("deadline") {
            understood.intent.budget = upgrade::BUDGET;
        }
        Ok((understood.intent, options))
    }
}

/// Runs the command.
pub async fn run(global: &Global, args: Args) -> Result<Answer, Failure> {
    let ((intent, options), paths) = (args.intent(global)?, global.paths());
    if args.kasm.dry_run {
        return plan::upgrade(&paths, intent, options);
    }
    let reporting = intent.reporting.clone();
    let run = async |views| upgrade::run(&paths, intent, options, views).await;
    Ok(Answer::of_run(reports::told(global, &reporting, run).await?))
}
