//! The main job, whole: the real binary on a scratch machine.

mod common;
#[path = "faults/table.rs"]
mod table;

use common::{Scene, TOKEN, WAYS, beside, give_token, holds, picture, run, spoken, start};
use kasm_stand_in::docker::{Condition, Script};
use kasm_stand_in::manager::Behaviour;
use kasm_stand_in::mirror::Fault::Cut;
use kasm_stand_in::release::{Fault, LISTS_LOCKED, Options, Point};
use serde_json::Value;
use sha2::Digest;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn plain() -> Options {
    Options::default()
}

fn faulty(fault: Fault) -> Options {
    Options { faults: vec![fault], ..Options::default() }
}

/// What the journal says of each ending, in order.
fn endings(scene: &Scene) -> Vec<(String, String)> {
    let of = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let journal = scene.journal();
    let ended = journal.iter().filter(|entry| entry["event"] == "step.ended");
    ended.map(|entry| (of(entry, "step"), of(entry, "ending"))).collect()
}

/// Keeps what a person sees of a failure: from the error on.
fn shown(name: &str, err: &str) {
    let at = err.find("error: ").unwrap_or_else(|| panic!("no error in {err}"));
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"127\.0\.0\.1:\d+", "[address]");
    settings.add_filter(r"/\S*/machine/", "[root]/");
    settings.add_filter(r"[0-9a-f]{64}", "[digest]");
    settings.add_filter(r"(pid |ps -fp )\d+", "$1[pid]");
    settings.add_filter(r"install-[0-9a-f]{16}", "[this test]");
    settings.add_filter(r"(after|waited|within) \d+(\.\d+)? s\b", "$1 [time]");
    settings.add_filter(r"\d+ of \d+ bytes", "[some] of [all] bytes");
    settings.bind(|| insta::assert_snapshot!(name, err[at..].trim_end()));
}

