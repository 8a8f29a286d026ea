//! The proof of an installed node: what it believes, what it waits for, and whom it blames.

mod signed;
#[path = "common/waits.rs"]
mod waits;

use kasm_bootstrap::deadline::Deadline;
use kasm_bootstrap::error::{Explain, Failure};
use kasm_bootstrap::health::{Error, Expectations, Ids, Proof, prove_installed};
use kasm_bootstrap::intent::{HostPort, Role};
use kasm_bootstrap::kasm::held;
use kasm_bootstrap::kasm::layout::Installed;
use kasm_bootstrap::kasm::manager::Manager;
use kasm_bootstrap::net;
use kasm_bootstrap::observe::{Observer, Silent, Wait};
use kasm_bootstrap::paths::Paths;
use kasm_bootstrap::token::Context;
use kasm_stand_in::docker::{Condition, Docker, Script};
use kasm_stand_in::manager::{Behaviour, Manager as StandIn};
use kasm_stand_in::tls;
use signed::{ID, Jwt, certificate};
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;
use tempfile::TempDir;
use waits::Waits;

const TOKEN: &str = "aVeryOpaqueToken1234";
const LONG: Duration = Duration::from_secs(60);
/// Enough for one look, and none to come.
const SHORT: Duration = Duration::from_millis(1500);

const FILES: [(&str, &str, &str); 3] = [
    ("guac/kasmguac.app.config.yaml", "kasmguac", "[80]"),
    ("rdp_gateway/passthrough.app.config.yaml", "rdp-gateway", "[90]"),
    ("rdp_https_gateway/rdp_https_gateway.app.config.yaml", "rdp-https-gateway", "[90]"),
];

/// A connection proxy that is up and registered.
struct Node {
    directory: TempDir,
    docker: Docker,
}

impl Node {
    fn guac() -> Node {
        let directory = tempfile::tempdir().unwrap();
        let docker = Docker::scripted(directory.path(), Script { looks: 0, ..Script::default() });
        let node = Node { directory, docker };
        let names = ["kasm_guac", "kasm_rdp_gateway", "kasm_rdp_https_gateway", "kasm_proxy"];
        node.start(&names);
        for (index, (_, _, authorizations)) in FILES.into_iter().enumerate() {
            node.write(index, "", &Jwt { authorizations, ..Jwt::default() }.signed());
        }
        symlink("/opt/kasm/1.18.1", node.paths().kasm_current()).unwrap();
        node
    }

    fn agent() -> Node {
        let directory = tempfile::tempdir().unwrap();
        let docker = Docker::scripted(directory.path(), Script { looks: 0, ..Script::default() });
        let node = Node { directory, docker };
        node.start(&["kasm_agent", "kasm_proxy"]);
        node.put("agent/agent.app.config.yaml", &format!("agent: {{server_id: {ID}}}\nmanager: {{token: {TOKEN}}}\n"));
        symlink("/opt/kasm/1.18.1", node.paths().kasm_current()).unwrap();
        node
    }

    fn start(&self, names: &[&str]) {
        let lines: String = names.iter().map(|name| format!("{name} image:1.18.1 2026-01-01T00:00:00Z\n")).collect();
        fs::write(self.paths().at("/run/stand-in-containers"), lines).unwrap();
    }

    fn paths(&self) -> Paths {
        Paths::below(self.directory.path())
    }

    fn put(&self, file: &str, text: &str) {
        let path = self.paths().at("/opt/kasm/1.18.1/conf/app").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A component's file: what its own section has beside, and its auth token.
    fn write(&self, index: usize, own: &str, auth: &str) {
        let (file, section, _) = FILES[index];
        let certificate: String = certificate().lines().map(|line| format!("    {line}\n")).collect();
        let text = format!(
            "{section}:\n  id: {ID}\n  zone: default\n{own}\napi:\n  hostnames: [kasm.example.com]\n  auth_token: {auth}\n  \
             public_jwt_cert: |\n{certificate}"
        );
        self.put(file, &text);
    }

    fn prove(
        &self,
        expectations: &Expectations<'_>,
        deadline: Duration,
        observer: &dyn Observer,
    ) -> Result<Proof, Error> {
        let role = if self.paths().at("/opt/kasm/1.18.1/conf/app/agent").exists() { Role::Agent } else { Role::Guac };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(prove_installed(&self.paths(), role, expectations, Deadline::after(deadline), observer))
    }

    /// What it lacks is not waited for any longer than it takes to look.
    fn lacking(&self) -> Error {
        self.prove(&impatient(), LONG, &Silent).unwrap_err()
    }
}

/// What nothing will mend is not waited for.
fn impatient() -> Expectations<'static> {
    Expectations { patience: Duration::ZERO, ..Expectations::default() }
}

