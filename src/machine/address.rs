//! This node's own address: the one its manager and its users reach it by.

use crate::error::{Exit, Explain};
use crate::intent::{AddressChoice, CloudAddress};
use nix::net::if_::InterfaceFlags;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// An address, and how it came to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The address or name, as Kasm's `--public-hostname` takes it.
    pub address: String,
    /// Why this one, as a phrase: `the route to the manager (10.0.0.1) leaves there, on eth0`.
    pub why: String,
    /// Further addresses that could have been meant, as `10.0.0.6 on eth1`.
    pub others: Vec<String>,
    /// What is odd about it, where something is.
    pub warning: Option<String>,
}

impl Found {
    /// The whole story in one line: address, reason, alternatives.
    pub fn story(&self) -> String {
        match self.others.is_empty() {
            true => format!("{}: {}", self.address, self.why),
            false => format!("{}: {}; also there: {}", self.address, self.why, self.others.join(", ")),
        }
    }
}

/// One address of one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// The interface's name.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
}

/// Why no address was found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel has no route to any of the manager's addresses.
    #[error("no route leads to the manager at {manager}, so this machine's own address cannot be found")]
    NoRoute {
        /// The manager's addresses, joined by commas.
        manager: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The address is to be found by the route to the manager, but where the manager is is not known.
    #[error("this machine's own address cannot be found while the manager's address is unknown")]
    ManagerUnknown,
    /// There is no such interface.
    #[error("there is no network interface {name} (there are: {known})")]
    NoInterface {
        /// The name asked for.
        name: String,
        /// Those that exist, joined by commas.
        known: String,
    },
    /// The interface has no address that others could reach.
    #[error("network interface {name} has no address that others can reach{has}")]
    NoAddress {
        /// The interface.
        name: String,
        /// What it has, as ` (only …)`; may be empty.
        has: String,
    },
    /// The address is one that only the cloud knows; [`super::cloud::address`] asks for it.
    #[error("this machine's own address ({0}) is known to its cloud only")]
    Cloud(CloudAddress),
    /// The kernel does not tell the interfaces.
    #[error("the network interfaces cannot be listed")]
    List(#[source] io::Error),
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::NoRoute { .. } => "machine.no-route",
            Error::ManagerUnknown => "machine.manager-unknown",
            Error::NoInterface { .. } => "machine.no-interface",
            Error::NoAddress { .. } => "machine.no-address",
            Error::Cloud(_) => "machine.address-of-cloud",
            Error::List(_) => "machine.interfaces",
        }
    }

    fn help(&self) -> String {
        let given = "or give the address itself (-p ADDRESS, or agent.address)";
        match self {
            Error::NoRoute { .. } => {
                format!("see `ip route`: the network must be up before the installation starts; {given}")
            }
            Error::ManagerUnknown => format!("give the manager's address (-m, or manager.address), {given}"),
            Error::NoInterface { .. } => format!("name one that exists, {given}"),
            Error::NoAddress { name, .. } => {
                format!("see `ip address show {name}`; bring it up with an address, {given}")
            }
            Error::Cloud(_) | Error::List(_) => "give the address itself (-p ADDRESS, or agent.address)".into(),
        }
    }

    fn exit(&self) -> Exit {
        Exit::Preflight
    }
}

/// Finds the address. `manager` are the manager's addresses and `port` its port; both matter only to
/// [`AddressChoice::Auto`]. Nothing is sent.
pub fn find(choice: &AddressChoice, manager: &[IpAddr], port: u16) -> Result<Found, Error> {
    match choice {
        AddressChoice::Given(address) => {
            Ok(Found { address: address.clone(), why: "as given".into(), others: Vec::new(), warning: None })
        }
        AddressChoice::Cloud(method) => Err(Error::Cloud(*method)),
        AddressChoice::Interface(name) => by_interface(name, &locals()?),
        AddressChoice::Auto => {
            let (remote, source) = route_source(manager, port)?;
            // Only to name the interface and the alternatives: the answer itself stands without it.
            Ok(by_route(remote, source, &locals().unwrap_or_default()))
        }
    }
}

/// Every address of every interface that is up, in the kernel's order; interfaces without an address are
/// not among them.
pub fn locals() -> Result<Vec<Local>, Error> {
    let addresses = nix::ifaddrs::getifaddrs().map_err(|errno| Error::List(errno.into()))?;
    Ok(addresses
        .filter(|entry| entry.flags.contains(InterfaceFlags::IFF_UP))
        .filter_map(|entry| {
            let storage = entry.address?;
            let address = match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
                (Some(v4), _) => IpAddr::V4(v4.ip()),
                (_, Some(v6)) => IpAddr::V6(v6.ip()),
                _ => return None,
            };
            Some(Local { interface: entry.interface_name, address })
        })
        .collect())
}

fn interface_names() -> Vec<String> {
    let mut names: Vec<String> =
        nix::ifaddrs::getifaddrs().map(|all| all.map(|entry| entry.interface_name).collect()).unwrap_or_default();
    names.sort();
    names.dedup();
    names
}

