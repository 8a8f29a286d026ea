//! What every run has around its plan: the lock, the journal, the views, and an end on record.

use crate::error::Failure;
use crate::machine::kernel::boot_id;
use crate::machine::pressure;
use crate::paths::Paths;
use crate::step::event::Event;
use crate::step::journal::Earlier;
use crate::step::{Error, Hub, Journal, Outcome, Plan, RunLock, View, engine, journal};
use crate::words;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

/// What a run has brought about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// `done`, or `already` where there was nothing to do.
    pub result: &'static str,
    /// The run's identifier in the journal.
    pub run: String,
    /// In words.
    pub detail: String,
    /// How long it took, milliseconds.
    pub took_ms: u64,
}

/// What is on record of a run from its beginning on.
pub struct Begin {
    verb: &'static str,
    fingerprint: String,
    steps: Vec<&'static str>,
    budget: Duration,
}

impl Begin {
    /// The beginning of a plan's run.
    pub fn of<W>(plan: &Plan<W>, budget: Duration) -> Begin {
        let steps = plan.steps.iter().map(|step| step.name).collect();
        Begin { verb: plan.verb, fingerprint: plan.fingerprint.clone(), steps, budget }
    }
}

/// A run that holds the lock and knows what came before it, but has not begun.
pub struct Ready {
    lock: RunLock,
    journal: Journal,
    earlier: Option<Earlier>,
}

impl Ready {
    /// Takes the lock and reads what earlier runs of the same plan have left.
    pub fn take(paths: &Paths, verb: &'static str, fingerprint: &str) -> Result<Ready, Error> {
        let lock = RunLock::take(paths, verb)?;
        let entries = Journal::read(paths)
            .map_err(|source| Error::State { path: paths.journal().display().to_string(), source })?;
        let earlier = journal::earlier(&entries, verb, fingerprint);
        Ok(Ready { lock, journal: Journal::open(paths)?, earlier })
    }

    /// Earlier runs of the same plan.
    pub fn earlier(&self) -> Option<&Earlier> {
        self.earlier.as_ref()
    }

    /// Runs the plan and then, however it ended, `put_back`, which returns what it could not put back. The
    /// end is on record afterwards.
    pub async fn run<W, F: Future<Output = Vec<String>>>(
        self,
        plan: &Plan<W>,
        work: &W,
        budget: Duration,
        views: Vec<Box<dyn View>>,
        put_back: impl FnOnce() -> F,
    ) -> Result<Report, Failure> {
        let begin = Begin::of(plan, budget);
        let body = async |hub: &Hub, earlier: Option<&Earlier>| engine::execute(plan, work, hub, earlier, budget).await;
        self.record(begin, views, body, put_back).await
    }

    /// What [`Ready::run`] does, with whatever `body` does for its work: more than one plan, one after the other.
    /// It is given what earlier runs have finished.
    pub async fn record<F: Future<Output = Vec<String>>>(
        self,
        begin: Begin,
        views: Vec<Box<dyn View>>,
        body: impl AsyncFnOnce(&Hub, Option<&Earlier>) -> Result<Outcome, Failure>,
        put_back: impl FnOnce() -> F,
    ) -> Result<Report, Failure> {
        let begun = Instant::now();
        let hub = Hub::new(identifier(), self.journal, views);
        // What an earlier run finished counts only while that run did not come to its good end: after
        // one, the machine is asked, not the journal.
        let earlier = self.earlier.filter(|earlier| !earlier.ended_well);
        hub.tell(Event::RunStarted {
            verb: begin.verb.into(),
            fingerprint: begin.fingerprint,
            version: env!("CARGO_PKG_VERSION").into(),
            boot: boot_id(),
            uptime_ms: uptime_ms(),
            pid: std::process::id(),
            budget_ms: words::millis(begin.budget),
            resumes: earlier.as_ref().map(|earlier| earlier.run.clone()),
            steps: begin.steps.iter().map(|step| (*step).to_owned()).collect(),
        })?;
        let result = body(&hub, earlier.as_ref()).await;
        for warning in put_back().await {
            // Only a warning: `tell` does not fail for it.
            let _ = hub.tell(Event::StepNote { step: "recover".into(), text: warning, warning: true });
        }
        let ended = match &result {
            Ok(outcome) => Event::RunEnded { exit: 0, detail: outcome.detail.clone(), failure: None },
            Err(failure) => {
                Event::RunEnded { exit: failure.code, detail: failure.message.clone(), failure: Some(failure.clone()) }
            }
        };
        let told = hub.tell(ended);
        let Outcome { detail, already } = result?;
        told?;
        drop(self.lock);
        let result = if already { "already" } else { "done" };
        Ok(Report { result, run: hub.run().to_owned(), detail, took_ms: words::millis(begun.elapsed()) })
    }
}

/// What a plan wants, as a hash by which a later run knows the same plan. No secret may be among it, not even hashed:
/// a [`Secret`](crate::secret::Secret) does not show itself, and is not.
pub(in crate::flow) fn fingerprint(wants: &impl Debug) -> String {
    words::hex(&Sha256::digest(format!("{wants:?}"))[..8])
}

/// Eight hexadecimal digits: enough to tell one machine's runs apart, short enough to read out.
fn identifier() -> String {
    let mut bytes = [0; 4];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        // Without randomness the clock tells runs apart.
        bytes = jiff::Timestamp::now().subsec_nanosecond().to_be_bytes();
    }
    words::hex(&bytes)
}

/// How long the kernel has been running, milliseconds: the running one, whatever `--root` says.
fn uptime_ms() -> Option<u64> {
    let seconds = pressure::uptime(&Paths::default()).ok()?;
    Duration::try_from_secs_f64(seconds).ok().map(words::millis)
}
