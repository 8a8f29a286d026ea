//! What goes wrong with upgrades, and how the node ends: with the new version healthy, or with the old one
//! healthy as it was. What each test saw is in `docs/faults.md`.

mod common;
mod faults;
mod node;

use common::{Scene, beside, run, spoken, start};
use faults::disk::Disk;
use faults::table::{End, all, saw};
use faults::{exit_code, is_ended, is_started, processes_below, until};
use kasm_stand_in::docker::Condition;
use kasm_stand_in::manager::{Behaviour, Issue, Registry, jwt};
use kasm_stand_in::release::{Fault, Options, Point};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use node::{NEW, Node, OLD, Role, reason, release, words};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

fn faulty(fault: Fault) -> Options {
    Options { faults: vec![fault], ..release(NEW) }
}

fn fails(at: Point) -> Fault {
    Fault::Fail { at, words: "something in Kasm's own words".into(), code: 7 }
}

fn bash(at: Point, lines: &str) -> Fault {
    Fault::Bash { at, lines: lines.into() }
}

/// The release is remembered, named and refused, unless it is forced.
fn is_remembered(node: &Node) {
    let before = node.machine();
    let (code, answer, _) = node.upgraded(&[]);
    assert_eq!((code, reason(&answer).as_str()), (12, "upgrade.bad-release"), "{answer:#}");
    assert_eq!(node.machine(), before);
}

#[track_caller]
fn rolled_back(node: &Node, more: &[&str]) -> Value {
    let before = node.kasm();
    let (code, answer, err) = node.upgraded(more);
    assert_eq!((code, reason(&answer).as_str()), (20, "upgrade.rolled-back"), "{answer:#} {err}");
    node.is_old();
    assert_eq!(node.kasm(), before, "the old version is not as it was");
    assert_eq!(processes_below(&node.scene), Vec::<String>::new());
    answer
}

#[test]
fn an_upgrade_sh_that_fails_before_it_changes_anything_leaves_the_node_alone() {
    let node = Node::agent_to(&faulty(fails(Point::Before)));
    let (before, images) = (node.kasm(), node.images());
    let (code, answer, _) = node.upgraded(&[]);
    assert_eq!((code, reason(&answer).as_str()), (18, "installer.failed"), "{answer:#}");
    assert!(words(&answer).contains("something in Kasm's own words"), "{answer:#}");
    node.is_old();
    assert_eq!((node.kasm(), node.images()), (before, images));
    saw("upgrade", "upgrade.sh fails, nothing changed", "upgrade", End::Untouched, code, &reason(&answer));
}

macro_rules! fails_at {
    ($($test:ident: $point:ident,)*) => { $(
        #[test]
        fn $test() {
            if !all() && !matches!(Point::$point, Point::Stopped | Point::Linked | Point::Starting) {
                return;
            }
            let node = Node::agent_to(&faulty(fails(Point::$point)));
            let answer = rolled_back(&node, &[]);
            assert!(words(&answer).contains("something in Kasm's own words"), "{answer:#}");
            is_remembered(&node);
            saw("upgrade.sh", "it fails", stringify!($point), End::Old, 20, &reason(&answer));
        }
    )* };
}

fails_at! {
    an_upgrade_sh_that_fails_with_the_services_stopped_is_rolled_back: Stopped,
    an_upgrade_sh_that_fails_with_the_new_directory_empty_is_rolled_back: Wiped,
    an_upgrade_sh_that_fails_with_the_new_files_there_is_rolled_back: Files,
    an_upgrade_sh_that_fails_with_the_links_moved_is_rolled_back: Linked,
    an_upgrade_sh_that_fails_before_it_starts_anything_is_rolled_back: Carried,
    an_upgrade_sh_that_cannot_start_anything_is_rolled_back: Starting,
    an_upgrade_sh_that_fails_at_its_very_end_is_rolled_back: Started,
}

