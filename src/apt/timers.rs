//! The timers that start apt behind our back: paused for a run, put back whatever happens.
//!
//! What is paused is written down before it is paused, so that a run that dies in between leaves
//! something for the next one to put back. Nothing here can end a run: what does not work is a warning.

use crate::durable;
use crate::observe::Observer;
use crate::paths::program;
use crate::paths::{APT_TIMERS, Paths, environment_for_children};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::process::Command;

/// No record is longer, in bytes.
const RECORD_LIMIT: u64 = 64 * 1024;

/// The record of what is paused.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    timers: Vec<String>,
}

/// How systemd is spoken to.
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

    /// Which of these units are active.
    async fn active<'a>(&self, units: &[&'a str]) -> Result<Vec<&'a str>, String> {
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

/// Stops apt's timers where systemd runs and they are active, after writing down which. What an earlier
/// run wrote down and did not put back stays written down. Gives the timers that were stopped now.
pub async fn pause(paths: &Paths, systemctl: Option<&Systemctl>, observer: &dyn Observer) -> Vec<String> {
    if !paths.systemd_booted().exists() {
        return Vec::new();
    }
    let Some(systemctl) = systemctl else {
        observer.warn("apt's timers are not paused: there is no systemctl");
        return Vec::new();
    };
    let active = match systemctl.active(&APT_TIMERS).await {
        Ok(active) if active.is_empty() => return Vec::new(),
        Ok(active) => active,
        Err(words) => {
            observer.warn(&format!("apt's timers are not paused: systemctl cannot say which are active: {words}"));
            return Vec::new();
        }
    };
    let written = recorded(paths, observer).and_then(|mut timers| {
        for timer in &active {
            if !timers.iter().any(|known| known == timer) {
                timers.push((*timer).to_owned());
            }
        }
        record(paths, timers)
    });
    if let Err(error) = written {
        // Stopping what cannot be written down might leave the machine without updates for ever.
        let path = paths.paused_timers();
        observer.warn(&format!("apt's timers are not paused: {} cannot be kept: {error}", path.display()));
        return Vec::new();
    }
    match systemctl.change("stop", &active).await {
        Ok(()) => active.into_iter().map(str::to_owned).collect(),
        Err(words) => {
            observer.warn(&format!("{} could not be paused: {words}", active.join(" and ")));
            Vec::new()
        }
    }
}

/// Starts again what is written down as paused, by this run or by one that died, and gives the timers
/// that were started. One that will not start is a warning and stays written down for the next run.
pub async fn restore(paths: &Paths, systemctl: Option<&Systemctl>, observer: &dyn Observer) -> Vec<String> {
    if !paths.paused_timers().exists() {
        return Vec::new();
    }
    let timers = match recorded(paths, observer) {
        Ok(timers) => timers,
        Err(error) => {
            let path = paths.paused_timers();
            observer.warn(&format!("apt's timers may still be paused: {} cannot be read: {error}", path.display()));
            return Vec::new();
        }
    };
    let mut started = Vec::new();
    let mut left = Vec::new();
    for timer in timers {
        let result = match systemctl {
            Some(systemctl) => systemctl.change("start", &[&timer]).await,
            None => Err("there is no systemctl".to_owned()),
        };
        match result {
            Ok(()) => started.push(timer),
            Err(words) => {
                observer.warn(&format!("{timer} is still paused: {words}; start it with `systemctl start {timer}`"));
                left.push(timer);
            }
        }
    }
    let result = match left.is_empty() {
        true => durable::remove(&paths.paused_timers()).map(drop),
        false => record(paths, left),
    };
    if let Err(error) = result {
        // Harmless: the next run starts timers that run already.
        observer.warn(&format!("{} cannot be brought up to date: {error}", paths.paused_timers().display()));
    }
    started
}

/// Puts back what a run that died left paused. The same as [`restore`], under the name of its moment:
/// before a run begins.
pub async fn restore_leftovers(paths: &Paths, systemctl: Option<&Systemctl>, observer: &dyn Observer) -> Vec<String> {
    let started = restore(paths, systemctl, observer).await;
    if !started.is_empty() {
        observer.note(&format!("an earlier run left {} paused: started again", started.join(" and ")));
    }
    started
}

/// The timers written down as paused; only apt's own are ever believed.
fn recorded(paths: &Paths, observer: &dyn Observer) -> io::Result<Vec<String>> {
    let path = paths.paused_timers();
    let bytes = match durable::read(&path, RECORD_LIMIT) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    match serde_json::from_slice::<Record>(&bytes) {
        Ok(record) => Ok(record.timers.into_iter().filter(|timer| APT_TIMERS.contains(&timer.as_str())).collect()),
        Err(error) => {
            let start = format!("systemctl start {}", APT_TIMERS.join(" "));
            observer.warn(&format!("{} makes no sense: {error}; `{start}` puts them back", path.display()));
            Ok(Vec::new())
        }
    }
}

fn record(paths: &Paths, timers: Vec<String>) -> io::Result<()> {
    let path = paths.paused_timers();
    durable::directory(path.parent().unwrap_or(Path::new("/")), 0o700)?;
    let bytes = serde_json::to_vec(&Record { timers }).map_err(io::Error::other)?;
    durable::write(&path, &bytes, 0o600)
}

fn last_line(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    Some(line.chars().take(400).collect())
}
