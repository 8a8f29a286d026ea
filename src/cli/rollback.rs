//! `kasm-bootstrap rollback`: back to the version before.

use super::{Global, answer::Answer, plan, reports, views};
use crate::config::{self, Layer};
use crate::error::Failure;
use crate::flow::rollback::{self, Asked};
use crate::flow::upgrade::Options;
use std::time::Duration;

/// Flags of `rollback`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Back to this version, whose directory is still there, instead of the one
    /// before the last upgrade
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// Wait so long for sessions on this node to end, instead of refusing
    #[arg(long, value_name = "TIME", value_parser = super::duration::parse_duration)]
    drain_timeout: Option<Duration>,
    /// How long the way back may take [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = super::duration::parse_duration)]
    deadline: Option<Duration>,
    /// Go on although sessions are open on this node
    #[arg(long)]
    force: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

const EXAMPLES: &str = "\
Links and configuration are put back as they were before the last upgrade, the
services are started and the node is proved. An upgrade that was cut off or is
not proved yet is undone. With --to, the configuration is the one in that
version's own directory.

Examples:
  kasm-bootstrap rollback
  kasm-bootstrap rollback --to 1.17.0 --drain-timeout 30m";

/// Runs the command.
pub async fn run(global: &Global, args: Args) -> Result<Answer, Failure> {
    let paths = global.paths();
    let loaded = config::load(&global.sources(&paths, Layer::default()))?;
    views::warn(global, &loaded.warnings);
    let asked = Asked {
        to: args.to,
        options: Options { drain: args.drain_timeout, force: args.force },
        budget: args.deadline,
        network: loaded.merged.network()?,
        settle: loaded.merged.settle()?,
    };
    let reporting = loaded.merged.reporting()?;
    if args.dry_run {
        return plan::rollback(&paths, &asked);
    }
    let run = async |views| rollback::run(&paths, &asked, views).await;
    Ok(Answer::of_run(reports::told(global, &reporting, run).await?))
}
