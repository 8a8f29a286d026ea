//! Telling the manager how far this node is: `POST /api/set_server_status` with a check-in token
//! (docs/kasm-facts.md, 6).
//!
//! The token is in the URL, because that is where Kasm wants it: so nothing here shows a URL, and nothing is sent to a
//! manager that has not proved who it is.

use super::manager::{self, ANSWER_TIME, Manager, Reply};
use crate::deadline::Deadline;
use crate::error::{Exit, Explain};
use crate::intent::HostPort;
use crate::net::retry::Backoff;
use crate::net::{self, Confidential};
use crate::observe::{Observer, Wait};
use crate::paths::Paths;
use crate::secret::Secret;
use crate::token::{self, Format, Kind, Masker};
use crate::words;
use reqwest::StatusCode;
use serde::Serialize;
use serde_json::Value;
use std::time::{Duration, Instant};

/// No answer is longer, in bytes.
const LONGEST_BODY: usize = 64 * 1024;
/// No message is longer, in characters.
const LONGEST_MESSAGE: usize = 1_000;

/// What the manager is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerStatus {
    status: String,
    #[serde(rename = "status_message")]
    message: String,
    /// A text, as in Kasm's own scripts.
    #[serde(rename = "status_progress")]
    progress: String,
}

impl ServerStatus {
    /// The word for a server that is ready for sessions.
    pub const RUNNING: &str = "running";
    /// The word for one that is not yet.
    pub const STARTING: &str = "starting";

    /// A status: a word, a message in one line and free of secrets, and how much is done, in percent.
    pub fn new(status: &str, message: &str, progress: u8) -> ServerStatus {
        let message = words::one_line(message).chars().take(LONGEST_MESSAGE).collect();
        ServerStatus { status: status.to_owned(), message, progress: progress.min(100).to_string() }
    }
}

/// Why the manager was not told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The token cannot be right.
    #[error(transparent)]
    Token(#[from] token::Error),
    /// No connection that may carry a token.
    #[error(transparent)]
    Client(#[from] net::Error),
    /// It did not answer.
    #[error(transparent)]
    Manager(manager::Error),
    /// It does not take this token.
    #[error("manager {manager} refuses the check-in token: {said}")]
    Refused {
        /// The manager.
        manager: String,
        /// What it said.
        said: String,
    },
    /// It does not take this status.
    #[error("manager {manager} does not take the status: {said}")]
    Failed {
        /// The manager.
        manager: String,
        /// What it said.
        said: String,
        /// How long it wants to be left alone.
        asked: Option<Duration>,
        /// Whether another try can end better.
        may_pass: bool,
    },
}

impl Error {
    /// True if asking again later may help.
    pub fn heals(&self) -> bool {
        match self {
            Error::Token(_) | Error::Client(_) | Error::Refused { .. } => false,
            Error::Manager(error) => error.heals(),
            Error::Failed { may_pass, .. } => *may_pass,
        }
    }

    /// How long the manager wants to be left alone.
    pub fn asked(&self) -> Option<Duration> {
        match self {
            Error::Failed { asked, .. } => *asked,
            _ => None,
        }
    }
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::Token(error) => error.reason(),
            Error::Client(error) => error.reason(),
            Error::Manager(error) => error.reason(),
            Error::Refused { .. } => "checkin.token-refused",
            Error::Failed { .. } => "checkin.failed",
        }
    }

    fn help(&self) -> String {
        match self {
            Error::Token(error) => error.help(),
            Error::Client(error) => error.help(),
            Error::Manager(error) => error.help(),
            Error::Refused { .. } => {
                "use what Kasm puts in place of {checkin_jwt} in a server pool's startup script: it is valid for \
                 4 hours, and for that server alone"
                    .into()
            }
            Error::Failed { manager, .. } => {
                format!("see the log of kasm_api on manager {manager}, and whether the server is still in its pool")
            }
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Error::Token(error) => error.exit(),
            Error::Client(error) => error.exit(),
            Error::Refused { .. } => Exit::Token,
            Error::Manager(_) | Error::Failed { .. } => Exit::Manager,
        }
    }
}

/// A manager, and the token to tell it something with.
#[derive(Debug, Clone)]
pub struct CheckIn {
    paths: Paths,
    manager: Manager,
    network: net::Options,
    token: Secret,
}

impl CheckIn {
    /// Nothing is asked or checked yet.
    pub fn new(paths: &Paths, address: &HostPort, network: &net::Options, token: Secret) -> CheckIn {
        let manager = Manager::new(paths, address, network);
        CheckIn { paths: paths.clone(), manager, network: network.clone(), token }
    }

    /// Its address with the port, for messages.
    pub fn manager(&self) -> String {
        self.manager.name()
    }

    /// Whether the token can be right, by the manager's clock where this machine's speaks against it. Nothing is sent
    /// with one that cannot.
    ///
    /// # Errors
    /// [`Error::Token`].
    pub async fn check(&self, deadline: Deadline) -> Result<(), Error> {
        let mut context = token::Context { needed: Duration::ZERO, ..token::Context::at(jiff::Timestamp::now()) };
        let judge = |context: &token::Context| token::check(Kind::CheckIn, Format::Auto, &self.token, context);
        let mut result = judge(&context);
        if result.as_ref().is_err_and(token::Error::is_about_time)
            && let Some(clocks) = self.manager.clocks(deadline).await
        {
            context.manager_time = jiff::Timestamp::try_from(clocks.manager).ok();
            result = judge(&context);
        }
        Ok(result.map(drop)?)
    }

