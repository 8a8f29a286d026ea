//! `kasm-bootstrap health`: how the node is, asked now.

use super::screen::{self, Row, Told};
use super::{Global, answer::Answer};
use crate::config::{self, Layer, Loaded, understand::Known};
use crate::error::{Exit, Failure};
use crate::health::{self, Context, Health, Level, ProbeStatus, Verdict};
use crate::kasm::receipt::Receipt;
use crate::paths::Paths;
use crate::step::Journal;
use crate::words;

/// Flags of `health`: none of its own.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

const EXAMPLES: &str = "\
Asks everything now, at the same time, and believes every answer; it changes
nothing. What is wrong comes first, with its remedy. Ends with 0 if the node is
healthy, with 19 if it is not.

Examples:
  kasm-bootstrap health              How is this node?
  kasm-bootstrap health -v           The same, one line for each thing asked
  kasm-bootstrap health --json       For programs, with the numbers";

/// What a person wants to read of a node that is well.
const TELLING: [&str; 9] =
    ["containers", "docker", "kasm", "tokens", "manager", "manager-certificate", "disk", "memory", "load"];

/// Runs the command.
pub async fn run(global: &Global, _: Args) -> Result<Answer, Failure> {
    let paths = global.paths();
    let loaded = config::load(&global.sources(&paths, Layer::default()));
    let health = ask(&context(&paths, loaded).0).await;
    let mut answer = answer(&health, global.verbose > 0);
    if health.verdict != Verdict::Healthy {
        answer.exit = Exit::Unhealthy;
    }
    Ok(answer)
}

/// Asks everything.
pub(super) async fn ask(context: &Context) -> Health {
    health::ask_all(context, watched(&context.paths).as_ref()).await
}

/// The answer, without its exit code.
pub(super) fn answer(health: &Health, verbose: bool) -> Answer {
    let json = serde_json::to_value(health).expect("a document of texts and numbers can always be written as JSON");
    Answer::new(text(health, verbose), json)
}

/// What is to be looked at, and what of the configuration is known. One that is wrong keeps nothing from being asked: it
/// is a part of the answer.
pub(super) fn context(paths: &Paths, loaded: Result<Loaded, config::Error>) -> (Context, Option<Known>) {
    let mut context = Context::new(paths.clone());
    let known = loaded.and_then(|loaded| {
        context.network = loaded.merged.network().unwrap_or_default();
        loaded.merged.known()
    });
    match &known {
        Ok(known) => {
            context.manager = known.manager.clone();
            context.network = known.network.clone();
            context.started = health::starts(&known.installer);
        }
        Err(error) => context.configuration = Some(error.clone().into()),
    }
    context.last_failure = Journal::last_failure(paths);
    (context, known.ok())
}

/// How the node stood when the service looked last: since when things are as they are. Nothing where no service has
/// looked, or where what it wrote cannot be read.
fn watched(paths: &Paths) -> Option<Health> {
    let instance = Receipt::read(paths).ok().flatten().and_then(|receipt| receipt.instance);
    let (state, _) = health::State::read(paths, instance, None, &words::now());
    Some(state.health).filter(|health| !health.probes.is_empty())
}

/// For people: what is wrong first, each with its remedy, then what is well, in short.
fn text(health: &Health, verbose: bool) -> String {
    let head = format!("{} since {}: {}", health.verdict, minute(&health.since), health.words);
    let mut lines = words::wrap(&head, words::CONSOLE);
    lines.push(String::new());
    let mut probes: Vec<&ProbeStatus> = health.probes.iter().collect();
    probes.sort_by_key(|probe| match probe.level {
        Level::Fail => 0,
        Level::Warn => 1,
        Level::Unknown => 2,
        Level::Ok => 3,
    });
    let rows: Vec<Row<'_>> = probes.into_iter().map(row).collect();
    lines.extend(screen::lines(&rows, |row| told(&rows, row, verbose)));
    lines.join("\n").trim_end().to_owned()
}

fn row(probe: &ProbeStatus) -> Row<'_> {
    Row { mark: mark(probe.level), name: &probe.name, words: &probe.words, more: more(probe) }
}

/// What has one and the same reason is one line, and what is well need not be said.
fn told(rows: &[Row<'_>], row: &Row<'_>, verbose: bool) -> Told {
    let anything_wrong = rows.iter().any(|row| ["FAIL", "warn"].contains(&row.mark));
    let is_alike = || rows.iter().filter(|other| other.mark == "?" && other.words == row.words).count() > 1;
    match row.mark {
        _ if verbose => Told::Whole,
        "?" if is_alike() => Told::Together,
        "ok" if anything_wrong || !TELLING.contains(&row.name) => Told::Named,
        _ => Told::Whole,
    }
}

fn mark(level: Level) -> &'static str {
    match level {
        Level::Fail => "FAIL",
        Level::Warn => "warn",
        Level::Unknown => "?",
        Level::Ok => "ok",
    }
}

/// Since when it is wrong, and what to do.
fn more(probe: &ProbeStatus) -> Vec<String> {
    let since = lasting(probe).map(|since| format!("since {since}"));
    since.into_iter().chain(probe.remedy.iter().map(|remedy| format!("help: {remedy}"))).collect()
}

/// Since when it is wrong; of what was just found, the time says nothing.
pub(super) fn lasting(probe: &ProbeStatus) -> Option<String> {
    let lasts = matches!(probe.level, Level::Fail | Level::Warn) && probe.since != probe.checked;
    lasts.then(|| minute(&probe.since))
}

/// `2026-01-02 03:04 UTC` of an RFC 3339 time.
fn minute(time: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        Err(_) => words::one_line(time),
    }
}

#[cfg(test)]
mod tests;