#[test]
fn what_an_upgrade_sh_does_to_the_old_version_is_undone() {
    let lines = "old=\"$KASM_BOOTSTRAP_ROOT/opt/kasm/1.17.0\"\n\
                 rm -r \"$old/certs\"; echo broken >\"$old/docker/docker-compose.yaml\"\n\
                 echo new >\"$old/conf/new\"; chmod 777 \"$old/conf/app/agent/agent.app.config.yaml\"\nexit 9";
    let node = Node::agent_to(&faulty(bash(Point::Carried, lines)));
    rolled_back(&node, &[]);
}

#[test]
fn a_new_version_that_is_not_healthy_is_rolled_back_and_its_logs_are_kept_without_tokens() {
    let lines = "echo \"the token is $MANAGER_TOKEN\" >\"$HOME_OF_VERSION/log/agent.log\"";
    let node = Node::agent_to(&faulty(bash(Point::Linked, lines)));
    node.scene.docker.change(|script| {
        script.versions.insert(NEW.into(), Condition::Unhealthy);
        script.logs.insert("kasm_agent".into(), "it cannot work\n".into());
    });
    let answer = rolled_back(&node, &["--deadline", "7s"]);
    assert!(words(&answer).contains("kasm_agent"), "{answer:#}");
    let kept = node.state("attempts/1").join(format!("kasm-{NEW}"));
    let text = |name: &str| fs::read_to_string(kept.join(name)).unwrap();
    assert_eq!(text("agent.log"), "the token is [masked]\n");
    assert!(text("kasm_agent.log").contains("it cannot work"));
    is_remembered(&node);
    saw("upgrade", "container unhealthy", "prove", End::Old, 20, &reason(&answer));
}

#[test]
fn a_new_version_whose_containers_do_not_stay_up_is_rolled_back() {
    let node = Node::agent();
    node.scene.docker.change(|script| script.flapping.push(NEW.into()));
    let answer = rolled_back(&node, &["--deadline", "7s"]);
    assert!(words(&answer).contains("does not stay up"), "{answer:#}");
    saw("upgrade", "container restarts", "prove", End::Old, 20, &reason(&answer));
}

#[test]
fn a_new_version_that_is_somebody_else_to_its_manager_is_rolled_back() {
    let lines = "sed -i 's/server_id:.*/server_id: another/' \"$NEW/conf/app/agent/agent.app.config.yaml\"";
    let node = Node::agent_to(&faulty(bash(Point::Carried, lines)));
    let answer = rolled_back(&node, &[]);
    assert!(words(&answer).contains("another"), "{answer:#}");
    saw("upgrade", "other identity or settings", "prove", End::Old, 20, &reason(&answer));
}

#[test]
fn a_new_version_that_has_forgotten_its_manager_is_rolled_back() {
    let lines = "sed -i \"s/hostnames:.*/hostnames: ['elsewhere']/\" \"$NEW/conf/app/agent/agent.app.config.yaml\"";
    let node = Node::agent_to(&faulty(bash(Point::Carried, lines)));
    let answer = rolled_back(&node, &[]);
    assert!(words(&answer).contains("manager.hostnames"), "{answer:#}");
}

#[test]
fn the_false_token_of_1_16_0_is_rolled_back() {
    let node = Node::new(Role::Guac, &release(OLD), &Options { false_bug: true, ..release(NEW) });
    let answer = rolled_back(&node, &["--deadline", "7s"]);
    assert!(words(&answer).contains("Not enough segments"), "{answer:#}");
    saw("upgrade", "auth token is \"false\"", "prove", End::Old, 20, &reason(&answer));
}

#[test]
fn a_manager_that_is_down_before_keeps_everything_as_it_is() {
    let node = Node::agent();
    node.scene.manager.take_down(true);
    let before = node.machine();
    let (code, answer, _) = node.upgraded(&[]);
    assert_eq!(code, 13, "{answer:#}");
    assert_eq!(node.machine(), before);
    node.is_old();
    saw("upgrade", "manager down", "manager", End::Untouched, code, &reason(&answer));
}

