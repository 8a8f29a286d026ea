//! The receipt of a finished installation: what was installed, from which release and for whom. By it a
//! later run knows that there is nothing to do.

use super::error::Error;
use super::layout::{AGENT, Installed, PROXIES};
use crate::durable;
use crate::intent::Role;
use crate::paths::Paths;
use crate::record::{self, Record};
use serde::{Deserialize, Serialize};

/// `installed.json`. Holds no secret; 0600 all the same, like all state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The form of this file.
    pub schema: u32,
    /// The node's role.
    pub role: Role,
    /// The release's SHA-256, 64 lower-case hexadecimal digits.
    pub digest: String,
    /// The version that was installed, where it is known.
    pub version: Option<String>,
    /// When, RFC 3339.
    pub at: String,
    /// The manager's address.
    pub manager: String,
    /// The node's own address.
    pub address: String,
    /// Which attempt at running the installer it was.
    pub attempt: u32,
    /// True once the node was proved to be what was asked for, and up.
    pub proved: bool,
    /// The instance it was installed on, where it has an identifier (`cloud-init:i-0abc`): on another one
    /// the disk is a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// True as long as the manager has not taken the agent's settings that were asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub owes_settings: bool,
}

impl Record for Receipt {
    const SCHEMA: u32 = 1;
}

impl Receipt {
    /// The receipt, or `None` if nothing was installed by us yet.
    ///
    /// # Errors
    /// [`Error::Unreadable`] also for one that another version of this program wrote in another form.
    pub fn read(paths: &Paths) -> Result<Option<Receipt>, Error> {
        record::read(&paths.receipt()).map_err(|source| Error::Unreadable { path: paths.receipt(), source })
    }

    /// Writes it, durably.
    pub fn write(&self, paths: &Paths) -> Result<(), Error> {
        record::write(&paths.receipt(), self).map_err(|source| Error::Record { path: paths.receipt(), source })
    }

    /// Notes that the node was proved to be what was asked for, and up, and whether the manager is now to be told the
    /// agent's settings; nothing where there is no receipt.
    pub fn prove(paths: &Paths, settings: bool) -> Result<(), Error> {
        Receipt::note(paths, |receipt| {
            receipt.proved = true;
            receipt.owes_settings |= settings;
        })
    }

    /// Notes that the manager has taken the agent's settings; nothing where there is no receipt.
    pub fn settle(paths: &Paths) -> Result<(), Error> {
        Receipt::note(paths, |receipt| receipt.owes_settings = false)
    }

    fn note(paths: &Paths, change: impl FnOnce(&mut Receipt)) -> Result<(), Error> {
        let Some(mut receipt) = Receipt::read(paths)? else { return Ok(()) };
        change(&mut receipt);
        receipt.write(paths)
    }

    /// Removes it: what was installed is about to be wiped. True if there was one.
    pub fn remove(paths: &Paths) -> Result<bool, Error> {
        durable::remove(&paths.receipt()).map_err(|source| Error::Record { path: paths.receipt(), source })
    }
}

/// The role of what is installed: as the receipt has it, else as its compose file, else as its configuration
/// tells. `None` where it could be both.
pub fn role(paths: &Paths, installed: &Installed) -> Option<Role> {
    let receipt = Receipt::read(paths).ok().flatten().filter(|receipt| receipt.version == installed.version);
    if let Some(receipt) = receipt {
        return Some(receipt.role);
    }
    let one = |agent: bool, guac: bool| match (agent, guac) {
        (true, false) => Some(Role::Agent),
        (false, true) => Some(Role::Guac),
        _ => None,
    };
    let named = |name: &str| installed.names_container(name);
    one(named(AGENT.container), named(PROXIES[0].container)).or_else(|| {
        let agent = installed.agent().is_ok_and(|agent| agent.is_some());
        one(agent, installed.proxies().is_ok_and(|proxies| !proxies.is_empty()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_receipt_comes_back_as_it_was_written() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        assert_eq!(Receipt::read(&paths).unwrap(), None);
        let receipt = Receipt {
            schema: Receipt::SCHEMA,
            role: Role::Agent,
            digest: "ab".repeat(32),
            version: Some("1.16.1".into()),
            at: "2026-01-02T03:04:05Z".into(),
            manager: "kasm.example.com".into(),
            address: "10.0.0.4".into(),
            attempt: 2,
            proved: true,
            instance: Some("cloud-init:i-0abc".into()),
            owes_settings: true,
        };
        receipt.write(&paths).unwrap();
        assert_eq!(Receipt::read(&paths).unwrap().as_ref(), Some(&receipt));
        assert_eq!(std::fs::metadata(paths.receipt()).unwrap().permissions().mode() & 0o777, 0o600);
        Receipt::settle(&paths).unwrap();
        assert_eq!(Receipt::read(&paths).unwrap(), Some(Receipt { owes_settings: false, ..receipt }));
        assert!(Receipt::remove(&paths).unwrap());
    }

    #[test]
    fn a_receipt_that_is_cut_or_newer_is_an_error_and_not_nothing() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        std::fs::create_dir_all(paths.state_dir()).unwrap();
        for text in [
            "{\"schema\": 1",
            "{}",
            r#"{"schema":2,"role":"agent","digest":"","version":null,"at":"","manager":"","address":"","attempt":1}"#,
        ] {
            std::fs::write(paths.receipt(), text).unwrap();
            assert!(matches!(Receipt::read(&paths), Err(Error::Unreadable { .. })), "{text}");
        }
    }
}
