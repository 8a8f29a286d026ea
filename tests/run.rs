//! The service, whole: the real binary on a scratch machine, with this test in systemd's place.

mod common;

use common::service::{PATIENCE, Service, configure, healthy, ill, instance, ready, whole, write};
use common::{Scene, TOKEN, holds, picture};
use kasm_bootstrap::error::Exit;
use kasm_stand_in::docker::Condition;
use kasm_stand_in::metadata::{Behaviour, Metadata};
use kasm_stand_in::mirror::Fault::Stall;
use kasm_stand_in::release::{Fault, Options, Point};
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;
use std::time::Duration;

fn plain() -> Options {
    Options::default()
}

fn runs(scene: &Scene) -> usize {
    scene.journal().iter().filter(|entry| entry["event"] == "run.started").count()
}

#[test]
fn it_installs_says_what_it_does_and_is_ready_when_the_node_is_healthy() {
    let scene = ready(&Options { pace: Duration::from_millis(60), ..plain() });
    let mut service = Service::start_with(&scene, &[("WATCHDOG_USEC", "20000")]);
    service.until("EXTEND_TIMEOUT_USEC=");
    service.until("STATUS=install: ");
    service.until("WATCHDOG=1");
    service.until("READY=1");
    assert_eq!(scene.status()["state"], "done");
    service.until("STATUS=healthy: kasm_agent, kasm_proxy");
    let (code, heard, text) = service.stop();
    assert_eq!((code, heard.iter().filter(|line| *line == "READY=1").count()), (0, 0), "{text}");
    assert!(heard.contains(&"STOPPING=1".to_owned()), "{heard:?}");
    assert!(text.ends_with("healthy: kasm_agent, kasm_proxy\nstopped by SIGTERM\n"), "{text}");
    let receipt = fs::read_to_string(scene.root.join("var/lib/kasm-bootstrap/installed.json")).unwrap();
    assert!(receipt.contains("\"instance\": \"cloud-init:i-first\""), "{receipt}");
    assert_eq!(scene.files_with_the_token(), [scene.root.join("etc/kasm-bootstrap/config.toml")]);
}

#[test]
fn after_a_reboot_nothing_is_installed_and_no_token_is_needed() {
    let scene = ready(&plain());
    let mut service = Service::start(&scene);
    service.until("READY=1");
    assert_eq!(service.stop().0, 0);
    let (before, asked) = (picture(&scene.root.join("opt")), scene.mirror.requests().len());
    // An expired token: refused wherever anybody looks at it.
    let old = "eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjF9.c2lnbmF0dXJl";
    configure(&scene, &whole(&scene).replace(TOKEN, old));
    let mut service = Service::start(&scene);
    service.until("READY=1");
    service.until("STATUS=healthy: kasm_agent, kasm_proxy");
    let (code, _, text) = service.stop();
    assert_eq!(code, 0);
    assert!(text.contains("Kasm 1.18.1 was installed at ") && text.contains("it is only watched"), "{text}");
    assert_eq!((picture(&scene.root.join("opt")), scene.mirror.requests().len()), (before, asked));
    assert_eq!(runs(&scene), 1);
}

/// The journal's last entry, and the steps it says were cut short.
fn end_on_record(scene: &Scene) -> (serde_json::Value, Vec<String>) {
    let journal = scene.journal();
    let stopped = journal.iter().filter(|entry| entry["ending"] == "stopped");
    let steps = stopped.map(|entry| entry["step"].as_str().unwrap().to_owned()).collect();
    (journal.last().unwrap().clone(), steps)
}

