//! Docker's socket, imitated: as much of the Engine API as this project asks for
//! (docs.docker.com/reference/api/engine: `/_ping`, `/version`, `/info`, `/plugins`, `/containers/json`,
//! `/containers/{id}/json|logs|start|stop|restart`, `/plugins/{name}/enable`).
//!
//! The containers are those that the stand-in release has started, read anew at each question from
//! `ROOT/run/stand-in-containers` (one a line: name, image, since when), and the sessions in
//! `ROOT/run/stand-in-sessions` (one a line: name, the value of the label `kasm.kasmid`). A container whose
//! release has a component that does something by itself runs it when it is started or restarted here; one
//! whose component failed is restarted again and again, as `restart: always` has it.

mod api;
mod container;
mod engine;

use crate::http::{Request, Server};
use engine::Engine;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What a container is like when it has been looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Runs; its health check has not decided yet.
    Starting,
    /// Runs; its health check is content.
    Healthy,
    /// Runs; its health check failed.
    Unhealthy,
    /// Runs and has no health check.
    Running,
    /// Ended with this code.
    Exited(u8),
    /// Ended with this code and is about to be started again.
    Restarting(u8),
    /// Not there, though the release started it.
    Gone,
}

/// How containers turn out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// How many looks find a container still [`Condition::Starting`].
    pub looks: u32,
    /// What every later look finds, unless its component still works or has failed.
    pub then: Condition,
    /// Containers that turn out differently, by name.
    pub except: HashMap<String, Condition>,
    /// Containers that turn out differently, by the version in their image's tag. A name goes first.
    pub versions: HashMap<String, Condition>,
    /// Names or versions of containers that are restarted once more at every look: they look well, and their
    /// restart counts grow.
    pub flapping: Vec<String>,
    /// What containers have written to standard error, by name. To standard output goes what their component
    /// has written to its log.
    pub logs: HashMap<String, String>,
    /// What Docker calls its version.
    pub version: String,
    /// Where Docker says that it keeps its images.
    pub root_dir: String,
    /// Its plugins: name, and whether it is enabled.
    pub plugins: Vec<(String, bool)>,
}

impl Default for Script {
    /// Healthy at the third look.
    fn default() -> Script {
        Script {
            looks: 2,
            then: Condition::Healthy,
            except: HashMap::new(),
            versions: HashMap::new(),
            flapping: Vec::new(),
            logs: HashMap::new(),
            version: "27.5.1".into(),
            root_dir: "/var/lib/docker".into(),
            plugins: Vec::new(),
        }
    }
}

/// The running stand-in.
pub struct Docker {
    // Dropped in this order: the server removes its socket through the directory.
    server: Server,
    _directory: File,
    run: PathBuf,
    engine: Arc<Mutex<Engine>>,
}

impl Docker {
    /// Listens on `root/run/docker.sock`; containers become healthy at the third look.
    pub fn start(root: &Path) -> Docker {
        Docker::scripted(root, Script::default())
    }

    /// Listens on `root/run/docker.sock`; containers turn out as the script says.
    ///
    /// # Panics
    /// If the socket is there already or cannot be made.
    pub fn scripted(root: &Path, script: Script) -> Docker {
        let run = root.join("run");
        fs::create_dir_all(&run).expect("the root can be written to");
        let directory = File::open(&run).expect("a directory just made can be opened");
        // A socket's address holds 107 bytes (unix(7)), a scratch directory's path may be longer: so it is
        // named through the open directory.
        let path = PathBuf::from(format!("/proc/self/fd/{}/docker.sock", directory.as_raw_fd()));
        let engine = Arc::new(Mutex::new(Engine::new(root, script)));
        let server = Server::unix(&path, api::handler(engine.clone()));
        Docker { server, _directory: directory, run, engine }
    }

    /// From now on containers turn out as this script says; looks already taken count.
    pub fn set_script(&self, script: Script) {
        self.engine().script = script;
    }

    /// From now on containers turn out as the script says after this change of it.
    pub fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.engine().script);
    }

    /// This container was restarted so many times more, says its restart count.
    pub fn restarted(&self, name: &str, times: u32) {
        self.engine().add_restarts(name, times);
    }

    /// A session runs: a container with the label `kasm.kasmid` of this value.
    pub fn add_session(&self, name: &str, kasmid: &str) {
        let path = self.run.join("stand-in-sessions");
        let mut file = File::options().append(true).create(true).open(path).expect("the root can be written to");
        writeln!(file, "{name} {kasmid}").expect("the root can be written to");
    }

    /// The session has ended, and its container is gone.
    pub fn end_session(&self, name: &str) {
        engine::end_session(&self.run, name);
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    fn engine(&self) -> std::sync::MutexGuard<'_, Engine> {
        self.engine.lock().expect("nobody panics with the lock held")
    }
}
