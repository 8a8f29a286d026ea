//! As much of the intent as is known, for commands that can do with half of it.

use super::super::error::Error;
use super::super::merged::Merged;
use super::super::value;
use super::Reader;
use crate::intent::{AddressChoice, HostPort, InstallerIntent, Intent, MetadataOptions, ReleaseIntent, Role, Source};
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
        let mut reader = Reader { merged: self, errors: Vec::new(), notes: Vec::new() };
        let role = self.get("role").and_then(|_| reader.role());
        let key = reader.manager_key(role);
        let known = Known {
            role,
            manager: self.get(key).and_then(|_| reader.manager_address(key, "")),
            address: reader.parsed("agent.address", value::address).unwrap_or(AddressChoice::Auto),
            network: reader.network(),
            metadata: reader.metadata(),
            sources: reader.sources().1,
            proxy_port: reader.parsed("proxy_port", value::port),
            installer: reader.installer(),
            skip: reader.list("preflight.skip", |name| Ok(name.to_owned())),
        };
        Error::of(reader.errors).map_or(Ok(known), Err)
    }

    /// TLS alone, for those who need no more.
    pub fn network(&self) -> Result<net::Options, Error> {
        let mut reader = Reader { merged: self, errors: Vec::new(), notes: Vec::new() };
        let network = reader.network();
        Error::of(reader.errors).map_or(Ok(network), Err)
    }

    /// How long containers must stay up, for those who need no more.
    pub fn settle(&self) -> Result<Duration, Error> {
        let mut reader = Reader { merged: self, errors: Vec::new(), notes: Vec::new() };
        let settle = reader.parsed("health.settle", value::duration).unwrap_or(Intent::SETTLE);
        Error::of(reader.errors).map_or(Ok(settle), Err)
    }

    /// The release alone, for those who fetch it long before anything else is known. `None` where nothing
    /// names one.
    pub fn release(&self) -> Result<Option<ReleaseIntent>, Error> {
        let reader = || Reader { merged: self, errors: Vec::new(), notes: Vec::new() };
        let mut look = reader();
        if look.sources().1.is_empty() && look.errors.is_empty() {
            return Ok(None);
        }
        let mut reader = reader();
        let release = reader.release();
        Error::of(reader.errors).map_or(Ok(release), Err)
    }
}
