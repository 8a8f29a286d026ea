//! What a webhook is told: the body of each event, free of secrets and of a bounded length.

use super::spool::{Kind, LONGEST};
use crate::durable;
use crate::intent::{Events, Form, Reporting, Role, WebhookIntent};
use crate::machine::instance::Identity;
use crate::machine::kernel::boot_id;
use crate::machine::names;
use crate::paths::Paths;
use crate::step::{Ending, Entry, Event};
use crate::token::Masker;
use crate::words;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write;

/// The form of the documents; it counts up when a field changes its meaning.
pub const SCHEMA: u32 = 1;
/// No text in a document is longer, in characters.
const LONGEST_TEXT: usize = 2_000;
/// No file that is asked for a node's keys is longer.
const LONGEST_FILE: u64 = 64 * 1024;

/// Who tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// The machine's name.
    pub hostname: String,
    /// `agent` or `guac`, where it is known.
    pub role: Option<&'static str>,
    /// The autoscaler's identifier of this server.
    pub server_id: Option<String>,
    /// The autoscaler's provider name.
    pub provider: Option<String>,
    /// Which instance this is, and who says so: `cloud-init:i-0abc`.
    pub instance: Option<String>,
    /// The kernel's identifier of this boot (random(4)).
    pub boot: String,
}

impl Node {
    /// This machine, as it is now: at its start its name and instance are known late.
    pub fn here(paths: &Paths, reporting: &Reporting) -> Node {
        Node {
            hostname: names::hostname(),
            role: reporting.role.map(Role::as_str),
            server_id: reporting.server_id.clone(),
            provider: reporting.provider.clone(),
            instance: Identity::find(paths, None).best().map(ToString::to_string),
            boot: boot_id(),
        }
    }
}

/// True if this webhook is told of such an event.
pub fn is_wanted(webhook: &WebhookIntent, event: &Event) -> bool {
    let ended = matches!(event, Event::RunEnded { .. });
    if webhook.form == Form::PhoneHome {
        return matches!(event, Event::RunEnded { exit: 0, .. });
    }
    match webhook.events {
        Events::End => ended,
        Events::All => !matches!(event, Event::StepOutput { .. }),
        Events::Changes => {
            ended
                || matches!(
                    event,
                    Event::RunStarted { .. }
                        | Event::StepNote { warning: true, .. }
                        | Event::StepEnded { ending: Ending::Warned | Ending::Failed, .. }
                        | Event::HealthMended { .. }
                )
                // Other words for the same verdict: how long something lasts, which probe beside it.
                || matches!(event, Event::HealthChanged { before, now, .. } if *before != Some(*now))
        }
    }
}

/// An event's identifier: by it a receiver knows what it was told already.
pub fn identifier() -> Option<String> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(words::hex(&bytes))
}

/// The document of an event, and what kind it is. `lost`: how many events before it nobody will be told.
pub fn document(id: &str, entry: &Entry, node: &Node, lost: u64, masker: &Masker) -> (Kind, Vec<u8>) {
    let kind = if matches!(entry.event, Event::RunEnded { .. }) { Kind::End } else { Kind::Event };
    let whole = |event: Value| {
        json!({
            "schema": SCHEMA,
            "id": id,
            "at": entry.at,
            "run": entry.run,
            "ms": entry.ms,
            "version": env!("CARGO_PKG_VERSION"),
            "lost": lost,
            "node": node,
            "event": event,
        })
    };
    let mut document = whole(serde_json::to_value(&entry.event).unwrap_or_default());
    clean(&mut document, masker);
    let mut bytes = document.to_string().into_bytes();
    if bytes.len() as u64 > LONGEST {
        // Many texts, each within its bound: what happened is told all the same.
        let name = document["event"]["event"].take();
        bytes = whole(json!({ "event": name, "shortened": true })).to_string().into_bytes();
    }
    (kind, bytes)
}