#[test]
fn a_copy_of_a_disk_is_installed_anew() {
    let scene = ready(&plain());
    let mut service = Service::start(&scene);
    service.until("READY=1");
    assert_eq!(service.stop().0, 0);
    let mark = scene.root.join("opt/kasm/current/conf/of-the-first");
    fs::write(&mark, "").unwrap();

    instance(&scene, "i-copy");
    let mut service = Service::start(&scene);
    service.until("READY=1");
    let (code, _, text) = service.stop();
    assert_eq!((code, mark.exists(), runs(&scene)), (0, false, 2), "{text}");
    let said = "was installed on instance cloud-init:i-first, this is instance cloud-init:i-copy: it is installed anew";
    let on_record = |words: &str| scene.journal().iter().any(|entry| entry.to_string().contains(words));
    assert!(on_record(said) && on_record("a copy of another instance: wiping /opt/kasm/1.18.1"), "{text}");

    // By hand nobody asks which instance it is; and the copy stays what it has become.
    let by_hand = |more: &[&str]| common::spoken(&common::run(scene.command().arg("install").args(more)));
    let (code, out, _) = by_hand(&[]);
    assert!(code == 0 && out.contains("already installed"), "{out}");
    let mut service = Service::start(&scene);
    service.until("READY=1");
    assert_eq!((service.stop().0, runs(&scene)), (0, 3));

    // What was installed by hand can be copied too.
    instance(&scene, "i-by-hand");
    assert_eq!(by_hand(&["--force"]).0, 0);
    instance(&scene, "i-copied-again");
    let mut service = Service::start(&scene);
    service.until("READY=1");
    let (code, _, text) = service.stop();
    assert!(code == 0 && text.contains("on instance cloud-init:i-by-hand, this is"), "{text}");
}

#[test]
fn a_copy_that_was_killed_while_it_was_installed_anew_goes_on_with_that() {
    let scene = ready(&plain());
    let mut service = Service::start(&scene);
    service.until("READY=1");
    service.stop();
    instance(&scene, "i-copy");
    let mark = scene.root.join("opt/kasm/current/conf/of-the-first");
    fs::write(&mark, "").unwrap();
    for step in ["present", "preflight", "unpack", "install", "prove"] {
        let mut service = Service::start(&scene);
        // As soon as the step is on record, which may be too late: then it is the next one that is cut.
        let begun = scene.journal().len();
        let on_record =
            || scene.journal().iter().skip(begun).any(|e| e["event"] == "step.started" && e["step"] == step);
        while !on_record() && service.child.try_wait().unwrap().is_none() && !mark_is_ready(&mut service) {
            std::thread::sleep(Duration::from_millis(1));
        }
        service.signal(Signal::SIGKILL);
        service.child.wait().unwrap();
    }
    let mut service = Service::start(&scene);
    service.until("READY=1");
    assert_eq!(service.stop().0, 0);
    assert!(!mark.exists());
    let receipt = fs::read_to_string(scene.root.join("var/lib/kasm-bootstrap/installed.json")).unwrap();
    assert!(receipt.contains("cloud-init:i-copy") && receipt.contains("\"proved\": true"), "{receipt}");
}

fn mark_is_ready(service: &mut Service) -> bool {
    service.listen();
    service.heard.iter().any(|line| line == "READY=1")
}

