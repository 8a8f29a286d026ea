//! Runs a release's script under supervision.
//!
//! - **No token in an argument vector.** bash is started with a fixed program and the arguments as they
//!   may be shown; it reads the real ones from its standard input, which is a pipe, turns that into
//!   `/dev/null`, and *sources* the script. `$0`, `$@` and `BASH_SOURCE` are what they would be in
//!   `bash script ARGUMENTS`. What the script's own children are given is the script's doing.
//! - **A session of its own** (setsid(2)): no terminal to ask questions on, and all of it can be ended.
//! - **Remembered before it begins**: the script gets its arguments only once the record of its process
//!   is on the disk, so that a later run finds what a killed one left behind ([`super::session`]).
//! - **Ended with us**: bash is killed when the thread that started it ends (`PR_SET_PDEATHSIG`,
//!   prctl(2)). Its current child is left to itself then, so that a `dpkg` is not cut down in the middle;
//!   the next run ends what is still there.

use super::classify::{Ended, Finding};
use super::command_line::{Arg, CommandLine};
use super::error::{Error, LastWords};
use super::output::{Log, Output, Summary};
use super::session::{Session, remember};
use crate::deadline::Deadline;
use crate::durable;
use crate::observe::{Observer, Wait};
use crate::paths::is_ours_alone;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use zeroize::Zeroizing;

/// Replaces every secret in a line. Idempotent; called with whole lines wherever that is possible.
pub type Mask<'a> = dyn Fn(&str) -> String + Sync + 'a;

/// How long after TERM comes KILL.
pub const GRACE: Duration = Duration::from_secs(10);

/// Reads the arguments, each ended by a NUL and the first one their number, and becomes the script.
/// Written for bash 4.2 (CentOS 7) too, hence no `mapfile -d`.
const PROGRAM: &str = r#"set --
IFS= read -r -d '' KASM_BOOTSTRAP_COUNT || exit 125
while IFS= read -r -d '' KASM_BOOTSTRAP_ARGUMENT; do set -- "$@" "$KASM_BOOTSTRAP_ARGUMENT"; done
[ "$#" = "$KASM_BOOTSTRAP_COUNT" ] || exit 125
unset KASM_BOOTSTRAP_COUNT KASM_BOOTSTRAP_ARGUMENT
exec </dev/null
. "$0""#;

/// Under which conditions a script runs.
pub struct RunOptions<'a> {
    /// The script's working directory. Its own logs there, which hold tokens in clear, are removed.
    pub working_dir: PathBuf,
    /// Added to our environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where the masked output goes (0600); appended to.
    pub log_path: PathBuf,
    /// Where the process is remembered while it runs.
    pub record_path: PathBuf,
    /// When TERM is sent; KILL follows after `grace`. Leave that much of the budget.
    pub deadline: Deadline,
    /// The time between TERM and KILL, [`GRACE`] where nothing speaks against it.
    pub grace: Duration,
    /// Keeps secrets out of the output.
    pub mask: &'a Mask<'a>,
    /// Turns true when the run is called off.
    pub cancel: Option<watch::Receiver<bool>>,
    /// The bash to use, a name or a path.
    pub bash: PathBuf,
}

impl<'a> RunOptions<'a> {
    /// The usual conditions.
    pub fn new(working_dir: PathBuf, attempt_dir: &Path, deadline: Deadline, mask: &'a Mask<'a>) -> RunOptions<'a> {
        RunOptions {
            working_dir,
            env: Vec::new(),
            log_path: attempt_dir.join("installer.log"),
            record_path: attempt_dir.join("installer.pid"),
            deadline,
            grace: GRACE,
            mask,
            cancel: None,
            bash: PathBuf::from("bash"),
        }
    }
}

/// A script that has ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// How.
    pub exit: Ended,
    /// Its last words, at most 4 KiB, masked.
    pub tail: String,
    /// What was recognised in its output.
    pub markers: Vec<Finding>,
    /// Lines of output.
    pub lines: u64,
    /// Bytes of output.
    pub bytes: u64,
}

impl Finished {
    /// Itself after exit code 0, else [`Error::Failed`].
    pub fn check(self) -> Result<Finished, Error> {
        if self.exit.is_success() {
            return Ok(self);
        }
        Err(Error::Failed { ended: self.exit, findings: self.markers, words: LastWords(self.tail) })
    }
}

