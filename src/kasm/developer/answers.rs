//! What `get_agents` answers, which of its agents is this one, and what `update_agent` is to be told. Nothing is asked
//! here.

use crate::kasm::held::is_same_id;
use serde_json::{Map, Value, json};
use std::fmt;

/// No more agents are looked at.
const MOST: usize = 10_000;
/// Memory is bytes to the API, and mebibytes to people.
const MEBIBYTE: u64 = 1 << 20;

/// How the manager has an agent (docs/kasm-facts.md, 6). Whatever it does not say is `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent {
    /// Its identifier there.
    pub agent_id: String,
    /// The server it is, as the agent's own file has it.
    pub server_id: Option<String>,
    /// The address or name it was registered with.
    pub hostname: Option<String>,
    /// Whether sessions may start on it.
    pub enabled: Option<bool>,
    /// How many processors it is counted with.
    pub cores: Option<f64>,
    /// How much memory it is counted with, bytes.
    pub memory: Option<u64>,
}

/// How it is to be. What is `None` stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Whether sessions may start on it.
    pub enable: Option<bool>,
    /// How many processors it is counted with.
    pub cores: Option<u32>,
    /// How much memory it is counted with, MiB.
    pub memory_mib: Option<u64>,
}

/// Who this agent is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Me {
    /// `agent.server_id` of its own file.
    pub server_id: Option<String>,
    /// Its address and its names.
    pub names: Vec<String>,
}

impl fmt::Display for Me {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server_id {
            Some(id) => write!(f, "the server id {id} or the address {}", self.names.join(", ")),
            None => write!(f, "the address {}", self.names.join(", ")),
        }
    }
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub enum Found<'a> {
    /// It.
    One(&'a Agent),
    /// It is not there.
    None,
    /// So many could be it.
    Several(usize),
}

/// Reads the answer of `get_agents`. Entries without an `agent_id` are passed over.
///
/// # Errors
/// In words, for anything but an object with a list `agents`.
pub fn agents(body: &[u8]) -> Result<Vec<Agent>, String> {
    let document: Value = serde_json::from_slice(body).map_err(|_| "its answer is no JSON".to_owned())?;
    let list = document["agents"].as_array().ok_or("its answer has no list of agents")?;
    let agent = |one: &Value| {
        let text = |key: &str| one[key].as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        Some(Agent {
            agent_id: text("agent_id")?,
            server_id: text("server_id"),
            hostname: text("hostname"),
            enabled: one["enabled"].as_bool(),
            cores: number(&one["cores_override"]),
            // Bytes beyond what a double counts exactly no machine has.
            memory: number(&one["memory_override"]).filter(|bytes| *bytes >= 0.0).map(|bytes| bytes as u64),
        })
    };
    Ok(list.iter().take(MOST).filter_map(agent).collect())
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|number| number.is_finite())
}

/// This agent among all: by its server id, and where no agent has that, by its address.
pub fn find<'a>(agents: &'a [Agent], me: &Me) -> Found<'a> {
    let is_me = |agent: &&Agent| {
        let mine = me.server_id.as_deref().filter(|id| !id.is_empty());
        mine.zip(agent.server_id.as_deref()).is_some_and(|(mine, its)| is_same_id(mine, its))
    };
    let is_here = |agent: &&Agent| {
        agent.hostname.as_deref().is_some_and(|its| me.names.iter().any(|mine| mine.eq_ignore_ascii_case(its)))
    };
    let pick = |found: Vec<&'a Agent>| match found[..] {
        [] => None,
        [one] => Some(Found::One(one)),
        _ => Some(Found::Several(found.len())),
    };
    pick(agents.iter().filter(is_me).collect())
        .or_else(|| pick(agents.iter().filter(is_here).collect()))
        .unwrap_or(Found::None)
}

impl Agent {
    /// What `update_agent` is to be told, if anything: only what differs.
    pub fn change(&self, wanted: &Wanted) -> Option<Value> {
        let mut change = Map::new();
        for difference in self.differences(wanted) {
            change.insert(difference.key.to_owned(), difference.value);
        }
        if change.is_empty() {
            return None;
        }
        change.insert("agent_id".into(), self.agent_id.clone().into());
        Some(Value::Object(change))
    }

