//! Names, without the C library: a static glibc must not load the host's name services, and musl's
//! resolver gives up on a name whose AAAA answers NXDOMAIN.
//!
//! hosts(5) first, then the servers and search domains of resolv.conf(5); systemd-resolved's stub
//! (127.0.0.53) is such a server. Both files are looked at again for each lookup, because at boot they
//! appear late. Below a scratch root without these files the machine's own are used.

use crate::paths::Paths;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// How long one lookup may take in all: less than the connect timeout, so that a name server that does
/// not answer is named as the cause.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(8);
/// How long one name server is waited for.
const SERVER_TIMEOUT: Duration = Duration::from_secs(3);
/// No hosts or resolv.conf file is read further.
const MAX_FILE: u64 = 1 << 20;

/// Why a name has no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// It cannot be a name.
    #[error("{host:?} is not a host name")]
    NotAName {
        /// What was given.
        host: String,
    },
    /// A name server says that there is no such name.
    #[error("the name {host} does not exist, says {asked}")]
    NoSuchName {
        /// The name.
        host: String,
        /// Who was asked.
        asked: String,
    },
    /// The name is there but has no address.
    #[error("the name {host} has no address, says {asked}")]
    NoAddress {
        /// The name.
        host: String,
        /// Who was asked.
        asked: String,
    },
    /// Nobody answered.
    #[error("the name {host} cannot be resolved: no answer from {asked}")]
    NoAnswer {
        /// The name.
        host: String,
        /// Who was asked.
        asked: String,
    },
    /// The name server refused or answered nonsense.
    #[error("the name {host} cannot be resolved by {asked}: {why}")]
    Failed {
        /// The name.
        host: String,
        /// Who was asked.
        asked: String,
        /// Its answer.
        why: String,
    },
}

impl ResolveError {
    /// True if the same question may have another answer later. Also true where the name does not exist:
    /// at boot the right name server may not be known yet.
    pub fn may_pass(&self) -> bool {
        !matches!(self, ResolveError::NotAName { .. })
    }
}

/// A host's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Never empty.
    pub addresses: Vec<IpAddr>,
    /// Who told them: `name server 127.0.0.53`, `/etc/hosts`; `None` where nobody had to be asked.
    pub told_by: Option<String>,
}

/// Resolves one host, once. An address resolves to itself.
pub async fn resolve(paths: &Paths, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
    Names::new(paths).lookup(host).await
}

/// The resolver of an HTTP client.
#[derive(Clone)]
pub struct Names(Arc<Inner>);

struct Inner {
    paths: Paths,
    port: u16,
    current: Mutex<Option<Current>>,
}

#[derive(Clone)]
struct Current {
    stamp: Option<(SystemTime, u64)>,
    resolver: TokioResolver,
    asked: String,
}

impl Names {
    /// A resolver that reads these paths. Nothing is read yet.
    pub fn new(paths: &Paths) -> Names {
        Names::at_port(paths, 53)
    }

    fn at_port(paths: &Paths, port: u16) -> Names {
        Names(Arc::new(Inner { paths: paths.clone(), port, current: Mutex::new(None) }))
    }

