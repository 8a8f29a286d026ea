//! `kasm-bootstrap health`: how the node is, asked now.

use super::{Global, answer::Answer};
use crate::config::{self, Layer};
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

/// Lines of text are no longer than this, in characters.
const WIDTH: usize = 100;
/// What a person wants to read of a node that is well.
const TELLING: [&str; 9] =
    ["containers", "docker", "kasm", "tokens", "manager", "manager-certificate", "disk", "memory", "load"];

/// Runs the command.
pub async fn run(global: &Global, _: Args) -> Result<Answer, Failure> {
    let paths = global.paths();
    let context = context(global, &paths);
    let health = health::ask_all(&context, watched(&paths).as_ref()).await;
    let json = serde_json::to_value(&health).expect("a document of texts and numbers can always be written as JSON");
    let mut answer = Answer::new(text(&health, global.verbose > 0), json);
    if health.verdict != Verdict::Healthy {
        answer.exit = Exit::Unhealthy;
    }
    Ok(answer)
}

/// What is to be looked at. A configuration that is wrong keeps nothing from being asked: it is a part of the answer.
fn context(global: &Global, paths: &Paths) -> Context {
    let mut context = Context::new(paths.clone());
    let loaded = config::load(&global.sources(paths, Layer::default()));
    let known = loaded.and_then(|loaded| {
        context.network = loaded.merged.network().unwrap_or_default();
        loaded.merged.known()
    });
    match known {
        Ok(known) => {
            context.manager = known.manager;
            context.network = known.network;
            context.started = health::starts(&known.installer);
        }
        Err(error) => context.configuration = Some(error.into()),
    }
    context.last_failure = Journal::last_failure(paths);
    context
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
    let mut lines = words::wrap(&head, WIDTH);
    lines.push(String::new());
    let width = health.probes.iter().map(|probe| probe.name.len()).max().unwrap_or_default();
    let is_wrong = |probe: &&ProbeStatus| matches!(probe.level, Level::Fail | Level::Warn);
    let anything_wrong = health.probes.iter().any(|probe| is_wrong(&probe));
    for level in [Level::Fail, Level::Warn, Level::Unknown, Level::Ok] {
        let probes: Vec<&ProbeStatus> = health.probes.iter().filter(|probe| probe.level == level).collect();
        // What has one and the same reason is one line, and what is well need not be said.
        let alike = |probe: &ProbeStatus| match level {
            _ if verbose => false,
            Level::Unknown => probes.iter().filter(|other| other.words == probe.words).count() > 1,
            Level::Ok => anything_wrong || !TELLING.contains(&probe.name.as_str()),
            _ => false,
        };
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for probe in &probes {
            if !alike(probe) {
                tell(&mut lines, probe, width);
                continue;
            }
            let words = if level == Level::Unknown { probe.words.as_str() } else { "" };
            match groups.iter_mut().find(|(known, _)| *known == words) {
                Some((_, names)) => names.push(&probe.name),
                None => groups.push((words, vec![&probe.name])),
            }
        }
        for (reason, names) in groups {
            let names = names.join(", ");
            let said = if reason.is_empty() { names } else { format!("{names}: {reason}") };
            for (at, line) in words::wrap(&said, WIDTH - 6).iter().enumerate() {
                lines.push(format!("{:<5} {line}", if at == 0 { mark(level) } else { "" }));
            }
        }
    }
    lines.join("\n").trim_end().to_owned()
}

fn mark(level: Level) -> &'static str {
    match level {
        Level::Fail => "FAIL",
        Level::Warn => "warn",
        Level::Unknown => "?",
        Level::Ok => "ok",
    }
}

fn tell(lines: &mut Vec<String>, probe: &ProbeStatus, width: usize) {
    let indent = 5 + 1 + width + 2;
    let room = WIDTH.saturating_sub(indent).max(40);
    let mut said = words::wrap(&probe.words, room);
    // Of one that was just found, the time says nothing.
    if matches!(probe.level, Level::Fail | Level::Warn) && probe.since != probe.checked {
        said.push(format!("since {}", minute(&probe.since)));
    }
    said.extend(probe.remedy.iter().flat_map(|remedy| words::wrap(&format!("help: {remedy}"), room)));
    for (at, line) in said.iter().enumerate() {
        let front = if at == 0 { format!("{:<5} {:<width$}", mark(probe.level), probe.name) } else { String::new() };
        lines.push(format!("{front:<indent$}{line}"));
    }
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
