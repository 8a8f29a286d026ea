//! A fleet that boots at once, against one mirror and one manager that limit and fail. Every node is the real code of a
//! boot's waits: it fetches the release from the mirror and waits for the manager, each with a cache, an HTTP client and
//! a deadline of its own.
//!
//! `bench fleet [--nodes N] [--kilobytes N] [--document FILE]`: 1,000 nodes and 512 kB if not given. Ends with an error
//! if a node does not end well, if retries come together, or if they multiply the mirror's bytes.

mod report;
mod world;

use crate::Fallible;
use kasm_bootstrap::deadline::Deadline;
use kasm_bootstrap::intent::{HostPort, Source};
use kasm_bootstrap::kasm::manager::Manager;
use kasm_bootstrap::net::{self, Options as Network};
use kasm_bootstrap::observe::Silent;
use kasm_bootstrap::paths::Paths;
use kasm_bootstrap::release::cache::Cache;
use kasm_bootstrap::release::fetch::fetch;
use kasm_bootstrap::release::{Request, Wanted};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::task::LocalSet;
use world::World;

/// The budget of a boot.
const BUDGET: Duration = Duration::from_secs(570);

/// What is simulated.
pub(crate) struct Options {
    pub nodes: usize,
    pub bytes: usize,
    document: Option<PathBuf>,
}

impl Options {
    fn read(words: &[&str]) -> Fallible<Options> {
        let value = |name: &str| words.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
        let options = Options {
            nodes: value("--nodes").unwrap_or("1000").parse()?,
            bytes: value("--kilobytes").unwrap_or("512").parse::<usize>()? * 1000,
            document: value("--document").map(PathBuf::from),
        };
        match options.nodes > 0 && options.bytes > 0 {
            true => Ok(options),
            false => Err("--nodes and --kilobytes are at least 1".into()),
        }
    }
}

/// How one node fared.
pub(crate) struct Ended {
    /// When it had both, after the start.
    pub after: Duration,
    /// What went wrong.
    pub trouble: Option<String>,
}

pub fn run(words: &[&str]) -> Fallible<()> {
    let options = Options::read(words)?;
    room_for(options.nodes as u64 * 8 + 256)?;
    let scratch = tempfile::tempdir()?;
    let mut release: Vec<u8> = (0..options.bytes).map(|at| (at.wrapping_mul(2_654_435_761) >> 7) as u8).collect();
    // What begins otherwise is no gzip file, and is not downloaded.
    for (byte, wanted) in release.iter_mut().zip([0x1f, 0x8b, 8]) {
        *byte = wanted;
    }
    let digest: String = Sha256::digest(&release).iter().map(|byte| format!("{byte:02x}")).collect();
    let world = World::start(&options, release);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = LocalSet::new().block_on(&runtime, async {
        let begun = Instant::now();
        let nodes: Vec<_> = (0..options.nodes)
            .map(|number| {
                let directory = scratch.path().join(number.to_string());
                let (url, manager, digest) = (world.release(number), world.manager(), digest.clone());
                tokio::task::spawn_local(async move {
                    let trouble =
                        node(&directory, url, manager, &digest).await.err().map(|error| whole(error.as_ref()));
                    // What it has fetched is not needed any more, and there are many.
                    let _ = std::fs::remove_dir_all(&directory);
                    Ended { after: begun.elapsed(), trouble }
                })
            })
            .collect();
        let mut ended = Vec::new();
        for node in nodes {
            ended.push(node.await?);
        }
        Ok::<_, tokio::task::JoinError>(ended)
    })?;
    let results = report::Results::of(&options, &world, &ended);
    let text = results.text();
    println!("{text}");
    if let Some(document) = &options.document {
        report::put_into(document, &text)?;
        eprintln!("written to {}", document.display());
    }
    results.verdict()
}

/// The waits of one boot.
async fn node(directory: &Path, url: String, manager: HostPort, digest: &str) -> Fallible<()> {
    let paths = Paths::below(directory);
    let network = Network { insecure: true, ..Network::default() };
    let deadline = Deadline::after(BUDGET);
    let client = net::client(&paths, &network)?;
    let cache = Cache::new(&paths);
    let request = Request::new(vec![Source::Url(url)], Wanted::Pinned(digest.parse()?));
    let manager = Manager::new(&paths, &manager, &network);
    let (fetched, healthy) =
        tokio::join!(fetch(&request, &client, &cache, deadline, &Silent), manager.wait(deadline, &Silent));
    fetched?;
    healthy?;
    Ok(())
}

/// An error with all its causes.
fn whole(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", whole(cause)),
        None => error.to_string(),
    }
}

/// Every node has a few connections, and so has the world.
fn room_for(files: u64) -> Fallible<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if hard < files {
        return Err(format!("{files} open files are needed and {hard} allowed: `ulimit -n` as root").into());
    }
    Ok(setrlimit(Resource::RLIMIT_NOFILE, soft.max(files), hard)?)
}
