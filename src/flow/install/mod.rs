//! The main job: from a fresh machine to a node that is proved to be up.
//!
//! ```text
//! recover ─> tokens ─> present ─> preflight ─┬─> fetch ───> unpack ─┐
//!                                            ├─> manager ─> address ┼─> install ─> prove (─> settings)
//!                                            ├─> packages ──────────┤
//!                                            └─> swap ──────────────┘
//! ```

pub(in crate::flow) mod before;
pub(in crate::flow) mod docker;
mod error;
pub(in crate::flow) mod gather;
mod images;
pub(in crate::flow) mod installer;
mod settings;

pub use before::judge_token;
pub(in crate::flow) use error::Error;

use super::packages;
use super::run::{Ready, Report, fingerprint};
use crate::apt;
use crate::error::Failure;
use crate::intent::{Digest, Intent, Role, Source};
use crate::kasm::manager::Manager;
use crate::kasm::receipt::Receipt;
use crate::kasm::run::Mask;
use crate::kasm::services::Services;
use crate::machine::address::Found;
use crate::machine::instance::{Identity, Instance, Relation};
use crate::net;
use crate::observe::Observer;
use crate::paths::Paths;
use crate::release::{Cache, Tarball, Verified};
use crate::step::{Plan, Step, View};
use crate::token::Masker;
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

/// Why a step has nothing to do when only the proof is left.
const INSTALLED: &str = "it is installed already";

/// What the steps share.
pub struct Install {
    pub(in crate::flow) paths: Paths,
    pub(in crate::flow) intent: Intent,
    client: reqwest::Client,
    pub(in crate::flow) manager: Manager,
    pub(in crate::flow) masker: Masker,
    /// An earlier run began to install and did not come to the end of it.
    half_done: bool,
    /// The wanted version is there, but was not proved yet: only that is left.
    installed: Cell<bool>,
    /// Which instance this is, where what is here may be a copy of another one's: by hand nobody asks.
    identity: Identity,
    /// The machine may still be starting.
    at_boot: bool,
    tarball: RefCell<Option<Verified<Tarball>>>,
    /// The digest a sidecar told.
    learned: RefCell<Option<String>>,
    address: RefCell<Option<Found>>,
}

impl Install {
    /// Prepares, without touching the machine.
    pub fn new(paths: &Paths, intent: Intent) -> Result<Install, Failure> {
        Ok(Install {
            client: net::client(paths, &intent.network)?,
            manager: Manager::new(paths, &intent.manager.address, &intent.network),
            masker: Masker::new([&intent.manager.token]),
            paths: paths.clone(),
            intent,
            half_done: false,
            installed: Cell::new(false),
            identity: Identity::default(),
            at_boot: false,
            tarball: RefCell::new(None),
            learned: RefCell::new(None),
            address: RefCell::new(None),
        })
    }

    /// The same at boot, knowing which instance this machine is: what was installed on another one is a copy,
    /// and is installed anew.
    pub fn at_boot(self, identity: Identity) -> Install {
        Install { identity, at_boot: true, ..self }
    }

    /// The instance a receipt is about, and this one, if they are not the same.
    fn copied(&self, receipt: &Receipt) -> Option<(String, Instance)> {
        match self.identity.relation(receipt.instance.as_deref()) {
            Relation::Other(this) => Some((receipt.instance.clone().unwrap_or_default(), this)),
            Relation::Same | Relation::Unknown => None,
        }
    }

    /// The plan: what will be done, in words and in code.
    pub fn plan(&self) -> Plan<Install> {
        Plan { verb: "install", fingerprint: self.fingerprint(), steps: self.steps() }
    }

