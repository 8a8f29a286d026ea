//! Amazon EC2: version 2 of its instance metadata service ("Use the Instance Metadata Service to access
//! instance metadata"), and never version 1, which asks for no token and answers whoever can make this
//! machine send a request.

use super::Dmi;
use super::error::Error;
use super::service::{Question, Service};
use crate::net::retry::Backoff;
use crate::observe::Wait;
use crate::secret::Secret;
use reqwest::{Method, StatusCode};
use std::time::Duration;

/// How long a token is good for: longer than a boot asks anything.
const TTL_SECONDS: &str = "300";
const TTL_HEADER: &str = "X-aws-ec2-metadata-token-ttl-seconds";
const TOKEN_HEADER: &str = "X-aws-ec2-metadata-token";
/// Longer than any token of theirs, which have 56 characters.
const LONGEST_TOKEN: usize = 4096;
/// For so long may the user-data of a fresh instance be missing before there is none.
const USER_DATA_WAIT: Duration = Duration::from_secs(10);

/// "Detect whether a host is an EC2 instance": the vendor on Nitro, else Xen's identifier, else the two
/// identifiers of the firmware, which begin alike.
pub(super) fn is_here(dmi: &Dmi) -> bool {
    let begins = |text: &str| text.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("ec2"));
    dmi.vendor == "Amazon EC2"
        || begins(&dmi.xen_uuid)
        || (begins(&dmi.uuid) && dmi.uuid.eq_ignore_ascii_case(&dmi.serial))
}

pub(super) fn address(public: bool) -> Question {
    Question::plain(if public { "/latest/meta-data/public-ipv4" } else { "/latest/meta-data/local-ipv4" }, None)
}

/// Questions with a token.
pub(in crate::machine) struct Session<'a> {
    service: &'a Service<'a>,
    token: Option<Secret>,
}

/// What an instance was given.
pub(in crate::machine) struct Given {
    pub instance_id: Option<String>,
    pub user_data: Option<Vec<u8>>,
}

impl<'a> Session<'a> {
    pub fn new(service: &'a Service<'a>) -> Session<'a> {
        Session { service, token: None }
    }

    /// Asks; `None` for what is not there. A token that is not taken any more is replaced, once.
    pub async fn get(&mut self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        for _ in 0..2 {
            let token = match self.token.take() {
                Some(token) => token,
                None => self.new_token().await?,
            };
            let answer = self.service.ask(Method::GET, path, Some((TOKEN_HEADER, token.expose()))).await?;
            if answer.status != StatusCode::UNAUTHORIZED {
                self.token = Some(token);
                return self.service.found(path, answer);
            }
        }
        Err(Error::TokenRefused { service: self.service.name() })
    }

    async fn new_token(&self) -> Result<Secret, Error> {
        let service = self.service;
        let answer = service.ask(Method::PUT, "/latest/api/token", Some((TTL_HEADER, TTL_SECONDS))).await?;
        if answer.status != StatusCode::OK {
            return Err(Error::NoToken { service: service.name(), status: answer.status.as_u16() });
        }
        let sound = |byte: &u8| byte.is_ascii_graphic();
        match String::from_utf8(answer.body) {
            Ok(token) if (1..=LONGEST_TOKEN).contains(&token.len()) && token.bytes().all(|byte| sound(&byte)) => {
                Ok(Secret::new(token))
            }
            _ => Err(service.odd("/latest/api/token", "something that is no token".into())),
        }
    }

    /// The instance's identifier and its user-data. A fresh instance may not have its user-data yet: it is
    /// asked for again for a while.
    pub async fn given(&mut self) -> Result<Given, Error> {
        let instance_id = self.get("/latest/meta-data/instance-id").await?;
        let instance_id = instance_id.and_then(|id| String::from_utf8(id).ok()).map(|id| id.trim().to_owned());
        let until = self.service.deadline.within(USER_DATA_WAIT);
        let mut backoff = Backoff::default();
        let mut asked = false;
        loop {
            let user_data = match self.get("/latest/user-data").await {
                // The time was over in the middle of asking once more.
                Err(error) if asked && error.may_pass() => None,
                answer => answer?,
            };
            if user_data.is_some() || until.is_over() {
                return Ok(Given { instance_id, user_data });
            }
            asked = true;
            let holder = Some("there is none yet (status 404)".into());
            self.service.observer.waiting(&Wait { what: "this instance's user-data".into(), holder, deadline: until });
            tokio::time::sleep(backoff.next_within(None, until)).await;
        }
    }
}
