//! Questions. None of them changes anything.

use super::logs::Tail;
use super::socket::{Ask, collect, get, send};
use super::{Container, Details, Engine, Error, Info, Plugin, Session, change};
use crate::words;
use jiff::Timestamp;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The most lines of a container's log that may be asked for.
const MOST_LINES: u32 = 10_000;
/// The label of a session's container (Kasm's documentation, "Uninstall").
const SESSION_LABEL: &str = "kasm.kasmid";

/// All containers, also those that do not run.
pub async fn containers(socket: &Path) -> Result<Vec<Container>, Error> {
    parse(&get(socket, "/containers/json?all=1", Error::Answer).await?)
}

/// The containers of users' sessions on this node, also those that have ended.
pub async fn sessions(socket: &Path) -> Result<Vec<Session>, Error> {
    // {"label":["kasm.kasmid"]}
    let target = format!("/containers/json?all=1&filters=%7B%22label%22%3A%5B%22{SESSION_LABEL}%22%5D%7D");
    parse_sessions(&get(socket, &target, Error::Answer).await?)
}

/// A container, closely.
///
/// # Errors
/// [`Error::Unknown`] if there is none of this name.
pub async fn details(socket: &Path, name: &str) -> Result<Details, Error> {
    parse_details(&inspect(socket, name).await?)
}

async fn inspect(socket: &Path, name: &str) -> Result<Vec<u8>, Error> {
    let target = format!("/containers/{}/json", change::part(name)?);
    collect(socket, Ask::get(target, &about(name)), Error::Nonsense).await
}

/// What an answer about this container that is no success means.
fn about(name: &str) -> impl Fn(u16, String) -> Error + Sync {
    move |status, why| match status {
        404 => Error::Unknown(format!("container {name}")),
        _ => Error::Nonsense(why),
    }
}

/// An answer of Docker's as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// "Get version".
    Version,
    /// "Get system information".
    Info,
    /// "List plugins".
    Plugins,
    /// "List containers", all of them.
    Containers,
    /// "Inspect a container", of this name.
    Container(String),
}

/// Asks for a document, of at most 8 MiB. Not masked: it may hold tokens.
///
/// # Errors
/// [`Error::Unknown`] if there is no container of this name.
pub async fn document(socket: &Path, document: &Document) -> Result<Value, Error> {
    let target = match document {
        Document::Version => "/version",
        Document::Info => "/info",
        Document::Plugins => "/plugins",
        Document::Containers => "/containers/json?all=1",
        Document::Container(name) => return json(&inspect(socket, name).await?),
    };
    json(&get(socket, target, Error::Nonsense).await?)
}

/// The last lines of what a container wrote to both its outputs, oldest first, at most 10,000 of them and at
/// most 1 MiB. Not masked: it may hold tokens.
///
/// # Errors
/// [`Error::Unknown`] if there is no container of this name.
pub async fn logs(socket: &Path, name: &str, lines: u32) -> Result<String, Error> {
    let lines = lines.min(MOST_LINES);
    let target = format!("/containers/{}/logs?stdout=1&stderr=1&timestamps=1&tail={lines}", change::part(name)?);
    let mut tail = Tail::default();
    send(socket, Ask::get(target, &about(name)), &mut |chunk| {
        tail.push(chunk);
        Ok(())
    })
    .await?;
    Ok(tail.text())
}

/// Which Docker this is.
pub async fn info(socket: &Path) -> Result<Info, Error> {
    let info = json(&get(socket, "/info", Error::Nonsense).await?)?;
    let text = |key: &str| info[key].as_str().filter(|text| !text.is_empty());
    let version = text("ServerVersion").ok_or_else(|| Error::Nonsense("it has no ServerVersion".into()))?.to_owned();
    Ok(Info { version, root_dir: text("DockerRootDir").map(PathBuf::from) })
}

