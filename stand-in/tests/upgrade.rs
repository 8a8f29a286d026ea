//! upgrade.sh of the stand-in keeps what a real one keeps, in both layouts, and can be stopped anywhere
//! (`docs/kasm-facts.md`, 3 and 4).

mod bench;

use bench::{Bench, REGISTRATION, guac, managed, text, value};
use kasm_stand_in::manager::{Behaviour, Issue, Manager, Registry, jwt};
use kasm_stand_in::release::{Fault, Options, Point};
use kasm_stand_in::{systemd, tls};
use std::fs;

const FILES: [(&str, &str); 3] = [
    ("guac", "kasmguac.app.config.yaml"),
    ("rdp_gateway", "passthrough.app.config.yaml"),
    ("rdp_https_gateway", "rdp_https_gateway.app.config.yaml"),
];

fn manager() -> Manager {
    let registry = Registry { registration_token: Some(REGISTRATION.into()), ..Registry::default() };
    let behaviour = Behaviour { registry, ..Behaviour::default() };
    Manager::start(Some(tls::self_signed(&["127.0.0.1"]).config), behaviour)
}

fn install(bench: &Bench, manager: &Manager) {
    let output = bench.run("install.sh", &guac(&manager.address().to_string()));
    assert!(output.status.success(), "{}", text(&output));
}

fn upgrade(bench: &Bench) -> (i32, String) {
    let output = bench.run("upgrade.sh", &["--role", "guac", "--registration-token", REGISTRATION]);
    (output.status.code().unwrap_or(-1), text(&output))
}

fn ids(bench: &Bench) -> Vec<String> {
    FILES.iter().map(|(directory, file)| value(&bench.proxy(directory, file), "id")).collect()
}

#[test]
fn a_node_that_is_upgraded_twice_over_both_layouts_keeps_who_it_is_and_registers_anew() {
    let manager = manager();
    let mut bench = Bench::new(&managed("1.16.1"));
    install(&bench, &manager);
    let before = ids(&bench);
    let certificate = bench.root().join("opt/kasm/current/certs/kasm_nginx.crt");
    fs::write(&certificate, "mine").unwrap();
    for version in ["1.17.0", "1.18.1"] {
        bench.next(&managed(version));
        let (code, said) = upgrade(&bench);
        assert_eq!(code, 0, "{said}");
        assert!(said.ends_with("Upgrade complete\n"), "{said}");
        assert_eq!((bench.version().as_str(), ids(&bench)), (version, before.clone()));
        for (directory, file) in FILES {
            let yaml = bench.proxy(directory, file);
            let claims = jwt::verified(&value(&yaml, "auth_token")).unwrap();
            assert_eq!(claims["connection_proxy_id"], value(&yaml, "id").replace('-', ""));
            assert!(!yaml.contains("registration_token"), "{yaml}");
            assert!(yaml.contains("zone: zone-1") && yaml.contains("server_address: 10.0.0.6"), "{yaml}");
        }
        assert_eq!(fs::read_to_string(&certificate).unwrap(), "mine");
        let images: Vec<_> = bench.containers().into_iter().map(|(_, image)| image).collect();
        assert_eq!(images.len(), 4);
        assert!(images.iter().all(|image| image.ends_with(version)), "{images:?}");
    }
    assert!(bench.root().join("opt/kasm/1.16.1/conf/app/kasmguac.app.config.yaml").exists());
    assert_eq!(manager.registrations().len(), 9);
}

#[test]
fn an_agent_keeps_its_id_and_token_over_both_layouts() {
    let mut bench = Bench::new(&Options { version: "1.16.1".into(), ..Options::default() });
    let args = ["-S", "agent", "-e", "-p", "10.0.0.5", "-m", "kasm.example.com", "-M", REGISTRATION, "-H"];
    assert!(bench.run("install.sh", &args).status.success());
    let id = value(&bench.installed("conf/app/agent.app.config.yaml"), "server_id");
    for version in ["1.17.0", "1.18.1"] {
        bench.next(&Options { version: version.into(), ..Options::default() });
        let output = bench.run("upgrade.sh", &["--role", "agent"]);
        assert!(output.status.success(), "{}", text(&output));
        let yaml = bench.installed("conf/app/agent/agent.app.config.yaml");
        assert_eq!((value(&yaml, "server_id"), value(&yaml, "token")), (id.clone(), REGISTRATION.to_owned()));
        assert!(yaml.contains("hostnames: ['kasm.example.com']") && yaml.contains("provider: unset"), "{yaml}");
    }
}

#[test]
fn a_component_that_cannot_register_keeps_its_old_token() {
    let manager = manager();
    let mut bench = Bench::new(&managed("1.17.0"));
    install(&bench, &manager);
    let token = value(&bench.proxy("guac", FILES[0].1), "auth_token");
    bench.next(&managed("1.18.1"));
    manager.take_down(true);
    assert_eq!(upgrade(&bench).0, 0, "upgrade.sh knows nothing of it");
    let yaml = bench.proxy("guac", FILES[0].1);
    assert_eq!(value(&yaml, "auth_token"), token);
    assert!(yaml.contains("registration_token: ") && yaml.contains("BEGIN CERTIFICATE"), "{yaml}");
    assert_eq!(bench.outcome("kasm_guac"), "1");
}

