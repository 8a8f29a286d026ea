//! The sender's life: events out of the queue on to the disk, and from there to the receiver, one after the other.

use super::body::{self, Node};
use super::send::{Outcome, Receiver};
use super::spool::{Item, Kind, Spool};
use super::{Left, Order};
use crate::deadline::Deadline;
use crate::intent::{Form, Reporting, WebhookIntent};
use crate::net::retry::Backoff;
use crate::observe::Observer;
use crate::paths::Paths;
use crate::step::Entry;
use crate::token::Masker;
use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// The longest pause while a process waits for the end.
const SHORT_PAUSE: Duration = Duration::from_secs(1);
/// How long a process that ends tries a receiver that cannot be told. An answer that is under way is waited for longer.
const TRIED_AT_THE_END: Duration = Duration::from_secs(3);
/// How often it is looked for what a process that has ended has left, and whether one that sends is done.
const LOOK: Duration = Duration::from_secs(60);
/// So many events are kept in memory where the disk takes none.
const MOST_IN_MEMORY: usize = 64;
/// How often the form of `phone_home` is tried: cloud-init's own number (its documentation, "Phone Home", `tries`).
const TRIES: u32 = 10;

/// Where an event is.
#[derive(Debug, Clone)]
enum Next {
    Disk(Item),
    /// By its identifier.
    Memory(String),
}

/// The end of the process.
struct Finishing {
    /// It waits no longer.
    deadline: Deadline,
    /// A receiver that cannot be told is tried no longer.
    tried: Deadline,
    reply: oneshot::Sender<Left>,
}

pub(super) struct Sender {
    paths: Paths,
    webhook: WebhookIntent,
    reporting: Reporting,
    overflow: Arc<AtomicU64>,
    observer: Arc<dyn Observer>,
    masker: Masker,
    receiver: Receiver,
    client: Option<reqwest::Client>,
    spool: Spool,
    /// What the disk did not take.
    memory: VecDeque<(String, Kind, Vec<u8>)>,
    /// Events that nobody will be told, since one has said how many.
    lost: u64,
    /// All of them.
    lost_in_all: u64,
    backoff: Backoff,
    /// Nothing is told before.
    not_before: Option<Deadline>,
    /// It is the receiver who wants it so, or somebody has to change something first.
    is_firm: bool,
    /// The form that was tried last, and how often.
    tries: (String, u32),
    /// What was said last of the receiver; the same is not said twice.
    said: String,
    finishing: Option<Finishing>,
}

impl Sender {
    pub(super) fn new(
        paths: &Paths,
        webhook: WebhookIntent,
        reporting: Reporting,
        overflow: Arc<AtomicU64>,
        observer: Arc<dyn Observer>,
    ) -> Sender {
        let secrets = webhook.secret.iter().chain(&reporting.checkin_token).chain([&webhook.url]);
        Sender {
            masker: Masker::new(secrets),
            receiver: Receiver::new(paths, &webhook, &reporting),
            client: None,
            spool: Spool::new(paths),
            paths: paths.clone(),
            webhook,
            reporting,
            overflow,
            observer,
            memory: VecDeque::new(),
            lost: 0,
            lost_in_all: 0,
            backoff: Backoff::up_to(LONGEST_PAUSE),
            not_before: None,
            is_firm: false,
            tries: (String::new(), 0),
            said: String::new(),
            finishing: None,
        }
    }

