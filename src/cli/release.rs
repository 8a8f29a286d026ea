//! `kasm-bootstrap release`: fetch, verify, unpack, digest, list.

use super::{Global, answer::Answer, duration::parse_duration, teller::Teller};
use crate::blocking;
use crate::config::value;
use crate::deadline::Deadline;
use crate::error::{Exit, Failure};
use crate::intent::{MinisignKey, Source};
use crate::net;
use crate::observe::{Observer, Silent};
use crate::release::signature::Key;
use crate::release::{self, Cache, Digest, Limits, Request, Tarball, Verified, Wanted};
use crate::words;
use clap::{ArgGroup, Subcommand};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The command's flags.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Download a release, verify it, and print where it is
    Fetch(Fetch),
    /// Check the SHA-256 of a file
    Verify(Verify),
    /// Verify a release and unpack it to DIR/kasm_release
    Unpack(Unpack),
    /// Print the SHA-256 of a release, and the configuration that pins it
    Digest(DigestArgs),
    /// What the cache holds
    List,
}

#[derive(Debug, clap::Args)]
#[command(group = proof())]
#[command(override_usage = "kasm-bootstrap release fetch [OPTIONS] --sha256 <HEX|sidecar> <URL>...\n       \
    kasm-bootstrap release fetch [OPTIONS] --minisign-key <KEY> <URL>...")]
struct Fetch {
    /// The SHA-256 it must have; the word sidecar trusts the .sha256sum beside it instead
    #[arg(long, value_name = "HEX|sidecar", value_parser = wanted)]
    sha256: Option<Wanted>,
    #[command(flatten)]
    signer: Signer,
    /// Put the verified file here instead of into the cache
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Mirrors in the order they are tried: https, http or file URLs, or paths
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
    #[command(flatten)]
    network: Network,
}

#[derive(Debug, clap::Args)]
#[command(group = proof())]
#[command(override_usage = "kasm-bootstrap release verify [OPTIONS] --sha256 <HEX> <FILE>\n       \
    kasm-bootstrap release verify [OPTIONS] --minisign-key <KEY> <FILE>")]
