//! What `token repair` goes by: tokens and the manager's address, of which none has to be there.

use super::super::error::{Error, quoted};
use super::super::layer::{Origin, Raw};
use super::super::merged::Merged;
use super::super::value::{self, Wrong};
use super::Reader;
use crate::intent::{ManagerIntent, Offered, RepairIntent, RepairMethod};
use crate::secret::Secret;

impl Merged {
    /// What the tokens of a node are to be mended with. Nothing has to be there; what is there has to be right,
    /// as far as it matters for this.
    pub fn repair(&self) -> Result<RepairIntent, Error> {
        let mut reader = Reader { merged: self, errors: Vec::new(), notes: Vec::new() };
        let method = |text: &str| match RepairMethod::ALL.iter().find(|(word, _)| *word == text) {
            Some((_, method)) => Ok(*method),
            None => Err(Wrong { problem: format!("is {}", quoted(text)), help: "write both, file or yaml".into() }),
        };
        let registration = reader.offered("guac.registration_token", "guac.registration_token_file");
        let manager_token = reader.offered("manager.token", "manager.token_file");
        // What a template left where an address belongs keeps nobody from mending a token.
        let is_left = matches!(self.get("manager.address").map(|entry| &entry.raw), Some(Raw::Text(text)) if value::is_request_host(text));
        let address = if is_left { None } else { reader.parsed("manager.address", value::host_port) };
        let asked = self.is_flag("manager.address");
        let intent = RepairIntent {
            registration: registration.map(|offered| offered.value),
            manager_token,
            manager: address.map(|value| Offered { value, asked }),
            token_format: reader.token_format(),
            method: reader.parsed("repair.method", method).unwrap_or_default(),
            network: reader.network(),
            manager_wait: reader.parsed("manager.wait", value::duration).unwrap_or(ManagerIntent::WAIT),
            budget: reader.budget(),
        };
        Error::of(reader.errors).map_or(Ok(intent), Err)
    }

    fn is_flag(&self, key: &str) -> bool {
        matches!(self.get(key).map(|entry| &entry.origin), Some(Origin::Flag(_)))
    }
}

impl Reader<'_> {
    /// A secret where there is one. An empty one in a file or a variable says nothing.
    fn offered(&mut self, key: &'static str, file: &'static str) -> Option<Offered<Secret>> {
        let asked = self.merged.is_flag(key) || self.merged.is_flag(file);
        match self.merged.secret(key)? {
            Ok(secret) if secret.is_empty() && !asked => None,
            Ok(secret) => Some(Offered { value: secret.clone(), asked }),
            Err(error) => {
                self.errors.push(error);
                None
            }
        }
    }
}