    fn steps(&self) -> Vec<Step<Install>> {
        let intent = &self.intent;
        let manager = self.manager.name();
        let unpacked = self.paths.shown(&self.paths.unpacked_dir());
        let swap = match intent.swap_mib {
            Some(mib) => format!("make {mib} MiB of swap at /var/swap.1, unless the machine has swap"),
            None => "leave the machine's swap alone".into(),
        };
        let (baked, before_install): (_, &[&str]) = match self.baked_images().is_empty() {
            true => (None, &["unpack", "address", "packages", "swap"]),
            false => {
                let about = "verify the SHA-256 of the container images in the cache";
                let verify = Step::new("images", &["preflight"], about, |work, cx| Box::pin(images::verify(work, cx)));
                (Some(verify), &["unpack", "address", "packages", "swap", "images"])
            }
        };
        let mut steps = vec![
            Step::new("recover", &[], "put back what an interrupted run may have left behind", |work, cx| {
                Box::pin(before::recover(work, cx))
            }),
            Step::new(
                "tokens",
                &["recover"],
                format!("check the {} without using it", self.intent.role.token()),
                |work, cx| Box::pin(before::tokens(work, cx)),
            ),
            Step::new("present", &["tokens"], format!("end here if {} is installed already", self.wanted()), {
                |work, cx| Box::pin(before::present(work, cx))
            }),
            Step::new("preflight", &["present"], "check the machine, its disks and the way to the manager", {
                |work, cx| Box::pin(before::preflight(work, false, cx))
            }),
            Step::new("fetch", &["preflight"], self.fetch_about(), |work, cx| Box::pin(gather::fetch(work, cx)))
                .lasting(Install::is_fetched),
        ];
        steps.extend(baked);
        steps.extend([
            Step::new("manager", &["preflight"], format!("wait until manager {manager} says that it is healthy"), {
                |work, cx| Box::pin(gather::manager(work, cx))
            })
            .within(intent.manager.wait),
            Step::new("packages", &["preflight"], packages::about(&self.paths), {
                |work, cx| Box::pin(gather::quiet(work, cx))
            })
            .within(intent.apt_wait),
            Step::new("swap", &["preflight"], swap, |work, cx| Box::pin(gather::swap(work, cx))),
            Step::new("address", &["manager"], self.address_about(), |work, cx| Box::pin(gather::address(work, cx))),
            Step::new("unpack", &["fetch"], format!("unpack it below {}", unpacked.display()), |work, cx| {
                Box::pin(gather::unpack(work, cx))
            })
            .lasting(Install::is_unpacked),
            Step::new("install", before_install, self.install_about(), |work, cx| {
                Box::pin(installer::install(work, cx))
            })
            .lasting(Install::is_installed),
            Step::new("prove", &["install"], self.prove_about(), |work, cx| Box::pin(installer::prove(work, cx))),
        ]);
        steps.extend(intent.settings.as_ref().map(|wanted| {
            Step::new("settings", &["prove"], settings::about(wanted), |work, cx| {
                Box::pin(settings::settings(work, cx))
            })
            .within(settings::LIMIT)
        }));
        steps
    }

    fn fingerprint(&self) -> String {
        let intent = &self.intent;
        fingerprint(&(
            (intent.role, &intent.release, &intent.manager.address, &intent.address, intent.proxy_port),
            (&intent.agent, &intent.guac, &intent.installer),
        ))
    }

    /// Keeps secrets out of what a script says.
    pub(in crate::flow) fn mask(&self) -> impl Fn(&str) -> String + Sync {
        let masker = &self.masker;
        |line| masker.mask(line).into_owned()
    }

