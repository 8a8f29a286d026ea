//! `kasm-bootstrap health`: a real node with something really wrong, and what is said of it.

mod common;
mod faults;
mod nodes;

use common::{Scene, TOKEN, run, spoken, unwrapped};
use faults::disk::Disk;
use kasm_bootstrap::health::{self, Context, Finding, Health, Level, Probe, Verdict};
use kasm_bootstrap::kasm::docker;
use kasm_bootstrap::paths::Paths;
use kasm_stand_in::docker::{Condition, Script};
use kasm_stand_in::http::{self, Handler, Server};
use kasm_stand_in::manager::{Answer, Behaviour, Manager, jwt};
use kasm_stand_in::release::Options;
use kasm_stand_in::tls;
use nodes::{Node, PROXIES, calm, plant, value, without_guest_agent};
use serde_json::Value;
use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

const DAY: u64 = 86_400;
/// A port on which nobody listens, and which no test can be given.
const CLOSED: u16 = 1;

/// A node of which every machine would say the same.
fn settled(node: Node) -> Node {
    let port = Some(CLOSED.to_string());
    for (directory, name, _) in PROXIES {
        let file = node.file(directory, name);
        if file.exists() {
            node.put(&file, "server_port", port.as_deref());
        }
    }
    if node.agent_file().exists() {
        node.put(&node.agent_file(), "public_port", port.as_deref());
    }
    calm(&node.scene.root);
    node
}

fn agent() -> Node {
    settled(Node::agent("1.18.1"))
}

fn guac() -> Node {
    settled(Node::guac("1.18.1"))
}

/// The exit code and the document.
fn asked(scene: &Scene) -> (i32, Health) {
    let (code, out, err) = spoken(&run(scene.command().args(["health", "--json"])));
    assert_eq!(err, "");
    let health: Health = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"));
    assert_eq!(code, if health.verdict == Verdict::Healthy { 0 } else { 19 });
    assert_eq!(health.schema, 1);
    (code, health)
}

/// `fail: words` of one probe; its words are in the text for people too, and its remedy where something is wrong.
#[track_caller]
fn said(scene: &Scene, name: &str) -> String {
    let (_, health) = asked(scene);
    let probe = health.probe(name).unwrap();
    if matches!(probe.level, Level::Fail | Level::Warn) {
        let remedy = probe.remedy.as_deref().unwrap_or_else(|| panic!("{name} has no remedy"));
        let (_, out, _) = spoken(&run(scene.command().arg("health")));
        // Lines are broken at blanks.
        let plain = out.split_whitespace().collect::<Vec<_>>().join(" ");
        let help = remedy.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(plain.contains(&format!("help: {help}")), "{out}");
        assert!(
            out.lines().all(|line| line.chars().count() <= 100 || !line.contains("  ") || line.contains("/opt/kasm/")),
            "{out}"
        );
    }
    format!("{}: {}", probe.level, probe.words)
}

fn number(health: &Health, probe: &str, measure: &str) -> f64 {
    let probe = health.probe(probe).unwrap();
    probe.measures.iter().find(|one| one.name == measure).unwrap_or_else(|| panic!("{probe:?}")).value
}

/// False where the disk below these tests is itself nearly full: then no machine on it is well.
fn has_room(scene: &Scene) -> bool {
    let has_room = said(scene, "disk").starts_with("ok");
    if !has_room {
        println!("skipped: the disk of these tests is nearly full");
    }
    has_room
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn stable() -> impl Drop {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\b\d+ ms\b", "[MS] ms");
    settings.add_filter(r":\d{4,5}\b", ":[PORT]");
    settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "[TIME]");
    settings.add_filter(r"[\d.]+ [GT]B free for [^\n]*", "[ROOM]");
    settings.add_filter(r"expires in \d+ days( \d+ hours?)?", "expires in [DAYS]");
    settings.add_filter(r"on \d+ processors?", "on [N] processors");
    settings.bind_to_scope()
}

