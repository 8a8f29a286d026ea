//! `/run/kasm-bootstrap/status.json`: the run and the node's health for whoever may read a file and nothing else.
//!
//! It is written by whoever works or watches, whole at once, from what is on record: so it does not matter that several
//! may do so. A thread of its own writes; nothing ever waits for it but the very end, for a moment.

use super::aside::Aside;
use super::follow::Follow;
use super::status::Status;
use crate::durable;
use crate::health::{Board, Health};
use crate::paths::Paths;
use crate::step::{Entry, Event, View};
use serde::{Deserialize, Serialize};
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Two writings are at least so far apart.
const PAUSE: Duration = Duration::from_millis(500);
/// Without news there is a look at the health so often.
const LOOK: Duration = Duration::from_secs(60);
/// How long the last writing may take when the last view ends.
const FAREWELL: Duration = Duration::from_secs(2);
/// No document of ours is longer, in bytes.
const LIMIT: u64 = 4 << 20;
/// The mode of the directory.
const PASSABLE: u32 = 0o711;

/// The whole document: also what the endpoint shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document {
    /// The document's version; it counts up when a field changes its meaning. Fields that are added do not count.
    pub schema: u32,
    /// The last run.
    pub run: Status,
    /// The node's health; nothing where nobody watches it.
    pub health: Option<Health>,
}

impl Document {
    /// The version this program writes.
    pub const SCHEMA: u32 = 1;

    /// The document of this run and this health.
    pub fn of(run: Status, health: Option<Health>) -> Document {
        Document { schema: Document::SCHEMA, run, health }
    }

    /// As JSON, ending with a line feed.
    pub fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a status holds nothing that JSON cannot");
        text.push('\n');
        text
    }
}

/// The file's writer. Clones are views of the same one; when the last has gone, the last state is in the file.
#[derive(Clone)]
pub struct StatusFile(Arc<Handle>);

struct Handle {
    /// That something has changed; what it is, is on record.
    news: SyncSender<()>,
    _aside: Aside,
}

impl StatusFile {
    /// Begins to keep the file. `board`: where the health is, for whoever watches; whoever does not leaves the health
    /// in the file as it is. Nothing where no thread can be had.
    pub fn start(paths: &Paths, board: Option<Board>) -> Option<StatusFile> {
        let mut writer =
            Writer { paths: paths.clone(), board, follow: Follow::of(paths), written: None, written_at: None };
        // One more is on its way, whatever else happens meanwhile: that is all there is to know.
        let (news, heard) = sync_channel(1);
        let aside = Aside::start("status-file", FAREWELL, move || writer.keep(&heard)).ok()?;
        Some(StatusFile(Arc::new(Handle { news, _aside: aside })))
    }
}

impl View for StatusFile {
    fn event(&mut self, entry: &Entry) {
        // Only the journal has what a program says.
        if !matches!(entry.event, Event::StepOutput { .. }) {
            // A full queue: it will be looked at anyway.
            let _ = self.0.news.try_send(());
        }
    }
}

struct Writer {
    paths: Paths,
    board: Option<Board>,
    follow: Follow,
    written: Option<Document>,
    written_at: Option<Instant>,
}