    /// Until nobody has a handle on it any more.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Order>) {
        loop {
            while let Ok(order) = queue.try_recv() {
                self.take(order);
            }
            let next = self.next();
            let wait = match &next {
                None => None,
                Some(_) => self.not_before.map(Deadline::remaining).filter(|wait| !wait.is_zero()),
            };
            if let (Some(next), None) = (&next, wait) {
                let Some((id, kind, bytes)) = self.read(next) else { continue };
                let Some(client) = self.client(next, &id, kind) else { continue };
                let receiver = self.receiver.clone();
                let mut telling = pin!(receiver.tell(client, &id, kind, bytes));
                let outcome = loop {
                    tokio::select! {
                        outcome = &mut telling => break Some(outcome),
                        () = self.finish_is_over() => break None,
                        order = queue.recv() => match order {
                            Some(order) => self.take(order),
                            None => return,
                        },
                    }
                };
                match outcome {
                    Some(outcome) => self.after(next, &id, kind, outcome),
                    None => self.reply(),
                }
                continue;
            }
            // Nothing to tell, or not now: by then name servers may be others, and meanwhile it is only memory.
            self.client = None;
            if self.is_finished(next.is_some(), wait) {
                self.reply();
            }
            let waits_for_another = next.is_none() && !self.spool.list().is_empty();
            let pause = match wait {
                Some(wait) => wait,
                None if waits_for_another && self.finishing.is_some() => SHORT_PAUSE / 4,
                None if waits_for_another => SHORT_PAUSE * 5,
                None => LOOK,
            };
            tokio::select! {
                order = queue.recv() => match order {
                    Some(order) => self.take(order),
                    None => return,
                },
                () = self.finish_is_over() => self.reply(),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Tell(entry) => self.keep(&entry),
            Order::Finish(deadline, reply) => {
                self.finishing = Some(Finishing { deadline, tried: deadline.within(TRIED_AT_THE_END), reply });
                // The pause may have been a long one, and this is the last moment.
                self.backoff = Backoff::up_to(SHORT_PAUSE);
                if !self.is_firm {
                    self.not_before = None;
                }
            }
        }
    }

    /// Puts an event on the disk, or keeps it in memory where that cannot be.
    fn keep(&mut self, entry: &Entry) {
        self.add_lost(self.overflow.swap(0, Ordering::Relaxed));
        if !body::is_wanted(&self.webhook, &entry.event) {
            return;
        }
        let Some(id) = body::identifier() else { return self.add_lost(1) };
        let (kind, bytes) = match self.webhook.form {
            Form::PhoneHome => (Kind::PhoneHome, body::phone_home(&self.paths)),
            Form::Events => {
                let node = Node::here(&self.paths, &self.reporting);
                body::document(&id, entry, &node, self.lost, &self.masker)
            }
        };
        match self.spool.push(&id, kind, &bytes) {
            Ok(dropped) => {
                self.lost = 0;
                if dropped > 0 {
                    self.say(&format!(
                        "webhook: too many events wait for {}: the oldest are lost",
                        self.receiver.name()
                    ));
                }
                self.add_lost(dropped as u64);
            }
            Err(error) => {
                self.say(&format!("webhook: events cannot be kept on the disk: {error}"));
                if self.memory.len() >= MOST_IN_MEMORY {
                    let at = self.memory.iter().position(|(_, kind, _)| !kind.is_final()).unwrap_or(0);
                    self.memory.remove(at);
                    self.add_lost(1);
                }
                self.memory.push_back((id, kind, bytes));
            }
        }
    }

    fn add_lost(&mut self, count: u64) {
        self.lost = self.lost.saturating_add(count);
        self.lost_in_all = self.lost_in_all.saturating_add(count);
    }

    /// What is told next, if this process may: the oldest; while a process waits for its end, ends first.
    fn next(&mut self) -> Option<Next> {
        let items = self.spool.list();
        let may_send = if items.is_empty() {
            self.spool.release();
            false
        } else {
            self.spool.take()
        };
        let ends = self.finishing.is_some();
        if may_send {
            let end = items.iter().find(|item| ends && item.kind.is_final());
            return end.or(items.first()).cloned().map(Next::Disk);
        }
        let end = self.memory.iter().find(|(_, kind, _)| ends && kind.is_final());
        end.or(self.memory.front()).map(|(id, ..)| Next::Memory(id.clone()))
    }

