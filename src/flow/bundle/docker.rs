//! Docker's part of a bundle, asked over its socket.

use super::table::Topic;
use crate::flow::read::{Fault, Text, bounded};
use crate::kasm::docker::{self, Document, Error};
use crate::paths::Paths;
use crate::secret::Secret;
use crate::token::{MASK, is_secret_name};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// So many containers are looked at closely.
const MOST: usize = 16;
/// So many of a log's last lines.
const LINES: u32 = 5_000;

/// What was asked before anything else, because containers' environments hold secrets that their logs may show.
pub struct Known {
    socket: PathBuf,
    /// Docker's list, or why there is none.
    containers: Result<Value, Error>,
    /// Kasm's own containers and what Docker says of each.
    inspected: Vec<(String, Result<Value, Error>)>,
}

impl Known {
    /// Asks.
    pub async fn ask(paths: &Paths) -> Known {
        let socket = paths.docker_socket();
        let containers = docker::document(&socket, &Document::Containers).await;
        let mut inspected = Vec::new();
        for name in containers.iter().flat_map(kasms).take(MOST) {
            let document = docker::document(&socket, &Document::Container(name.clone())).await;
            inspected.push((name, document));
        }
        Known { socket, containers, inspected }
    }

    /// The secrets in the environments of Kasm's containers.
    pub fn secrets(&self) -> Vec<Secret> {
        let mut secrets = Vec::new();
        for document in self.inspected.iter().filter_map(|(_, document)| document.as_ref().ok()) {
            for variable in document["Config"]["Env"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if let Some((name, value)) = variable.split_once('=')
                    && is_secret_name(name)
                {
                    secrets.push(Secret::new(value));
                }
            }
        }
        secrets
    }

    /// One topic's files: what is behind the item's name, and the text.
    pub async fn tell(&self, topic: Topic, limit: u64) -> Vec<(String, Result<Text, Fault>)> {
        let one = |result| vec![(String::new(), result)];
        match topic {
            Topic::Version => one(self.document(&Document::Version, limit).await),
            Topic::Info => one(self.document(&Document::Info, limit).await),
            Topic::Plugins => one(self.document(&Document::Plugins, limit).await),
            Topic::Containers => one(match &self.containers {
                Ok(list) => Ok(pretty(&reduced(list), limit)),
                Err(error) => Err(fault(error)),
            }),
            Topic::Inspect => self.each(|_, document| match document {
                Ok(document) => Ok(pretty(&without_secrets(document.clone()), limit)),
                Err(error) => Err(fault(error)),
            }),
            Topic::Logs => {
                let mut files = Vec::new();
                for (name, _) in &self.inspected {
                    let log = docker::logs(&self.socket, name, LINES).await;
                    let text = log.map(|text| bounded(text, limit)).map_err(|error| fault(&error));
                    files.push((format!("/{name}.log"), text));
                }
                self.or_why(files)
            }
        }
    }

    fn each(
        &self,
        tell: impl Fn(&str, &Result<Value, Error>) -> Result<Text, Fault>,
    ) -> Vec<(String, Result<Text, Fault>)> {
        let files =
            self.inspected.iter().map(|(name, document)| (format!("/{name}.json"), tell(name, document))).collect();
        self.or_why(files)
    }

    fn or_why(&self, files: Vec<(String, Result<Text, Fault>)>) -> Vec<(String, Result<Text, Fault>)> {
        match (files.is_empty(), &self.containers) {
            (false, _) => files,
            (true, Err(error)) => vec![(String::new(), Err(fault(error)))],
            (true, Ok(_)) => vec![(String::new(), Err(Fault::Missing("Kasm has no container here".into())))],
        }
    }

    async fn document(&self, document: &Document, limit: u64) -> Result<Text, Fault> {
        // A Docker that hangs is waited for once.
        if let Err(error @ Error::Unreachable { .. }) = &self.containers {
            return Err(fault(error));
        }
        let value = docker::document(&self.socket, document).await.map_err(|error| fault(&error))?;
        Ok(pretty(&without_secrets(value), limit))
    }
}

