//! Measures `kasm-bootstrap` beside the shell it takes the place of, all sides in one run and in turns, and
//! writes `docs/performance.md`. `scripts/bench` builds both programs and calls it:
//!
//! `bench run --binary FILE --scratch DIR [--runs N] [--scale F] [--document FILE]`
//!
//! Beside it: `bench watch --binary FILE [--seconds N]`, what watching a node costs; `bench fleet`, a fleet that boots
//! at once (`scripts/bench-fleet`).
//!
//! Parts of it call themselves: `bench measure COMMAND…` and `bench inflate FILE`.

mod data;
mod fleet;
mod locks;
mod machine;
mod measure;
mod place;
mod report;
mod server;
mod watch;
mod ways;

use data::{Release, Shape};
use measure::{Taken, measured};
use place::Places;
use report::{Results, Steady};
use server::{Link, Servers};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use ways::{FLOORS, NETWORK, OURS, Track, UNPACK, WAYS};

/// Whatever goes wrong ends the run, in words.
pub type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// How often `--version` and `status` are started.
const STARTS: u32 = 50;
/// How often the locks are let go.
const LOCKS: u32 = 20;
/// Downloads that must cost the same memory, MB.
const WEIGHTS: [u64; 2] = [50, 500];

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).collect();
    let result = match words.as_slice() {
        ["measure", ..] => return measure::child(&args[1..]),
        ["inflate", path] => data::inflate(Path::new(path)),
        ["watch", options @ ..] => watch::run(options),
        ["fleet", options @ ..] => fleet::run(options),
        ["run", options @ ..] => Options::read(options).and_then(|options| run(&options)),
        _ => Err("usage: bench run --binary FILE --scratch DIR [--runs N] [--scale F] [--document FILE]".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is measured, and how often.
struct Options {
    binary: PathBuf,
    scratch: PathBuf,
    runs: u32,
    scale: f64,
    document: Option<PathBuf>,
}

impl Options {
    fn read(words: &[&str]) -> Fallible<Options> {
        let value = |name: &str| words.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
        let path = |name: &str| value(name).map(PathBuf::from);
        let options = Options {
            binary: path("--binary").ok_or("--binary is missing")?,
            scratch: path("--scratch").ok_or("--scratch is missing")?,
            runs: value("--runs").unwrap_or("5").parse()?,
            scale: value("--scale").unwrap_or("1").parse()?,
            document: path("--document"),
        };
        if options.runs == 0 || !(0.01..=4.0).contains(&options.scale) {
            return Err("--runs is at least 1, --scale between 0.01 and 4".into());
        }
        Ok(options)
    }
}

fn run(options: &Options) -> Fallible<()> {
    let scratch = &options.scratch;
    let mut results = Results::new(machine::Machine::look(), options.runs);
    eprintln!("making the releases");
    let make = |shape| data::make(shape, scratch, options.scale);
    let shapes = [make(Shape::Many)?, make(Shape::Big)?];
    let weights = WEIGHTS.map(|megabytes| make(Shape::Weight(((megabytes as f64 * options.scale) as u64).max(1))));
    let weights = weights.into_iter().collect::<Fallible<Vec<Release>>>()?;
    let files: Vec<&Path> = shapes.iter().chain(&weights).map(|release| release.tar_gz.as_path()).collect();
    let servers = Servers::start(&files, scratch)?;
    let places = Places::new(scratch);
    results.place = places.name();
    let track = Track { binary: &options.binary, places: &places, servers: &servers };

    for round in 1..=options.runs {
        for (number, release) in shapes.iter().enumerate() {
            let mut go = |way, link| -> Fallible<()> {
                results.add(number, link, way, track.go(way, release, link)?);
                Ok(())
            };
            for link in Link::ALL {
                eprintln!("round {round} of {}: {}, {}", options.runs, report::SHAPES[number], link.name());
                WAYS.iter().chain(&[NETWORK]).try_for_each(|way| go(*way, link))?;
            }
            FLOORS.iter().chain(&[UNPACK]).try_for_each(|way| go(*way, Link::Http))?;
        }
        for (release, kept) in weights.iter().zip(&mut results.weights) {
            kept.push(track.go(OURS, release, Link::Https)?);
        }
    }
    results.describe(&shapes, &weights);
    drop(servers);

    eprintln!("apt's locks: ours, {LOCKS} times");
    let ours = locks::ours(&options.binary, scratch, LOCKS)?;
    eprintln!("apt's locks: as Kasm's script waits, {LOCKS} times at once");
    let official = locks::official(scratch, LOCKS)?;
    eprintln!("starts");
    let start = |args: &[&str]| -> Fallible<Vec<Taken>> {
        let mut command = Command::new(&options.binary);
        command.arg("--root").arg(&ours.root).args(args);
        (0..STARTS).map(|_| measured(&command)).collect()
    };
    let steady = Steady {
        version: start(&["--version"])?,
        status: start(&["status"])?,
        size: std::fs::metadata(&options.binary)?.len(),
        ours,
        official,
    };
    results.machine.load_after = machine::load();
    let text = results.document(&steady);
    println!("{text}");
    if let Some(document) = &options.document {
        std::fs::write(document, text)?;
        eprintln!("written to {}", document.display());
    }
    Ok(())
}