#[test]
fn the_upgrade_of_1_16_0_leaves_false_and_a_port_where_tokens_were() {
    let manager = manager();
    let mut bench = Bench::new(&managed("1.15.0"));
    install(&bench, &manager);
    bench.next(&Options { false_bug: true, ..managed("1.16.0") });
    assert_eq!(upgrade(&bench).0, 0);
    let yaml = |number: usize| bench.installed(&format!("conf/app/{}", FILES[number].1));
    assert!(jwt::verified(&value(&yaml(0), "auth_token")).is_ok());
    assert!(yaml(1).contains("  auth_token: \"false\"\n"), "{}", yaml(1));
    assert!(yaml(2).contains("  auth_token: 443\n"), "{}", yaml(2));
    for container in ["kasm_rdp_gateway", "kasm_rdp_https_gateway"] {
        assert_eq!(bench.outcome(container), "1");
        assert!(bench.installed(&format!("log/{container}.log")).contains("Not enough segments"));
    }
}

/// What `current` points to, and how many containers are left, where an upgrade goes wrong at a point.
fn stops_at(points: &[(Point, &str, usize)]) {
    for &(at, version, containers) in points {
        let plain = |version: &str| Options { version: version.into(), ..Options::default() };
        let mut bench = Bench::new(&plain("1.17.0"));
        assert!(bench.run("install.sh", &guac("kasm.example.com")).status.success());
        let fault = Fault::Fail { at, words: "No space left on device".into(), code: 28 };
        bench.next(&Options { faults: vec![fault], ..plain("1.18.1") });
        let (code, said) = upgrade(&bench);
        assert_eq!((code, said.contains("No space left on device")), (28, true), "{at:?}: {said}");
        assert_eq!((bench.version().as_str(), bench.containers().len()), (version, containers), "{at:?}");
    }
}

#[test]
fn an_upgrade_that_stops_before_the_links_leaves_the_old_version_in_use() {
    let old = |at, containers| (at, "1.17.0", containers);
    stops_at(&[old(Point::Before, 4), old(Point::Stopped, 0), old(Point::Wiped, 0), old(Point::Files, 0)]);
}

#[test]
fn an_upgrade_that_stops_after_the_links_leaves_the_new_version_in_use() {
    let new = |at, containers| (at, "1.18.1", containers);
    stops_at(&[new(Point::Linked, 0), new(Point::Carried, 0), new(Point::Starting, 0), new(Point::Started, 4)]);
}

#[test]
fn a_script_that_cannot_stop_stops_an_upgrade_before_anything_was_changed() {
    let fault = Fault::Fail { at: Point::Stopping, words: "cannot stop".into(), code: 1 };
    let mut bench = Bench::new(&Options { version: "1.17.0".into(), faults: vec![fault], ..Options::default() });
    assert!(bench.run("install.sh", &guac("kasm.example.com")).status.success());
    bench.next(&Options::default());
    assert_eq!(upgrade(&bench).0, 1);
    assert_eq!((bench.version().as_str(), bench.containers().len()), ("1.17.0", 4));
    assert!(!bench.root().join("opt/kasm/1.18.1").exists());
}

#[test]
fn since_1_18_services_are_a_unit_where_systemd_runs() {
    let plain = |version: &str| Options { version: version.into(), ..Options::default() };
    let mut bench = Bench::new(&plain("1.17.0"));
    bench.systemctl = Some(systemd::install(&bench.root()));
    let asked = |bench: &Bench, wanted: &str| systemd::calls(&bench.root()).iter().any(|call| call == wanted);
    assert!(bench.run("install.sh", &guac("kasm.example.com")).status.success());
    assert_eq!((bench.containers().len(), asked(&bench, "start kasm")), (4, false));

    bench.next(&plain("1.18.0"));
    assert_eq!(upgrade(&bench).0, 0);
    assert!(asked(&bench, "enable kasm.service") && asked(&bench, "start kasm") && !asked(&bench, "stop kasm"));
    assert!(bench.containers().iter().all(|(_, image)| image.ends_with("1.18.0")));

    bench.next(&plain("1.18.1"));
    assert_eq!(upgrade(&bench).0, 0);
    assert!(asked(&bench, "stop kasm"));
    assert!(bench.containers().iter().all(|(_, image)| image.ends_with("1.18.1")));
    assert_eq!(bench.containers().len(), 4);
}

#[test]
fn components_can_register_a_while_after_the_upgrade_is_done() {
    use kasm_stand_in::release::Components;
    use std::time::Duration;
    let manager = manager();
    let later = |version: &str| Options {
        components: Some(Components { after: Duration::from_millis(500), ..Components::default() }),
        ..managed(version)
    };
    let bench = Bench::new(&later("1.18.1"));
    install(&bench, &manager);
    let containers = ["kasm_guac", "kasm_rdp_gateway", "kasm_rdp_https_gateway"];
    while containers.iter().any(|name| bench.outcome(name) != "0") {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(jwt::verified(&value(&bench.proxy("guac", FILES[0].1), "auth_token")).is_ok());
}

#[test]
fn an_upgrade_from_expired_tokens_makes_good_ones() {
    let manager = manager();
    let registry = Registry { registration_token: Some(REGISTRATION.into()), ..Registry::default() };
    let hour = std::time::Duration::from_secs(3600);
    manager.deal(Registry { issue: Issue::Expired(hour), ..registry.clone() });
    let mut bench = Bench::new(&managed("1.17.0"));
    install(&bench, &manager);
    manager.deal(registry);
    bench.next(&managed("1.18.1"));
    assert_eq!(upgrade(&bench).0, 0);
    let claims = jwt::verified(&value(&bench.proxy("guac", FILES[0].1), "auth_token")).unwrap();
    assert!(claims["exp"].as_i64().unwrap() > jwt::now());
}
