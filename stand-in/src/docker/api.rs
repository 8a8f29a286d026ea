//! Requests to the Engine API and their answers.

use super::Script;
use super::container::Container;
use super::engine::Engine;
use crate::http::{self, Handler, Stream, respond};
use serde_json::{Value, json};
use std::io;
use std::sync::{Arc, Mutex};

const HEADERS: [(&str, &str); 3] =
    [("Content-Type", "application/json"), ("Api-Version", "1.47"), ("Server", "stand-in")];

pub(super) fn handler(engine: Arc<Mutex<Engine>>) -> Handler {
    Arc::new(move |request, stream| {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let path = decode(without_version(path));
        let mut engine = engine.lock().expect("no handler panics with the lock held");
        match request.method.as_str() {
            "GET" | "HEAD" => question(&mut engine, &path, query, stream),
            "POST" => order(&mut engine, &path, stream),
            _ => answer(stream, "405 Method Not Allowed", &json!({ "message": "the stand-in does not do that" })),
        }
    })
}

fn answer(stream: &mut dyn Stream, status: &str, body: &Value) -> io::Result<()> {
    respond(stream, status, &HEADERS, body.to_string().as_bytes())
}

/// Its answer has no body, not even an empty document.
fn done(stream: &mut dyn Stream, status: &str) -> io::Result<()> {
    http::head(stream, status, &HEADERS[1..], None)
}

fn not_found(stream: &mut dyn Stream, what: &str) -> io::Result<()> {
    answer(stream, "404 Not Found", &json!({ "message": what }))
}

fn question(engine: &mut Engine, path: &str, query: &str, stream: &mut dyn Stream) -> io::Result<()> {
    match path {
        "/_ping" => respond(stream, "200 OK", &[("Api-Version", "1.47")], b"OK"),
        "/version" => {
            let version = &engine.script.version;
            answer(stream, "200 OK", &json!({ "Version": version, "ApiVersion": "1.47", "MinAPIVersion": "1.24" }))
        }
        "/info" => {
            let running = engine.look(None).iter().filter(|container| container.runs()).count();
            let Script { version, root_dir, .. } = &engine.script;
            let info = json!({
                "ServerVersion": version,
                "DockerRootDir": root_dir,
                "ContainersRunning": running,
                "Name": "stand-in",
            });
            answer(stream, "200 OK", &info)
        }
        "/plugins" => {
            let plugins = engine.script.plugins.iter();
            let list = plugins.map(|(name, enabled)| json!({ "Name": name, "Enabled": enabled })).collect();
            answer(stream, "200 OK", &list)
        }
        "/containers/json" => {
            let all = matches!(parameter(query, "all").as_deref(), Some("1" | "true"));
            let labels = parameter(query, "filters").map(|filters| labels(&filters)).unwrap_or_default();
            let kept = |container: &Container| {
                (all || container.runs()) && labels.iter().all(|label| container.has_label(label))
            };
            let found = engine.look(None);
            let list = found.iter().filter(|container| kept(container)).map(Container::summary).collect();
            answer(stream, "200 OK", &list)
        }
        _ => {
            let Some((name, what)) = path.strip_prefix("/containers/").and_then(|rest| rest.rsplit_once('/')) else {
                return not_found(stream, "page not found");
            };
            let missing = format!("No such container: {name}");
            match what {
                "json" => match engine.look(Some(name)).first() {
                    Some(container) => answer(stream, "200 OK", &container.details()),
                    None => not_found(stream, &missing),
                },
                "logs" => match engine.logs(name) {
                    Some((output, errors)) => logs(&output, &errors, query, stream),
                    None => not_found(stream, &missing),
                },
                _ => not_found(stream, "page not found"),
            }
        }
    }
}

fn order(engine: &mut Engine, path: &str, stream: &mut dyn Stream) -> io::Result<()> {
    if let Some((name, "enable")) = path.strip_prefix("/plugins/").and_then(|rest| rest.rsplit_once('/')) {
        return match engine.enable_plugin(name) {
            Some(true) => done(stream, "200 OK"),
            Some(false) => answer(stream, "409 Conflict", &json!({ "message": format!("plugin {name} is enabled") })),
            None => not_found(stream, &format!("plugin \"{name}\" not found")),
        };
    }
    let Some((name, what)) = path.strip_prefix("/containers/").and_then(|rest| rest.rsplit_once('/')) else {
        return not_found(stream, "page not found");
    };
    let runs = engine.look(Some(name)).first().map(Container::runs);
    let missing = format!("No such container: {name}");
    match (what, runs) {
        ("restart" | "start" | "stop", None) => not_found(stream, &missing),
        ("start", Some(true)) | ("stop", Some(false)) => done(stream, "304 Not Modified"),
        ("restart" | "start", Some(_)) => {
            engine.restart(name);
            done(stream, "204 No Content")
        }
        ("stop", Some(true)) => {
            engine.stop(name);
            done(stream, "204 No Content")
        }
        _ => not_found(stream, "page not found"),
    }
}

/// The streams as a container without a terminal has them: each piece behind a header of eight bytes, which
/// says which stream it is and how long ("Attach to a container", Stream format).
fn logs(output: &str, errors: &str, query: &str, stream: &mut dyn Stream) -> io::Result<()> {
    let wanted = |name: &str| matches!(parameter(query, name).as_deref(), Some("1" | "true"));
    if !wanted("stdout") && !wanted("stderr") {
        let message = "Bad parameters: you must choose at least one stream";
        return answer(stream, "400 Bad Request", &json!({ "message": message }));
    }
    let lines = |text: &str, number: u8| -> Vec<(u8, String)> {
        text.split_inclusive('\n').map(|line| (number, line.to_owned())).collect()
    };
    let mut pieces = Vec::new();
    if wanted("stdout") {
        pieces.extend(lines(output, 1));
    }
    if wanted("stderr") {
        pieces.extend(lines(errors, 2));
    }
    let most = parameter(query, "tail").and_then(|tail| tail.parse().ok()).unwrap_or(usize::MAX);
    let skipped = pieces.len().saturating_sub(most);
    http::head(stream, "200 OK", &[("Content-Type", "application/vnd.docker.multiplexed-stream")], None)?;
    for (number, line) in &pieces[skipped..] {
        let length = u32::try_from(line.len()).expect("a log's line is shorter than 4 GiB");
        stream.write_all(&[&[*number, 0, 0, 0], length.to_be_bytes().as_slice(), line.as_bytes()].concat())?;
    }
    stream.flush()
}

/// The labels of `filters`: `{"label": ["a", "b=c"]}`, or the older `{"label": {"a": true}}`.
fn labels(filters: &str) -> Vec<String> {
    let filters: Value = serde_json::from_str(filters).unwrap_or_default();
    match &filters["label"] {
        Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Value::Object(map) => map.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

fn parameter(query: &str, name: &str) -> Option<String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| decode(value))
}

/// `%22` is a quote.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|hex| u8::from_str_radix(str::from_utf8(hex).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
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
