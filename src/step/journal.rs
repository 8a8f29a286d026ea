//! The journal file: JSON lines, appended and synced, never rewritten. A line torn by a power cut is
//! passed over, and the next line begins on a line of its own.

use super::error::Error;
use super::event::{Entry, Event};
use crate::durable;
use crate::error::Failure;
use crate::paths::Paths;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A journal beyond this size is put aside (as `journal.jsonl.1`) when the next run begins.
const PUT_ASIDE_BEYOND: u64 = 4 << 20;
/// How much of the end of the journal a reader takes: more than a run can write.
pub const READ_AT_MOST: u64 = 16 << 20;

/// The journal, open for appending.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// The last write failed, perhaps in the middle of a line.
    torn: bool,
}

impl Journal {
    /// Opens the journal, and makes it (0600) and its directory (0700) if they are not there.
    pub fn open(paths: &Paths) -> Result<Journal, Error> {
        let path = paths.journal();
        let fail = |source| Error::State { path: path.display().to_string(), source };
        durable::private_directory(&paths.state_dir()).map_err(fail)?;
        let file = open_whole(&path).map_err(fail)?;
        Ok(Journal { path, file, torn: false })
    }

    /// Appends one entry. One that must last is on the disk when this returns.
    pub fn append(&mut self, entry: &Entry) -> Result<(), Error> {
        let mut line = serde_json::to_vec(entry).expect("an entry holds nothing that JSON cannot");
        line.push(b'\n');
        if self.torn {
            // Else this entry would be lost with the torn one, once a full disk has room again.
            line.insert(0, b'\n');
        }
        let result = self.file.write_all(&line).and_then(|()| match entry.event.must_last() {
            true => self.file.sync_data(),
            false => Ok(()),
        });
        self.torn = result.is_err();
        result.map_err(|source| Error::Journal { path: self.path.display().to_string(), source })
    }

    /// Every entry of the journal that can be read, oldest first. No journal: none.
    pub fn read(paths: &Paths) -> io::Result<Vec<Entry>> {
        read_tail(&paths.journal())
    }

    /// Why the last run that has ended failed; nothing if it did not, or where the journal cannot be read.
    pub fn last_failure(paths: &Paths) -> Option<Failure> {
        let ended = Journal::read(paths).ok()?.into_iter().rev().find_map(|entry| match entry.event {
            Event::RunEnded { failure, .. } => Some(failure),
            _ => None,
        });
        ended.flatten()
    }
}

fn open_whole(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|data| data.len() > PUT_ASIDE_BEYOND) {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".1");
        fs::rename(path, aside)?;
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true).read(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
    let mut file = options.open(path)?;
    if let Some(directory) = path.parent() {
        durable::sync_directory(directory)?;
    }
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

fn read_tail(path: &Path) -> io::Result<Vec<Entry>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(READ_AT_MOST)))?;
    let mut bytes = Vec::new();
    file.take(READ_AT_MOST).read_to_end(&mut bytes)?;
    Ok(parse(&bytes))
}

/// The entries in these bytes. What is torn, foreign or of a later format is passed over.
pub fn parse(bytes: &[u8]) -> Vec<Entry> {
    bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// What earlier runs of the same plan have finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// The last of them.
    pub run: String,
    /// The steps that have ended well since they were last begun, and the run that ended each.
    pub finished: Vec<(String, String)>,
    /// Steps that were begun and did not end well.
    pub open: Vec<String>,
    /// True if the last run itself ended well.
    pub ended_well: bool,
    /// The wall clock at their last entry, RFC 3339.
    pub last_at: String,
}

/// What the runs of this verb and fingerprint have left, if there were any.
pub fn earlier(entries: &[Entry], verb: &str, fingerprint: &str) -> Option<Earlier> {
    let mut runs: Vec<&str> = Vec::new();
    let mut earlier = Earlier {
        run: String::new(),
        finished: Vec::new(),
        open: Vec::new(),
        ended_well: false,
        last_at: String::new(),
    };
    for entry in entries {
        if let Event::RunStarted { verb: its_verb, fingerprint: its, .. } = &entry.event
            && its_verb == verb
            && its == fingerprint
        {
            runs.push(&entry.run);
            earlier.run.clone_from(&entry.run);
            earlier.ended_well = false;
        }
        if !runs.contains(&entry.run.as_str()) {
            continue;
        }
        earlier.last_at.clone_from(&entry.at);
        match &entry.event {
            Event::StepStarted { step } => {
                earlier.finished.retain(|(finished, _)| finished != step);
                earlier.open.retain(|open| open != step);
                earlier.open.push(step.clone());
            }
            // A step skipped because it was finished before keeps the run that finished it.
            Event::StepEnded { step, ending, .. } if ending.is_good() => {
                earlier.open.retain(|open| open != step);
                if !earlier.finished.iter().any(|(finished, _)| finished == step) {
                    earlier.finished.push((step.clone(), entry.run.clone()));
                }
            }
            Event::RunEnded { exit, .. } => earlier.ended_well = *exit == 0,
            _ => {}
        }
    }
    (!runs.is_empty()).then_some(earlier)
}

