//! What is wanted of a node whose tokens are to be mended.

use super::{HostPort, Intent, ManagerIntent};
use crate::net;
use crate::secret::Secret;
use crate::token::Format;
use std::time::Duration;

/// Where a component is given its registration token again (docs/kasm-facts.md, 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RepairMethod {
    /// In both places.
    #[default]
    Both,
    /// In `registration_token.txt` beside its configuration, as Kasm documents it from 1.18 on.
    File,
    /// Behind the key `registration_token` of its configuration, as support has it for older releases.
    Yaml,
}

impl RepairMethod {
    /// Every method, and the word the configuration has for it.
    pub const ALL: [(&'static str, RepairMethod); 3] =
        [("both", RepairMethod::Both), ("file", RepairMethod::File), ("yaml", RepairMethod::Yaml)];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            RepairMethod::Both => "both",
            RepairMethod::File => "file",
            RepairMethod::Yaml => "yaml",
        }
    }

    /// True if the file is written.
    pub fn writes_file(self) -> bool {
        self != RepairMethod::Yaml
    }

    /// True if the key is written.
    pub fn writes_yaml(self) -> bool {
        self != RepairMethod::File
    }
}

/// A value, and whether somebody asked for it on this very command line. What only the configuration says takes
/// the place of what is broken, and never of what may be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered<T> {
    /// The value.
    pub value: T,
    /// It was given by a flag.
    pub asked: bool,
}

/// What the node's tokens are to be mended with. Nothing has to be there: what is needed is known once the node
/// has been looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairIntent {
    /// The component registration token, for connection proxies.
    pub registration: Option<Secret>,
    /// The manager token, for agents.
    pub manager_token: Option<Offered<Secret>>,
    /// The manager's address, for agents.
    pub manager: Option<Offered<HostPort>>,
    /// How tokens must look.
    pub token_format: Format,
    /// Where a registration token is put.
    pub method: RepairMethod,
    /// TLS and proxies.
    pub network: net::Options,
    /// How long to wait for the manager's health check to answer.
    pub manager_wait: Duration,
    /// The budget of the whole run.
    pub budget: Duration,
}

impl Default for RepairIntent {
    fn default() -> RepairIntent {
        RepairIntent {
            registration: None,
            manager_token: None,
            manager: None,
            token_format: Format::default(),
            method: RepairMethod::default(),
            network: net::Options::default(),
            manager_wait: ManagerIntent::WAIT,
            budget: Intent::BUDGET,
        }
    }
}
