//! The processes of an installer: found through `/proc`, ended together, remembered across a crash.
//!
//! A session (setsid(2)) holds what the installer starts, background jobs included. Children that make
//! a session of their own (`sudo` with a pseudo-terminal does) are found as descendants. A daemon that
//! has left both is on its own: it is what installers start daemons for.

use super::error::Error;
use crate::durable;
use crate::machine::kernel::boot_id;
use crate::observe::{Observer, Wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

/// Processes live on the running machine, whatever `--root` says.
const PROC: &str = "/proc";
/// No record is longer, in bytes.
const RECORD_LIMIT: u64 = 4 * 1024;
/// Ends of processes that are not our children come without an event that covers them all.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// One line of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    pid: i32,
    name: String,
    parent: i32,
    session: i32,
    start_ticks: u64,
}

/// Reads one stat line; `None` for anything else and for the dead.
fn parse(stat: &str) -> Option<Process> {
    // The name stands in brackets and may itself hold blanks and brackets.
    let (head, rest) = stat.rsplit_once(')')?;
    let (pid, name) = head.split_once('(')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let state = *fields.first()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    Some(Process {
        pid: pid.trim().parse().ok()?,
        name: name.chars().filter(|c| !c.is_control()).collect(),
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
    })
}

fn processes() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir(PROC) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit))
        // A process that ends between the listing and the reading is gone, which is what is asked.
        .filter_map(|entry| std::fs::read(entry.path().join("stat")).ok())
        .filter_map(|stat| parse(&String::from_utf8_lossy(&stat)))
        .collect()
}

