//! Questions asked before anything is touched, each with a remedy.
//!
//! A [`Check`] is a name and a function. All of them run, those that wait at the same time, before the
//! first failure ends the run: an operator hears of everything that is wrong at once.

mod clock;
mod disk;
mod docker;
mod error;
pub mod fix;
mod hardware;
mod host;
mod kernel;
mod leftovers;
mod manager;
mod ports;
mod report;
mod tokens;
mod way;

pub use fix::Fixed;
pub use report::{CheckResult, Report, Verdict};

use crate::deadline::Deadline;
use crate::error::Failure;
use crate::intent::{AddressChoice, HostPort, InstallerIntent, MetadataOptions, Role, Source};
use crate::kasm::manager::{Look, Manager};
use crate::machine::facts::Facts;
use crate::net;
use crate::paths::Paths;
use error::Error;
use futures_util::future::{BoxFuture, join_all};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// No check may take longer; one that does is itself broken.
const CHECK_TIME: Duration = Duration::from_secs(10);
/// What all questions to the manager may take together: less, so that they can still say what they saw.
const LOOK_TIME: Duration = Duration::from_secs(9);
/// The same where a later step waits for the manager, and the download should not have to.
const GLANCE_TIME: Duration = Duration::from_secs(2);

/// One question.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its name: stable, lower case, words joined by dashes. Checks are skipped by it.
    pub name: &'static str,
    /// What it asks, in one line.
    pub about: &'static str,
    /// Asks. Changes nothing on the machine and sends no secret.
    pub run: for<'a> fn(&'a Context) -> BoxFuture<'a, Verdict>,
    /// Applies the remedy, where that is safe.
    pub fix: Option<fix::Fix>,
}

impl Check {
    const fn fixed_by(self, fix: fix::Fix) -> Check {
        Check { fix: Some(fix), ..self }
    }
}

const fn check(
    name: &'static str,
    about: &'static str,
    run: for<'a> fn(&'a Context) -> BoxFuture<'a, Verdict>,
) -> Check {
    Check { name, about, run, fix: None }
}

/// What becomes of a manager that does not answer yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It fails the check: the operator wants to know now.
    #[default]
    Refuse,
    /// It is a warning where waiting may mend it: a later step waits for the manager.
    Wait,
}

/// What the checks look at.
#[derive(Debug)]
pub struct Context {
    /// Every path.
    pub paths: Paths,
    /// The machine.
    pub facts: Facts,
    /// The manager; without one its checks are skipped.
    pub manager: Option<HostPort>,
    /// How the manager is trusted and named.
    pub network: net::Options,
    /// The node's role, where it is known.
    pub role: Option<Role>,
    /// How this node's own address is to be found; without it the check is skipped.
    pub address: Option<AddressChoice>,
    /// The cloud's metadata service.
    pub metadata: MetadataOptions,
    /// The port of this node's own proxy; 443 where none is given.
    pub proxy_port: Option<u16>,
    /// What the installer is told beside; some of it makes checks needless.
    pub installer: InstallerIntent,
    /// The size of the release's tarball, bytes, where it is known.
    pub release_bytes: Option<u64>,
    /// Mirrors and files of the release; without one their check is skipped.
    pub sources: Vec<Source>,
    /// The release is on this machine already, so that no mirror matters.
    pub cached: bool,
    /// What becomes of a manager that does not answer yet.
    pub mode: Mode,
    /// The Kasm that is here is to be upgraded: both versions have to fit.
    pub upgrade: bool,
    /// Names of checks to leave out.
    pub skip: Vec<String>,
    look: OnceCell<Look>,
    docker: OnceCell<docker::Look>,
}

impl Context {
    /// A context that knows the machine and nothing else; the rest is set field by field.
    pub fn new(paths: Paths, facts: Facts) -> Context {
        Context {
            paths,
            facts,
            manager: None,
            network: net::Options::default(),
            role: None,
            address: None,
            metadata: MetadataOptions::default(),
            proxy_port: None,
            installer: InstallerIntent::default(),
            release_bytes: None,
            sources: Vec::new(),
            cached: false,
            mode: Mode::default(),
            upgrade: false,
            skip: Vec::new(),
            look: OnceCell::new(),
            docker: OnceCell::new(),
        }
    }

    /// The same, without what was seen of Docker and of the manager.
    pub fn forgotten(self) -> Context {
        Context { look: OnceCell::new(), docker: OnceCell::new(), ..self }
    }

