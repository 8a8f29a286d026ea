//! What the manager is to know about an agent beyond what registers it.

use super::reader::Reader;
use crate::config::error::Error;
use crate::config::value::{self, Wrong};
use crate::intent::{AgentSettings, Role};
use crate::secret::Secret;

/// No machine has more processors.
const MOST_CORES: u32 = 4096;

impl Reader<'_> {
    /// `None` where nothing of it is asked for.
    pub(super) fn settings(&mut self, role: Option<Role>) -> Option<AgentSettings> {
        let enable = self.parsed("agent.enable", value::boolean);
        let cores = |text: &str| {
            value::count(text, 1..=MOST_CORES, &format!("write a number of processors, 1 to {MOST_CORES}"))
        };
        let cores = self.parsed("agent.cores", cores);
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
        let is_blank = |secret: &Secret| secret.expose().trim().is_empty();
        let given = self.merged.secret(key).filter(|found| !found.as_ref().is_ok_and(|secret| is_blank(secret)));
        let found = given.unwrap_or_else(|| {
            let help = format!(
                "agent.enable, agent.cores and agent.memory need a key of the developer API: give {key}, {key}_file or \
                 the systemd credential {credential}, or leave those out"
            );
            Err(Error::not_set(key, help))
        });
        self.keep(found).cloned()
    }
}
