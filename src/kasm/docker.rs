//! Docker, through its socket (Docker Engine API, v1.41 and later): which Docker this is, which containers
//! there are and how they feel, and the two things this program may ask of it.
//!
//! `ask` changes nothing: "List containers", "Inspect a container", "Get container logs", "Get system
//! information", "List plugins". `change` does: "Restart a container", "Enable a plugin". `socket` is how
//! both speak to it.

mod ask;
mod change;
mod logs;
mod socket;
mod version;

pub use ask::{
    Document, containers, details, document, engine, info, logs, parse, parse_details, parse_sessions, plugins,
    sessions,
};
pub use change::{enable_plugin, restart};
pub use logs::{demultiplex, quoted, without_time};
pub use version::{OLDEST, Version, version};

use jiff::Timestamp;
use std::path::PathBuf;

/// Why Docker told nothing, or did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no socket.
    #[error("{0} is not there")]
    NoSocket(PathBuf),
    /// The socket does not answer.
    #[error("Docker does not answer on {path}: {why}")]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// In words.
        why: String,
    },
    /// The answer is not a list of containers.
    #[error("Docker's answer is not a list of containers: {0}")]
    Answer(String),
    /// The answer to another question makes no sense.
    #[error("Docker's answer makes no sense: {0}")]
    Nonsense(String),
    /// There is no such container or plugin.
    #[error("Docker has no {0}")]
    Unknown(String),
    /// Docker answered that it does not do this.
    #[error("Docker does not {what}: {why}")]
    Refused {
        /// `restart kasm_guac`.
        what: String,
        /// Docker's own words, in one line.
        why: String,
    },
}

/// What Docker says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Its version: `27.5.1`, `20.10.24+dfsg1`.
    pub version: String,
    /// Where it keeps images and containers, where it says so: `/var/lib/docker`.
    pub root_dir: Option<PathBuf>,
}

/// What Docker says of its own versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// Its version.
    pub version: String,
    /// The newest version of the API that it speaks: `1.47`.
    pub api: Option<String>,
}

/// A plugin that Docker manages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// Its name, with its tag.
    pub name: String,
    /// It runs.
    pub enabled: bool,
}

impl Plugin {
    /// True for Kasm's sidecar plugin, whatever its registry and tag.
    pub fn is_sidecar(&self) -> bool {
        self.name.contains("sidecar")
    }

    /// True for a plugin that mounts storage with rclone, whoever made it.
    pub fn is_rclone(&self) -> bool {
        self.name.contains("rclone")
    }
}

/// What Docker's health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// The container has none.
    NoCheck,
    /// Not decided yet.
    Starting,
    /// Good.
    Healthy,
    /// Bad.
    Unhealthy,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its names, without the leading slash.
    pub names: Vec<String>,
    /// `running`, `restarting`, `exited`, …; empty where Docker did not say.
    pub state: String,
    /// Docker's own words: `Up 3 seconds (healthy)`, `Restarting (1) 5 seconds ago`.
    pub status: String,
}

/// One container, looked at closely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// Docker's identifier of it, which another container of the same name does not have.
    pub id: String,
    /// `running`, `restarting`, `exited`, …; empty where Docker did not say.
    pub state: String,
    /// How often Docker has started it again because it had ended. A restart that somebody asks for sets it
    /// back to 0.
    pub restarts: u64,
    /// When it was started last.
    pub started: Option<Timestamp>,
    /// The kernel has ended it for lack of memory.
    pub out_of_memory: bool,
    /// What it ended with last.
    pub exit_code: Option<i64>,
}

/// The container of a user's session (Kasm's documentation, "Uninstall": its containers carry the label
/// `kasm.kasmid`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The container's name.
    pub name: String,
    /// Kasm's identifier of the session.
    pub kasm_id: String,
    /// The image it was made from.
    pub image: String,
    /// `running`, `paused`, `exited`, …; empty where Docker did not say.
    pub state: String,
    /// Docker's own words: `Up 3 hours`.
    pub status: String,
}

impl Session {
    /// False for a container that has ended: nobody is cut off when it is removed.
    pub fn is_active(&self) -> bool {
        !matches!(self.state.as_str(), "exited" | "created" | "dead")
    }
}

impl Container {
    /// True if this is one of its names.
    pub fn is_named(&self, name: &str) -> bool {
        self.names.iter().any(|one| one == name)
    }

    /// Its health, from Docker's words.
    pub fn health(&self) -> Health {
        let ends = |mark: &str| self.status.trim_end().ends_with(mark);
        if ends("(healthy)") {
            Health::Healthy
        } else if ends("(unhealthy)") {
            Health::Unhealthy
        } else if ends("(health: starting)") {
            Health::Starting
        } else {
            Health::NoCheck
        }
    }

    /// True if it runs and its health check, where it has one, is content.
    pub fn is_up(&self) -> bool {
        self.state == "running" && matches!(self.health(), Health::Healthy | Health::NoCheck)
    }

    /// `running but unhealthy`, `restarting (exit 1)`: the end of a sentence beginning with its name.
    pub fn describe(&self) -> String {
        let exit = self
            .status
            .split_once('(')
            .and_then(|(_, rest)| rest.split_once(')'))
            .filter(|(code, _)| !code.is_empty() && code.bytes().all(|b| b.is_ascii_digit()))
            .map(|(code, _)| format!(" (exit {code})"))
            .unwrap_or_default();
        match (self.state.as_str(), self.health()) {
            ("running", Health::Unhealthy) => "running but unhealthy".into(),
            ("running", Health::Starting) => "starting, its health check has not decided yet".into(),
            ("running", Health::Healthy) => "healthy".into(),
            ("running", Health::NoCheck) => "running".into(),
            ("", _) => "in a state that Docker does not tell".into(),
            (state, _) => format!("{state}{exit}"),
        }
    }
}

#[cfg(test)]
mod tests;
