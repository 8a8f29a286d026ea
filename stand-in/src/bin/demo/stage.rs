//! Runs the real binary, shows what is run and what comes of it, and keeps count of what did not come out
//! as it should.

use crate::scene::Scene;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::Duration;

/// Where the play goes on.
pub struct Stage {
    binary: PathBuf,
    root: PathBuf,
    scratch: PathBuf,
    terminal: bool,
    colour: bool,
    printed: Vec<u8>,
    peak: Option<u64>,
    wrong: Vec<String>,
}

impl Stage {
    /// For this binary, in this scene.
    pub fn new(binary: &Path, scene: &Scene) -> Stage {
        Stage {
            binary: binary.to_owned(),
            root: scene.root.clone(),
            scratch: scene.scratch.clone(),
            terminal: io::stdout().is_terminal() && io::stderr().is_terminal(),
            colour: io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
            printed: Vec::new(),
            peak: None,
            wrong: Vec::new(),
        }
    }

    /// Says something.
    pub fn say(&self, text: &str) {
        println!("{text}");
    }

    /// Says what comes next.
    pub fn chapter(&self, title: &str) {
        println!("\n{}", self.in_colour("1;36", &format!("== {title}")));
    }

    /// Runs the binary with these arguments, below the scratch root, and with this on its standard input.
    pub fn run(&mut self, args: &[&str], input: Option<&str>, code: i32) {
        println!("{}\n", self.in_colour("1", &self.shown(args, input)));
        let mut command = Command::new(&self.binary);
        command.arg("--root").arg(&self.root).args(args);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            // What the demonstration shows must not depend on what this machine's operator has set.
            if name.starts_with("KASM_BOOTSTRAP_") || name.to_ascii_lowercase().ends_with("_proxy") {
                command.env_remove(name);
            }
        }
        let found = match self.perform(&mut command, input) {
            Ok(found) => found,
            Err(error) => {
                self.expect(&format!("{} can be run: {error}", self.binary.display()), false);
                return;
            }
        };
        println!();
        let otherwise = match found {
            Some(found) if found == code => String::new(),
            Some(found) => format!(" (it was {found})"),
            None => " (a signal ended it)".into(),
        };
        self.expect(&format!("exit code {code}{otherwise}"), otherwise.is_empty());
    }

    /// Notes whether something came out as it should.
    pub fn expect(&mut self, what: &str, right: bool) {
        if right {
            println!("{} {what}", self.in_colour("32", "as expected:"));
        } else {
            println!("{} {what}", self.in_colour("1;31", "NOT AS EXPECTED:"));
            self.wrong.push(what.to_owned());
        }
    }

    /// Expects that the binary's last run had no more than so many KiB in memory.
    pub fn expect_memory(&mut self, most: u64) {
        let peak = self.peak.unwrap_or(u64::MAX);
        let words = format!("at its peak it had {peak} KiB in memory, at most {most} are allowed");
        self.expect(&words, peak <= most);
    }

    /// Whether these words were among what the binary printed. On a terminal, which the binary writes to
    /// directly, nobody but the one who watches can know: `None`.
    pub fn printed(&self, words: &str) -> Option<bool> {
        if self.terminal {
            return None;
        }
        Some(self.printed.windows(words.len()).any(|window| window == words.as_bytes()))
    }

    /// The verdict.
    pub fn end(self) -> ExitCode {
        self.chapter(if self.wrong.is_empty() { "All as expected" } else { "Not as expected" });
        for what in &self.wrong {
            println!("  {what}");
        }
        if self.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// The command as one would type it. `$ROOT` and `$SCRATCH` stand for long paths.
    fn shown(&self, args: &[&str], input: Option<&str>) -> String {
        let echo = input.map(|input| format!("echo '{input}' | ")).unwrap_or_default();
        let mut lines = vec![format!("$ {echo}kasm-bootstrap --root $ROOT")];
        let mut args = args.iter().peekable();
        while let Some(arg) = args.next() {
            let mut words = (*arg).to_owned();
            // A flag and its value stay together.
            if let Some(value) = args.next_if(|next| arg.starts_with('-') && !next.starts_with('-')) {
                words = format!("{arg} {value}");
            }
            words = words.replace(&self.root.display().to_string(), "$ROOT");
            words = words.replace(&self.scratch.display().to_string(), "$SCRATCH");
            let last = lines.last_mut().expect("there is a first line");
            if last.len() + words.len() > 96 {
                last.push_str(" \\");
                lines.push(format!("      {words}"));
            } else {
                last.push(' ');
                last.push_str(&words);
            }
        }
        lines.join("\n")
    }

    /// Runs it to its end. On a terminal it has the terminal to itself; elsewhere all it prints is kept, too.
    fn perform(&mut self, command: &mut Command, input: Option<&str>) -> io::Result<Option<i32>> {
        let output = || if self.terminal { Stdio::inherit() } else { Stdio::piped() };
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command.stdout(output()).stderr(output()).spawn()?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            writeln!(stdin, "{input}")?;
        }
        self.peak = None;
        let (watched, peak) = (format!("/proc/{}/status", child.id()), &mut self.peak);
        let kept = Mutex::new(&mut self.printed);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        std::thread::scope(|scope| {
            // The kernel keeps the highest value itself; a dead process has none, so the last look counts.
            scope.spawn(move || {
                while let Some(kibibytes) = high_water_mark(&watched) {
                    *peak = Some(kibibytes);
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
            let copies = [
                stdout.map(|pipe| scope.spawn(|| copy(pipe, &kept))),
                stderr.map(|pipe| scope.spawn(|| copy(pipe, &kept))),
            ];
            for copy in copies.into_iter().flatten() {
                copy.join().map_err(|_| io::Error::other("a copying thread panicked"))??;
            }
            Ok(child.wait()?.code())
        })
    }

    fn in_colour(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The most memory a process ever had resident, KiB (proc(5), `VmHWM`).
fn high_water_mark(status: &str) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Passes on and keeps. Both pipes go to standard output, so that their order is kept where it can be.
fn copy(mut pipe: impl Read, kept: &Mutex<&mut Vec<u8>>) -> io::Result<()> {
    let mut buffer = [0; 8192];
    loop {
        let read = pipe.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        let mut kept = kept.lock().map_err(|_| io::Error::other("the other copying thread panicked"))?;
        kept.extend_from_slice(&buffer[..read]);
        let mut stdout = io::stdout().lock();
        stdout.write_all(&buffer[..read])?;
        stdout.flush()?;
    }
}