fn ended_well(scene: &Scene) {
    let current = scene.root.join("opt/kasm/current");
    let configuration = fs::read_to_string(current.join("conf/app/agent/agent.app.config.yaml")).unwrap();
    assert!(configuration.contains(TOKEN) && configuration.contains("server-7"), "{configuration}");
    let status = scene.status();
    assert_eq!((&status["state"], &status["schema"]), (&"done".into(), &1.into()), "{status:#}");
    assert!(!scene.root.join("etc/apt/apt.conf.d/99kasm-bootstrap").exists());
    assert_eq!(scene.files_with_the_token(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_cut_download_and_an_unknown_certificate_do_not_keep_an_agent_from_coming_up() {
    let scene = Scene::new(&faulty(Fault::EchoToken { at: Point::Files }));
    scene.mirror.script([Cut(scene.release.tar_gz.len() as u64 / 2)]);
    let (code, out, err) = spoken(&run(&mut scene.install(&["--json"])));
    assert_eq!(code, 0, "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["result"], "done");
    assert!(err.contains("certificate"), "{err}");
    assert_eq!(scene.whole_downloads(), 1);
    ended_well(&scene);
}

#[test]
fn a_second_run_does_nothing() {
    let scene = Scene::new(&plain());
    assert_eq!(spoken(&run(&mut scene.install(&[]))).0, 0);
    let (before, asked) = (picture(&scene.root.join("opt")), scene.mirror.requests().len());
    let (code, out, _) = spoken(&run(&mut scene.install(&["--json"])));
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["result"]), (0, &"already".into()));
    assert_eq!(picture(&scene.root.join("opt")), before);
    assert_eq!(scene.mirror.requests().len(), asked);
}

#[test]
fn a_placeholder_is_refused_before_anything_is_touched() {
    let scene = Scene::new(&plain());
    let before: Vec<String> = outside_our_own(&scene);
    let mut command = scene.command();
    command.arg("install").args(scene.install_args().iter().filter(|arg| !arg.contains("token")));
    let (code, _, err) = spoken(&run(command.args(["-M", "[MANAGER_TOKEN]"])));
    assert_eq!(code, 11, "{err}");
    shown("token-placeholder", &err);
    assert!(err.contains("[token.placeholder]") && err.contains("\nhelp: "), "{err}");
    assert_eq!(outside_our_own(&scene), before);
    assert!(scene.mirror.requests().is_empty() && scene.manager.requests().is_empty());
}

/// The machine without our own records.
fn outside_our_own(scene: &Scene) -> Vec<String> {
    picture(&scene.root)
        .into_iter()
        .filter(|line| !line.contains("/kasm-bootstrap"))
        .filter(|line| !line.contains("/var/lib ") && !line.contains("/var/cache "))
        .collect()
}

#[test]
fn an_installer_that_loses_the_race_for_the_locks_is_run_again() {
    let fault = Fault::AptLocked { at: Point::Apt, times: 2, words: LISTS_LOCKED.into() };
    let scene = Scene::new(&faulty(fault));
    let (code, _, err) = spoken(&run(&mut scene.install(&[])));
    assert_eq!(code, 0, "{err}");
    assert!(scene.root.join("var/lib/kasm-bootstrap/attempts/3/installer.log").exists());
    ended_well(&scene);
}

#[test]
fn an_installer_that_always_loses_the_race_is_not_run_for_ever() {
    let fault = Fault::AptLocked { at: Point::Apt, times: 99, words: LISTS_LOCKED.into() };
    let scene = Scene::new(&faulty(fault));
    let (code, _, err) = spoken(&run(&mut scene.install(&[])));
    assert_eq!(code, 18, "{err}");
    shown("installer-apt-locked", &err);
    assert!(!scene.root.join("var/lib/kasm-bootstrap/attempts/4").exists());
}

#[test]
fn a_race_lost_after_something_was_installed_is_a_failure() {
    let fault = Fault::AptLocked { at: Point::Linked, times: 1, words: LISTS_LOCKED.into() };
    let scene = Scene::new(&faulty(fault));
    assert_eq!(spoken(&run(&mut scene.install(&[]))).0, 18);
    assert!(!scene.root.join("var/lib/kasm-bootstrap/attempts/2").exists());
}

#[test]
fn an_installer_that_fails_is_quoted_with_its_last_words_and_without_the_token() {
    let words = "something in Kasm's own words";
    let fault = Fault::Fail { at: Point::Files, words: words.into(), code: 7 };
    let scene = Scene::new(&faulty(fault));
    let (code, out, _) = spoken(&run(&mut scene.install(&["--json"])));
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &answer["error"]["exit"]), (18, &18.into()));
    assert!(answer["error"]["causes"].to_string().contains(words), "{answer:#}");
    assert_eq!(scene.status()["state"], "failed");
    assert_eq!(scene.files_with_the_token(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_node_whose_container_stays_ill_is_installed_but_not_healthy_and_the_next_run_only_proves_it() {
    let scene = Scene::new(&plain());
    let ill = Script { then: Condition::Unhealthy, ..Script::default() };
    scene.containers(ill);
    let (code, _, err) = spoken(&run(&mut scene.install(&["--deadline", "8s"])));
    assert_eq!(code, 19, "{err}");
    shown("containers-unhealthy", &err);
    assert!(err.contains("kasm_agent"), "{err}");
    let before = picture(&scene.root.join("opt"));

    scene.containers(Script::default());
    let (code, _, err) = spoken(&run(&mut scene.install(&[])));
    assert_eq!(code, 0, "{err}");
    assert_eq!(picture(&scene.root.join("opt")), before, "it was installed again");
    ended_well(&scene);
}

#[test]
fn a_manager_that_stays_down_is_named() {
    let scene = Scene::new(&plain());
    scene.manager.behave(Behaviour { down_for: usize::MAX, ..Behaviour::default() });
    let (code, _, err) = spoken(&run(scene.install(&[]).env("KASM_BOOTSTRAP_MANAGER_WAIT", "1s")));
    assert_eq!(code, 13, "{err}");
    shown("manager-down", &err);
    assert!(err.contains(&scene.manager.address().to_string()), "{err}");
    assert!(!scene.root.join("opt").exists());
}

#[test]
fn a_manager_that_comes_up_late_is_waited_for() {
    let scene = Scene::new(&plain());
    scene.manager.behave(Behaviour { down_for: 3, ..Behaviour::default() });
    let (code, _, err) = spoken(&run(&mut scene.install(&[])));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("waiting for"), "{err}");
}

#[test]
fn a_wrong_digest_leaves_nothing_unpacked() {
    let scene = Scene::new(&plain());
    let (code, _, err) = spoken(&run(&mut scene.install(&["--sha256", &"0".repeat(64)])));
    assert_eq!(code, 16, "{err}");
    shown("digest-mismatch", &err);
    assert!(!scene.root.join("opt").exists());
    let unpacked = scene.root.join("var/lib/kasm-bootstrap/releases");
    assert!(!unpacked.exists() || fs::read_dir(unpacked).unwrap().next().is_none());
}

#[test]
fn a_mirror_without_the_release_is_a_failed_download() {
    let scene = Scene::new(&plain());
    let elsewhere = scene.url().replace(".tar.gz", ".zip");
    let (code, _, err) = spoken(&run(&mut scene.install(&["--release-url", &elsewhere])));
    assert_eq!(code, 15, "{err}");
    shown("download-404", &err);
    assert!(err.contains("404"), "{err}");
}

#[test]
fn a_package_manager_that_stays_busy_is_named_with_its_holder() {
    use kasm_stand_in::lock;
    let scene = Scene::new(&plain());
    // F_GETLK does not report the asker's own locks: the lock is ours, the binary is another process.
    let file = fs::File::options().write(true).open(scene.root.join("var/lib/dpkg/lock-frontend")).unwrap();
    lock::take(&file).unwrap();
    let (code, _, err) = spoken(&run(scene.install(&[]).env("KASM_BOOTSTRAP_APT_WAIT", "1s")));
    assert_eq!(code, 14, "{err}");
    shown("apt-busy", &err);
    assert!(err.contains(&format!("pid {}", std::process::id())), "{err}");
    assert!(!scene.root.join("opt").exists());
}

#[test]
fn an_installer_that_hangs_is_ended_with_all_it_started_when_the_budget_runs_out() {
    let scene = Scene::new(&faulty(Fault::Hang { at: Point::Apt, ignore_term: true }));
    let (code, _, err) = spoken(&run(&mut scene.install(&["--deadline", "10s"])));
    assert_eq!(code, 22, "{err}");
    shown("installer-hangs", &err);
    assert_eq!(processes_below(&scene), Vec::<String>::new());
}

/// Command lines of processes that know of this scene's root.
fn processes_below(scene: &Scene) -> Vec<String> {
    let root = scene.root.to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        if holds(&environment, format!("KASM_BOOTSTRAP_ROOT={root}").as_bytes()) {
            found.push(
                String::from_utf8_lossy(&fs::read(entry.path().join("cmdline")).unwrap_or_default()).into_owned(),
            );
        }
    }
    found
}

#[test]
fn another_run_at_work_is_named() {
    let scene = Scene::new(&faulty(Fault::Hang { at: Point::Apt, ignore_term: false }));
    let mut first = start(&mut scene.install(&[]), &scene.root.join("first.txt"));
    until(&scene, |entry| entry["event"] == "step.started" && entry["step"] == "install");
    let (code, _, err) = spoken(&run(&mut scene.install(&[])));
    assert_eq!(code, 21, "{err}");
    shown("locked", &err);
    assert!(err.contains(&format!("pid {}", first.id())), "{err}");
    terminate(&first);
    assert_eq!(first.wait().unwrap().code(), Some(1));
    assert_eq!(processes_below(&scene), Vec::<String>::new());
    let text = fs::read_to_string(scene.root.join("first.txt")).unwrap();
    assert!(text.contains("interrupted by SIGTERM during step install [run.interrupted]"), "{text}");
    assert!(!scene.root.join("etc/apt/apt.conf.d/99kasm-bootstrap").exists());
}

fn terminate(child: &std::process::Child) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
}