impl Writer {
    /// Until the last view has gone.
    fn keep(&mut self, heard: &Receiver<()>) {
        let directory = self.paths.run_dir();
        durable::sweep(&directory, self.paths.status_file().file_name().and_then(|name| name.to_str()));
        loop {
            // It is for whoever can do without it: what cannot be written is tried again with the next news.
            let _ = self.write();
            let until = self.written_at.map_or_else(Instant::now, |at| at + PAUSE);
            let mut wait = LOOK;
            loop {
                match heard.recv_timeout(wait) {
                    Err(RecvTimeoutError::Timeout) => break,
                    Ok(()) => {
                        wait = until.saturating_duration_since(Instant::now());
                        if wait.is_zero() {
                            break;
                        }
                    }
                    Err(RecvTimeoutError::Disconnected) => {
                        // See above.
                        let _ = self.write();
                        return;
                    }
                }
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let path = self.paths.status_file();
        let health = match &self.board {
            Some(board) => board.look(),
            None => found(&path),
        };
        let document = Document::of(self.follow.look(), health);
        if self.written.as_ref() == Some(&document) {
            return Ok(());
        }
        self.written_at = Some(Instant::now());
        run_directory(&self.paths)?;
        durable::write_for_this_boot(&path, document.json().as_bytes(), 0o644)?;
        self.written = Some(document);
        Ok(())
    }
}

/// The health in the file that is there.
fn found(path: &Path) -> Option<Health> {
    #[derive(Deserialize)]
    struct Found {
        health: Option<Health>,
    }
    serde_json::from_slice::<Found>(&durable::read(path, LIMIT).ok()?).ok()?.health
}

/// Makes the directory of this boot's files one that everybody may pass through, and nobody else may list or change:
/// each file in it has its own mode.
///
/// # Errors
/// It cannot be made, or others could write to it.
pub fn run_directory(paths: &Paths) -> io::Result<()> {
    let directory = paths.run_dir();
    durable::directory(&directory, PASSABLE)?;
    let handle = File::open(&directory)?;
    let found = handle.metadata()?;
    if durable::others_can_write(&found) {
        return Err(io::Error::other("other users can write to it, so what lies in it cannot be trusted"));
    }
    if found.mode() & 0o777 != PASSABLE && found.uid() == nix::unistd::geteuid().as_raw() {
        handle.set_permissions(Permissions::from_mode(PASSABLE))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Verdict;
    use crate::step::event::{Ending, VERSION, begun};
    use std::fs;

    fn entry(ms: u64, event: Event) -> Entry {
        Entry { v: VERSION, run: "5f0c21aa".into(), at: "2026-01-02T03:04:05.000Z".into(), ms, event }
    }

    /// What a hub does: on record first, and told after that.
    fn tell(paths: &Paths, file: &mut StatusFile, entry: &Entry) {
        use std::io::Write;
        fs::create_dir_all(paths.state_dir()).unwrap();
        let mut journal = File::options().append(true).create(true).open(paths.journal()).unwrap();
        writeln!(journal, "{}", serde_json::to_string(entry).unwrap()).unwrap();
        file.event(entry);
    }

    fn read(paths: &Paths) -> serde_json::Value {
        serde_json::from_slice(&fs::read(paths.status_file()).unwrap()).unwrap()
    }

    #[test]
    fn the_last_state_is_in_the_file_however_fast_it_all_went() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        let mut file = StatusFile::start(&paths, None).unwrap();
        tell(&paths, &mut file, &entry(0, begun(&["tokens"])));
        for ms in 1..500 {
            tell(&paths, &mut file, &entry(ms, Event::StepStarted { step: "tokens".into() }));
        }
        let detail = "the manager token is well-formed".to_owned();
        let ended = Event::StepEnded { step: "tokens".into(), ending: Ending::Done, detail, took_ms: 499 };
        tell(&paths, &mut file, &entry(500, ended));
        tell(&paths, &mut file, &entry(501, Event::RunEnded { exit: 0, detail: "up".into(), failure: None }));
        drop(file);
        let found = read(&paths);
        assert_eq!((found["schema"].as_u64(), &found["run"]["state"]), (Some(1), &"done".into()));
        assert_eq!((&found["run"]["steps"][0]["state"], found["run"]["took_ms"].as_u64()), (&"done".into(), Some(501)));
        assert_eq!(found["health"], serde_json::Value::Null);
        // Nothing lies beside it.
        assert_eq!(fs::read_dir(paths.run_dir()).unwrap().count(), 1);
    }

    #[test]
    fn whoever_does_not_watch_leaves_the_health_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        let board = Board::default();
        let mut health = Health::starting(None, "2026-01-02T03:05:00.000Z");
        health.verdict = Verdict::Healthy;
        board.put(health);
        drop(StatusFile::start(&paths, Some(board)).unwrap());
        let mut file = StatusFile::start(&paths, None).unwrap();
        tell(&paths, &mut file, &entry(0, begun(&["tokens"])));
        drop(file);
        let found = read(&paths);
        assert_eq!((&found["health"]["verdict"], &found["run"]["state"]), (&"healthy".into(), &"interrupted".into()));
    }

    #[test]
    fn everybody_may_read_it_and_nobody_else_may_write_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        // As the part of the boot leaves it that keeps user-data there.
        durable::directory(&paths.run_dir(), 0o700).unwrap();
        drop(StatusFile::start(&paths, None).unwrap());
        let mode = |path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(paths.status_file()), mode(paths.run_dir())), (0o644, 0o711));
        fs::set_permissions(paths.run_dir(), Permissions::from_mode(0o777)).unwrap();
        assert!(run_directory(&paths).unwrap_err().to_string().contains("other users can write to it"));
    }
}
