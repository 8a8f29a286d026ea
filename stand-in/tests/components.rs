//! Components of the stand-in release register with the stand-in manager by themselves, and both go wrong as
//! real ones do (`docs/kasm-facts.md`, 5).

mod bench;

use bench::{Bench, REGISTRATION, guac, managed, text};
use kasm_stand_in::manager::{Behaviour, Issue, Manager, Registry, jwt};
use kasm_stand_in::tls;
use std::fs;
use std::time::Duration;

const FILES: [(&str, &str, &str, u64); 3] = [
    ("guac", "kasmguac.app.config.yaml", "kasm_guac", 80),
    ("rdp_gateway", "passthrough.app.config.yaml", "kasm_rdp_gateway", 90),
    ("rdp_https_gateway", "rdp_https_gateway.app.config.yaml", "kasm_rdp_https_gateway", 90),
];

fn manager(registry: Registry) -> Manager {
    let registry = Registry { registration_token: Some(REGISTRATION.into()), ..registry };
    let behaviour = Behaviour { registry, ..Behaviour::default() };
    Manager::start(Some(tls::self_signed(&["127.0.0.1"]).config), behaviour)
}

/// Installs a guac node of this version that registers with this manager.
fn installed(version: &str, manager: &Manager) -> Bench {
    let bench = Bench::new(&managed(version));
    let output = bench.run("install.sh", &guac(&manager.address().to_string()));
    assert!(output.status.success(), "{}", text(&output));
    bench
}

#[test]
fn every_component_registers_and_keeps_a_token_of_its_class_and_id() {
    for version in ["1.16.1", "1.17.0", "1.18.1"] {
        let manager = manager(Registry::default());
        let bench = installed(version, &manager);
        for (directory, file, container, class) in FILES {
            let yaml = bench.proxy(directory, file);
            let id = bench::value(&yaml, "id").replace('-', "");
            assert_eq!(id.len(), 32, "{yaml}");
            let claims = jwt::verified(&bench::value(&yaml, "auth_token")).unwrap();
            assert_eq!((&claims["connection_proxy_id"], &claims["authorizations"][0]), (&id.into(), &class.into()));
            assert!(claims["exp"].as_i64().unwrap() > jwt::now());
            assert!(yaml.contains("public_jwt_cert: ") && yaml.contains("-----BEGIN CERTIFICATE-----"), "{yaml}");
            assert!(yaml.ends_with("  allow_self_signed_cert: true\n"), "{yaml}");
            assert!(!yaml.contains("registration_token"), "{yaml}");
            assert_eq!(bench.outcome(container), "0");
        }
        assert_eq!(manager.registrations().iter().filter(|asked| asked.granted).count(), 3);
    }
}

#[test]
fn a_refused_component_fails_and_says_the_managers_words() {
    let expired = jwt::sign(&serde_json::json!({ "exp": jwt::now() - 60 }), jwt::Signer::Manager);
    let no_jwt = "OtherOtherOther9".to_owned();
    let foreign = jwt::sign(&serde_json::json!({ "exp": jwt::now() + 600 }), jwt::Signer::Another);
    for (token, words) in [
        (expired, "The JWT token has expired."),
        (no_jwt, "Error while decoding token: Not enough segments"),
        (foreign, "Error while decoding token: Signature verification failed"),
    ] {
        let manager = manager(Registry::default());
        let bench = Bench::new(&managed("1.18.1"));
        let mut args = guac(&manager.address().to_string());
        *args.iter_mut().find(|arg| *arg == REGISTRATION).unwrap() = token.clone();
        assert!(bench.run("install.sh", &args).status.success(), "the installer knows nothing of it");
        assert_eq!(bench.outcome("kasm_guac"), "1");
        assert!(bench.installed("log/kasm_guac.log").contains(words), "{}", bench.installed("log/kasm_guac.log"));
        assert!(bench.proxy("guac", "kasmguac.app.config.yaml").contains(&token), "it is tried again");
        assert_eq!(manager.registrations().iter().filter(|asked| asked.granted).count(), 0);
        assert_eq!(manager.registrations().len(), 6, "two tries each");
    }
}

#[test]
fn a_manager_that_is_down_is_asked_so_often_and_no_more() {
    let manager = manager(Registry::default());
    manager.take_down(true);
    let bench = installed("1.18.1", &manager);
    assert_eq!(bench.outcome("kasm_rdp_gateway"), "1");
    assert!(bench.installed("log/kasm_rdp_gateway.log").contains("curl: "));
    manager.take_down(false);
    assert_eq!(bench.component("kasm_rdp_gateway"), 0);
    assert_eq!(bench.outcome("kasm_rdp_gateway"), "0");
}