    /// The addresses of a host, never an empty list.
    pub async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        self.find(host, LOOKUP_TIMEOUT).await.map(|found| found.addresses)
    }

    /// The addresses of a host, and who told them, within this time and at most 8 s.
    pub async fn find(&self, host: &str, longest: Duration) -> Result<Found, ResolveError> {
        let own = |addresses| Ok(Found { addresses, told_by: None });
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse() {
            return own(vec![address]);
        }
        if !is_name(host) {
            return Err(ResolveError::NotAName { host: host.chars().take(300).collect() });
        }
        let plain = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        // RFC 6761, 6.3: never asked of the network.
        if plain == "localhost" || plain.ends_with(".localhost") {
            return own(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let known = read(&self.own_or_machine(Paths::hosts)).map(|text| in_hosts(&text, &plain)).unwrap_or_default();
        if !known.is_empty() {
            return Ok(Found { addresses: known, told_by: Some("/etc/hosts".into()) });
        }
        self.ask(host, longest.min(LOOKUP_TIMEOUT)).await
    }

    async fn ask(&self, host: &str, longest: Duration) -> Result<Found, ResolveError> {
        let Current { resolver, asked, .. } = self.current(host)?;
        let host = host.to_owned();
        let error = match tokio::time::timeout(longest, resolver.lookup_ip(host.as_str())).await {
            Ok(Ok(found)) => {
                let addresses: Vec<IpAddr> = found.iter().collect();
                if !addresses.is_empty() {
                    return Ok(Found { addresses, told_by: Some(asked) });
                }
                ResolveError::NoAddress { host, asked }
            }
            Err(_) | Ok(Err(NetError::Timeout)) => ResolveError::NoAnswer { host, asked },
            Ok(Err(error)) if error.is_nx_domain() => ResolveError::NoSuchName { host, asked },
            Ok(Err(error)) if error.is_no_records_found() => ResolveError::NoAddress { host, asked },
            Ok(Err(error)) => ResolveError::Failed { host, asked, why: error.to_string() },
        };
        // Negative answers are not remembered, and the next lookup reads resolv.conf again.
        *self.lock() = None;
        Err(error)
    }

    fn current(&self, host: &str) -> Result<Current, ResolveError> {
        let path = self.own_or_machine(Paths::resolv_conf);
        let stamp = fs::metadata(&path).ok().and_then(|meta| Some((meta.modified().ok()?, meta.len())));
        let mut slot = self.lock();
        if let Some(current) = slot.as_ref().filter(|current| current.stamp == stamp) {
            return Ok(current.clone());
        }
        let fail = |why: String| ResolveError::Failed { host: host.to_owned(), asked: "resolv.conf".into(), why };
        let text = read(&path);
        let (config, options, asked) =
            configuration(text.as_deref(), self.0.port).map_err(|error| fail(error.to_string()))?;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = builder.build().map_err(|error| fail(error.to_string()))?;
        Ok(slot.insert(Current { stamp, resolver, asked }).clone())
    }

    fn own_or_machine(&self, file: fn(&Paths) -> PathBuf) -> PathBuf {
        let own = file(&self.0.paths);
        // A link that leads nowhere yet is our own all the same: so does systemd-resolved's before it is up.
        if own.symlink_metadata().is_ok() { own } else { file(&Paths::default()) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Current>> {
        // What is kept there is replaced as a whole: a panic elsewhere cannot have left half of it.
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let names = self.clone();
        Box::pin(async move {
            let found = names.lookup(name.as_str()).await?;
            let addresses: Addrs = Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

fn read(path: &std::path::Path) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Letters, digits, dashes, dots; underscores too, which the DNS has nothing against.
fn is_name(host: &str) -> bool {
    let plain = host.strip_suffix('.').unwrap_or(host);
    !plain.is_empty()
        && plain.len() <= 253
        && plain.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

/// The addresses that hosts(5) has for a lower-case name, in the order of the file.
fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
        if words.any(|word| word.strip_suffix('.').unwrap_or(word).eq_ignore_ascii_case(name))
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

/// What resolv.conf(5) says (`None`: it is not there), and how to name the servers in an error. Without any
/// server the one on this machine is meant, as the C library has it.
fn configuration(file: Option<&str>, port: u16) -> Result<(ResolverConfig, ResolverOpts, String), NetError> {
    let text = file.unwrap_or_default();
    let has_server = text.lines().any(|line| line.split_whitespace().next() == Some("nameserver"));
    let with_server = if has_server { text.to_owned() } else { format!("{text}\nnameserver 127.0.0.1\n") };
    let (config, mut options) = hickory_resolver::system_conf::parse_resolv_conf(with_server)?;
    let (domain, search, mut servers) = config.into_parts();
    let servers_shown = servers.iter().map(|server| server.ip.to_string()).collect::<Vec<_>>().join(", ");
    servers.iter_mut().for_each(|server| at_port(server, port));
    let asked = match (has_server, file) {
        (true, _) => format!("name server {servers_shown}"),
        (false, Some(_)) => format!("name server {servers_shown} (resolv.conf names none)"),
        (false, None) => format!("name server {servers_shown} (there is no /etc/resolv.conf)"),
    };
    options.timeout = options.timeout.min(SERVER_TIMEOUT);
    options.attempts = options.attempts.clamp(1, 3);
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Never;
    Ok((ResolverConfig::from_parts(domain, search, servers), options, asked))
}

fn at_port(server: &mut NameServerConfig, port: u16) {
    server.connections.iter_mut().for_each(|connection| connection.port = port);
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
