//! The watch over a node that is up: the real binary with its real probes, against stand-ins.

mod common;
mod faults;
mod nodes;

use common::service::{Service, configure, healthy, ill, ready, whole};
use common::{Scene, run, spoken};
use faults::disk::Disk;
use kasm_bootstrap::paths::Paths;
use kasm_bootstrap::step::RunLock;
use kasm_stand_in::docker::{Condition, Script};
use kasm_stand_in::manager::{Behaviour, Registry};
use kasm_stand_in::release::{Components, Options};
use nix::sys::signal::Signal;
use nodes::{Node, REGISTRATION};
use serde_json::Value;
use std::fs;
use std::time::Duration;

const SIDECAR: &str = "kasmweb/sidecar:1.2";

/// What is kept, as far as it can be read.
fn kept(scene: &Scene) -> Value {
    let text = fs::read_to_string(scene.root.join("var/lib/kasm-bootstrap/health.json")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn probe(kept: &Value, name: &str) -> Value {
    let empty = Vec::new();
    let probes = kept["health"]["probes"].as_array().unwrap_or(&empty);
    probes.iter().find(|probe| probe["name"] == name).cloned().unwrap_or_default()
}

/// Waits until what is kept is like this.
fn until_kept(service: &mut Service, scene: &Scene, wanted: impl Fn(&Value) -> bool) -> Value {
    service.until_so(|| Some(kept(scene)).filter(&wanted))
}

/// Every order Docker was given.
fn orders(scene: &Scene) -> Vec<String> {
    let requests = scene.docker.requests();
    let orders = requests.iter().filter(|request| request.method == "POST");
    orders.map(|request| request.target.split('?').next().unwrap_or_default().to_owned()).collect()
}

fn ordered(scene: &Scene, what: &str) -> usize {
    orders(scene).iter().filter(|order| order.ends_with(what)).count()
}

/// So many looks at the containers more.
fn looks(service: &mut Service, scene: &Scene, count: usize) {
    let seen = || scene.docker.requests().iter().filter(|one| one.target.contains("/containers/json")).count();
    let before = seen();
    service.until_so(|| (seen() >= before + count).then_some(()));
}

#[test]
fn a_blip_is_no_alarm() {
    let scene = ready(&Options::default());
    configure(&scene, &whole(&scene).replace("100ms", "1s"));
    let mut service = Service::start(&scene);
    service.status("healthy: kasm_agent, kasm_proxy");
    scene.containers(ill(Condition::Unhealthy));
    looks(&mut service, &scene, 1);
    scene.containers(healthy());
    looks(&mut service, &scene, 2);
    let (code, heard, text) = service.stop();
    assert_eq!(code, 0);
    assert!(!text.contains("degraded") && !heard.iter().any(|line| line.contains("degraded")), "{text}");
}

#[test]
fn a_manager_that_does_not_answer_delays_no_other_probe_and_not_the_end() {
    let scene = ready(&Options::default());
    let mut service = Service::start(&scene);
    service.until("READY=1");
    assert_eq!(service.stop().0, 0);
    scene.manager.behave(Behaviour { delay: Duration::from_secs(120), ..Behaviour::default() });
    let asked = scene.manager.requests().len();
    let mut service = Service::start(&scene);
    service.until_so(|| (scene.manager.requests().len() > asked).then_some(()));
    service.status("healthy: kasm_agent, kasm_proxy");
    scene.containers(ill(Condition::Gone));
    service.status("degraded: kasm_agent is not there");
    scene.containers(healthy());
    service.status("healthy: kasm_agent, kasm_proxy");
    // The manager has been asked once since: nothing piles up.
    assert_eq!(scene.manager.requests().len(), asked + 1);
    assert_eq!(service.stop().0, 0);
}

#[test]
fn since_when_a_trouble_is_there_survives_a_restart_and_a_kill() {
    let scene = ready(&Options::default());
    let script = || Script { plugins: vec![(SIDECAR.into(), false)], ..healthy() };
    scene.containers(script());
    let mut service = Service::start(&scene);
    let before = until_kept(&mut service, &scene, |kept| probe(kept, "sidecar")["verdict"] == "warn");
    let text = service.stop().2;
    assert!(text.contains("sidecar: warn: kasmweb/sidecar:1.2 is disabled"), "{text}");
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let mut service = Service::start(&scene);
        service.status("healthy: kasm_agent, kasm_proxy; but kasmweb/sidecar:1.2 is disabled");
        looks(&mut service, &scene, 2);
        service.signal(signal);
        service.end();
        let text = service.text();
        assert!(!text.contains("sidecar: "), "what has not changed is not told again: {text}");
        let after = kept(&scene);
        for name in ["sidecar", "containers"] {
            assert_eq!(probe(&after, name)["since"], probe(&before, name)["since"], "{name}");
        }
    }
    // What cannot be read is no reason not to watch.
    fs::write(scene.root.join("var/lib/kasm-bootstrap/health.json"), "{\"schema\": 1, \"hea").unwrap();
    let mut service = Service::start(&scene);
    until_kept(&mut service, &scene, |kept| probe(kept, "sidecar")["verdict"] == "warn");
    let text = service.stop().2;
    assert!(text.contains("what is known of the node's health begins anew"), "{text}");
}

#[test]
fn while_an_upgrade_is_at_work_trouble_is_not_judged() {
    let scene = ready(&Options::default());
    let mut service = Service::start(&scene);
    service.status("healthy: kasm_agent, kasm_proxy");
    let lock = RunLock::take(&Paths::below(&scene.root), "upgrade").unwrap();
    scene.containers(ill(Condition::Gone));
    service.status("an upgrade is at work (pid ");
    let asked = scene.docker.requests().len();
    std::thread::sleep(Duration::from_millis(300));
    assert!(scene.docker.requests().len() <= asked + 2, "nothing is asked any more");
    scene.containers(healthy());
    drop(lock);
    service.status("healthy: kasm_agent, kasm_proxy");
    let (code, _, text) = service.stop();
    assert!(code == 0 && !text.contains("degraded"), "{text}");
}

#[test]
fn nothing_is_mended_unless_somebody_wants_it() {
    let scene = ready(&Options::default());
    let mut service = Service::start(&scene);
    service.status("healthy: kasm_agent, kasm_proxy");
    scene.containers(Script { plugins: vec![(SIDECAR.into(), false)], ..ill(Condition::Exited(1)) });
    service.status("degraded: kasm_agent is exited (exit 1)");
    until_kept(&mut service, &scene, |kept| probe(kept, "sidecar")["verdict"] == "warn");
    looks(&mut service, &scene, 3);
    assert_eq!(service.stop().0, 0);
    assert_eq!(orders(&scene), [] as [&str; 0]);
}

#[test]
fn the_sidecar_plugin_is_enabled_again_where_that_is_wanted() {
    let scene = ready(&Options::default());
    configure(&scene, &(whole(&scene) + "[health]\nenable_sidecar = true\n"));
    scene.containers(Script { plugins: vec![(SIDECAR.into(), false)], ..healthy() });
    let mut service = Service::start(&scene);
    until_kept(&mut service, &scene, |kept| {
        probe(kept, "sidecar")["verdict"] == "ok" && kept["changes"].to_string().contains("\"mended\"")
    });
    let (code, _, text) = service.stop();
    assert!(code == 0 && text.contains("sidecar: enabled kasmweb/sidecar:1.2"), "{text}");
    assert_eq!(orders(&scene), ["/plugins/kasmweb/sidecar:1.2/enable"]);
}

#[test]
fn a_component_that_does_not_stay_up_is_restarted_so_often_and_no_more_also_after_a_kill() {
    let scene = ready(&Options::default());
    configure(&scene, &(whole(&scene) + "[health]\nrestart_components = 2\n"));
    let mut service = Service::start(&scene);
    service.status("healthy: kasm_agent, kasm_proxy");
    scene.containers(ill(Condition::Exited(3)));
    service.status("degraded: kasm_agent is exited (exit 3)");
    service.says("containers: restart kasm_agent: done twice within an hour already, and no more often");
    assert_eq!(ordered(&scene, "/kasm_agent/restart"), 2);
    service.signal(Signal::SIGKILL);
    service.end();
    scene.containers(healthy());
    let mut service = Service::start(&scene);
    service.status("healthy: kasm_agent, kasm_proxy");
    scene.containers(ill(Condition::Exited(3)));
    service.says("done twice within an hour already, and no more often");
    looks(&mut service, &scene, 3);
    assert_eq!((service.stop().0, ordered(&scene, "/restart")), (0, 2));
}

#[test]
fn broken_tokens_are_repaired_where_that_is_wanted_and_as_often_as_that_may_help() {
    let components = Some(Components { tries: 2, ..Components::default() });
    let node = Node { scene: ready(&Options { components, ..Options::default() }) };
    let scene = &node.scene;
    scene.manager.deal(Registry { registration_token: Some(REGISTRATION.into()), ..Registry::default() });
    let text = format!(
        "role = \"guac\"\ndeadline = \"120s\"\n[release]\nurls = [\"{}\"]\nsha256 = \"{}\"\n[manager]\naddress = \"{}\"\n\
         [guac]\nregistration_token = \"{REGISTRATION}\"\n[run]\nwatch = \"100ms\"\n\
         [health]\nsettle = \"0s\"\nrepair_tokens = true\n",
        scene.url(),
        scene.release.sha256,
        scene.manager.address(),
    );
    configure(scene, &text);
    let mut service = Service::start(scene);
    service.status("healthy: kasm_guac, ");
    node.expire();
    service.says("tokens: fail: ");
    service.says("tokens: repaired the tokens: ");
    service.says("tokens: ok: ");
    assert_eq!(orders(scene), ["/containers/kasm_guac/restart"]);
    node.expire();
    service.says("tokens: token repair: done once within an hour already, and no more often");
    assert_eq!((service.stop().0, ordered(scene, "/restart")), (0, 1));
    assert_eq!(scene.status()["verb"], "token repair");
}

#[test]
fn a_full_disk_does_not_end_the_watch() {
    let scene = ready(&Options::default());
    let mut service = Service::start(&scene);
    service.until("READY=1");
    assert_eq!(service.stop().0, 0);
    // Its content goes along.
    let state = "var/lib/kasm-bootstrap";
    let receipt = fs::read(scene.root.join(state).join("installed.json")).unwrap();
    let Some(disk) = Disk::over(&scene, state) else { return };
    fs::write(disk.path.join("installed.json"), receipt).unwrap();
    let mut service = Service::start(&scene);
    service.status("healthy: kasm_agent, kasm_proxy");
    until_kept(&mut service, &scene, |kept| kept["health"]["verdict"] == "healthy");
    disk.fill();
    scene.containers(ill(Condition::Gone));
    service.status("degraded: kasm_agent is not there");
    service.says("health.json cannot be written: No space left on device");
    scene.containers(healthy());
    service.status("healthy: kasm_agent, kasm_proxy");
    assert_eq!(service.stop().0, 0);
    assert_eq!(kept(&scene)["health"]["verdict"], "healthy", "what was kept before is whole");
}

#[test]
fn status_can_be_waited_for_in_every_state_and_never_hangs() {
    let scene = ready(&Options::default());
    let wait =
        |more: &[&str]| spoken(&run(scene.command().args(["status", "--wait", "--timeout", "200ms"]).args(more)));
    let (code, _, err) = wait(&[]);
    assert!(code == 1 && err.contains("no run has begun and ended in time"), "{err}");
    // A run is at work, and does not end in time.
    let lock = RunLock::take(&Paths::below(&scene.root), "install").unwrap();
    assert_eq!(wait(&[]).0, 1);
    drop(lock);
    // The watch is at work, after a run that ended well.
    let mut service = Service::start(&scene);
    service.status("healthy: kasm_agent, kasm_proxy");
    let (code, out, _) = wait(&[]);
    assert!(code == 0 && out.starts_with("install done in "), "{out}");
    assert_eq!(service.stop().0, 0);
    // A run that was killed, and none after it.
    let journal = scene.root.join("var/lib/kasm-bootstrap/journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    let cut: Vec<&str> = text.lines().filter(|line| !line.contains("run.ended")).collect();
    fs::write(&journal, cut.join("\n") + "\n").unwrap();
    let (code, _, err) = wait(&[]);
    assert!(code == 1 && err.contains("the last run was cut off, and no other run ended in time"), "{err}");
    // One that failed: as that did.
    configure(&scene, &whole(&scene).replace(common::TOKEN, "{manager_token}"));
    let (code, ..) = spoken(&run(scene.command().args(["install", "--force"])));
    assert_eq!((code, wait(&["--json"]).0), (11, 11));
    // What cannot be read is no reason to wait.
    fs::remove_file(&journal).unwrap();
    fs::create_dir(&journal).unwrap();
    let (code, _, err) = wait(&[]);
    assert!(code == 1 && err.contains("[status.read]"), "{err}");
}
