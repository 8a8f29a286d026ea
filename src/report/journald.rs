//! A run in journald, with fields to search by: `journalctl KASM_STEP=fetch`, `KASM_RUN=…`,
//! `KASM_REASON=token.placeholder`.

use super::{lines, message};
use crate::health;
use crate::step::{Ending, Entry, Event, View};
use crate::words;
use log::{Level, Log, Record, kv};
use std::time::Duration;
use systemd_journal_logger::{JournalLog, connected_to_journal};

/// The view of journald.
pub struct Journald(JournalLog);

impl Journald {
    /// A view if systemd has connected our standard error to a journald that answers.
    pub fn if_connected() -> Option<Journald> {
        connected_to_journal().then(JournalLog::new)?.ok().map(Journald)
    }
}

impl View for Journald {
    fn event(&mut self, entry: &Entry) {
        let Some(text) = sentence(entry) else { return };
        let fields = fields(entry);
        let pairs: Vec<(&str, kv::Value<'_>)> =
            fields.iter().map(|(name, value)| (*name, kv::Value::from(value.as_str()))).collect();
        let source: &[(&str, kv::Value<'_>)] = &pairs;
        self.0.log(
            &Record::builder()
                .level(level(&entry.event))
                .target("kasm_bootstrap")
                .key_values(&source)
                .args(format_args!("{text}"))
                .build(),
        );
    }
}

fn sentence(entry: &Entry) -> Option<String> {
    match &entry.event {
        Event::StepStarted { step } => Some(format!("{step}: begins")),
        // The answer of a run that ended well is on standard output, which is journald's too.
        Event::RunEnded { exit: 0, .. } => {
            Some(format!("ended well after {}", words::span(Duration::from_millis(entry.ms))))
        }
        Event::RunEnded { detail, .. } => Some(words::one_line(detail)),
        event => lines::sentence(event),
    }
}

fn level(event: &Event) -> Level {
    match event {
        Event::RunEnded { exit: 1.., .. } | Event::StepEnded { ending: Ending::Failed, .. } => Level::Error,
        Event::ProbeChanged { now: health::Level::Fail, .. }
        | Event::HealthChanged { now: health::Verdict::Failed, .. } => Level::Error,
        Event::ProbeChanged { now: health::Level::Warn, .. }
        | Event::HealthChanged { now: health::Verdict::Degraded, .. }
        | Event::HealthMended { done: false, .. } => Level::Warn,
        Event::StepNote { warning: true, .. } | Event::StepEnded { ending: Ending::Warned, .. } => Level::Warn,
        Event::StepOutput { .. } => Level::Debug,
        _ => Level::Info,
    }
}

/// The fields of an entry beside its message.
pub fn fields(entry: &Entry) -> Vec<(&'static str, String)> {
    let mut fields = vec![("KASM_RUN", entry.run.clone()), ("KASM_MS", entry.ms.to_string())];
    fields.extend(message::id(&entry.event).map(|id| ("MESSAGE_ID", id.to_owned())));
    match &entry.event {
        Event::RunStarted { verb, .. } => fields.push(("KASM_VERB", verb.clone())),
        Event::StepStarted { step }
        | Event::StepNote { step, .. }
        | Event::StepOutput { step, .. }
        | Event::StepWaiting { step, .. } => fields.push(("KASM_STEP", step.clone())),
        Event::StepEnded { step, ending, took_ms, .. } => {
            fields.push(("KASM_STEP", step.clone()));
            fields.push(("KASM_ENDING", ending.as_str().into()));
            fields.push(("KASM_TOOK_MS", took_ms.to_string()));
        }
        Event::RunEnded { exit, failure, .. } => {
            fields.push(("KASM_EXIT", exit.to_string()));
            if let Some(failure) = failure {
                fields.push(("KASM_REASON", failure.reason.clone()));
                fields.push(("KASM_HELP", failure.help.clone()));
            }
        }
        Event::ProbeChanged { probe, now, remedy, .. } => {
            fields.push(("KASM_PROBE", probe.clone()));
            fields.push(("KASM_VERDICT", now.as_str().into()));
            fields.extend(remedy.clone().map(|remedy| ("KASM_HELP", remedy)));
        }
        Event::HealthChanged { now, .. } => fields.push(("KASM_VERDICT", now.as_str().into())),
        Event::HealthMended { probe, .. } => fields.push(("KASM_PROBE", probe.clone())),
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Exit, Failure};
    use crate::step::event::VERSION;

    #[test]
    fn a_failure_can_be_found_by_its_reason() {
        let failure = Failure::new(Exit::Token, "token.placeholder", "a placeholder", "mend it");
        let event = Event::RunEnded { exit: 11, detail: "a placeholder".into(), failure: Some(failure) };
        assert_eq!(level(&event), Level::Error);
        let entry = Entry { v: VERSION, run: "r".into(), at: String::new(), ms: 5, event };
        assert!(fields(&entry).contains(&("KASM_REASON", "token.placeholder".into())));
        assert!(fields(&entry).contains(&("KASM_EXIT", "11".into())));
    }
}
