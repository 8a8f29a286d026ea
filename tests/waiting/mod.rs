//! How tests with a real package manager watch the real binary wait for it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output};

/// A child that does not outlive its test.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it has usually ended already
        let _ = self.0.wait(); // and been waited for
    }
}

/// The first line a waiting binary says, and then its whole output once `release` has been called.
pub fn said_before_and_after(mut command: Command, release: impl FnOnce()) -> (String, Output) {
    let mut child = Guard(command.spawn().unwrap());
    let mut stderr = BufReader::new(child.0.stderr.take().unwrap());
    let mut first = String::new();
    stderr.read_line(&mut first).unwrap();
    release();
    let (mut stdout, mut rest) = (Vec::new(), Vec::new());
    child.0.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
    stderr.read_to_end(&mut rest).unwrap();
    let status = child.0.wait().unwrap();
    (first.trim_end().to_owned(), Output { status, stdout, stderr: rest })
}

/// What was said, without its last line feed.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap().trim_end().to_owned()
}

/// Snapshots without what differs from run to run.
pub fn steady<T>(body: impl FnOnce() -> T) -> T {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"pid \d+|ps -fp \d+", "pid PID");
    settings.add_filter(r"\d+\.\d s", "SPAN");
    // Within a systemd unit (a session, a CI runner's service) the holder's unit is named as well.
    settings.add_filter(r"[\w@.:\\-]+\.(service|scope), pid", "pid");
    settings.bind(body)
}