/// Takes the manager down as soon as upgrade.sh is at work.
fn upgrade_and_lose_the_manager(node: &Node) -> (i32, Value, String) {
    std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| node.upgraded(&["--deadline", "8s"]));
        until(&node.scene, |entry| is_started(entry, "upgrade"));
        node.scene.manager.take_down(true);
        upgrade.join().unwrap()
    })
}

#[test]
fn a_manager_that_is_silent_afterwards_undoes_nothing_and_the_next_run_only_proves() {
    beside([Role::Agent, Role::Guac], |role| {
        let slow = Options { pace: Duration::from_millis(100), ..release(NEW) };
        let node = Node::new(role, &release(OLD), &slow);
        let (code, answer, err) = upgrade_and_lose_the_manager(&node);
        assert_eq!((code, reason(&answer).as_str()), (13, "upgrade.not-proved"), "{answer:#} {err}");
        assert!(words(&answer).contains("is in place, and not proved yet"), "{answer:#}");
        assert_eq!(node.version(), NEW);
        let (refused, answer, _) = common_install(&node);
        assert_eq!((refused, reason(&answer).as_str()), (12, "upgrade.open"), "{answer:#}");

        node.scene.manager.take_down(false);
        let begun = count(&node, "upgrade");
        let (again, answer, err) = node.upgraded(&[]);
        assert_eq!(again, 0, "{answer:#} {err}");
        assert_eq!(count(&node, "upgrade"), begun, "upgrade.sh was run again");
        node.is_new();
        if role == Role::Agent {
            saw("upgrade", "manager down", "prove", End::Unproved, code, "upgrade.not-proved");
        }
    });
}

fn count(node: &Node, step: &str) -> usize {
    node.scene.journal().iter().filter(|entry| is_started(entry, step)).count()
}

/// `install` of the release that is there.
fn common_install(node: &Node) -> (i32, Value, String) {
    let (code, out, err) = spoken(&run(node.scene.install(&["--json"]).env("KASM_BOOTSTRAP_MANAGER_WAIT", "2s")));
    (code, serde_json::from_str(&out).unwrap_or_default(), err)
}

#[test]
fn a_registration_token_that_the_manager_does_not_take_ends_with_the_old_version() {
    // The old auth tokens are carried over and good: they are taken away, so that it has to register.
    let lines =
        "for file in \"$NEW\"/conf/app/*/*.yaml; do sed -i 's/^  auth_token:.*/  auth_token: null/' \"$file\"; done";
    let node = Node::new(Role::Guac, &release(OLD), &faulty(bash(Point::Carried, lines)));
    let registry = Registry { refusal: Some("Invalid registration token".into()), ..Registry::default() };
    node.scene.manager.deal(registry);
    let answer = rolled_back(&node, &["--deadline", "7s"]);
    saw("upgrade", "wrong token", "prove", End::Old, 20, &reason(&answer));
}

#[test]
fn auth_tokens_that_come_expired_end_with_the_old_version() {
    let node = Node::guac();
    let registry = Registry { issue: Issue::Expired(Duration::from_secs(3600)), ..Registry::default() };
    node.scene.manager.deal(registry);
    let answer = rolled_back(&node, &["--deadline", "7s"]);
    assert!(words(&answer).contains("expired"), "{answer:#}");
    saw("upgrade", "expired token", "prove", End::Old, 20, &reason(&answer));
}

fn registration(expires_in: i64) -> String {
    jwt::sign(&json!({ "exp": jiff::Timestamp::now().as_second() + expires_in }), jwt::Signer::Manager)
}

#[test]
fn a_registration_token_that_has_expired_is_refused_before_anything_is_touched() {
    let node = Node::guac();
    let before = node.machine();
    let (code, answer, _) = node.upgraded(&["--registration-token", &registration(-3600)]);
    assert_eq!(code, 11, "{answer:#}");
    assert_eq!(node.machine(), before);
    saw("upgrade", "expired token", "tokens", End::Untouched, code, &reason(&answer));
}

