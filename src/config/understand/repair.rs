//! What `token repair` goes by: tokens and the manager's address, of which none has to be there.

use super::reader::Reader;
use crate::config::error::Error;
use crate::config::layer::Origin;
use crate::config::merged::Merged;
use crate::config::value;
use crate::intent::{Offered, RepairIntent, RepairMethod};
use crate::secret::Secret;

impl Merged {
    /// What the tokens of a node are to be mended with, and what there is to say about it. Nothing has to be there;
    /// what is there has to be right, as far as it matters for this. A token's file that only the configuration
    /// names and that cannot be read is a note: the other role may need it.
    pub fn repair(&self) -> Result<(RepairIntent, Vec<String>), Error> {
        self.read_with_notes(|reader| {
            let registration = reader.offered("guac.registration_token", "guac.registration_token_file");
            let manager_token = reader.offered("manager.token", "manager.token_file");
            // What a template left where an address belongs keeps nobody from mending a token.
            let is_left = self.is_request_host("manager.address");
            let address = if is_left { None } else { reader.parsed("manager.address", value::host_port) };
            let asked = self.is_flag("manager.address");
            RepairIntent {
                registration: registration.map(|offered| offered.value),
                manager_token,
                manager: address.map(|value| Offered { value, asked }),
                token_format: reader.token_format(),
                method: reader.choice("repair.method", &RepairMethod::ALL).unwrap_or_default(),
                network: reader.network(),
                manager_wait: reader.manager_wait(),
                budget: reader.budget(),
            }
        })
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
                match asked {
                    true => self.refuse(error),
                    false => self.notes.push(error.with_cause()),
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file;
    use crate::intent::HostPort;
    use std::path::Path;

    fn repair(text: &str) -> Result<(RepairIntent, Vec<String>), Error> {
        Merged::of([&file::layer(Path::new("/c.toml"), text)]).repair()
    }

    #[test]
    fn nothing_has_to_be_there_and_templates_may_be_left_in_it() {
        for text in [
            "",
            "[manager]\naddress = \"$request_host$\"\ntoken = \"\"\n",
            "[manager]\naddress = \"{upstream_auth_address}\"\n",
        ] {
            assert_eq!(repair(text).unwrap(), (RepairIntent::default(), Vec::new()), "{text}");
        }
    }

    #[test]
    fn what_only_the_configuration_says_is_not_asked_for() {
        let text = "[manager]\naddress = \"m.example:8443\"\ntoken = \"abcdefghijkl\"\n[repair]\nmethod = \"file\"\n";
        let (intent, _) = repair(text).unwrap();
        let address = HostPort { host: "m.example".into(), port: Some(8443) };
        assert_eq!(intent.manager, Some(Offered { value: address, asked: false }));
        assert!(intent.manager_token.is_some_and(|offered| !offered.asked));
        assert_eq!(intent.method, RepairMethod::File);
    }

    #[test]
    fn a_method_that_is_none_is_an_error() {
        let error = repair("[repair]\nmethod = \"rewrite\"\n").unwrap_err();
        assert!(error.to_string().contains("rewrite"), "{error}");
    }
}