#[test]
fn tokens_can_be_wrong_in_every_way_the_manager_gives_them_out() {
    let hour = Duration::from_secs(3600);
    for (issue, verdict) in [
        (Issue::Expired(hour), Ok(true)),
        (Issue::WrongClass, Ok(false)),
        (Issue::OtherComponent, Ok(false)),
        (Issue::OtherKey, Err("Signature verification failed")),
        (Issue::False, Err("Not enough segments")),
    ] {
        let manager = manager(Registry { issue, ..Registry::default() });
        let bench = installed("1.17.0", &manager);
        let yaml = bench.proxy("guac", "kasmguac.app.config.yaml");
        let found = jwt::verified(&bench::value(&yaml, "auth_token"));
        assert_eq!(found.map(|claims| claims["exp"].as_i64().unwrap() < jwt::now()), verdict, "{issue:?}");
    }
    let manager = manager(Registry { issue: Issue::NoCertificate, ..Registry::default() });
    let yaml = installed("1.17.0", &manager).proxy("guac", "kasmguac.app.config.yaml");
    assert!(!yaml.contains("BEGIN CERTIFICATE") && yaml.ends_with("  allow_self_signed_cert: true\n"), "{yaml}");
}

#[test]
fn an_expired_token_is_refreshed_since_1_18_and_only_for_a_while() {
    let expired = Registry { issue: Issue::Expired(Duration::from_secs(3600)), ..Registry::default() };
    for (version, grace, code) in [("1.18.1", 7200, 0), ("1.18.1", 60, 1), ("1.17.0", 7200, 1)] {
        let manager = manager(expired.clone());
        let bench = installed(version, &manager);
        let grace = Duration::from_secs(grace);
        manager.deal(Registry { issue: Issue::Good, grace, ..expired.clone() });
        assert_eq!(bench.component("kasm_guac"), code, "{version} {grace:?}");
        let token = bench::value(&bench.proxy("guac", "kasmguac.app.config.yaml"), "auth_token");
        assert_eq!(jwt::verified(&token).unwrap()["exp"].as_i64().unwrap() > jwt::now(), code == 0);
        let log = bench.installed("log/kasm_guac.log");
        let words = "Token has been expired beyond the configured refresh period";
        assert_eq!(log.contains(words), version == "1.18.1" && code == 1, "{log}");
    }
}

#[test]
fn a_locked_out_component_takes_a_registration_token_from_its_file_or_its_configuration() {
    let expired = Registry { issue: Issue::Expired(Duration::from_secs(3600)), ..Registry::default() };
    let manager = manager(expired.clone());
    let bench = installed("1.18.1", &manager);
    let registration_token = Some(REGISTRATION.to_owned());
    manager.deal(Registry { registration_token, grace: Duration::ZERO, ..Registry::default() });
    let again = bench.root().join("opt/kasm/current/conf/app/guac/registration_token.txt");
    fs::write(&again, format!("{REGISTRATION}\n")).unwrap();
    assert_eq!(bench.component("kasm_guac"), 0);
    assert!(!again.exists(), "deleted after use");
    assert_eq!(bench.component("kasm_guac"), 0, "a good token is left alone");

    let path = "opt/kasm/current/conf/app/rdp_gateway/passthrough.app.config.yaml";
    assert_eq!(bench.component("kasm_rdp_gateway"), 1);
    let yaml = fs::read_to_string(bench.root().join(path)).unwrap();
    let yaml = yaml.replace("\n\napi:", &format!("\n  registration_token: {REGISTRATION}\n\napi:"));
    fs::write(bench.root().join(path), yaml).unwrap();
    assert_eq!(bench.component("kasm_rdp_gateway"), 0);
    assert!(!bench.proxy("rdp_gateway", "passthrough.app.config.yaml").contains("registration_token"));
}

#[test]
fn a_value_that_is_no_token_at_all_helps_nobody() {
    let manager = manager(Registry::default());
    let bench = installed("1.18.1", &manager);
    let path = bench.root().join("opt/kasm/current/conf/app/guac/kasmguac.app.config.yaml");
    let yaml = fs::read_to_string(&path).unwrap();
    let token = bench::value(&yaml, "auth_token");
    fs::write(&path, yaml.replace(&token, "\"false\"")).unwrap();
    assert_eq!(bench.component("kasm_guac"), 1);
    assert!(bench.installed("log/kasm_guac.log").contains("Not enough segments"));
}

#[test]
fn a_heartbeat_with_another_manager_token_is_refused() {
    let registry = Registry { manager_token: Some("RightRightRight1".into()), ..Registry::default() };
    let manager = manager(registry);
    for (token, refused) in [("RightRightRight1", false), ("WrongWrongWrong9", true)] {
        let bench = Bench::new(&managed("1.18.1"));
        let address = manager.address().to_string();
        let args = ["-S", "agent", "-e", "-p", "10.0.0.5", "-m", &address, "-M", token, "-i", "id-1", "-H"];
        assert!(bench.run("install.sh", &args.map(str::to_owned)).status.success());
        assert_eq!(bench.outcome("kasm_agent"), "0");
        assert_eq!(bench.installed("log/kasm_agent.log").contains("ERROR: Invalid manager token"), refused);
    }
}
