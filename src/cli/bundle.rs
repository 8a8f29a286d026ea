//! `kasm-bootstrap bundle`: one file for a support ticket.

use super::kasm_flags::KasmFlags;
use super::teller::Teller;
use super::{Global, answer::Answer, health, status, timeline, token};
use crate::error::{Exit, Failure};
use crate::flow::bundle::{self, Ask, Given, Output, ROOT_ONLY, Summary};
use crate::words;
use serde_json::json;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Flags of `bundle`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where to write it, `-` for standard output [default:
    /// kasm-bootstrap-bundle-HOST-TIME.tar.gz in this directory]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

const EXAMPLES: &str = "\
What this node says of itself, in one .tar.gz: our journal and the installer's
output, status and health, the configuration without its secrets, logs of the
services, of cloud-init, Docker and Kasm, and facts of machine and network.
Secrets are masked: those that are known, and whatever looks like one. Look
before you send it. As root it holds more; manifest.json in it says what is
missing, and why. Nothing is changed, and nothing is sent.

Examples:
  kasm-bootstrap bundle                        Into the current directory
  kasm-bootstrap bundle -o /tmp/ticket.tar.gz  Into this file, if it is new
  kasm-bootstrap bundle -o - | ssh host 'cat > ticket.tar.gz'";

/// Runs the command.
pub async fn run(global: &Global, args: Args) -> Result<Answer, Failure> {
    let paths = global.paths();
    let teller = Teller::new(global);
    let name = format!("kasm-bootstrap-bundle-{}-{}", host(), stamp(&words::now()));
    let loaded = KasmFlags::default().load(global);
    let ask = Ask {
        paths: &paths,
        configuration: loaded.as_ref().map_err(|error| Failure::from(error.clone()).message),
        environment: std::env::vars_os().collect(),
        given: given(global).await,
        observer: &teller,
    };
    let path = args.output.unwrap_or_else(|| PathBuf::from(format!("{name}.tar.gz")));
    if path == Path::new("-") {
        let stdout = io::stdout();
        if global.json || stdout.is_terminal() {
            let help = "name a file with -o, or lead standard output into one, without --json";
            let message = "the bundle and another answer cannot both go to standard output";
            return Err(Failure::new(Exit::Usage, "bundle.output", message, help));
        }
        let summary = bundle::write(&ask, &name, &mut stdout.lock()).await?;
        for line in text("standard output", None, &summary).lines() {
            teller.say(line);
        }
        return Ok(Answer::new("", json!(null)));
    }
    let mut output = Output::new(&path)?;
    let summary = bundle::write(&ask, &name, &mut output).await.map_err(|error| output.blame(error))?;
    let size = output.finish()?;
    let json = json!({
        "schema": 1,
        "file": path,
        "size": size,
        "bytes": summary.bytes(),
        "items": summary.entries,
    });
    Ok(Answer::new(text(&path.display().to_string(), Some(size), &summary), json))
}

/// What other commands say.
async fn given(global: &Global) -> Vec<Given> {
    let why = |failure: Failure| match failure.causes.first() {
        Some(cause) => format!("{}: {cause}", failure.message),
        None => failure.message,
    };
    let pretty = |answer: &Answer| serde_json::to_string_pretty(&answer.json).unwrap_or_default() + "\n";
    let text = |answer: &Answer| format!("{}\n", words::clean(&answer.text));
    // Whoever reads it cannot ask again.
    let talkative = Global { verbose: global.verbose.max(1), ..global.clone() };
    let status = status::run(&talkative, status::Args::default()).await.map_err(why);
    let tokens = token::list::run(global, &token::list::Args::default()).map_err(why);
    let timeline = timeline::run(global, timeline::Args::default()).await.map_err(why);
    let health = match tokio::time::timeout(HEALTH_PATIENCE, health::run(&talkative, health::Args {})).await {
        Ok(health) => health.map_err(why),
        Err(_) => Err(format!("it did not come within {} s", HEALTH_PATIENCE.as_secs())),
    };
    vec![
        Given { name: "node/timeline.txt", text: timeline.as_ref().map(text).map_err(String::clone) },
        Given { name: "node/health.txt", text: health.as_ref().map(text).map_err(String::clone) },
        Given { name: "node/health-now.json", text: health.as_ref().map(pretty).map_err(String::clone) },
        Given { name: "node/status.txt", text: status.as_ref().map(text).map_err(String::clone) },
        Given { name: "node/status.json", text: status.as_ref().map(pretty).map_err(String::clone) },
        Given { name: "node/tokens.txt", text: tokens.as_ref().map(text).map_err(String::clone) },
    ]
}

fn text(place: &str, size: Option<u64>, summary: &Summary) -> String {
    let size = size.map(|size| format!("{}, ", words::bytes(size))).unwrap_or_default();
    let mut text = format!("bundle: {place} ({size}{} files)\n", summary.packed().count() + 1);
    let (closed, failed): (Vec<_>, Vec<_>) =
        summary.failed().partition(|entry| entry.why.as_deref() == Some(ROOT_ONLY));
    if !failed.is_empty() {
        text += "not in it:\n";
        for entry in failed.iter().take(MOST_SHOWN) {
            text += &format!("  {}: {}\n", entry.name, entry.why.as_deref().unwrap_or(entry.result));
        }
        if failed.len() > MOST_SHOWN {
            text += &format!("  and {} more: see manifest.json in it\n", failed.len() - MOST_SHOWN);
        }
    }
    if !closed.is_empty() {
        text +=
            &format!("{} things may be read by root only: run it as root (sudo) for a whole bundle\n", closed.len());
    }
    let missing = summary.missing().count();
    if missing > 0 {
        text += &format!("this machine does not have {missing} of the things that are looked for: see manifest.json\n");
    }
    text + "secrets that are known or look like one are masked; look before you send it"
}

/// So long the health of the node may take to be asked.
const HEALTH_PATIENCE: Duration = Duration::from_secs(30);
/// So many things that are not in it are named.
const MOST_SHOWN: usize = 12;

/// This machine's name, as a part of a file's name.
fn host() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
    if name.is_empty() { "node".into() } else { name }
}

/// `2026-01-02T03:04:05.678Z` as `20260102T030405Z`.
fn stamp(now: &str) -> String {
    let seconds = now.split('.').next().unwrap_or_default();
    seconds.chars().filter(char::is_ascii_alphanumeric).collect::<String>() + "Z"
}
