//! Asking a manager something that carries a secret, and reading what it says.

use super::{ANSWER_TIME, Error, Manager, classify};
use crate::deadline::Deadline;
use crate::net::retry::{self, Retry};
use reqwest::{RequestBuilder, StatusCode};
use std::time::{Duration, Instant};

/// What a manager answered.
#[derive(Debug)]
pub(in crate::kasm) struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// How long it wants to be left alone.
    pub asked: Option<Duration>,
    /// Whether, by its status, another try can end better.
    pub may_pass: bool,
    /// What it said.
    pub body: Vec<u8>,
    /// False if it said more than was read.
    pub whole: bool,
}

impl Manager {
    /// Sends a request once, within the deadline and at most 10 s, and reads at most `longest` bytes of the answer.
    ///
    /// # Errors
    /// There was no answer. An error of reqwest's holds the URL, and with it what it may carry: none leaves this
    /// function.
    pub(in crate::kasm) async fn reply(
        &self,
        request: RequestBuilder,
        deadline: Deadline,
        longest: usize,
    ) -> Result<Reply, Error> {
        let begun = Instant::now();
        let fail = |error: reqwest::Error| {
            let after = begun.elapsed();
            match (error.is_timeout(), error.is_connect()) {
                (true, true) => Error::Timeout { manager: self.name(), after },
                (true, false) => Error::Silent { manager: self.name(), after },
                (false, _) => classify(&self.name(), error),
            }
        };
        let request = request.timeout(deadline.within(ANSWER_TIME).remaining());
        let mut response = request.send().await.map_err(fail)?;
        let status = response.status();
        let (asked, may_pass) = match retry::of_status(status, response.headers()) {
            Retry::Again(asked) => (asked, true),
            Retry::No => (None, false),
        };
        let (mut body, mut whole) = (Vec::new(), true);
        while let Some(chunk) = response.chunk().await.map_err(fail)? {
            if body.len() + chunk.len() > longest {
                whole = false;
                break;
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status, asked, may_pass, body, whole })
    }
}
