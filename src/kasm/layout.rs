//! What is installed below `/opt/kasm`, and whether it is what was asked for (docs/kasm-facts.md, 4).

use super::error::Error;
use super::yaml::{self, Document};
use crate::durable;
use crate::intent::{HostPort, Intent, Role};
use crate::paths::Paths;
use crate::secret::Secret;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A component with a configuration file of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Component {
    /// Its name, and its directory below `conf/app` from 1.17 on.
    pub component: &'static str,
    /// Its configuration file's name.
    pub file: &'static str,
    /// The container that reads it.
    pub container: &'static str,
    /// The number its auth token has to have among its `authorizations`; 0 for the agent, which has none.
    pub authorization: u64,
}

/// The agent.
pub const AGENT: Component =
    Component { component: "agent", file: "agent.app.config.yaml", container: "kasm_agent", authorization: 0 };

/// The components of a connection proxy.
pub const PROXIES: [Component; 3] = [
    Component { component: "guac", file: "kasmguac.app.config.yaml", container: "kasm_guac", authorization: 80 },
    Component {
        component: "rdp_gateway",
        file: "passthrough.app.config.yaml",
        container: "kasm_rdp_gateway",
        authorization: 90,
    },
    Component {
        component: "rdp_https_gateway",
        file: "rdp_https_gateway.app.config.yaml",
        container: "kasm_rdp_https_gateway",
        authorization: 90,
    },
];

/// The web server in front of them, which has no configuration of its own among theirs.
pub const PROXY: &str = "kasm_proxy";

/// Every container of a role.
fn all_containers(role: Role) -> Vec<&'static str> {
    let components = match role {
        Role::Agent => &[AGENT][..],
        Role::Guac => &PROXIES,
    };
    components.iter().map(|component| component.container).chain([PROXY]).collect()
}

/// The Kasm that `/opt/kasm/current` points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The name of its directory, which is its version; `None` where `current` is no link.
    pub version: Option<String>,
    /// Its directory, below the root.
    pub dir: PathBuf,
}

/// What `agent.app.config.yaml` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    /// The file.
    pub path: PathBuf,
    /// `agent.server_id`.
    pub server_id: Option<String>,
    /// `agent.public_hostname`.
    pub public_hostname: Option<String>,
    /// `agent.public_port`.
    pub public_port: Option<u16>,
    /// `agent.provider`.
    pub provider: Option<String>,
    /// `manager.hostnames`.
    pub manager_hostnames: Vec<String>,
    /// `manager.public_port`.
    pub manager_port: Option<u16>,
    /// `manager.token`.
    pub token: Option<Secret>,
}

/// What one of the three files of a connection proxy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyConfig {
    /// The file.
    pub path: PathBuf,
    /// Whose it is: `guac`, `rdp_gateway`, `rdp_https_gateway`.
    pub component: &'static str,
    /// The container that reads it.
    pub container: &'static str,
    /// The number its auth token has to have among its `authorizations`.
    pub authorization: u64,
    /// What the component's own section of the file is called: `kasmguac`, `rdp-gateway`.
    pub section: String,
    /// `<component>.id`.
    pub id: Option<String>,
    /// `<component>.server_address`.
    pub server_address: Option<String>,
    /// `<component>.server_port`.
    pub server_port: Option<u16>,
    /// `<component>.zone`.
    pub zone: Option<String>,
    /// `<component>.registration_token`; gone once the component is registered.
    pub registration_token: Option<Secret>,
    /// `api.hostnames`.
    pub api_hostnames: Vec<String>,
    /// `api.port`.
    pub api_port: Option<u16>,
    /// `api.auth_token`, a JWT once the component is registered.
    pub auth_token: Option<Secret>,
    /// `api.public_jwt_cert`, PEM.
    pub public_jwt_cert: Option<String>,
}

/// Whom the files of an installed node name as its manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The file.
    pub file: PathBuf,
    /// Where in it: `manager.hostnames`, `api.hostnames`.
    pub key: &'static str,
    /// The names, as they are written there.
    pub names: Vec<String>,
    /// The port.
    pub port: Option<u16>,
}

impl Upstream {
    /// The first name with its port; `None` where none is a name or an address.
    pub fn address(&self) -> Option<HostPort> {
        let name = self.names.first()?.trim();
        let (host, port) = match name.rsplit_once(':') {
            _ if name.parse::<std::net::Ipv6Addr>().is_ok() => (name, None),
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (name, None),
        };
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        let is_host = (1..=253).contains(&host.len()) && host.chars().all(allowed);
        let port = port.or(self.port).filter(|port| *port != 443);
        is_host.then(|| HostPort { host: host.to_owned(), port })
    }
}

