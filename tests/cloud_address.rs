//! This node's address as its cloud has it, against recorded answers.

mod common;

use common::Scene;
use kasm_bootstrap::deadline::Deadline;
use kasm_bootstrap::error::{Explain, Failure};
use kasm_bootstrap::intent::{AddressChoice, CloudAddress, MetadataOptions};
use kasm_bootstrap::machine::address::{self, Found};
use kasm_bootstrap::machine::cloud::{self, Error};
use kasm_bootstrap::machine::facts::Facts;
use kasm_bootstrap::observe::Silent;
use kasm_bootstrap::paths::Paths;
use kasm_bootstrap::preflight::{self, Mode, Verdict};
use kasm_stand_in::metadata::{Behaviour, Metadata};
use kasm_stand_in::release::Options;
use std::fs;
use std::time::Duration;

const AZURE: &str = "/metadata/instance/network/interface/0/ipv4/ipAddress/0";
const AZURE_QUERY: &str = "?api-version=2021-02-01&format=text";
const GCP: &str = "/computeMetadata/v1/instance/network-interfaces/0";
const VNICS: &str = r#"[{"macAddr": "02:00:17:00:00:01", "privateIp": "10.0.3.6", "subnetCidrBlock": "10.0.3.0/24",
    "vlanTag": 11, "vnicId": "ocid1.vnic.oc1.x"}, {"privateIp": "10.0.9.9"}]"#;

fn method(word: &str) -> CloudAddress {
    CloudAddress::parse(word).unwrap()
}

/// The service of the cloud that a method belongs to.
fn service(word: &str) -> Metadata {
    let path = |rest: &str| format!("{AZURE}/{rest}{AZURE_QUERY}");
    Metadata::start(match word.split('-').next().unwrap() {
        "ec2" => Behaviour::ec2(None),
        "gcp" => Behaviour::other(
            Some(("Metadata-Flavor", "Google")),
            &[(&format!("{GCP}/ip"), "10.128.0.2"), (&format!("{GCP}/access-configs/0/external-ip"), "203.0.113.2")],
        ),
        "azure" => Behaviour::other(
            Some(("Metadata", "true")),
            &[(&path("privateIpAddress"), "10.1.0.4"), (&path("publicIpAddress"), "203.0.113.4")],
        ),
        "oci" => Behaviour::other(Some(("Authorization", "Bearer Oracle")), &[("/opc/v2/vnics/", VNICS)]),
        "digitalocean" => Behaviour::other(
            None,
            &[
                ("/metadata/v1/interfaces/private/0/ipv4/address", "10.132.0.5\n"),
                ("/metadata/v1/interfaces/public/0/ipv4/address", "203.0.113.5"),
            ],
        ),
        _ => Behaviour::other(
            None,
            &[("/latest/meta-data/local-ipv4", "192.168.7.7"), ("/latest/meta-data/public-ipv4", "203.0.113.7")],
        ),
    })
}

/// A machine whose firmware names nobody, or this vendor.
fn machine(vendor: &str) -> (tempfile::TempDir, Paths) {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::below(root.path());
    fs::create_dir_all(paths.dmi_dir()).unwrap();
    fs::write(paths.dmi_dir().join("sys_vendor"), vendor).unwrap();
    (root, paths)
}

async fn ask(paths: &Paths, word: &str, service: &Metadata) -> Result<Found, Error> {
    let options = MetadataOptions { endpoint: service.url(), ..MetadataOptions::default() };
    cloud::address(paths, method(word), &options, Deadline::after(Duration::from_secs(30)), &Silent).await
}

fn said(error: Error, service: &Metadata) -> String {
    let failure = Failure::from(error);
    format!("{} [{}]\nhelp: {}", failure.message, failure.reason, failure.help)
        .replace(&service.url(), "http://ENDPOINT")
}

