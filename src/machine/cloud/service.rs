//! A metadata service: plain HTTP to an address on this machine's own link, in few words and bounded.

use super::error::Error;
use crate::deadline::Deadline;
use crate::intent::Cloud;
use crate::net;
use crate::net::retry::{Backoff, Retry};
use crate::observe::{Observer, Wait};
use reqwest::header::HeaderValue;
use reqwest::{Client, Method, StatusCode};
use std::time::Duration;

/// The service is one hop away.
const CONNECT_TIME: Duration = Duration::from_secs(2);
/// How long a whole answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(4);
/// No answer is longer: EC2's user-data has at most 16 KiB, and 64 KiB are the most elsewhere
/// (docs/kasm-facts.md, 7).
const LONGEST_ANSWER: usize = 64 * 1024;

/// What is asked.
pub(super) struct Question {
    pub path: &'static str,
    /// What the service wants to see, so that nobody can make this machine ask by accident.
    pub header: Option<(&'static str, &'static str)>,
    /// Finds what was asked for in the answer.
    pub pick: fn(&str) -> Option<String>,
}

/// What came.
pub(in crate::machine) struct Answer {
    pub status: StatusCode,
    pub body: Vec<u8>,
}

/// One that is asked until a deadline.
pub(in crate::machine) struct Service<'a> {
    client: Client,
    cloud: Cloud,
    endpoint: &'a str,
    pub deadline: Deadline,
    pub observer: &'a dyn Observer,
}

impl<'a> Service<'a> {
    pub fn new(
        cloud: Cloud,
        endpoint: &'a str,
        deadline: Deadline,
        observer: &'a dyn Observer,
    ) -> Result<Service<'a>, Error> {
        let client = net::client_of_link(CONNECT_TIME, ANSWER_TIME).map_err(Error::Client)?;
        Ok(Service { client, cloud, endpoint, deadline, observer })
    }

    /// Its name, for messages.
    pub fn name(&self) -> String {
        format!("the metadata service of {} ({})", self.cloud, self.endpoint)
    }

    /// An answer that makes no sense.
    pub fn odd(&self, path: &str, problem: String) -> Error {
        let path = path.split('?').next().unwrap_or_default().to_owned();
        Error::Answer { service: self.name(), path, problem }
    }

    /// Asks; `None` for what is not there.
    pub(super) async fn get(&self, question: &Question) -> Result<Option<Vec<u8>>, Error> {
        let answer = self.ask(Method::GET, question.path, question.header).await?;
        self.found(question.path, answer)
    }

    /// The body of a good answer; `None` where it says that there is none.
    pub fn found(&self, path: &str, answer: Answer) -> Result<Option<Vec<u8>>, Error> {
        match answer.status {
            StatusCode::OK => Ok(Some(answer.body)),
            StatusCode::NOT_FOUND | StatusCode::NO_CONTENT => Ok(None),
            status => Err(self.odd(path, format!("status {}", status.as_u16()))),
        }
    }

    /// Asks until there is an answer that will not change by itself.
    pub async fn ask(&self, method: Method, path: &str, header: Option<(&'static str, &str)>) -> Result<Answer, Error> {
        let mut backoff = Backoff::default();
        loop {
            let within = tokio::time::timeout_at(self.deadline.instant().into(), self.once(&method, path, header));
            let (why, after) = match within.await {
                Ok(Ok(Ok(answer))) => match net::retry::of_status(answer.status, &answer.headers) {
                    Retry::No => return Ok(Answer { status: answer.status, body: answer.body }),
                    Retry::Again(after) => (format!("status {}", answer.status.as_u16()), after),
                },
                Ok(Ok(Err(problem))) => return Err(self.odd(path, problem)),
                // It took the connection and the question, and its answer was lost: the next one will be too.
                Ok(Err(error)) if method == Method::PUT && error.is_timeout() && !error.is_connect() => {
                    return Err(Error::Silent { service: self.name() });
                }
                Ok(Err(error)) => (net::describe(&error), None),
                Err(_) => ("it did not answer in time".into(), None),
            };
            if self.deadline.is_over() {
                return Err(Error::Unreachable { service: self.name(), why });
            }
            self.observer.waiting(&Wait { what: self.name(), holder: Some(why), deadline: self.deadline });
            tokio::time::sleep(backoff.next_within(after, self.deadline)).await;
        }
    }

    async fn once(
        &self,
        method: &Method,
        path: &str,
        header: Option<(&'static str, &str)>,
    ) -> Result<Result<Whole, String>, reqwest::Error> {
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.endpoint));
        if let Some((name, value)) = header {
            let Ok(mut value) = HeaderValue::from_str(value) else {
                return Ok(Err("something that is no token".into()));
            };
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let mut response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST_ANSWER {
                return Ok(Err(format!("more than {LONGEST_ANSWER} bytes")));
            }
        }
        Ok(Ok(Whole { status, headers, body }))
    }
}

struct Whole {
    status: StatusCode,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}
