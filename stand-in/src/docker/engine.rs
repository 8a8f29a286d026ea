//! What becomes of containers between two questions.

use super::container::{Container, id};
use super::{Condition, Script};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a container whose component failed rests before it is started again (a real engine: 100 ms,
/// then twice as long each time).
const REST: Duration = Duration::from_millis(200);

pub(super) struct Engine {
    root: PathBuf,
    pub script: Script,
    lives: HashMap<String, Life>,
}

/// What is known of a container beside what the release wrote down.
struct Life {
    /// The line of the release that started it: another one is another container.
    line: String,
    started: String,
    looks: u32,
    restarts: u32,
    stopped: bool,
    component: Option<Child>,
    ended: Instant,
}

impl Engine {
    pub fn new(root: &Path, script: Script) -> Engine {
        Engine { root: root.to_owned(), script, lives: HashMap::new() }
    }

    /// All containers, or the one of this name or id. Each look counts.
    pub fn look(&mut self, only: Option<&str>) -> Vec<Container> {
        let wanted = |name: &str| only.is_none_or(|only| only == name || only == id(name));
        // No file: nothing was started yet.
        let text = fs::read_to_string(self.root.join("run/stand-in-containers")).unwrap_or_default();
        let mut found: Vec<Container> = text
            .lines()
            .filter(|line| line.split(' ').next().is_some_and(wanted))
            .filter_map(|line| self.see(line))
            .collect();
        for (name, kasmid) in sessions(&self.root.join("run")).into_iter().filter(|(name, _)| wanted(name)) {
            found.push(Container {
                name,
                image: "stand-in/desktop:1.18.1".into(),
                condition: Condition::Running,
                session: Some(kasmid),
                started: "2026-01-01T00:00:00Z".into(),
                restarts: 0,
            });
        }
        found
    }

    fn see(&mut self, line: &str) -> Option<Container> {
        let mut words = line.split(' ');
        let (name, image) = (words.next()?, words.next()?);
        let version = version(image);
        let then = self.script.except.get(name).or_else(|| self.script.versions.get(version));
        let then = *then.unwrap_or(&self.script.then);
        if self.lives.get(name).is_none_or(|life| life.line != line) {
            self.lives.insert(name.to_owned(), Life::new(line, words.next()));
        }
        let flaps = self.script.flapping.iter().any(|wanted| wanted == name || wanted == version);
        let outcome = self.component_of(name, version);
        let life = self.lives.get_mut(name)?;
        life.looks += 1;
        life.restarts += u32::from(flaps);
        let condition = match outcome {
            _ if then == Condition::Gone => return None,
            _ if life.stopped => Condition::Exited(0),
            Some(condition) => condition,
            None if life.looks <= self.script.looks => Condition::Starting,
            None => then,
        };
        let scripted = if matches!(then, Condition::Restarting(_)) { 4 } else { 0 };
        Some(Container {
            name: name.to_owned(),
            image: image.to_owned(),
            condition,
            session: None,
            started: life.started.clone(),
            restarts: life.restarts + scripted,
        })
    }

    /// What the container's component makes of it: `None` if it is content, or has nothing to do.
    fn component_of(&mut self, name: &str, version: &str) -> Option<Condition> {
        let life = self.lives.get_mut(name)?;
        if let Some(child) = &mut life.component {
            if !matches!(child.try_wait(), Ok(Some(_))) {
                return Some(Condition::Starting);
            }
            life.component = None;
            life.ended = Instant::now();
        }
        let told = fs::read_to_string(self.root.join("run/stand-in-components").join(name)).unwrap_or_default();
        match told.trim() {
            "" | "0" => None,
            "starting" => Some(Condition::Starting),
            code => {
                if !life.stopped && life.ended.elapsed() >= REST {
                    life.restarts += 1;
                    life.component = run(&self.root, name, version);
                    life.started = now();
                }
                Some(Condition::Restarting(code.parse().unwrap_or(1)))
            }
        }
    }

    /// Stops it and starts it again, whatever it did. False if there is none of this name.
    pub fn restart(&mut self, name: &str) -> bool {
        let Some(container) = self.look(Some(name)).pop() else { return false };
        let root = self.root.clone();
        let Some(life) = self.lives.get_mut(&container.name) else { return true }; // a session
        life.end_component();
        // A person who restarts it sets the count back, as in a real engine.
        *life = Life::new(&life.line.clone(), None);
        life.component = run(&root, &container.name, version(&container.image));
        true
    }

    /// Stops it: `None` if there is none of this name, false if it was stopped.
    pub fn stop(&mut self, name: &str) -> Option<bool> {
        let container = self.look(Some(name)).pop()?;
        match self.lives.get_mut(&container.name) {
            Some(life) => {
                life.end_component();
                life.stopped = true;
            }
            None => end_session(&self.root.join("run"), &container.name),
        }
        Some(container.runs())
    }

    /// Switches a plugin on: `None` if there is none of this name, false if it was on.
    pub fn enable_plugin(&mut self, name: &str) -> Option<bool> {
        let (_, enabled) = self.script.plugins.iter_mut().find(|(known, _)| known == name)?;
        Some(!std::mem::replace(enabled, true))
    }

    pub fn add_restarts(&mut self, name: &str, times: u32) {
        self.look(Some(name));
        if let Some(life) = self.lives.get_mut(name) {
            life.restarts += times;
        }
    }

    /// What it has written to standard output and to standard error; `None` if there is none of this name.
    pub fn logs(&mut self, name: &str) -> Option<(String, String)> {
        let container = self.look(Some(name)).pop()?;
        let log = format!("opt/kasm/{}/log/{}.log", version(&container.image), container.name);
        // None: it never wrote any.
        let output = fs::read_to_string(self.root.join(log)).unwrap_or_default();
        Some((output, self.script.logs.get(&container.name).cloned().unwrap_or_default()))
    }
}

impl Life {
    fn new(line: &str, started: Option<&str>) -> Life {
        Life {
            line: line.to_owned(),
            started: started.map_or_else(now, str::to_owned),
            looks: 0,
            restarts: 0,
            stopped: false,
            component: None,
            ended: Instant::now(),
        }
    }

    fn end_component(&mut self) {
        if let Some(mut child) = self.component.take() {
            // It leads a group of its own. Gone already, if this fails.
            let _ = i32::try_from(child.id()).map(|id| killpg(Pid::from_raw(id), Signal::SIGKILL));
            let _ = child.wait(); // only so that nothing of it is left
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.end_component();
    }
}

/// The image's tag, which is the version of the release it came with.
fn version(image: &str) -> &str {
    image.rsplit_once(':').map_or("", |(_, tag)| tag)
}

/// Runs the component's script in the background, where its release has one.
fn run(root: &Path, name: &str, version: &str) -> Option<Child> {
    let script = root.join("opt/kasm").join(version).join("bin/component");
    if version.is_empty() || !script.is_file() {
        return None;
    }
    let mut command = Command::new("bash");
    command.arg(script).arg(name).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if root != Path::new("/") {
        command.env("KASM_BOOTSTRAP_ROOT", root);
    }
    Some(command.spawn().expect("there is a bash"))
}

/// Name and label of every session.
fn sessions(run: &Path) -> Vec<(String, String)> {
    // No file: there are none.
    let text = fs::read_to_string(run.join("stand-in-sessions")).unwrap_or_default();
    text.lines().filter_map(|line| line.split_once(' ')).map(|(name, id)| (name.to_owned(), id.to_owned())).collect()
}

pub(super) fn end_session(run: &Path, name: &str) {
    let left = sessions(run).into_iter().filter(|(known, _)| known != name);
    let text: String = left.map(|(name, kasmid)| format!("{name} {kasmid}\n")).collect();
    fs::write(run.join("stand-in-sessions"), text).expect("the root can be written to");
}

/// The time as Docker writes it (RFC 3339). Days to a date: Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`.
fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z", since.subsec_nanos())
}
