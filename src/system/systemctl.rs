//! How systemd is spoken to: by its own program, whatever it answers, and never without a limit.

use crate::paths::{environment_for_children, program};
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::process::Command;

/// A `systemctl`, and how long is waited for it.
#[derive(Debug, Clone)]
pub struct Systemctl {
    program: PathBuf,
    limit: Duration,
}

impl Systemctl {
    /// The `systemctl` at this path.
    pub fn at(program: impl Into<PathBuf>) -> Systemctl {
        Systemctl { program: program.into(), limit: Duration::from_secs(10) }
    }

    /// The first `systemctl` in a `PATH`, usually the environment's.
    pub fn find(path: Option<&OsStr>) -> Option<Systemctl> {
        program("systemctl", std::env::split_paths(path?)).map(Systemctl::at)
    }

    /// The same, given up after `limit` instead of 10 s a call.
    pub fn with_limit(self, limit: Duration) -> Systemctl {
        Systemctl { limit, ..self }
    }

    async fn call(&self, verb: &str, units: &[&str]) -> io::Result<Output> {
        let mut command = Command::new(&self.program);
        // Without root, polkit would ask for a password on the terminal.
        command.arg("--no-ask-password").arg(verb).args(units).stdin(Stdio::null()).kill_on_drop(true);
        command.env_clear().envs(environment_for_children());
        match tokio::time::timeout(self.limit, command.output()).await {
            Ok(output) => output,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {:?}", self.limit))),
        }
    }

    /// True if systemd knows this unit.
    pub async fn is_loaded(&self, unit: &str) -> bool {
        let output = self.call("show", &["--property=LoadState", unit]).await;
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == "LoadState=loaded")
    }

    /// Runs one verb on some units; an error in words unless it succeeds.
    pub async fn change(&self, verb: &str, units: &[&str]) -> Result<(), String> {
        match self.call(verb, units).await {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(match last_line(&output.stderr) {
                Some(line) => format!("{} ({})", line, output.status),
                None => output.status.to_string(),
            }),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Which of these units are active; an error in words.
    pub async fn active<'a>(&self, units: &[&'a str]) -> Result<Vec<&'a str>, String> {
        // One line a unit, in their order; the exit code only says whether any of them is.
        let output = self.call("is-active", units).await.map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        let states: Vec<&str> = text.lines().map(str::trim).collect();
        if states.len() != units.len() {
            let words = last_line(&output.stderr).unwrap_or_else(|| output.status.to_string());
            return Err(format!("is-active told {} states of {} units: {words}", states.len(), units.len()));
        }
        Ok(units.iter().zip(states).filter(|(_, state)| *state == "active").map(|(unit, _)| *unit).collect())
    }
}

fn last_line(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    Some(line.chars().take(400).collect())
}