    /// The same in words.
    pub fn difference(&self, wanted: &Wanted) -> String {
        self.differences(wanted).into_iter().map(|difference| difference.words).collect::<Vec<_>>().join(", ")
    }

    fn differences(&self, wanted: &Wanted) -> Vec<Difference> {
        let mut all = Vec::new();
        if let Some(enable) = wanted.enable.filter(|enable| self.enabled != Some(*enable)) {
            let words = if enable { "enabled" } else { "disabled" }.to_owned();
            all.push(Difference { key: "enabled", value: enable.into(), words });
        }
        if let Some(cores) = wanted.cores.filter(|cores| self.cores != Some(f64::from(*cores))) {
            all.push(Difference { key: "cores_override", value: cores.into(), words: format!("{cores} cores") });
        }
        let bytes = wanted.memory_mib.map(|mib| (mib, mib.saturating_mul(MEBIBYTE)));
        if let Some((mib, bytes)) = bytes.filter(|(_, bytes)| self.memory != Some(*bytes)) {
            let words = format!("{mib} MiB of memory");
            all.push(Difference { key: "memory_override", value: json!(bytes), words });
        }
        all
    }
}

struct Difference {
    key: &'static str,
    value: Value,
    words: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIST: &str = r#"{"agents": [
        {"agent_id": "a1", "server_id": "0a1b-2c", "hostname": "10.0.0.4", "enabled": false, "cores_override": 4,
         "memory_override": "1073741824", "status": "running"},
        {"agent_id": "a2", "server_id": null, "hostname": "Node-B", "cores_override": null},
        {"agent_id": "a3", "hostname": "node-b"},
        {"server_id": "no id of its own"}
    ]}"#;

    fn me(server_id: Option<&str>, names: &[&str]) -> Me {
        Me { server_id: server_id.map(str::to_owned), names: names.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn an_agent_is_found_by_its_server_and_else_by_its_address() {
        let list = agents(LIST.as_bytes()).unwrap();
        assert_eq!(list.len(), 3);
        let id = |found: Found<'_>| match found {
            Found::One(agent) => agent.agent_id.clone(),
            other => format!("{other:?}"),
        };
        assert_eq!(id(find(&list, &me(Some("0A1B2C"), &["10.9.9.9"]))), "a1");
        assert_eq!(id(find(&list, &me(Some("unknown"), &["10.0.0.4"]))), "a1");
        assert_eq!(id(find(&list, &me(None, &["10.0.0.5"]))), "None");
        assert_eq!(id(find(&list, &me(Some(""), &["NODE-B"]))), "Several(2)");
    }

    #[test]
    fn only_what_differs_is_told() {
        let list = agents(LIST.as_bytes()).unwrap();
        let wanted = Wanted { enable: Some(true), cores: Some(4), memory_mib: Some(2048) };
        let change = list[0].change(&wanted).unwrap();
        assert_eq!(change, json!({"agent_id": "a1", "enabled": true, "memory_override": 2_147_483_648u64}));
        assert_eq!(list[0].difference(&wanted), "enabled, 2048 MiB of memory");
        let same = Wanted { enable: Some(false), cores: Some(4), memory_mib: Some(1024) };
        assert_eq!(list[0].change(&same), None);
        assert_eq!(list[0].change(&Wanted::default()), None);
    }

    #[test]
    fn another_answer_is_told_as_one() {
        assert_eq!(agents(b"<html>").unwrap_err(), "its answer is no JSON");
        assert_eq!(agents(br#"{"users": []}"#).unwrap_err(), "its answer has no list of agents");
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(
            body in "\\PC{0,200}",
            value in "(-?[0-9]{1,30}(\\.[0-9]{1,5}(e[0-9]{1,4})?)?|null|\"x\"|\\[\\])",
        ) {
            // Whether it can be read is all the same.
            let _ = agents(body.as_bytes());
            let values = format!("\"memory_override\": {value}, \"cores_override\": {value}");
            let text = format!("{{\"agents\": [{{\"agent_id\": \"a\", {values}}}]}}");
            if let Ok(list) = agents(text.as_bytes()) {
                let wanted = Wanted { cores: Some(1), memory_mib: Some(u64::MAX), enable: None };
                list.iter().for_each(|one| drop(one.change(&wanted)));
            }
        }
    }
}
