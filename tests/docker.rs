//! Docker's socket, imitated, and the proof that asks it.

#[path = "common/waits.rs"]
mod waits;

use kasm_bootstrap::deadline::Deadline;
use kasm_bootstrap::error::{Explain, Failure};
use kasm_bootstrap::health::{Error, Proof, prove};
use kasm_bootstrap::intent::*;
use kasm_bootstrap::kasm::docker::{self, containers};
use kasm_bootstrap::observe::{Observer, Silent, Wait};
use kasm_bootstrap::paths::Paths;
use kasm_bootstrap::secret::Secret;
use kasm_stand_in::docker::{Docker as StandIn, Script};
use kasm_stand_in::http::{Handler, Server, Stream, head, respond};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use waits::Waits;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn list(containers: &[(&str, &str, &str)]) -> String {
    let items: Vec<serde_json::Value> = containers
        .iter()
        .map(|(name, state, status)| serde_json::json!({"Names": [format!("/{name}")], "State": state, "Status": status}))
        .collect();
    serde_json::Value::from(items).to_string()
}

const UP: [(&str, &str, &str); 3] = [
    ("kasm_agent", "running", "Up 5 seconds (healthy)"),
    ("kasm_proxy", "running", "Up 5 seconds"),
    ("unrelated", "exited", "Exited (1) 3 days ago"),
];

/// Answers with each text in turn, and with the last one for ever.
fn answers(texts: Vec<String>) -> Handler {
    let count = AtomicUsize::new(0);
    Arc::new(move |_, stream: &mut dyn Stream| {
        let text = &texts[count.fetch_add(1, Ordering::SeqCst).min(texts.len() - 1)];
        respond(stream, "200 OK", &[("Content-Type", "application/json")], text.as_bytes())
    })
}

struct Root {
    directory: TempDir,
}

impl Root {
    /// An agent, installed as asked for.
    fn agent() -> Root {
        let root = Root { directory: tempfile::tempdir().unwrap() };
        let app = root.paths().at("/opt/kasm/1.16.1/conf/app");
        fs::create_dir_all(&app).unwrap();
        fs::create_dir_all(root.paths().at("/run")).unwrap();
        symlink("/opt/kasm/1.16.1", root.paths().kasm_current()).unwrap();
        let text = "agent: {public_hostname: 10.0.0.4}\nmanager: {hostnames: [kasm.example.com], token: aVeryOpaqueToken1234}\n";
        fs::write(app.join("agent.app.config.yaml"), text).unwrap();
        root
    }

    fn paths(&self) -> Paths {
        Paths::below(self.directory.path())
    }

    fn docker(&self, texts: Vec<String>) -> Server {
        Server::unix(&self.paths().docker_socket(), answers(texts))
    }

    fn prove(&self, intent: &Intent, deadline: Duration, observer: &dyn Observer) -> Result<Proof, Error> {
        block_on(prove(&self.paths(), intent, "10.0.0.4", Deadline::after(deadline), observer))
    }
}

fn intent() -> Intent {
    let release = ReleaseIntent {
        version: Some("1.16.1".into()),
        sources: vec![Source::Url("http://mirror/".into())],
        digest: Digest::Pinned("0".repeat(64)),
        minisign_key: None,
    };
    let manager = ManagerIntent {
        address: HostPort { host: "kasm.example.com".into(), port: None },
        token: Secret::new("aVeryOpaqueToken1234"),
        wait: ManagerIntent::WAIT,
    };
    Intent::new(Role::Agent, release, manager)
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_socket_with_a_path_too_long_for_an_address_is_reached_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let long = directory.path().join("d".repeat(120));
    fs::create_dir(&long).unwrap();
    // The imitation itself binds through a shorter way into the same directory.
    let short = directory.path().join("s");
    symlink(&long, &short).unwrap();
    let server = Server::unix(&short.join("docker.sock"), answers(vec![list(&UP)]));
    let found = block_on(containers(&long.join("docker.sock"))).unwrap();
    assert_eq!(found.len(), 3);
    assert_eq!(found[0].names, ["kasm_agent"]);
    let requests = server.requests();
    assert_eq!((requests[0].method.as_str(), requests[0].target.as_str()), ("GET", "/containers/json?all=1"));
}

