//! One source of a release, and what it has said so far.

use super::Digest;
use super::signature::Flaw;
use crate::deadline::Deadline;
use crate::intent::Source;
use crate::net::{redact, retry};
use reqwest::Url;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often a mirror whose name does not exist is asked: at boot names may come late, a typing error
/// stays.
const UNKNOWN_NAME_TRIES: u32 = 8;

/// Why a source did not give the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// One clause, without URL and secrets.
    pub text: String,
    /// May it pass by itself?
    pub again: bool,
    /// The pause the server asked for.
    pub after: Option<Duration>,
    /// It has too much to do, and named no pause.
    pub busy: bool,
    /// Its name does not exist (yet).
    pub unknown_name: bool,
    /// It is the signature that is at fault.
    pub flaw: Option<Flaw>,
}

impl Fault {
    /// A fault that will not pass.
    pub fn last(text: impl Into<String>) -> Fault {
        Fault { text: text.into(), again: false, after: None, busy: false, unknown_name: false, flaw: None }
    }

    /// A fault that may pass.
    pub fn passing(text: impl Into<String>) -> Fault {
        Fault { again: true, ..Fault::last(text) }
    }
}

/// Where a source is.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Url(Url),
    File(PathBuf),
}

/// A source and its story.
#[derive(Debug)]
pub(super) struct Mirror {
    pub place: Option<Place>,
    pub shown: String,
    /// The digest it had, where that was the wrong one.
    pub wrong: Option<Digest>,
    /// What is wrong with its signature.
    pub flaw: Option<Flaw>,
    /// How often what it gave without a validator came out wrong.
    pub doubts: u32,
    not_before: Instant,
    unknown_name: u32,
    /// How often it was too busy.
    busy: u32,
    said: Option<String>,
}

impl Mirror {
    pub fn new(source: &Source) -> Mirror {
        let (place, shown, said) = match source {
            Source::File(path) => (Some(Place::File(path.clone())), path.display().to_string(), None),
            Source::Url(text) => match place(text) {
                Ok(place) => (Some(place), redact(text), None),
                Err(why) => (None, redact(text), Some(why)),
            },
        };
        Mirror { place, shown, wrong: None, flaw: None, doubts: 0, not_before: Instant::now(), unknown_name: 0, busy: 0, said }
    }

    /// True if it will not be asked any more.
    pub fn is_closed(&self) -> bool {
        self.place.is_none()
    }

    /// How long it wants to be left alone.
    pub fn pause(&self) -> Duration {
        self.not_before.saturating_duration_since(Instant::now())
    }

    /// Notes a fault, and closes the source if it will not pass before the deadline.
    pub fn note(&mut self, fault: &Fault, deadline: Deadline) {
        let mut text = fault.text.clone();
        let mut close = !fault.again;
        self.flaw = fault.flaw;
        if fault.unknown_name {
            self.unknown_name += 1;
            close |= self.unknown_name >= UNKNOWN_NAME_TRIES;
        }
        if let Some(after) = fault.after {
            self.not_before = Instant::now() + retry::spread(after.min(Duration::from_secs(24 * 3600)), deadline);
            if after >= deadline.remaining() {
                text = format!("{text}, and asks to come back in {} s, which is too late", after.as_secs());
                close = true;
            }
        }
        if fault.busy {
            // Whoever else was turned away with us is not to be back with us.
            self.busy += 1;
            self.not_before = Instant::now() + retry::after_busy(self.busy);
        }
        self.said = Some(text);
        if close {
            self.place = None;
        }
    }

    /// Notes that it serves something else, and closes it.
    pub fn is_wrong(&mut self, found: Digest) {
        self.wrong = Some(found);
        self.said = Some(format!("SHA-256 is {found}"));
        self.place = None;
    }

    /// One line for the chain of causes.
    pub fn line(&self) -> String {
        format!("{}: {}", self.shown, self.said.as_deref().unwrap_or("not asked yet"))
    }
}

fn place(text: &str) -> Result<Place, String> {
    let url = Url::parse(text).map_err(|error| format!("this is not a URL ({error})"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(Place::Url(url)),
        "file" => {
            url.to_file_path().map(Place::File).map_err(|()| "a file URL names a file on this machine".to_owned())
        }
        other => Err(format!("{other} URLs are not supported, only https, http and file")),
    }
}
