//! Docker's socket, imitated: as much of the Engine API as a health check asks for
//! (docs.docker.com/reference/api/engine: `/_ping`, `/version`, `/info`, `/plugins`, `/containers/json`,
//! `/containers/{id}/json`).
//!
//! The containers are those that the stand-in release has started, read anew at each question from
//! `ROOT/run/stand-in-containers` (one a line: name, image).

use crate::http::{Handler, Request, Server, respond};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::{self, File};
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
    /// What every later look finds.
    pub then: Condition,
    /// Containers that turn out differently, by name.
    pub except: HashMap<String, Condition>,
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
    script: Arc<Mutex<Script>>,
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
        let script = Arc::new(Mutex::new(script));
        let server = Server::unix(&path, handler(run.join("stand-in-containers"), script.clone()));
        Docker { server, _directory: directory, script }
    }

    /// From now on containers turn out as this script says; looks already taken count.
    pub fn set_script(&self, script: Script) {
        *self.script.lock().expect("no handler panics with the lock held") = script;
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }
}

/// One container at one look.
struct Container {
    name: String,
    image: String,
    condition: Condition,
}

fn handler(containers: PathBuf, script: Arc<Mutex<Script>>) -> Handler {
    let looks: Mutex<HashMap<String, u32>> = Mutex::default();
    let told = script.clone();
    let look = move |only: Option<&str>| -> Vec<Container> {
        let script = script.lock().expect("no handler panics with the lock held");
        let mut looks = looks.lock().expect("no handler panics with the lock held");
        // No file: nothing was started yet.
        let text = fs::read_to_string(&containers).unwrap_or_default();
        let started = text.lines().filter_map(|line| line.split_once(' '));
        let mut found = Vec::new();
        for (name, image) in started.filter(|(name, _)| only.is_none_or(|only| only == *name || only == id(name))) {
            let seen = looks.entry(name.to_owned()).or_default();
            *seen += 1;
            let then = script.except.get(name).copied().unwrap_or(script.then);
            let condition = if *seen <= script.looks && then != Condition::Gone { Condition::Starting } else { then };
            if condition != Condition::Gone {
                found.push(Container { name: name.to_owned(), image: image.to_owned(), condition });
            }
        }
        found
    };
    let said = move || told.lock().expect("no handler panics with the lock held").clone();
    Arc::new(move |request, stream| {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let path = without_version(path);
        let headers = [("Content-Type", "application/json"), ("Api-Version", "1.47"), ("Server", "stand-in")];
        let mut answer = |status: &str, body: &Value| respond(stream, status, &headers, body.to_string().as_bytes());
        if request.method != "GET" && request.method != "HEAD" {
            return answer("405 Method Not Allowed", &json!({ "message": "the stand-in only answers questions" }));
        }
        match path {
            "/_ping" => respond(stream, "200 OK", &[("Api-Version", "1.47")], b"OK"),
            "/version" => {
                answer("200 OK", &json!({ "Version": said().version, "ApiVersion": "1.47", "MinAPIVersion": "1.24" }))
            }
            "/info" => {
                let Script { version, root_dir, .. } = said();
                let running = look(None).iter().filter(|container| container.runs()).count();
                let info = json!({
                    "ServerVersion": version,
                    "DockerRootDir": root_dir,
                    "ContainersRunning": running,
                    "Name": "stand-in",
                });
                answer("200 OK", &info)
            }
            "/plugins" => {
                let plugins = said().plugins;
                let list = plugins.iter().map(|(name, enabled)| json!({ "Name": name, "Enabled": enabled }));
                answer("200 OK", &list.collect())
            }
            "/containers/json" => {
                let all = query.split('&').any(|pair| matches!(pair, "all=1" | "all=true"));
                let list: Vec<Value> =
                    look(None).iter().filter(|container| all || container.runs()).map(Container::summary).collect();
                answer("200 OK", &Value::Array(list))
            }
            _ => match path.strip_prefix("/containers/").and_then(|rest| rest.strip_suffix("/json")) {
                Some(name) => match look(Some(name)).first() {
                    Some(container) => answer("200 OK", &container.details()),
                    None => answer("404 Not Found", &json!({ "message": format!("No such container: {name}") })),
                },
                None => answer("404 Not Found", &json!({ "message": "page not found" })),
            },
        }
    })
}

/// `/v1.47/containers/json` is `/containers/json`.
fn without_version(path: &str) -> &str {
    let Some((version, _)) = path.strip_prefix("/v").and_then(|rest| rest.split_once('/')) else { return path };
    match version.split_once('.') {
        Some((major, minor)) if major.parse::<u8>().is_ok() && minor.parse::<u8>().is_ok() => {
            &path[version.len() + 2..]
        }
        _ => path,
    }
}

/// A container's id: 64 hexadecimal digits that belong to its name.
fn id(name: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Container {
    fn runs(&self) -> bool {
        !matches!(self.condition, Condition::Exited(_) | Condition::Gone)
    }

    fn state(&self) -> &'static str {
        match self.condition {
            Condition::Exited(_) | Condition::Gone => "exited",
            Condition::Restarting(_) => "restarting",
            _ => "running",
        }
    }

    fn health(&self) -> Option<&'static str> {
        match self.condition {
            Condition::Starting => Some("starting"),
            Condition::Healthy => Some("healthy"),
            Condition::Unhealthy => Some("unhealthy"),
            _ => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self.condition {
            Condition::Exited(code) | Condition::Restarting(code) => code,
            _ => 0,
        }
    }

    /// An element of the list.
    fn summary(&self) -> Value {
        let status = match self.condition {
            Condition::Starting => "Up 2 seconds (health: starting)".to_owned(),
            Condition::Healthy => "Up 8 seconds (healthy)".to_owned(),
            Condition::Unhealthy => "Up 2 minutes (unhealthy)".to_owned(),
            Condition::Running => "Up 8 seconds".to_owned(),
            Condition::Restarting(code) => format!("Restarting ({code}) 1 second ago"),
            Condition::Exited(code) => format!("Exited ({code}) 3 seconds ago"),
            Condition::Gone => String::new(),
        };
        json!({
            "Id": id(&self.name),
            "Names": [format!("/{}", self.name)],
            "Image": self.image,
            "State": self.state(),
            "Status": status,
        })
    }

    /// The whole description.
    fn details(&self) -> Value {
        let mut state = json!({
            "Status": self.state(),
            "Running": self.runs(),
            "Restarting": self.state() == "restarting",
            "ExitCode": self.exit_code(),
            "OOMKilled": false,
        });
        if let Some(health) = self.health() {
            let failing = self.condition == Condition::Unhealthy;
            let log = if failing { json!([{ "ExitCode": 1, "Output": "connection refused" }]) } else { json!([]) };
            state["Health"] = json!({ "Status": health, "FailingStreak": if failing { 3 } else { 0 }, "Log": log });
        }
        json!({
            "Id": id(&self.name),
            "Name": format!("/{}", self.name),
            "RestartCount": if self.state() == "restarting" { 4 } else { 0 },
            "Config": { "Image": self.image },
            "State": state,
        })
    }
}