#[test]
fn a_docker_that_is_not_there_or_talks_nonsense_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let ask = |socket: &PathBuf| block_on(containers(socket));
    assert!(matches!(ask(&socket), Err(docker::Error::NoSocket(_))));
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let refused = ask(&socket).unwrap_err();
    assert!(refused.to_string().contains("refused"), "{refused}");
    fs::remove_file(&socket).unwrap();

    let nonsense: [(&str, Handler); 4] = [
        ("no list", Arc::new(|_, stream| respond(stream, "200 OK", &[], b"{}"))),
        ("HTTP status 500", Arc::new(|_, stream| respond(stream, "500 Oops", &[], b"[]"))),
        ("not a list", Arc::new(|_, stream| respond(stream, "200 OK", &[], b"[{\"Names\": "))),
        (
            "longer than",
            Arc::new(|_, stream| {
                head(stream, "200 OK", &[], None)?;
                loop {
                    stream.write_all(&[b' '; 65536])?;
                }
            }),
        ),
    ];
    for (words, handler) in nonsense {
        let _server = Server::unix(&socket, handler);
        let error = ask(&socket).unwrap_err();
        assert!(matches!(error, docker::Error::Answer(_)) && error.to_string().contains(words), "{error}");
    }
}

#[test]
fn an_agent_is_proven_once_its_containers_are_up_and_each_change_is_told() {
    let root = Root::agent();
    let starting = list(&[("kasm_agent", "running", "Up 1 second (health: starting)"), UP[1]]);
    let _docker = root.docker(vec![list(&[]), starting.clone(), starting, list(&UP)]);
    let waits = Waits::default();
    let proof = root.prove(&intent(), LONG, &waits).unwrap();
    assert_eq!(proof.version.as_deref(), Some("1.16.1"));
    assert_eq!(proof.containers, [("kasm_agent".into(), "healthy".into()), ("kasm_proxy".into(), "running".into())]);
    assert_eq!(
        *waits.0.lock().unwrap(),
        [
            "container kasm_agent: is not there",
            "container kasm_agent: is starting, its health check has not decided yet",
        ]
    );
}

#[test]
fn containers_that_do_not_come_up_are_named_at_the_deadline() {
    let root = Root::agent();
    let sick = [
        ("kasm_agent", "restarting", "Restarting (1) 2 seconds ago"),
        ("kasm_proxy", "running", "Up 2 minutes (unhealthy)"),
    ];
    let _docker = root.docker(vec![list(&sick)]);
    let failure = Failure::from(root.prove(&intent(), Duration::from_millis(300), &Silent).unwrap_err());
    insta::assert_snapshot!(kasm_bootstrap::cli::answer::text(&failure), @r"
    error: not all containers are up: kasm_agent is restarting (exit 1), kasm_proxy is running but unhealthy [health.containers]
    help: `docker logs kasm_agent` says why; run it again once it is mended
    ");
    assert_eq!(failure.code, 19);
}

#[test]
fn a_docker_that_comes_late_is_waited_for_and_one_that_does_not_come_is_told() {
    let root = Root::agent();
    let error = root.prove(&intent(), Duration::ZERO, &Silent).unwrap_err();
    assert_eq!(error.reason(), "health.docker-unreachable");

    // It comes when its absence has been noticed.
    struct Late<'a>(&'a Root, Mutex<Option<Server>>);
    impl Observer for Late<'_> {
        fn waiting(&self, wait: &Wait) {
            assert_eq!(wait.what, "Docker");
            *self.1.lock().unwrap() = Some(self.0.docker(vec![list(&UP)]));
        }
    }
    let late = Late(&root, Mutex::default());
    assert_eq!(root.prove(&intent(), LONG, &late).unwrap().containers.len(), 2);
}

#[test]
fn nothing_is_asked_of_docker_where_nothing_was_to_be_started() {
    let root = Root::agent();
    let mut intent = intent();
    intent.installer.flags = vec!["no-start".into()];
    let proof = root.prove(&intent, Duration::ZERO, &Silent).unwrap();
    assert!(proof.not_started && proof.containers.is_empty());
}

