//! How the service `kasm-bootstrap run` goes about its work: no part of what is wanted of the node.

use super::reader::Reader;
use crate::config::error::Error;
use crate::config::merged::Merged;
use crate::config::value;
use std::net::SocketAddr;
use std::time::Duration;

/// When the service tells systemd that it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ready {
    /// When the node is healthy.
    #[default]
    Healthy,
    /// At once: nothing that is ordered after it waits for the node.
    AtOnce,
}

impl Ready {
    /// The words of `run.ready`.
    const ALL: [(&'static str, Ready); 2] = [("healthy", Ready::Healthy), ("at-once", Ready::AtOnce)];
}

/// What the service does by itself about a node that is not well. Nothing, unless it is asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Remedies {
    /// Enable the sidecar plugin where it is disabled.
    pub enable_sidecar: bool,
    /// Repair tokens that are broken.
    pub repair_tokens: bool,
    /// So often an hour, restart a component that does not stay up.
    pub restart_components: u32,
}

/// How often an hour a component may be restarted at the most: beyond that it is not up anyway.
const MOST_RESTARTS: u32 = 60;

/// The settings of the tables `run` and `http`, and what of the table `health` is the service's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOptions {
    /// When the service is ready.
    pub ready: Ready,
    /// How long a configuration that is not complete is waited for.
    pub wait: Duration,
    /// The time between two looks at a node that is up; never zero.
    pub watch: Duration,
    /// Whether a run is told on the machine's serial console.
    pub console: bool,
    /// Where HTTP requests are answered on TCP, beside the unix socket.
    pub listen: Option<SocketAddr>,
    /// What is done about a node that is not well.
    pub remedies: Remedies,
}

impl Default for RunOptions {
    fn default() -> RunOptions {
        RunOptions {
            ready: Ready::Healthy,
            wait: Duration::from_secs(10 * 60),
            watch: Duration::from_secs(30),
            console: true,
            listen: None,
            remedies: Remedies::default(),
        }
    }
}

impl Merged {
    /// The settings of the service. All that is wrong with them is in the one error.
    pub fn run_options(&self) -> Result<RunOptions, Error> {
        self.read(Reader::run_options)
    }
}

impl Reader<'_> {
    pub(super) fn run_options(&mut self) -> RunOptions {
        let watch =
            |text: &str| value::some_time(text, "looking without a pause would be all that this machine does", "30s");
        let restarts = |text: &str| {
            value::count(text, 0..=MOST_RESTARTS, &format!("write how often an hour, 0 to {MOST_RESTARTS}; 0 is never"))
        };
        let ready = self.choice("run.ready", &Ready::ALL);
        let watch = self.parsed("run.watch", watch);
        let restarts = self.parsed("health.restart_components", restarts);
        let usual = RunOptions::default();
        let remedies = Remedies {
            enable_sidecar: self.parsed("health.enable_sidecar", value::boolean).unwrap_or_default(),
            repair_tokens: self.parsed("health.repair_tokens", value::boolean).unwrap_or_default(),
            restart_components: restarts.unwrap_or_default(),
        };
        RunOptions {
            ready: ready.unwrap_or_default(),
            wait: self.parsed("run.wait", value::duration).unwrap_or(usual.wait),
            watch: watch.unwrap_or(usual.watch),
            console: self.parsed("run.console", value::boolean).unwrap_or(usual.console),
            listen: self.parsed("http.listen", value::listen),
            remedies,
        }
    }
}
