//! The intent: what the operator asked for, after every source has been read and every value has been
//! understood. Plain data that every room above may read; how it comes about is [`crate::config`]'s business.

mod cloud;
mod repair;
mod reporting;
mod settings;

pub use cloud::{Cloud, CloudAddress, MetadataOptions, UserDataFrom};
pub use repair::{Offered, RepairIntent, RepairMethod};
pub use reporting::{Events, Form, Reporting, WebhookIntent};
pub use settings::AgentSettings;

use crate::net::{self, proxy::authority};
use crate::secret::Secret;
use crate::token::{Format, Kind};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The role a node plays in a Kasm deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs sessions in Docker containers.
    Agent,
    /// Connection proxy: guac and the two RDP gateways.
    Guac,
}

impl Role {
    /// Every role, and the word the configuration has for it.
    pub const ALL: [(&'static str, Role); 2] = [("agent", Role::Agent), ("guac", Role::Guac)];

    /// The word Kasm's `--role` takes.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Agent => "agent",
            Role::Guac => "guac",
        }
    }

    /// The token that a node of this role is installed with.
    pub fn token(self) -> Kind {
        match self {
            Role::Agent => Kind::Manager,
            Role::Guac => Kind::Registration,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A host name or address, and a port where one was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A DNS name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The port, if one was given.
    pub port: Option<u16>,
}

impl HostPort {
    /// The port that was given, else HTTPS's.
    pub fn port_or_https(&self) -> u16 {
        self.port.unwrap_or(443)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => f.write_str(&authority(&self.host, port)),
            None => f.write_str(&self.host),
        }
    }
}

/// Where a release comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An `http`, `https` or `file` URL.
    Url(String),
    /// A file on this machine.
    File(PathBuf),
}

/// How a release is known to be the right one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Digest {
    /// The SHA-256 the operator pinned (or Kasm published), 64 lower-case hexadecimal digits.
    Pinned(String),
    /// Not known beforehand: the `.sha256sum` beside the tarball is trusted, on purpose; or the signature
    /// beside it, where a minisign key is given.
    Sidecar,
}

/// A minisign public key, as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MinisignKey {
    /// The key itself: 56 characters beginning with `RW`.
    Text(String),
    /// The file it is in (`minisign.pub`).
    File(PathBuf),
}

/// The release to install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseIntent {
    /// Kasm's version as three numbers (`1.18.1`), where it was given or a tarball's name tells it.
    pub version: Option<String>,
    /// Mirrors in the order they are tried; never empty.
    pub sources: Vec<Source>,
    /// How its bytes are verified.
    pub digest: Digest,
    /// Who must have signed it.
    pub minisign_key: Option<MinisignKey>,
}

/// The manager this node belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagerIntent {
    /// Its address. For a guac node this is the API host.
    pub address: HostPort,
    /// The manager token (agent) or component registration token (guac).
    pub token: Secret,
    /// How long to wait for its health check to answer.
    pub wait: Duration,
}

impl ManagerIntent {
    /// How long to wait for the manager where nothing else was said.
    pub const WAIT: Duration = Duration::from_secs(2 * 60);
}

/// How this node's own address is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressChoice {
    /// The source address of the route to the manager.
    Auto,
    /// The first global address of the named interface.
    Interface(String),
    /// The one this machine's cloud has it under.
    Cloud(CloudAddress),
    /// As given.
    Given(String),
}

impl AddressChoice {
    /// The address, where it need not be found.
    pub fn given(&self) -> Option<&str> {
        match self {
            AddressChoice::Given(address) => Some(address),
            AddressChoice::Auto | AddressChoice::Interface(_) | AddressChoice::Cloud(_) => None,
        }
    }
}

/// What only an agent needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentIntent {
    /// The autoscaler's identifier of this server (`-i`).
    pub server_id: Option<String>,
    /// The autoscaler's provider name (`-r`).
    pub provider: Option<String>,
}

/// What only a connection proxy needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GuacIntent {
    /// The zone (`-z`); the release's default where unset.
    pub zone: Option<String>,
}

/// What is handed to the installer beside the values above.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InstallerIntent {
    /// Kasm's own flags that need no value, by their long name without dashes (`no-check-disk`).
    pub flags: Vec<String>,
    /// Kasm's own flags with a value, by their long name without dashes (`offline-service`).
    pub values: Vec<(String, String)>,
    /// Arguments handed over as they are (`--installer-arg`), after everything else.
    pub extra: Vec<String>,
}

/// Everything the operator asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The node's role.
    pub role: Role,
    /// The release to install.
    pub release: ReleaseIntent,
    /// The manager it reports to.
    pub manager: ManagerIntent,
    /// Where this node is reached.
    pub address: AddressChoice,
    /// The port of this node's own proxy (`-L`).
    pub proxy_port: Option<u16>,
    /// Agent only.
    pub agent: AgentIntent,
    /// Guac only.
    pub guac: GuacIntent,
    /// How the token above must look.
    pub token_format: Format,
    /// Swap to make, in MiB; `None`: leave the machine's swap alone.
    pub swap_mib: Option<u64>,
    /// How long the package manager may stay busy.
    pub apt_wait: Duration,
    /// TLS and proxies.
    pub network: net::Options,
    /// The cloud's metadata service.
    pub metadata: MetadataOptions,
    /// The budget of the whole run.
    pub budget: Duration,
    /// What is handed to the installer beside.
    pub installer: InstallerIntent,
    /// How long containers must stay up without a restart before the node counts as up.
    pub settle: Duration,
    /// Names of preflight checks to leave out.
    pub skip: Vec<String>,
    /// Wipe what is there and install again.
    pub force: bool,
    /// Who is told what happens.
    pub reporting: Reporting,
    /// What the manager is to know about the agent beyond what registers it.
    pub settings: Option<AgentSettings>,
}

impl Intent {
    /// How long the package manager may stay busy where nothing else was said.
    pub const APT_WAIT: Duration = Duration::from_secs(5 * 60);
    /// The budget where nothing else was said: Kasm destroys a machine that has not checked in after 600 s
    /// (docs/kasm-facts.md, 7).
    pub const BUDGET: Duration = Duration::from_secs(570);
    /// How long containers are watched where nothing else was said: a component that cannot work ends within
    /// seconds, and Docker starts it again.
    pub const SETTLE: Duration = Duration::from_secs(10);

    /// An intent that says only what must be said.
    pub fn new(role: Role, release: ReleaseIntent, manager: ManagerIntent) -> Intent {
        Intent {
            role,
            release,
            manager,
            address: AddressChoice::Auto,
            proxy_port: None,
            agent: AgentIntent::default(),
            guac: GuacIntent::default(),
            token_format: Format::default(),
            swap_mib: None,
            apt_wait: Intent::APT_WAIT,
            network: net::Options::default(),
            metadata: MetadataOptions::default(),
            budget: Intent::BUDGET,
            installer: InstallerIntent::default(),
            settle: Intent::SETTLE,
            skip: Vec::new(),
            force: false,
            reporting: Reporting::default(),
            settings: None,
        }
    }

    /// How long the containers are watched after an installation. An agent's are not: its boot is a race against
    /// the autoscaler, nothing was there that worked before, and whoever started it goes on watching it.
    pub fn settling(&self) -> Duration {
        match self.role {
            Role::Agent => Duration::ZERO,
            Role::Guac => self.settle,
        }
    }
}
