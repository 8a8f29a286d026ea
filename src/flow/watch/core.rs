//! What all loops of the watch share: how everything stands, who is told of it, and where it is kept.

use super::gate::Gate;
use super::rhythm::Rhythm;
use super::{Watch, mend::Orders};
use crate::blocking;
use crate::health::hysteresis::{self, Answer};
use crate::health::state::Change;
use crate::health::{Context, Finding, Level, Past, Probe, ProbeStatus, Standing, State, Verdict, judge};
use crate::step::Event;
use crate::words;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A vital probe that fails for ten looks at the containers, and at least for a minute, does not pass by itself.
const LASTING: (u32, Duration) = (10, Duration::from_secs(60));
/// Changes that come together are kept together.
const TOGETHER: Duration = Duration::from_millis(200);
/// Where nothing changes, the state is kept so often: disks wear out.
const KEEP: Duration = Duration::from_secs(15 * 60);
/// Where it could not be kept, that is tried again so soon.
const KEEP_AGAIN: Duration = Duration::from_secs(60);

pub(super) struct Core<'a> {
    pub(super) watch: &'a Watch<'a>,
    pub(super) gate: Gate,
    pub(super) rhythm: Rhythm,
    /// What is to be mended.
    pub(super) orders: Orders,
    context: RefCell<Rc<Context>>,
    state: RefCell<State>,
    /// Who has been asked since this process began.
    asked: RefCell<BTreeSet<&'static str>>,
    /// The level of each probe that was told last.
    told_levels: RefCell<BTreeMap<String, Level>>,
    told: RefCell<Told>,
    /// Since when something vital fails.
    failing: Cell<Option<Instant>>,
    /// There is something new to keep.
    news: Notify,
}

/// What was told last of the node as a whole.
#[derive(Default)]
struct Told {
    verdict: Option<Verdict>,
    /// Its words without their numbers: a number that moves is no news.
    gist: String,
    status: String,
}