struct Verify {
    /// The SHA-256 it must have
    #[arg(long, value_name = "HEX", value_parser = digest)]
    sha256: Option<Digest>,
    #[command(flatten)]
    signer: Signer,
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
#[command(group = proof())]
#[command(override_usage = "kasm-bootstrap release unpack [OPTIONS] --sha256 <HEX> <FILE> <DIR>\n       \
    kasm-bootstrap release unpack [OPTIONS] --minisign-key <KEY> <FILE> <DIR>")]
struct Unpack {
    /// The SHA-256 it must have
    #[arg(long, value_name = "HEX", value_parser = digest)]
    sha256: Option<Digest>,
    #[command(flatten)]
    signer: Signer,
    /// The tarball
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where kasm_release is to appear
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// At least one of the two proofs.
fn proof() -> ArgGroup {
    ArgGroup::new("proof").args(["sha256", "minisign_key"]).required(true).multiple(true)
}

#[derive(Debug, clap::Args)]
struct Signer {
    /// The minisign key (or its file) that signed the .minisig beside it: --sha256 may be left out
    #[arg(long, value_name = "KEY", value_parser = minisign_key)]
    minisign_key: Option<MinisignKey>,
}

#[derive(Debug, clap::Args)]
struct DigestArgs {
    /// An https, http or file URL, or a path
    #[arg(value_name = "URL|FILE")]
    source: String,
    #[command(flatten)]
    network: Network,
}

#[derive(Debug, clap::Args)]
struct Network {
    /// Trust this certificate authority, or this self-signed certificate (PEM)
    #[arg(long, value_name = "FILE")]
    ca_cert: Vec<PathBuf>,
    /// Trust exactly this certificate or public key: sha256:HEX, or base64
    #[arg(long, value_name = "PIN")]
    tls_pin: Option<net::Pin>,
    /// Do not verify certificates at all
    #[arg(long)]
    insecure: bool,
    /// Give up after this long: 90s, 30m, 2h
    #[arg(long, visible_alias = "timeout", value_name = "SPAN", default_value = "30m", value_parser = parse_duration)]
    deadline: Duration,
}

fn digest(text: &str) -> Result<Digest, String> {
    text.parse().map_err(|error: release::Error| error.to_string())
}

fn minisign_key(text: &str) -> Result<MinisignKey, String> {
    value::minisign_key(text).map_err(|wrong| format!("it {}; {}", wrong.problem, wrong.help))
}

fn wanted(text: &str) -> Result<Wanted, String> {
    match text {
        "sidecar" => Ok(Wanted::Sidecar),
        text => digest(text).map(Wanted::Pinned),
    }
}

/// Runs the command.
pub async fn run(global: &Global, args: Args) -> Result<Answer, Failure> {
    let teller = Teller::new(global);
    match args.command {
        Command::Fetch(args) => fetch(global, args, &teller).await,
        Command::Verify(args) => {
            let found = read(args.file, args.sha256, args.signer).await?;
            Ok(tarball_answer(&found, format!("{}: OK", found.path().display())))
        }
        Command::Unpack(args) => unpack(args, teller).await,
        Command::Digest(args) => print_digest(global, args, &teller).await,
        Command::List => list(global),
    }
}

async fn fetch(global: &Global, args: Fetch, teller: &Teller) -> Result<Answer, Failure> {
    let paths = global.paths();
    let client = args.network.client(global, teller)?;
    let deadline = Deadline::after(args.network.deadline);
    let wanted = match (args.sha256, args.signer.key()?) {
        (wanted, Some(key)) => wanted.unwrap_or(Wanted::Sidecar).signed_by(key),
        (Some(wanted), None) => wanted,
        (None, None) => return Err(unproved()),
    };
    let request = Request::new(args.urls.iter().map(|url| source(url)).collect(), wanted);
    let kept = Cache::new(&paths);
    let Some(output) = args.output else {
        let found = release::fetch(&request, &client, &kept, deadline, teller).await?;
        return Ok(tarball_answer(&found, found.path().display().to_string()));
    };
    let place = Cache::at_file(&output);
    let at_hand = match &request.digest {
        Wanted::Pinned(digest) => kept.lookup(digest, &Silent).await,
        Wanted::Signed { key, digest: Some(digest) } => kept.lookup_signed(digest, key).await,
        Wanted::Sidecar | Wanted::Signed { digest: None, .. } => None,
    };
    let found = match at_hand {
        Some(found) => found,
        None => release::fetch(&request, &client, &place, deadline, teller).await?,
    };
    if found.path() != output {
        found.copy_to(&output)?;
    }
    let mut answer = tarball_answer(&found, output.display().to_string());
    answer.json["path"] = json!(output);
    Ok(answer)
}

async fn unpack(args: Unpack, teller: Teller) -> Result<Answer, Failure> {
    let tarball = read(args.file, args.sha256, args.signer).await?;
    let sha256 = tarball.digest().to_string();
    let observer: Arc<dyn Observer> = Arc::new(teller);
    let directory = args.directory;
    let work =
        blocking::run(move || release::unpack(&tarball, &directory, &Limits::default(), observer.as_ref())).await?;
    let json = json!({
        "path": work.root, "sha256": sha256, "files": work.files, "links": work.links, "bytes": work.bytes,
    });
    Ok(Answer::new(work.root.display().to_string(), json))
}

async fn print_digest(global: &Global, args: DigestArgs, teller: &Teller) -> Result<Answer, Failure> {
    let client = args.network.client(global, teller)?;
    let deadline = Deadline::after(args.network.deadline);
    let place = source(&args.source);
    let (found, bytes) = match place.clone() {
        Source::File(path) => blocking::run(move || release::measure_file(&path)).await?,
        url @ Source::Url(_) => release::measure(&url, &client, deadline, teller).await?,
    };
    let url = match &place {
        Source::File(path) => {
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            reqwest::Url::from_file_path(&absolute).map_or_else(|()| path.display().to_string(), String::from)
        }
        Source::Url(url) => net::redact(url),
    };
    if matches!(&place, Source::Url(given) if *given != url) {
        teller.say("note: credentials and query are left out of the URL below");
    }
    teller.say("note: this trusts what was there just now; pin it, and compare it with what Kasm publishes");
    let text = format!("{found}\n\n[release]\nurls = [{}]\nsha256 = \"{found}\"", toml::Value::String(url.clone()));
    Ok(Answer::new(text, json!({ "sha256": found.to_string(), "bytes": bytes, "url": url })))
}

fn list(global: &Global) -> Result<Answer, Failure> {
    let paths = global.paths();
    let kept = Cache::new(&paths).list()?;
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let lines: Vec<String> = kept
        .iter()
        .map(|kept| {
            let state = if kept.partial { "  partial" } else { "" };
            format!("{}  {:>8}{state}", kept.digest, words::bytes(kept.length))
        })
        .collect();
    let json = kept.iter().map(|kept| {
        json!({
            "sha256": kept.digest.to_string(), "path": kept.path, "bytes": kept.length,
            "modified": seconds(kept.modified), "partial": kept.partial,
        })
    });
    let text = match lines.as_slice() {
        [] => "the cache is empty".to_owned(),
        lines => format!("in {}:\n{}", paths.cache_dir().display(), lines.join("\n")),
    };
    Ok(Answer::new(text, json.collect()))
}

fn tarball_answer(tarball: &Verified<Tarball>, text: String) -> Answer {
    let json = json!({ "path": tarball.path(), "sha256": tarball.digest().to_string(), "bytes": tarball.length() });
    Answer::new(text, json)
}

fn source(text: &str) -> Source {
    if text.contains("://") { Source::Url(text.to_owned()) } else { Source::File(Path::new(text).to_owned()) }
}

async fn read(path: PathBuf, wanted: Option<Digest>, signer: Signer) -> Result<Verified<Tarball>, Failure> {
    let read = match (wanted, signer.key()?) {
        (wanted, Some(key)) => blocking::run(move || Verified::read_signed(&path, &key, wanted)).await,
        (Some(wanted), None) => blocking::run(move || Verified::read(&path, wanted)).await,
        (None, None) => return Err(unproved()),
    };
    Ok(read?)
}

/// The flags demand one of the two; this is for the day they do not.
fn unproved() -> Failure {
    let message = "there is nothing to verify the release with";
    Failure::new(Exit::Usage, "release.unproved", message, "give --sha256 or --minisign-key")
}

impl Signer {
    fn key(&self) -> Result<Option<Key>, release::Error> {
        self.minisign_key.as_ref().map(Key::try_from).transpose()
    }
}

impl Network {
    fn client(&self, global: &Global, teller: &Teller) -> Result<reqwest::Client, Failure> {
        if self.insecure && self.tls_pin.is_none() {
            teller.say(
                "warning: --insecure: anybody on the way can see and change what is downloaded; \
                 only a pinned SHA-256 protects the release",
            );
        }
        let options = net::Options { ca_certs: self.ca_cert.clone(), pin: self.tls_pin, insecure: self.insecure };
        Ok(net::client(&global.paths(), &options)?)
    }
}