/// Waits until the journal has such an entry; a test that waits in vain fails after a minute.
fn until(scene: &Scene, found: impl Fn(&Value) -> bool) {
    let begun = Instant::now();
    while !scene.journal().iter().any(&found) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:#?}", scene.journal());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn killed_at_any_entry_of_its_journal_a_run_goes_on_and_repeats_nothing_that_was_finished() {
    // As many entries as a quiet run writes before it is done; each is a moment to be killed at. A run waits for its
    // disk most of the time: some go on beside one another.
    let next = AtomicUsize::new(1);
    beside(0..4, |_| while was_killed_at(next.fetch_add(1, Ordering::Relaxed)) {});
    assert!(next.into_inner() < 45, "a run has more entries than this test knows");
}

/// Kills a run at this entry of its journal and lets the next one end it; false if it was over before.
fn was_killed_at(moment: usize) -> bool {
    let scene = Scene::new(&Options { pace: Duration::from_millis(20), ..Options::default() });
    let mut child = start(&mut scene.install(&[]), &scene.root.join("first.txt"));
    let journal = scene.root.join("var/lib/kasm-bootstrap/journal.jsonl");
    let begun = Instant::now();
    let mut point = None;
    let killed = loop {
        let text = fs::read_to_string(&journal).unwrap_or_default();
        if child.try_wait().unwrap().is_some() {
            break false;
        }
        // Looked at again and again: only the entry that counts is parsed.
        let mut entries =
            text.split_inclusive('\n').filter(|line| line.ends_with('\n') && !line.contains("step.output"));
        if let Some(entry) = entries.nth(moment - 1) {
            let entry: Value = serde_json::from_str(entry).unwrap();
            // The step of this very entry: others may have begun meanwhile.
            point = entry["step"].as_str().filter(|_| entry["event"] == "step.started").map(str::to_owned);
            child.kill().unwrap();
            child.wait().unwrap();
            break true;
        }
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_micros(300));
    };
    if killed {
        assert!(["interrupted", "done"].contains(&scene.status()["state"].as_str().unwrap()), "at {moment}");
    }
    let before = finished(&scene);
    let (code, _, err) = spoken(&run(&mut scene.install(&[])));
    assert_eq!(code, 0, "killed at entry {moment}: {err}");
    ended_well(&scene);
    if let (true, Some(point)) = (killed, &point) {
        table::saw("install", "kill -9", point, table::End::New, code, "");
    }
    assert_eq!(processes_below(&scene), Vec::<String>::new(), "killed at entry {moment}");
    for step in ["fetch", "unpack", "install"] {
        let begun = scene.journal().iter().filter(|e| e["event"] == "step.started" && e["step"] == step).count();
        assert!(!before.contains(&step.to_owned()) || begun == 1, "{step} was repeated after {moment}");
    }
    assert!(scene.whole_downloads() <= 2, "at {moment}");
    killed
}

