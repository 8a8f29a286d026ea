//! A run on the machine's serial console: what the hypervisor keeps of a machine that is destroyed with its logs. One
//! line a step, warnings, what is waited for; and at a bad end the whole failure.
//!
//! A console may be slow, full, or nobody's: a thread of its own writes, from a bounded queue, and gives up on what it
//! cannot get rid of. Nothing ever waits for it but the very end, for a moment.

use super::aside::Aside;
use super::lines;
use crate::error::Failure;
use crate::paths::Paths;
use crate::step::{Entry, Event, View};
use crate::words;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

/// So many lines may wait to be written; what comes beyond is left out.
const QUEUE: usize = 64;
/// The longest line, in characters.
const LONGEST: usize = 400;
/// How long a console may be full before a line is given up, in milliseconds: at 9600 baud a line takes as long.
const PATIENCE: u16 = 400;
/// How long the last lines may take when the view ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// The view of serial consoles.
pub struct Console {
    lines: SyncSender<String>,
    _aside: Aside,
}

impl Console {
    /// A view of the kernel's serial consoles, as far as this machine has any and they can be opened.
    pub fn of(paths: &Paths) -> Option<Console> {
        let active = std::fs::read_to_string(paths.consoles()).ok()?;
        let paths = serial(&active).map(|name| paths.at("/dev").join(name));
        let devices: Vec<Device> = paths.filter_map(|path| Some(Device { open: open(&path).ok()?, path })).collect();
        if devices.is_empty() {
            return None;
        }
        let (lines, queue) = sync_channel::<String>(QUEUE);
        let writing = move || {
            let mut devices = devices;
            for line in queue {
                devices.iter_mut().for_each(|device| device.write(&line));
            }
        };
        Some(Console { lines, _aside: Aside::start("console", FAREWELL, writing).ok()? })
    }

    fn say(&self, text: &str) {
        let text: String = words::one_line(text).chars().take(LONGEST).collect();
        // A full queue: the console is slower than the run, which does not wait for it.
        let _ = self.lines.try_send(format!("kasm-bootstrap: {text}\r\n"));
    }

    /// Tells why it is over: the whole failure.
    pub fn failure(&self, failure: &Failure) {
        self.say(&format!("FAILED: {} [{}]", failure.message, failure.reason));
        for cause in &failure.causes {
            // A cause may quote an installer's last words, several lines of them.
            cause
                .lines()
                .filter(|line| !line.trim().is_empty())
                .for_each(|line| self.say(&format!("  because: {line}")));
        }
        self.say(&format!("  help: {}", failure.help));
    }
}

impl View for Console {
    fn event(&mut self, entry: &Entry) {
        let time = format!("[{:>6.1}s] ", Duration::from_millis(entry.ms).as_secs_f64());
        match &entry.event {
            // What is said on the way is for those who can look inside.
            Event::StepOutput { .. } | Event::StepStarted { .. } | Event::StepNote { warning: false, .. } => {}
            // A failure is told by whom it ends: there are some without any run.
            Event::RunEnded { failure: Some(_), .. } => {}
            Event::RunEnded { detail, .. } => self.say(&format!("{time}done: {detail}")),
            event => {
                if let Some(sentence) = lines::sentence(event) {
                    self.say(&format!("{time}{sentence}"));
                }
            }
        }
    }
}

/// The serial ones among the kernel's consoles (its Documentation/ABI/testing/sysfs-tty, "active"). `tty0` and the
/// like are screens, which somebody may be looking at.
fn serial(active: &str) -> impl Iterator<Item = &str> {
    let is_screen = |name: &str| name.strip_prefix("tty").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
    let is_name = |name: &str| name.len() <= 16 && name.bytes().all(|b| b.is_ascii_alphanumeric());
    active.split_ascii_whitespace().filter(move |name| is_name(name) && !is_screen(name)).take(4)
}

fn open(path: &PathBuf) -> io::Result<File> {
    let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
    OpenOptions::new().write(true).custom_flags(flags).open(path)
}

/// A console's device.
struct Device {
    path: PathBuf,
    open: File,
}

impl Device {
    /// Writes a line, or as much of it as the console takes.
    fn write(&mut self, line: &str) {
        // A login that begins there hangs it up for everybody who has it open (vhangup(2)): then it is opened anew.
        if write(&mut self.open, line).is_err()
            && let Ok(anew) = open(&self.path)
        {
            self.open = anew;
            // Nobody is at its other end.
            let _ = write(&mut self.open, line);
        }
    }
}

