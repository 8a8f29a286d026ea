//! Who elsewhere is told of a run: the webhook, and the manager by check-in token. Started before the run, waited for
//! at the end of the process, for a bounded time; neither changes how the run ends.

use super::{Global, views};
use crate::error::Failure;
use crate::flow::run::Report;
use crate::intent::Reporting;
use crate::observe::Observer;
use crate::paths::Paths;
use crate::report::checkin;
use crate::report::webhook::{Left, Webhook, spool::Spool};
use crate::step::{Entry, Event, Hub, View};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a process waits at its end for what it has to tell: of the budget's last part, which is for reporting.
pub const FAREWELL: Duration = Duration::from_secs(10);

/// Handles on the senders. Clones are the same senders.
#[derive(Clone)]
pub struct Reports {
    reporting: Reporting,
    webhook: Option<Webhook>,
    checkin: Option<checkin::Teller>,
    /// The failure that the last run has ended with.
    ended: Arc<Mutex<Option<Failure>>>,
}

impl Reports {
    /// Starts what there is to start. `observer` is told what an operator should know of it.
    pub fn start(paths: &Paths, reporting: &Reporting, observer: &Arc<dyn Observer>) -> Reports {
        Reports {
            webhook: Webhook::start(paths, reporting, observer.clone()),
            checkin: checkin::Teller::start(paths, reporting, observer.clone()),
            reporting: reporting.clone(),
            ended: Arc::default(),
        }
    }

    /// True if these are the senders for this configuration.
    pub fn are_for(&self, reporting: &Reporting) -> bool {
        self.reporting == *reporting
    }

    /// The views for one run.
    pub fn views(&self) -> Vec<Box<dyn View>> {
        let mut views: Vec<Box<dyn View>> = vec![Box::new(Ended(self.ended.clone()))];
        views.extend(self.webhook.as_ref().map(Webhook::view));
        views.extend(self.checkin.as_ref().map(checkin::Teller::view));
        views
    }

    /// Tells a failure that no run has ended with: there are some before any.
    pub fn failure(&self, failure: &Failure) {
        let told = self.ended.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(failure);
        if !told {
            let (exit, detail) = (failure.code, failure.message.clone());
            let ended = Event::RunEnded { exit, detail, failure: Some(failure.clone()) };
            // It is recorded nowhere, so it cannot fail.
            let _ = Hub::unrecorded("none".into(), self.views()).tell(ended);
        }
    }

    /// Waits until all is told, at most so long; then what there is to say about it.
    pub async fn finish(&self, limit: Duration) -> Vec<String> {
        let webhook = async {
            match &self.webhook {
                Some(webhook) => webhook.finish(limit).await,
                None => Left::default(),
            }
        };
        let checkin = async {
            if let Some(checkin) = &self.checkin {
                checkin.finish(limit).await;
            }
        };
        let (Left { waiting, lost }, ()) = tokio::join!(webhook, checkin);
        let mut said = Vec::new();
        if waiting > 0 {
            said.push(format!(
                "webhook: {waiting} events wait on the disk; the next run here, or the service, tells them"
            ));
        }
        if lost > 0 {
            said.push(format!("webhook: {lost} events are lost: nobody will be told them"));
        }
        said
    }
}

/// True if an earlier process has left something to be told.
pub fn is_something_left(paths: &Paths) -> bool {
    !Spool::new(paths).list().is_empty()
}

/// Does a run with all its views, and waits at its end for those elsewhere.
pub async fn told(
    global: &Global,
    reporting: &Reporting,
    run: impl AsyncFnOnce(Vec<Box<dyn View>>) -> Result<Report, Failure>,
) -> Result<Report, Failure> {
    let kept = Arc::new(Kept::default());
    let observer: Arc<dyn Observer> = kept.clone();
    let reports = Reports::start(&global.paths(), reporting, &observer);
    let mut views = views::views(global);
    views.extend(reports.views());
    let result = run(views).await;
    let left = reports.finish(FAREWELL).await;
    views::warn(global, &kept.0.lock().unwrap_or_else(PoisonError::into_inner));
    views::warn(global, &left);
    result
}

/// Remembers how a run ended.
struct Ended(Arc<Mutex<Option<Failure>>>);

impl View for Ended {
    fn event(&mut self, entry: &Entry) {
        if let Event::RunEnded { failure, .. } = &entry.event {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).clone_from(failure);
        }
    }
}

/// Keeps warnings until the run is over: meanwhile the terminal is the run's.
#[derive(Default)]
struct Kept(Mutex<Vec<String>>);

/// So many are kept.
const MOST_KEPT: usize = 16;

impl Observer for Kept {
    fn warn(&self, text: &str) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MOST_KEPT && !kept.iter().any(|known| known == text) {
            kept.push(text.to_owned());
        }
    }
}
