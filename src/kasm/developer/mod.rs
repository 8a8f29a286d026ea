//! An agent's settings in the manager, by its developer API (docs/kasm-facts.md, 6): how many processors and how much
//! memory it is counted with, and whether sessions may start on it.
//!
//! The key opens more than this, so it goes to nobody who has not proved who it is, and nothing here shows it.

mod answers;
mod error;

pub use answers::{Agent, Found, Me, Wanted, agents, find};
pub use error::Error;

use super::checkin::objection;
use super::manager::{Manager, Reply};
use super::version::{Version, version};
use crate::deadline::Deadline;
use crate::intent::HostPort;
use crate::net::retry::Backoff;
use crate::net::{self, Confidential};
use crate::observe::{Observer, Wait};
use crate::paths::Paths;
use crate::secret::Secret;
use crate::token::Masker;
use reqwest::StatusCode;
use serde::Serialize;
use serde_json::Value;

/// No answer is longer, in bytes: thousands of agents fit.
const LONGEST_BODY: usize = 8 << 20;
/// An answer to a change is as short as this.
const NOTHING: &[u8] = b"{}";

/// The first version of Kasm that takes the key as HTTP Basic authentication.
const BASIC_SINCE: Version = (1, 20, 0);

/// Where the key stands in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In its body: up to 1.19.
    Body,
    /// As HTTP Basic authentication: from 1.20 on.
    Basic,
}

impl Form {
    /// The form that a version of Kasm takes; where none is known, the older one.
    pub fn of(version: Option<&str>) -> Form {
        match version.and_then(self::version) {
            Some(version) if version >= BASIC_SINCE => Form::Basic,
            _ => Form::Body,
        }
    }

    fn other(self) -> Form {
        match self {
            Form::Body => Form::Basic,
            Form::Basic => Form::Body,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// Nothing was sent: it was so already.
    Already,
    /// It was changed: what, in words.
    Changed(String),
}

/// A manager, and the key to its developer API.
#[derive(Debug)]
pub struct Developer {
    paths: Paths,
    manager: Manager,
    network: net::Options,
    key: Secret,
    secret: Secret,
    form: Form,
}

/// A request with the key in its body.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key_secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_agent: Option<&'a Value>,
}

impl Developer {
    /// Nothing is asked yet. The form is the one of the version installed here: Kasm's servers are of one version.
    pub fn new(
        paths: &Paths,
        address: &HostPort,
        network: &net::Options,
        (key, secret): (&Secret, &Secret),
        form: Form,
    ) -> Developer {
        let manager = Manager::new(paths, address, network);
        Developer {
            paths: paths.clone(),
            manager,
            network: network.clone(),
            key: key.clone(),
            secret: secret.clone(),
            form,
        }
    }

    /// Sees that the manager has this agent as wanted: waits until it lists it, changes what differs, and looks whether
    /// that took effect. Nothing is sent where nothing differs.
    ///
    /// # Errors
    /// What cannot pass, at once; otherwise the last thing that kept it from being done until the deadline.
    pub async fn apply(
        &mut self,
        me: &Me,
        wanted: &Wanted,
        deadline: Deadline,
        observer: &dyn Observer,
    ) -> Result<Applied, Error> {
        let agent = self.listed(me, deadline, observer).await?;
        let Some(change) = agent.change(wanted) else { return Ok(Applied::Already) };
        observer.note(&format!("telling manager {}: {}", self.manager.name(), agent.difference(wanted)));
        self.ask("update_agent", Some(&change), deadline).await?;
        let after = self.listed(me, deadline, observer).await?;
        match after.change(wanted) {
            None => Ok(Applied::Changed(agent.difference(wanted))),
            Some(_) => Err(Error::Unchanged { manager: self.manager.name(), what: after.difference(wanted) }),
        }
    }

    /// This agent, as soon as the manager lists it.
    async fn listed(&mut self, me: &Me, deadline: Deadline, observer: &dyn Observer) -> Result<Agent, Error> {
        let mut backoff = Backoff::default();
        let mut tried_both = false;
        loop {
            let manager = self.manager.name();
            let error = match self.ask("get_agents", None, deadline).await {
                Ok(body) => {
                    let list = agents(&body).map_err(|why| Error::Failed {
                        manager: manager.clone(),
                        said: why,
                        asked: None,
                        may_pass: false,
                    })?;
                    match find(&list, me) {
                        Found::One(agent) => return Ok(agent.clone()),
                        Found::None => Error::NotListed { manager, who: me.to_string() },
                        Found::Several(count) => return Err(Error::Ambiguous { manager, who: me.to_string(), count }),
                    }
                }
                // The manager may be of another version than this agent.
                Err(Error::Refused { .. }) if !tried_both => {
                    tried_both = true;
                    self.form = self.form.other();
                    continue;
                }
                Err(error) if !error.heals() => return Err(error),
                Err(error) => error,
            };
            let pause = backoff.next_delay().max(error.asked().unwrap_or_default());
            if pause >= deadline.remaining() {
                return Err(error);
            }
            let what = format!("manager {} to list this agent", self.manager.name());
            observer.waiting(&Wait { what, holder: Some(error.to_string()), deadline });
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks once, within the deadline and at most 10 s.
    async fn ask(&self, what: &str, change: Option<&Value>, deadline: Deadline) -> Result<Vec<u8>, Error> {
        let manager = || self.manager.name();
        // A client anew each time: it reads resolv.conf once, and on first boot that changes.
        let client = Confidential::new(&self.paths, &self.network)?;
        let in_body = self.form == Form::Body;
        let body = Body {
            api_key: in_body.then(|| self.key.expose()),
            api_key_secret: in_body.then(|| self.secret.expose()),
            target_agent: change,
        };
        let mut request = client.to(&format!("https://{}/api/admin/{what}", self.manager.name()))?;
        if !in_body {
            request = request.basic_auth(self.key.expose(), Some(self.secret.expose()));
        }
        let answered = self.manager.reply(request.json(&body), deadline, LONGEST_BODY).await;
        let Reply { status, asked, may_pass, body, whole } = answered.map_err(Error::Manager)?;
        if !whole {
            let said = format!("its answer is longer than {} MiB", LONGEST_BODY >> 20);
            return Err(Error::Failed { manager: manager(), said, asked: None, may_pass: false });
        }
        let Some((said, is_about_access)) = objection(status.as_u16(), &body) else {
            return Ok(if body.trim_ascii().is_empty() { NOTHING.to_vec() } else { body });
        };
        let said = Masker::new([&self.key, &self.secret]).mask(&said).into_owned();
        // Which words Kasm has for a key it does not know, nobody has told: so every word of refusal to the first
        // question may be one.
        let refused = is_about_access || status == StatusCode::BAD_REQUEST || said.to_ascii_lowercase().contains("key");
        Err(match refused {
            true => Error::Refused { manager: manager(), said },
            false => Error::Failed { manager: manager(), said, asked, may_pass },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_that_of_the_installed_version() {
        for (version, form) in [
            (None, Form::Body),
            (Some("1.16.1"), Form::Body),
            (Some("1.19.0.7f020d"), Form::Body),
            (Some("1.20.0"), Form::Basic),
            (Some("2.0.0"), Form::Basic),
            (Some("nonsense"), Form::Body),
        ] {
            assert_eq!(Form::of(version), form, "{version:?}");
        }
    }
}
