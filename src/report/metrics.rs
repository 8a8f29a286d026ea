//! The run and the node's health as metrics: the text format of Prometheus, version 0.0.4 ("Exposition formats" in its
//! documentation), or OpenMetrics 1.0. Names and units go by Prometheus's "Metric and label naming": base units, the
//! unit last, `_total` behind what only grows.

use super::status::{State, Status};
use crate::health::{Health, Level, ProbeStatus, Verdict};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What every name begins with.
pub const PREFIX: &str = "kasm_bootstrap_";
/// So many different numbers of probes are shown.
const MOST_MEASURES: usize = 1_000;
/// The longest value of a label, in characters.
const LONGEST: usize = 200;

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's own text format, 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    Open,
}

impl Format {
    /// The format that whoever sends this `Accept` header understands.
    pub fn accepted(accept: &str) -> Format {
        if accept.contains("application/openmetrics-text") { Format::Open } else { Format::Text }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::Open => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// How far a step is, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The step.
    pub step: String,
    /// So many are through.
    pub done: u64,
    /// Of so many, where that is known.
    pub total: Option<u64>,
}

/// Everything that is known, as metrics.
pub fn render(run: &Status, health: Option<&Health>, progress: &[Progress], spooled: usize, format: Format) -> String {
    let mut out = Exposition { text: String::new(), format };
    about_us(&mut out, spooled);
    about_the_run(&mut out, run, progress);
    if let Some(health) = health {
        about_health(&mut out, health);
        about_probes(&mut out, &health.probes);
        measures(&mut out, &health.probes);
    }
    if format == Format::Open {
        out.text.push_str("# EOF\n");
    }
    out.text
}

fn about_us(out: &mut Exposition, spooled: usize) {
    let version = env!("CARGO_PKG_VERSION");
    out.family("build_info", "gauge", "This program; the value is always 1.");
    out.sample("build_info", &[("version", version)], 1.0);
    out.family("webhook_spooled", "gauge", "So many events wait on the disk for the webhook's receiver.");
    out.sample("webhook_spooled", &[], spooled as f64);
}

fn about_the_run(out: &mut Exposition, run: &Status, progress: &[Progress]) {
    out.family("run_state", "gauge", "How the last run stands: 1 for the state that it is in, 0 for the others.");
    for state in [State::Never, State::Running, State::Done, State::Failed, State::Interrupted] {
        out.sample("run_state", &[("state", state.as_str())], flag(run.state == state));
    }
    let Some(verb) = &run.verb else { return };
    out.family("run_info", "gauge", "What the last run was to do; the value is always 1.");
    out.sample("run_info", &[("verb", verb)], 1.0);
    if let Some(started) = run.started.as_deref().and_then(seconds) {
        out.family("run_started_timestamp_seconds", "gauge", "When the last run began, by the wall clock.");
        out.sample("run_started_timestamp_seconds", &[], started);
    }
    if let Some(uptime) = run.uptime_ms {
        out.family("run_uptime_at_start_seconds", "gauge", "How long the kernel had been running when it began.");
        out.sample("run_uptime_at_start_seconds", &[], from_ms(uptime));
    }
    out.family("run_duration_seconds", "gauge", "How long the last run took, or has taken so far.");
    out.sample("run_duration_seconds", &[], from_ms(run.took_ms));
    out.family("run_budget_seconds", "gauge", "How long the last run could take at most.");
    out.sample("run_budget_seconds", &[], from_ms(run.budget_ms));
    let exit = match run.state {
        State::Done => Some(0),
        State::Failed => Some(run.error.as_ref().map_or(1, |error| error.code)),
        State::Never | State::Running | State::Interrupted => None,
    };
    if let Some(exit) = exit {
        out.family("run_exit_code", "gauge", "What the last run ended with, by the table of exit codes.");
        out.sample("run_exit_code", &[], f64::from(exit));
    }
    about_the_steps(out, run, progress);
}

fn about_the_steps(out: &mut Exposition, run: &Status, progress: &[Progress]) {
    let begun = || run.steps.iter().filter(|step| step.began_ms.is_some() && step.state != "skipped");
    if begun().next().is_some() {
        out.family("step_duration_seconds", "gauge", "How long a step of the last run took, or has taken so far.");
        begun().for_each(|step| out.sample("step_duration_seconds", &[("step", &step.name)], from_ms(step.took_ms)));
        out.family("step_waiting_seconds", "gauge", "How much of that it spent waiting for something.");
        for step in begun() {
            let waited = step.waits.iter().map(|wait| wait.to_ms.unwrap_or(run.took_ms).saturating_sub(wait.from_ms));
            let waited = waited.fold(0, u64::saturating_add);
            out.sample("step_waiting_seconds", &[("step", &step.name)], from_ms(waited));
        }
        out.family("step_state", "gauge", "How a step of the last run stands; the value is always 1.");
        begun().for_each(|step| out.sample("step_state", &[("step", &step.name), ("state", step.state)], 1.0));
    }
    if !progress.is_empty() {
        out.family("step_progress_bytes", "gauge", "So many bytes are through in a step.");
        progress.iter().for_each(|of| out.sample("step_progress_bytes", &[("step", &of.step)], of.done as f64));
        out.family("step_size_bytes", "gauge", "So many bytes there are in a step, where that is known.");
        let known = progress.iter().filter_map(|of| of.total.map(|total| (of, total)));
        known.for_each(|(of, total)| out.sample("step_size_bytes", &[("step", &of.step)], total as f64));
    }
}

fn about_health(out: &mut Exposition, health: &Health) {
    out.family("health_verdict", "gauge", "What all probes mean: 1 for the verdict that holds, 0 for the others.");
    for verdict in [Verdict::Starting, Verdict::Healthy, Verdict::Degraded, Verdict::Failed] {
        out.sample("health_verdict", &[("verdict", verdict.as_str())], flag(health.verdict == verdict));
    }
    if let Some(since) = seconds(&health.since) {
        out.family("health_since_timestamp_seconds", "gauge", "Since when the verdict holds.");
        out.sample("health_since_timestamp_seconds", &[], since);
    }
    if let Some(checked) = seconds(&health.checked) {
        out.family("health_checked_timestamp_seconds", "gauge", "When the node was looked at last.");
        out.sample("health_checked_timestamp_seconds", &[], checked);
    }
}

fn about_probes(out: &mut Exposition, probes: &[ProbeStatus]) {
    // One name twice would be no exposition at all.
    let mut known: BTreeMap<&str, &ProbeStatus> = BTreeMap::new();
    for probe in probes {
        known.entry(&probe.name).or_insert(probe);
    }
    if known.is_empty() {
        return;
    }
    out.family("probe_level", "gauge", "How a probe stands: 1 for the level that it has, 0 for the others.");
    for (name, probe) in &known {
        for level in [Level::Ok, Level::Unknown, Level::Warn, Level::Fail] {
            out.sample("probe_level", &[("probe", name), ("level", level.as_str())], flag(probe.level == level));
        }
    }
    type Read = fn(&ProbeStatus) -> Option<f64>;
    let when: [(&str, &str, Read); 3] = [
        ("probe_since_timestamp_seconds", "Since when a probe stands as it does.", |probe| seconds(&probe.since)),
        ("probe_checked_timestamp_seconds", "When a probe was asked last.", |probe| seconds(&probe.checked)),
        ("probe_duration_seconds", "How long its last answer took.", |probe| Some(from_ms(probe.took_ms))),
    ];
    for (family, help, value) in when {
        out.family(family, "gauge", help);
        for (name, probe) in &known {
            if let Some(value) = value(probe) {
                out.sample(family, &[("probe", name)], value);
            }
        }
    }
}

/// The numbers of all probes, one family a name, none twice.
fn measures(out: &mut Exposition, probes: &[ProbeStatus]) {
    type Series<'a> = BTreeMap<Option<(String, &'a str)>, f64>;
    let mut families: BTreeMap<String, (&str, Series<'_>)> = BTreeMap::new();
    let all = probes.iter().flat_map(|probe| probe.measures.iter().map(move |measure| (probe, measure)));
    for (probe, measure) in all.take(MOST_MEASURES) {
        let name = name_of(&measure.name);
        if OURS.contains(&name.as_str()) {
            continue;
        }
        let label = measure.of.as_ref().map(|(label, thing)| (name_of(label), thing.as_str()));
        families.entry(name).or_insert_with(|| (&probe.name, Series::new())).1.entry(label).or_insert(measure.value);
    }
    for (name, (probe, series)) in families {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        out.family(&name, kind, &format!("Read by the probe {probe}."));
        for (label, value) in series {
            let labels: Vec<(&str, &str)> = label.iter().map(|(name, thing)| (name.as_str(), *thing)).collect();
            out.sample(&name, &labels, value);
        }
    }
}

/// The names of this module, without the prefix: no probe's number may have one of them.
pub const OURS: [&str; 21] = [
    "build_info",
    "webhook_spooled",
    "run_state",
    "run_info",
    "run_started_timestamp_seconds",
    "run_uptime_at_start_seconds",
    "run_duration_seconds",
    "run_budget_seconds",
    "run_exit_code",
    "step_duration_seconds",
    "step_waiting_seconds",
    "step_state",
    "step_progress_bytes",
    "step_size_bytes",
    "health_verdict",
    "health_since_timestamp_seconds",
    "health_checked_timestamp_seconds",
    "probe_level",
    "probe_since_timestamp_seconds",
    "probe_checked_timestamp_seconds",
    "probe_duration_seconds",
];

struct Exposition {
    text: String,
    format: Format,
}

impl Exposition {
    /// What comes is of this family.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // In OpenMetrics a counter's family has no `_total`, and only what is about the family has its name.
        let family = match self.format {
            Format::Open if kind == "counter" => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        self.text.push_str("# HELP ");
        self.text.push_str(PREFIX);
        self.text.push_str(family);
        self.text.push(' ');
        self.escaped(help);
        // Writing to a string cannot fail.
        let _ = write!(self.text, "\n# TYPE {PREFIX}{family} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(PREFIX);
        self.text.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            self.escaped(text);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        self.text.push(' ');
        self.number(value);
        self.text.push('\n');
    }

    /// As between the quotes of a label; the text format of help has the same escapes but for the quotes, which ours do
    /// not hold.
    fn escaped(&mut self, text: &str) {
        for c in crate::words::one_line(text).chars().take(LONGEST) {
            match c {
                '\\' => self.text.push_str("\\\\"),
                '"' => self.text.push_str("\\\""),
                c => self.text.push(c),
            }
        }
    }

    fn number(&mut self, value: f64) {
        match value {
            value if value.is_nan() => self.text.push_str("NaN"),
            f64::INFINITY => self.text.push_str("+Inf"),
            f64::NEG_INFINITY => self.text.push_str("-Inf"),
            // Writing to a string cannot fail.
            value => drop(write!(self.text, "{value}")),
        }
    }
}

/// A name as a metric or label may have it: what is no letter or digit becomes `_`.
fn name_of(name: &str) -> String {
    let sound = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let name: String = name.chars().take(LONGEST).map(sound).collect();
    match name.as_bytes().first() {
        None | Some(b'0'..=b'9') => format!("_{name}"),
        Some(_) => name,
    }
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

fn from_ms(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// RFC 3339 as seconds since 1970.
fn seconds(text: &str) -> Option<f64> {
    text.parse::<jiff::Timestamp>().ok().map(|time| time.as_millisecond() as f64 / 1000.0)
}
