//! All probes at once, for those who want to know now.

use super::model::{Health, ProbeStatus};
use super::probe::{Context, Probe};
use super::probes::all;
use super::verdict::{Past, Standing, judge};
use crate::words;
use futures_util::future::join_all;

/// Every probe, in the order in which a person would want to read them.
pub fn probes() -> Vec<Probe> {
    all()
}

/// Asks all probes side by side, each within its own limit, and says what they mean together. No answer is doubted:
/// one blip is an alarm here. `before`: what was known before, of which the times are kept where nothing has changed.
pub async fn ask_all(context: &Context, before: Option<&Health>) -> Health {
    let all = all();
    let asked = all.iter().map(|probe| async move {
        let before = before.and_then(|health| health.probe(probe.name));
        let (finding, took) = probe.answer(context, before).await;
        let now = words::now();
        ProbeStatus {
            name: probe.name.to_owned(),
            level: finding.level,
            words: finding.words,
            since: before.filter(|before| before.level == finding.level).map_or(&now, |before| &before.since).clone(),
            remedy: finding.remedy,
            checked: now,
            took_ms: words::millis(took),
            measures: finding.measures,
        }
    });
    let statuses = join_all(asked).await;
    let role = match context.role {
        Some(role) => Some(role),
        None => context.node("role").await.ok().and_then(|node| node.role),
    };
    let standings: Vec<Standing<'_>> =
        all.iter().zip(&statuses).map(|(probe, status)| Standing { status, vital: probe.vital }).collect();
    let past = Past { started: context.started, was: before.map(|before| before.verdict), lasting: false };
    let (verdict, words) = judge(&standings, past);
    let now = words::now();
    let since = before.filter(|before| before.verdict == verdict).map_or(&now, |before| &before.since).clone();
    Health { schema: Health::SCHEMA, verdict, words, since, role, checked: now, probes: statuses }
}
