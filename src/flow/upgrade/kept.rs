//! What an upgrade keeps: everything the installed configuration says (docs/kasm-facts.md, 3).

use crate::config::installed;
use crate::intent::{AddressChoice, AgentIntent, GuacIntent, HostPort, Intent, Role};
use crate::kasm;
use crate::kasm::layout::Installed;
use crate::paths::Paths;
use crate::secret::Secret;

/// What a node says of itself.
#[derive(Debug)]
pub(in crate::flow) struct Kept {
    /// Where it is reached.
    pub(in crate::flow) address: Option<String>,
    /// Its manager.
    pub(in crate::flow) manager: Option<HostPort>,
    port: Option<u16>,
    agent: AgentIntent,
    guac: GuacIntent,
    token: Option<Secret>,
    /// Every token in its files: what may be in a log, and nobody may see.
    pub(in crate::flow) secrets: Vec<Secret>,
}

impl Kept {
    /// Reads the configuration of a version.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub(in crate::flow) fn of(installed: &Installed, role: Role) -> Result<Kept, kasm::Error> {
        let mut kept = Kept {
            address: None,
            manager: None,
            port: None,
            agent: AgentIntent::default(),
            guac: GuacIntent::default(),
            token: None,
            secrets: Vec::new(),
        };
        match role {
            Role::Agent => {
                let Some(config) = installed.agent()? else { return Ok(kept) };
                kept.secrets.extend(config.token.clone());
                kept.manager = installed::manager(&config.manager_hostnames, config.manager_port);
                (kept.address, kept.port, kept.token) = (config.public_hostname, config.public_port, config.token);
                kept.agent = AgentIntent { server_id: config.server_id, provider: config.provider };
            }
            Role::Guac => {
                for config in installed.proxies()? {
                    kept.secrets.extend(config.registration_token.into_iter().chain(config.auth_token));
                    kept.manager = kept.manager.or_else(|| installed::manager(&config.api_hostnames, config.api_port));
                    kept.address = kept.address.or(config.server_address);
                    kept.port = kept.port.or(config.server_port);
                    kept.guac.zone = kept.guac.zone.or(config.zone);
                }
            }
        }
        Ok(kept)
    }

    /// The intent with what is kept in it: what was asked for beside cannot be had by an upgrade.
    pub(in crate::flow) fn into_intent(self, mut intent: Intent) -> Intent {
        if let Some(address) = self.address {
            intent.address = AddressChoice::Given(address);
        }
        if let Some(manager) = self.manager {
            intent.manager.address = manager;
        }
        if let (Some(token), Role::Agent) = (self.token, intent.role) {
            intent.manager.token = token;
        }
        Intent { proxy_port: self.port, agent: self.agent, guac: self.guac, ..intent }
    }
}

/// How what was asked for differs from what is installed, and is kept.
pub(super) fn differences(paths: &Paths, installed: &Installed, intent: &Intent) -> Vec<String> {
    let mut found = installed.differences(paths, intent, intent.address.given()).unwrap_or_default();
    // A registration token is for registering anew: it is none of what is installed.
    found.retain(|difference| !difference.contains("registration token"));
    found
}
