//! Packages: which are there, which could be had, and installing them. dpkg and apt are asked and told by
//! their own programs (dpkg-query(1), apt-cache(8), apt-get(8)).

use super::{Error, LastWords, MANAGER, environment};
use crate::deadline::Deadline;
use crate::durable;
use crate::observe::Observer;
use crate::packages::wait;
use crate::paths::{Paths, environment_for_children};
use crate::words;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::Command;

/// So often is apt-get run when others take its locks from under it.
const RUNS: u32 = 3;
/// So many of its last lines are kept for the error.
const LAST_LINES: usize = 12;
/// A line longer than this is cut, bytes.
const LONGEST_LINE: usize = 2000;

/// A package and its version, as dpkg writes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// True for what can be the name of a package, with `=VERSION` behind it where one is wanted exactly
/// (Debian Policy, 5.6.1 and 5.6.12). Nothing that apt-get could take for an option, a pattern or a removal.
pub fn is_name(text: &str) -> bool {
    let (name, version) = text.split_once('=').unwrap_or((text, "0"));
    let first = |text: &str| text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let name_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    let version_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.:~".contains(&byte);
    text.len() <= 200
        && first(name)
        && name.len() >= 2
        && !name.ends_with('-')
        && name.bytes().all(name_byte)
        && first(version)
        && version.bytes().all(version_byte)
}

/// dpkg and apt of one machine, or of the root that [`Paths`] is about.
pub struct Apt<'a> {
    paths: &'a Paths,
    deadline: Deadline,
    observer: &'a dyn Observer,
    /// What tells apt of the root, where it is not the machine's.
    config: Option<PathBuf>,
}

impl Drop for Apt<'_> {
    fn drop(&mut self) {
        if let Some(config) = &self.config {
            // One that stays says nothing that would not be true.
            let _ = std::fs::remove_file(config);
        }
    }
}