/// Its versions: a question that costs Docker nothing.
pub async fn engine(socket: &Path) -> Result<Engine, Error> {
    let answer = json(&get(socket, "/version", Error::Nonsense).await?)?;
    let text = |key: &str| {
        let text = answer[key].as_str().filter(|text| !text.is_empty())?;
        Some(words::one_line(text).chars().take(64).collect::<String>())
    };
    let version = text("Version").ok_or_else(|| Error::Nonsense("it has no Version".into()))?;
    Ok(Engine { version, api: text("ApiVersion") })
}

/// The plugins it manages, also those that do not run.
pub async fn plugins(socket: &Path) -> Result<Vec<Plugin>, Error> {
    let answer = json(&get(socket, "/plugins", Error::Nonsense).await?)?;
    // Docker writes null for an empty list.
    let list = match &answer {
        Value::Null => &[],
        Value::Array(list) => list.as_slice(),
        _ => return Err(Error::Nonsense("it is no list".into())),
    };
    let plugin =
        |one: &Value| Some(Plugin { name: one["Name"].as_str()?.to_owned(), enabled: one["Enabled"].as_bool()? });
    Ok(list.iter().filter_map(plugin).collect())
}

fn json(body: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Nonsense(error.to_string()))
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn list(body: &[u8]) -> Result<Vec<Value>, Error> {
    match serde_json::from_slice(body) {
        Ok(Value::Array(list)) => Ok(list),
        Ok(_) => Err(Error::Answer("it is no list".into())),
        Err(error) => Err(Error::Answer(error.to_string())),
    }
}

fn names(one: &Value) -> Vec<String> {
    let names = one["Names"].as_array().into_iter().flatten().filter_map(|name| name.as_str());
    names.map(|name| name.trim_start_matches('/').to_owned()).collect()
}

/// Reads Docker's answer to `GET /containers/json`. Containers may lack any field.
///
/// # Errors
/// [`Error::Answer`] for anything but a JSON list.
pub fn parse(body: &[u8]) -> Result<Vec<Container>, Error> {
    let container = |one: &Value| Container {
        names: names(one),
        state: text(one, "State").to_ascii_lowercase(),
        status: text(one, "Status"),
    };
    Ok(list(body)?.iter().map(container).collect())
}

/// The sessions in Docker's answer to `GET /containers/json`: containers without Kasm's label are none.
///
/// # Errors
/// [`Error::Answer`] for anything but a JSON list.
pub fn parse_sessions(body: &[u8]) -> Result<Vec<Session>, Error> {
    let shown = |text: &str| -> String { words::one_line(text).chars().take(256).collect() };
    let session = |one: &Value| {
        let kasm_id = one["Labels"][SESSION_LABEL].as_str()?;
        let name = names(one).into_iter().next().unwrap_or_else(|| text(one, "Id").chars().take(12).collect());
        Some(Session {
            name: shown(&name),
            kasm_id: shown(kasm_id),
            image: shown(&text(one, "Image")),
            state: text(one, "State").to_ascii_lowercase(),
            status: shown(&text(one, "Status")),
        })
    };
    Ok(list(body)?.iter().filter_map(session).collect())
}

/// Reads Docker's answer to `GET /containers/NAME/json`. It may lack anything but its identifier.
///
/// # Errors
/// [`Error::Nonsense`] for anything but a JSON object with an `Id`.
pub fn parse_details(body: &[u8]) -> Result<Details, Error> {
    let one = json(body)?;
    let id = one["Id"].as_str().filter(|id| !id.is_empty()).ok_or_else(|| Error::Nonsense("it has no Id".into()))?;
    let state = &one["State"];
    Ok(Details {
        id: id.to_owned(),
        state: text(state, "Status").to_ascii_lowercase(),
        restarts: one["RestartCount"].as_u64().unwrap_or(0),
        // The year 1 stands for never.
        started: state["StartedAt"].as_str().and_then(|at| at.parse().ok()).filter(|at| *at > Timestamp::UNIX_EPOCH),
        out_of_memory: state["OOMKilled"].as_bool().unwrap_or(false),
        exit_code: state["ExitCode"].as_i64(),
    })
}
