use super::*;
use crate::config::Remedies;
use crate::health::{Finding, Health, ProbeStatus, Verdict};
use crate::observe::{Observer, Wait};
use crate::step::{Entry, Event, RunLock, View};
use futures_util::future::{BoxFuture, FutureExt};
use std::fs;
use std::future::Future;
use std::io::Write;
use std::sync::{Arc, Mutex};

/// A probe finds what its file below the root says: `ok`, `warn`, `fail`, `unknown` or `hang`.
fn ask<'a>(name: &'static str, context: &'a Context) -> BoxFuture<'a, Finding> {
    async move {
        let asked = context.paths.root().join(format!("{name}.asked"));
        fs::File::options().append(true).create(true).open(asked).unwrap().write_all(b".").unwrap();
        match fs::read_to_string(context.paths.root().join(name)).unwrap().as_str() {
            "ok" => Finding::ok(format!("{name} is up")),
            "warn" => Finding::warn(format!("{name} is not so well"), "look at it"),
            "fail" => Finding::fail(format!("{name} is down"), "mend it"),
            "unknown" => Finding::unknown("nobody knows"),
            _ => std::future::pending().await,
        }
    }
    .boxed()
}

const fn probe(
    name: &'static str,
    vital: bool,
    ask: for<'a> fn(&'a Context, Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding>,
) -> Probe {
    let (every, limit) = (Duration::from_secs(30), Duration::from_secs(10));
    Probe { name, about: "", every, limit, confirm: 3, vital, ask }
}

const PROBES: [Probe; 3] = [
    probe("a", true, |context, _| ask("a", context)),
    probe("b", true, |context, _| ask("b", context)),
    probe("c", false, |context, _| ask("c", context)),
];

#[derive(Clone, Default)]
struct Ears(Arc<Mutex<Vec<String>>>);

impl Ears {
    fn hear(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }

    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl View for Ears {
    fn event(&mut self, entry: &Entry) {
        let level = |level: Option<crate::health::Level>| level.map_or("-", crate::health::Level::as_str);
        match &entry.event {
            Event::ProbeChanged { probe, before, now, words, .. } => {
                self.hear(format!("{probe}: {} -> {now}: {words}", level(*before)));
            }
            Event::HealthChanged { before, now, words } => {
                self.hear(format!("{} -> {now}: {words}", before.map_or("-", Verdict::as_str)));
            }
            other => self.hear(format!("{other:?}")),
        }
    }
}

impl Observer for Ears {
    fn waiting(&self, wait: &Wait) {
        self.hear(format!("waiting for {}", wait.what));
    }
    fn warn(&self, text: &str) {
        self.hear(format!("warning: {text}"));
    }
}

impl Supervisor for Ears {
    fn ready(&self) {
        self.hear("ready".into());
    }
    fn stopping(&self) {}
    fn status(&self, _: &str) {}
}

struct Node {
    directory: tempfile::TempDir,
    paths: Paths,
    ears: Ears,
    board: Board,
}

impl Node {
    fn new() -> Node {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        let node = Node { directory, paths, ears: Ears::default(), board: Board::default() };
        PROBES.iter().for_each(|probe| node.set(probe.name, "ok"));
        node
    }

    fn set(&self, name: &str, what: &str) {
        fs::write(self.directory.path().join(name), what).unwrap();
    }

    /// How often it was asked since this was asked last.
    fn asked(&self, name: &str) -> usize {
        let path = self.directory.path().join(format!("{name}.asked"));
        let count = fs::read(&path).map_or(0, |bytes| bytes.len());
        let _ = fs::remove_file(path);
        count
    }

    fn forget_who_was_asked(&self) {
        for probe in &PROBES {
            self.asked(probe.name);
        }
    }

    fn health(&self) -> Health {
        self.board.look().unwrap()
    }