/// Steps on record as finished.
fn finished(scene: &Scene) -> Vec<String> {
    endings(scene).into_iter().filter(|(_, ending)| ending == "done").map(|(step, _)| step).collect()
}

#[test]
fn force_wipes_what_is_there_and_says_so() {
    let scene = Scene::new(&plain());
    assert_eq!(spoken(&run(&mut scene.install(&[]))).0, 0);
    let mark = scene.root.join("opt/kasm/current/conf/mine");
    fs::write(&mark, "mine").unwrap();
    let (code, _, err) = spoken(&run(&mut scene.install(&["--force"])));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("wiping /opt/kasm/1.18.1 with its configuration, certificates and tokens"), "{err}");
    assert!(!mark.exists());
    ended_well(&scene);
}

#[test]
fn another_version_is_not_replaced_without_being_asked() {
    let scene = Scene::new(&plain());
    fs::create_dir_all(scene.root.join("opt/kasm/1.17.0/conf/app")).unwrap();
    std::os::unix::fs::symlink("/opt/kasm/1.17.0", scene.root.join("opt/kasm/current")).unwrap();
    let before = picture(&scene.root.join("opt"));
    let (code, _, err) = spoken(&run(&mut scene.install(&[])));
    assert_eq!(code, 12, "{err}");
    shown("other-version", &err);
    assert!(err.contains("[preflight.other-version]"), "{err}");
    assert_eq!(picture(&scene.root.join("opt")), before);
}

