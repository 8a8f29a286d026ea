//! The timers that start a package manager behind our back: paused for a run, put back whatever happens.
//!
//! What is paused is written down before it is paused, so that a run that dies in between leaves
//! something for the next one to put back. Nothing here can end a run: what does not work is a warning.

use super::Manager;
use crate::durable;
use crate::observe::Observer;
use crate::paths::Paths;
use crate::record::{self, Record};
use crate::system::systemctl::Systemctl;
use serde::{Deserialize, Serialize};
use std::io;

/// The record of what is paused.
#[derive(Debug, Serialize, Deserialize)]
struct Paused {
    schema: u32,
    timers: Vec<String>,
}

impl Record for Paused {
    const SCHEMA: u32 = 1;
}

/// Stops the package manager's timers where systemd runs and they are active, after writing down which. What an
/// earlier run wrote down and did not put back stays written down. Gives the timers that were stopped now.
pub async fn pause(
    manager: &Manager,
    paths: &Paths,
    systemctl: Option<&Systemctl>,
    observer: &dyn Observer,
) -> Vec<String> {
    if !paths.systemd_booted().exists() {
        return Vec::new();
    }
    let Some(systemctl) = systemctl else {
        observer.warn(&format!("{}'s timers are not paused: there is no systemctl", manager.name));
        return Vec::new();
    };
    let active = match systemctl.active(manager.timers).await {
        Ok(active) if active.is_empty() => return Vec::new(),
        Ok(active) => active,
        Err(words) => {
            let name = manager.name;
            observer.warn(&format!("{name}'s timers are not paused: systemctl cannot say which are active: {words}"));
            return Vec::new();
        }
    };
    let written = recorded(manager, paths, observer).and_then(|mut timers| {
        for timer in &active {
            if !timers.iter().any(|known| known == timer) {
                timers.push((*timer).to_owned());
            }
        }
        write_down(paths, timers)
    });
    if let Err(error) = written {
        // Stopping what cannot be written down might leave the machine without updates for ever.
        let (name, path) = (manager.name, paths.paused_timers());
        observer.warn(&format!("{name}'s timers are not paused: {} cannot be kept: {error}", path.display()));
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
pub async fn restore(
    manager: &Manager,
    paths: &Paths,
    systemctl: Option<&Systemctl>,
    observer: &dyn Observer,
) -> Vec<String> {
    if !paths.paused_timers().exists() {
        return Vec::new();
    }
    let timers = match recorded(manager, paths, observer) {
        Ok(timers) => timers,
        Err(error) => {
            let (name, path) = (manager.name, paths.paused_timers());
            observer.warn(&format!("{name}'s timers may still be paused: {} cannot be read: {error}", path.display()));
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
        false => write_down(paths, left),
    };
    if let Err(error) = result {
        // Harmless: the next run starts timers that run already.
        observer.warn(&format!("{} cannot be brought up to date: {error}", paths.paused_timers().display()));
    }
    started
}

/// Puts back what a run that died left paused. The same as [`restore`], under the name of its moment:
/// before a run begins.
pub async fn restore_leftovers(
    manager: &Manager,
    paths: &Paths,
    systemctl: Option<&Systemctl>,
    observer: &dyn Observer,
) -> Vec<String> {
    let started = restore(manager, paths, systemctl, observer).await;
    if !started.is_empty() {
        observer.note(&format!("an earlier run left {} paused: started again", started.join(" and ")));
    }
    started
}

/// The timers written down as paused; only the package manager's own are ever believed.
fn recorded(manager: &Manager, paths: &Paths, observer: &dyn Observer) -> io::Result<Vec<String>> {
    let path = paths.paused_timers();
    match record::read::<Paused>(&path) {
        Ok(paused) => {
            let timers = paused.map(|paused| paused.timers).unwrap_or_default();
            Ok(timers.into_iter().filter(|timer| manager.timers.contains(&timer.as_str())).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            observer.warn(&format!("{} makes no sense: {error}; {}", path.display(), manager.puts_back));
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

fn write_down(paths: &Paths, timers: Vec<String>) -> io::Result<()> {
    record::write(&paths.paused_timers(), &Paused { schema: Paused::SCHEMA, timers })
}
