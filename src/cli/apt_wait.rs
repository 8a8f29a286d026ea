//! `kasm-bootstrap apt-wait`, and `dnf-wait`, which is the same: takes the place of a script that polls `fuser`.

use super::{Global, answer::Answer, duration::parse_duration, teller::Teller};
use crate::deadline::Deadline;
use crate::error::Failure;
use crate::flow::packages;
use crate::packages::wait::{Quiet, until_quiet};
use crate::words;
use serde_json::json;
use std::time::Duration;

/// The command's flags.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long it may take, such as 30s, 5m or 1h30m; then the exit code is 14
    #[arg(long, value_name = "SPAN", default_value = "5m", value_parser = parse_duration)]
    timeout: Duration,
}

/// Runs the command.
pub async fn run(global: &Global, args: Args) -> Result<Answer, Failure> {
    let teller = Teller::new(global);
    let paths = global.paths();
    let Some(manager) = packages::manager(&paths) else {
        return Ok(Answer::new(
            format!("{}: nothing to wait for", packages::nobody()),
            json!({ "quiet": true, "apt": false, "manager": null, "waited_ms": 0, "holders": [] }),
        ));
    };
    let Quiet { waited, holders } = until_quiet(manager, &paths, Deadline::after(args.timeout), &teller).await?;
    let text = match holders.is_empty() {
        true => "the package manager is free".to_owned(),
        false => {
            let (waited, holders) = (words::span(waited), holders.join(", then "));
            format!("the package manager is free (waited {waited} for {holders})")
        }
    };
    let (waited, name) = (words::millis(waited), manager.name);
    let json = json!({ "quiet": true, "apt": name == "apt", "manager": name, "waited_ms": waited, "holders": holders });
    Ok(Answer::new(text, json))
}