fn fault(error: &Error) -> Fault {
    match error {
        Error::NoSocket(_) | Error::Unknown(_) => Fault::Missing(error.to_string()),
        _ => Fault::Error(error.to_string()),
    }
}

/// The names of Kasm's own containers in Docker's list, sorted. Those of users' sessions carry a label.
fn kasms(list: &Value) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for one in list.as_array().into_iter().flatten().filter(|one| !is_session(one)) {
        let own = one["Names"].as_array().into_iter().flatten().filter_map(Value::as_str);
        names.extend(own.map(|name| name.trim_start_matches('/').to_owned()).find(|name| name.starts_with("kasm_")));
    }
    names.sort();
    names.dedup();
    names
}

fn is_session(one: &Value) -> bool {
    one["Labels"]["kasm.kasmid"].is_string()
}

/// The list without commands, labels and networks: of other people's containers a ticket needs no more.
fn reduced(list: &Value) -> Value {
    let keep = |one: &Value| {
        let kept = ["Names", "Image", "ImageID", "State", "Status", "Created", "Ports"];
        let mut kept: Map<String, Value> = kept.iter().map(|key| ((*key).to_owned(), one[*key].clone())).collect();
        kept.insert("Session".into(), is_session(one).into());
        Value::Object(kept)
    };
    list.as_array().into_iter().flatten().map(keep).collect()
}

/// A document with what its names announce as secret taken out: fields, `NAME=VALUE`, `--name VALUE`.
fn without_secrets(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                let taken = std::mem::take(field);
                *field = match taken {
                    Value::String(text) if !text.is_empty() && is_secret_name(name) => MASK.into(),
                    other => without_secrets(other),
                };
            }
        }
        Value::Array(items) => {
            let mut announced = false;
            for item in items {
                let Value::String(text) = item else {
                    *item = without_secrets(std::mem::take(item));
                    continue;
                };
                let next = text.starts_with("--") && is_secret_name(text);
                if std::mem::replace(&mut announced, next) && !text.starts_with('-') {
                    *item = MASK.into();
                } else if let Some((name, secret)) = text.split_once('=')
                    && !secret.is_empty()
                    && is_secret_name(name)
                {
                    *item = format!("{name}={MASK}").into();
                }
            }
        }
        _ => {}
    }
    value
}

fn pretty(value: &Value, limit: u64) -> Text {
    bounded(serde_json::to_string_pretty(value).expect("a JSON value can always be written") + "\n", limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn variables_fields_and_flags_that_announce_a_secret_lose_it() {
        let document = json!({
            "Config": {"Env": ["PATH=/bin", "DB_PASSWORD=two words", "EMPTY_TOKEN="], "Cmd": ["run", "--api-key", "x y", "-v"]},
            "Auth": {"registryToken": "abc", "Name": "kasm_agent"},
        });
        assert_eq!(
            without_secrets(document),
            json!({
                "Config": {
                    "Env": ["PATH=/bin", "DB_PASSWORD=[masked]", "EMPTY_TOKEN="],
                    "Cmd": ["run", "--api-key", "[masked]", "-v"],
                },
                "Auth": {"registryToken": "[masked]", "Name": "kasm_agent"},
            })
        );
    }

    #[test]
    fn sessions_are_listed_and_never_looked_into() {
        let list = json!([
            {"Names": ["/kasm_proxy"], "Labels": {}, "Command": "x"},
            {"Names": ["/kasm_of_a_user"], "Labels": {"kasm.kasmid": "1"}, "Command": "x"},
            {"Names": ["/other"]},
        ]);
        assert_eq!(kasms(&list), ["kasm_proxy"]);
        let reduced = reduced(&list);
        assert_eq!(reduced[1]["Session"], true);
        assert!(reduced[1].get("Command").is_none());
    }
}
