//! A process that holds apt's locks, as apt does: POSIX record locks on whole files (fcntl(2)).

use kasm_stand_in::lock;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// The locks that an apt at work holds.
pub const FILES: [&str; 4] =
    ["var/lib/dpkg/lock-frontend", "var/lib/dpkg/lock", "var/lib/apt/lists/lock", "var/cache/apt/archives/lock"];

/// Takes the locks, says so with one line, and keeps them until standard input ends.
pub fn hold(files: &[PathBuf]) -> ExitCode {
    let lock = || -> io::Result<Vec<File>> {
        files.iter().map(|path| File::options().read(true).write(true).open(path).and_then(take)).collect()
    };
    match lock() {
        Ok(held) => {
            println!("held");
            let ended = io::copy(&mut io::stdin(), &mut io::sink());
            drop(held);
            if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("the locks cannot be taken: {error}");
            ExitCode::FAILURE
        }
    }
}

fn take(file: File) -> io::Result<File> {
    lock::take(&file)?;
    Ok(file)
}

/// A child that holds the locks below a root, under the name `apt-get`.
pub struct Holder {
    child: Child,
    // Dropping it ends the wait early, and with it the locks.
    early: mpsc::Sender<()>,
    release: Option<JoinHandle<()>>,
}

impl Holder {
    /// Returns when the locks are held; they are let go after `busy`, or when this is dropped.
    ///
    /// # Panics
    /// If the locks cannot be taken.
    pub fn start(root: &Path, busy: Duration) -> Holder {
        // A process is called after the file it was started from (proc(5), `comm`).
        let name = root.join("usr/bin/apt-get");
        symlink(std::env::current_exe().expect("a running program has a file"), &name)
            .expect("the scratch root is new and can be written to");
        let mut child = Command::new(&name)
            .arg("hold-lock")
            .args(FILES.map(|file| root.join(file)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started once more");
        let stdin: ChildStdin = child.stdin.take().expect("it was piped");
        let mut said = String::new();
        BufReader::new(child.stdout.take().expect("it was piped").take(64))
            .read_line(&mut said)
            .expect("a pipe can be read");
        assert_eq!(said, "held\n", "the locks are taken");
        let (early, ended) = mpsc::channel();
        let release = std::thread::spawn(move || {
            // Either way, time or an early end, the locks go now: that is what the waiting was for.
            let _ = ended.recv_timeout(busy);
            drop(stdin);
        });
        Holder { child, early, release: Some(release) }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.early = mpsc::channel().0;
        if let Some(release) = self.release.take() {
            let _ = release.join(); // it cannot panic
        }
        let _ = self.child.wait(); // nothing is left to be done about a child that cannot be waited for
    }
}