/// Runs the script to its end.
///
/// Call it from a thread that lives on: the script dies with the thread. Dropping the future kills the
/// whole session at once; that, too, takes care of the record and the script's own logs.
///
/// # Errors
/// A script that fails is no error here (see [`Finished::check`]). [`Error::TimedOut`] and
/// [`Error::Cancelled`] come after the whole session has been ended; the other errors before the script
/// has begun.
pub async fn run(command: &CommandLine, options: RunOptions<'_>, observer: &dyn Observer) -> Result<Finished, Error> {
    let no_script = |source| Error::NoScript { path: command.script.clone(), source };
    std::fs::File::open(&command.script).map_err(no_script)?;
    std::fs::read_dir(&options.working_dir).map_err(Error::Supervise)?;
    if options.deadline.is_over() {
        return Err(Error::TimedOut { ran: Duration::ZERO, findings: Vec::new(), words: LastWords(String::new()) });
    }
    let attempt_dir = options.log_path.parent().unwrap_or(Path::new("."));
    let no_log = |source| Error::Record { path: options.log_path.clone(), source };
    durable::directory(attempt_dir, 0o700).map_err(no_log)?;
    let log = Log::open(&options.log_path).map_err(no_log)?;
    let longest = command.secrets().map(|secret| secret.expose().len()).max().unwrap_or(0);
    let output = Output::new(log, options.mask, longest, observer);

    // A run that was killed could not clear up behind itself.
    remove_logs(&options.working_dir, observer);
    let (child, reader) = start(command, &options)?;
    let running = Running {
        session: Session::of_child(child.id().unwrap_or_default() as i32).map_err(Error::Supervise)?,
        child,
        options: &options,
        observer,
        armed: true,
    };
    remember(&options.record_path, &running.session)?;
    running.supervise(command, reader, output).await
}

/// Starts bash. It waits for its arguments.
fn start(command: &CommandLine, options: &RunOptions<'_>) -> Result<(Child, pipe::Receiver), Error> {
    let (reader, writer) = io::pipe().map_err(Error::Supervise)?;
    let reader = pipe::Receiver::from_owned_fd(reader.into()).map_err(Error::Supervise)?;
    let mut bash = Command::new(&options.bash);
    bash.arg("-c")
        .arg(PROGRAM)
        .arg(&command.script)
        .args(command.args.iter().map(Arg::shown))
        .current_dir(&options.working_dir)
        .env_clear()
        .envs(environment(command, std::env::vars_os()))
        .envs(options.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(writer.try_clone().map_err(Error::Supervise)?)
        .stderr(writer);
    let parent = nix::unistd::getpid();
    // SAFETY: between fork and exec the closure makes a few system calls (setsid, prctl, getppid, umask), all
    // safe there, and allocates nothing: `parent` is a number, errors are made from numbers.
    unsafe {
        bash.pre_exec(move || {
            nix::unistd::setsid()?;
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            // A parent that died before the line above will never send the signal.
            if nix::unistd::getppid() != parent {
                return Err(io::Error::from_raw_os_error(nix::libc::ESRCH));
            }
            // Kasm's configuration holds tokens: whoever started us, nobody else may write to it.
            let inherited = umask(Mode::empty());
            umask(inherited | Mode::S_IWGRP | Mode::S_IWOTH);
            Ok(())
        });
    }
    match bash.spawn() {
        Ok(child) => Ok((child, reader)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::NoShell(error)),
        Err(error) => Err(Error::Supervise(error)),
    }
}

/// Our environment, without what is only for us and without anything that holds a secret.
fn environment(
    command: &CommandLine,
    ours: impl Iterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (OsString, OsString)> {
    let holds_secret = |value: &OsStr| {
        command
            .secrets()
            .map(|secret| secret.expose().as_bytes())
            .filter(|secret| secret.len() >= 8)
            .any(|secret| value.as_bytes().windows(secret.len()).any(|window| window == secret))
    };
    ours.filter(move |(name, value)| !is_ours_alone(name) && !holds_secret(value))
}

/// The arguments as the program reads them.
fn payload(command: &CommandLine) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::new());
    // Reserved at once: a vector that grows leaves copies behind that nobody wipes.
    bytes.reserve_exact(command.args.iter().map(|arg| arg.expose().len() + 1).sum::<usize>() + 24);
    bytes.extend_from_slice(command.args.len().to_string().as_bytes());
    bytes.push(0);
    for arg in &command.args {
        bytes.extend_from_slice(arg.expose().as_bytes());
        bytes.push(0);
    }
    bytes
}

/// Why a script is ended.
enum Why {
    Deadline,
    Cancelled,
}

/// A script at work. Dropped before its end, it takes the whole session with it.
struct Running<'a> {
    child: Child,
    session: Session,
    options: &'a RunOptions<'a>,
    observer: &'a dyn Observer,
    armed: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.armed && !self.session.kill_now() {
            // Kept on record, for the next run to look at.
            return self.observer.warn(&format!("the installer cannot be ended: {}", self.session.describe()));
        }
        remove_logs(&self.options.working_dir, self.observer);
        if let Err(error) = durable::remove(&self.options.record_path) {
            self.observer.warn(&format!("{} cannot be removed: {error}", self.options.record_path.display()));
        }
    }
}

