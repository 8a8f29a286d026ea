//! Which Docker this is, which containers there are and how they feel, asked through its socket (Docker
//! Engine API: "List containers", "Get system information", "List plugins"). Nothing is ever changed.

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The answer is not read beyond this: thousands of containers fit.
const LIMIT: usize = 8 << 20;
/// A socket's path has to fit into `sockaddr_un.sun_path` with a NUL behind it (unix(7)).
const SOCKET_PATH: usize = 107;
/// Docker answers a list at once or is in trouble.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why Docker told nothing.
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
}

/// What Docker says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Its version: `27.5.1`, `20.10.24+dfsg1`.
    pub version: String,
    /// Where it keeps images and containers, where it says so: `/var/lib/docker`.
    pub root_dir: Option<PathBuf>,
}

/// A plugin that Docker manages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// Its name, with its tag.
    pub name: String,
    /// It runs.
    pub enabled: bool,
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

impl Container {
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

/// All containers, also those that do not run.
pub async fn containers(socket: &Path) -> Result<Vec<Container>, Error> {
    parse(&get(socket, "/containers/json?all=1", Error::Answer).await?)
}

/// Which Docker this is.
pub async fn info(socket: &Path) -> Result<Info, Error> {
    let info = json(&get(socket, "/info", Error::Nonsense).await?)?;
    let text = |key: &str| info[key].as_str().filter(|text| !text.is_empty());
    let version = text("ServerVersion").ok_or_else(|| Error::Nonsense("it has no ServerVersion".into()))?.to_owned();
    Ok(Info { version, root_dir: text("DockerRootDir").map(PathBuf::from) })
}

/// The plugins it manages, also those that do not run.
pub async fn plugins(socket: &Path) -> Result<Vec<Plugin>, Error> {
    let answer = json(&get(socket, "/plugins", Error::Nonsense).await?)?;
    // Docker writes null for an empty list.
    let list = match &answer {
        serde_json::Value::Null => &[],
        serde_json::Value::Array(list) => list.as_slice(),
        _ => return Err(Error::Nonsense("it is no list".into())),
    };
    let plugin = |one: &serde_json::Value| {
        Some(Plugin { name: one["Name"].as_str()?.to_owned(), enabled: one["Enabled"].as_bool()? })
    };
    Ok(list.iter().filter_map(plugin).collect())
}

fn json(body: &[u8]) -> Result<serde_json::Value, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Nonsense(error.to_string()))
}

/// The body of a successful answer; one that is not is told by `wrong`.
async fn get(socket: &Path, target: &str, wrong: fn(String) -> Error) -> Result<Vec<u8>, Error> {
    if !socket.exists() {
        return Err(Error::NoSocket(socket.to_owned()));
    }
    let unreachable = |why: String| Error::Unreachable { path: socket.to_owned(), why };
    // Held until the answer is there: a path that is too long goes through the directory's handle.
    let mut directory = None;
    let address = if socket.as_os_str().len() <= SOCKET_PATH {
        socket.to_owned()
    } else {
        let (Some(parent), Some(name)) = (socket.parent(), socket.file_name()) else {
            return Err(Error::NoSocket(socket.to_owned()));
        };
        let handle = directory.insert(std::fs::File::open(parent).map_err(|error| unreachable(error.to_string()))?);
        PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd())).join(name)
    };
    let client = client(&address).map_err(|error| unreachable(innermost(&error)))?;
    let asked = async {
        let mut answer = client
            .get(format!("http://docker{target}"))
            .send()
            .await
            .map_err(|error| unreachable(innermost(&error)))?;
        if !answer.status().is_success() {
            return Err(wrong(format!("HTTP status {}", answer.status())));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(innermost(&error)))? {
            body.extend_from_slice(&chunk);
            if body.len() > LIMIT {
                return Err(wrong(format!("it is longer than {LIMIT} bytes")));
            }
        }
        Ok(body)
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    drop(directory);
    answer.unwrap_or_else(|_| Err(unreachable(format!("no answer within {} s", PATIENCE.as_secs()))))
}

fn client(socket: &Path) -> reqwest::Result<reqwest::Client> {
    // The socket speaks plain HTTP, but a client without any TLS configuration looks for the system's.
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .unix_socket(socket)
        .build()
}

/// The cause at the bottom: the layers above only say that a request failed.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Reads Docker's answer to `GET /containers/json`. Containers may lack any field.
///
/// # Errors
/// [`Error::Answer`] for anything but a JSON list.
pub fn parse(body: &[u8]) -> Result<Vec<Container>, Error> {
    let value: serde_json::Value = serde_json::from_slice(body).map_err(|error| Error::Answer(error.to_string()))?;
    let Some(list) = value.as_array() else { return Err(Error::Answer("it is no list".into())) };
    let text = |value: &serde_json::Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    Ok(list
        .iter()
        .map(|one| Container {
            names: one["Names"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|name| name.as_str())
                .map(|name| name.trim_start_matches('/').to_owned())
                .collect(),
            state: text(one, "State").to_ascii_lowercase(),
            status: text(one, "Status"),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn container(state: &str, status: &str) -> Container {
        Container { names: vec!["x".into()], state: state.into(), status: status.into() }
    }

    #[test]
    fn dockers_words_are_understood() {
        let table = [
            ("running", "Up 3 seconds (healthy)", true, "healthy"),
            ("running", "Up 2 hours", true, "running"),
            ("running", "Up 3 seconds (health: starting)", false, "starting, its health check has not decided yet"),
            ("running", "Up 3 minutes (unhealthy)", false, "running but unhealthy"),
            ("restarting", "Restarting (1) 5 seconds ago", false, "restarting (exit 1)"),
            ("exited", "Exited (137) 2 minutes ago", false, "exited (exit 137)"),
            ("created", "Created", false, "created"),
            ("", "", false, "in a state that Docker does not tell"),
        ];
        for (state, status, up, words) in table {
            let one = container(state, status);
            assert_eq!((one.is_up(), one.describe().as_str()), (up, words), "{status}");
        }
    }

    #[test]
    fn missing_fields_are_no_error_and_other_answers_are() {
        let list =
            parse(br#"[{}, {"Names": ["/a", 1], "State": "running"}, 3, {"Names": "x", "Status": null}]"#).unwrap();
        assert_eq!(list.len(), 4);
        assert_eq!(list[1], Container { names: vec!["a".into()], state: "running".into(), status: String::new() });
        assert!(parse(b"{\"message\": \"no\"}").is_err() && parse(b"<html>").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn any_status_can_be_described(state in "[a-z]{0,10}", status in "\\PC{0,20}\\(?\\PC{0,20}\\)?") {
            container(&state, &status).describe();
            container("running", &status).is_up();
        }
    }
}
