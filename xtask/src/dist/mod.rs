//! `cargo xtask dist`: all that a release is, made and verified on this machine, without a network
//! (docs/release.md).
//!
//! ```text
//! refuse ─> binary ─> packages ─> bill of materials ─> sources ─> SHA256SUMS ─> signature ─> verify ─> target/dist/VERSION
//! ```
//!
//! What can be refused is refused first. Everything is made in a directory beside the last one's place, which takes
//! that place only when all of it was verified.

mod refuse;
#[cfg(test)]
mod tests;
mod verify;

use kasm_bootstrap::release::measure_file;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How it is called.
pub const USAGE: &str = "\
cargo xtask dist [--key FILE --public-key FILE [--password-file FILE]]
                        [--binary FILE] [--packages DIR] [--output DIR] [--allow-dirty]
         --key, --public-key   sign with this minisign key, and verify with that one
         --password-file       the key's password; without it minisign asks for it
         --binary, --packages  what is built already, instead of building it
         --output              instead of target/dist
         --allow-dirty         for trying: say what a release is refused for, and go on";

/// The file of checksums.
const SUMS: &str = "SHA256SUMS";
/// Its signature.
const SIGNATURE: &str = "SHA256SUMS.minisig";
/// The name of the program, and what every file's name begins with.
const NAME: &str = "kasm-bootstrap";

/// What was asked for.
#[derive(Debug, Default)]
pub struct Options {
    binary: Option<PathBuf>,
    packages: Option<PathBuf>,
    output: Option<PathBuf>,
    key: Option<PathBuf>,
    public_key: Option<PathBuf>,
    password_file: Option<PathBuf>,
    allow_dirty: bool,
}

impl Options {
    /// From the words behind `dist`; `None` for what is not understood.
    pub fn parse(words: &[&str]) -> Option<Options> {
        let mut options = Options::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let place = match *word {
                "--allow-dirty" => {
                    options.allow_dirty = true;
                    continue;
                }
                "--binary" => &mut options.binary,
                "--packages" => &mut options.packages,
                "--output" => &mut options.output,
                "--key" => &mut options.key,
                "--public-key" => &mut options.public_key,
                "--password-file" => &mut options.password_file,
                _ => return None,
            };
            *place = Some(PathBuf::from(words.next()?));
        }
        Some(options)
    }
}

/// The names of what a release is made of.
struct Names {
    binary: String,
    bill: String,
    sources: String,
}

impl Names {
    fn of(version: &str) -> Names {
        Names {
            binary: format!("{NAME}-{version}-{}-linux", std::env::consts::ARCH),
            bill: format!("{NAME}-{version}.cdx.json"),
            sources: format!("{NAME}-{version}.tar.gz"),
        }
    }
}

/// Makes the release of the tree at `top`, and returns the directory that it is in.
///
/// # Errors
/// Why it is refused, or what went wrong; then nothing takes the place of an earlier release.
pub fn make(top: &Path, options: &Options) -> io::Result<PathBuf> {
    let version = refuse::version(top)?;
    say(&format!("{NAME} {version}"));
    let signer = refuse::signer(options)?;
    for reason in refuse::reasons(top, &version)? {
        match options.allow_dirty {
            true => say(&format!("NOT A RELEASE: {reason}")),
            false => return Err(other(format!("{reason}; to try it all the same: --allow-dirty"))),
        }
    }

    let output = options.output.clone().unwrap_or_else(|| top.join("target/dist"));
    fs::create_dir_all(&output)?;
    let work = output.join(format!("{version}.partial"));
    remove(&work)?;
    fs::create_dir(&work)?;
    let names = Names::of(&version);
    build(top, options, &work, &names)?;
    say("checksums");
    checksums(&work)?;
    match &signer {
        Some(signer) => {
            say("signature");
            signer.sign(&work, &version)?;
        }
        None => say("NOTHING IS SIGNED: no --key was given, so nobody can know who made this"),
    }
    say("verifying what was made");
    verify::all(top, &work, &version, &names, signer.as_ref())?;

    let place = output.join(&version);
    remove(&place)?;
    fs::rename(&work, &place)?;
    Ok(place)
}

