//! Every probe, one file a theme.
//!
//! Words begin with the cause. What a probe cannot find out is `unknown`, with the reason; what does not apply to a
//! machine is well. Thresholds without another source are our own measure.

mod clock;
mod component;
mod containers;
mod disk;
mod docker;
mod guest;
mod kasm;
mod manager;
mod memory;
mod tokens;
mod upstream;

use super::model::{Finding, ProbeStatus};
use super::probe::{Context, Probe};
use futures_util::future::{BoxFuture, FutureExt};
use std::time::Duration;

/// The probes that others know by name: what the service can mend is told by them.
pub const CONTAINERS: &str = containers::NAME;
/// See [`CONTAINERS`].
pub const RESTARTS: &str = containers::RESTARTS;
/// See [`CONTAINERS`].
pub const SIDECAR: &str = docker::SIDECAR;
/// See [`CONTAINERS`].
pub const TOKENS: &str = tokens::NAME;

/// Why what only the running machine can tell is not asked below a scratch root.
const NOT_BELOW_ROOT: &str = "not looked at below --root";

/// What there is to say of containers on a node that was told to start none.
const NOT_STARTED: &str = "nothing was to be started (--no-start)";

/// What a probe's function is.
type Ask = for<'a> fn(&'a Context, Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding>;

const fn probe(name: &'static str, about: &'static str, every: u64, confirm: u32, ask: Ask) -> Probe {
    let (every, limit) = (Duration::from_secs(every), Duration::from_secs(10));
    Probe { name, about, every, limit, confirm, vital: false, ask }
}

const fn vital(probe: Probe) -> Probe {
    Probe { vital: true, ..probe }
}

/// An answer, or why there is none: either is what the probe found.
fn found<'a>(answer: impl Future<Output = Result<Finding, Finding>> + Send + 'a) -> BoxFuture<'a, Finding> {
    answer.map(|found| found.unwrap_or_else(|why| why)).boxed()
}

/// All of them, in the order in which a person would want to read them.
pub(super) fn all() -> Vec<Probe> {
    vec![
        vital(probe(containers::NAME, "the containers of the role are up, says Docker", 30, 2, containers::up)),
        vital(probe(docker::DAEMON, "Docker's daemon answers", 30, 2, docker::daemon)),
        vital(probe(kasm::NAME, "which Kasm is installed, and where its links lead", 300, 2, kasm::installed)),
        vital(probe(tokens::NAME, "the components' tokens are good, and not refused", 300, 2, tokens::tokens)),
        probe(upstream::NAME, "the manager's address is one, and the configured one", 300, 2, upstream::address),
        probe(manager::DNS, "the manager's name resolves", 60, 3, manager::name),
        probe(manager::NAME, "the manager calls itself healthy", 60, 3, manager::health),
        probe(guest::AGENT, "the manager's provider can see this machine", 120, 2, guest::agent),
        probe(kasm::LAST_RUN, "the last run ended well", 900, 1, kasm::last_run),
        probe(kasm::CONFIGURATION, "the configuration could be read", 900, 1, kasm::configuration),
        probe(containers::RESTARTS, "no container is started again and again", 120, 1, containers::restarts),
        probe(component::NAME, "the component's own health check, through kasm_proxy", 60, 3, component::health),
        probe(docker::SIDECAR, "Kasm's sidecar plugin is enabled in Docker", 60, 2, docker::sidecar),
        probe(docker::RCLONE, "the rclone plugin is enabled in Docker", 300, 2, docker::rclone),
        probe(docker::VERSION, "Docker is one that Kasm can use", 900, 1, docker::which),
        probe(tokens::EXPIRY, "no token expires soon", 300, 2, tokens::expiry),
        probe(manager::CERTIFICATE, "the manager's certificate does not expire soon", 900, 2, manager::certificate),
        probe(clock::NAME, "this machine's clock is right", 300, 3, clock::clock),
        probe(disk::NAME, "there is room on the disks, and inodes", 60, 2, disk::room),
        probe(memory::NAME, "there is memory and swap", 60, 3, memory::memory),
        probe(memory::LOAD, "the machine has no more to do than it can", 60, 5, memory::load),
        probe(memory::OOM, "nothing was killed for lack of memory lately", 60, 1, memory::oom),
        probe(guest::REBOOT, "the machine does not wait for a restart", 900, 1, guest::reboot),
    ]
}

/// A remedy for what a person can do on a node whose Kasm was never installed.
const SEE_STATUS: &str = "`kasm-bootstrap status` says what the last run did, `kasm-bootstrap install` installs";

/// Seconds in a day.
const DAY: i64 = 24 * 3600;
/// What ends within so many days is worth a word, unless it is renewed without anybody's doing: time enough to see to it.
const SOON: i64 = 14;

/// The number of this name that was found before.
fn number(before: Option<&ProbeStatus>, name: &str) -> Option<f64> {
    before?.measures.iter().find(|measure| measure.name == name && measure.of.is_none()).map(|measure| measure.value)
}

/// What is known where `/proc` or `/sys` does not tell.
fn not_told(context: &Context, error: &std::io::Error) -> Finding {
    match !context.paths.is_machine() && error.kind() == std::io::ErrorKind::NotFound {
        true => Finding::ok(NOT_BELOW_ROOT),
        false => Finding::unknown(format!("the kernel does not tell: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_probe_has_a_name_of_its_own_and_time_for_an_answer() {
        let all = all();
        for (at, probe) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|other| other.name != probe.name), "{}", probe.name);
            assert!(probe.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", probe.name);
            assert!(probe.limit < probe.every && probe.confirm > 0 && !probe.about.ends_with('.'), "{}", probe.name);
        }
    }
}
