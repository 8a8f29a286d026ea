//! The page for people: how the node is, what to do about it, what the probes say, where the time went. One document
//! that needs nothing else: no script, no resource from anywhere.

use super::super::markup::Markup;
use super::super::status::{State, StepStatus};
use super::super::timeline::{self, Timeline};
use super::super::words_of;
use super::answer::Known;
use crate::error::Failure;
use crate::health::{Health, Level, Verdict};
use crate::words;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::sync::OnceLock;

/// How often the page is loaded again while a run is at work, in seconds.
const REFRESH: &str = "<meta http-equiv=\"refresh\" content=\"3\">";

/// Waits shorter than this are not worth a line, milliseconds; and so many are listed of one step.
const WORTH_A_LINE: u64 = 100;
const MOST_WAITS: usize = 12;

/// The page's own looks. The timeline brings its.
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1f2328;--soft:#59636e;--paper:#fff;--back:#f6f8fa;--line:#d1d9e0;\
--ok:#1a7f37;--warn:#9a6700;--fail:#cf222e;--unknown:#59636e;--info:#0969da;--tint:#fff8e6}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--paper:#0d1117;--back:#010409;--line:#30363d;\
--ok:#3fb950;--warn:#d29922;--fail:#f85149;--unknown:#9198a1;--info:#4493f8;--tint:#1f1a0d}}\
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,-apple-system,\
'Segoe UI',sans-serif;overflow-wrap:anywhere}main{max-width:1020px;margin:0 auto;padding:24px 16px 40px}\
header{display:flex;flex-wrap:wrap;gap:4px 14px;align-items:baseline;margin-bottom:14px}h1{font-size:15px;margin:0;\
color:var(--soft);font-weight:600}h2{font-size:16px;margin:0 0 10px}header p{margin:0;color:var(--soft);font-size:13px}\
section{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:16px 18px;margin:0 0 16px}\
.verdict{display:grid;grid-template-columns:auto 1fr;gap:2px 14px;align-items:center;border-left:6px solid var(--tone)}\
.dot{width:14px;height:14px;border-radius:50%;background:var(--tone)}.verdict strong{font-size:22px;line-height:1.2}\
.verdict p{margin:0;grid-column:2}.soft{color:var(--soft);font-size:13px}.ok{--tone:var(--ok)}.warn{--tone:var(--warn)}\
.fail{--tone:var(--fail)}.unknown{--tone:var(--unknown)}.info{--tone:var(--info)}\
.todo{background:var(--tint)}.todo ol{margin:0;padding-left:20px}.todo li+li{margin-top:8px}.todo b{display:block}\
ul.rows{list-style:none;margin:0;padding:0}ul.rows li{display:grid;grid-template-columns:84px minmax(110px,170px) 1fr;\
gap:0 12px;padding:8px 0;border-top:1px solid var(--line)}ul.rows li:first-child{border-top:0;padding-top:0}\
ul.rows p{margin:0}ul.rows .name{font-weight:600}.tag{justify-self:start;align-self:start;margin-top:2px;font-size:12px;\
line-height:18px;padding:0 8px;border-radius:9px;border:1px solid var(--tone);color:var(--tone)}\
section>p{margin:0 0 6px}.wide{overflow-x:auto;margin:0 -6px}.wide svg{display:block;min-width:720px;width:100%;height:auto}\
footer{color:var(--soft);font-size:13px}a{color:var(--info)}\
@media(max-width:560px){main{padding:14px 10px 28px}section{padding:14px}ul.rows li{grid-template-columns:auto 1fr;\
gap:2px 10px}ul.rows li>div{grid-column:1/-1}}";

