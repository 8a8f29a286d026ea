//! Runs a plan: steps side by side as far as their order allows, under one budget.

use super::error::Error;
use super::event::{Ending, Event};
use super::hub::{Hub, StepObserver};
use super::journal::Earlier;
use super::signals::Signals;
use super::{Context, Finish, Plan, Step};
use crate::deadline::Deadline;
use crate::error::Failure;
use crate::words;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::time::{Duration, Instant};

/// What is kept of the budget for telling how it ended.
const RESERVE: Duration = Duration::from_secs(30);

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The last word: what the run has brought about.
    pub detail: String,
    /// True if there was nothing to do.
    pub already: bool,
}

/// What is kept of this budget for ending and reporting.
pub fn reserve(budget: Duration) -> Duration {
    RESERVE.min(budget / 10)
}

/// When steps must end, so that what is left of the budget suffices to report.
pub fn work_deadline(budget: Duration) -> Deadline {
    Deadline::after(budget.saturating_sub(reserve(budget)))
}

/// Runs the steps of the plan that are not finished yet. On the first failure, a signal, or the end of
/// the budget, the other running steps are dropped (and clean up as they are dropped).
///
/// Every start and ending is journalled before the next thing happens; the beginning and the end of
/// the run itself are the caller's to record.
pub async fn execute<W>(
    plan: &Plan<W>,
    work: &W,
    hub: &Hub,
    earlier: Option<&Earlier>,
    budget: Duration,
) -> Result<Outcome, Failure> {
    let whole = Deadline::after(budget);
    let deadline = work_deadline(budget);
    let mut signals = Signals::listen()?;
    let mut finished: Vec<&'static str> = Vec::new();
    let mut begun: Vec<(&'static str, Instant)> = Vec::new();
    let mut running = FuturesUnordered::new();
    let mut last = String::new();
    let result = loop {
        for step in &plan.steps {
            let waits = step.after.iter().any(|name| !finished.contains(name));
            if waits || begun.iter().any(|(name, _)| *name == step.name) {
                continue;
            }
            begun.push((step.name, Instant::now()));
            running.push(run_step(step, work, hub, earlier, deadline));
        }
        let open = || running_names(&begun, &finished);
        let (name, result) = tokio::select! {
            biased;
            signal = signals.next() => {
                break Err(Error::Interrupted { signal, step: open().join(", ") }.into());
            }
            ended = running.next() => match ended {
                Some(ended) => ended,
                None => break Ok(Outcome { detail: last, already: false }),
            },
            () = tokio::time::sleep_until(whole.instant().into()) => {
                let step = open().first().copied().unwrap_or("none");
                let waiting = hub.waiting(step);
                break Err(Error::Budget { budget_s: budget.as_secs(), step, waiting }.into());
            }
        };
        match result {
            Ok(Finish::Complete(detail)) => {
                finished.push(name);
                break Ok(Outcome { detail, already: true });
            }
            Ok(Finish::Done(detail) | Finish::Warned(detail) | Finish::Skipped(detail)) => {
                finished.push(name);
                last = detail;
            }
            Err(failure) => {
                finished.push(name);
                break Err(failure);
            }
        }
    };
    // Dropped before it is recorded: a step that is on record as stopped has stopped.
    drop(running);
    let mut told = Ok(());
    for name in running_names(&begun, &finished) {
        let took = begun.iter().find(|(step, _)| *step == name).map_or(Duration::ZERO, |(_, at)| at.elapsed());
        told = told.and(hub.tell(ended(name, Ending::Stopped, "cut short".into(), took)));
    }
    // Why the run ends is better news than that its end cannot be recorded.
    result.and_then(|outcome| told.map(|()| outcome).map_err(Failure::from))
}

fn running_names(begun: &[(&'static str, Instant)], finished: &[&'static str]) -> Vec<&'static str> {
    begun.iter().map(|(name, _)| *name).filter(|name| !finished.contains(name)).collect()
}

async fn run_step<W>(
    step: &Step<W>,
    work: &W,
    hub: &Hub,
    earlier: Option<&Earlier>,
    deadline: Deadline,
) -> (&'static str, Result<Finish, Failure>) {
    let begun = Instant::now();
    if let Some(why) = finished_earlier(step, work, earlier) {
        let told = hub.tell(ended(step.name, Ending::Skipped, why.clone(), Duration::ZERO));
        return (step.name, told.map(|()| Finish::Skipped(why)).map_err(Failure::from));
    }
    if let Err(error) = hub.tell(Event::StepStarted { step: step.name.into() }) {
        return (step.name, Err(error.into()));
    }
    let observer = StepObserver::new(hub, step.name);
    let deadline = step.limit.map_or(deadline, |limit| deadline.within(limit));
    let result = (step.run)(work, Context { deadline, observer: &observer }).await;
    let (ending, detail) = match &result {
        Ok(Finish::Done(detail) | Finish::Complete(detail)) => (Ending::Done, detail.clone()),
        Ok(Finish::Warned(detail)) => (Ending::Warned, detail.clone()),
        Ok(Finish::Skipped(detail)) => (Ending::Skipped, detail.clone()),
        Err(failure) => (Ending::Failed, failure.message.clone()),
    };
    let told = hub.tell(ended(step.name, ending, detail, begun.elapsed()));
    // The step's own failure is the better news to pass on.
    (step.name, result.and_then(|finish| told.map(|()| finish).map_err(Failure::from)))
}

fn finished_earlier<W>(step: &Step<W>, work: &W, earlier: Option<&Earlier>) -> Option<String> {
    let (earlier, still_done) = (earlier?, step.still_done?);
    let (_, run) = earlier.finished.iter().find(|(name, _)| name == step.name)?;
    still_done(work).then(|| format!("finished by run {run}"))
}

fn ended(step: &str, ending: Ending, detail: String, took: Duration) -> Event {
    let took_ms = words::millis(took);
    Event::StepEnded { step: step.into(), ending, detail, took_ms }
}

#[cfg(test)]
mod tests {
    use super::super::journal::{Journal, earlier};
    use super::super::{Entry, View};
    use super::*;
    use crate::error::Exit;
    use crate::observe::Wait;
    use crate::paths::Paths;
    use std::cell::RefCell;

    #[derive(Default)]
    struct Work {
        ran: RefCell<Vec<&'static str>>,
        fail: Option<&'static str>,
        gone: bool,
    }

    fn step(name: &'static str, after: &'static [&'static str], lasting: bool) -> Step<Work> {
        // One function pointer a name: a step's code knows itself.
        let run: for<'a> fn(&'a Work, Context<'a>) -> super::super::Running<'a> = match name {
            "one" => |work, _| Box::pin(async { work.go("one") }),
            "two" => |work, _| Box::pin(async { work.go("two") }),
            "three" => |work, _| Box::pin(async { work.go("three") }),
            "complete" => |_, _| Box::pin(async { Ok(Finish::Complete("all is there".into())) }),
            _ => |_, cx| {
                Box::pin(async move {
                    let holder = Some("nobody".into());
                    cx.observer.waiting(&Wait { what: "the end of days".into(), holder, deadline: cx.deadline });
                    std::future::pending().await
                })
            },
        };
        let still_done: Option<fn(&Work) -> bool> = if lasting { Some(|work| !work.gone) } else { None };
        Step { still_done, ..Step::new(name, after, "", run) }
    }

    impl Work {
        fn go(&self, name: &'static str) -> Result<Finish, Failure> {
            self.ran.borrow_mut().push(name);
            if self.fail == Some(name) {
                return Err(Failure::new(Exit::Download, "test.fail", "it failed", "mend it"));
            }
            Ok(Finish::Done(format!("{name} is done")))
        }
    }

    struct Bench {
        _directory: tempfile::TempDir,
        paths: Paths,
    }

    impl Bench {
        fn new() -> Bench {
            let directory = tempfile::tempdir().unwrap();
            let paths = Paths::below(directory.path());
            Bench { _directory: directory, paths }
        }

        async fn run(&self, steps: Vec<Step<Work>>, work: &Work, budget: Duration) -> Result<Outcome, Failure> {
            let plan = Plan { verb: "install", fingerprint: "f".into(), steps };
            let before = earlier(&self.entries(), "install", "f");
            let hub = Hub::new(ring_id(), Journal::open(&self.paths).unwrap(), Vec::<Box<dyn View>>::new());
            hub.tell(Event::RunStarted {
                verb: "install".into(),
                fingerprint: "f".into(),
                version: String::new(),
                boot: String::new(),
                uptime_ms: None,
                pid: 0,
                budget_ms: 0,
                resumes: None,
                steps: vec![],
            })
            .unwrap();
            execute(&plan, work, &hub, before.as_ref(), budget).await
        }

        fn entries(&self) -> Vec<Entry> {
            Journal::read(&self.paths).unwrap()
        }

        fn endings(&self) -> Vec<(String, Ending)> {
            let entries = self.entries();
            let endings = entries.iter().filter_map(|entry| match &entry.event {
                Event::StepEnded { step, ending, .. } => Some((step.clone(), *ending)),
                _ => None,
            });
            endings.collect()
        }
    }

    fn ring_id() -> String {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        COUNT.fetch_add(1, Ordering::Relaxed).to_string()
    }

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn steps_run_in_their_order_and_the_last_word_is_the_outcome() {
        let (bench, work) = (Bench::new(), Work::default());
        let steps = vec![step("one", &[], false), step("two", &["one"], false), step("three", &["two"], false)];
        let outcome = bench.run(steps, &work, LONG).await.unwrap();
        assert_eq!(outcome, Outcome { detail: "three is done".into(), already: false });
        assert_eq!(*work.ran.borrow(), ["one", "two", "three"]);
    }

    #[tokio::test]
    async fn a_failure_stops_what_runs_beside_it_and_nothing_starts_after_it() {
        let (bench, work) = (Bench::new(), Work { fail: Some("one"), ..Work::default() });
        let steps = vec![step("hang", &[], false), step("one", &[], false), step("two", &["one"], false)];
        let failure = bench.run(steps, &work, LONG).await.unwrap_err();
        assert_eq!(failure.reason, "test.fail");
        assert_eq!(*work.ran.borrow(), ["one"]);
        assert_eq!(bench.endings(), [("one".into(), Ending::Failed), ("hang".into(), Ending::Stopped)]);
    }

    #[tokio::test]
    async fn nothing_runs_after_a_step_that_says_all_is_there() {
        let (bench, work) = (Bench::new(), Work::default());
        let steps = vec![step("complete", &[], false), step("one", &["complete"], false)];
        let outcome = bench.run(steps, &work, LONG).await.unwrap();
        assert_eq!(outcome, Outcome { detail: "all is there".into(), already: true });
        assert!(work.ran.borrow().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_ends_a_step_that_does_not_end_itself_and_names_its_wait() {
        let (bench, work) = (Bench::new(), Work::default());
        let failure = bench.run(vec![step("hang", &[], false)], &work, Duration::from_millis(50)).await.unwrap_err();
        assert_eq!((failure.reason.as_str(), failure.exit()), ("run.budget", Exit::Budget));
        assert!(failure.message.contains("step hang, waiting for the end of days (nobody)"), "{}", failure.message);
    }

    #[tokio::test]
    async fn a_finished_step_is_not_repeated_while_its_result_is_there() {
        let bench = Bench::new();
        let steps = || vec![step("one", &[], true), step("two", &["one"], false), step("three", &["two"], true)];
        let first = Work { fail: Some("three"), ..Work::default() };
        bench.run(steps(), &first, LONG).await.unwrap_err();

        let second = Work::default();
        bench.run(steps(), &second, LONG).await.unwrap();
        assert_eq!(*second.ran.borrow(), ["two", "three"]);

        let third = Work { gone: true, ..Work::default() };
        bench.run(steps(), &third, LONG).await.unwrap();
        assert_eq!(*third.ran.borrow(), ["one", "two", "three"]);
    }

    #[test]
    fn the_last_part_of_the_budget_is_for_reporting() {
        let left = work_deadline(Duration::from_secs(570)).remaining().as_secs();
        assert!((535..=540).contains(&left), "{left}");
        assert!(work_deadline(Duration::from_secs(10)).remaining() > Duration::from_secs(8));
    }
}