/// Hides what has the look of a secret, and shortens what is too long.
fn clean(value: &mut Value, masker: &Masker) {
    match value {
        Value::String(text) => {
            let masked = masker.mask(text);
            *text = match masked.chars().nth(LONGEST_TEXT) {
                Some(_) => masked.chars().take(LONGEST_TEXT).chain(['…']).collect(),
                None => masked.into_owned(),
            };
        }
        Value::Array(items) => items.iter_mut().for_each(|item| clean(item, masker)),
        Value::Object(fields) => fields.values_mut().for_each(|field| clean(field, masker)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The form that cloud-init's module `phone_home` sends with `post: all` (its documentation, "Module reference, Phone
/// Home"): the machine's public host keys, instance and names. What is not known is `N/A`.
pub fn phone_home(paths: &Paths) -> Vec<u8> {
    let key = |kind: &str| text(paths, &format!("/etc/ssh/ssh_host_{kind}_key.pub"));
    let fields = [
        ("pub_key_rsa", key("rsa")),
        ("pub_key_ecdsa", key("ecdsa")),
        ("pub_key_ed25519", key("ed25519")),
        ("instance_id", Identity::find(paths, None).best().map(|instance| instance.id.clone())),
        ("fqdn", Some(names::full_name(paths))),
        ("hostname", Some(names::hostname())),
    ];
    form(fields.iter().map(|(name, value)| (*name, value.as_deref().unwrap_or("N/A")))).into_bytes()
}

fn text(paths: &Paths, path: &str) -> Option<String> {
    String::from_utf8(durable::read(&paths.at(path), LONGEST_FILE).ok()?).ok()
}

/// `application/x-www-form-urlencoded` (URL Standard, 5.2).
fn form<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut form = String::new();
    for (name, value) in fields {
        if !form.is_empty() {
            form.push('&');
        }
        encode(name, &mut form);
        form.push('=');
        encode(value, &mut form);
    }
    form
}

fn encode(text: &str, form: &mut String) {
    for byte in text.bytes() {
        match byte {
            b' ' => form.push('+'),
            b'*' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => form.push(char::from(byte)),
            // Writing into a text cannot fail.
            _ => drop(write!(form, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Exit, Failure};
    use crate::health::Verdict;
    use crate::secret::Secret;
    use crate::step::event::VERSION;
    use proptest::prelude::*;

    fn entry(event: Event) -> Entry {
        Entry { v: VERSION, run: "5f0c21aa".into(), at: "2026-01-02T03:04:05.678Z".into(), ms: 7, event }
    }

    fn node() -> Node {
        Node {
            hostname: "kasm-1".into(),
            role: Some("agent"),
            server_id: Some("s-1".into()),
            provider: None,
            instance: Some("cloud-init:i-0abc".into()),
            boot: "b".into(),
        }
    }

    #[test]
    fn a_failure_is_told_whole_and_without_its_secrets() {
        let mut failure = Failure::new(Exit::Installer, "installer.failed", "it failed", "read installer.log");
        failure.causes = vec!["its last words were token: Zq7Wk3Rt9Xv5Lm1Pn8Bd".into(), "x".repeat(5_000)];
        let event = Event::RunEnded { exit: 18, detail: "it failed".into(), failure: Some(failure) };
        let secret = Secret::new("it-is-a-secret");
        let (kind, bytes) = document("0".repeat(32).as_str(), &entry(event), &node(), 3, &Masker::new([&secret]));
        assert_eq!(kind, Kind::End);
        let mut told: Value = serde_json::from_slice(&bytes).unwrap();
        let long = told["event"]["failure"]["causes"][1].take();
        assert_eq!(long.as_str().unwrap().chars().count(), LONGEST_TEXT + 1);
        told["version"] = "0.1.0".into();
        insta::assert_snapshot!(told.to_string(), @r#"{"schema":1,"id":"00000000000000000000000000000000","at":"2026-01-02T03:04:05.678Z","run":"5f0c21aa","ms":7,"version":"0.1.0","lost":3,"node":{"hostname":"kasm-1","role":"agent","server_id":"s-1","provider":null,"instance":"cloud-init:i-0abc","boot":"b"},"event":{"event":"run.ended","exit":18,"detail":"it failed","failure":{"reason":"installer.failed","message":"it failed","causes":["its last words were token: [masked]",null],"help":"read installer.log","exit":18}}}"#);
    }

    #[test]
    fn an_event_of_many_long_texts_is_told_by_its_name() {
        let steps = (0..200).map(|_| "x".repeat(1_000)).collect();
        let event = Event::RunStarted {
            verb: "install".into(),
            fingerprint: String::new(),
            version: String::new(),
            boot: String::new(),
            uptime_ms: None,
            pid: 1,
            budget_ms: 0,
            resumes: None,
            steps,
        };
        let (_, bytes) = document("id", &entry(event), &node(), 0, &Masker::new([]));
        let told: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(told["event"], json!({ "event": "run.started", "shortened": true }));
    }

    #[test]
    fn only_what_changes_something_is_told_unless_more_is_asked_for() {
        let webhook = |form, events| WebhookIntent { url: Secret::new("https://h"), form, events, secret: None };
        let wanted = |webhook: &WebhookIntent| {
            let step = || "fetch".to_owned();
            let note = |warning| Event::StepNote { step: step(), text: String::new(), warning };
            let ended = |ending| Event::StepEnded { step: step(), ending, detail: String::new(), took_ms: 0 };
            let over = |exit| Event::RunEnded { exit, detail: String::new(), failure: None };
            let output = Event::StepOutput { step: step(), line: String::new() };
            [note(false), note(true), ended(Ending::Done), ended(Ending::Failed), over(0), over(18), output]
                .map(|event| u8::from(is_wanted(webhook, &event)))
        };
        assert_eq!(wanted(&webhook(Form::Events, Events::Changes)), [0, 1, 0, 1, 1, 1, 0]);
        assert_eq!(wanted(&webhook(Form::Events, Events::All)), [1, 1, 1, 1, 1, 1, 0]);
        assert_eq!(wanted(&webhook(Form::Events, Events::End)), [0, 0, 0, 0, 1, 1, 0]);
        assert_eq!(wanted(&webhook(Form::PhoneHome, Events::All)), [0, 0, 0, 0, 1, 0, 0]);
        let health = |before| Event::HealthChanged { before, now: Verdict::Degraded, words: String::new() };
        for (before, changes) in [(None, true), (Some(Verdict::Healthy), true), (Some(Verdict::Degraded), false)] {
            assert_eq!(is_wanted(&webhook(Form::Events, Events::Changes), &health(before)), changes, "{before:?}");
            assert!(is_wanted(&webhook(Form::Events, Events::All), &health(before)));
        }
    }

    #[test]
    fn the_form_of_phone_home_has_the_keys_and_names_of_the_machine() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        std::fs::create_dir_all(paths.at("/etc/ssh")).unwrap();
        std::fs::write(paths.at("/etc/ssh/ssh_host_ed25519_key.pub"), "ssh-ed25519 AAAA+/= root@h\n").unwrap();
        let told = String::from_utf8(phone_home(&paths)).unwrap();
        let begins = "pub_key_rsa=N%2FA&pub_key_ecdsa=N%2FA&pub_key_ed25519=ssh-ed25519+AAAA%2B%2F%3D+root%40h%0A&instance_id=N%2FA&fqdn=";
        assert!(told.starts_with(begins), "{told}");
    }

    proptest! {
        #[test]
        fn what_is_encoded_reads_as_it_was(name in "\\PC{1,20}", value in any::<String>()) {
            let url = format!("http://h/?{}", form([(name.as_str(), value.as_str())].into_iter()));
            let read: Vec<_> = reqwest::Url::parse(&url).unwrap().query_pairs().into_owned().collect();
            prop_assert_eq!(read, [(name, value)]);
        }

        #[test]
        fn every_document_is_within_its_bound(text in any::<String>(), many in 1usize..100) {
            let event = Event::StepNote { step: "s".into(), text: text.repeat(many), warning: true };
            let (_, bytes) = document("id", &entry(event), &node(), 0, &Masker::new([]));
            prop_assert!(bytes.len() as u64 <= LONGEST);
            prop_assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
        }
    }
}