#[test]
fn a_clock_that_is_off_is_told_from_a_token_that_is_no_good_and_stops_nothing() {
    let node = Node::guac();
    // To this machine the token is not good yet; to the manager it is, and later.
    let now = jiff::Timestamp::now().as_second();
    let token = jwt::sign(&json!({ "nbf": now + 3600, "exp": now + 36_000 }), jwt::Signer::Manager);
    let later = std::time::SystemTime::now() + Duration::from_secs(5400);
    let date = Some(httpdate::fmt_http_date(later));
    node.scene.manager.behave(Behaviour { date, ..Behaviour::default() });
    let (code, answer, err) = node.upgraded(&["--registration-token", &token]);
    assert_eq!(code, 0, "{answer:#} {err}");
    assert!(err.contains("clock"), "{err}");
    node.is_new();
    saw("upgrade", "clock off", "tokens", End::New, code, "");
}

#[test]
fn a_token_that_cannot_be_right_is_refused_before_anything_is_touched() {
    let node = Node::guac();
    let before = node.machine();
    let (code, answer, _) = node.upgraded(&["--registration-token", "[COMPONENT_REGISTRATION_TOKEN]"]);
    assert_eq!(node.machine(), before);
    saw("upgrade", "wrong token", "tokens", End::Untouched, code, &reason(&answer));
}

#[test]
fn told_to_stop_while_upgrade_sh_works_the_old_version_is_brought_back() {
    let node = Node::agent_to(&faulty(bash(Point::Linked, "echo linked\nsleep 60")));
    let before = node.kasm();
    let said = node.scene.root.join("run/said.txt");
    let mut child = start(&mut node.upgrade(&[]), &said);
    until(&node.scene, |entry| entry["line"] == "linked");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(exit_code(&mut child), Some(20), "{}", fs::read_to_string(&said).unwrap());
    node.is_old();
    assert_eq!(node.kasm(), before);
    assert!(!node.state("bad-releases.json").exists(), "a signal is not the release's fault");
    saw("upgrade", "SIGTERM", "upgrade", End::Old, 20, "upgrade.rolled-back");
}

#[test]
fn told_to_stop_while_the_new_version_is_proved_it_stays_and_the_next_run_proves_it() {
    let node = Node::agent();
    node.scene.docker.change(|script| {
        script.versions.insert(NEW.into(), Condition::Starting);
    });
    let said = node.scene.root.join("run/said.txt");
    let mut child = start(&mut node.upgrade(&[]), &said);
    until(&node.scene, |entry| entry["event"] == "step.waiting" && entry["step"] == "prove");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(exit_code(&mut child), Some(1), "{}", fs::read_to_string(&said).unwrap());
    assert_eq!(node.version(), NEW);
    node.scene.docker.change(|script| script.versions.clear());
    let (code, answer, err) = node.upgraded(&[]);
    assert_eq!(code, 0, "{answer:#} {err}");
    node.is_new();
    saw("upgrade", "SIGTERM", "prove", End::Unproved, 1, "run.interrupted");
}

#[test]
fn an_upgrade_sh_that_hangs_is_rolled_back_at_the_end_of_its_time() {
    let node = Node::agent_to(&faulty(Fault::Hang { at: Point::Linked, ignore_term: true }));
    let answer = rolled_back(&node, &["--deadline", "10s"]);
    assert!(words(&answer).contains("still at work"), "{answer:#}");
    saw("upgrade", "upgrade.sh hangs", "upgrade", End::Old, 20, &reason(&answer));
}

#[test]
fn a_disk_that_is_full_for_the_snapshot_keeps_everything_as_it_is() {
    let node = Node::agent();
    let Some(disk) = Disk::over(&node.scene, "var/lib/kasm-bootstrap/snapshots") else { return };
    disk.fill();
    let before = (node.kasm(), node.images());
    let (code, answer, _) = node.upgraded(&[]);
    assert_eq!((code, reason(&answer).as_str()), (1, "snapshot.disk-full"), "{answer:#}");
    assert_eq!((node.kasm(), node.images()), before);
    disk.has_room_again();
    let (again, _, err) = node.upgraded(&[]);
    assert_eq!(again, 0, "{err}");
    node.is_new();
    saw("upgrade", "disk full", "snapshot", End::Untouched, code, &reason(&answer));
}