#[tokio::test]
async fn every_cloud_is_asked_its_own_way() {
    let (_root, paths) = machine("QEMU");
    let mut found = Vec::new();
    for (word, _) in CloudAddress::ALL {
        let service = service(word);
        found.push(format!("{word} {}", ask(&paths, word, &service).await.unwrap().story()));
    }
    insta::assert_snapshot!(found.join("\n"), @"
    ec2-private 172.31.5.9: the metadata of Amazon EC2 has it as the private one
    ec2-public 203.0.113.9: the metadata of Amazon EC2 has it as the public one
    gcp-private 10.128.0.2: the metadata of Google Compute Engine has it as the private one
    gcp-public 203.0.113.2: the metadata of Google Compute Engine has it as the public one
    azure-private 10.1.0.4: the metadata of Microsoft Azure has it as the private one
    azure-public 203.0.113.4: the metadata of Microsoft Azure has it as the public one
    oci-private 10.0.3.6: the metadata of Oracle Cloud has it as the private one
    digitalocean-private 10.132.0.5: the metadata of DigitalOcean has it as the private one
    digitalocean-public 203.0.113.5: the metadata of DigitalOcean has it as the public one
    openstack-private 192.168.7.7: the metadata of OpenStack has it as the private one
    openstack-public 203.0.113.7: the metadata of OpenStack has it as the public one
    ");
}

#[tokio::test]
async fn a_machine_without_a_public_address_is_told_so() {
    let (_root, paths) = machine("QEMU");
    let empty = format!("{AZURE}/publicIpAddress{AZURE_QUERY}");
    let services = [
        // Not there at all, and there but empty.
        ("gcp-public", Behaviour::other(Some(("Metadata-Flavor", "Google")), &[])),
        ("azure-public", Behaviour::other(Some(("Metadata", "true")), &[(&empty, "")])),
        ("openstack-public", Behaviour::other(None, &[("/latest/meta-data/public-ipv4", "\n")])),
        ("oci-private", Behaviour::other(Some(("Authorization", "Bearer Oracle")), &[("/opc/v2/vnics/", "[]")])),
    ];
    let mut all = Vec::new();
    for (word, behaviour) in services {
        let service = Metadata::start(behaviour);
        all.push(said(ask(&paths, word, &service).await.unwrap_err(), &service));
    }
    insta::assert_snapshot!(all.join("\n"), @"
    Google Compute Engine says that this machine has no public address [machine.cloud-no-address]
    help: give this machine a public address, or ask for the private one, or write the address itself
    Microsoft Azure says that this machine has no public address [machine.cloud-no-address]
    help: give this machine a public address, or ask for the private one, or write the address itself
    OpenStack says that this machine has no public address [machine.cloud-no-address]
    help: give this machine a public address, or ask for the private one, or write the address itself
    Oracle Cloud says that this machine has no private address [machine.cloud-no-address]
    help: write auto, interface:NAME, or the address itself
    ");
}

#[tokio::test]
async fn another_cloud_than_the_firmwares_is_refused_before_anybody_is_asked() {
    let service = service("gcp-private");
    let mut all = Vec::new();
    for vendor in ["Amazon EC2", "KubeVirt"] {
        let (_root, paths) = machine(vendor);
        all.push(said(ask(&paths, "gcp-private", &service).await.unwrap_err(), &service));
    }
    assert!(service.requests().is_empty());
    insta::assert_snapshot!(all.join("\n"), @"
    agent.address is gcp-private, but this machine's firmware says that it runs on Amazon EC2 [machine.other-cloud]
    help: write the method of that cloud, auto, or the address itself
    agent.address is gcp-private, but this machine's firmware says that it runs on KubeVirt [machine.other-cloud]
    help: write auto or interface:NAME: there is no metadata service here to ask
    ");
}

#[tokio::test]
async fn answers_that_are_no_address_are_refused_and_bounded() {
    let (_root, paths) = machine("DigitalOcean");
    let path = "/metadata/v1/interfaces/public/0/ipv4/address";
    let long = "x".repeat(70_000);
    let mut all = Vec::new();
    for body in ["<html>Please log in: \u{1b}[31m and a lot more of this</html>", &long] {
        let service = Metadata::start(Behaviour::other(None, &[(path, body)]));
        all.push(said(ask(&paths, "digitalocean-public", &service).await.unwrap_err(), &service));
    }
    let service = Metadata::start(Behaviour::other(Some(("x", "y")), &[]));
    all.push(said(ask(&paths, "digitalocean-public", &service).await.unwrap_err(), &service));
    insta::assert_snapshot!(all.join("\n"), @r"
    the metadata service of DigitalOcean (http://ENDPOINT) answers /metadata/v1/interfaces/public/0/ipv4/address with `<html>Please log in: \u{1b}[31m and a lot mor`, which is no address [machine.metadata-answer]
    help: look for something that answers in its place; see metadata.endpoint
    the metadata service of DigitalOcean (http://ENDPOINT) answers /metadata/v1/interfaces/public/0/ipv4/address with more than 65536 bytes [machine.metadata-answer]
    help: look for something that answers in its place; see metadata.endpoint
    the metadata service of DigitalOcean (http://ENDPOINT) answers /metadata/v1/interfaces/public/0/ipv4/address with status 403 [machine.metadata-answer]
    help: look for something that answers in its place; see metadata.endpoint
    ");
}

#[test]
fn the_machine_itself_does_not_know_what_its_cloud_knows() {
    let error = address::find(&AddressChoice::Cloud(method("ec2-private")), &[], 443).unwrap_err();
    assert_eq!(error.reason(), "machine.address-of-cloud");
}

/// The check `address` alone.
async fn checked(paths: &Paths, word: &str, endpoint: String, mode: Mode) -> Verdict {
    let mut context = preflight::Context::new(paths.clone(), Facts::gather(paths));
    context.address = Some(AddressChoice::Cloud(method(word)));
    context.metadata = MetadataOptions { endpoint, ..MetadataOptions::default() };
    context.mode = mode;
    let checks: Vec<_> = preflight::checks().into_iter().filter(|check| check.name == "address").collect();
    preflight::run(&checks, &context).await.results.remove(0).verdict
}

#[tokio::test]
async fn the_check_asks_the_same_and_says_the_same() {
    let (_root, paths) = machine("Amazon EC2");
    let service = service("ec2-public");
    let verdict = checked(&paths, "ec2-public", service.url(), Mode::Refuse).await;
    assert!(matches!(&verdict, Verdict::Pass(text) if text.starts_with("203.0.113.9: ")), "{verdict:?}");
    let verdict = checked(&paths, "gcp-public", service.url(), Mode::Wait).await;
    assert!(matches!(&verdict, Verdict::Fail { .. }), "{verdict:?}");
}

#[test]
fn an_installation_is_given_what_the_cloud_says_and_no_proxy_stands_between() {
    let scene = Scene::new(&Options::default());
    let service = Metadata::start_at("127.0.0.2:0".parse().unwrap(), Behaviour::ec2(None));
    let mut install = scene.install(&["-p", "ec2-private"]);
    install.env("KASM_BOOTSTRAP_METADATA_ENDPOINT", service.url());
    // Everybody else is on 127.0.0.1; nobody listens at the proxy.
    install.env("HTTP_PROXY", "http://127.0.0.1:1").env("NO_PROXY", "127.0.0.1");
    let (code, out, err) = common::spoken(&common::run(&mut install));
    assert_eq!(code, 0, "{out}{err}");
    let installed = fs::read_to_string(scene.root.join("opt/kasm/current/conf/app/agent/agent.app.config.yaml"));
    assert!(installed.unwrap().contains("172.31.5.9"));
    assert!(err.contains("172.31.5.9: the metadata of Amazon EC2 has it as the private one"), "{err}");
}