impl<'a> Apt<'a> {
    /// For a root other than the machine's, a file of configuration is written into our state there: apt
    /// reads that root's own configuration by it, and dpkg works on that root.
    ///
    /// # Errors
    /// [`Error::Root`].
    pub fn new(paths: &'a Paths, deadline: Deadline, observer: &'a dyn Observer) -> Result<Apt<'a>, Error> {
        let mut config = None;
        if !paths.is_machine() {
            let path = paths.state_dir().join("apt.conf");
            let fail = |source| Error::Root { path: path.clone(), source };
            let root = paths.root().to_str().filter(|root| !root.contains(['"', '\\', '\n', ';']));
            let root = root.ok_or_else(|| fail(io::Error::other("apt.conf(5) cannot name such a root")))?;
            let text = format!(
                "Dir \"{root}\";\nDir::State::status \"{root}/var/lib/dpkg/status\";\n\
                 DPkg::Options {{ \"--root={root}\"; }};\n"
            );
            durable::private_directory(&paths.state_dir()).map_err(fail)?;
            durable::write(&path, text.as_bytes(), 0o600).map_err(fail)?;
            config = Some(path);
        }
        Ok(Apt { paths, deadline, observer, config })
    }

    /// Those of these packages that are installed.
    pub async fn installed(&self, names: &[&str]) -> Result<Vec<Package>, Error> {
        let admindir = format!("--admindir={}", self.paths.at("/var/lib/dpkg").display());
        let format = "--showformat=${Package}\t${db:Status-Status}\t${Version}\n";
        // 1: some of them are not known, which is an answer.
        let text = self.ask("dpkg-query", &[&[admindir.as_str(), "--show", format], names].concat(), &[0, 1]).await?;
        Ok(parse_installed(&text))
    }

    /// What apt would install of these packages, from the lists it has. One without a candidate is not there.
    pub async fn candidates(&self, names: &[&str]) -> Result<Vec<Package>, Error> {
        let text = self.ask("apt-cache", &[&["policy"], names].concat(), &[0]).await?;
        Ok(parse_policy(&text))
    }

    /// `apt-get update`.
    pub async fn update(&self) -> Result<(), Error> {
        self.get("update", &[]).await
    }

    /// `apt-get install`: nothing is asked, configuration files that were changed are kept.
    pub async fn install(&self, names: &[&str]) -> Result<(), Error> {
        let keep = ["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"];
        self.get("install", &[keep.as_slice(), &["-y", "--"], names].concat()).await
    }

    /// apt-get, with its output told. It waits for dpkg's locks itself; those of the lists and the downloads
    /// it does not wait for, so that a race can be lost.
    async fn get(&self, verb: &str, args: &[&str]) -> Result<(), Error> {
        for run in 1..=RUNS {
            let timeout = format!("DPkg::Lock::Timeout={}", self.deadline.remaining().as_secs().max(1));
            let usual = ["-q", "-o", timeout.as_str(), "-o", "Dpkg::Use-Pty=0", "-o", "Acquire::Retries=3"];
            let (status, tail) = self.run("apt-get", &[usual.as_slice(), &[verb], args].concat()).await?;
            if status.success() {
                break;
            }
            let words = tail.text();
            let raced = words.lines().any(super::has_lost_a_race);
            if !raced || run == RUNS {
                let (program, how) = (format!("apt-get {verb}"), format!("failed ({status})"));
                return Err(Error::Program { program, how, words: LastWords(words) });
            }
            self.observer.warn("apt-get lost a race for apt's locks: once more");
            wait::until_quiet(&MANAGER, self.paths, self.deadline, self.observer).await?;
        }
        Ok(())
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).kill_on_drop(true);
        // Their answers are read here, so they are in no other language.
        command.env_clear().envs(environment_for_children()).envs(environment()).env("LC_ALL", "C.UTF-8");
        if let Some(config) = &self.config {
            command.env("APT_CONFIG", config);
        }
        command
    }

    /// A short answer.
    async fn ask(&self, program: &str, args: &[&str], good: &[i32]) -> Result<String, Error> {
        let failed = |how, words| Error::Program { program: program.to_owned(), how, words: LastWords(words) };
        let asking = self.command(program, args).output();
        let output = match tokio::time::timeout_at(self.deadline.instant().into(), asking).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Err(failed("cannot be run".into(), error.to_string())),
            Err(_) => return Err(failed("did not end in time".into(), String::new())),
        };
        if output.status.code().is_some_and(|code| good.contains(&code)) {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        Err(failed(format!("failed ({})", output.status), words::clean(words.trim())))
    }

    /// A long run: every line is told, the last ones are returned.
    async fn run(&self, program: &str, args: &[&str]) -> Result<(ExitStatus, Tail), Error> {
        let mut tail = Tail::default();
        let running = async {
            let (reader, writer) = io::pipe()?;
            let mut reader = pipe::Receiver::from_owned_fd(reader.into())?;
            let mut command = self.command(program, args);
            command.stdout(writer.try_clone()?).stderr(writer);
            let mut child = command.spawn()?;
            // It holds the pipe's other end, which would never end.
            drop(command);
            let mut buffer = vec![0; 8 * 1024];
            let status = loop {
                tokio::select! {
                    // What a daemon that a package started says later is nobody's business here.
                    status = child.wait() => break status?,
                    read = reader.read(&mut buffer) => match read? {
                        0 => break child.wait().await?,
                        count => tail.push(&buffer[..count], self.observer),
                    },
                }
            };
            while let Ok(count @ 1..) = reader.try_read(&mut buffer) {
                tail.push(&buffer[..count], self.observer);
            }
            tail.push(b"\n", self.observer);
            io::Result::Ok(status)
        };
        let how = match tokio::time::timeout_at(self.deadline.instant().into(), running).await {
            Ok(Ok(status)) => return Ok((status, tail)),
            Ok(Err(error)) => format!("cannot be run: {error}"),
            Err(_) => "did not end in time".into(),
        };
        Err(Error::Program { program: program.to_owned(), how, words: LastWords(tail.text()) })
    }
}