    /// Tells it once, within the deadline and at most 10 s.
    ///
    /// # Errors
    /// It is not known that the manager has it.
    pub async fn tell(&self, status: &ServerStatus, deadline: Deadline) -> Result<(), Error> {
        let manager = || self.manager.name();
        // A client anew each time: it reads resolv.conf once, and on first boot that changes.
        let client = Confidential::new(&self.paths, &self.network)?;
        let url = format!("https://{}/api/set_server_status", self.manager.name());
        let request = client.post(&url, "token", &self.token)?.json(status);
        let answered = self.manager.reply(request, deadline, LONGEST_BODY).await;
        let Reply { status, asked, may_pass, body, .. } = answered.map_err(Error::Manager)?;
        match objection(status.as_u16(), &body) {
            None => Ok(()),
            Some((said, is_token)) => {
                let said = Masker::new([&self.token]).mask(&said).into_owned();
                let may_pass = may_pass || status == StatusCode::OK;
                Err(match is_token {
                    true => Error::Refused { manager: manager(), said },
                    false => Error::Failed { manager: manager(), said, asked, may_pass },
                })
            }
        }
    }

    /// Tells it, again and again until it is taken or the deadline has come, each pause told to the observer.
    ///
    /// # Errors
    /// What cannot pass, at once; otherwise the last one.
    pub async fn tell_until(
        &self,
        status: &ServerStatus,
        deadline: Deadline,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        self.check(deadline).await?;
        let mut backoff = Backoff::default();
        let mut last: Option<Error> = None;
        loop {
            let asked = Instant::now();
            let error = match (self.tell(status, deadline).await, last.take()) {
                (Ok(()), _) => return Ok(()),
                (Err(error), _) if !error.heals() => return Err(error),
                // An answer that only ran into the deadline says less than the one before it.
                (Err(_), Some(before)) if deadline.is_over() && asked.elapsed() < ANSWER_TIME => return Err(before),
                (Err(error), _) => error,
            };
            let pause = backoff.next_delay().max(error.asked().unwrap_or_default());
            if pause >= deadline.remaining() {
                return Err(error);
            }
            let what = format!("manager {} to take the status", self.manager.name());
            observer.waiting(&Wait { what, holder: Some(error.to_string()), deadline });
            last = Some(error);
            tokio::time::sleep(pause).await;
        }
    }
}

/// What the manager has against it, if anything, and whether that is about the token. A failure may come with status
/// 200 and an `error_message`.
pub fn objection(status: u16, body: &[u8]) -> Option<(String, bool)> {
    let document: Option<Value> = serde_json::from_slice(body).ok();
    let message = document.as_ref().and_then(|document| document.get("error_message"));
    let said = match message {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.trim().is_empty() => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => Some(other.to_string()),
    };
    let said = said.map(|said| words::one_line(&said).trim().chars().take(200).collect::<String>());
    let is_about_token = |said: &str| {
        let said = said.to_ascii_lowercase();
        ["token", "jwt", "expired", "segments", "signature", "unauthorized", "access denied"]
            .iter()
            .any(|word| said.contains(word))
    };
    match (status, said) {
        (401 | 403, said) => Some((said.unwrap_or_else(|| format!("status {status}")), true)),
        (_, Some(said)) => {
            let about_token = is_about_token(&said);
            Some((said, about_token))
        }
        (200, None) if document.is_some() || body.trim_ascii().is_empty() => None,
        (200, None) => Some(("what came is not an answer of Kasm's API".into(), false)),
        (status, None) => Some((format!("status {status}"), false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_failure_is_one_whatever_its_status() {
        let judge = |status: u16, body: &str| objection(status, body.as_bytes());
        for body in ["{}", "", " \n", r#"{"error_message": null}"#, r#"{"error_message": ""}"#, r#"{"ok": true}"#] {
            assert_eq!(judge(200, body), None, "{body}");
        }
        let about_token = |words: &str| Some((words.to_owned(), true));
        assert_eq!(
            judge(200, r#"{"error_message": "The JWT token has expired."}"#),
            about_token("The JWT token has expired.")
        );
        assert_eq!(judge(403, "<html>"), about_token("status 403"));
        let other = |words: &str| Some((words.to_owned(), false));
        assert_eq!(judge(200, r#"{"error_message": "Server\nnot found"}"#), other("Server not found"));
        assert_eq!(judge(200, r#"{"error_message": {"a": 1}}"#), other(r#"{"a":1}"#));
        assert_eq!(judge(200, "<html>"), other("what came is not an answer of Kasm's API"));
        assert_eq!(judge(502, ""), other("status 502"));
        assert_eq!(judge(302, ""), other("status 302"));
    }

    #[test]
    fn a_status_is_what_kasm_takes() {
        let status = ServerStatus::new("running", "it is\nup", 250);
        let text = serde_json::to_string(&status).unwrap();
        assert_eq!(text, r#"{"status":"running","status_message":"it is up","status_progress":"100"}"#);
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic_or_talk_long(status in 100u16..1000, body in "\\PC{0,300}") {
            for body in [body.clone(), serde_json::json!({ "error_message": body }).to_string()] {
                if let Some((said, _)) = objection(status, body.as_bytes()) {
                    prop_assert!(said.chars().count() <= 200 && !said.contains(|c: char| c.is_control()));
                }
            }
        }
    }
}
