//! As much of the intent as is known, for commands that can do with half of it.

use super::reader::Reader;
use crate::config::error::Error;
use crate::config::merged::Merged;
use crate::config::value;
use crate::intent::{AddressChoice, HostPort, InstallerIntent, MetadataOptions, Role, Source};
use crate::net;
use std::time::Duration;

/// As much of the intent as is known, for those who need no more.
#[derive(Debug, Clone)]
pub struct Known {
    /// The node's role.
    pub role: Option<Role>,
    /// The manager's address.
    pub manager: Option<HostPort>,
    /// How the node's own address is found.
    pub address: AddressChoice,
    /// TLS and proxies.
    pub network: net::Options,
    /// The cloud's metadata service.
    pub metadata: MetadataOptions,
    /// Mirrors and files of the release, in the order they are tried.
    pub sources: Vec<Source>,
    /// The port of this node's own proxy.
    pub proxy_port: Option<u16>,
    /// What is handed to the installer beside.
    pub installer: InstallerIntent,
    /// Names of preflight checks to leave out.
    pub skip: Vec<String>,
}

impl Merged {
    /// What is known of the intent. Nothing has to be there; what is there has to be right.
    pub fn known(&self) -> Result<Known, Error> {
        self.read(|reader| {
            let role = self.get("role").and_then(|_| reader.role());
            let key = reader.manager_key(role);
            Known {
                role,
                manager: self.get(key).and_then(|_| reader.manager_address(key, "")),
                address: reader.address(),
                network: reader.network(),
                metadata: reader.metadata(),
                sources: reader.sources().1,
                proxy_port: reader.parsed("proxy_port", value::port),
                installer: reader.installer(),
                skip: reader.skip(),
            }
        })
    }

    /// TLS alone, for those who need no more.
    pub fn network(&self) -> Result<net::Options, Error> {
        self.read(Reader::network)
    }

    /// How long containers must stay up, for those who need no more.
    pub fn settle(&self) -> Result<Duration, Error> {
        self.read(Reader::settle)
    }
}
