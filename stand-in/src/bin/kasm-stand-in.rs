//! The stand-ins as one static program, for machines that really boot (`tests/vm`): the mirror and the
//! manager run beside such a machine, Docker's socket in it.
//!
//! ```text
//! kasm-stand-in release DIR [--version V] [--files N --bytes N] [--tries N]
//!                                                  a release that installs below /; prints its digest; with
//!                                                  --tries its components register by themselves
//! kasm-stand-in mirror ADDRESS DIR [--piece BYTES --pause MS]     serves DIR's files; one line a request
//! kasm-stand-in manager ADDRESS NAME [--ahead SECONDS] [--registration-token T] [--lifespan SECONDS]
//!                                                  HTTPS; one line a request; its clock may be off
//! kasm-stand-in docker [ROOT] [--unhealthy VERSION]               ROOT/run/docker.sock
//! ```
//!
//! Servers end when they are killed.

use kasm_stand_in::docker::{Condition, Docker, Script};
use kasm_stand_in::http::Request;
use kasm_stand_in::manager::{Behaviour, Manager, Registry};
use kasm_stand_in::mirror::{Fault, Mirror};
use kasm_stand_in::release::{Components, Options, Padding, Release};
use kasm_stand_in::tls;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// How often servers look for what is to be said.
const TICK: Duration = Duration::from_millis(50);

type Fallible<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["release", directory, options @ ..] => release(Path::new(directory), options),
        ["mirror", address, directory, options @ ..] => mirror(address, Path::new(directory), options),
        ["manager", address, name, options @ ..] => manager(address, name, options),
        ["docker", root, options @ ..] if !root.starts_with('-') => docker(Path::new(root), options),
        ["docker", options @ ..] => docker(Path::new("/"), options),
        _ => Err("usage: kasm-stand-in release DIR | mirror ADDRESS DIR | manager ADDRESS NAME | docker [ROOT]".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kasm-stand-in: {error}");
            ExitCode::FAILURE
        }
    }
}

/// An option's value.
fn value<T: FromStr>(options: &[&str], name: &str) -> Fallible<Option<T>>
where
    T::Err: Error + 'static,
{
    let found = options.windows(2).find(|pair| pair[0] == name);
    Ok(found.map(|pair| pair[1].parse()).transpose()?)
}

fn release(directory: &Path, options: &[&str]) -> Fallible<()> {
    let padding = Padding {
        files: value(options, "--files")?.unwrap_or(0),
        bytes: value(options, "--bytes")?.unwrap_or(0),
        compressible: false,
    };
    // The late test of the manager is a real release's.
    let manager_test = Some((10, Duration::from_secs(3)));
    let mut wanted = Options { booted: true, padding, manager_test, ..Options::default() };
    if let Some(version) = value(options, "--version")? {
        wanted.version = version;
    }
    // As patient as a real one is at the most (docs/kasm-facts.md, 5), and as slow to begin as a container.
    if let Some(tries) = value(options, "--tries")? {
        let (pause, after) = (Duration::from_secs(1), Duration::from_secs(1));
        wanted.components = Some(Components { tries, pause, after, ..Components::default() });
    }
    let built = Release::build(&wanted);
    built.write(directory)?;
    println!("{}", built.sha256);
    Ok(())
}

fn mirror(address: &str, directory: &Path, options: &[&str]) -> Fallible<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        files.push((format!("/{}", entry.file_name().to_string_lossy()), fs::read(entry.path())?));
    }
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let mirror = Mirror::at(address.parse()?, &files);
    if let Some(size) = value(options, "--piece")? {
        let pause = Duration::from_millis(value(options, "--pause")?.unwrap_or(100));
        mirror.always(Fault::Trickle { size, pause });
    }
    tell(|| mirror.requests(), || {})
}

fn manager(address: &str, name: &str, options: &[&str]) -> Fallible<()> {
    let ahead = Duration::from_secs(value(options, "--ahead")?.unwrap_or(0));
    let mut registry = Registry { registration_token: value(options, "--registration-token")?, ..Registry::default() };
    if let Some(seconds) = value(options, "--lifespan")? {
        registry.lifespan = Duration::from_secs(seconds);
    }
    let behaviour = || {
        let date = httpdate::fmt_http_date(SystemTime::now() + ahead);
        Behaviour { date: Some(date), registry: registry.clone(), ..Behaviour::default() }
    };
    let manager = Manager::start_at(address.parse()?, Some(tls::self_signed(&[name]).config), behaviour());
    tell(|| manager.requests(), || manager.behave(behaviour()))
}

fn docker(root: &Path, options: &[&str]) -> Fallible<()> {
    let sick: Option<String> = value(options, "--unhealthy")?;
    let versions = sick.map(|version| (version, Condition::Unhealthy)).into_iter().collect();
    let docker = Docker::scripted(root, Script { versions, ..Script::default() });
    tell(|| docker.requests(), || {})
}

/// One line a request, for ever.
fn tell(requests: impl Fn() -> Vec<Request>, tick: impl Fn()) -> Fallible<()> {
    let mut told = 0;
    loop {
        for request in requests().iter().skip(told) {
            told += 1;
            println!("{} {} {}", request.method, request.target, request.header("range").unwrap_or("-"));
        }
        std::io::stdout().flush()?;
        tick();
        std::thread::sleep(TICK);
    }
}