#[test]
fn a_disk_without_room_for_both_versions_is_refused_before_anything_is_touched() {
    let scene = Scene::new(&release(OLD));
    let Some(disk) = Disk::over(&scene, "opt/kasm") else { return };
    let node = Node::on(scene, Role::Agent, &release(NEW));
    // As heavy as it is, there is room for a fresh installation beside it, and not for another of its weight.
    let heavy = fs::File::create(disk.path.join(OLD).join("www/heavy.bin")).unwrap();
    nix::fcntl::posix_fallocate(&heavy, 0, 700 << 20).unwrap();
    disk.remount(nix::mount::MsFlags::empty(), "size=1300m,nr_inodes=100000,mode=0755");
    let before = node.machine();
    let (code, answer, err) = node.upgraded(&[]);
    assert_eq!(code, 12, "{answer:#} {err}");
    assert!(
        words(&answer).contains("/opt/kasm/1.17.0 takes ") && words(&answer).contains("stays for a rollback"),
        "{answer:#}"
    );
    assert_eq!(node.machine(), before);
}

#[test]
fn a_disk_that_fills_up_below_upgrade_sh_ends_with_the_old_version() {
    let scene = Scene::new(&release(OLD));
    let Some(disk) = Disk::over(&scene, "opt/kasm") else { return };
    let wait = "echo ready\nuntil [ -e \"$KASM_BOOTSTRAP_ROOT/run/go\" ]; do sleep 0.05; done";
    let node = Node::on(scene, Role::Agent, &faulty(bash(Point::Stopped, wait)));
    let before = node.kasm();
    let (code, answer, err) = disk.fill_during(&node.scene, || node.upgraded(&[]));
    assert_eq!((code, reason(&answer).as_str()), (20, "upgrade.rolled-back"), "{answer:#} {err}");
    disk.has_room_again();
    node.is_old();
    assert_eq!(node.kasm(), before);
    assert!(!node.state("bad-releases.json").exists(), "a full disk is not the release's fault");
    saw("upgrade", "disk full", "upgrade", End::Old, code, &reason(&answer));
}

#[test]
fn a_journal_that_fills_up_while_the_new_version_is_proved_undoes_nothing() {
    let node = Node::agent();
    let Some(disk) = Disk::over(&node.scene, "var/lib/kasm-bootstrap") else { return };
    node.scene.docker.change(|script| {
        script.versions.insert(NEW.into(), Condition::Starting);
    });
    let (code, answer, _) = std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| node.upgraded(&[]));
        until(&node.scene, |entry| entry["event"] == "step.waiting" && entry["step"] == "prove");
        disk.fill();
        node.scene.docker.change(|script| script.versions.clear());
        upgrade.join().unwrap()
    });
    assert_eq!((code, reason(&answer).as_str()), (1, "run.journal"), "{answer:#}");
    assert_eq!(node.version(), NEW);
    disk.has_room_again();
    let (again, _, err) = node.upgraded(&[]);
    assert_eq!(again, 0, "{err}");
    node.is_new();
    saw("upgrade", "disk full", "prove", End::Unproved, code, &reason(&answer));
}

/// Kills an upgrade when the journal has such an entry, and upgrades again.
fn killed(node: &Node, at: impl Fn(&Value) -> bool) -> (i32, Value, String) {
    let mut child = start(&mut node.upgrade(&[]), &node.scene.root.join("run/said.txt"));
    until(&node.scene, at);
    child.kill().unwrap();
    child.wait().unwrap();
    let answer = node.upgraded(&[]);
    assert_eq!(processes_below(&node.scene), Vec::<String>::new());
    answer
}

