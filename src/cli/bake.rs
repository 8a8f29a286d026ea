//! `kasm-bootstrap bake`: run while an image is built.

use super::duration::parse_duration;
use super::{Global, answer::Answer, plan, views};
use crate::apt::packages;
use crate::config::layer::{Layer, Origin, Raw};
use crate::config::{self, Merged, schema};
use crate::error::{Exit, Failure};
use crate::flow::bake::{self, Bake, Image, Record, SKIPPABLE, Wants};
use crate::intent::ReleaseIntent;
use crate::words;
use serde_json::json;
use std::fmt::Write;
use std::time::Duration;

/// Flags of `bake`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Kasm's version (repeatable); the first is what machines install, else the
    /// configuration's
    #[arg(long, value_name = "VERSION")]
    release: Vec<String>,
    /// A release by URL#sha256=HEX (repeatable); with --sha256, the mirrors of
    /// one release in order
    #[arg(long, value_name = "URL")]
    release_url: Vec<String>,
    /// The SHA-256 of the one release that the flags above name
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// A file of container images, by URL#sha256=HEX or FILE#sha256=HEX
    /// (repeatable); without a digest where Kasm publishes it
    #[arg(long, value_name = "URL", value_parser = Image::parse)]
    fetch: Vec<Image>,
    /// Install exactly these packages, NAME or NAME=VERSION, with commas
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = package)]
    packages: Vec<String>,
    /// Install no packages
    #[arg(long, conflicts_with = "packages")]
    no_packages: bool,
    /// Leave this machine's identity, keys and logs where they are
    #[arg(long)]
    no_clean: bool,
    /// Leave this step out (repeatable)
    #[arg(long, value_name = "STEP", value_parser = SKIPPABLE)]
    skip: Vec<String>,
    /// How long the whole may take
    #[arg(long, value_name = "SPAN", default_value = "30m", value_parser = parse_duration)]
    deadline: Duration,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

fn package(text: &str) -> Result<String, String> {
    match packages::is_name(text) {
        true => Ok(text.to_owned()),
        false => Err("it is no package's name".into()),
    }
}

/// Runs the command.
pub async fn run(global: &Global, args: Args) -> Result<Answer, Failure> {
    let (paths, dry_run) = (global.paths(), args.dry_run);
    let wants = args.wants(global)?;
    if dry_run {
        let budget = wants.budget;
        let plan = Bake::new(&paths, wants)?.plan();
        let steps = plan.describe();
        let text = format!("bake: within {}{}", words::span(budget), plan::lines(&steps));
        let json = json!({ "schema": 1, "verb": plan.verb, "budget_s": budget.as_secs(), "steps": steps });
        return Ok(Answer::new(text, json));
    }
    let (report, record) = bake::run(&paths, wants, views::of_a_person(global)).await?;
    let mut json = serde_json::to_value(&report).expect("a report holds nothing that JSON cannot");
    json["baked"] = serde_json::to_value(&record).expect("a record holds nothing that JSON cannot");
    Ok(Answer::new(report.detail + &text(&record), json))
}

/// What is in the image, line by line.
fn text(record: &Record) -> String {
    let mut text = String::new();
    let releases = record.releases.iter().map(|one| {
        (format!("Kasm {}", one.version.as_deref().unwrap_or("of unknown version")), one.bytes, &one.sha256)
    });
    let images = record.images.iter().map(|one| (one.name.clone(), one.bytes, &one.sha256));
    // Writing into a String cannot fail.
    for (name, bytes, sha256) in releases.chain(images) {
        let _ = write!(text, "\n{sha256}  {name}, {}", words::bytes(bytes));
    }
    for package in &record.packages {
        let _ = write!(text, "\n{} {}", package.name, package.version);
    }
    text
}

/// Tokens in configuration files: `bake` leaves them where they are. A fleet may want that; whoever does not must hear
/// of it.
fn staying_tokens(merged: &Merged) -> Vec<String> {
    let tokens = merged.shown().into_iter().filter(|one| schema::find(one.key).is_some_and(schema::Setting::is_secret));
    let staying = tokens.filter(|one| matches!(one.from, Origin::File(..)));
    staying
        .map(|one| format!("{} ({}) stays in the image: every machine made from it has it", one.key, one.from))
        .collect()
}

impl Args {
    fn wants(self, global: &Global) -> Result<Wants, Failure> {
        let paths = global.paths();
        let loaded = config::load(&global.sources(&paths, Layer::default()))?;
        views::warn(global, &loaded.warnings);
        views::warn(global, &staying_tokens(&loaded.merged));
        let mut releases = self.releases()?;
        releases.extend(loaded.merged.release()?);
        let mut skip = self.skip;
        let left_out = [("packages", self.no_packages), ("clean", self.no_clean)];
        skip.extend(left_out.iter().filter(|(_, given)| *given).map(|(name, _)| (*name).to_owned()));
        let mut kinds = self.fetch.iter().enumerate();
        if let Some((_, image)) =
            kinds.find(|(at, image)| self.fetch.iter().take(*at).any(|one| one.kind == image.kind))
        {
            let message = format!("{} is the second file of --fetch for {}", image.name, image.kind.setting());
            let help = "the installer takes one file of each kind: service images, workspace images, plugin images";
            return Err(Failure::new(Exit::Usage, "bake.images-twice", message, help));
        }
        Ok(Wants {
            releases,
            images: self.fetch,
            packages: (!self.packages.is_empty()).then_some(self.packages),
            skip,
            network: loaded.merged.network()?,
            budget: self.deadline,
        })
    }

    /// What the flags name: with `--sha256` one release, without it one for each of them.
    fn releases(&self) -> Result<Vec<ReleaseIntent>, Failure> {
        let one = |version: Option<&String>, urls: &[String], sha256: Option<&str>| {
            let mut layer = Layer::default();
            let mut set = |key, flag, raw: Option<Raw>| {
                if let (Some(setting), Some(raw)) = (schema::find(key), raw) {
                    layer.set(setting, raw, Origin::Flag(flag));
                }
            };
            set("release.version", "--release", version.cloned().map(Raw::Text));
            set("release.urls", "--release-url", (!urls.is_empty()).then(|| Raw::List(urls.to_vec())));
            set("release.sha256", "--sha256", sha256.map(|hex| Raw::Text(hex.to_owned())));
            Ok::<_, Failure>(Merged::of([&layer]).release()?)
        };
        if let Some(sha256) = &self.sha256 {
            if self.release.len() > 1 || (self.release.is_empty() && self.release_url.is_empty()) {
                let help =
                    "give --release or --release-url with it, or --release-url URL#sha256=HEX for each of several";
                return Err(Failure::new(Exit::Usage, "bake.sha256", "--sha256 is of exactly one release", help));
            }
            return Ok(one(self.release.first(), &self.release_url, Some(sha256))?.into_iter().collect());
        }
        let mut releases = Vec::new();
        for version in &self.release {
            releases.extend(one(Some(version), &[], None)?);
        }
        for url in &self.release_url {
            let (url, sha256) = match url.rsplit_once("#sha256=") {
                Some((url, sha256)) => (url, Some(sha256)),
                None => (url.as_str(), None),
            };
            releases.extend(one(None, &[url.to_owned()], sha256)?);
        }
        Ok(releases)
    }
}
