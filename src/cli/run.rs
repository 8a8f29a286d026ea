//! `kasm-bootstrap run`: the service.

use super::reports::{self, FAREWELL, Reports};
use super::teller::Teller;
use super::{Global, answer::Answer, views};
use crate::config::{self, Layer, Merged, RunOptions};
use crate::error::Failure;
use crate::flow::boot::{self, Boot};
use crate::health::Board;
use crate::observe::{Observer, Supervisor, Wait};
use crate::report::console::Console as Serial;
use crate::report::http::{Endpoint, Pulse};
use crate::report::status_file::StatusFile;
use crate::report::systemd::Systemd;
use crate::step::View;
use serde_json::json;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

/// Flags of `run`: none of its own. What it is to do is in the configuration.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

const EXAMPLES: &str = "\
Made for systemd (Type=notify): it says what it waits for in `systemctl status`,
is ready when the node is healthy, and ends with 0 when it is told to stop.
It installs once on each instance; after a reboot it only watches. An incomplete
configuration is waited for, a wrong one is an error.

Examples:
  systemctl enable --now kasm-bootstrap    As a service
  kasm-bootstrap run                       By hand, until Ctrl-C
  kasm-bootstrap plan install              What it would install
  kasm-bootstrap status --wait             Wait until it has installed";

/// How long it waits for what is still to be told when it is told to stop: what is left is told by the next start.
const STOPPING: Duration = Duration::from_secs(2);

/// Runs the command.
pub async fn run(global: &Global, _: Args) -> Result<Answer, Failure> {
    let paths = global.paths();
    let systemd = Systemd::from_environment();
    let teller = Arc::new(Teller::new(global));
    let observer: Arc<dyn Observer> = teller.clone();
    let console = Arc::new(Console { systemd: systemd.clone(), teller });
    let file = global.config.as_deref();
    let load = || config::load(&global.sources(&paths, Layer::default()));
    // As far as it is configured at that moment.
    let merged = || load().ok().map(|loaded| loaded.merged);
    let options = |merged: Option<&Merged>| merged.and_then(|merged| merged.run_options().ok()).unwrap_or_default();
    let serial = |options: &RunOptions| options.console.then(|| Serial::of(&paths)).flatten();
    let (board, pulse) = (Board::default(), Pulse::default());
    let endpoint = Endpoint::start(&paths, board.clone(), pulse.clone(), console.clone());
    endpoint.listen(options(merged().as_ref()).listen);
    let status_file = StatusFile::start(&paths, Some(board.clone()));
    // Started once, and anew where the configuration is another by then.
    let senders: RefCell<Option<Reports>> = RefCell::default();
    let told = |merged: Option<&Merged>| {
        let mut senders = senders.borrow_mut();
        if let Some(reporting) = merged.and_then(|merged| merged.reporting().ok())
            && !senders.as_ref().is_some_and(|senders| senders.are_for(&reporting))
        {
            *senders = Some(Reports::start(&paths, &reporting, &observer));
        }
        senders.clone()
    };
    let views = || {
        // Whoever asks for views has read the configuration, which may have come only now.
        let merged = merged();
        let options = options(merged.as_ref());
        endpoint.listen(options.listen);
        let mut views = views::of_a_person(global);
        views.extend(told(merged.as_ref()).iter().flat_map(Reports::views));
        views.push(Box::new(systemd.clone()));
        views.push(Box::new(endpoint.view()));
        views.extend(status_file.clone().map(|file| Box::new(file) as Box<dyn View>));
        if let Some(console) = serial(&options) {
            views.push(Box::new(console));
        }
        views
    };
    let boot = Boot { paths: &paths, file, load: &load, supervisor: console.as_ref(), views: &views, board };
    let life = async {
        // What the process before this one could not tell.
        if reports::is_something_left(&paths) {
            told(merged().as_ref());
        }
        let result = boot::run(boot).await;
        if let Err(failure) = &result {
            systemd.status(&format!("failed: {} [{}]", failure.message, failure.reason));
            let merged = merged();
            if let Some(console) = serial(&options(merged.as_ref())) {
                console.failure(failure);
            }
            told(merged.as_ref()).iter().for_each(|told| told.failure(failure));
        }
        let limit = if result.is_ok() { STOPPING } else { FAREWELL };
        let senders = senders.borrow().clone();
        if let Some(senders) = senders {
            senders.finish(limit).await.iter().for_each(|text| console.warn(text));
        }
        result
    };
    let signal = systemd.beside(pulse.beside(life)).await?;
    Ok(Answer::new(format!("stopped by {signal}"), json!({ "result": "stopped", "signal": signal })))
}

/// Tells systemd, and whoever reads standard error.
struct Console {
    systemd: Systemd,
    teller: Arc<Teller>,
}

impl Observer for Console {
    fn waiting(&self, wait: &Wait) {
        self.systemd.waiting(wait);
        self.teller.waiting(wait);
    }

    fn bytes(&self, done: u64, total: Option<u64>) {
        self.systemd.bytes(done, total);
    }

    fn note(&self, text: &str) {
        self.teller.say(text);
    }

    fn warn(&self, text: &str) {
        self.teller.warn(text);
    }
}

impl Supervisor for Console {
    fn ready(&self) {
        self.systemd.ready();
    }

    fn stopping(&self) {
        self.systemd.stopping();
    }

    fn status(&self, text: &str) {
        // Whoever reads standard error has the views for that.
        self.systemd.status(text);
    }
}