/// The manager's address that was taken, and the source address the kernel would use towards it. IPv4
/// goes first: a host with a half-working IPv6 is far more common than the reverse.
fn route_source(manager: &[IpAddr], port: u16) -> Result<(IpAddr, IpAddr), Error> {
    let mut ordered = manager.to_vec();
    ordered.sort_by_key(IpAddr::is_ipv6);
    let mut failure = None;
    for &remote in &ordered {
        match source_towards(SocketAddr::new(remote, port)) {
            Ok(source) => return Ok((remote, source)),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        None => Err(Error::ManagerUnknown),
        Some(source) => {
            let manager = ordered.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
            Err(Error::NoRoute { manager, source })
        }
    }
}

/// Connecting a UDP socket makes the kernel choose the route and with it the source address (ip(7)); no
/// packet leaves.
fn source_towards(remote: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(remote)?;
    Ok(socket.local_addr()?.ip())
}

fn by_route(remote: IpAddr, source: IpAddr, locals: &[Local]) -> Found {
    let interface = locals.iter().find(|local| local.address == source).map(|local| local.interface.as_str());
    let place = interface.map(|name| format!(", on {name}")).unwrap_or_default();
    let warning = source.is_loopback().then(|| {
        format!(
            "{source} is this machine's loopback address, because the manager is at {remote}: no other machine can \
                 reach it"
        )
    });
    Found {
        address: source.to_string(),
        why: format!("the route to the manager ({remote}) leaves there{place}"),
        others: others(source, locals),
        warning,
    }
}

fn by_interface(name: &str, locals: &[Local]) -> Result<Found, Error> {
    let here: Vec<&Local> = locals.iter().filter(|local| local.interface == name).collect();
    let global = here.iter().find(|local| is_global(local.address));
    let loopback = here.iter().find(|local| local.address.is_loopback());
    let Some(taken) = global.or(loopback) else {
        let known = interface_names();
        if here.is_empty() && !known.iter().any(|known| known == name) {
            return Err(Error::NoInterface { name: name.to_owned(), known: known.join(", ") });
        }
        let only = here.iter().map(|local| local.address.to_string()).collect::<Vec<_>>().join(", ");
        let has = if only.is_empty() { String::new() } else { format!(" (only {only})") };
        return Err(Error::NoAddress { name: name.to_owned(), has });
    };
    let warning = taken
        .address
        .is_loopback()
        .then(|| format!("{} is this machine's loopback address: no other machine can reach it", taken.address));
    let count = here.iter().filter(|local| is_global(local.address)).count();
    let which = if count > 1 { "the first address of" } else { "the address of" };
    Ok(Found {
        address: taken.address.to_string(),
        why: format!("{which} {name}, as asked"),
        others: others(taken.address, &here.into_iter().cloned().collect::<Vec<_>>()),
        warning,
    })
}

fn others(taken: IpAddr, locals: &[Local]) -> Vec<String> {
    locals
        .iter()
        .filter(|local| local.address != taken && is_global(local.address))
        .map(|local| format!("{} on {}", local.address, local.interface))
        .collect()
}

/// Neither loopback nor link-local nor unspecified: others may be able to reach it.
fn is_global(address: IpAddr) -> bool {
    let local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(local || address.is_loopback() || address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(interface: &str, address: &str) -> Local {
        Local { interface: interface.into(), address: address.parse().unwrap() }
    }

    #[test]
    fn with_several_addresses_the_story_says_which_was_taken_and_why() {
        let locals = [
            local("lo", "127.0.0.1"),
            local("eth0", "10.0.0.5"),
            local("eth0", "fe80::1"),
            local("eth1", "192.168.7.2"),
            local("eth0", "fd00::5"),
        ];
        let found = by_route("10.0.9.1".parse().unwrap(), "10.0.0.5".parse().unwrap(), &locals);
        insta::assert_snapshot!(found.story(), @"10.0.0.5: the route to the manager (10.0.9.1) leaves there, on eth0; also there: 192.168.7.2 on eth1, fd00::5 on eth0");
        assert_eq!(found.warning, None);
    }

    #[test]
    fn an_interfaces_first_address_that_others_can_reach_is_taken() {
        let locals = [
            local("eth0", "169.254.3.4"),
            local("eth0", "10.0.0.5"),
            local("eth1", "10.9.9.9"),
            local("eth0", "fe80::1"),
            local("eth0", "fd00::5"),
        ];
        let found = by_interface("eth0", &locals).unwrap();
        insta::assert_snapshot!(found.story(), @"10.0.0.5: the first address of eth0, as asked; also there: fd00::5 on eth0");
    }

    #[test]
    fn an_interface_with_only_link_local_addresses_is_refused_with_what_it_has() {
        let error = by_interface("eth9", &[local("eth9", "fe80::1"), local("eth0", "10.0.0.5")]).unwrap_err();
        insta::assert_snapshot!(error, @"network interface eth9 has no address that others can reach (only fe80::1)");
        assert_eq!(error.reason(), "machine.no-address");
    }

    #[test]
    fn loopback_is_taken_only_where_nothing_else_is_and_with_a_warning() {
        let found = by_interface("lo", &[local("lo", "127.0.0.1"), local("eth0", "10.0.0.5")]).unwrap();
        assert_eq!(found.address, "127.0.0.1");
        insta::assert_snapshot!(found.warning.unwrap(), @"127.0.0.1 is this machine's loopback address: no other machine can reach it");
    }
}
