//! What an installed node says of itself: the lowest layer of all, for commands that work on what is there
//! (`upgrade`), so that they need not be told again what the node knows.

use super::layer::{Layer, Origin, Raw};
use super::{schema, value};
use crate::intent::{HostPort, Role};
use crate::kasm;
use crate::kasm::layout::Installed;
pub use crate::kasm::receipt::role;
use crate::paths::Paths;
use std::path::Path;

/// The layer. What makes no sense in an installed file is left out: then it is not set.
///
/// # Errors
/// A configuration file of the installation cannot be read.
pub fn layer(paths: &Paths, installed: &Installed) -> Result<Layer, kasm::Error> {
    let mut layer = Layer::default();
    let Some(role) = role(paths, installed) else { return Ok(layer) };
    let mut put = |file: &Path, key: &str, raw: Option<Raw>| {
        if let (Some(setting), Some(raw)) = (schema::find(key), raw) {
            layer.set(setting, raw, Origin::Installed(paths.shown(file)));
        }
    };
    let text = |text: Option<String>| text.map(Raw::Text);
    let word = |found: Option<String>| found.filter(|text| value::word(text).is_ok()).map(Raw::Text);
    let address = |found: Option<String>| found.filter(|text| value::address(text).is_ok()).map(Raw::Text);
    let port = |port: Option<u16>| port.map(|port| Raw::Integer(port.into()));
    match role {
        Role::Agent => {
            let Some(agent) = installed.agent()? else { return Ok(layer) };
            let file = &agent.path;
            put(file, "role", text(Some(role.to_string())));
            put(file, "manager.address", text(host(&agent.manager_hostnames, agent.manager_port)));
            put(file, "manager.token", agent.token.map(Raw::Secret));
            put(file, "agent.address", address(agent.public_hostname));
            put(file, "agent.server_id", word(agent.server_id));
            put(file, "agent.provider", word(agent.provider));
            put(file, "proxy_port", port(agent.public_port));
        }
        Role::Guac => {
            for proxy in installed.proxies()?.into_iter().take(1) {
                let file = &proxy.path;
                put(file, "role", text(Some(role.to_string())));
                put(file, "manager.address", text(host(&proxy.api_hostnames, proxy.api_port)));
                put(file, "guac.registration_token", proxy.registration_token.map(Raw::Secret));
                put(file, "guac.zone", word(proxy.zone));
                put(file, "agent.address", address(proxy.server_address));
                put(file, "proxy_port", port(proxy.server_port));
            }
        }
    }
    Ok(layer)
}

/// The manager by its first name, with its port where it needs one; `None` where that is no name.
pub fn manager(names: &[String], port: Option<u16>) -> Option<HostPort> {
    let known = value::host_port(names.first()?).ok()?;
    Some(HostPort { port: known.port.or(port.filter(|port| *port != 443)), host: known.host })
}

fn host(names: &[String], port: Option<u16>) -> Option<String> {
    manager(names, port).map(|manager| manager.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::{Merged, file};
    use super::*;
    use crate::intent::AddressChoice;
    use std::fs;

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Paths, Installed) {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        let dir = paths.kasm_dir().join("1.17.0");
        for (name, text) in files {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        (directory, paths, Installed { version: Some("1.17.0".into()), dir })
    }

    const AGENT: &str = "agent:\n  server_id: s-1\n  public_hostname: 10.0.0.4\n  public_port: 8443\n  \
                         provider: harvester\n\
                         manager:\n  hostnames: ['kasm.example.com']\n  public_port: 4443\n  token: abcdefghijkl\n";
    const GUAC: &str = "kasmguac:\n  id: 1\n  server_address: 10.0.0.5\n  server_port: 443\n  zone: default\n\
                        api:\n  hostnames: ['m']\n  port: 443\n  auth_token: a.b.c\n";
    const RELEASE: &str = "[release]\nversion = '1.18.1'\nsha256 = 'sidecar'\n";

    #[test]
    fn an_agent_needs_to_be_told_nothing_but_the_release() {
        let (_directory, paths, installed) = machine(&[("conf/app/agent/agent.app.config.yaml", AGENT)]);
        let layer = layer(&paths, &installed).unwrap();
        let merged = Merged::of([&layer, &file::layer(Path::new("/c.toml"), RELEASE)]);
        let intent = merged.intent().unwrap();
        assert_eq!(intent.role, Role::Agent);
        assert_eq!(intent.manager.address.to_string(), "kasm.example.com:4443");
        assert_eq!(intent.manager.token.expose(), "abcdefghijkl");
        assert_eq!(intent.address, AddressChoice::Given("10.0.0.4".into()));
        assert_eq!((intent.agent.server_id.as_deref(), intent.proxy_port), (Some("s-1"), Some(8443)));
        let shown = merged.shown();
        let from = |key: &str| shown.iter().find(|one| one.key == key).unwrap().from.to_string();
        assert_eq!(from("agent.server_id"), "installed /opt/kasm/1.17.0/conf/app/agent/agent.app.config.yaml");
    }

    #[test]
    fn whatever_else_says_something_says_it_louder() {
        let (_directory, paths, installed) = machine(&[("conf/app/agent.app.config.yaml", AGENT)]);
        let said = format!("manager.address = 'other'\n{RELEASE}");
        let above = file::layer(Path::new("/c.toml"), &said);
        let intent = Merged::of([&layer(&paths, &installed).unwrap(), &above]).intent().unwrap();
        assert_eq!(intent.manager.address.to_string(), "other");
    }

    #[test]
    fn a_registered_proxy_has_no_registration_token_to_give() {
        let (_directory, paths, installed) = machine(&[
            ("conf/app/guac/kasmguac.app.config.yaml", GUAC),
            ("conf/app/agent/agent.app.config.yaml", AGENT),
            ("docker/docker-compose.yaml", "services:\n  a:\n    container_name: kasm_guac\n"),
        ]);
        let layer = layer(&paths, &installed).unwrap();
        let keys: Vec<&str> = layer.entries.iter().map(|entry| entry.setting.key).collect();
        assert_eq!(keys, ["role", "manager.address", "guac.zone", "agent.address", "proxy_port"]);
    }

    #[test]
    fn nothing_is_guessed_where_it_could_be_both_roles() {
        let files = [("conf/app/kasmguac.app.config.yaml", GUAC), ("conf/app/agent.app.config.yaml", AGENT)];
        let (_directory, paths, installed) = machine(&files);
        assert!(layer(&paths, &installed).unwrap().entries.is_empty());
    }
}
