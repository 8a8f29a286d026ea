//! Whom runs are told to: known before the rest of the intent is, because it is about its failures too.

use super::super::error::{Error, quoted};
use super::super::meaning::{self, Meaning};
use super::super::merged::Merged;
use super::super::value::{self, Wrong};
use super::Reader;
use crate::intent::{Events, Form, HostPort, Reporting, WebhookIntent};
use crate::secret::Secret;

/// The shortest secret that events are signed with, in bytes: whoever has one signed event can try shorter ones.
const SHORTEST_SECRET: usize = 16;

impl Merged {
    /// Whom to tell. Nothing else has to be there or right.
    pub fn reporting(&self) -> Result<Reporting, Error> {
        let mut reader = Reader { merged: self, errors: Vec::new(), notes: Vec::new() };
        let reporting = reader.reporting();
        Error::of(reader.errors).map_or(Ok(reporting), Err)
    }
}

impl Merged {
    /// The check-in token and the manager it is for, for those who need no more: both must be there and right.
    pub fn checkin(&self) -> Result<(Secret, HostPort), Error> {
        let mut reader = Reader { merged: self, errors: Vec::new(), notes: Vec::new() };
        const KEY: &str = "manager.checkin_token";
        let token = match self.secret(KEY) {
            Some(Ok(token)) => Some(token.clone()),
            Some(Err(error)) => {
                reader.errors.push(error);
                None
            }
            None => {
                let help = "give --token-file FILE (`-` for standard input), or the systemd credential checkin-token";
                reader.missing(KEY, help, None);
                None
            }
        };
        let help = "give --manager-hostname HOST, or manager.address in the configuration";
        let address = reader.manager_address("manager.address", help);
        let Reader { errors, .. } = reader;
        match (Error::of(errors), token.zip(address)) {
            (None, Some(found)) => Ok(found),
            (Some(error), _) => Err(error),
            (None, None) => Err(Error::Missing { key: KEY, help: help.into(), emptied: None }),
        }
    }
}

impl Reader<'_> {
    pub(super) fn reporting(&mut self) -> Reporting {
        // Who this is said to come from is not worth an error: whoever needs it right says what is wrong with it.
        let mut known = Reader { merged: self.merged, errors: Vec::new(), notes: Vec::new() };
        let role = self.merged.get("role").and_then(|_| known.role());
        let key = known.manager_key(role);
        let network = self.network();
        Reporting {
            role,
            manager: self.merged.get(key).and_then(|_| known.manager_address(key, "")),
            server_id: known.parsed("agent.server_id", value::word),
            provider: known.parsed("agent.provider", value::word),
            checkin_token: self.merged.secret("manager.checkin_token").and_then(Result::ok).and_then(given).cloned(),
            webhook: self.webhook(network.verifies()),
            network,
        }
    }

    fn webhook(&mut self, verifies: bool) -> Option<WebhookIntent> {
        let events = self.parsed("webhook.events", |text| word(&Events::ALL, text, "write all, changes or end"));
        let form = self.parsed("webhook.form", |text| word(&Form::ALL, text, "write events or phone-home"));
        let secret = self.webhook_secret();
        let url = self.parsed("webhook.url", |text| value::webhook(text, verifies))?;
        let (form, events) = (form.unwrap_or_default(), events.unwrap_or_default());
        Some(WebhookIntent { url, form, events, secret })
    }

    fn webhook_secret(&mut self) -> Option<Secret> {
        const KEY: &str = "webhook.secret";
        match self.merged.secret(KEY)? {
            Err(error) => {
                self.errors.push(error);
                None
            }
            Ok(secret) => {
                let secret = given(secret)?;
                if secret.expose().len() < SHORTEST_SECRET {
                    self.errors.push(Error::Value {
                        key: KEY,
                        origin: self.origin(KEY),
                        problem: format!("is shorter than {SHORTEST_SECRET} bytes, and could be guessed"),
                        help: "make one: openssl rand -hex 32".into(),
                    });
                }
                Some(secret.clone())
            }
        }
    }
}

/// The secret, unless a template has left its own words in its place.
fn given(secret: &Secret) -> Option<&Secret> {
    (!matches!(meaning::of(secret.expose()), Meaning::Empty | Meaning::Left(_))).then_some(secret)
}

fn word<T: Copy>(words: &[(&str, T)], text: &str, help: &str) -> Result<T, Wrong> {
    let known = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    known.ok_or_else(|| Wrong { problem: format!("is {}", quoted(text)), help: help.into() })
}

#[cfg(test)]
mod tests {
    use super::super::super::file;
    use super::*;
    use std::path::Path;

    fn reporting(text: &str) -> Result<Reporting, Error> {
        Merged::of([&file::layer(Path::new("/c.toml"), text)]).reporting()
    }

    #[test]
    fn nobody_is_told_where_nothing_is_said_and_templates_may_be_left_in_it() {
        for text in
            ["", "[webhook]\nurl = \"\"\n", "[manager]\ncheckin_token = \"{checkin_jwt}\"\n", "role = \"none\"\n"]
        {
            assert_eq!(reporting(text).unwrap(), Reporting::default(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_webhook_is_said_without_its_address() {
        for (url, more) in [
            ("ftp://host/T0P/KEY", ""),
            ("https://:80/KEY", ""),
            ("http://user:KEY@host/", ""),
            ("https://user:KEY@host/", "[network]\ninsecure = true\n"),
            ("KEY", ""),
        ] {
            let error = reporting(&format!("[webhook]\nurl = \"{url}\"\n{more}")).unwrap_err();
            let failure = crate::error::Failure::from(error);
            assert!(!format!("{failure:?}").contains("KEY"), "{failure:?}");
        }
        let error = reporting("[webhook]\nurl = \"https://host\"\nsecret = \"short\"\n").unwrap_err();
        assert!(error.to_string().contains("shorter than 16 bytes"), "{error}");
        assert!(reporting("[webhook]\nurl = \"https://host\"\nevents = \"some\"\n").is_err());
    }

    #[test]
    fn a_webhook_is_told_changes_in_json_unless_it_is_said_otherwise() {
        let text = "role = \"agent\"\n[agent]\nserver_id = \"s-1\"\n[webhook]\nurl = \"https://user:key@host/x\"\n";
        let found = reporting(text).unwrap();
        let webhook = found.webhook.unwrap();
        assert_eq!((webhook.form, webhook.events, webhook.secret), (Form::Events, Events::Changes, None));
        assert_eq!(found.server_id.as_deref(), Some("s-1"));
    }
}
