//! A run, told to the manager as it goes: how far the node is, and at the end whether it is up
//! (docs/kasm-facts.md, 6). For the machines of server pools, which are given a check-in token.
//!
//! The latest word is the one that counts: a manager that is slow is told less, and no step waits for it.

use super::lines;
use crate::deadline::Deadline;
use crate::error::Failure;
use crate::intent::Reporting;
use crate::kasm::checkin::{CheckIn, Error, ServerStatus};
use crate::net::retry::Backoff;
use crate::observe::Observer;
use crate::paths::Paths;
use crate::step::{Entry, Event, View};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The manager is told at most so often, but for the end.
const PAUSE: Duration = Duration::from_secs(5);
/// What is done before the node is proved is never all of it.
const MOST_ON_THE_WAY: usize = 95;

/// What is to be told, and whether that is the end.
#[derive(Debug, Clone, Default)]
struct Word {
    status: Option<ServerStatus>,
    is_end: bool,
    /// Nothing comes after it: when the process ends, at the latest.
    finish: Option<Deadline>,
}

/// A handle on the sender. Clones are the same sender.
#[derive(Clone)]
pub struct Teller {
    words: watch::Sender<Word>,
    over: watch::Receiver<bool>,
    steps: usize,
    ended: usize,
}

impl Teller {
    /// Starts the sender, if there is a token and a manager to tell. A token that cannot be right is said to the
    /// observer, and not used.
    pub fn start(paths: &Paths, reporting: &Reporting, observer: Arc<dyn Observer>) -> Option<Teller> {
        let (token, address) = (reporting.checkin_token.clone()?, reporting.manager.as_ref()?);
        let checkin = CheckIn::new(paths, address, &reporting.network, token);
        let (words, latest) = watch::channel(Word::default());
        let (done, over) = watch::channel(false);
        super::on_a_thread("checkin", move || async move {
            tell(&checkin, latest, &*observer).await;
            // Nobody may be waiting for it.
            let _ = done.send(true);
        })?;
        Some(Teller { words, over, steps: 0, ended: 0 })
    }

    /// A view for one run.
    pub fn view(&self) -> Box<dyn View> {
        Box::new(self.clone())
    }

    /// Waits until the last word is told, at most so long.
    pub async fn finish(&self, limit: Duration) {
        let deadline = Deadline::after(limit);
        self.words.send_modify(|word| word.finish = Some(deadline));
        let mut over = self.over.clone();
        // Too late, or over already: both are the end of it.
        let _ = tokio::time::timeout_at(deadline.instant().into(), over.wait_for(|over| *over)).await;
    }

    fn say(&self, status: ServerStatus, is_end: bool) {
        self.words.send_modify(|word| {
            word.status = Some(status);
            word.is_end = is_end;
        });
    }
}

impl View for Teller {
    fn event(&mut self, entry: &Entry) {
        match &entry.event {
            Event::RunStarted { steps, .. } => (self.steps, self.ended) = (steps.len(), 0),
            Event::StepEnded { .. } => self.ended += 1,
            // How a node is that was up before is what Kasm asks the node itself.
            Event::StepOutput { .. }
            | Event::ProbeChanged { .. }
            | Event::HealthChanged { .. }
            | Event::HealthMended { .. } => return,
            Event::StepStarted { .. } | Event::StepWaiting { .. } | Event::StepNote { .. } | Event::RunEnded { .. } => {
            }
        }
        let progress = (self.ended * MOST_ON_THE_WAY).checked_div(self.steps).unwrap_or_default().min(MOST_ON_THE_WAY);
        let progress = u8::try_from(progress).unwrap_or_default();
        match &entry.event {
            Event::RunEnded { exit: 0, detail, .. } => {
                self.say(ServerStatus::new(ServerStatus::RUNNING, detail, 100), true);
            }
            Event::RunEnded { detail, failure, .. } => self.say(failed(failure.as_ref(), detail, progress), true),
            Event::StepStarted { step } => self.say(on_the_way(&format!("{step}: begins"), progress), false),
            event => {
                if let Some(sentence) = lines::sentence(event) {
                    self.say(on_the_way(&sentence, progress), false);
                }
            }
        }
    }
}

fn on_the_way(message: &str, progress: u8) -> ServerStatus {
    ServerStatus::new(ServerStatus::STARTING, message, progress)
}

fn failed(failure: Option<&Failure>, detail: &str, progress: u8) -> ServerStatus {
    let message = match failure {
        Some(failure) => format!("FAILED: {} [{}]; help: {}", failure.message, failure.reason, failure.help),
        None => format!("FAILED: {detail}"),
    };
    on_the_way(&message, progress)
}

/// Tells the latest word, and the one after it, until there is nobody to say another.
async fn tell(checkin: &CheckIn, mut words: watch::Receiver<Word>, observer: &dyn Observer) {
    let mut backoff = Backoff::default();
    let mut said = String::new();
    let mut is_checked = false;
    let mut told: Option<ServerStatus> = None;
    loop {
        let word = words.borrow_and_update().clone();
        let over = word.finish.is_some_and(Deadline::is_over);
        let Some(status) = word.status.filter(|status| !over && told.as_ref() != Some(status)) else {
            if word.finish.is_some() || words.changed().await.is_err() {
                return;
            }
            continue;
        };
        let deadline = word.finish.unwrap_or_else(|| Deadline::after(PAUSE * 2));
        let result = match is_checked {
            true => checkin.tell(&status, deadline).await,
            false => match checkin.check(deadline).await {
                Ok(()) => checkin.tell(&status, deadline).await,
                Err(error) => Err(error),
            },
        };
        let pause = match result {
            Ok(()) => {
                is_checked = true;
                told = Some(status);
                backoff.reset();
                said.clear();
                // Nothing is said after the last word.
                if word.finish.is_some() {
                    return;
                }
                PAUSE
            }
            Err(error) => {
                let text = format!("check-in: {}", described(&error));
                if said != text {
                    observer.warn(&text);
                    said = text;
                }
                if !error.heals() {
                    return;
                }
                backoff.next_delay().max(error.asked().unwrap_or_default().min(PAUSE * 12))
            }
        };
        // An end is told at once; anything else when it is its turn.
        let pause = tokio::time::sleep(pause);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                changed = words.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let word = words.borrow();
                    if word.finish.is_some() || word.is_end {
                        break;
                    }
                }
            }
        }
    }
}

fn described(error: &Error) -> String {
    match error.heals() {
        true => format!("{error}: it is tried again"),
        false => format!("{error}: the manager is not told how far this node is"),
    }
}
