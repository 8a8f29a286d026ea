//! What the manager is to know about an agent beyond what registers it.

use super::super::error::{Error, quoted};
use super::super::value::{self, Wrong};
use super::Reader;
use crate::intent::{AgentSettings, Role};
use crate::secret::Secret;

/// No machine has more processors.
const MOST_CORES: u32 = 4096;

impl Reader<'_> {
    /// `None` where nothing of it is asked for.
    pub(super) fn settings(&mut self, role: Option<Role>) -> Option<AgentSettings> {
        let enable = self.parsed("agent.enable", value::boolean);
        let cores = self.parsed("agent.cores", |text| match text.parse::<u32>() {
            Ok(cores @ 1..=MOST_CORES) => Ok(cores),
            _ => Err(Wrong {
                problem: format!("is {}", quoted(text)),
                help: format!("write a number of processors, 1 to {MOST_CORES}"),
            }),
        });
        let memory_mib = self.parsed("agent.memory", |text| match value::mebibytes(text)? {
            0 => Err(Wrong { problem: "is 0".into(), help: "write MiB as a number, or with a unit: 16G".into() }),
            mib => Ok(mib),
        });
        if enable.is_none() && cores.is_none() && memory_mib.is_none() {
            return None;
        }
        if role == Some(Role::Guac) {
            self.notes.push("agent.enable, agent.cores and agent.memory are for agents; a guac node has none".into());
            return None;
        }
        let api_key = self.key("manager.api_key", "api-key");
        let api_key_secret = self.key("manager.api_key_secret", "api-key-secret");
        Some(AgentSettings { enable, cores, memory_mib, api_key: api_key?, api_key_secret: api_key_secret? })
    }

    fn key(&mut self, key: &'static str, credential: &str) -> Option<Secret> {
        match self.merged.secret(key) {
            Some(Ok(secret)) if !secret.expose().trim().is_empty() => return Some(secret.clone()),
            Some(Err(error)) => self.errors.push(error),
            _ => self.errors.push(Error::Missing {
                key,
                help: format!(
                    "agent.enable, agent.cores and agent.memory need a key of the developer API: give {key}, {key}_file \
                     or the systemd credential {credential}, or leave those out"
                ),
                emptied: None,
            }),
        }
        None
    }
}