    fn read(&mut self, next: &Next) -> Option<(String, Kind, Vec<u8>)> {
        let item = match next {
            Next::Memory(wanted) => return self.memory.iter().find(|(id, ..)| id == wanted).cloned(),
            Next::Disk(item) => item,
        };
        match self.spool.body(item) {
            Ok(bytes) => Some((item.id.clone(), item.kind, bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                self.say(&format!("webhook: an event on the disk cannot be read, and is lost: {error}"));
                self.add_lost(1);
                self.forget(next);
                None
            }
        }
    }

    /// The client that told the last event, or a new one.
    fn client(&mut self, next: &Next, id: &str, kind: Kind) -> Option<reqwest::Client> {
        if self.client.is_none() {
            match self.receiver.client() {
                Ok(client) => self.client = Some(client),
                Err(error) => self.after(next, id, kind, Outcome::Stuck(error.to_string())),
            }
        }
        self.client.clone()
    }

    fn after(&mut self, next: &Next, id: &str, kind: Kind, outcome: Outcome) {
        let name = self.receiver.name();
        self.is_firm = false;
        match outcome {
            Outcome::Told => {
                self.backoff.reset();
                self.not_before = None;
                self.said.clear();
                self.forget(next);
            }
            Outcome::Refused(why) => {
                self.say(&format!("webhook: {name} does not take an event, which is given up: {why}"));
                self.not_before = None;
                self.add_lost(1);
                self.forget(next);
            }
            Outcome::Later(why, asked) => {
                self.say(&format!("webhook: {name} cannot be told now: {why}"));
                self.is_firm = asked.is_some();
                self.pause(asked);
                self.count(next, id, kind);
            }
            Outcome::Stuck(why) => {
                self.say(&format!("webhook: {name} cannot be told: {why}"));
                self.is_firm = true;
                self.pause(Some(LONGEST_PAUSE / 2));
                self.count(next, id, kind);
            }
        }
    }

    fn pause(&mut self, asked: Option<Duration>) {
        let pause = self.backoff.next_delay().max(asked.unwrap_or_default());
        self.not_before = Some(Deadline::after(pause));
    }

    /// A form is tried as often as cloud-init tries it.
    fn count(&mut self, next: &Next, id: &str, kind: Kind) {
        if kind != Kind::PhoneHome {
            return;
        }
        if self.tries.0 != id {
            self.tries = (id.to_owned(), 0);
        }
        self.tries.1 += 1;
        if self.tries.1 >= TRIES {
            self.say(&format!("webhook: {} was tried {TRIES} times, and is given up", self.receiver.name()));
            self.forget(next);
            self.add_lost(1);
        }
    }

    fn forget(&mut self, next: &Next) {
        match next {
            Next::Memory(told) => self.memory.retain(|(id, ..)| id != told),
            Next::Disk(item) => {
                if let Err(error) = self.spool.remove(item) {
                    // It would be told again and again.
                    self.say(&format!("webhook: an event that was told cannot be removed from the disk: {error}"));
                    self.is_firm = true;
                    self.not_before = Some(Deadline::after(LONGEST_PAUSE));
                }
            }
        }
    }

    fn say(&mut self, text: &str) {
        if self.said != text {
            self.observer.warn(text);
            text.clone_into(&mut self.said);
        }
    }

    /// True if the end need not be waited for any longer.
    fn is_finished(&self, has_next: bool, wait: Option<Duration>) -> bool {
        let Some(Finishing { tried, .. }) = &self.finishing else { return false };
        match (has_next, wait) {
            (false, _) => self.spool.list().is_empty(),
            (true, Some(wait)) => wait >= tried.remaining(),
            (true, None) => false,
        }
    }

    async fn finish_is_over(&self) {
        match &self.finishing {
            Some(Finishing { deadline, .. }) => tokio::time::sleep_until(deadline.instant().into()).await,
            None => std::future::pending().await,
        }
    }

    fn reply(&mut self) {
        self.add_lost(self.overflow.swap(0, Ordering::Relaxed));
        let lost = self.lost_in_all.saturating_add(self.memory.len() as u64);
        let left = Left { waiting: self.spool.list().len(), lost };
        if let Some(Finishing { reply, .. }) = self.finishing.take() {
            // Whoever asked may have gone.
            let _ = reply.send(left);
        }
    }
}