#[test]
fn what_is_wrong_on_the_disk_is_told_at_once() {
    let root = Root::agent();
    let mut other = intent();
    other.release.version = Some("1.17.0".into());
    assert_eq!(root.prove(&other, LONG, &Silent).unwrap_err().to_string(), "Kasm 1.16.1 is installed, not 1.17.0");
    let mut other = intent();
    other.manager.token = Secret::new("anotherOpaqueToken12");
    let error = root.prove(&other, LONG, &Silent).unwrap_err();
    assert_eq!(error.reason(), "health.other-configuration");
    assert!(!error.to_string().contains("OpaqueToken"), "{error}");
    fs::remove_file(root.paths().kasm_current()).unwrap();
    let error = root.prove(&intent(), LONG, &Silent).unwrap_err();
    assert_eq!((error.reason(), error.exit().code()), ("health.not-installed", 19));
    symlink("gone", root.paths().kasm_current()).unwrap();
    assert_eq!(root.prove(&intent(), LONG, &Silent).unwrap_err().to_string(), "/opt/kasm/current leads nowhere");
}

#[test]
fn docker_tells_of_sessions_and_logs_and_does_what_it_is_asked_to() {
    let root = tempfile::tempdir().unwrap();
    let script = Script {
        looks: 0,
        logs: [("kasm_agent".to_owned(), "one\ntwo\n".to_owned())].into(),
        plugins: vec![("kasmweb/sidecar:1.2".into(), false)],
        ..Script::default()
    };
    let stand_in = StandIn::scripted(root.path(), script);
    let socket = Paths::below(root.path()).docker_socket();
    let started = "2026-01-02T03:04:05.000000006Z";
    let line = format!("kasm_agent stand-in/agent:1.18.1 {started}\n");
    fs::write(root.path().join("run/stand-in-containers"), line).unwrap();
    stand_in.add_session("alice_desktop", "a1b2c3");
    stand_in.restarted("kasm_agent", 3);

    let sessions = block_on(docker::sessions(&socket)).unwrap();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    assert_eq!((sessions[0].name.as_str(), sessions[0].kasm_id.as_str()), ("alice_desktop", "a1b2c3"));
    assert!(sessions[0].is_active());

    let before = block_on(docker::details(&socket, "kasm_agent")).unwrap();
    assert_eq!((before.restarts, before.state.as_str()), (3, "running"));
    assert_eq!(before.started.unwrap().to_string(), "2026-01-02T03:04:05.000000006Z");
    block_on(docker::restart(&socket, "kasm_agent", Duration::from_secs(10))).unwrap();
    let after = block_on(docker::details(&socket, "kasm_agent")).unwrap();
    assert!(after.restarts == 0 && after.started > before.started, "{after:?}");

    assert!(block_on(docker::logs(&socket, "kasm_agent", 100)).unwrap().ends_with("two\n"));
    for _ in 0..2 {
        block_on(docker::enable_plugin(&socket, "kasmweb/sidecar:1.2")).unwrap();
    }
    assert!(block_on(docker::plugins(&socket)).unwrap()[0].enabled);

    let unknown = [
        block_on(docker::details(&socket, "nobody")).unwrap_err(),
        block_on(docker::restart(&socket, "nobody", Duration::ZERO)).unwrap_err(),
        block_on(docker::logs(&socket, "nobody", 1)).unwrap_err(),
        block_on(docker::enable_plugin(&socket, "nobody:1")).unwrap_err(),
        block_on(docker::restart(&socket, "../../images/prune?x=", Duration::ZERO)).unwrap_err(),
    ];
    for error in unknown {
        assert!(matches!(error, docker::Error::Unknown(_)), "{error}");
    }
}

#[test]
fn dockers_refusal_is_told_in_its_own_words() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let refuses: Handler = Arc::new(|request, stream| {
        let body = match request.method.as_str() {
            "GET" => "[]",
            _ => "{\"message\": \"cannot restart: \\u001b[2Jdevice or resource busy\"}",
        };
        respond(stream, if body == "[]" { "200 OK" } else { "500 Internal Server Error" }, &[], body.as_bytes())
    });
    let _server = Server::unix(&socket, refuses);
    let error = block_on(docker::restart(&socket, "kasm_guac", Duration::ZERO)).unwrap_err();
    assert_eq!(error.to_string(), "Docker does not restart kasm_guac: cannot restart:  [2Jdevice or resource busy");
    let error = block_on(docker::enable_plugin(&socket, "a/sidecar:1")).unwrap_err();
    assert!(error.to_string().starts_with("Docker does not enable a/sidecar:1: "), "{error}");
}
