//! This machine's own address, on this machine's own network.

use kasm_bootstrap::error::{Exit, Explain};
use kasm_bootstrap::intent::AddressChoice;
use kasm_bootstrap::machine::address::{self, Error};
use std::net::IpAddr;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn auto_takes_the_source_address_of_the_route_to_the_manager() {
    let found = address::find(&AddressChoice::Auto, &[ip("127.0.0.9")], 443).unwrap();
    assert_eq!(found.address, "127.0.0.1");
    assert!(found.why.contains("(127.0.0.9) leaves there, on lo"), "{}", found.why);
    assert!(found.warning.unwrap().contains("loopback"));
}

#[test]
fn auto_prefers_the_managers_ipv4_address() {
    let found = address::find(&AddressChoice::Auto, &[ip("::1"), ip("127.0.0.1")], 443).unwrap();
    assert_eq!(found.address, "127.0.0.1");
}

#[test]
fn auto_goes_on_to_the_next_address_where_no_route_leads_to_the_first() {
    // 255.255.255.255 cannot be connected to without SO_BROADCAST.
    let found = address::find(&AddressChoice::Auto, &[ip("255.255.255.255"), ip("127.0.0.1")], 443).unwrap();
    assert_eq!(found.address, "127.0.0.1");
}

#[test]
fn no_route_at_all_is_an_error_that_names_the_manager() {
    let error = address::find(&AddressChoice::Auto, &[ip("255.255.255.255")], 443).unwrap_err();
    assert!(matches!(error, Error::NoRoute { .. }));
    insta::assert_snapshot!(error, @"no route leads to the manager at 255.255.255.255, so this machine's own address cannot be found");
    assert_eq!((error.reason(), error.exit()), ("machine.no-route", Exit::Preflight));
}

#[test]
fn auto_without_a_manager_says_so() {
    let error = address::find(&AddressChoice::Auto, &[], 443).unwrap_err();
    assert_eq!(error.reason(), "machine.manager-unknown");
    insta::assert_snapshot!(error.help(), @"give the manager's address (-m, or manager.address), or give the address itself (-p ADDRESS, or agent.address)");
}

#[test]
fn a_given_address_stays_as_it_is() {
    let found = address::find(&AddressChoice::Given("agent.example.com".into()), &[], 443).unwrap();
    assert_eq!(found.story(), "agent.example.com: as given");
}

#[test]
fn an_interface_is_asked_for_its_address() {
    let found = address::find(&AddressChoice::Interface("lo".into()), &[], 443).unwrap();
    assert_eq!(found.address, "127.0.0.1");
    assert!(found.warning.is_some());
}

#[test]
fn an_unknown_interface_is_refused_with_the_names_of_those_there_are() {
    let error = address::find(&AddressChoice::Interface("eth77".into()), &[], 443).unwrap_err();
    assert_eq!(error.reason(), "machine.no-interface");
    let text = error.to_string();
    assert!(text.starts_with("there is no network interface eth77 (there are: "), "{text}");
    assert!(text.contains("lo"), "{text}");
}