fn settled(span: Duration) -> Expectations<'static> {
    Expectations { settle: span, ..Expectations::default() }
}

#[test]
fn a_registered_connection_proxy_is_proven_with_its_tokens() {
    let node = Node::guac();
    let proof = node.prove(&Expectations::default(), LONG, &Silent).unwrap();
    assert_eq!(proof.version.as_deref(), Some("1.18.1"));
    assert_eq!((proof.containers.len(), proof.tokens.len(), proof.warnings.len()), (4, 3, 0));
    assert!(proof.tokens.iter().all(|token| token.verdict.is_good()));
}

#[test]
fn tokens_that_cannot_be_right_are_told_by_place_and_reason_and_are_local_evidence() {
    let table = [
        (Jwt { expires_in: -7200, ..Jwt::default() }.signed(), "expired 2 hours ago"),
        (Jwt { authorizations: "[90]", ..Jwt::default() }.signed(), "is of the wrong class"),
        (Jwt { key: "test-only-rsa-other.key.pem", ..Jwt::default() }.signed(), "was not signed with this key"),
        (Jwt { id: "f".repeat(32), ..Jwt::default() }.signed(), "belongs to another component"),
        ("false".to_owned(), "(\"Not enough segments\")"),
        ("443".to_owned(), "(\"Not enough segments\")"),
        ("''".to_owned(), "is not there"),
    ];
    for (auth, words) in table {
        let node = Node::guac();
        node.write(0, "", &auth);
        let error = node.lacking();
        assert_eq!((error.reason(), error.exit().code()), ("health.tokens", 19), "{error}");
        assert!(error.to_string().contains(words) && !error.is_remote(), "{error}");
        assert!(
            error.to_string().contains("api.auth_token in /opt/kasm/1.18.1/conf/app/guac/kasmguac.app.config.yaml")
        );
    }
    let node = Node::guac();
    fs::remove_file(node.paths().at("/opt/kasm/1.18.1/conf/app").join(FILES[2].0)).unwrap();
    let error = node.lacking().to_string();
    assert!(error.contains("rdp_https_gateway.app.config.yaml is not there"), "{error}");
}

#[test]
fn a_registration_token_that_is_left_is_told() {
    let node = Node::guac();
    let good = Jwt { authorizations: "[90]", ..Jwt::default() }.signed();
    node.write(1, &format!("  registration_token: {TOKEN}"), &good);
    node.put("guac/registration_token.txt", TOKEN);
    let error = node.lacking();
    insta::assert_snapshot!(error, @"the tokens of this connection proxy are no good: /opt/kasm/1.18.1/conf/app/guac/registration_token.txt is still there, although the component is registered; rdp-gateway.registration_token in /opt/kasm/1.18.1/conf/app/rdp_gateway/passthrough.app.config.yaml is still there, although the component is registered");
}

#[test]
fn a_component_that_registers_late_is_waited_for_by_name() {
    let node = Node::guac();
    node.write(0, &format!("  registration_token: {TOKEN}"), "''");
    /// Registers when it is seen that it is waited for.
    struct Late<'a>(&'a Node, Waits);
    impl Observer for Late<'_> {
        fn waiting(&self, wait: &Wait) {
            self.1.waiting(wait);
            self.0.write(0, "", &Jwt::default().signed());
        }
    }
    let late = Late(&node, Waits::default());
    node.prove(&Expectations::default(), LONG, &late).unwrap();
    assert_eq!(*late.1.0.lock().unwrap(), ["the registration of guac with manager kasm.example.com: "]);
}

