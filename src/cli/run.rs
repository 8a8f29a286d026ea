//! `kasm-bootstrap run`: the service.

use super::teller::Teller;
use super::{Global, answer::Answer, views};
use crate::config::{self, Layer};
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
use std::sync::Arc;

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

/// Runs the command.
pub async fn run(global: &Global, _: Args) -> Result<Answer, Failure> {
    let paths = global.paths();
    let systemd = Systemd::from_environment();
    let console = Arc::new(Console { systemd: systemd.clone(), teller: Teller::new(global) });
    let file = global.config.as_deref();
    let load = || config::load(&global.sources(&paths, Layer::default()));
    // As far as it is configured at that moment.
    let options = || load().ok().and_then(|loaded| loaded.merged.run_options().ok()).unwrap_or_default();
    let serial = || options().console.then(|| Serial::of(&paths)).flatten();
    let (board, pulse) = (Board::default(), Pulse::default());
    let endpoint = Endpoint::start(&paths, board.clone(), pulse.clone(), console.clone());
    endpoint.listen(options().listen);
    let status_file = StatusFile::start(&paths, Some(board.clone()));
    let views = || {
        // Whoever asks for views has read the configuration, which may have come only now.
        endpoint.listen(options().listen);
        let mut views = views::of_a_person(global);
        views.push(Box::new(systemd.clone()));
        views.push(Box::new(endpoint.view()));
        views.extend(status_file.clone().map(|file| Box::new(file) as Box<dyn View>));
        if let Some(console) = serial() {
            views.push(Box::new(console));
        }
        views
    };
    let boot =
        Boot { paths: &paths, file, load: &load, supervisor: console.as_ref(), views: &views, board: board.clone() };
    let life = async {
        let result = boot::run(boot).await;
        if let Err(failure) = &result {
            systemd.status(&format!("failed: {} [{}]", failure.message, failure.reason));
            if let Some(console) = serial() {
                console.failure(failure);
            }
        }
        result
    };
    let signal = systemd.beside(pulse.beside(life)).await?;
    Ok(Answer::new(format!("stopped by {signal}"), json!({ "result": "stopped", "signal": signal })))
}

/// Tells systemd, and whoever reads standard error.
struct Console {
    systemd: Systemd,
    teller: Teller,
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