impl<'a> Core<'a> {
    pub(super) fn new(watch: &'a Watch<'a>, state: State) -> Core<'a> {
        let told_levels = state.health.probes.iter().map(|probe| (probe.name.clone(), probe.level)).collect();
        let core = Core {
            gate: Gate::new(watch.paths),
            rhythm: Rhythm::of(watch.every),
            orders: Orders::default(),
            context: RefCell::new(Rc::new((watch.context)())),
            state: RefCell::new(state),
            asked: RefCell::default(),
            told_levels: RefCell::new(told_levels),
            told: RefCell::default(),
            failing: Cell::new(None),
            news: Notify::new(),
            watch,
        };
        // What this version has no probe for any more is nobody's to ask about again.
        core.state.borrow_mut().health.probes.retain(|one| watch.probes.iter().any(|probe| probe.name == one.name));
        core.state.borrow_mut().memory.retain(|name, _| watch.probes.iter().any(|probe| probe.name == *name));
        core.judge();
        core
    }

    /// Asks one probe again and again. No other waits for it.
    pub(super) async fn ask(&self, probe: &Probe) -> Infallible {
        tokio::time::sleep(self.rhythm.first(probe)).await;
        loop {
            self.look();
            if self.gate.pass(probe.vital).await {
                // All of them were held up, and all are let go together.
                tokio::time::sleep(self.rhythm.first(probe)).await;
            }
            let before = self.state.borrow().health.probe(probe.name).cloned();
            let context = self.context.borrow().clone();
            let (finding, took) = probe.answer(&context, before.as_ref()).await;
            // What a run has done meanwhile is on purpose.
            self.look();
            let in_doubt = self.gate.phase().at_work.is_none() && self.take(probe, finding, took);
            tokio::time::sleep(self.rhythm.pause(probe, in_doubt)).await;
        }
    }

    /// Ends each pause that a run has made.
    pub(super) async fn resume(&self) -> Infallible {
        loop {
            self.gate.over().await;
            self.failing.set(None);
            // What the run has left, and how it ended.
            *self.context.borrow_mut() = Rc::new((self.watch.context)());
            self.judge();
        }
    }

    fn look(&self) {
        if self.gate.look() {
            self.judge();
        }
    }

    /// The node has come up: what was known of it before is over, where it was bad.
    pub(super) fn came_up(&self, boot: &str) {
        {
            let mut state = self.state.borrow_mut();
            state.came_up(boot);
            for probe in self.watch.probes.iter().filter(|probe| probe.vital) {
                state.memory.remove(probe.name);
                state.health.probes.retain(|one| one.name != probe.name || one.level == Level::Ok);
            }
        }
        self.news.notify_one();
        self.gate.up();
    }

    /// Takes an answer in. True if it is in doubt.
    fn take(&self, probe: &Probe, finding: Finding, took: Duration) -> bool {
        self.asked.borrow_mut().insert(probe.name);
        let (status, in_doubt) = {
            let mut state = self.state.borrow_mut();
            let State { health, memory, .. } = &mut *state;
            let before = health.probe(probe.name);
            let memory = memory.entry(probe.name.to_owned()).or_default();
            let answer = Answer { finding, now: words::now(), took };
            let status = hysteresis::after(probe.name, probe.confirm, before, memory, answer);
            let in_doubt = memory.is_in_doubt(status.level);
            self.place(&mut health.probes, status.clone());
            (status, in_doubt)
        };
        self.tell(&status);
        self.judge();
        self.orders.consider(self.watch.mend.remedies, &status);
        in_doubt
    }

    /// Puts it where it belongs: in the order of the probes.
    fn place(&self, list: &mut Vec<ProbeStatus>, status: ProbeStatus) {
        let order = |name: &str| self.watch.probes.iter().position(|probe| probe.name == name);
        match list.iter_mut().find(|one| one.name == status.name) {
            Some(old) => *old = status,
            None => {
                list.push(status);
                list.sort_by_key(|one| order(&one.name));
            }
        }
    }

    /// Tells how a probe stands, if that is news. That it is well is none where nothing else was ever said of it.
    fn tell(&self, status: &ProbeStatus) {
        let mut told = self.told_levels.borrow_mut();
        let before = told.get(&status.name).copied();
        if before == Some(status.level) || (before.is_none() && status.level == Level::Unknown) {
            return;
        }
        told.insert(status.name.clone(), status.level);
        drop(told);
        self.news.notify_one();
        if before.is_none() && status.level == Level::Ok {
            return;
        }
        let text = |level: Level| level.as_str().to_owned();
        self.state.borrow_mut().changed(Change {
            at: status.checked.clone(),
            probe: Some(status.name.clone()),
            before: before.map(text),
            now: text(status.level),
            words: status.words.clone(),
        });
        self.event(Event::ProbeChanged {
            probe: status.name.clone(),
            before,
            now: status.level,
            words: status.words.clone(),
            remedy: status.remedy.clone(),
        });
    }

    /// What all of it means, hung up for everybody and told where it is news.
    pub(super) fn judge(&self) {
        let phase = self.gate.phase();
        let now = words::now();
        let mut state = self.state.borrow_mut();
        let mut shown = None;
        if !phase.up && self.watch.started {
            let words = "waiting for the node to come up".to_owned();
            shown = Some((Verdict::Starting, phase.at_work.unwrap_or(words)));
        } else if let Some(words) = phase.at_work {
            shown = Some((state.health.verdict, words));
        } else if let Some((verdict, words)) = self.verdict(&state) {
            if state.health.verdict != verdict {
                let text = |verdict: Verdict| verdict.as_str().to_owned();
                let (before, at) = (Some(text(state.health.verdict)), now.clone());
                state.changed(Change { at, probe: None, before, now: text(verdict), words: words.clone() });
                state.health.verdict = verdict;
                state.health.since = now.clone();
                self.news.notify_one();
            }
            state.health.words = words;
        }
        state.health.checked = now;
        let mut health = state.health.clone();
        drop(state);
        if let Some((verdict, words)) = shown {
            health.verdict = verdict;
            health.words = words;
        }
        let (verdict, words) = (health.verdict, health.words.clone());
        self.watch.board.put(health);
        // Whoever waits for it to come up says that better.
        if phase.up || !self.watch.started {
            self.say(verdict, &words);
        }
    }

    /// The verdict; nothing while what decides was not asked yet.
    fn verdict(&self, state: &State) -> Option<(Verdict, String)> {
        let asked = self.asked.borrow();
        if self.watch.started && !self.watch.probes.iter().all(|probe| !probe.vital || asked.contains(probe.name)) {
            return None;
        }
        let standing = |probe: &Probe| {
            state.health.probes.iter().find(|one| one.name == probe.name).map(|status| (status, probe.vital))
        };
        let standings: Vec<Standing<'_>> =
            self.watch.probes.iter().filter_map(standing).map(|(status, vital)| Standing { status, vital }).collect();
        let fails = standings.iter().any(|one| one.vital && one.status.level == Level::Fail);
        let since = self.failing.get().filter(|_| fails).or_else(|| fails.then(Instant::now));
        self.failing.set(since);
        let (looks, least) = LASTING;
        let lasting = since.is_some_and(|since| since.elapsed() >= (self.watch.every * looks).max(least));
        let was = match self.told.borrow().verdict {
            // It has come up, as whoever waited for that has seen.
            None if fails => Some(Verdict::Healthy),
            None => Some(Verdict::Starting),
            was => was,
        };
        Some(judge(&standings, Past { started: self.watch.started, was, lasting }))
    }

    fn say(&self, verdict: Verdict, words: &str) {
        let mut told = self.told.borrow_mut();
        let (at_work, started) = (self.gate.phase().at_work.is_some(), self.watch.started);
        let known = verdict != Verdict::Starting || !started;
        let gist: String = words.chars().filter(|c| !c.is_ascii_digit()).collect();
        let news = known && (told.verdict != Some(verdict) || told.gist != gist);
        // What is at work, or was left alone on purpose, is no verdict.
        let status = if at_work || !started { words.to_owned() } else { format!("{verdict}: {words}") };
        if news {
            let before = Some(told.verdict.unwrap_or(Verdict::Starting));
            self.event(Event::HealthChanged { before, now: verdict, words: words.to_owned() });
            told.verdict = Some(verdict);
            told.gist = gist;
        }
        if told.status != status {
            self.watch.supervisor.status(&status);
            told.status = status;
        }
    }

    pub(super) fn event(&self, event: Event) {
        // Nothing of it is recorded, so nothing can fail.
        let _ = self.watch.hub.tell(event);
    }

    /// Something was done about a probe's trouble, or could not be.
    pub(super) fn mended(&self, probe: &str, words: String, done: bool) {
        let now = if done { "mended" } else { "not mended" }.to_owned();
        let change =
            Change { at: words::now(), probe: Some(probe.to_owned()), before: None, now, words: words.clone() };
        self.state.borrow_mut().changed(change);
        self.event(Event::HealthMended { probe: probe.to_owned(), words, done });
        self.news.notify_one();
    }

    /// The record, for a moment.
    pub(super) fn with_state<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.borrow_mut())
    }

    /// Keeps the state: soon after something has changed, else now and then.
    pub(super) async fn keep(&self) -> Infallible {
        let mut failed = None;
        loop {
            let longest = if failed.is_some() { KEEP_AGAIN } else { KEEP };
            if tokio::time::timeout(longest, self.news.notified()).await.is_ok() {
                tokio::time::sleep(TOGETHER).await;
            }
            failed = match self.write().await {
                Ok(()) => None,
                Err(error) => {
                    let words = format!(
                        "{} cannot be written: {error}; since when things are as they are is not known after a restart",
                        self.watch.paths.health_state().display()
                    );
                    if failed.as_ref() != Some(&words) {
                        self.watch.supervisor.warn(&words);
                    }
                    Some(words)
                }
            };
        }
    }

    /// Writes the state, now.
    pub(super) async fn write(&self) -> std::io::Result<()> {
        let (state, paths) = (self.state.borrow().clone(), self.watch.paths.clone());
        blocking::run(move || state.write(&paths)).await
    }
}