#[test]
fn a_configuration_that_comes_late_and_in_parts_is_waited_for() {
    let scene = ready(&plain());
    let directory = scene.root.join("etc/kasm-bootstrap");
    fs::remove_dir_all(&directory).unwrap();
    let mut service = Service::start(&scene);
    service.status("waiting for the configuration (role, release.version and manager.address are not set)");
    configure(&scene, "role = \"agent\"\n[manager]\naddress = \"127.0.0.1\"\n");
    service.status("waiting for the configuration (release.version and manager.token are not set)");
    // Written piece by piece: half of it is wrong, and only for a moment.
    let (text, file) = (whole(&scene), directory.join("config.d/50-site.toml"));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let mut out = fs::File::create(&file).unwrap();
    for piece in text.as_bytes().chunks(40) {
        std::io::Write::write_all(&mut out, piece).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    drop(out);
    service.until("READY=1");
    assert_eq!(service.stop().0, 0);
}

#[test]
fn docker_that_starts_beside_it_is_waited_for_before_anything_is_judged() {
    let scene = ready(&plain());
    write(&scene, "usr/bin/docker", "");
    let (socket, away) = (scene.root.join("run/docker.sock"), scene.root.join("run/not-yet"));
    fs::rename(&socket, &away).unwrap();
    let mut service = Service::start(&scene);
    service.status("preflight: waiting for Docker (");
    fs::rename(&away, &socket).unwrap();
    service.until("READY=1");
    assert_eq!(service.stop().0, 0);
    assert_eq!(runs(&scene), 1);
}

#[test]
fn a_configuration_that_is_wrong_ends_it_at_once_and_for_good() {
    for (wrong, reason) in [
        ("role = ", "config.syntax"),
        ("rolle = \"agent\"", "config.unknown-key"),
        ("[manager]\naddress = \"{upstream_auth_address}\"", "config.several"),
        ("role = \"agent\"\n[run]\nready = \"never\"", "config.value"),
        ("role = \"\"", "config.several"),
    ] {
        let scene = ready(&plain());
        configure(&scene, wrong);
        let mut service = Service::start(&scene);
        let (code, heard) = service.end();
        assert_eq!(code, i32::from(Exit::Configuration.code()), "{wrong}: {}", service.text());
        let last = heard.iter().rev().find(|line| line.starts_with("STATUS=")).unwrap();
        assert!(last.starts_with("STATUS=failed: ") && last.ends_with(&format!("[{reason}]")), "{last}");
        assert!(service.text().contains("\nhelp: "), "{}", service.text());
        assert!(scene.journal().is_empty() && scene.mirror.requests().is_empty());
    }
}

#[test]
fn a_configuration_that_does_not_come_is_not_waited_for_without_end() {
    let scene = ready(&plain());
    configure(&scene, "role = \"agent\"\n[run]\nwait = \"300ms\"\n");
    let mut service = Service::start_with(&scene, &[("KASM_BOOTSTRAP_MANAGER_ADDRESS", "127.0.0.1")]);
    service.status("waiting for the configuration (release.version and manager.token are not set)");
    assert_eq!(service.end().0, 10);
    let text = service.text();
    assert!(text.contains("error: the configuration is still not complete after "), "{text}");
}

#[test]
fn told_to_stop_while_it_waits_it_has_done_nothing() {
    let scene = ready(&plain());
    configure(&scene, "");
    let mut service = Service::start(&scene);
    service.status("waiting for the configuration");
    let (code, heard, text) = service.stop();
    assert_eq!((code, scene.journal().len()), (0, 0), "{text}");
    assert!(heard.contains(&"STOPPING=1".to_owned()), "{heard:?}");
}

#[test]
fn told_to_stop_during_a_download_it_leaves_a_journal_from_which_the_next_one_goes_on() {
    let scene = ready(&Options {
        padding: kasm_stand_in::release::Padding { files: 4, bytes: 500_000, compressible: false },
        ..plain()
    });
    scene.mirror.script([Stall(1_000_000)]);
    let mut service = Service::start(&scene);
    assert!(scene.mirror.wait_for_stall(PATIENCE));
    service.status("fetch: ");
    let (code, heard, text) = service.stop();
    assert_eq!(code, 0, "{text}");
    let stopping = heard.iter().position(|line| line == "STOPPING=1").unwrap();
    assert!(heard[stopping..].iter().any(|line| line.starts_with("STATUS=stopping")), "{heard:?}");
    let (last, stopped) = end_on_record(&scene);
    assert_eq!((&last["event"], &last["failure"]["reason"]), (&"run.ended".into(), &"run.interrupted".into()));
    assert!(stopped.contains(&"fetch".to_owned()), "{stopped:?}");
    let mut service = Service::start(&scene);
    service.until("READY=1");
    assert_eq!(service.stop().0, 0);
}

#[test]
fn told_to_stop_during_the_installer_it_ends_that_first_and_the_next_one_finishes() {
    let hang = "[ -e \"$KASM_BOOTSTRAP_ROOT/go-on\" ] || { echo hanging; while true; do sleep 1; done; }";
    let scene = ready(&Options { faults: vec![Fault::Bash { at: Point::Files, lines: hang.into() }], ..plain() });
    let mut service = Service::start(&scene);
    service.status("install: hanging");
    let (code, heard, text) = service.stop();
    assert_eq!(code, 0, "{text}");
    assert!(heard.contains(&"STOPPING=1".to_owned()), "{heard:?}");
    let (last, stopped) = end_on_record(&scene);
    assert_eq!((&last["event"], stopped), (&"run.ended".into(), vec!["install".to_owned()]));
    assert!(!scene.root.join("etc/apt/apt.conf.d/99kasm-bootstrap").exists());

    fs::write(scene.root.join("go-on"), "").unwrap();
    let mut service = Service::start(&scene);
    service.until("READY=1");
    assert_eq!((service.stop().0, scene.whole_downloads()), (0, 1));
}

#[test]
fn killed_it_goes_on_where_it_was_and_what_it_changed_for_the_time_is_put_back() {
    let hang = "[ -e \"$KASM_BOOTSTRAP_ROOT/go-on\" ] || { echo hanging; while true; do sleep 1; done; }";
    let scene = ready(&Options { faults: vec![Fault::Bash { at: Point::Apt, lines: hang.into() }], ..plain() });
    let mut service = Service::start(&scene);
    service.status("install: hanging");
    service.signal(Signal::SIGKILL);
    service.end();
    let snippet = scene.root.join("etc/apt/apt.conf.d/99kasm-bootstrap");
    assert!(snippet.exists());
    fs::write(scene.root.join("go-on"), "").unwrap();
    let mut service = Service::start(&scene);
    service.until("READY=1");
    assert_eq!((service.stop().0, scene.whole_downloads(), snippet.exists()), (0, 1, false));
    // Also where nothing was left to do but this.
    fs::write(&snippet, "").unwrap();
    let mut service = Service::start(&scene);
    service.until("READY=1");
    assert_eq!((service.stop().0, runs(&scene), snippet.exists()), (0, 2, false));
}

#[test]
fn a_node_that_falls_ill_and_recovers_is_told_each_time_it_changes_and_only_then() {
    let scene = ready(&plain());
    let mut service = Service::start(&scene);
    service.status("healthy: kasm_agent, kasm_proxy");
    scene.containers(ill(Condition::Unhealthy));
    service.status("degraded: kasm_agent is running but unhealthy");
    scene.containers(ill(Condition::Gone));
    service.status("degraded: kasm_agent is not there");
    scene.containers(healthy());
    service.status("healthy: kasm_agent, kasm_proxy");
    let looks = scene.docker.requests().len();
    while scene.docker.requests().len() < looks + 3 {
        service.listen();
    }
    let (code, _, text) = service.stop();
    assert_eq!(code, 0);
    // What other probes find of this machine is not the point here.
    let lines = text.lines().filter_map(|line| line.split_once("s] ")).map(|(_, said)| said);
    let lines =
        lines.filter(|said| ["containers: ", "healthy: ", "degraded: "].iter().any(|kind| said.starts_with(kind)));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @"
    healthy: kasm_agent, kasm_proxy
    containers: fail: kasm_agent is running but unhealthy
    degraded: kasm_agent is running but unhealthy
    degraded: kasm_agent is not there
    containers: ok: kasm_agent, kasm_proxy
    healthy: kasm_agent, kasm_proxy
    ");
}

#[test]
fn after_a_reboot_containers_get_time_to_come_up_and_a_node_that_does_not_is_started_again() {
    let scene = ready(&plain());
    let mut service = Service::start(&scene);
    service.until("READY=1");
    service.stop();
    // Docker starts them anew: its first looks find them starting.
    scene.containers(ill(Condition::Restarting(1)));
    let mut service = Service::start(&scene);
    service.status("waiting for container kasm_agent (is restarting (exit 1))");
    scene.containers(healthy());
    service.until("READY=1");
    service.stop();

    scene.containers(ill(Condition::Restarting(1)));
    configure(&scene, &whole(&scene).replace("120s", "1s"));
    let mut service = Service::start(&scene);
    let (code, heard) = service.end();
    assert_eq!(code, i32::from(Exit::Unhealthy.code()), "{}", service.text());
    assert!(!heard.contains(&"READY=1".to_owned()) && Exit::Unhealthy.may_pass());
}

#[test]
fn a_service_that_is_to_be_ready_at_once_is_and_still_says_how_the_node_is() {
    let scene = ready(&plain());
    let complete = whole(&scene);
    configure(&scene, "[run]\nready = \"at-once\"\n");
    let mut service = Service::start(&scene);
    service.until("READY=1");
    service.status("waiting for the configuration");
    configure(&scene, &complete.replace("[run]\n", "[run]\nready = \"at-once\"\n"));
    service.status("healthy: kasm_agent, kasm_proxy");
    let (code, heard, _) = service.stop();
    assert_eq!((code, heard.contains(&"READY=1".to_owned())), (0, false));
}

#[test]
fn cloud_inits_network_stage_is_waited_for_and_its_end_brings_the_configuration() {
    let scene = ready(&plain());
    fs::remove_dir_all(scene.root.join("run/cloud-init")).unwrap();
    fs::remove_dir_all(scene.root.join("etc/kasm-bootstrap")).unwrap();
    let stages = |init: &str, stage: &str| {
        let text = format!(
            r#"{{"v1": {{"init-local": {{"finished": 1.5}}, "init": {{"finished": {init}}}, "stage": {stage}}}}}"#
        );
        write(&scene, "run/cloud-init/status.json", &text);
    };
    write(&scene, "run/cloud-init/enabled", "");
    let mut service = Service::start(&scene);
    service.status("waiting for cloud-init's network stage (it has not begun)");
    stages("null", "\"init\"");
    service.status("waiting for cloud-init's network stage (it is in its stage init)");
    instance(&scene, "i-late");
    configure(&scene, &whole(&scene));
    assert!(scene.journal().is_empty(), "it has begun too early");
    stages("2.5", "null");
    service.until("READY=1");
    assert_eq!(service.stop().0, 0);
    let receipt = fs::read_to_string(scene.root.join("var/lib/kasm-bootstrap/installed.json")).unwrap();
    assert!(receipt.contains("cloud-init:i-late"), "{receipt}");
}

#[test]
fn a_node_that_is_proved_is_watched_also_when_its_configuration_is_gone() {
    let scene = ready(&plain());
    let mut service = Service::start(&scene);
    service.until("READY=1");
    service.stop();
    fs::remove_dir_all(scene.root.join("etc/kasm-bootstrap")).unwrap();
    let mut service = Service::start(&scene);
    service.until("READY=1");
    let (code, _, text) = service.stop();
    assert!(code == 0 && text.contains("it is watched without a configuration"), "{text}");
}

/// An EC2 machine without cloud-init, whose metadata service is at this address.
fn on_ec2(scene: &Scene, endpoint: &str) {
    write(scene, "sys/class/dmi/id/sys_vendor", "Amazon EC2\n");
    fs::remove_dir_all(scene.root.join("run/cloud-init")).unwrap();
    fs::remove_file(scene.root.join("etc/kasm-bootstrap/config.toml")).unwrap();
    let text = format!("[metadata]\nendpoint = \"{endpoint}\"\n");
    write(scene, "etc/kasm-bootstrap/config.d/10-image.toml", &text);
}

#[test]
fn user_data_brings_the_configuration_and_the_instance() {
    let scene = ready(&plain());
    let user_data = format!("#kasm-bootstrap\n{}", whole(&scene));
    let metadata = Metadata::start(Behaviour::ec2(Some(user_data.as_bytes())));
    on_ec2(&scene, &metadata.url());
    let mut service = Service::start(&scene);
    service.until("READY=1");
    let (code, _, text) = service.stop();
    assert!(code == 0 && text.contains("took the configuration from user-data (EC2 instance metadata)"), "{text}");
    let receipt = fs::read_to_string(scene.root.join("var/lib/kasm-bootstrap/installed.json")).unwrap();
    assert!(receipt.contains("metadata:i-0abc"), "{receipt}");

    // A reboot: what was kept is gone, and asked for again.
    fs::remove_dir_all(scene.root.join("run/kasm-bootstrap")).unwrap();
    let mut service = Service::start(&scene);
    service.until("READY=1");
    assert_eq!((service.stop().0, runs(&scene)), (0, 1));
    // What cloud-init says of the same instance needs no question at all.
    instance(&scene, "i-0abc");
    let asked = metadata.requests().len();
    let mut service = Service::start(&scene);
    service.until("READY=1");
    assert_eq!((service.stop().0, runs(&scene), metadata.requests().len()), (0, 1, asked));
}

#[test]
fn user_data_that_cannot_be_had_is_only_missed_where_the_configuration_is_not_complete() {
    let scene = ready(&plain());
    let complete = whole(&scene);
    let metadata = Metadata::start(Behaviour { token_status: "403 Forbidden".into(), ..Behaviour::ec2(None) });
    on_ec2(&scene, &metadata.url());
    let mut service = Service::start(&scene);
    let (code, heard) = service.end();
    assert_eq!(code, i32::from(Exit::Preflight.code()), "{}", service.text());
    assert!(heard.iter().any(|line| line.ends_with("[machine.metadata-no-token]")), "{heard:?}");

    configure(&scene, &complete);
    let mut service = Service::start(&scene);
    service.until("READY=1");
    let (code, _, text) = service.stop();
    assert!(code == 0 && text.contains("warning: the metadata service of Amazon EC2"), "{text}");
}

#[test]
fn user_data_that_is_wrong_is_an_error_like_any_other_configuration() {
    let scene = ready(&plain());
    let metadata = Metadata::start(Behaviour::ec2(Some(b"#kasm-bootstrap\nrolle = \"agent\"\n")));
    on_ec2(&scene, &metadata.url());
    let mut service = Service::start(&scene);
    assert_eq!(service.end().0, i32::from(Exit::Configuration.code()));
    assert!(
        service.text().contains("user-data (EC2 instance metadata):2: there is no setting `rolle`"),
        "{}",
        service.text()
    );
}

#[test]
fn a_refused_token_and_a_failed_installer_end_it_with_what_systemd_goes_by() {
    let scene = ready(&plain());
    configure(&scene, &whole(&scene).replace(TOKEN, "{manager_token}"));
    let mut service = Service::start(&scene);
    let (code, heard) = service.end();
    assert_eq!(Exit::from_code(u8::try_from(code).unwrap()), Exit::Token, "{}", service.text());
    assert!(heard.iter().any(|line| line.starts_with("STATUS=failed: ") && line.contains("[token.placeholder]")));

    let fault = Fault::Fail { at: Point::Files, words: "no".into(), code: 7 };
    let scene = ready(&Options { faults: vec![fault], ..plain() });
    let mut service = Service::start(&scene);
    assert_eq!(Exit::from_code(u8::try_from(service.end().0).unwrap()), Exit::Installer);
}

#[test]
fn the_unit_tries_again_exactly_what_may_pass() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/kasm-bootstrap.service");
    let Ok(text) = fs::read_to_string(&unit) else {
        println!("there is no {} to look at", unit.display());
        return;
    };
    let named: Vec<u8> = text
        .lines()
        .filter_map(|line| line.strip_prefix("RestartPreventExitStatus="))
        .flat_map(str::split_whitespace)
        .map(|code| code.parse().unwrap())
        .collect();
    // An upgrade's own, which the service never ends with.
    let can_end = |exit: &Exit| !matches!(exit, Exit::Done | Exit::RolledBack);
    let never = Exit::ALL.into_iter().filter(|exit| can_end(exit) && !exit.may_pass()).map(Exit::code);
    let mut wanted: Vec<u8> = never.collect();
    let mut found: Vec<u8> = named.into_iter().filter(|code| *code != Exit::RolledBack.code()).collect();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
}

/// A failing boot is told on the serial console, the last thing anybody sees of a machine that is destroyed.
#[test]
fn a_boot_that_fails_leaves_its_reason_on_the_serial_console() {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    let scene = ready(&plain());
    let (device, active) = (scene.root.join("dev/ttyS0"), scene.root.join("sys/class/tty/console/active"));
    fs::create_dir_all(device.parent().unwrap()).unwrap();
    fs::create_dir_all(active.parent().unwrap()).unwrap();
    fs::write(&active, "tty0 ttyS0\n").unwrap();
    nix::unistd::mkfifo(&device, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let reader = fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&device);
    scene.mirror.always(kasm_stand_in::mirror::Fault::WrongBytes);
    let mut service = Service::start(&scene);
    assert_eq!(service.end().0, i32::from(Exit::Digest.code()));
    let mut console = String::new();
    reader.unwrap().read_to_string(&mut console).unwrap();
    assert!(console.contains("tokens: the manager token is well-formed"), "{console}");
    assert!(console.contains("kasm-bootstrap: FAILED: ") && console.contains("kasm-bootstrap:   help: "), "{console}");
    assert!(!holds(console.as_bytes(), TOKEN.as_bytes()));
}
