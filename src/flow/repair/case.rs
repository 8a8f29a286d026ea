//! One component and what is to be changed for it.

use super::diagnose::{Cure, Diagnosis};
use super::error::{Error, Story};
use crate::durable;
use crate::intent::{HostPort, RepairIntent};
use crate::kasm::held;
use crate::kasm::layout::Installed;
use crate::kasm::yaml_edit::{self, New, Refusal};
use crate::secret::Secret;
use crate::token::Kind;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// No configuration file is larger, in bytes.
const LIMIT: u64 = yaml_edit::LIMIT as u64;

/// One change of a component's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) section: String,
    pub(super) key: &'static str,
    pub(super) value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(Secret),
    Number(u64),
}

/// One component that is to be mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) component: &'static str,
    pub(super) container: &'static str,
    pub(super) config: PathBuf,
    /// The component's own section of it; `None` for an agent.
    pub(super) section: Option<String>,
    pub(super) cure: Cure,
    pub(super) edits: Vec<Edit>,
    /// What the file beside the configuration is to hold.
    pub(super) token_file: Option<Secret>,
    /// The manager that has to answer for it.
    pub(super) manager: Option<HostPort>,
    /// The one it had before.
    pub(super) old_manager: Option<HostPort>,
}

impl Case {
    /// The kind of token this is about.
    pub(super) fn kind(&self) -> Kind {
        if self.cure == Cure::ManagerToken { Kind::Manager } else { Kind::Registration }
    }

    /// The file that gives the component its registration token.
    pub(super) fn registration_file(&self) -> PathBuf {
        held::registration_file(&self.config)
    }

    /// Every file that is changed.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let beside = (self.cure != Cure::ManagerToken).then(|| self.registration_file());
        std::iter::once(self.config.clone()).chain(beside).collect()
    }

    /// The configuration as it is and as it is to be.
    pub(super) fn edited(&self) -> Result<(Secret, Secret), Error> {
        let before = read(&self.config)?;
        let mut after = before.clone();
        for Edit { section, key, value } in &self.edits {
            let new = match value {
                Value::Text(text) => New::Text(text),
                Value::Number(number) => New::Number(*number),
            };
            let put = yaml_edit::put(after.expose().as_bytes(), section, key, new);
            after = put.map_err(|why| refused(&self.config, section, key, why))?;
        }
        Ok((before, after))
    }

    /// Writes what is to be written: the file beside the configuration first, which is only looked at when the
    /// component starts.
    pub(super) fn write(&self) -> Result<(), Error> {
        if let Some(token) = &self.token_file {
            let owner = fs::metadata(&self.config).map_err(Error::file(&self.config))?;
            // The component has to read it, and reads its configuration; nobody else has to write it.
            let (mode, path) = (owner.mode() & 0o644, self.registration_file());
            durable::write_for(&path, token.expose().as_bytes(), mode, Some((owner.uid(), owner.gid())))
                .map_err(Error::file(&path))?;
        }
        let (before, after) = self.edited()?;
        if before != after {
            replace(&self.config, &after)?;
        }
        Ok(())
    }
}

/// Removes what is left of a used registration token beside and in a component's configuration; what was
/// removed, in words.
pub(super) fn clean(config: &Path, section: &str) -> Result<Vec<String>, Error> {
    let mut removed = Vec::new();
    let file = held::registration_file(config);
    if durable::remove(&file).map_err(Error::file(&file))? {
        removed.push(held::REGISTRATION_FILE.to_owned());
    }
    let before = read(config)?;
    match yaml_edit::remove(before.expose().as_bytes(), section, KEY) {
        Ok(after) => {
            replace(config, &after)?;
            removed.push(format!("{section}.{KEY}"));
        }
        Err(Refusal::NoKey) => {}
        Err(why) => return Err(refused(config, section, KEY, why)),
    }
    Ok(removed)
}

fn refused(config: &Path, section: &str, key: &str, why: Refusal) -> Error {
    Error::NotEditable { path: config.to_owned(), why: format!("{section}.{key}: {why}") }
}

/// The key of a registration token in its component's section.
pub(super) const KEY: &str = "registration_token";

fn read(path: &Path) -> Result<Secret, Error> {
    let data = fs::symlink_metadata(path).map_err(Error::file(path))?;
    if data.is_symlink() {
        let why = "it is a link, and would be a file afterwards".to_owned();
        return Err(Error::NotEditable { path: path.to_owned(), why });
    }
    let bytes = durable::read(path, LIMIT).map_err(Error::file(path))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Secret::new(text)),
        Err(_) => Err(Error::NotEditable { path: path.to_owned(), why: Refusal::NotText.to_string() }),
    }
}

/// Replaces a file that is there, owner and mode kept.
fn replace(path: &Path, text: &Secret) -> Result<(), Error> {
    let data = fs::metadata(path).map_err(Error::file(path))?;
    let (mode, owner) = (data.permissions().mode() & 0o7777, (data.uid(), data.gid()));
    durable::write_for(path, text.expose().as_bytes(), mode, Some(owner)).map_err(Error::file(path))
}