#[test]
fn a_healthy_agent_fits_a_screen() {
    let node = agent();
    if !has_room(&node.scene) {
        return;
    }
    let (code, out, err) = spoken(&run(node.scene.command().arg("health")));
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.lines().count() <= 24);
    let _stable = stable();
    insta::assert_snapshot!(unwrapped(&out), @"
    healthy since [TIME]: kasm_agent, kasm_proxy

    ok    containers           kasm_agent, kasm_proxy
    ok    docker               Docker 27.5.1, API 1.47
    ok    kasm                 Kasm 1.18.1
    ok    tokens               the manager token of kasm_agent is well-formed
    ok    manager              manager 127.0.0.1:[PORT] is healthy, answered in [MS] ms
    ok    manager-certificate  not verified, expires in [DAYS]
    ok    disk                 [ROOM]
    ok    memory               6.1 GB of 8.2 GB memory available, no swap
    ok    load                 load 0.10 0.20 0.30 on [N] processors
    ok    upstream-address, manager-name, guest-agent, last-run, configuration, restarts, component, sidecar, rclone, docker-version, token-expiry, clock, oom-kills, reboot-required
    ");
}

#[test]
fn a_healthy_connection_proxy_is_told_with_each_probe_on_a_line_of_its_own() {
    let node = guac();
    if !has_room(&node.scene) {
        return;
    }
    let (code, out, err) = spoken(&run(node.scene.command().args(["health", "-v"])));
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let _stable = stable();
    insta::assert_snapshot!(unwrapped(&out), @"
    healthy since [TIME]: kasm_guac, kasm_rdp_gateway,
    kasm_rdp_https_gateway, kasm_proxy

    ok    containers           kasm_guac, kasm_rdp_gateway, kasm_rdp_https_gateway, kasm_proxy
    ok    docker               Docker 27.5.1, API 1.47
    ok    kasm                 Kasm 1.18.1
    ok    tokens               all 3 auth tokens are good
    ok    upstream-address     127.0.0.1:[PORT]
    ok    manager-name         127.0.0.1 is an address already
    ok    manager              manager 127.0.0.1:[PORT] is healthy, answered in [MS] ms
    ok    guest-agent          this is no QEMU machine
    ok    last-run             it did not fail, or there was none
    ok    configuration        nothing speaks against it
    ok    restarts             no container was started again lately
    ok    component            not looked at below --root
    ok    sidecar              Docker has no sidecar plugin
    ok    rclone               Docker has no rclone plugin
    ok    docker-version       Docker 27.5.1, API 1.47
    ok    token-expiry         the auth token of kasm_guac expires in [DAYS]
    ok    manager-certificate  not verified, expires in [DAYS]
    ok    clock                is kept in time
    ok    disk                 [ROOM]
    ok    memory               6.1 GB of 8.2 GB memory available, no swap
    ok    load                 load 0.10 0.20 0.30 on [N] processors
    ok    oom-kills            nothing was killed for lack of memory
    ok    reboot-required      nothing asks for a restart
    ");
}

#[test]
fn a_machine_without_kasm_has_one_thing_wrong_and_the_rest_is_not_held_against_it() {
    let scene = Scene::new(&Options::default());
    calm(&scene.root);
    let (code, health) = asked(&scene);
    assert_eq!((code, health.verdict), (19, Verdict::Failed));
    let wrong: Vec<&str> =
        health.probes.iter().filter(|one| one.level > Level::Unknown).map(|one| one.name.as_str()).collect();
    let wrong: Vec<&str> = wrong.into_iter().filter(|name| *name != "disk").collect();
    assert_eq!(wrong, ["kasm"]);
    assert_eq!(said(&scene, "kasm"), "fail: Kasm is not installed: /opt/kasm/current is not there");
    let link = scene.root.join("opt/kasm/current");
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    symlink("/opt/kasm/1.17.0", link).unwrap();
    assert_eq!(
        said(&scene, "kasm"),
        "fail: Kasm is gone: /opt/kasm/current leads to /opt/kasm/1.17.0, which is not there"
    );
}

#[test]
fn containers_that_are_not_up_are_named_with_what_they_are() {
    let node = agent();
    let except = |conditions: &[(&str, Condition)]| {
        let except = conditions.iter().map(|(name, condition)| ((*name).to_owned(), *condition)).collect();
        node.scene.containers(Script { looks: 0, except, ..Script::default() });
        said(&node.scene, "containers")
    };
    let lines = [
        except(&[("kasm_agent", Condition::Unhealthy)]),
        except(&[("kasm_agent", Condition::Restarting(137)), ("kasm_proxy", Condition::Exited(1))]),
        except(&[("kasm_proxy", Condition::Gone)]),
        except(&[("kasm_proxy", Condition::Starting)]),
        except(&[]),
    ];
    insta::assert_snapshot!(lines.join("\n"), @"
    fail: kasm_agent is running but unhealthy
    fail: kasm_agent is restarting (exit 137), kasm_proxy is exited (exit 1)
    fail: kasm_proxy is not there
    fail: kasm_proxy is starting, its health check has not decided yet
    ok: kasm_agent, kasm_proxy
    ");
    let (code, health) = asked(&node.scene);
    assert_eq!((code, number(&health, "containers", "container_up")), (0, 1.0));
}

#[test]
fn a_container_that_is_started_again_and_again_is_told_although_it_looks_well() {
    let node = agent();
    assert_eq!(said(&node.scene, "restarts"), "ok: no container was started again lately");
    node.scene.docker.restarted("kasm_agent", 4);
    assert_eq!(said(&node.scene, "restarts"), "fail: kasm_agent was started again 4 times: it does not stay up");
    assert!(said(&node.scene, "containers").starts_with("ok"));
}

#[test]
fn a_component_is_asked_through_its_own_web_server_and_only_what_it_says_counts() {
    let node = agent();
    let answer = Arc::new(Mutex::new(("200 OK", r#"{"ok": true}"#)));
    let shared = answer.clone();
    let handler: Handler = Arc::new(move |request, stream| {
        assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/agent/__healthcheck"));
        let (status, body) = *shared.lock().unwrap();
        match status {
            "" => stream.abort(),
            status => http::respond(stream, status, &[], body.as_bytes())?,
        }
        Ok(())
    });
    let config = tls::kasm_like("10.0.0.6").config;
    let server = Server::tcp("127.0.0.1:0".parse().unwrap(), Some(config), handler);
    let port = server.address().port().to_string();
    node.put(&node.agent_file(), "public_port", Some(&port));
    let cases = [
        ("200 OK", r#"{"ok": true}"#),
        ("200 OK", r#"{"ok": false}"#),
        ("200 OK", "<html>Kasm</html>"),
        ("404 Not Found", ""),
        ("502 Bad Gateway", "<html>nginx</html>"),
        ("", ""),
    ];
    let lines = cases.map(|case| {
        *answer.lock().unwrap() = case;
        said(&node.scene, "component")
    });
    let _stable = stable();
    insta::assert_snapshot!(lines.join("\n").replace(&port, "[PORT]"), @r#"
    ok: kasm_agent answers in [MS] ms
    warn: kasm_agent answers its health check with `{"ok": false}` instead of {"ok": true}
    unknown: this release does not tell its health at /agent/__healthcheck
    unknown: this release does not tell its health at /agent/__healthcheck (status 404)
    warn: kasm_agent answers its health check with status 502 Bad Gateway
    warn: kasm_agent does not answer through kasm_proxy at port [PORT]: the connection was closed too early
    "#);
    // Docker is the better witness: none of it changes the verdict.
    assert_eq!(asked(&node.scene).0, 0);
}

#[test]
fn a_docker_that_is_not_there_or_does_not_answer_is_the_one_cause_that_is_named() {
    let node = agent();
    let socket = node.scene.root.join("run/docker.sock");
    fs::remove_file(&socket).unwrap();
    assert_eq!(said(&node.scene, "docker"), "fail: Docker's daemon does not run: /run/docker.sock is not there");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    drop(listener);
    let (_, health) = asked(&node.scene);
    let docker = health.probe("docker").unwrap();
    assert!(docker.words.starts_with("Docker's daemon does not answer: Connection refused"), "{}", docker.words);
    for name in ["containers", "restarts", "sidecar", "rclone", "docker-version"] {
        let probe = health.probe(name).unwrap();
        assert_eq!((probe.level, probe.words.as_str()), (Level::Unknown, "Docker does not answer (see docker)"));
    }
    assert!(health.words.starts_with("Docker's daemon does not answer"), "{}", health.words);
}

#[test]
fn a_disabled_plugin_and_an_old_docker_are_warned_of() {
    let node = agent();
    let plugins = vec![("kasmweb/sidecar:1.2".into(), false), ("rclone/docker-volume-rclone:amd64".into(), false)];
    let script = Script { looks: 0, version: "20.10.24".into(), plugins, ..Script::default() };
    node.scene.containers(script);
    let lines = ["sidecar", "rclone", "docker-version"].map(|name| said(&node.scene, name));
    insta::assert_snapshot!(lines.join("\n"), @"
    warn: kasmweb/sidecar:1.2 is disabled in Docker, so that kasm_proxy does not start
    warn: rclone/docker-volume-rclone:amd64 is disabled in Docker, so that no session can mount storage
    warn: Docker 20.10.24, API 1.47 is older than 25.0.5, which Kasm from 1.17 on asks for
    ");
    node.scene.docker.change(|script| script.plugins.iter_mut().for_each(|(_, enabled)| *enabled = true));
    assert_eq!(said(&node.scene, "sidecar"), "ok: kasmweb/sidecar:1.2 is enabled");
}

#[test]
fn a_manager_that_is_not_well_or_is_somebody_else_is_told_apart() {
    let node = agent();
    let _stable = stable();
    let behave = |behaviour: Behaviour| {
        node.scene.manager.behave(behaviour);
        said(&node.scene, "manager")
    };
    let lines = [
        behave(Behaviour { down_for: usize::MAX, ..Behaviour::default() }),
        behave(Behaviour { answer: Answer::NotOk, ..Behaviour::default() }),
        behave(Behaviour { answer: Answer::Page, ..Behaviour::default() }),
        behave(Behaviour { answer: Answer::Redirect("https://portal.example/login".into()), ..Behaviour::default() }),
        behave(Behaviour { down: true, ..Behaviour::default() }),
        behave(Behaviour { down_for: usize::MAX, down_status: "404 Not Found".into(), ..Behaviour::default() }),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r#"
    fail: manager 127.0.0.1:[PORT] answers its health check with status 503 Service Unavailable
    fail: manager 127.0.0.1:[PORT] answers its health check with `{"ok": false}` instead of {"ok": true}
    fail: the upstream address 127.0.0.1:[PORT] is most likely wrong: manager 127.0.0.1:[PORT] answers its health check with a web page instead of JSON (a captive portal or a login page?)
    fail: the upstream address 127.0.0.1:[PORT] is most likely wrong: manager 127.0.0.1:[PORT] sends its health check elsewhere: it redirects to https://portal.example/login, as a captive portal or a login page does
    fail: manager 127.0.0.1:[PORT] closes the connection without an answer
    fail: the upstream address 127.0.0.1:[PORT] is most likely wrong: manager 127.0.0.1:[PORT] answers its health check with status 404 Not Found
    "#);
    node.put(&node.agent_file(), "hostnames", Some(&format!("['127.0.0.1:{CLOSED}']")));
    assert_eq!(said(&node.scene, "manager"), "fail: manager 127.0.0.1:1 refuses the connection");
    // What is remote undoes nothing: the node is degraded and has not failed.
    assert_eq!(asked(&node.scene).1.verdict, Verdict::Degraded);
}

#[test]
fn a_certificate_is_told_before_it_expires() {
    let node = agent();
    let lines = [9 * DAY + 3600, DAY / 2].map(|left| {
        let identity = tls::ending_in(&["127.0.0.1"], Duration::from_secs(left));
        let manager = Manager::start(Some(identity.config), Behaviour::default());
        node.put(&node.agent_file(), "hostnames", Some(&format!("['127.0.0.1:{}']", manager.port())));
        said(&node.scene, "manager-certificate")
    });
    let _stable = stable();
    insta::assert_snapshot!(lines.join("\n"), @"
    warn: the manager's certificate expires in [DAYS], at [TIME]
    warn: the manager's certificate expires in less than a day, at [TIME]
    ");
}

#[test]
fn a_clock_that_is_not_the_managers_is_told() {
    let node = agent();
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2 * DAY));
    node.scene.manager.behave(Behaviour { date: Some(date), ..Behaviour::default() });
    let words = said(&node.scene, "clock");
    assert!(words.starts_with("warn: the manager's clock is most likely wrong: this machine's is"), "{words}");
    fs::remove_file(node.scene.root.join("run/systemd/timesync/synchronized")).unwrap();
    let words = said(&node.scene, "clock");
    assert!(words.starts_with("fail: this machine's clock is ") && words.contains(" behind the manager's"), "{words}");
    let skew = number(&asked(&node.scene).1, "clock", "clock_skew_seconds");
    assert!((skew + (2 * DAY) as f64).abs() < 60.0, "{skew}");
}

#[test]
fn tokens_that_cannot_work_are_told_with_whose_they_are_and_where() {
    let node = guac();
    node.expire();
    let words = said(&node.scene, "tokens");
    assert!(
        words.starts_with(
            "fail: the auth token of kasm_guac is no good: api.auth_token in /opt/kasm/1.18.1/conf/app/guac/"
        ) && words.contains("expired 40 days ago"),
        "{words}"
    );
    assert_eq!(asked(&node.scene).1.verdict, Verdict::Failed);
    node.break_as_816();
    let words = said(&node.scene, "tokens");
    assert!(words.ends_with("; nor that of kasm_rdp_gateway and kasm_rdp_https_gateway"), "{words}");
    let file = node.guac_file();
    node.put(&file, "auth_token", None);
    let words = said(&node.scene, "tokens");
    assert!(words.starts_with("fail: kasm_guac has not registered with the manager: "), "{words}");
}

#[test]
fn a_token_that_was_not_renewed_in_time_is_told_before_it_expires() {
    let node = guac();
    assert!(said(&node.scene, "token-expiry").starts_with("ok: the auth token of kasm_"));
    let file = node.guac_file();
    let id = value(&fs::read_to_string(&file).unwrap(), "id");
    let expires = jwt::now() + 7_230;
    node.put(&file, "auth_token", Some(&jwt::auth_token(&id, expires, &[80], jwt::Signer::Manager)));
    let words = said(&node.scene, "token-expiry");
    assert!(
        words.starts_with("warn: the auth token of kasm_guac expires in 2 hours")
            && words.ends_with(", and its component has not renewed it yet"),
        "{words}"
    );
    let (code, health) = asked(&node.scene);
    assert_eq!(code, 0);
    let measure =
        health.probe("token-expiry").unwrap().measures.iter().find(|one| one.value == expires as f64).unwrap();
    assert_eq!(measure.of, Some(("component".into(), "guac".into())));
}

#[test]
fn full_disks_and_disks_without_inodes_are_told_and_a_read_only_one_too() {
    use nix::mount::MsFlags;
    let node = agent();
    let Some(disk) = Disk::over(&node.scene, "var/lib/docker") else { return };
    disk.remount(MsFlags::empty(), "size=4g,nr_inodes=1000000");
    let health = asked(&node.scene).1;
    let measures = &health.probe("disk").unwrap().measures;
    let docker = ("path".to_owned(), "/var/lib/docker".to_owned());
    let size = measures.iter().find(|one| one.name == "disk_size_bytes" && one.of.as_ref() == Some(&docker)).unwrap();
    assert_eq!(size.value, (4u64 << 30) as f64);
    disk.fill();
    let words = said(&node.scene, "disk");
    assert!(
        words.starts_with("fail: the disk is full: 0 B free of ") && words.contains("for /var/lib/docker, on "),
        "{words}"
    );
    fs::remove_file(disk.path.join("filler")).unwrap();
    disk.remount(MsFlags::empty(), "size=4g,nr_inodes=100");
    for at in 0..99 {
        fs::write(disk.path.join(at.to_string()), "").unwrap();
    }
    let words = said(&node.scene, "disk");
    assert!(words.contains("no inodes are left: 0 inodes free of 100 for /var/lib/docker"), "{words}");
    disk.remount(MsFlags::MS_RDONLY, "size=4g,nr_inodes=100");
    assert!(said(&node.scene, "disk").contains(" is mounted read-only (/var/lib/docker)"));
}

#[test]
fn a_machine_that_is_pressed_says_what_by() {
    let node = agent();
    let root = &node.scene.root;
    plant(root, "proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable: 100000 kB\nSwapTotal: 1000 kB\nSwapFree: 0 kB\n");
    plant(root, "proc/loadavg", "9999.00 9998.00 9997.00 1/234 5678\n");
    plant(root, "run/reboot-required", "*** System restart required ***\n");
    plant(root, "run/reboot-required.pkgs", "linux-image-6.1.0-27-amd64\n");
    let lines = ["memory", "load", "reboot-required"].map(|name| said(&node.scene, name));
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d+ processors?", "[N] processors");
    settings.bind(|| {
        insta::assert_snapshot!(lines.join("\n"), @"
    warn: memory runs short: 102.4 MB of 8.2 GB memory available, 0 B of 1.0 MB swap free
    warn: the machine has more to do than it can: load 9999.00 9998.00 9997.00 on [N] processors
    warn: the machine should be restarted for linux-image-6.1.0-27-amd64
    ");
    });
    // It works, and somebody should look.
    assert_eq!(asked(&node.scene).0, 0);
    plant(root, "proc/meminfo", "no sense\n");
    assert_eq!(said(&node.scene, "memory"), "unknown: the kernel does not tell: /proc/meminfo makes no sense");
}

/// The five causes of an agent that never comes online, each made for real: what the whole answer says first.
mod an_agent_that_never_comes_online_is_told_why {
    use super::*;

    fn first_words(scene: &Scene) -> String {
        let (code, out, _) = spoken(&run(scene.command().arg("health")));
        assert_eq!(code, 19, "{out}");
        out.lines().take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_guest_agent_does_not_run() {
        let node = agent();
        let root = &node.scene.root;
        without_guest_agent(root);
        let words = first_words(&node.scene);
        assert!(
            words.contains("the manager's provider cannot see this machine: qemu-guest-agent is not running"),
            "{words}"
        );
        plant(root, "proc/812/comm", "qemu-ga\n");
        assert_eq!(said(&node.scene, "guest-agent"), "ok: is running");
    }

    #[test]
    fn the_upstream_address_is_wrong() {
        let node = agent();
        node.put(&node.agent_file(), "hostnames", Some("['$request_host$']"));
        let words = first_words(&node.scene);
        assert!(words.contains("the upstream address is wrong: manager.hostnames in /opt/kasm/"), "{words}");
        assert!(words.contains("is $request_host$, which only means something to the manager itself"), "{words}");
        // Another web server than the manager's.
        let other = Manager::start(
            Some(tls::self_signed(&["127.0.0.1"]).config),
            Behaviour { answer: Answer::Page, ..Behaviour::default() },
        );
        node.put(&node.agent_file(), "hostnames", Some(&format!("['127.0.0.1:{}']", other.port())));
        let words = first_words(&node.scene);
        assert!(
            words.contains(&format!("the upstream address 127.0.0.1:{} is most likely wrong", other.port())),
            "{words}"
        );
    }

    #[test]
    fn the_upstream_address_of_the_configuration_is_wrong_and_nothing_is_installed() {
        let scene = Scene::new(&Options::default());
        calm(&scene.root);
        plant(
            &scene.root,
            "etc/kasm-bootstrap/config.toml",
            "role = \"agent\"\n[manager]\naddress = \"$request_host$\"\n",
        );
        let words = said(&scene, "configuration");
        assert!(words.starts_with("fail: the configuration is wrong: ") && words.contains("$request_host$"), "{words}");
        let words = first_words(&scene);
        assert!(
            words.contains("Kasm is not installed") && words.contains("`$request_host$`, which only means"),
            "{words}"
        );
    }

    #[test]
    fn the_manager_token_is_wrong() {
        let node = agent();
        node.put(&node.agent_file(), "token", Some("AnotherTokenAltogether1"));
        let socket = Paths::below(&node.scene.root).docker_socket();
        runtime().block_on(async {
            docker::restart(&socket, "kasm_agent", Duration::ZERO).await.unwrap();
            // It tells its manager, is refused, and writes that down.
            while !docker::logs(&socket, "kasm_agent", 100).await.unwrap().contains("ERROR") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let mut words = said(&node.scene, "tokens");
        assert_eq!(
            words,
            "fail: the manager refuses the manager token of kasm_agent: its log says \"ERROR: Invalid manager token\""
        );
        node.put(&node.agent_file(), "token", Some("MANAGER_TOKEN"));
        words = first_words(&node.scene);
        assert!(words.contains("the manager token of kasm_agent is no good: manager.token in /opt/kasm/"), "{words}");
    }

    #[test]
    fn the_manager_token_has_expired() {
        let node = agent();
        let claims = serde_json::json!({ "exp": jwt::now() - 7_300 });
        node.put(&node.agent_file(), "token", Some(&jwt::sign(&claims, jwt::Signer::Manager)));
        let words = first_words(&node.scene);
        assert!(
            words.contains("the manager token of kasm_agent is no good") && words.contains("expired 2 hours"),
            "{words}"
        );
        assert!(!words.contains(TOKEN));
    }

    #[test]
    fn dns_does_not_know_the_manager() {
        let node = agent();
        let address = "127.0.53.71";
        // Says of every name that it does not exist.
        let Ok(socket) = UdpSocket::bind((address, 53)) else {
            println!("skipped: port 53 cannot be bound");
            return;
        };
        std::thread::spawn(move || {
            let mut packet = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                let question = packet[12..length].iter().position(|byte| *byte == 0).unwrap() + 12 + 5;
                let mut reply = packet[..question].to_vec();
                reply[2..4].copy_from_slice(&0x8183u16.to_be_bytes());
                reply[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
                if socket.send_to(&reply, from).is_err() {
                    return;
                }
            }
        });
        plant(&node.scene.root, "etc/resolv.conf", &format!("nameserver {address}\n"));
        node.put(&node.agent_file(), "hostnames", Some("['kasm.example.com']"));
        let words = first_words(&node.scene);
        assert!(
            words.contains("DNS does not lead to the manager: the name kasm.example.com does not exist, says name server 127.0.53.71"),
            "{words}"
        );
        assert_eq!(said(&node.scene, "manager"), "unknown: the manager was not asked: its name does not resolve");
    }

    #[test]
    fn the_download_failed() {
        let scene = Scene::new(&Options::default());
        calm(&scene.root);
        let url = scene.mirror.url("/nothing/here.tar.gz");
        let (code, ..) = spoken(&run(&mut scene.install(&["--release-url", &url])));
        assert_eq!(code, 15);
        let (_, health) = asked(&scene);
        assert_eq!(health.verdict, Verdict::Failed);
        let words = said(&scene, "last-run");
        assert!(words.starts_with("fail: the download of the release failed: ") && words.contains("404"), "{words}");
        let first = first_words(&scene);
        assert!(first.contains("Kasm is not installed: /opt/kasm/current is not there: the download of"), "{first}");
    }
}

fn context(node: &Node) -> Context {
    Context::new(Paths::below(&node.scene.root))
}

#[test]
fn what_stays_as_it_is_keeps_the_time_since_when_and_what_was_killed_is_noticed() {
    let node = agent();
    let context = context(&node);
    let runtime = runtime();
    let first = runtime.block_on(health::ask_all(&context, None));
    plant(&node.scene.root, "proc/vmstat", "oom_kill 2\n");
    let second = runtime.block_on(health::ask_all(&context, Some(&first)));
    assert_eq!(second.since, first.since);
    for (was, is) in first.probes.iter().zip(&second.probes) {
        assert_eq!(was.level == is.level, was.since == is.since, "{}", is.name);
        assert!(is.checked >= was.checked);
    }
    let killed = second.probe("oom-kills").unwrap();
    assert_eq!(killed.level, Level::Warn);
    assert!(killed.words.starts_with("the kernel has killed 2 processes for lack of memory"), "{}", killed.words);
    let third = runtime.block_on(health::ask_all(&context, Some(&second)));
    assert_eq!(third.probe("oom-kills").unwrap().since, killed.since);
}

#[test]
fn what_the_service_has_seen_tells_since_when() {
    let node = agent();
    let path = Paths::below(&node.scene.root).health_state();
    let long_ago = "2026-01-02T03:04:05.000Z";
    let (_, mut health) = asked(&node.scene);
    health.since = long_ago.into();
    health.probes.iter_mut().for_each(|probe| probe.since = long_ago.into());
    // The disk was full then.
    let disk = health.probes.iter_mut().find(|probe| probe.name == "disk").unwrap();
    disk.level = Level::Fail;
    let state = serde_json::json!({ "schema": 1, "health": health });
    plant(&node.scene.root, "var/lib/kasm-bootstrap/health.json", &state.to_string());
    let (_, health) = asked(&node.scene);
    assert_eq!(health.since, long_ago);
    for probe in &health.probes {
        assert_eq!(probe.since == long_ago, probe.name != "disk", "{}: {}", probe.name, probe.since);
    }
    // The service's record is its own, and one that is torn is no answer.
    assert_eq!(fs::read_to_string(&path).unwrap(), state.to_string());
    fs::write(&path, "{\"schema\": 1, \"hea").unwrap();
    assert_eq!(asked(&node.scene).0, 0);
}

#[test]
fn a_probe_that_is_late_knows_nothing_and_holds_up_no_other() {
    let node = agent();
    node.scene.manager.behave(Behaviour { delay: Duration::from_secs(600), ..Behaviour::default() });
    let context = context(&node);
    let limit = Duration::from_millis(300);
    let short: Vec<Probe> = health::probes().into_iter().map(|probe| Probe { limit, ..probe }).collect();
    let answers: Vec<Finding> = runtime().block_on(async {
        let asked = short.iter().map(|probe| async { probe.answer(&context, None).await.0 });
        futures_util::future::join_all(asked).await
    });
    for (probe, finding) in short.iter().zip(answers) {
        // Those that ask the manager; the clock has to do without it.
        let late = ["manager", "manager-name", "manager-certificate", "clock"].contains(&probe.name);
        assert_eq!(finding.level == Level::Unknown, late, "{}: {}", probe.name, finding.words);
    }
}

#[test]
fn nothing_is_changed_and_nothing_secret_is_sent() {
    let node = guac();
    let before = common::picture(&node.scene.root);
    let asked = node.scene.manager.requests().len();
    spoken(&run(node.scene.command().arg("health")));
    assert_eq!(common::picture(&node.scene.root), before);
    for request in &node.scene.manager.requests()[asked..] {
        assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/api/__healthcheck"));
    }
    assert!(node.scene.docker.requests().iter().all(|request| request.method == "GET"));
}

#[test]
fn every_probe_is_in_the_documentation_as_it_is() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/health.md")).unwrap();
    let rows: Vec<&str> = text.lines().filter(|line| line.ends_with(" |") && line.contains(" s | ")).collect();
    let wanted: Vec<String> = health::probes()
        .iter()
        .map(|probe| {
            let vital = if probe.vital { "yes" } else { "" };
            format!("| `{}` | {} | {vital} | {} s | ", probe.name, probe.about, probe.every.as_secs())
        })
        .collect();
    assert_eq!(rows.len(), wanted.len());
    for (row, wanted) in rows.iter().zip(&wanted) {
        assert!(row.starts_with(wanted), "{wanted}");
    }
    // Every number that a node tells is there too.
    let health = runtime().block_on(health::ask_all(&context(&agent()), None));
    for (probe, measure) in health.probes.iter().flat_map(|probe| probe.measures.iter().map(move |one| (probe, one))) {
        let row = rows.iter().find(|row| row.starts_with(&format!("| `{}` ", probe.name))).unwrap();
        assert!(row.contains(&format!("`{}`", measure.name)), "{} of {}", measure.name, probe.name);
    }
}

#[test]
fn documents_of_earlier_versions_are_still_read() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/health");
    let mut read = 0;
    for file in fs::read_dir(directory).unwrap().flatten() {
        let text = fs::read_to_string(file.path()).unwrap();
        let health: Health = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{:?}: {error}", file.path()));
        assert_eq!(health.schema, 1);
        assert!(!health.probes.is_empty() && !health.words.is_empty());
        // What it says, it says again, but for what this program does not know.
        let (said, again): (Value, Value) =
            (serde_json::from_str(&text).unwrap(), serde_json::to_value(&health).unwrap());
        for (key, value) in again.as_object().unwrap() {
            if key != "probes" {
                assert_eq!(&said[key], value, "{key}");
            }
        }
        read += 1;
    }
    assert!(read >= 3);
}