/// Bytes that become lines, the last of which are kept.
#[derive(Default)]
struct Tail {
    line: Vec<u8>,
    last: VecDeque<String>,
}

impl Tail {
    fn push(&mut self, bytes: &[u8], observer: &dyn Observer) {
        for byte in bytes {
            match byte {
                b'\n' => self.end_line(observer),
                _ if self.line.len() < LONGEST_LINE => self.line.push(*byte),
                _ => {}
            }
        }
    }

    fn end_line(&mut self, observer: &dyn Observer) {
        let line = words::one_line(String::from_utf8_lossy(&self.line).trim_end());
        self.line.clear();
        if line.is_empty() {
            return;
        }
        observer.output(&line);
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    fn text(&self) -> String {
        self.last.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// Name, status word and version in columns, as asked of dpkg-query.
fn parse_installed(text: &str) -> Vec<Package> {
    let columns = text.lines().filter_map(|line| {
        let mut columns = line.split('\t');
        let (name, status, version) = (columns.next()?, columns.next()?, columns.next()?);
        (status == "installed").then(|| Package { name: name.to_owned(), version: version.to_owned() })
    });
    columns.collect()
}

/// The names at the beginning of lines, and below each the line of its candidate (apt-cache(8), `policy`).
fn parse_policy(text: &str) -> Vec<Package> {
    let mut found: Vec<Package> = Vec::new();
    let mut name = None;
    for line in text.lines() {
        if !line.starts_with(' ') {
            name = line.strip_suffix(':');
        } else if let (Some(known), Some(version)) = (name, line.trim_start().strip_prefix("Candidate: "))
            && version != "(none)"
        {
            found.push(Package { name: known.to_owned(), version: version.to_owned() });
            name = None;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_apt_that_has_waited_for_a_lock_has_not_lost_it() {
        let lost = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 265 (apt-get)";
        let waited = "Waiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 8";
        assert!(super::super::has_lost_a_race(lost) && !super::super::has_lost_a_race(waited));
    }

    #[test]
    fn only_what_is_installed_counts_as_installed() {
        let text = "curl\tinstalled\t7.88.1-10+deb12u8\nfuse\tconfig-files\t2.9.9\nlsof\tnot-installed\t\n\ttorn\n";
        let curl = Package { name: "curl".into(), version: "7.88.1-10+deb12u8".into() };
        assert_eq!(parse_installed(text), [curl]);
    }

    #[test]
    fn a_package_without_a_candidate_cannot_be_had() {
        let text = "docker-ce:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n\
                    docker.io:\n  Installed: (none)\n  Candidate: 20.10.24+dfsg1-1+deb12u1\n  Version table:\n     \
                    20.10.24+dfsg1-1+deb12u1 500\n\
                    N: Unable to locate package docker-compose-v2\n";
        let docker = Package { name: "docker.io".into(), version: "20.10.24+dfsg1-1+deb12u1".into() };
        assert_eq!(parse_policy(text), [docker]);
    }

    #[test]
    fn names_are_names_and_nothing_that_apt_get_would_understand_otherwise() {
        for name in ["docker.io", "g++", "libc6", "docker-ce=5:27.3.1-1~debian.12~bookworm", "0ad"] {
            assert!(is_name(name), "{name}");
        }
        for wrong in ["", "a", "-y", "--purge", "curl-", "Curl", "a b", "curl/sid", "curl=", "curl=-1", "c*", "a=b=c"] {
            assert!(!is_name(wrong), "{wrong}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn no_answer_whatever_makes_the_readers_panic(text in "(?s).{0,80}|([ a-z:()\t\n]|Candidate: ){0,60}") {
            parse_installed(&text);
            for package in parse_policy(&text) {
                prop_assert!(text.contains(&package.name) && text.contains(&package.version));
            }
        }
    }
}