/// Writes a line, or as much of it as is taken.
fn write(device: &mut File, line: &str) -> io::Result<()> {
    let mut left = line.as_bytes();
    while !left.is_empty() {
        match device.write(left) {
            Ok(0) => return Ok(()),
            Ok(count) => left = left.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let ready = poll(&mut [PollFd::new(device.as_fd(), PollFlags::POLLOUT)], PollTimeout::from(PATIENCE));
                if !matches!(ready, Ok(1)) {
                    return Ok(());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use crate::step::Ending;
    use crate::step::event::VERSION;
    use nix::sys::stat::Mode;
    use std::io::Read;

    fn entry(ms: u64, event: Event) -> Entry {
        Entry { v: VERSION, run: "r".into(), at: String::new(), ms, event }
    }

    fn ended(step: &str, ending: Ending, detail: &str) -> Event {
        Event::StepEnded { step: step.into(), ending, detail: detail.into(), took_ms: 1_200 }
    }

    /// A machine whose console is a pipe, and the pipe's other end.
    fn machine() -> (tempfile::TempDir, Paths, File) {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        std::fs::create_dir_all(paths.consoles().parent().unwrap()).unwrap();
        std::fs::write(paths.consoles(), "tty0 ttyS0\n").unwrap();
        std::fs::create_dir_all(paths.at("/dev")).unwrap();
        nix::unistd::mkfifo(&paths.at("/dev/ttyS0"), Mode::S_IRWXU).unwrap();
        let reader = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(paths.at("/dev/ttyS0"));
        (directory, paths, reader.unwrap())
    }

    #[test]
    fn a_failing_boot_leaves_its_story_and_the_remedy_on_the_console() {
        let (_directory, paths, mut reader) = machine();
        let mut console = Console::of(&paths).unwrap();
        let failure = Failure {
            causes: vec!["the installer's last words were\nE: Unable to lock directory".into()],
            ..Failure::new(
                Exit::Installer,
                "installer.failed",
                "the installer ended with exit code 100",
                "read installer.log",
            )
        };
        for event in [
            entry(40, Event::StepStarted { step: "tokens".into() }),
            entry(1_240, ended("tokens", Ending::Done, "the manager token is well-formed (opaque)")),
            entry(
                1_300,
                Event::StepNote { step: "fetch".into(), text: "mirror 1 answered\n503".into(), warning: true },
            ),
            entry(1_310, Event::StepOutput { step: "install".into(), line: "Reading package lists".into() }),
            entry(9_000, ended("install", Ending::Failed, "the installer ended with exit code 100")),
            entry(9_001, Event::RunEnded { exit: 18, detail: failure.message.clone(), failure: Some(failure.clone()) }),
        ] {
            console.event(&event);
        }
        console.failure(&failure);
        drop(console);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(text.lines().count() == text.matches("\r\n").count());
        insta::assert_snapshot!(text.replace('\r', ""), @r"
        kasm-bootstrap: [   1.2s] tokens: the manager token is well-formed (opaque) (1.2 s)
        kasm-bootstrap: [   1.3s] fetch: warning: mirror 1 answered 503
        kasm-bootstrap: [   9.0s] install: FAILED after 1.2 s: the installer ended with exit code 100
        kasm-bootstrap: FAILED: the installer ended with exit code 100 [installer.failed]
        kasm-bootstrap:   because: the installer's last words were
        kasm-bootstrap:   because: E: Unable to lock directory
        kasm-bootstrap:   help: read installer.log
        ");
    }

    #[test]
    fn a_console_that_is_hung_up_is_opened_anew() {
        let (_directory, paths, reader) = machine();
        let mut device = Device { open: open(&paths.at("/dev/ttyS0")).unwrap(), path: paths.at("/dev/ttyS0") };
        // EPIPE takes EIO's place: what was open has nobody at its other end, and what has its name now has.
        drop(reader);
        std::fs::remove_file(&device.path).unwrap();
        nix::unistd::mkfifo(&device.path, Mode::S_IRWXU).unwrap();
        let flags = nix::libc::O_NONBLOCK;
        let mut reader = OpenOptions::new().read(true).custom_flags(flags).open(&device.path).unwrap();
        device.write("said");
        let mut text = [0; 16];
        assert_eq!(reader.read(&mut text).unwrap(), 4);
    }

    #[test]
    fn a_console_that_nobody_reads_holds_nothing_up() {
        let (_directory, paths, reader) = machine();
        let mut console = Console::of(&paths).unwrap();
        // More than a pipe takes (pipe(7): 64 KiB) and than the queue holds.
        for _ in 0..5_000 {
            console.event(&entry(1, ended("fetch", Ending::Done, &"x".repeat(300))));
        }
        drop(console);
        drop(reader);
    }

    #[test]
    fn screens_are_left_alone_and_without_a_serial_console_there_is_no_view() {
        let names = |active| serial(active).collect::<Vec<_>>();
        assert_eq!(names("tty0 ttyS0 hvc0\n"), ["ttyS0", "hvc0"]);
        assert_eq!(names("tty1 ../etc/passwd ttyAMA0"), ["ttyAMA0"]);
        assert_eq!(names(""), [] as [&str; 0]);
        let directory = tempfile::tempdir().unwrap();
        assert!(Console::of(&Paths::below(directory.path())).is_none());
        let (_directory, paths, _reader) = machine();
        std::fs::write(paths.consoles(), "tty0 ttyS1\n").unwrap();
        assert!(Console::of(&paths).is_none());
    }
}