impl Installed {
    /// Looks at `/opt/kasm/current`: a link (relative, or absolute and then read below the root), or a
    /// directory. `None` if there is none, or if it leads nowhere.
    pub fn read(paths: &Paths) -> Option<Installed> {
        let mut place = paths.kasm_current();
        let mut linked = false;
        // A chain of links longer than this is a circle.
        for _ in 0..8 {
            let kind = fs::symlink_metadata(&place).ok()?.file_type();
            if !kind.is_symlink() {
                let name = place.file_name().map(|name| name.to_string_lossy().into_owned());
                return kind.is_dir().then(|| Installed { version: name.filter(|_| linked), dir: place.clone() });
            }
            linked = true;
            let target = fs::read_link(&place).ok()?;
            let target: PathBuf = target.components().collect(); // without a slash at the end
            place = match target.is_absolute() {
                // An installer that knows of the root may have put it into the link.
                true if target.starts_with(paths.root()) => target,
                true => paths.at(&target),
                false => place.parent()?.join(target),
            };
        }
        None
    }

    /// True if this is the version that was asked for. A build number more or less makes no other version.
    pub fn is_version(&self, wanted: &str) -> bool {
        let longer = |long: &str, short: &str| {
            long.strip_prefix(short).and_then(|rest| rest.strip_prefix('.')).is_some_and(|build| !build.contains('.'))
        };
        let dots = |text: &str| text.matches('.').count();
        self.version.as_deref().is_some_and(|version| {
            version == wanted
                || (dots(wanted) == 2 && longer(version, wanted))
                || (dots(version) == 2 && longer(wanted, version))
        })
    }

    /// The containers this release starts for the role. Older releases do not have all of them: what
    /// the installed compose file does not name is not expected.
    pub fn containers(&self, role: Role) -> Vec<&'static str> {
        let all = all_containers(role);
        let compose = self.compose();
        let expected: Vec<&str> = all.iter().copied().filter(|name| is_named(&compose, name)).collect();
        if expected.is_empty() { all } else { expected }
    }

    /// True if the installed compose file names this container.
    pub fn names_container(&self, name: &str) -> bool {
        is_named(&self.compose(), name)
    }

    fn compose(&self) -> String {
        let compose = read_bounded(&self.dir.join("docker/docker-compose.yaml")).unwrap_or_default();
        String::from_utf8_lossy(&compose).into_owned()
    }

    /// The agent's configuration; `None` if it is in neither place.
    pub fn agent(&self) -> Result<Option<AgentConfig>, Error> {
        let Some((path, yaml)) = self.config(AGENT)? else { return Ok(None) };
        Ok(Some(AgentConfig {
            path,
            server_id: yaml.text("agent", "server_id"),
            public_hostname: yaml.text("agent", "public_hostname"),
            public_port: yaml.port("agent", "public_port"),
            provider: yaml.text("agent", "provider"),
            manager_hostnames: yaml.list("manager", "hostnames"),
            manager_port: yaml.port("manager", "public_port"),
            token: yaml.secret("manager", "token"),
        }))
    }

    /// The connection proxy's configurations, as many of the three as are there.
    pub fn proxies(&self) -> Result<Vec<ProxyConfig>, Error> {
        let mut found = Vec::new();
        for proxy in PROXIES {
            let Some((path, yaml)) = self.config(proxy)? else { continue };
            // The component's section is called differently in each file; it is the one beside `api`.
            let section = yaml
                .sections()
                .find(|section| *section != "api" && (yaml.has(section, "zone") || yaml.has(section, "server_address")))
                .unwrap_or(proxy.component)
                .to_owned();
            found.push(ProxyConfig {
                path,
                component: proxy.component,
                container: proxy.container,
                authorization: proxy.authorization,
                id: yaml.text(&section, "id"),
                server_address: yaml.text(&section, "server_address"),
                server_port: yaml.port(&section, "server_port"),
                zone: yaml.text(&section, "zone"),
                registration_token: yaml.secret(&section, "registration_token"),
                api_hostnames: yaml.list("api", "hostnames"),
                api_port: yaml.port("api", "port"),
                auth_token: yaml.secret("api", "auth_token"),
                public_jwt_cert: yaml.text("api", "public_jwt_cert"),
                section,
            });
        }
        Ok(found)
    }

    /// Whom each component's file names as the manager; a file that is not there is left out.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub fn upstreams(&self, role: Role) -> Result<Vec<Upstream>, Error> {
        Ok(match role {
            Role::Agent => {
                let upstream = |agent: AgentConfig| Upstream {
                    file: agent.path,
                    key: "manager.hostnames",
                    names: agent.manager_hostnames,
                    port: agent.manager_port,
                };
                self.agent()?.map(upstream).into_iter().collect()
            }
            Role::Guac => {
                let upstream = |proxy: ProxyConfig| Upstream {
                    file: proxy.path,
                    key: "api.hostnames",
                    names: proxy.api_hostnames,
                    port: proxy.api_port,
                };
                self.proxies()?.into_iter().map(upstream).collect()
            }
        })
    }

    /// How the installed configuration differs from what was asked for, one sentence's part each; empty
    /// if it does not. `address` is this node's own, as resolved; it is compared
    /// only where it is known. Tokens are compared, never told.
    pub fn differences(&self, paths: &Paths, intent: &Intent, address: Option<&str>) -> Result<Vec<String>, Error> {
        match intent.role {
            Role::Agent => Ok(match self.agent()? {
                Some(config) => agent_differences(&config, paths, intent, address),
                None => vec![format!("the agent's {} is not there", AGENT.file)],
            }),
            Role::Guac => {
                let proxies = self.proxies()?;
                let expected = self.containers(Role::Guac);
                let mut differences = Vec::new();
                for Component { file, container, .. } in PROXIES {
                    if expected.contains(&container) && !proxies.iter().any(|proxy| proxy.container == container) {
                        differences.push(format!("the connection proxy's {file} is not there"));
                    }
                }
                for proxy in &proxies {
                    differences.extend(proxy_differences(proxy, paths, intent, address));
                }
                Ok(differences)
            }
        }
    }

    /// A configuration file in the layout from 1.17 on, or in the one before.
    fn config(&self, component: Component) -> Result<Option<(PathBuf, Document)>, Error> {
        let app = self.dir.join("conf/app");
        for path in [app.join(component.component).join(component.file), app.join(component.file)] {
            match read_bounded(&path) {
                Ok(bytes) => {
                    let document = Document::read(&bytes).map_err(|why| Error::NotYaml { path: path.clone(), why })?;
                    return Ok(Some((path, document)));
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(source) => return Err(Error::Unreadable { path, source }),
            }
        }
        Ok(None)
    }
}

