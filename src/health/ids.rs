//! Who the components of a node are to its manager: identifiers that an upgrade must not change.

use super::error::Error;
use crate::intent::Role;
use crate::kasm::held::is_same_id;
use crate::kasm::layout::{AGENT, Installed};

/// The identifiers of a node's components: the agent's `server_id`, the `id` of each part of a connection
/// proxy. A component without one is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ids(Vec<(&'static str, String)>);

impl Ids {
    /// The identifiers in the configuration files of what is installed.
    ///
    /// # Errors
    /// [`Error::Configuration`] if a file is there and cannot be read.
    pub fn of(installed: &Installed, role: Role) -> Result<Ids, Error> {
        let found = match role {
            Role::Agent => {
                let agent = installed.agent().map_err(Error::Configuration)?;
                vec![(AGENT.component, agent.and_then(|agent| agent.server_id))]
            }
            Role::Guac => {
                let proxies = installed.proxies().map_err(Error::Configuration)?;
                proxies.into_iter().map(|proxy| (proxy.component, proxy.id)).collect()
            }
        };
        Ok(Ids(found.into_iter().filter_map(|(component, id)| Some((component, id?))).collect()))
    }

    /// Each component and its identifier.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(component, id)| (*component, id.as_str()))
    }

    /// What is not as it was before, one sentence's part each. A component that had no identifier then may have
    /// any now.
    pub fn changed_since(&self, before: &Ids) -> Vec<String> {
        let shown = |id: &str| -> String { crate::words::one_line(id).chars().take(64).collect() };
        let change = |(component, was): (&'static str, &str)| {
            let now = self.0.iter().find(|(one, _)| *one == component);
            match now {
                Some((_, now)) if is_same_id(now, was) => None,
                Some((_, now)) => Some(format!("the id of {component} was {}, and is {}", shown(was), shown(now))),
                None => Some(format!("the id of {component} was {}, and is gone", shown(was))),
            }
        };
        before.iter().filter_map(change).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_same_however_it_is_written_and_a_new_one_is_told() {
        let before = Ids(vec![("guac", "0f8fad5b-d9cb-469f-a165-70867728950e".into()), ("rdp_gateway", "a".into())]);
        let same = Ids(vec![("rdp_gateway", "a".into()), ("guac", "0F8FAD5BD9CB469FA16570867728950E".into())]);
        assert_eq!(same.changed_since(&before), [] as [String; 0]);
        assert_eq!(same.changed_since(&Ids::default()), [] as [String; 0]);
        let other = Ids(vec![("guac", "b".into())]);
        assert_eq!(
            other.changed_since(&before),
            [
                "the id of guac was 0f8fad5b-d9cb-469f-a165-70867728950e, and is b",
                "the id of rdp_gateway was a, and is gone"
            ]
        );
    }
}