    fn watch<'a>(&'a self, until: Option<Deadline>, context: &'a dyn Fn() -> Context) -> Watch<'a> {
        Watch {
            paths: &self.paths,
            probes: &PROBES,
            context,
            role: Role::Agent,
            started: true,
            every: Duration::from_secs(30),
            until,
            supervisor: &self.ears,
            hub: Hub::unrecorded("watch".into(), vec![Box::new(self.ears.clone())]),
            board: self.board.clone(),
            mend: Mend {
                remedies: Remedies::default(),
                load: &|| unreachable!("nothing is to be mended"),
                views: &Vec::new,
            },
        }
    }

    /// Watches as long as the script goes on.
    async fn watched<T>(&self, script: impl Future<Output = T>) -> T {
        self.watched_until(None, script).await
    }

    async fn watched_until<T>(&self, until: Option<Deadline>, script: impl Future<Output = T>) -> T {
        let context = || Context::new(self.paths.clone());
        let watch = self.watch(until, &context);
        let mut signals = Signals::listen().unwrap();
        tokio::select! {
            biased;
            result = script => result,
            ended = run(watch, &mut signals) => panic!("{ended:?}"),
        }
    }
}

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

#[tokio::test(start_paused = true)]
async fn a_blip_is_no_alarm_and_what_stays_is_told_once_and_its_end_too() {
    let node = Node::new();
    node.watched(async {
        seconds(1).await;
        assert_eq!(node.ears.heard(), ["ready", "starting -> healthy: a is up"]);
        // No longer than one look.
        seconds(28).await;
        let asked = |node: &Node| fs::read(node.paths.root().join("a.asked")).unwrap().len();
        let looks = asked(&node);
        node.set("a", "fail");
        while asked(&node) == looks {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        node.set("a", "ok");
        seconds(300).await;
        assert_eq!(node.ears.heard(), [] as [&str; 0]);
        node.set("c", "fail");
        seconds(120).await;
        assert_eq!(node.ears.heard(), ["c: ok -> fail: c is down", "healthy -> degraded: c is down"]);
        assert_eq!(node.health().verdict, Verdict::Degraded);
        node.set("c", "ok");
        seconds(120).await;
        assert_eq!(node.ears.heard(), ["c: fail -> ok: c is up", "degraded -> healthy: a is up"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_delays_no_other_and_is_asked_one_question_at_a_time() {
    let node = Node::new();
    node.watched(async {
        seconds(60).await;
        node.forget_who_was_asked();
        node.ears.heard();
        node.set("b", "hang");
        seconds(1200).await;
        // Thirty seconds, a tenth more or less; the hanging one takes its ten seconds beside.
        for (name, least, most) in [("a", 36, 45), ("b", 27, 33), ("c", 36, 45)] {
            let asked = node.asked(name);
            assert!((least..=most).contains(&asked), "{name}: {asked}");
        }
        assert_eq!(node.health().probe("b").unwrap().words, "no answer within 10 s");
        // Nothing is held against the node.
        assert_eq!(node.health().verdict, Verdict::Healthy);
        let heard = node.ears.heard();
        assert_eq!(heard[0], "b: ok -> unknown: no answer within 10 s", "{heard:?}");
        assert_eq!(heard[1..], ["healthy -> healthy: b is not known: no answer within 10 s"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_vital_and_stays_down_has_failed() {
    let node = Node::new();
    node.watched(async {
        seconds(1).await;
        node.set("a", "fail");
        seconds(200).await;
        assert_eq!(node.health().verdict, Verdict::Degraded);
        seconds(300).await;
        assert_eq!(node.health().verdict, Verdict::Failed);
        node.set("a", "ok");
        seconds(90).await;
        assert_eq!(node.health().verdict, Verdict::Healthy);
        let heard = node.ears.heard();
        assert_eq!(
            heard[2..],
            [
                "a: ok -> fail: a is down",
                "healthy -> degraded: a is down",
                "degraded -> failed: a is down",
                "a: fail -> ok: a is up",
                "failed -> healthy: a is up",
            ]
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn while_a_run_is_at_work_nothing_is_asked_and_nothing_held_against_the_node() {
    let node = Node::new();
    node.watched(async {
        seconds(60).await;
        let lock = RunLock::take(&node.paths, "upgrade").unwrap();
        PROBES.iter().for_each(|probe| node.set(probe.name, "fail"));
        seconds(40).await;
        node.ears.heard();
        node.forget_who_was_asked();
        seconds(900).await;
        assert_eq!(PROBES.map(|probe| node.asked(probe.name)), [0, 0, 0]);
        let health = node.health();
        assert_eq!(health.verdict, Verdict::Healthy);
        assert!(health.words.starts_with("an upgrade is at work (pid "), "{}", health.words);
        PROBES.iter().for_each(|probe| node.set(probe.name, "ok"));
        drop(lock);
        seconds(10).await;
        assert_eq!(node.health().words, "a is up");
        assert_eq!(node.ears.heard(), ["healthy -> healthy: a is up"]);
        assert_eq!(PROBES.map(|probe| node.asked(probe.name)), [1, 1, 1]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn since_when_things_are_as_they_are_survives_a_restart() {
    let node = Node::new();
    node.watched(async {
        node.set("c", "fail");
        seconds(200).await;
    })
    .await;
    let before = node.health();
    assert_eq!(before.verdict, Verdict::Degraded);
    node.ears.heard();
    node.board.put(Health::starting(None, ""));
    // Of another time than the first.
    std::thread::sleep(Duration::from_millis(5));
    node.watched(seconds(200)).await;
    let after = node.health();
    assert_eq!((after.verdict, &after.since, after.role), (before.verdict, &before.since, Some(Role::Agent)));
    for name in ["a", "b", "c"] {
        let since = |health: &Health| health.probe(name).unwrap().since.clone();
        assert_eq!(since(&after), since(&before), "{name}");
    }
    // The node as a whole is told at each start, the probes only where they changed.
    assert_eq!(node.ears.heard(), ["ready", "starting -> degraded: c is down"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_ill_when_only_the_service_is_started_again_is_asked_how_it_is() {
    let node = Node::new();
    node.watched(seconds(60)).await;
    node.ears.heard();
    node.set("a", "fail");
    // No container is up here, so whoever waited for them would end the watch.
    let until = || Some(Deadline::after(Duration::from_secs(600)));
    node.watched_until(until(), seconds(120)).await;
    let heard = node.ears.heard();
    assert_eq!(heard[0], "ready");
    assert!(heard.contains(&"a: ok -> fail: a is down".to_owned()), "{heard:?}");
    assert!(heard.contains(&"healthy -> degraded: a is down".to_owned()), "{heard:?}");
    // On another boot it has to come up first.
    let path = node.paths.health_state();
    let boot = crate::machine::kernel::boot_id();
    fs::write(&path, fs::read_to_string(&path).unwrap().replace(&boot, "another")).unwrap();
    let context = || Context::new(node.paths.clone());
    let (mut signals, watch) = (Signals::listen().unwrap(), node.watch(until(), &context));
    let failure = run(watch, &mut signals).await.unwrap_err();
    assert_eq!(failure.reason, "health.not-installed");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_is_said_once_and_the_watch_goes_on() {
    let node = Node::new();
    fs::create_dir_all(node.paths.health_state().join("in the way")).unwrap();
    node.watched(async {
        seconds(3600).await;
        let warnings = node.ears.heard().into_iter().filter(|line| line.starts_with("warning: "));
        let warnings: Vec<String> = warnings.collect();
        assert!(warnings[0].contains("begins anew") && warnings[1].contains("cannot be written"), "{warnings:?}");
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        fs::remove_dir_all(node.paths.health_state()).unwrap();
        seconds(120).await;
        assert!(State::last(&node.paths).is_some());
        assert!(node.asked("a") > 100);
    })
    .await;
}