/// Collects differences of one file.
struct Compare<'a> {
    file: String,
    intent: &'a Intent,
    differences: Vec<String>,
}

impl Compare<'_> {
    fn new<'a>(path: &Path, paths: &Paths, intent: &'a Intent) -> Compare<'a> {
        Compare { file: paths.shown(path).display().to_string(), intent, differences: Vec::new() }
    }

    fn text(&mut self, key: &str, found: Option<&str>, wanted: Option<&str>) {
        let Some(wanted) = wanted else { return };
        match found {
            Some(found) if found.eq_ignore_ascii_case(wanted) => {}
            Some(found) => self.differences.push(format!("{key} in {} is {found}, not {wanted}", self.file)),
            None => self.differences.push(format!("{key} in {} is not set, it should be {wanted}", self.file)),
        }
    }

    fn port(&mut self, key: &str, found: Option<u16>, wanted: Option<u16>) {
        let text = |port: Option<u16>| port.map(|port| port.to_string());
        self.text(key, text(found).as_deref(), text(wanted).as_deref());
    }

    fn manager(&mut self, key: &str, found: &[String]) {
        let address = &self.intent.manager.address;
        let is_it =
            |name: &String| name.eq_ignore_ascii_case(&address.host) || name.eq_ignore_ascii_case(&address.to_string());
        if !found.iter().any(is_it) {
            let found = if found.is_empty() { "is empty".to_owned() } else { format!("is {}", found.join(", ")) };
            self.differences.push(format!("{key} in {} {found}, not {}", self.file, address.host));
        }
    }
}

fn agent_differences(config: &AgentConfig, paths: &Paths, intent: &Intent, address: Option<&str>) -> Vec<String> {
    let mut compare = Compare::new(&config.path, paths, intent);
    compare.text("agent.public_hostname", config.public_hostname.as_deref(), address);
    compare.port("agent.public_port", config.public_port, intent.proxy_port);
    compare.text("agent.server_id", config.server_id.as_deref(), intent.agent.server_id.as_deref());
    compare.text("agent.provider", config.provider.as_deref(), intent.agent.provider.as_deref());
    compare.manager("manager.hostnames", &config.manager_hostnames);
    if config.token.as_ref() != Some(&intent.manager.token) {
        let state = if config.token.is_some() { "another one" } else { "not set" };
        compare.differences.push(format!("the manager token in {} is {state}", compare.file));
    }
    compare.differences
}

fn proxy_differences(config: &ProxyConfig, paths: &Paths, intent: &Intent, address: Option<&str>) -> Vec<String> {
    let mut compare = Compare::new(&config.path, paths, intent);
    compare.text("server_address", config.server_address.as_deref(), address);
    compare.port("server_port", config.server_port, intent.proxy_port);
    compare.text("zone", config.zone.as_deref(), intent.guac.zone.as_deref());
    compare.manager("api.hostnames", &config.api_hostnames);
    // What its auth token is worth is another question: see `held`.
    if config.registration_token.as_ref().is_some_and(|token| *token != intent.manager.token) {
        compare.differences.push(format!("the registration token in {} is another one", compare.file));
    }
    compare.differences
}

fn is_named(compose: &str, name: &str) -> bool {
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    compose.split(|c| !part_of_name(c)).any(|word| word == name)
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    durable::read(path, yaml::LIMIT as u64)
}
