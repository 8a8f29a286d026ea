//! The journal as it grows: each look reads what is new in it and no more, and keeps the status, not the entries.

use super::status::{Fold, Status};
use crate::paths::Paths;
use crate::step::{RunLock, journal};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;

/// No line of ours is longer, in bytes.
const LINE: u64 = 256 * 1024;

/// The status of this machine's last run, followed through its journal.
#[derive(Debug)]
pub struct Follow {
    paths: Paths,
    /// The file that was read, by its inode, and up to where.
    read: (u64, u64),
    fold: Fold,
}

impl Follow {
    /// Nothing was read yet.
    pub fn of(paths: &Paths) -> Follow {
        Follow { paths: paths.clone(), read: (0, 0), fold: Fold::default() }
    }

    /// The status now. A journal that cannot be read adds nothing to what was known.
    pub fn look(&mut self) -> Status {
        // The lock first: a run that ends between the two looks must not seem to have been cut off.
        let at_work = RunLock::is_held(&self.paths);
        // See above: what could be read is taken in.
        let _ = self.read_on();
        self.fold.status(at_work)
    }

    fn read_on(&mut self) -> io::Result<()> {
        let mut file = match File::open(self.paths.journal()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let found = file.metadata()?;
        let (inode, length) = (found.ino(), found.len());
        // Put aside and begun anew, or cut: from its beginning.
        if self.read.0 != inode || self.read.1 > length {
            self.read = (inode, length.saturating_sub(journal::READ_AT_MOST));
        }
        if self.read.1 == length {
            return Ok(());
        }
        file.seek(SeekFrom::Start(self.read.1))?;
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let count = reader.by_ref().take(LINE).read_until(b'\n', &mut line)? as u64;
            // A line that is being written is read when it is whole.
            if count == 0 || (count < LINE && line.last() != Some(&b'\n')) {
                return Ok(());
            }
            self.read.1 += count;
            journal::parse(&line).iter().for_each(|entry| self.fold.push(entry));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::status::State;
    use super::*;
    use crate::step::event::{Ending, Entry, Event, VERSION};
    use std::fs;
    use std::io::Write;

    fn line(run: &str, ms: u64, event: Event) -> String {
        let entry = Entry { v: VERSION, run: run.into(), at: "2026-01-02T03:04:05.000Z".into(), ms, event };
        serde_json::to_string(&entry).unwrap() + "\n"
    }

    fn begun(run: &str) -> String {
        let event = Event::RunStarted {
            verb: "install".into(),
            fingerprint: "f".into(),
            version: "0.1.0".into(),
            boot: String::new(),
            uptime_ms: Some(23_400),
            pid: 7,
            budget_ms: 570_000,
            resumes: None,
            steps: vec!["tokens".into()],
        };
        line(run, 0, event)
    }

    #[test]
    fn what_is_new_is_read_once_also_when_a_line_comes_in_two_parts() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        let mut follow = Follow::of(&paths);
        assert_eq!(follow.look().state, State::Never);
        fs::create_dir_all(paths.state_dir()).unwrap();
        let mut file = File::create(paths.journal()).unwrap();
        file.write_all(begun("a").as_bytes()).unwrap();
        assert_eq!(follow.look().steps[0].state, "pending");
        let ended = Event::StepEnded { step: "tokens".into(), ending: Ending::Done, detail: "d".into(), took_ms: 4 };
        let ended = line("a", 5, ended);
        let (first, second) = ended.split_at(40);
        file.write_all(first.as_bytes()).unwrap();
        assert_eq!(follow.look().steps[0].state, "pending");
        file.write_all(second.as_bytes()).unwrap();
        assert_eq!((follow.look().steps[0].state, follow.look().took_ms), ("done", 5));
        assert_eq!(follow.look().uptime_ms, Some(23_400));
    }

    #[test]
    fn a_journal_that_was_put_aside_and_begun_anew_is_read_from_its_beginning() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        fs::create_dir_all(paths.state_dir()).unwrap();
        fs::write(paths.journal(), begun("a") + &"\n".repeat(5_000)).unwrap();
        let mut follow = Follow::of(&paths);
        assert_eq!(follow.look().run.as_deref(), Some("a"));
        fs::rename(paths.journal(), directory.path().join("aside")).unwrap();
        assert_eq!(follow.look().run.as_deref(), Some("a"));
        fs::write(paths.journal(), "{\"v\":1,\"torn\n".to_owned() + &begun("b")).unwrap();
        assert_eq!(follow.look().run.as_deref(), Some("b"));
    }

    #[test]
    fn bytes_that_are_no_journal_are_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        fs::create_dir_all(paths.state_dir()).unwrap();
        let mut bytes = vec![0xff; 2 * LINE as usize];
        bytes.push(b'\n');
        bytes.extend_from_slice(begun("a").as_bytes());
        fs::write(paths.journal(), bytes).unwrap();
        assert_eq!(Follow::of(&paths).look().run.as_deref(), Some("a"));
    }
}
