//! `kasm-bootstrap status`: what the last run did and where the time went.

use super::duration::parse_duration;
use super::{Global, answer::Answer};
use crate::deadline::Deadline;
use crate::error::{Exit, Failure};
use crate::paths::Paths;
use crate::report::Status;
use crate::report::status::State;
use crate::step::{Journal, RunLock};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::os::fd::AsFd;
use std::time::Duration;

/// Flags of `status`.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Wait until a run has ended; then exit as that run did
    #[arg(long)]
    wait: bool,
    /// How long to wait at most
    #[arg(long, value_name = "SPAN", default_value = "10m", value_parser = parse_duration, requires = "wait")]
    timeout: Duration,
}

/// Runs the command.
pub async fn run(global: &Global, args: Args) -> Result<Answer, Failure> {
    let paths = global.paths();
    let status = if args.wait { wait(&paths, args.timeout)? } else { read(&paths)? };
    let json = serde_json::to_value(&status).expect("a status holds nothing that JSON cannot");
    let mut answer = Answer::new(status.text(global.verbose > 0), json);
    if args.wait {
        answer.exit = match (&status.error, status.state) {
            (Some(error), _) => error.exit(),
            (None, State::Done) => Exit::Done,
            (None, _) => Exit::Unexpected,
        };
    }
    Ok(answer)
}

/// What the last run did.
///
/// # Errors
/// The journal cannot be read: it is for root.
pub(super) fn read(paths: &Paths) -> Result<Status, Failure> {
    // The lock first: a run that ends between the two looks must not seem to have been cut off.
    let at_work = RunLock::is_held(paths);
    let entries = Journal::read(paths).map_err(|error| {
        let help = "run it as root (sudo): the journal is readable for root only";
        let path = paths.journal();
        Failure::new(Exit::Unexpected, "status.read", format!("{} cannot be read: {error}", path.display()), help)
    })?;
    Ok(Status::of(&entries, at_work))
}

/// Waits for the end of a run: one that is at work, or, where none is, one that has yet to begin.
fn wait(paths: &Paths, timeout: Duration) -> Result<Status, Failure> {
    let deadline = Deadline::after(timeout);
    let mut seen_at_work = false;
    loop {
        // The watch is set before the look, so that nothing can happen unseen between the two.
        let watch = watch(paths).map_err(|error| {
            let help = "raise fs.inotify.max_user_instances, or ask without --wait";
            Failure::new(Exit::Unexpected, "status.watch", format!("the journal cannot be watched: {error}"), help)
        })?;
        let status = read(paths)?;
        match status.state {
            State::Done | State::Failed => return Ok(status),
            State::Interrupted if seen_at_work => return Ok(status),
            State::Running => seen_at_work = true,
            State::Never | State::Interrupted => {}
        }
        // A run that is killed writes nothing: only its lock tells, so there is a look now and then.
        let look = deadline.within(Duration::from_secs(2));
        // Nothing else happens in this process meanwhile, so it may simply block.
        let timeout = PollTimeout::try_from(look.remaining()).unwrap_or(PollTimeout::MAX);
        let changed = poll(&mut [PollFd::new(watch.as_fd(), PollFlags::POLLIN)], timeout);
        if !matches!(changed, Ok(1)) && deadline.is_over() {
            let help = "`kasm-bootstrap status` shows what it is doing; wait longer with --timeout";
            let message = match status.state {
                State::Running => "the run has not ended in time",
                State::Interrupted => "the last run was cut off, and no other run ended in time",
                _ => "no run has begun and ended in time",
            };
            return Err(Failure::new(Exit::Unexpected, "status.timeout", message, help));
        }
    }
}

/// A watch on the state directory, or on the nearest directory above it that is there.
fn watch(paths: &Paths) -> nix::Result<Inotify> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
    let mut last = nix::Error::ENOENT;
    for directory in paths.state_dir().ancestors() {
        match inotify.add_watch(directory, flags) {
            Ok(_) => return Ok(inotify),
            Err(error) => last = error,
        }
    }
    Err(last)
}