/// The start time of a process, in clock ticks since boot; also of one that has ended but is not
/// collected yet.
fn start_ticks(pid: i32) -> Option<u64> {
    let stat = std::fs::read(format!("{PROC}/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// A session by its leader. The leader's start time tells it from a later process of the same number.
#[derive(Debug, Clone)]
pub(super) struct Session {
    leader: i32,
    leader_ticks: u64,
    /// Everything that ever belonged to it, so that what is orphaned meanwhile is not lost.
    known: BTreeMap<i32, u64>,
}

impl Session {
    /// The session whose leader was just started.
    pub(super) fn of_child(pid: i32) -> std::io::Result<Session> {
        let ticks =
            start_ticks(pid).ok_or_else(|| std::io::Error::other(format!("{PROC}/{pid}/stat cannot be read")))?;
        Ok(Session { leader: pid, leader_ticks: ticks, known: BTreeMap::from([(pid, ticks)]) })
    }

    /// Who of it lives.
    fn living(&mut self) -> Vec<Process> {
        let all = processes();
        // While a session has members its number is not given to a new process (pid_namespaces(7) and
        // the kernel's pid allocation): a leader of another age means that the whole session is gone.
        let reused = all.iter().any(|one| one.pid == self.leader && one.start_ticks != self.leader_ticks);
        let mut members: BTreeSet<i32> = all
            .iter()
            .filter(|one| (one.session == self.leader && !reused) || self.known.get(&one.pid) == Some(&one.start_ticks))
            .map(|one| one.pid)
            .collect();
        loop {
            let before = members.len();
            let children: Vec<i32> =
                all.iter().filter(|one| members.contains(&one.parent)).map(|one| one.pid).collect();
            members.extend(children);
            if members.len() == before {
                break;
            }
        }
        // Never ourselves, never init, whatever /proc says.
        members.remove(&1);
        members.remove(&(std::process::id() as i32));
        let living: Vec<Process> = all.into_iter().filter(|one| members.contains(&one.pid)).collect();
        self.known.extend(living.iter().map(|one| (one.pid, one.start_ticks)));
        living
    }

    /// True if nobody of it lives.
    pub(super) fn is_over(&mut self) -> bool {
        self.living().is_empty()
    }

    /// Sends a signal to everybody in it; how many there were.
    pub(super) fn signal(&mut self, signal: Signal) -> usize {
        let living = self.living();
        for one in &living {
            // Who ended meanwhile needs no signal any more.
            let _ = kill(Pid::from_raw(one.pid), signal);
        }
        living.len()
    }

    /// KILL until nobody is left, without waiting for anything but the kernel. True if nobody is left;
    /// false for processes that hang in the kernel.
    pub(super) fn kill_now(&mut self) -> bool {
        // Each round can meet children that were born while the one before was at work.
        for round in 0..200 {
            if self.signal(Signal::SIGKILL) == 0 {
                return true;
            }
            if round > 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        false
    }

    /// TERM, then KILL for whoever is there after `grace`. True if nobody is left.
    pub(super) async fn end(&mut self, grace: Duration) -> bool {
        let patience = tokio::time::Instant::now() + grace;
        self.signal(Signal::SIGTERM);
        while tokio::time::Instant::now() < patience {
            if self.is_over() {
                return true;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.kill_now()
    }

    /// `install.sh (pid 812), apt-get (pid 815)`: who lives.
    pub(super) fn describe(&mut self) -> String {
        let living = self.living();
        let names: Vec<String> = living.iter().take(5).map(|one| format!("{} (pid {})", one.name, one.pid)).collect();
        names.join(", ")
    }
}

/// What is remembered of a running installer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Record {
    pid: i32,
    start_ticks: u64,
    boot_id: String,
    session: i32,
}

/// Writes the record of a session that has just begun, durably.
pub(super) fn remember(path: &Path, session: &Session) -> Result<(), Error> {
    let record =
        Record { pid: session.leader, start_ticks: session.leader_ticks, boot_id: boot_id(), session: session.leader };
    let text = serde_json::to_vec(&record).expect("numbers and a string can always be written as JSON");
    durable::write(path, &text, 0o600).map_err(|source| Error::Record { path: path.to_owned(), source })
}

/// What a run that was cut short left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leftover {
    /// Nothing.
    None,
    /// An installer that is no longer running.
    Gone,
    /// An installer that was still at work and was ended.
    Ended {
        /// The process number it had.
        pid: i32,
    },
    /// An installer that cannot be ended: it hangs in the kernel.
    Stuck {
        /// Who is left.
        who: String,
    },
}

/// Ends the installer whose record a killed run of ours left behind, with all its children, and removes
/// the record. Only processes of the recorded session of this very boot are touched.
pub async fn end_leftover(record: &Path, grace: Duration, observer: &dyn Observer) -> Result<Leftover, Error> {
    let unreadable = |source| Error::Unreadable { path: record.to_owned(), source };
    let bytes = match durable::read(record, RECORD_LIMIT) {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Leftover::None);
        }
        Err(error) => return Err(unreadable(error)),
    };
    // A record that makes no sense names nobody; it is in the way all the same.
    let found = serde_json::from_slice::<Record>(&bytes).ok();
    let leftover = match found {
        // Where the kernel does not tell, nothing can be taken for ours: that is the safe side.
        Some(found) if found.pid > 1 && !found.boot_id.is_empty() && found.boot_id == boot_id() => {
            let mut session =
                Session { leader: found.session, leader_ticks: found.start_ticks, known: BTreeMap::new() };
            if session.is_over() {
                Leftover::Gone
            } else {
                observer.waiting(&Wait {
                    what: "the installer of a run that was cut short".into(),
                    holder: Some(session.describe()),
                    deadline: crate::deadline::Deadline::after(grace),
                });
                match session.end(grace).await {
                    true => Leftover::Ended { pid: found.pid },
                    false => Leftover::Stuck { who: session.describe() },
                }
            }
        }
        _ => Leftover::Gone,
    };
    if !matches!(leftover, Leftover::Stuck { .. }) {
        durable::remove(record).map_err(|source| Error::Record { path: record.to_owned(), source })?;
    }
    match &leftover {
        Leftover::Ended { pid } => {
            observer
                .warn(&format!("an installer of a run that was cut short was still at work (pid {pid}) and was ended"));
        }
        Leftover::Stuck { who } => observer.warn(&format!("an earlier installer cannot be ended: {who}")),
        Leftover::None | Leftover::Gone => {}
    }
    Ok(leftover)
}

/// [`end_leftover`] for the `installer.pid` of every attempt below `attempts_dir`; what was found, but for
/// nothing at all.
pub async fn end_leftovers(
    attempts_dir: &Path,
    grace: Duration,
    observer: &dyn Observer,
) -> Result<Vec<Leftover>, Error> {
    let unreadable = |source| Error::Unreadable { path: attempts_dir.to_owned(), source };
    let entries = match std::fs::read_dir(attempts_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let record = entry.map_err(unreadable)?.path().join("installer.pid");
        match end_leftover(&record, grace, observer).await? {
            Leftover::None => {}
            leftover => found.push(leftover),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_confuse() {
        let stat = "812 (a) (b c) S 1 812 700 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 0 0";
        let process = parse(stat).unwrap();
        assert_eq!((process.pid, process.parent, process.session, process.start_ticks), (812, 1, 700, 4711));
        assert_eq!(process.name, "a) (b c");
        assert_eq!(parse(&stat.replace(") S ", ") Z ")), None);
        assert!(processes().iter().any(|one| one.pid == std::process::id() as i32));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn any_stat_line_can_be_read(line in "[0-9 ()A-Za-z-]{0,200}") {
            parse(&line);
        }
    }
}
