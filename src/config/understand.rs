//! From what the sources say to the intent: every value understood, everything that is wrong said at
//! once.

mod known;
mod metadata;
mod reader;
mod release;
mod repair;
mod reporting;
mod run_options;
mod settings;

pub use known::Known;
pub use run_options::{Ready, Remedies, RunOptions};

use super::error::{Error, quoted};
use super::layer::{Entry, Raw};
use super::merged::Merged;
use super::schema::{Kind, SETTINGS};
use super::value::{self, Wrong};
use crate::intent::{AddressChoice, AgentIntent, GuacIntent, HostPort, InstallerIntent, Intent, ManagerIntent, Role};
use crate::net;
use crate::secret::Secret;
use crate::token::Format;
use reader::Reader;
use std::path::PathBuf;
use std::time::Duration;

/// The intent, and what there is to say about it.
#[derive(Debug, Clone)]
pub struct Understood {
    /// What the operator asked for.
    pub intent: Intent,
    /// What is not as it should be, but can be worked with.
    pub notes: Vec<String>,
}

impl Merged {
    /// The intent. All that is wrong is in the one error.
    pub fn intent(&self) -> Result<Intent, Error> {
        self.understand().map(|understood| understood.intent)
    }

    /// The intent, and what there is to say about it. All that is wrong is in the one error.
    pub fn understand(&self) -> Result<Understood, Error> {
        let (intent, notes) = self.read_with_notes(Reader::intent)?;
        // What is wrong was an error: a role that is nowhere too.
        let intent = intent.ok_or_else(|| Error::not_set("role", ROLE_HELP))?;
        Ok(Understood { intent, notes })
    }
}

const ROLE_HELP: &str = "write role = \"agent\" or role = \"guac\" into the configuration, or give --role";
const MANAGER_HELP: &str = "give --manager-hostname HOST, or manager.address in the configuration";