/// The Content-Security-Policy of everything that is served: nothing but the page's own style (by its hash) is let in,
/// nothing may be sent anywhere, no other page may frame it.
pub(super) fn policy() -> &'static str {
    static POLICY: OnceLock<String> = OnceLock::new();
    POLICY.get_or_init(|| {
        let hash = STANDARD.encode(Sha256::new().chain_update(STYLE).chain_update(timeline::STYLE).finalize());
        format!(
            "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    })
}

/// The page.
pub(super) fn page(known: &Known) -> String {
    let mut out = Markup::default();
    out.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    if known.run.state == State::Running {
        out.raw(REFRESH).raw("\n");
    }
    // Else a browser asks for an icon of its own accord.
    out.raw("<link rel=\"icon\" href=\"data:,\">\n<title>");
    let (tone, title) = title(known);
    out.raw(title).raw(" – kasm-bootstrap</title>\n<style>").raw(STYLE).raw(timeline::STYLE).raw("</style>\n</head>\n");
    out.raw("<body>\n<main>\n<header><h1>kasm-bootstrap</h1><p>");
    if let Some(role) = known.health.as_ref().and_then(|health| health.role) {
        out.raw("role ").text(role.as_str()).raw(" · ");
    }
    out.raw("version ").raw(env!("CARGO_PKG_VERSION")).raw("</p></header>\n");
    verdict(&mut out, known, tone, title);
    remedies(&mut out, known);
    known.run.error.iter().for_each(|error| failure(&mut out, error));
    if let Some(health) = &known.health {
        probes(&mut out, health);
    }
    run(&mut out, known);
    out.raw("<footer>For programs: <a href=\"/status\">/status</a> <a href=\"/metrics\">/metrics</a> ");
    out.raw("<a href=\"/healthz?verbose\">/healthz?verbose</a> <a href=\"/readyz\">/readyz</a> ");
    out.raw("<a href=\"/livez\">/livez</a></footer>\n</main>\n</body>\n</html>\n");
    out.into_string()
}

/// What it comes to: a colour and a word.
fn title(known: &Known) -> (&'static str, &'static str) {
    match (known.health.as_ref().map(|health| health.verdict), known.run.state) {
        (Some(Verdict::Healthy), _) => ("ok", "Healthy"),
        (Some(Verdict::Degraded), _) => ("warn", "Degraded"),
        (Some(Verdict::Failed), _) => ("fail", "Failed"),
        (_, State::Failed) => ("fail", "Failed"),
        (_, State::Running) => ("info", "At work"),
        (_, State::Interrupted) => ("warn", "Cut off"),
        _ => ("info", "Starting"),
    }
}

fn verdict(out: &mut Markup, known: &Known, tone: &'static str, title: &'static str) {
    out.raw("<section class=\"verdict ").raw(tone).raw("\"><span class=\"dot\"></span><strong>").raw(title);
    out.raw("</strong>\n<p>");
    let (_, why) = known.readiness();
    // The title says the verdict already.
    out.text(why.split_once(": ").map_or(why.as_str(), |(_, words)| words)).raw("</p>\n");
    if let Some(health) = &known.health {
        out.raw("<p class=\"soft\">since ")
            .text(&time(&health.since))
            .raw(" · looked at ")
            .text(&time(&health.checked));
        out.raw("</p>\n");
    }
    out.raw("</section>\n");
}

/// What to do, the worst first.
fn remedies(out: &mut Markup, known: &Known) {
    let mut todo: Vec<(Level, &str, &str)> = Vec::new();
    if let (State::Failed, Some(error)) = (known.run.state, &known.run.error) {
        todo.push((Level::Fail, &error.message, &error.help));
    }
    for probe in known.health.iter().flat_map(|health| &health.probes) {
        if let (Level::Warn | Level::Fail, Some(remedy)) = (probe.level, &probe.remedy)
            && !todo.iter().any(|(_, words, what)| (*words, *what) == (probe.words.as_str(), remedy.as_str()))
        {
            todo.push((probe.level, &probe.words, remedy));
        }
    }
    if todo.is_empty() {
        return;
    }
    todo.sort_by_key(|(level, ..)| std::cmp::Reverse(*level));
    out.raw("<section class=\"todo\"><h2>What to do</h2>\n<ol>\n");
    for (_, words, remedy) in todo {
        out.raw("<li><b>").text(words).raw("</b> ").text(remedy).raw("</li>\n");
    }
    out.raw("</ol></section>\n");
}

fn probes(out: &mut Markup, health: &Health) {
    if health.probes.is_empty() {
        return;
    }
    out.raw("<section><h2>Probes</h2>\n<ul class=\"rows\">\n");
    for probe in &health.probes {
        row(out, tone(probe.level), probe.level.as_str(), &probe.name);
        out.raw("<div><p>").text(&probe.words).raw("</p>");
        if let (Level::Warn | Level::Fail, Some(remedy)) = (probe.level, &probe.remedy) {
            out.raw("<p class=\"soft\">help: ").text(remedy).raw("</p>");
        }
        out.raw("<p class=\"soft\">since ").text(&time(&probe.since)).raw("</p></div></li>\n");
    }
    out.raw("</ul></section>\n");
}

fn tone(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Unknown => "unknown",
        Level::Warn => "warn",
        Level::Fail => "fail",
    }
}

fn row(out: &mut Markup, tone: &'static str, tag: &'static str, name: &str) {
    out.raw("<li><span class=\"tag ").raw(tone).raw("\">").raw(tag).raw("</span><span class=\"name\">").text(name);
    out.raw("</span>");
}

fn run(out: &mut Markup, known: &Known) {
    let status = &known.run;
    if status.verb.is_none() {
        return;
    }
    let timeline = Timeline::of(status);
    out.raw("<section><h2>").text(&timeline.headline()).raw("</h2>\n<p class=\"soft\">run ");
    out.text(status.run.as_deref().unwrap_or_default()).raw(", started ");
    out.text(&time(status.started.as_deref().unwrap_or_default()));
    if let Some(resumes) = &status.resumes {
        out.raw(", going on from run ").text(resumes);
    }
    out.raw("</p>\n<div class=\"wide\">").piece(&timeline.drawing()).raw("</div></section>\n");
    out.raw("<section><h2>Steps</h2>\n<ul class=\"rows\">\n");
    status.steps.iter().for_each(|step| one_step(out, known, step));
    out.raw("</ul></section>\n");
}

fn failure(out: &mut Markup, error: &Failure) {
    out.raw("<section><h2>Why it failed</h2>\n<p>").text(&error.message).raw(" [").text(&error.reason).raw("]</p>\n");
    for line in error.causes.iter().flat_map(|cause| cause.lines()) {
        out.raw("<p class=\"soft\">because: ").text(line).raw("</p>\n");
    }
    out.raw("</section>\n");
}

fn one_step(out: &mut Markup, known: &Known, step: &StepStatus) {
    let tone = match step.state {
        "done" => "ok",
        "running" => "info",
        "warned" => "warn",
        "failed" => "fail",
        _ => "unknown",
    };
    row(out, tone, step.state, &step.name);
    out.raw("<div><p>").text(&step.detail).raw("</p>");
    if let Some(of) = known.progress.iter().find(|of| of.step == step.name && step.state == "running") {
        out.raw("<p class=\"soft\">").text(&words::bytes(of.done));
        if let Some(total) = of.total {
            out.raw(" of ").text(&words::bytes(total));
        }
        out.raw("</p>");
    }
    for warning in step.warnings.iter().filter(|warning| **warning != step.detail) {
        out.raw("<p class=\"soft\">warning: ").text(warning).raw("</p>");
    }
    for wait in step.waits.iter().filter(|wait| wait.took_ms() >= WORTH_A_LINE).take(MOST_WAITS) {
        out.raw("<p class=\"soft\">").text(&words_of(wait.took_ms())).raw(" waiting for ").text(&wait.words());
        out.raw("</p>");
    }
    if step.began_ms.is_some() && step.state != "skipped" {
        out.raw("<p class=\"soft\">").text(&words_of(step.took_ms)).raw("</p>");
    }
    out.raw("</div></li>\n");
}

/// `2026-01-02T03:04:05.678Z` as `2026-01-02 03:04:05 UTC`; whatever else as it is.
fn time(at: &str) -> String {
    match (at.split_once('T'), at.strip_suffix('Z')) {
        (Some((date, clock)), Some(_)) if at.len() <= 40 => {
            let clock = clock.trim_end_matches('Z');
            format!("{date} {} UTC", clock.split_once('.').map_or(clock, |(clock, _)| clock))
        }
        _ => at.to_owned(),
    }
}