impl Running<'_> {
    async fn supervise(
        mut self,
        command: &CommandLine,
        mut reader: pipe::Receiver,
        mut output: Output<'_>,
    ) -> Result<Finished, Error> {
        let begun = Instant::now();
        let mut cancel = self.options.cancel.clone();
        let mut buffer = vec![0; 64 * 1024];
        let mut open = true;
        let mut fed = false;
        let mut stdin = self.child.stdin.take();
        let feed = async {
            if let Some(stdin) = &mut stdin {
                // A bash that is gone already says by its exit what was wrong.
                let _ = stdin.write_all(&payload(command)).await;
            }
            drop(stdin.take());
        };
        tokio::pin!(feed);

        let ended = loop {
            tokio::select! {
                status = self.child.wait() => break Ok(status.map_err(Error::Supervise)?),
                () = &mut feed, if !fed => fed = true,
                read = reader.read(&mut buffer), if open => match read {
                    Ok(0) | Err(_) => open = false,
                    Ok(count) => output.push(&buffer[..count]),
                },
                () = sleep_until(self.options.deadline.instant().into()) => break Err(Why::Deadline),
                () = cancelled(&mut cancel) => break Err(Why::Cancelled),
            }
        };
        match ended {
            Ok(status) => {
                self.drain(&mut reader, open, &mut output, &mut buffer).await;
                // What a failed script left in the background must not disturb the next attempt. After success it
                // may be what the script was run for.
                self.armed = !status.success() && !self.session.end(Duration::from_secs(2)).await;
                let Summary { tail, findings, lines, bytes } = output.finish();
                Ok(Finished { exit: ended_by(status), tail, markers: findings, lines, bytes })
            }
            Err(why) => {
                self.end(&mut reader, open, &mut output, &mut buffer).await;
                let Summary { tail, findings, .. } = output.finish();
                let words = LastWords(tail);
                Err(match why {
                    Why::Deadline => Error::TimedOut { ran: begun.elapsed(), findings, words },
                    Why::Cancelled => Error::Cancelled { words },
                })
            }
        }
    }

    /// What is still in the pipe, and what a `tee` of the script still puts there. A daemon that keeps
    /// the pipe open does not hold this up.
    async fn drain(&self, reader: &mut pipe::Receiver, open: bool, output: &mut Output<'_>, buffer: &mut [u8]) {
        let patience = Instant::now() + Duration::from_secs(2);
        while open && Instant::now() < patience {
            match timeout(Duration::from_millis(250), reader.read(buffer)).await {
                Ok(Ok(count)) if count > 0 => output.push(&buffer[..count]),
                _ => return,
            }
        }
    }

    /// TERM, grace, KILL; reading on meanwhile, so that nobody hangs on a full pipe while ending.
    async fn end(&mut self, reader: &mut pipe::Receiver, mut open: bool, output: &mut Output<'_>, buffer: &mut [u8]) {
        self.observer.waiting(&Wait {
            what: "the installer to end".into(),
            holder: Some(self.session.describe()),
            deadline: Deadline::after(self.options.grace),
        });
        {
            let ending = self.session.end(self.options.grace);
            tokio::pin!(ending);
            let over = loop {
                tokio::select! {
                    over = &mut ending => break over,
                    // The leader is collected as soon as it ends; its status does not matter any more.
                    _ = self.child.wait(), if self.child.id().is_some() => {}
                    read = reader.read(buffer), if open => match read {
                        Ok(0) | Err(_) => open = false,
                        Ok(count) => output.push(&buffer[..count]),
                    },
                }
            };
            self.armed = !over;
        }
        self.drain(reader, open, output, buffer).await;
        // Killed means ended, but for a process that hangs in the kernel.
        drop(timeout(Duration::from_secs(2), self.child.wait()).await);
    }
}

async fn cancelled(cancel: &mut Option<watch::Receiver<bool>>) {
    if let Some(cancel) = cancel
        && cancel.wait_for(|off| *off).await.is_ok()
    {
        return;
    }
    // Nobody can call it off, or nobody can any more.
    std::future::pending::<()>().await;
}

fn ended_by(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Code(code),
        (None, Some(signal)) => Ended::Signal(signal),
        (None, None) => Ended::Code(-1),
    }
}

/// Removes the logs that the installer itself writes into its working directory: they hold the manager
/// token in clear (docs/kasm-facts.md, 2). Returns how many there were.
pub fn remove_logs(working_dir: &Path, observer: &dyn Observer) -> usize {
    let Ok(entries) = std::fs::read_dir(working_dir) else { return 0 };
    let mut removed = 0;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !(name.starts_with("kasm_install_") && name.ends_with(".log")) {
            continue;
        }
        match std::fs::remove_file(entry.path()) {
            Ok(()) => {
                removed += 1;
                observer.note(&format!("removed the installer's own log {name}: it holds the token in clear"));
            }
            Err(error) => observer.warn(&format!(
                "the installer's own log {} may hold the token in clear and cannot be removed: {error}",
                entry.path().display()
            )),
        }
    }
    removed
}