/// What is to be changed on this node for these diagnoses.
pub(super) fn cases(installed: &Installed, diagnoses: &[Diagnosis], intent: &RepairIntent) -> Result<Vec<Case>, Error> {
    let mut cases = Vec::new();
    let (agent, proxies) = (installed.agent(), installed.proxies());
    let (agent, proxies) = (agent.map_err(Error::Configuration)?, proxies.map_err(Error::Configuration)?);
    for one in diagnoses {
        let proxy = proxies.iter().find(|config| config.path == one.config);
        let case = |cure, edits, token_file, manager| Case {
            component: one.component,
            container: one.container,
            config: one.config.clone(),
            section: proxy.map(|config| config.section.clone()),
            cure,
            edits,
            token_file,
            old_manager: agent.as_ref().and_then(|config| address(&config.manager_hostnames, config.manager_port)),
            manager,
        };
        if let Some(config) = agent.as_ref().filter(|config| config.path == one.config) {
            let mut edits = Vec::new();
            let edit = |key, value| Edit { section: "manager".into(), key, value };
            let is_bad = one.cure == Cure::ManagerToken;
            match &intent.manager_token {
                None if is_bad => return Err(no_token(one, Kind::Manager)),
                // A token that may be right gives way only to one that somebody asks for now.
                Some(offered) if is_bad || (offered.asked && config.token.as_ref() != Some(&offered.value)) => {
                    edits.push(edit("token", Value::Text(offered.value.clone())));
                }
                _ => {}
            }
            let mut manager = address(&config.manager_hostnames, config.manager_port);
            if let Some(offered) = intent.manager.as_ref().filter(|offered| offered.asked || manager.is_none()) {
                let wanted = &offered.value;
                if !config.manager_hostnames.iter().any(|name| name.eq_ignore_ascii_case(&wanted.host)) {
                    edits.push(edit("hostnames", Value::Text(Secret::new(wanted.host.clone()))));
                }
                if let Some(port) = wanted.port.filter(|port| config.manager_port.unwrap_or(443) != *port) {
                    edits.push(edit("public_port", Value::Number(port.into())));
                }
                manager = Some(HostPort { host: wanted.host.clone(), port: wanted.port.or(config.manager_port) });
            }
            if !edits.is_empty() {
                cases.push(case(Cure::ManagerToken, edits, None, manager));
            }
            continue;
        }
        let Some(config) = proxy else { continue };
        let manager = address(&config.api_hostnames, config.api_port);
        match (one.cure, &intent.registration) {
            (Cure::Register, None) => return Err(no_token(one, Kind::Registration)),
            (Cure::Register, Some(token)) => {
                let edit = Edit { section: config.section.clone(), key: KEY, value: Value::Text(token.clone()) };
                let edits = if intent.method.writes_yaml() { vec![edit] } else { Vec::new() };
                cases.push(case(one.cure, edits, intent.method.writes_file().then(|| token.clone()), manager));
            }
            (Cure::Clean, _) => cases.push(case(one.cure, Vec::new(), None, manager)),
            _ => {}
        }
    }
    Ok(cases)
}

fn no_token(one: &Diagnosis, kind: Kind) -> Error {
    Error::NoToken { container: one.container, kind, story: one.story.clone().map(Story) }
}

/// The first of the manager's names, and its port.
pub(super) fn address(names: &[String], port: Option<u16>) -> Option<HostPort> {
    let name = names.first()?;
    // A name may bring its port with it.
    let (host, own) = match name.rsplit_once(':') {
        Some((host, own)) if !host.contains(':') || host.ends_with(']') => (host, own.parse().ok()),
        _ => (name.as_str(), None),
    };
    Some(HostPort { host: host.trim_matches(['[', ']']).to_owned(), port: own.or(port) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_beside_the_configuration_is_its_owners_and_nobody_elses_to_write() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("kasmguac.app.config.yaml");
        fs::write(&config, "kasmguac:\n  id: 1 # me\n").unwrap();
        for (mode, wanted) in [(0o600, 0o600), (0o640, 0o640), (0o666, 0o644)] {
            fs::set_permissions(&config, fs::Permissions::from_mode(mode)).unwrap();
            let token = Secret::new("kZ7TokenTokenTokenQ9");
            let edit = Edit { section: "kasmguac".into(), key: KEY, value: Value::Text(token.clone()) };
            let case = Case {
                component: "guac",
                container: "kasm_guac",
                config: config.clone(),
                section: Some("kasmguac".into()),
                cure: Cure::Register,
                edits: vec![edit],
                token_file: Some(token),
                manager: None,
                old_manager: None,
            };
            case.write().unwrap();
            let data = fs::metadata(case.registration_file()).unwrap();
            assert_eq!(data.mode() & 0o7777, wanted);
            assert_eq!(data.uid(), fs::metadata(&config).unwrap().uid());
            assert_eq!(fs::read_to_string(case.registration_file()).unwrap(), "kZ7TokenTokenTokenQ9");
            assert_eq!(clean(&config, "kasmguac").unwrap(), [held::REGISTRATION_FILE, "kasmguac.registration_token"]);
            assert_eq!(fs::read_to_string(&config).unwrap(), "kasmguac:\n  id: 1 # me\n");
            assert_eq!(fs::metadata(&config).unwrap().mode() & 0o7777, mode);
        }
    }

    #[test]
    fn a_configuration_that_is_a_link_is_not_made_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real.yaml"), directory.path().join("link.yaml"));
        fs::write(&real, "a:\n  registration_token: x\n  b: c\n").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(matches!(clean(&link, "a"), Err(Error::NotEditable { .. })));
    }

    #[test]
    fn a_managers_name_may_bring_its_port() {
        let host = |name: &str, port| address(&[name.to_owned()], port).unwrap().to_string();
        assert_eq!(host("m.example", Some(8443)), "m.example:8443");
        assert_eq!(host("m.example:4443", Some(443)), "m.example:4443");
        assert_eq!(host("[fd00::1]:4443", None), "[fd00::1]:4443");
        assert_eq!(host("fd00::1", Some(443)), "[fd00::1]:443");
        assert_eq!(address(&[], None), None);
    }
}