/// A manager of the stand-in's, and ours to ask it.
fn manager(node: &Node, behaviour: Behaviour) -> (StandIn, Manager) {
    let stand_in = StandIn::start(Some(tls::self_signed(&["127.0.0.1"]).config), behaviour);
    let address = HostPort { host: "127.0.0.1".into(), port: Some(stand_in.port()) };
    let manager = Manager::new(&node.paths(), &address, &net::Options { insecure: true, ..net::Options::default() });
    (stand_in, manager)
}

fn shown(failure: &Failure) -> String {
    let text = kasm_bootstrap::cli::answer::text(failure);
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    for word in &mut words {
        if word.starts_with("127.0.0.1:") {
            *word = word.replace(|c: char| c.is_ascii_digit(), "");
        }
    }
    words.join(" ")
}

#[test]
fn a_manager_that_refuses_is_blamed_with_the_components_words_and_one_that_is_silent_is_never_held_against_the_node() {
    let words = "2026-01-02 ERROR register_component: The JWT token has expired, token aVeryOpaqueToken1234";
    let node = Node::guac();
    node.docker.change(|script| {
        script.logs.insert("kasm_guac".into(), format!("starting\n{words}\nretrying in 5 s\n"));
        script.except.insert("kasm_guac".into(), Condition::Restarting(1));
    });
    node.write(0, &format!("  registration_token: {TOKEN}"), "''");
    let (stand_in, manager) = manager(&node, Behaviour::default());
    let expectations = || Expectations { manager: Some(&manager), ..impatient() };
    let error = node.prove(&expectations(), LONG, &Silent).unwrap_err();
    assert!(!error.is_remote());
    insta::assert_snapshot!(shown(&Failure::from(error)), @r#"
    error: guac has not registered with manager ...:, which answers and calls itself healthy; kasm_guac is restarting (exit 1) [health.not-registered]
      because: its log says "2026-01-02 ERROR register_component: The JWT token has expired, token [masked]"
    help: `docker logs kasm_guac` says what the manager answers; with another registration token (Admin UI: Settings, Global, Authentication), `kasm-bootstrap token repair` lets it register again
    "#);
    stand_in.take_down(true);
    let waits = Waits::default();
    let error = node.prove(&expectations(), Duration::from_secs(4), &waits).unwrap_err();
    assert!(error.is_remote() && error.to_string().contains("which is not reachable from here"), "{error}");
    assert_eq!((error.reason(), error.exit().code()), ("health.not-registered", 19));
    assert!(waits.0.lock().unwrap()[0].starts_with("the registration of guac with manager 127.0.0.1:"));
    // Nobody asked the manager: nothing is known of it.
    assert!(node.prove(&Expectations::default(), SHORT, &Silent).unwrap_err().is_remote());
}

#[test]
fn what_nothing_will_mend_is_not_waited_for_until_the_deadline() {
    let node = Node::guac();
    let (_stand_in, manager) = manager(&node, Behaviour::default());
    let patience = Duration::from_millis(500);
    let expectations = Expectations { manager: Some(&manager), patience, ..Expectations::default() };
    node.write(0, "", "false");
    assert_eq!(node.prove(&expectations, LONG, &Silent).unwrap_err().reason(), "health.tokens");

    node.write(0, &format!("  registration_token: {TOKEN}"), "''");
    node.docker.change(|script| drop(script.logs.insert("kasm_guac".into(), "ERROR: token refused\n".into())));
    let error = node.prove(&expectations, LONG, &Silent).unwrap_err();
    assert!(error.reason() == "health.not-registered" && !error.is_remote(), "{error}");
}

#[test]
fn a_token_that_only_this_machines_clock_calls_expired_is_good() {
    let node = Node::guac();
    node.write(0, "", &Jwt { expires_in: -7200, ..Jwt::default() }.signed());
    // The manager's clock is a day behind ours.
    let then = std::time::SystemTime::now() - Duration::from_secs(86_400);
    let date = Some(httpdate::fmt_http_date(then));
    let (_stand_in, manager) = manager(&node, Behaviour { date, ..Behaviour::default() });
    let expectations = Expectations { manager: Some(&manager), ..Expectations::default() };
    let proof = node.prove(&expectations, LONG, &Silent).unwrap();
    assert!(proof.warnings.iter().any(|warning| warning.contains("clock is")), "{:?}", proof.warnings);
}

#[test]
fn what_was_wrong_before_is_not_held_against_a_version_that_was_put_back() {
    let node = Node::guac();
    node.write(0, "", &Jwt { expires_in: -7200, ..Jwt::default() }.signed());
    let installed = Installed::read(&node.paths()).unwrap();
    let known = held::read(&installed, None, &Context::at(jiff::Timestamp::now())).unwrap();
    let expectations = Expectations { known, ..impatient() };
    assert!(node.prove(&expectations, LONG, &Silent).is_ok());
    // Another thing is.
    node.write(0, "", "false");
    assert_eq!(node.prove(&expectations, LONG, &Silent).unwrap_err().reason(), "health.tokens");
}

#[test]
fn a_node_that_is_another_one_than_before_is_told() {
    let node = Node::agent();
    let installed = Installed::read(&node.paths()).unwrap();
    let ids = Ids::of(&installed, Role::Agent).unwrap();
    assert_eq!(ids.iter().collect::<Vec<_>>(), [("agent", ID)]);
    let expectations = Expectations { ids, version: Some("1.18.1".into()), ..Expectations::default() };
    node.prove(&expectations, LONG, &Silent).unwrap();
    node.put("agent/agent.app.config.yaml", "agent: {server_id: other}\n");
    let error = node.prove(&expectations, LONG, &Silent).unwrap_err();
    insta::assert_snapshot!(error, @"the node is not who it was: the id of agent was 0f8fad5b-d9cb-469f-a165-70867728950e, and is other");
    assert_eq!((error.reason(), error.exit().code(), error.is_remote()), ("health.other-identity", 19, false));
    let other = Expectations { version: Some("1.19.0".into()), ..Expectations::default() };
    assert_eq!(node.prove(&other, LONG, &Silent).unwrap_err().reason(), "health.other-version");
}

#[test]
fn containers_are_watched_for_the_settling_time() {
    let node = Node::agent();
    let waits = Waits::default();
    let proof = node.prove(&settled(Duration::from_millis(1500)), LONG, &waits).unwrap();
    assert!(proof.settled >= Duration::from_millis(1500) && proof.warnings.is_empty());
    assert_eq!(*waits.0.lock().unwrap(), ["1.5 s without a restart: "]);
}

#[test]
fn a_container_that_is_started_again_and_again_is_told_although_each_look_finds_it_up() {
    let node = Node::agent();
    node.docker.change(|script| script.flapping = vec!["kasm_agent".into()]);
    let waits = Waits::default();
    let error = node.prove(&settled(Duration::from_secs(10)), Duration::from_secs(5), &waits).unwrap_err();
    assert_eq!((error.reason(), error.exit().code(), error.is_remote()), ("health.restarts", 19, false));
    assert!(error.to_string().starts_with("kasm_agent was started again "), "{error}");
    assert!(waits.0.lock().unwrap().iter().any(|wait| wait.contains("kasm_agent was started again")));
}

#[test]
fn one_restart_begins_the_settling_time_anew() {
    let node = Node::agent();
    /// Once it is watched, it is restarted once.
    struct Once<'a>(&'a Node, Waits);
    impl Observer for Once<'_> {
        fn waiting(&self, wait: &Wait) {
            if self.1.0.lock().unwrap().is_empty() {
                self.0.docker.restarted("kasm_proxy", 1);
            }
            self.1.waiting(wait);
        }
    }
    let once = Once(&node, Waits::default());
    node.prove(&settled(Duration::from_millis(1500)), LONG, &once).unwrap();
    let waits = once.1.0.lock().unwrap();
    assert_eq!(waits[1], "1.5 s without a restart: kasm_proxy was started again", "{waits:?}");
}

#[test]
fn a_deadline_that_comes_while_all_is_well_is_a_warning() {
    let node = Node::agent();
    let proof = node.prove(&settled(Duration::from_secs(600)), SHORT, &Silent).unwrap();
    assert!(proof.warnings[0].starts_with("the containers were watched for "), "{:?}", proof.warnings);
    assert!(proof.warnings[0].ends_with("only, not for 10 min 00 s: the time was up"), "{:?}", proof.warnings);
}