/// The binary, the packages with it in them, the bill of materials, the sources.
fn build(top: &Path, options: &Options, work: &Path, names: &Names) -> io::Result<()> {
    say("binary");
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => top.join(last_line(&run(Command::new(top.join("scripts/build")).current_dir(top))?)),
    };
    let ours = work.join(&names.binary);
    copy(&binary, &ours)?;
    fs::set_permissions(&ours, fs::Permissions::from_mode(0o755))?;

    say("packages");
    let packages = match &options.packages {
        Some(packages) => packages.clone(),
        None => {
            let packages = work.join("packages");
            let mut script = Command::new(top.join("scripts/package"));
            run(script.current_dir(top).arg("--binary").arg(&ours).arg("--output").arg(&packages))?;
            packages
        }
    };
    for ending in ["deb", "rpm"] {
        let package = the_one(&packages, ending)?;
        copy(&package, &work.join(package.file_name().unwrap_or_default()))?;
    }
    remove(&work.join("packages"))?;

    say("bill of materials");
    run(Command::new(top.join("scripts/sbom")).current_dir(top).arg("-o").arg(work.join(&names.bill)))?;

    say("sources");
    let prefix = format!("--prefix={}/", names.sources.trim_end_matches(".tar.gz"));
    let mut archive = Command::new("git");
    archive.arg("-C").arg(top).args(["archive", "--format=tar.gz", &prefix, "--output"]);
    run(archive.arg(work.join(&names.sources)).arg("HEAD")).map(drop)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to).map(drop).map_err(|error| other(format!("{} cannot be copied: {error}", from.display())))
}

/// The one file with this ending in a directory.
fn the_one(directory: &Path, ending: &str) -> io::Result<PathBuf> {
    let mut found = files(directory)?;
    found.retain(|path| path.extension() == Some(OsStr::new(ending)));
    match &found[..] {
        [one] => Ok(one.clone()),
        all => Err(other(format!("{} has {} .{ending} where there should be one", directory.display(), all.len()))),
    }
}

/// The files of a directory, in the order of their names.
fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    let mut files: Vec<PathBuf> = entries.into_iter().filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

/// Writes the checksums of all files there are, as sha256sum(1) does.
fn checksums(directory: &Path) -> io::Result<()> {
    let mut lines = String::new();
    for path in files(directory)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        lines.push_str(&format!("{}  {name}\n", digest(&path)?));
    }
    fs::write(directory.join(SUMS), lines)
}

fn digest(path: &Path) -> io::Result<String> {
    measure_file(path).map(|(digest, _)| digest.to_string()).map_err(io::Error::other)
}

/// Who signs: minisign(1) with this secret key. It is called, and not linked: a crate that signs would bring a second
/// implementation of SHA-256, which deny.toml refuses.
struct Signer {
    key: PathBuf,
    public_key: minisign_verify::PublicKey,
    password: Option<Vec<u8>>,
}

impl Signer {
    /// Signs the checksums. The signature says which version it is of, so that an old release cannot be shown as a new
    /// one.
    fn sign(&self, directory: &Path, version: &str) -> io::Result<()> {
        let mut minisign = Command::new("minisign");
        minisign.current_dir(directory).args(["-S", "-m", SUMS, "-x", SIGNATURE]).arg("-s").arg(&self.key);
        minisign.args(["-t", &comment(version), "-c", "signature of a release of kasm-bootstrap"]);
        match &self.password {
            None => run(&mut minisign).map(drop),
            Some(password) => run_with(&mut minisign, password).map(drop),
        }
    }
}

/// What is signed beside the checksums.
fn comment(version: &str) -> String {
    format!("{NAME} {version}")
}

/// Runs a program to its good end, and returns what it said on standard output. It may ask the terminal.
fn run(command: &mut Command) -> io::Result<String> {
    command.stdin(Stdio::inherit()).stderr(Stdio::inherit());
    let output = command.output().map_err(|error| cannot(command, error))?;
    finish(command, output)
}

/// [`run`], with something on its standard input.
fn run_with(command: &mut Command, input: &[u8]) -> io::Result<String> {
    use io::Write;
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|error| cannot(command, error))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read it says by its end what was wrong.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output()?;
    finish(command, output)
}

fn cannot(command: &Command, error: io::Error) -> io::Error {
    other(format!("{} cannot be run: {error}", command.get_program().display()))
}

fn finish(command: &Command, output: std::process::Output) -> io::Result<String> {
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(other(format!("{} failed: {}", command.get_program().display(), output.status))),
    }
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().last().unwrap_or_default()
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn other(words: impl Into<String>) -> io::Error {
    io::Error::other(words.into())
}

fn say(words: &str) {
    eprintln!("==> {words}");
}
