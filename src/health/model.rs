//! What is known of a node's health, as data: what one probe found, what has become of it over time, and the
//! verdict over all of them. Nothing here asks anything.

use crate::intent::Role;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a probe's answer means. Ordered: what matters most is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// The probe itself is broken or was too late: nothing is known, and nothing is held against the node.
    Unknown,
    /// The node works; somebody should look before it does not.
    Warn,
    /// The node does not do what it is for.
    Fail,
}

impl Level {
    /// The word, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Unknown => "unknown",
            Level::Warn => "warn",
            Level::Fail => "fail",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A number that a probe has read, for charts and alarms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// Its name without a prefix, by the conventions of Prometheus: base units, the unit as the last word
    /// (`disk_free_bytes`, `manager_latency_seconds`).
    pub name: String,
    /// What it was measured on, by a label's name and value: `("path", "/var/lib/docker")`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<(String, String)>,
    /// The number.
    pub value: f64,
}

impl Measure {
    /// A number about the node as a whole.
    pub fn new(name: &str, value: f64) -> Measure {
        Measure { name: name.to_owned(), of: None, value }
    }

    /// A number about one of several things.
    pub fn of(name: &str, label: &str, thing: &str, value: f64) -> Measure {
        Measure { name: name.to_owned(), of: Some((label.to_owned(), thing.to_owned())), value }
    }
}

/// What a probe found this time.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What it means.
    pub level: Level,
    /// In words: lower case, no full stop, free of secrets, in one line. The cause first.
    pub words: String,
    /// What to do, where something is to be done: lower case, no full stop.
    pub remedy: Option<String>,
    /// The numbers behind it.
    pub measures: Vec<Measure>,
}

impl Finding {
    /// All is well.
    pub fn ok(words: impl Into<String>) -> Finding {
        Finding { level: Level::Ok, words: words.into(), remedy: None, measures: Vec::new() }
    }

    /// Somebody should look.
    pub fn warn(words: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { level: Level::Warn, remedy: Some(remedy.into()), ..Finding::ok(words) }
    }

    /// The node does not do what it is for.
    pub fn fail(words: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { level: Level::Fail, remedy: Some(remedy.into()), ..Finding::ok(words) }
    }

    /// The probe could not find out.
    pub fn unknown(words: impl Into<String>) -> Finding {
        Finding { level: Level::Unknown, ..Finding::ok(words) }
    }

    /// The same with a number more.
    #[must_use]
    pub fn with(mut self, measure: Measure) -> Finding {
        self.measures.push(measure);
        self
    }
}

/// How one probe stands, over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeStatus {
    /// Its name: lower case, words joined by dashes.
    pub name: String,
    /// What it means, after hysteresis: one blip changes nothing.
    #[serde(rename = "verdict")]
    pub level: Level,
    /// In words, as found last.
    pub words: String,
    /// Since when it means that, RFC 3339.
    pub since: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// When it was asked last, RFC 3339.
    pub checked: String,
    /// How long the answer took, milliseconds.
    pub took_ms: u64,
    /// The numbers behind it, as found last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measures: Vec<Measure>,
}

/// What all probes together mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Not up yet, or not known yet.
    Starting,
    /// It does what it is for.
    Healthy,
    /// It was up, and something is wrong now.
    Degraded,
    /// It did not come up, or what it is for is gone.
    Failed,
}

impl Verdict {
    /// The word, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Starting => "starting",
            Verdict::Healthy => "healthy",
            Verdict::Degraded => "degraded",
            Verdict::Failed => "failed",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The health of a node: the document that `health --json`, the status file and the endpoint show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// The document's version; it counts up when a field changes its meaning. Fields that are added do not count.
    pub schema: u32,
    /// What all probes together mean.
    pub verdict: Verdict,
    /// Why, in one sentence: what is worst, or what is up.
    pub words: String,
    /// Since when the verdict is that, RFC 3339.
    pub since: String,
    /// The node's role, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// When this was written, RFC 3339.
    pub checked: String,
    /// The probes, in the order in which a person would want to read them.
    pub probes: Vec<ProbeStatus>,
}

impl Health {
    /// The version this program writes.
    pub const SCHEMA: u32 = 1;

    /// Nothing was asked yet.
    pub fn starting(role: Option<Role>, now: &str) -> Health {
        Health {
            schema: Health::SCHEMA,
            verdict: Verdict::Starting,
            words: "nothing was asked yet".into(),
            since: now.to_owned(),
            role,
            checked: now.to_owned(),
            probes: Vec::new(),
        }
    }

    /// The probe of this name.
    pub fn probe(&self, name: &str) -> Option<&ProbeStatus> {
        self.probes.iter().find(|probe| probe.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_with_fields_of_a_later_version_is_read() {
        let text = r#"{"schema":1,"verdict":"degraded","words":"w","since":"s","checked":"c","mood":"new",
            "probes":[{"name":"docker","verdict":"warn","words":"w","since":"s","checked":"c","took_ms":1,"new":[1],
            "measures":[{"name":"docker_latency_seconds","value":0.5}]}]}"#;
        let health: Health = serde_json::from_str(text).unwrap();
        assert_eq!(health.probe("docker").unwrap().level, Level::Warn);
        assert_eq!(health.role, None);
    }

    #[test]
    fn what_matters_most_is_the_greatest() {
        assert!(Level::Ok < Level::Unknown && Level::Unknown < Level::Warn && Level::Warn < Level::Fail);
    }
}
