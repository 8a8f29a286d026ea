//! One container as Docker's answers show it.

use super::Condition;
use serde_json::{Value, json};

/// One container at one look.
pub(super) struct Container {
    pub name: String,
    pub image: String,
    pub condition: Condition,
    /// Of a session: the value of the label `kasm.kasmid`.
    pub session: Option<String>,
    /// As Docker writes times.
    pub started: String,
    pub restarts: u32,
}

/// A container's id: 64 hexadecimal digits that belong to its name.
pub(super) fn id(name: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Container {
    pub fn runs(&self) -> bool {
        !matches!(self.condition, Condition::Exited(_) | Condition::Gone)
    }

    /// True if it has the label, `key` or `key=value`.
    pub fn has_label(&self, wanted: &str) -> bool {
        let (key, value) = wanted.split_once('=').map_or((wanted, None), |(key, value)| (key, Some(value)));
        let found = self.labels();
        found.get(key).is_some_and(|found| value.is_none_or(|value| found == value))
    }

    fn labels(&self) -> Value {
        match &self.session {
            Some(kasmid) => json!({ "kasm.kasmid": kasmid }),
            None => json!({ "com.docker.compose.project": "docker" }),
        }
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
    pub fn summary(&self) -> Value {
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
            "Labels": self.labels(),
            "State": self.state(),
            "Status": status,
        })
    }

    /// The whole description.
    pub fn details(&self) -> Value {
        let mut state = json!({
            "Status": self.state(),
            "Running": self.runs(),
            "Restarting": self.state() == "restarting",
            "ExitCode": self.exit_code(),
            "OOMKilled": false,
            "StartedAt": self.started,
        });
        if let Some(health) = self.health() {
            let failing = self.condition == Condition::Unhealthy;
            let log = if failing { json!([{ "ExitCode": 1, "Output": "connection refused" }]) } else { json!([]) };
            state["Health"] = json!({ "Status": health, "FailingStreak": if failing { 3 } else { 0 }, "Log": log });
        }
        json!({
            "Id": id(&self.name),
            "Name": format!("/{}", self.name),
            "RestartCount": self.restarts,
            "Config": { "Image": self.image, "Labels": self.labels() },
            "HostConfig": { "RestartPolicy": { "Name": "always" } },
            "State": state,
        })
    }
}
