//! Baking: what a machine would download and install at its first boot is put into the image it is made
//! from, and what belongs to one machine alone is taken out again.
//!
//! ```text
//! check ─┬─> packages ───────────────────────┐
//!        ├─> releases ─> images ─> configuration ─> clean ─> record
//!        └─> rclone ─────────────────────────┘
//! ```
//!
//! Every step looks first and does only what is not done: a second run changes nothing.

mod clean;
mod configuration;
mod error;
mod fetch;
mod images;
mod packages;
mod record;

pub use error::Error;
pub use images::{Image, Kind};
pub use record::{Baked, BakedImages, Record};

use super::install::put_back;
use super::run::{Ready, Report};
use crate::error::Failure;
use crate::intent::ReleaseIntent;
use crate::kasm::layout::Installed;
use crate::net;
use crate::paths::Paths;
use crate::step::{Context, Finish, Plan, Step, View};
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// The steps that can be left out, by name.
pub const SKIPPABLE: [&str; 6] = ["packages", "releases", "images", "rclone", "configuration", "clean"];

/// What is to be in the image.
#[derive(Debug, Clone)]
pub struct Wants {
    /// Releases; the first is what machines made from the image install unless they are told otherwise.
    pub releases: Vec<ReleaseIntent>,
    /// Files with container images.
    pub images: Vec<Image>,
    /// Packages by name; `None`: those that Kasm's installer would install.
    pub packages: Option<Vec<String>>,
    /// Steps to leave out.
    pub skip: Vec<String>,
    /// How mirrors are reached.
    pub network: net::Options,
    /// How long the whole may take.
    pub budget: Duration,
}

/// What the steps share.
pub struct Bake {
    paths: Paths,
    wants: Wants,
    client: reqwest::Client,
    /// What was in the image before this run.
    earlier: Option<Record>,
    /// What is in it now, as far as this run has come.
    record: RefCell<Record>,
    changed: Cell<bool>,
}

impl Bake {
    /// Prepares, without touching the machine.
    pub fn new(paths: &Paths, wants: Wants) -> Result<Bake, Failure> {
        let earlier = Record::read(paths)?;
        Ok(Bake {
            client: net::client(paths, &wants.network)?,
            paths: paths.clone(),
            wants,
            record: RefCell::new(earlier.clone().unwrap_or_default()),
            earlier,
            changed: Cell::new(false),
        })
    }

    /// The plan: what will be done, in words and in code.
    pub fn plan(&self) -> Plan<Bake> {
        let step = |name, after, about: String, run| {
            let about = if self.skips(name) { "left out (--skip)".into() } else { about };
            Step::new(name, after, about, run)
        };
        let steps = vec![
            step("check", &[], "see that this is a machine to make an image of".into(), |work, cx| {
                Box::pin(check(work, cx))
            }),
            step("packages", &["check"], packages::about(self), |work, cx| Box::pin(packages::install(work, cx))),
            step("releases", &["check"], fetch::releases_about(self), |work, cx| Box::pin(fetch::releases(work, cx))),
            step("images", &["releases"], fetch::images_about(self), |work, cx| Box::pin(fetch::images(work, cx))),
            step("rclone", &["check"], "make the directories that Docker's rclone plugin needs".into(), {
                |work, cx| Box::pin(configuration::rclone(work, cx))
            }),
            step("configuration", &["images"], configuration::about(self), |work, cx| {
                Box::pin(configuration::write(work, cx))
            }),
            step("clean", &["packages", "rclone", "configuration"], clean::about(), |work, cx| {
                Box::pin(clean::clean(work, cx))
            }),
            step("record", &["clean"], format!("write {}", self.shown(&self.paths.baked())), |work, cx| {
                Box::pin(record::write(work, cx))
            }),
        ];
        // Steps look at the machine, never at an earlier run: one fingerprint will do.
        Plan { verb: "bake", fingerprint: "bake".into(), steps }
    }

    fn skips(&self, step: &str) -> bool {
        self.wants.skip.iter().any(|name| name == step)
    }

    fn shown(&self, path: &std::path::Path) -> String {
        self.paths.shown(path).display().to_string()
    }
}

/// How a step ends that the operator left out.
fn left_out() -> Result<Finish, Failure> {
    Ok(Finish::Skipped("left out, as asked".into()))
}

/// Refuses what could do harm, before anything is done.
async fn check(work: &Bake, _cx: Context<'_>) -> Result<Finish, Failure> {
    if work.paths.is_machine() && !nix::unistd::geteuid().is_root() {
        return Err(Error::NotRoot.into());
    }
    // Its keys, its identity and its journal would be gone.
    if !work.skips("clean")
        && let Some(installed) = Installed::read(&work.paths)
    {
        return Err(Error::InUse { version: installed.version }.into());
    }
    Ok(Finish::Done("no Kasm is installed here".into()))
}

/// Runs the whole job, and returns what is in the image afterwards too.
pub async fn run(paths: &Paths, wants: Wants, views: Vec<Box<dyn View>>) -> Result<(Report, Record), Failure> {
    let budget = wants.budget;
    let ready = Ready::take(paths, "bake", "bake")?;
    let work = Bake::new(paths, wants)?;
    let report = ready.run(&work.plan(), &work, budget, views, || put_back(paths)).await?;
    let record = work.record.into_inner();
    Ok((report, record))
}