#[test]
fn a_plan_and_a_dry_run_change_nothing_and_ask_nobody() {
    let scene = Scene::new(&plain());
    let before = picture(&scene.root);
    let mut plan = scene.command();
    plan.args(["plan", "install"]).args(scene.install_args());
    let (code, planned, _) = spoken(&run(&mut plan));
    assert_eq!(code, 0);
    let (code, dry, _) = spoken(&run(&mut scene.install(&["--dry-run"])));
    assert_eq!((code, &dry), (0, &planned));
    assert_eq!(picture(&scene.root), before);
    assert!(scene.mirror.requests().is_empty() && scene.manager.requests().is_empty());
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"127\.0\.0\.1:\d+", "[address]");
    settings.add_filter(r"\S*/machine/", "[root]/");
    settings.add_filter(r"[0-9a-f]{64}", "[digest]");
    settings.add_filter(r"[0-9a-f]{12}…", "[digest]…");
    settings.bind(|| {
        insta::assert_snapshot!(common::unwrapped(&planned), @"
        install: role agent, manager [address], within 2 min 00 s
          1. recover    put back what an interrupted run may have left behind
          2. tokens     check the manager token without using it
          3. present    end here if Kasm 1.18.1 is installed already
          4. preflight  check the machine, its disks and the way to the manager
          5. fetch      fetch Kasm 1.18.1 (http://[address]/kasm_release_1.18.1.tar.gz) and verify SHA-256 [digest]…
          6. manager    wait until manager [address] says that it is healthy, at most 120 s (after preflight)
          7. packages   pause apt's timers and wait until apt and dpkg are free, at most 300 s (after preflight)
          8. swap       leave the machine's swap alone (after preflight)
          9. address    find this machine's address on the route to the manager (after manager)
         10. unpack     unpack it below /var/lib/kasm-bootstrap/releases (after fetch)
         11. install    run install.sh for the role agent (after unpack, address, packages, swap)
         12. prove      see that the configuration holds what was asked for and that the containers are healthy
        ");
    });
}

#[test]
fn a_release_without_a_flag_that_is_needed_is_refused_by_name_before_it_starts() {
    let scene = Scene::new(&Options { missing_flags: vec!["agent-provider".into()], ..Options::default() });
    let (code, _, err) = spoken(&run(&mut scene.install(&[])));
    assert_eq!(code, 18, "{err}");
    shown("unknown-flag", &err);
    assert!(err.contains("has no --agent-provider") && err.contains("[installer.unknown-flag]"), "{err}");
    assert!(!scene.root.join("opt").exists());
}

#[test]
fn an_archive_that_is_no_release_is_refused() {
    let scene = Scene::new(&plain());
    let file = scene.root.join("kasm_release_1.18.1.tar.gz");
    let bytes = b"\x1f\x8b and then nothing of gzip";
    fs::write(&file, bytes).unwrap();
    let digest: String = sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let args = scene.install_args();
    let kept: Vec<&String> = args.iter().take_while(|arg| *arg != "--release-url").collect();
    let mut command = scene.command();
    command.arg("install").args(kept).arg("--release-file").arg(&file).args(["--sha256", &digest]);
    let (code, _, err) = spoken(&run(&mut command));
    assert_eq!(code, 17, "{err}");
    shown("archive", &err);
    assert!(!scene.root.join("opt").exists());
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_with_all_that_is_wrong() {
    let scene = Scene::new(&plain());
    let file = scene.root.join("etc/kasm-bootstrap/config.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "rolle = \"agent\"\n[manager]\naddress = \"$request_host$\"\n").unwrap();
    let (code, _, err) = spoken(&run(scene.command().arg("install")));
    assert_eq!(code, 10, "{err}");
    shown("configuration", &err);
    fs::write(&file, "role = \"agent\"\n[manager]\naddress = \"$request_host$\"\ntoken = \"None\"\n").unwrap();
    let (code, _, err) = spoken(&run(scene.command().arg("install")));
    assert_eq!(code, 10, "{err}");
    shown("configuration-request-host", &err);
}

#[test]
fn swap_is_made_once_before_the_installer_runs() {
    let scene = Scene::new(&plain());
    let (code, _, err) = spoken(&run(&mut scene.install(&["--swap-size", "16"])));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("swap: made a swap file of 16 MiB, not switched on below --root"), "{err}");
    let file = fs::metadata(scene.root.join("var/swap.1")).unwrap();
    assert_eq!((file.len(), file.permissions().mode() & 0o777), (16 << 20, 0o600));
    let fstab = fs::read_to_string(scene.root.join("etc/fstab")).unwrap();
    assert_eq!(fstab, "# nothing\n/var/swap.1 none swap sw 0 0\n");
}

/// A machine with systemd, whose `systemctl` writes down what it is asked; both timers are active.
fn with_timers(scene: &Scene, command: &mut Command) {
    fs::create_dir_all(scene.root.join("run/systemd/system")).unwrap();
    let bin = scene.root.join("bin");
    fs::create_dir_all(&bin).unwrap();
    let calls = scene.root.join("run/calls");
    let script = format!(
        "#!/bin/sh\necho \"$*\" >>{}\ncase \"$*\" in *is-active*) echo active; echo active ;; esac\n",
        calls.display()
    );
    fs::write(bin.join("systemctl"), script).unwrap();
    fs::set_permissions(bin.join("systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", bin.display()));
}

fn calls(scene: &Scene, verb: &str) -> usize {
    let text = fs::read_to_string(scene.root.join("run/calls")).unwrap_or_default();
    text.lines().filter(|line| line.contains(verb) && line.contains("apt-daily.timer")).count()
}

#[test]
fn timers_are_paused_for_the_run_and_started_again_also_by_the_run_after_a_kill() {
    let scene = Scene::new(&plain());
    let mut command = scene.install(&[]);
    with_timers(&scene, &mut command);
    let (code, _, err) = spoken(&run(&mut command));
    assert_eq!(code, 0, "{err}");
    assert_eq!((calls(&scene, " stop "), calls(&scene, " start ")), (1, 1), "{err}");

    let scene = Scene::new(&faulty(Fault::Hang { at: Point::Apt, ignore_term: false }));
    let mut command = scene.install(&[]);
    with_timers(&scene, &mut command);
    let mut child = start(&mut command, &scene.root.join("first.txt"));
    until(&scene, |entry| entry["event"] == "step.output");
    assert!(scene.root.join("etc/apt/apt.conf.d/99kasm-bootstrap").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((calls(&scene, " stop "), calls(&scene, " start ")), (1, 0));
    // The next run puts them back although it is refused at once.
    let mut command = scene.install(&["--manager-token-file", "/dev/null"]);
    with_timers(&scene, &mut command);
    let (code, _, err) = spoken(&run(&mut command));
    assert_eq!(code, 11, "{err}");
    assert_eq!((calls(&scene, " stop "), calls(&scene, " start ")), (1, 1), "{err}");
    assert!(!scene.root.join("etc/apt/apt.conf.d/99kasm-bootstrap").exists());
    assert_eq!(processes_below(&scene), Vec::<String>::new());
}

#[test]
fn status_can_be_waited_for_and_ends_as_the_run_did() {
    let slow = Options { pace: Duration::from_millis(50), ..Options::default() };
    let scene = Scene::new(&slow);
    let mut waiting = start(scene.command().args(["status", "--wait", "--json"]), &scene.root.join("status.json"));
    assert_eq!(spoken(&run(&mut scene.install(&[]))).0, 0);
    assert_eq!(waiting.wait().unwrap().code(), Some(0));
    let status: Value = serde_json::from_slice(&fs::read(scene.root.join("status.json")).unwrap()).unwrap();
    assert_eq!(status["state"], "done");

    let never = Scene::new(&plain());
    let (code, _, err) = spoken(&run(never.command().args(["status", "--wait", "--timeout", "100ms"])));
    assert_eq!(code, 1);
    assert!(err.contains("[status.timeout]"), "{err}");
}

#[test]
fn nothing_that_was_printed_or_kept_breaks_a_terminal() {
    let words = "\u{1b}[2J\u{1b}]0;owned\u{7}bad";
    let scene = Scene::new(&faulty(Fault::Fail { at: Point::Files, words: words.into(), code: 7 }));
    let (code, _, err) = spoken(&run(&mut scene.install(&[])));
    assert_eq!(code, 18);
    let (_, status, _) = spoken(&run(scene.command().arg("status")));
    assert!(!err.contains('\u{1b}') && !status.contains('\u{1b}'), "{err:?} {status:?}");
}

#[test]
fn a_root_with_nothing_in_it_but_dockers_socket_is_enough() {
    let scene = Scene::new(&plain());
    for directory in ["etc", "var", "usr"] {
        fs::remove_dir_all(scene.root.join(directory)).unwrap();
    }
    let (code, _, err) = spoken(&run(&mut scene.install(&[])));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("packages: skipped: this machine has neither apt nor dnf"), "{err}");
    ended_well(&scene);
}

#[test]
fn a_token_from_a_flag_the_environment_or_a_credential_is_printed_and_kept_nowhere() {
    let install = |way| {
        let scene = Scene::new(&faulty(Fault::EchoToken { at: Point::Files }));
        let args = scene.install_args();
        let at = args.iter().position(|arg| arg == "--manager-token-file").unwrap();
        let mut command = scene.command();
        command.arg("install").args(&args[..at]).args(&args[at + 2..]);
        let _outside = give_token(&mut command, way, "-M", "manager", "manager");
        let (code, _, err) = spoken(&run(&mut command));
        assert_eq!(code, 0, "{way}: {err}");
        ended_well(&scene);
    };
    beside(WAYS, install);
}

#[test]
fn what_somebody_else_installed_after_a_failed_run_is_not_replaced() {
    let fault = Fault::Fail { at: Point::Linked, words: "no".into(), code: 7 };
    let scene = Scene::new(&faulty(fault));
    assert_eq!(spoken(&run(&mut scene.install(&[]))).0, 18);
    // By hand, two minutes later.
    let current = scene.root.join("opt/kasm/current");
    let later = Command::new("touch").args(["-h", "-d", "now + 2 minutes"]).arg(&current).status().unwrap();
    assert!(later.success());
    let before = picture(&scene.root.join("opt"));
    let (code, _, err) = spoken(&run(&mut scene.install(&[])));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("is already installed"), "{err}");
    assert_eq!(picture(&scene.root.join("opt")), before);
}

#[test]
fn a_lost_connection_of_the_operator_does_not_stop_a_run() {
    let scene = Scene::new(&Options { pace: Duration::from_millis(100), ..Options::default() });
    let mut child = start(&mut scene.install(&[]), &scene.root.join("first.txt"));
    until(&scene, |entry| entry["event"] == "step.output");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    ended_well(&scene);
}