    /// Looks at the manager, once for all the checks that ask about it.
    async fn look(&self, address: &HostPort) -> &Look {
        let manager = Manager::new(&self.paths, address, &self.network);
        let time = if self.mode == Mode::Wait { GLANCE_TIME } else { LOOK_TIME };
        self.look.get_or_init(|| async move { manager.look(Deadline::after(time)).await }).await
    }

    /// Looks at Docker, once for all the checks that ask about it.
    async fn docker(&self) -> &docker::Look {
        self.docker.get_or_init(|| docker::look(&self.paths)).await
    }

    /// True if the installer is told this flag of Kasm's, by its long name or by its short one.
    fn tells(&self, long: &str, short: &str) -> bool {
        self.installer.flags.iter().any(|flag| flag == long)
            || self.installer.extra.iter().any(|arg| arg == short || arg.strip_prefix("--") == Some(long))
    }
}

/// Why what only the running machine can tell is not asked below a scratch root.
const NOT_BELOW_ROOT: &str = "not needed below --root";

/// Every check, in the order they are shown.
pub fn checks() -> Vec<Check> {
    vec![
        check("root", "we run as root", host::root),
        check("os", "Kasm supports this distribution", host::os),
        check("architecture", "Kasm is built for this processor", host::architecture),
        check("installer-tools", "the programs install.sh calls are there", host::tools),
        check("kasm-present", "which version of Kasm is here already", host::kasm_present),
        check("disk-state", "there is room for the release", disk::state),
        check("disk-kasm", "there is room for Kasm itself", disk::kasm),
        check("exec-allowed", "the release can run where it is unpacked", disk::exec_allowed),
        check("disk-docker", "there is room for container images", disk::docker),
        check("memory", "there is memory for the role", hardware::memory),
        check("cores", "there are processors for the role", hardware::cores),
        check("systemd", "systemd is the init system", host::systemd),
        check("cgroups", "which control groups there are", kernel::cgroups),
        check("security", "what may deny containers something", kernel::security),
        check("wireguard", "the kernel has WireGuard", kernel::wireguard),
        check("guest-agent", "the provider can see this machine's address", hardware::guest_agent),
        check("ports", "Kasm's ports are free", ports::free),
        check("docker", "Docker answers, and is one that Kasm can use", docker::daemon),
        check("compose", "Docker has a compose that works with it", docker::compose),
        check("sidecar", "Kasm's sidecar plugin is enabled in Docker", docker::sidecar).fixed_by(fix::sidecar),
        check("rclone", "the rclone plugin's directories are there", docker::rclone).fixed_by(fix::rclone),
        check("leftovers", "nothing is left of half an installation", leftovers::check),
        check("auth-tokens", "the tokens of an installed connection proxy can work", tokens::auth),
        check("manager-name", "the manager's name resolves", manager::name),
        check("manager-tcp", "the manager takes connections", manager::tcp),
        check("manager-tls", "the manager's certificate is believed", manager::tls),
        check("manager-health", "the manager calls itself healthy", manager::health),
        check("address", "this node's own address", manager::address),
        check("proxy", "the proxy leads to the manager", way::proxy),
        check("clock", "this machine's clock is right", clock::clock),
        check("release-mirror", "the release can be downloaded", way::mirror),
    ]
}

/// True if Docker is installed, whether it runs or not.
pub fn has_docker(paths: &Paths) -> bool {
    docker::binary(paths).is_some()
}

/// Refuses names that no check has.
pub fn known(names: &[String]) -> Result<(), Failure> {
    let all = checks();
    match names.iter().find(|name| all.iter().all(|check| check.name != **name)) {
        None => Ok(()),
        Some(name) => Err(Error::UnknownCheck { name: name.clone() }.into()),
    }
}

/// Runs all of them, at the same time, each for at most 10 s.
pub async fn run(checks: &[Check], context: &Context) -> Report {
    let results = join_all(checks.iter().map(|check| async move {
        let started = Instant::now();
        let verdict = if context.skip.iter().any(|name| name == check.name) {
            Verdict::Skipped("as asked".into())
        } else {
            match tokio::time::timeout(CHECK_TIME, (check.run)(context)).await {
                Ok(verdict) => verdict,
                Err(_) => Verdict::Broken { detail: format!("no answer within {} s", CHECK_TIME.as_secs()) },
            }
        };
        CheckResult { name: check.name, verdict, took: started.elapsed() }
    }));
    Report { results: results.await }
}
