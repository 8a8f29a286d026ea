//! Whom runs are told to: known before the rest of the intent is, because it is about its failures too.

use super::MANAGER_HELP;
use super::reader::Reader;
use crate::config::error::Error;
use crate::config::meaning::{self, Meaning};
use crate::config::merged::Merged;
use crate::config::value::{self, Wrong};
use crate::intent::{Events, Form, HostPort, Reporting, WebhookIntent};
use crate::secret::Secret;

/// The shortest secret that events are signed with, in bytes: whoever has one signed event can try shorter ones.
const SHORTEST_SECRET: usize = 16;

impl Merged {
    /// Whom to tell. Nothing else has to be there or right.
    pub fn reporting(&self) -> Result<Reporting, Error> {
        self.read(Reader::reporting)
    }

    /// The check-in token and the manager it is for, for those who need no more: both must be there and right.
    pub fn checkin(&self) -> Result<(Secret, HostPort), Error> {
        let missing = || {
            let help = "give --token-file FILE (`-` for standard input), or the systemd credential checkin-token";
            Error::not_set("manager.checkin_token", help)
        };
        let found = self.read(|reader| {
            let token = self.secret("manager.checkin_token").unwrap_or_else(|| Err(missing()));
            let token = reader.keep(token).cloned();
            token.zip(reader.manager_address("manager.address", MANAGER_HELP))
        })?;
        // What is missing or wrong was an error.
        found.ok_or_else(missing)
    }
}

impl Reader<'_> {
    pub(super) fn reporting(&mut self) -> Reporting {
        // Who this is said to come from is not worth an error: whoever needs it right says what is wrong with it.
        let mut known = Reader::of(self.merged);
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
        let events = self.choice("webhook.events", &Events::ALL);
        let form = self.choice("webhook.form", &Form::ALL);
        let secret = self.webhook_secret();
        let url = self.parsed("webhook.url", |text| value::webhook(text, verifies))?;
        let (form, events) = (form.unwrap_or_default(), events.unwrap_or_default());
        Some(WebhookIntent { url, form, events, secret })
    }

    fn webhook_secret(&mut self) -> Option<Secret> {
        const KEY: &str = "webhook.secret";
        let secret = given(self.keep(self.merged.secret(KEY)?)?)?;
        if secret.expose().len() < SHORTEST_SECRET {
            let wrong = Wrong {
                problem: format!("is shorter than {SHORTEST_SECRET} bytes, and could be guessed"),
                help: "make one: openssl rand -hex 32".into(),
            };
            self.refuse(wrong.at(KEY, &self.origin(KEY)));
        }
        Some(secret.clone())
    }
}

/// The secret, unless a template has left its own words in its place.
fn given(secret: &Secret) -> Option<&Secret> {
    (!matches!(meaning::of(secret.expose()), Meaning::Empty | Meaning::Left(_))).then_some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file;
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
