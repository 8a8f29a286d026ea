//! What is answered to which question: purely, from what is known.

use super::super::metrics::{self, Format, Progress};
use super::super::status::{State, Status};
use super::super::status_file::Document;
use super::page;
use crate::health::{self, Health, Level, ProbeStatus, Verdict};
use crate::words;
use std::time::Duration;

/// Work that has not turned for so long hangs: as long as systemd's watchdog waits (`WatchdogSec=` of the unit).
const HANGS: Duration = Duration::from_secs(60);

/// Everything there is to tell.
#[derive(Debug, Clone)]
pub struct Known {
    /// The last run.
    pub run: Status,
    /// The node's health; nothing before anything was asked.
    pub health: Option<Health>,
    /// How far downloads are.
    pub progress: Vec<Progress>,
    /// So many events wait on the disk for a webhook.
    pub spooled: usize,
    /// For how long the work has not turned.
    pub still: Duration,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'a> {
    /// The path, as it is in the request.
    pub path: &'a str,
    /// What stands behind its question mark.
    pub query: &'a str,
    /// The header `Accept`.
    pub accept: &'a str,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The media type.
    pub media: &'static str,
    /// The whole of it.
    pub body: String,
}

const TEXT: &str = "text/plain; charset=utf-8";

impl Answer {
    /// Lines for people and scripts.
    pub fn text(status: u16, text: impl Into<String>) -> Answer {
        Answer { status, media: TEXT, body: text.into() + "\n" }
    }
}

/// The answer to a question, from what is known.
pub fn answer(known: impl FnOnce() -> Known, question: Question<'_>) -> Answer {
    match question.path {
        "/livez" => livez(&known()),
        "/readyz" => readyz(&known()),
        "/healthz" => healthz(&known(), is_verbose(question.query)),
        "/status" => {
            let Known { run, health, .. } = known();
            Answer { status: 200, media: "application/json", body: Document::of(run, health).json() }
        }
        "/metrics" => {
            let (known, format) = (known(), Format::accepted(question.accept));
            let body = metrics::render(&known.run, known.health.as_ref(), &known.progress, known.spooled, format);
            Answer { status: 200, media: format.media_type(), body }
        }
        "/" => Answer { status: 200, media: "text/html; charset=utf-8", body: page::page(&known()) },
        _ => Answer::text(
            404,
            "there is nothing here; there is: / /livez /readyz /healthz /healthz?verbose /status /metrics",
        ),
    }
}

/// As Kubernetes has it: it is enough that the word is there.
fn is_verbose(query: &str) -> bool {
    query.split('&').any(|part| part == "verbose" || part.starts_with("verbose="))
}

fn livez(known: &Known) -> Answer {
    match known.still {
        still if still < HANGS => Answer::text(200, "ok"),
        still => Answer::text(503, format!("the work has not moved for {}", words::span(still))),
    }
}

fn readyz(known: &Known) -> Answer {
    let (ready, why) = known.readiness();
    Answer::text(if ready { 200 } else { 503 }, words::one_line(&why))
}

fn healthz(known: &Known, verbose: bool) -> Answer {
    let (ready, why) = known.readiness();
    if ready && !verbose {
        return Answer::text(200, "ok");
    }
    let probes = known.health.iter().flat_map(|health| &health.probes);
    let mut lines: Vec<String> = probes.map(probe_line).collect();
    lines.push(words::one_line(&why));
    lines.push(if ready { "healthz check passed".into() } else { "healthz check failed".into() });
    Answer::text(if ready { 200 } else { 503 }, lines.join("\n"))
}

/// `[+]docker ok`, `[-]containers failed: kasm_agent is restarting`.
fn probe_line(probe: &ProbeStatus) -> String {
    let remedy = probe.remedy.as_ref().map(|remedy| format!(" (help: {remedy})")).unwrap_or_default();
    words::one_line(&match probe.level {
        Level::Ok => format!("[+]{} ok: {}", probe.name, probe.words),
        Level::Unknown => format!("[?]{} unknown: {}", probe.name, probe.words),
        Level::Warn => format!("[!]{} warning: {}{remedy}", probe.name, probe.words),
        Level::Fail => format!("[-]{} failed: {}{remedy}", probe.name, probe.words),
    })
}

impl Known {
    /// Is the node up and does what it is for? And why (not). One that was up is degraded for a while before it has
    /// failed: it is not ready either while something vital fails.
    pub fn readiness(&self) -> (bool, String) {
        match &self.health {
            Some(health) => match health.verdict {
                Verdict::Healthy | Verdict::Degraded => {
                    (!lacks_something_vital(health), format!("{}: {}", health.verdict, health.words))
                }
                Verdict::Failed => (false, format!("{}: {}", health.verdict, health.words)),
                Verdict::Starting => (false, format!("starting: {}", self.doing().unwrap_or(health.words.clone()))),
            },
            None => (false, format!("starting: {}", self.doing().unwrap_or("the node was not looked at yet".into()))),
        }
    }

    /// What the run is doing, or how it ended where that says why there is no node.
    fn doing(&self) -> Option<String> {
        let verb = self.run.verb.as_deref().unwrap_or("a run");
        match self.run.state {
            State::Running => {
                let steps = self.run.steps.iter().filter(|step| step.state == "running");
                let steps: Vec<String> = steps.map(|step| said(&step.name, &step.detail)).collect();
                Some(if steps.is_empty() { format!("{verb} is at work") } else { steps.join("; ") })
            }
            State::Failed => Some(format!("{verb} failed: {}", self.run.detail)),
            State::Interrupted => Some(format!("{verb} was cut off")),
            State::Never | State::Done => None,
        }
    }
}

fn lacks_something_vital(health: &Health) -> bool {
    let fails = |name: &str| health.probe(name).is_some_and(|probe| probe.level == Level::Fail);
    health::probes().iter().any(|probe| probe.vital && fails(probe.name))
}

fn said(step: &str, detail: &str) -> String {
    if detail.is_empty() { step.to_owned() } else { format!("{step}: {detail}") }
}

#[cfg(test)]
mod tests;