macro_rules! killed_at {
    ($($test:ident: $step:literal,)*) => { $(
        #[test]
        fn $test() {
            if !all() && !["fetch", "snapshot", "upgrade", "prove", "commit"].contains(&$step) {
                return;
            }
            let node = Node::agent_to(&Options { pace: Duration::from_millis(50), ..release(NEW) });
            let (code, answer, err) = killed(&node, |entry| is_started(entry, $step));
            assert_eq!(code, 0, "{answer:#} {err}");
            node.is_new();
            saw("upgrade", "kill -9", $step, End::New, code, "");
        }
    )* };
}

killed_at! {
    killed_while_it_recovers_the_next_run_ends_with_the_new_version: "recover",
    killed_while_it_checks_tokens_the_next_run_ends_with_the_new_version: "tokens",
    killed_while_it_looks_what_is_there_the_next_run_ends_with_the_new_version: "present",
    killed_while_it_looks_for_sessions_the_next_run_ends_with_the_new_version: "sessions",
    killed_in_preflight_the_next_run_ends_with_the_new_version: "preflight",
    killed_while_it_fetches_the_next_run_ends_with_the_new_version: "fetch",
    killed_while_it_waits_for_the_manager_the_next_run_ends_with_the_new_version: "manager",
    killed_while_it_waits_for_packages_the_next_run_ends_with_the_new_version: "packages",
    killed_while_it_finds_its_address_the_next_run_ends_with_the_new_version: "address",
    killed_while_it_unpacks_the_next_run_ends_with_the_new_version: "unpack",
    killed_while_it_drains_the_next_run_ends_with_the_new_version: "drain",
    killed_while_it_takes_the_snapshot_the_next_run_ends_with_the_new_version: "snapshot",
    killed_while_upgrade_sh_works_the_next_run_ends_with_the_new_version: "upgrade",
    killed_while_it_proves_the_next_run_ends_with_the_new_version: "prove",
    killed_while_it_commits_the_next_run_ends_with_the_new_version: "commit",
}

macro_rules! killed_at_point {
    ($($test:ident: $point:ident,)*) => { $(
        #[test]
        fn $test() {
            if !all() && !matches!(Point::$point, Point::Files | Point::Linked) {
                return;
            }
            // The first time it stays there.
            let mark = "$KASM_BOOTSTRAP_ROOT/run/was-here";
            let lines = format!("echo here\nif [ ! -e \"{mark}\" ]; then touch \"{mark}\"; sleep 30; fi");
            let node = Node::agent_to(&faulty(bash(Point::$point, &lines)));
            let (code, answer, err) = killed(&node, |entry| entry["line"] == "here");
            assert_eq!(code, 0, "{answer:#} {err}");
            node.is_new();
            saw("upgrade.sh", "kill -9", stringify!($point), End::New, code, "");
        }
    )* };
}

killed_at_point! {
    killed_with_the_services_stopped_the_next_run_ends_with_the_new_version: Stopped,
    killed_with_the_new_directory_empty_the_next_run_ends_with_the_new_version: Wiped,
    killed_with_the_new_files_there_the_next_run_ends_with_the_new_version: Files,
    killed_with_the_links_moved_the_next_run_ends_with_the_new_version: Linked,
    killed_before_it_starts_anything_the_next_run_ends_with_the_new_version: Carried,
    killed_at_the_very_end_of_upgrade_sh_the_next_run_ends_with_the_new_version: Started,
}

#[test]
fn killed_with_the_links_moved_a_rollback_ends_with_the_old_version() {
    let node = Node::agent_to(&faulty(bash(Point::Linked, "echo here\nsleep 30")));
    let before = node.kasm();
    let mut child = start(&mut node.upgrade(&[]), &node.scene.root.join("run/said.txt"));
    until(&node.scene, |entry| entry["line"] == "here");
    child.kill().unwrap();
    child.wait().unwrap();
    let (code, answer, err) = node.rolled_back(&[]);
    assert_eq!(code, 0, "{answer:#} {err}");
    node.is_old();
    assert_eq!(node.kasm(), before);
    assert!(node.scene.journal().iter().any(|entry| is_ended(entry, "prove-old")));
}