impl Reader<'_> {
    /// `None` only if there are errors.
    fn intent(&mut self) -> Option<Intent> {
        self.eula();
        // The service's own settings are no part of the intent, but must be right as well.
        self.run_options();
        let role = self.role();
        let release = self.release();
        let manager = self.manager(role);
        let address = self.address();
        let agent = AgentIntent {
            server_id: self.parsed("agent.server_id", value::word),
            provider: self.parsed("agent.provider", value::word),
        };
        if role == Some(Role::Agent) && agent.server_id.is_some() != agent.provider.is_some() {
            self.notes.push(
                "only one of agent.server_id and agent.provider is set; Kasm's autoscaler recognises its machines by \
                 both"
                    .into(),
            );
        }
        let intent = Intent {
            address,
            proxy_port: self.parsed("proxy_port", value::port),
            agent,
            guac: GuacIntent { zone: self.parsed("guac.zone", value::word) },
            token_format: self.token_format(),
            swap_mib: self.parsed("swap.size", value::mebibytes).filter(|size| *size > 0),
            apt_wait: self.parsed("apt.wait", value::duration).unwrap_or(Intent::APT_WAIT),
            network: self.network(),
            metadata: self.metadata(),
            budget: self.budget(),
            installer: self.installer(),
            settle: self.settle(),
            skip: self.skip(),
            force: self.parsed("force", value::boolean).unwrap_or(false),
            reporting: self.reporting(),
            settings: self.settings(role),
            // Last, so that what is wrong with any setting is said although one of these is missing.
            ..Intent::new(role?, release?, manager?)
        };
        Some(intent)
    }

    fn eula(&mut self) {
        if self.parsed("accept_eula", value::boolean) == Some(false) {
            let origin = self.origin("accept_eula");
            self.refuse(Error::Eula { origin });
        }
    }

    fn role(&mut self) -> Option<Role> {
        let role = |text: &str| {
            value::choice(&Role::ALL, text).map_err(|_| Wrong {
                problem: format!("is {}, and this program installs only agent and guac", quoted(text)),
                help: match text {
                    "proxy" | "rdp" => "Kasm's connection proxy is the role guac".into(),
                    _ => ROLE_HELP.into(),
                },
            })
        };
        self.mandatory("role", ROLE_HELP, role)
    }

    fn manager(&mut self, role: Option<Role>) -> Option<ManagerIntent> {
        let wait = self.manager_wait();
        let key = self.manager_key(role);
        let help = match role {
            Some(Role::Guac) => "give --api-hostname HOST, or manager.address in the configuration",
            _ => MANAGER_HELP,
        };
        let address = self.manager_address(key, help);
        let token = role.and_then(|role| self.token(role));
        Some(ManagerIntent { address: address?, token: token?, wait })
    }

    fn manager_wait(&mut self) -> Duration {
        self.parsed("manager.wait", value::duration).unwrap_or(ManagerIntent::WAIT)
    }

    /// Which setting names the manager for this role.
    fn manager_key(&mut self, role: Option<Role>) -> &'static str {
        match role {
            Some(Role::Guac) if self.text("guac.api_host").is_some() => "guac.api_host",
            _ => "manager.address",
        }
    }

    /// `None` only if there are errors.
    fn manager_address(&mut self, key: &'static str, help: &'static str) -> Option<HostPort> {
        if self.merged.is_request_host(key) {
            self.refuse(Error::RequestHost { key, origin: self.origin(key) });
            return None;
        }
        self.mandatory(key, help, value::host_port)
    }

    /// The token with which a node of this role registers; `None` only if there are errors.
    fn token(&mut self, role: Role) -> Option<Secret> {
        let (key, other, flag, credential) = match role {
            Role::Agent => ("manager.token", "guac.registration_token", "--manager-token-file", "manager-token"),
            Role::Guac => {
                ("guac.registration_token", "manager.token", "--registration-token-file", "registration-token")
            }
        };
        let token = self.merged.secret(key).unwrap_or_else(|| {
            let other_given = self.merged.secret(other).is_some();
            Err(Error::TokenMissing { key, role: role.as_str(), flag, credential, other_given })
        });
        self.keep(token).cloned()
    }

    /// How this node's own address is found.
    fn address(&mut self) -> AddressChoice {
        self.parsed("agent.address", value::address).unwrap_or(AddressChoice::Auto)
    }

    /// How long containers must stay up.
    fn settle(&mut self) -> Duration {
        self.parsed("health.settle", value::duration).unwrap_or(Intent::SETTLE)
    }

    /// Preflight checks to leave out.
    fn skip(&mut self) -> Vec<String> {
        self.list("preflight.skip", |name| Ok(name.to_owned()))
    }

    fn token_format(&mut self) -> Format {
        self.choice("token_format", &Format::ALL).unwrap_or_default()
    }

    fn budget(&mut self) -> Duration {
        let budget = |text: &str| value::some_time(text, "nothing can be done in no time", "570s");
        self.parsed("deadline", budget).unwrap_or(Intent::BUDGET)
    }

    fn network(&mut self) -> net::Options {
        let ca_certs = self.list("network.ca_certs", |path| Ok(PathBuf::from(path)));
        let pin = self.parsed("network.tls_pin", value::pin);
        let insecure = self.parsed("network.insecure", value::boolean).unwrap_or(false);
        net::Options { ca_certs, pin, insecure }
    }

    fn installer(&mut self) -> InstallerIntent {
        let mut installer = InstallerIntent::default();
        for setting in SETTINGS.iter().filter(|setting| setting.key.starts_with("installer.")) {
            let Some(flag) = setting.flag.and_then(|flag| flag.strip_prefix("--")) else { continue };
            match setting.kind {
                Kind::Boolean if self.parsed(setting.key, value::boolean) == Some(true) => {
                    installer.flags.push(flag.to_owned());
                }
                Kind::Path => {
                    if let Some(found) = self.text(setting.key) {
                        installer.values.push((flag.to_owned(), found.text));
                    }
                }
                // The operator's own words for the installer: a placeholder in them is theirs to answer for.
                Kind::Texts => {
                    if let Some(Entry { raw: Raw::List(items), .. }) = self.merged.get(setting.key) {
                        installer.extra.extend(items.iter().cloned());
                    }
                }
                _ => {}
            }
        }
        installer
    }
}