#[cfg(test)]
mod tests {
    use super::super::event::{Ending, VERSION};
    use super::*;
    use proptest::prelude::*;

    fn entry(run: &str, event: Event) -> Entry {
        Entry { v: VERSION, run: run.into(), at: "2026-01-01T00:00:00Z".into(), ms: 0, event }
    }

    fn started(run: &str, fingerprint: &str) -> Entry {
        entry(
            run,
            Event::RunStarted {
                verb: "install".into(),
                fingerprint: fingerprint.into(),
                version: "0".into(),
                boot: String::new(),
                uptime_ms: None,
                pid: 1,
                budget_ms: 1,
                resumes: None,
                steps: vec![],
            },
        )
    }

    fn step(run: &str, name: &str, ending: Option<Ending>) -> Entry {
        let step = name.to_owned();
        entry(
            run,
            match ending {
                None => Event::StepStarted { step },
                Some(ending) => Event::StepEnded { step, ending, detail: String::new(), took_ms: 0 },
            },
        )
    }

    #[test]
    fn a_torn_line_is_passed_over_and_the_next_one_stands_alone() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        Journal::open(&paths).unwrap().append(&started("a", "f")).unwrap();
        let mut bytes = fs::read(paths.journal()).unwrap();
        bytes.extend_from_slice(br#"{"v":1,"run":"a","at":"2026"#);
        fs::write(paths.journal(), &bytes).unwrap();
        Journal::open(&paths).unwrap().append(&step("a", "fetch", None)).unwrap();
        assert_eq!(Journal::read(&paths).unwrap(), [started("a", "f"), step("a", "fetch", None)]);
    }

    #[test]
    fn the_journal_is_private_from_birth() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        Journal::open(&paths).unwrap();
        assert_eq!(fs::metadata(paths.journal()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(paths.state_dir()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_journal_that_has_grown_large_is_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        Journal::open(&paths).unwrap();
        fs::write(paths.journal(), vec![b'\n'; PUT_ASIDE_BEYOND as usize + 1]).unwrap();
        Journal::open(&paths).unwrap();
        assert_eq!(fs::metadata(paths.journal()).unwrap().len(), 0);
        assert!(directory.path().join("var/lib/kasm-bootstrap/journal.jsonl.1").exists());
    }

    #[test]
    fn what_the_runs_of_one_plan_finished_adds_up_and_other_plans_do_not_count() {
        let entries = [
            started("a", "f"),
            step("a", "fetch", None),
            step("a", "fetch", Some(Ending::Done)),
            step("a", "install", None),
            started("b", "other"),
            step("b", "unpack", None),
            started("c", "f"),
            step("c", "tokens", None),
        ];
        let found = earlier(&entries, "install", "f").unwrap();
        assert_eq!((found.run.as_str(), found.ended_well), ("c", false));
        assert_eq!(found.finished, [("fetch".to_owned(), "a".to_owned())]);
        assert_eq!(found.open, ["install", "tokens"]);
        assert_eq!(earlier(&entries, "upgrade", "f"), None);
    }

    #[test]
    fn a_step_begun_again_is_open_again() {
        let entries = [
            started("a", "f"),
            step("a", "install", None),
            step("a", "install", Some(Ending::Done)),
            started("b", "f"),
            step("b", "install", None),
        ];
        let found = earlier(&entries, "install", "f").unwrap();
        assert_eq!((found.finished.len(), found.open), (0, vec!["install".to_owned()]));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            parse(&bytes);
        }

        #[test]
        fn a_journal_cut_anywhere_keeps_its_whole_lines(cut in 0usize..400) {
            let mut bytes = Vec::new();
            for entry in [started("a", "f"), step("a", "fetch", None)] {
                serde_json::to_writer(&mut bytes, &entry).unwrap();
                bytes.push(b'\n');
            }
            let cut = cut.min(bytes.len());
            let whole = bytes[..cut].iter().filter(|byte| **byte == b'\n').count();
            // A line that lacks only its line feed is whole too.
            prop_assert!((whole..=whole + 1).contains(&parse(&bytes[..cut]).len()));
        }
    }
}