    /// Stops and starts services; what their scripts say goes into the attempt's directory.
    pub(in crate::flow) fn services<'a>(
        &'a self,
        attempt: u32,
        mask: &'a Mask<'a>,
        observer: &'a dyn Observer,
    ) -> Services<'a> {
        Services { paths: &self.paths, attempt_dir: self.paths.attempt_dir(attempt), mask, observer }
    }

    /// This node's address, once it was found.
    pub(in crate::flow) fn own_address(&self) -> String {
        self.address.borrow().as_ref().map(|found| found.address.clone()).unwrap_or_default()
    }

    /// The release in words.
    pub(in crate::flow) fn wanted(&self) -> String {
        match &self.intent.release.version {
            Some(version) => format!("Kasm {version}"),
            None => "this release".into(),
        }
    }

    /// The release's SHA-256: pinned, or learned when its sidecar was read; empty before that.
    pub(in crate::flow) fn digest(&self) -> String {
        match &self.intent.release.digest {
            Digest::Pinned(digest) => digest.clone(),
            Digest::Sidecar => self.learned.borrow().clone().unwrap_or_default(),
        }
    }

    /// Where the release is unpacked, where that is known already.
    pub(in crate::flow) fn unpacked(&self) -> Option<PathBuf> {
        let digest = self.digest();
        (!digest.is_empty()).then(|| self.paths.unpacked_dir().join(digest))
    }

    /// Is the verified tarball in the cache? It is verified again when it is unpacked.
    pub(in crate::flow) fn is_fetched(&self) -> bool {
        let cached = self.digest().parse().is_ok_and(|digest| Cache::new(&self.paths).path(&digest).exists());
        cached || self.is_unpacked()
    }

    pub(in crate::flow) fn is_unpacked(&self) -> bool {
        self.unpacked().is_some_and(|directory| directory.join("kasm_release/install.sh").exists())
    }

    pub(in crate::flow) fn fetch_about(&self) -> String {
        let sources = self.intent.release.sources.iter().map(|source| match source {
            Source::Url(url) => net::describe::redact(url),
            Source::File(path) => path.display().to_string(),
        });
        let sources: Vec<String> = sources.collect();
        let release = &self.intent.release;
        let verified = match (&release.digest, &release.minisign_key) {
            (Digest::Pinned(digest), key) => {
                let signed = if key.is_some() { " and its minisign signature" } else { "" };
                format!("verify SHA-256 {}…{signed}", &digest[..12.min(digest.len())])
            }
            (Digest::Sidecar, Some(_)) => "verify its minisign signature".into(),
            (Digest::Sidecar, None) => "verify it by the .sha256sum beside it".into(),
        };
        format!("fetch {} ({}) and {verified}", self.wanted(), sources.join(", then "))
    }

    fn address_about(&self) -> String {
        use crate::intent::AddressChoice;
        match &self.intent.address {
            AddressChoice::Auto => "find this machine's address on the route to the manager".into(),
            AddressChoice::Interface(name) => format!("find this machine's address on {name}"),
            AddressChoice::Cloud(method) => format!("ask the metadata of {} for this machine's address", method.cloud),
            AddressChoice::Given(address) => format!("take the address {address}, as given"),
        }
    }

    fn install_about(&self) -> String {
        let force = if self.intent.force { "wipe what is installed, then " } else { "" };
        format!("{force}run install.sh for the role {}", self.intent.role)
    }

    fn prove_about(&self) -> String {
        match self.intent.role {
            Role::Agent => {
                "see that the configuration holds what was asked for and that the containers are healthy".into()
            }
            Role::Guac => {
                "see that the configuration holds what was asked for, that the containers are healthy and stay \
                           so, and that each component is registered"
                    .into()
            }
        }
    }
}

/// Runs the whole job, whatever instance this machine is.
pub async fn run(paths: &Paths, intent: Intent, views: Vec<Box<dyn View>>) -> Result<Report, Failure> {
    let budget = intent.budget;
    execute(paths, Install::new(paths, intent)?, budget, views).await
}

/// Runs the whole job at boot, on this instance: see [`Install::at_boot`].
pub async fn run_at_boot(
    paths: &Paths,
    intent: Intent,
    identity: Identity,
    views: Vec<Box<dyn View>>,
) -> Result<Report, Failure> {
    let budget = intent.budget;
    execute(paths, Install::new(paths, intent)?.at_boot(identity), budget, views).await
}

async fn execute(
    paths: &Paths,
    mut work: Install,
    budget: Duration,
    views: Vec<Box<dyn View>>,
) -> Result<Report, Failure> {
    let plan = work.plan();
    let ready = Ready::take(paths, plan.verb, &plan.fingerprint)?;
    work.half_done = ready.earlier().is_some_and(|earlier| before::is_half_done(paths, earlier));
    ready.run(&plan, &work, budget, views, || put_back(paths)).await
}

/// Puts back what was changed for the run only. Returns what could not be put back. Whoever calls it holds
/// the run's lock.
pub async fn put_back(paths: &Paths) -> Vec<String> {
    let collect = Collect::default();
    packages::restore(paths, &collect).await;
    if let Err(error) = apt::snippet::remove(paths) {
        collect.warn(&format!("{} cannot be removed: {error}", paths.apt_snippet().display()));
    }
    collect.warnings()
}

/// Keeps warnings for later.
#[derive(Default)]
pub(super) struct Collect(Mutex<Vec<String>>);

impl Collect {
    /// What was kept.
    pub(super) fn warnings(self) -> Vec<String> {
        self.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Observer for Collect {
    fn warn(&self, text: &str) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(text.to_owned());
    }
}
