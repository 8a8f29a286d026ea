//! The developer API, as far as agents go: `POST /api/admin/get_agents` and `/api/admin/update_agent`
//! (`docs/kasm-facts.md`, 6). The words of its refusals are the stand-in's own: nobody has told Kasm's.

use crate::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// What the API knows, and what goes wrong with it.
#[derive(Debug, Clone, Default)]
pub struct Developer {
    /// Its key and the key's secret; there is no API without.
    pub key: Option<(String, String)>,
    /// The key has to come as HTTP Basic authentication, as from 1.20 on; else in the body.
    pub basic: bool,
    /// The agents, as `get_agents` lists them; changed by `update_agent`.
    pub agents: Arc<Mutex<Vec<Value>>>,
    /// The first so many lists are empty.
    pub hidden_for: usize,
    /// Every change is refused with these words.
    pub refusal: Option<String>,
    /// Every change is taken, and comes to nothing.
    pub forgetful: bool,
    /// How often it was asked for the list.
    pub asked: Arc<Mutex<usize>>,
}

const LIST: &str = "/api/admin/get_agents";
const UPDATE: &str = "/api/admin/update_agent";

/// The answer's document; `None` for a request that is none of these.
pub(super) fn answer(request: &Request, how: &Developer) -> Option<Value> {
    let (key, secret) = how.key.as_ref()?;
    if request.method != "POST" || ![LIST, UPDATE].contains(&request.target.as_str()) {
        return None;
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let basic = format!("Basic {}", STANDARD.encode(format!("{key}:{secret}")));
    let known = match how.basic {
        true => request.header("authorization") == Some(basic.as_str()),
        false => body["api_key"] == key.as_str() && body["api_key_secret"] == secret.as_str(),
    };
    if !known {
        return Some(json!({ "error_message": "Access Denied" }));
    }
    let mut agents = how.agents.lock().expect("nobody panics with the lock held");
    if request.target == LIST {
        let mut asked = how.asked.lock().expect("nobody panics with the lock held");
        *asked += 1;
        let list = if *asked > how.hidden_for { agents.clone() } else { Vec::new() };
        return Some(json!({ "agents": list }));
    }
    if let Some(words) = &how.refusal {
        return Some(json!({ "error_message": words }));
    }
    let target = body["target_agent"].as_object().cloned().unwrap_or_default();
    let Some(agent) = agents.iter_mut().find(|agent| Some(&agent["agent_id"]) == target.get("agent_id")) else {
        return Some(json!({ "error_message": "No such agent" }));
    };
    if !how.forgetful {
        target.into_iter().for_each(|(key, value)| agent[key] = value);
    }
    Some(json!({ "agent": agent }))
}
