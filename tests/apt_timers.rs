//! Pausing apt's timers, with a scripted `systemctl` that writes down what it is asked.

use kasm_bootstrap::apt::MANAGER;
use kasm_bootstrap::observe::{Observer, Silent};
use kasm_bootstrap::packages::timers::{pause, restore, restore_leftovers};
use kasm_bootstrap::paths::Paths;
use kasm_bootstrap::system::systemctl::Systemctl;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

const BOTH: [&str; 2] = ["apt-daily.timer", "apt-daily-upgrade.timer"];

/// A root where systemd runs, and a `systemctl` for it that keeps the active units in a file.
struct Machine {
    directory: tempfile::TempDir,
    paths: Paths,
    systemctl: Systemctl,
}

impl Machine {
    fn new(active: &[&str]) -> Machine {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path().join("root"));
        fs::create_dir_all(paths.systemd_booted()).unwrap();
        let script = r#"#!/bin/sh
cd "${0%/*}" || exit 9
echo "$*" >> calls
[ "$1" = --no-ask-password ] || exit 9
verb=$2
shift 2
[ -e "hang-$verb" ] && exec cat fifo
if [ -e "fail-$verb" ]; then
    echo "Failed to $verb $1: Unit $1 is masked." >&2
    exit 1
fi
for unit; do
    case $verb in
    is-active) if grep -qx "$unit" active; then echo active; else echo inactive; fi ;;
    start) echo "$unit" >> active ;;
    stop) grep -vx "$unit" active > left; mv left active ;;
    esac
done
true
"#;
        // By a child, so that no other test's fork can hold the file open for writing when it is executed.
        let program = directory.path().join("systemctl");
        let write = "printf %s \"$1\" > \"$0\" && chmod 755 \"$0\"";
        assert!(Command::new("sh").args(["-c", write]).arg(&program).arg(script).status().unwrap().success());
        let machine = Machine { systemctl: Systemctl::at(program), directory, paths };
        let lines: String = active.iter().map(|unit| format!("{unit}\n")).collect();
        fs::write(machine.file("active"), lines).unwrap();
        machine
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn lines(&self, name: &str) -> Vec<String> {
        fs::read_to_string(self.file(name)).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    async fn pause(&self, observer: &dyn Observer) -> Vec<String> {
        pause(&MANAGER, &self.paths, Some(&self.systemctl), observer).await
    }

    async fn restore(&self, observer: &dyn Observer) -> Vec<String> {
        restore(&MANAGER, &self.paths, Some(&self.systemctl), observer).await
    }
}

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn all(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

impl Observer for Told {
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(format!("note: {text}"));
    }
    fn warn(&self, text: &str) {
        self.0.lock().unwrap().push(format!("warn: {text}"));
    }
}

#[tokio::test]
async fn what_is_active_is_written_down_paused_and_put_back() {
    let machine = Machine::new(&["apt-daily.timer", "fstrim.timer"]);
    assert_eq!(machine.pause(&Silent).await, ["apt-daily.timer"]);
    assert_eq!(machine.lines("active"), ["fstrim.timer"]);
    let record = machine.paths.paused_timers();
    assert_eq!(fs::metadata(&record).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(machine.restore(&Silent).await, ["apt-daily.timer"]);
    assert_eq!(machine.lines("active"), ["fstrim.timer", "apt-daily.timer"]);
    assert!(!record.exists());
    insta::assert_snapshot!(machine.lines("calls").join("\n"), @"
    --no-ask-password is-active apt-daily.timer apt-daily-upgrade.timer
    --no-ask-password stop apt-daily.timer
    --no-ask-password start apt-daily.timer
    ");
    assert!(machine.restore(&Silent).await.is_empty());
    assert_eq!(machine.lines("calls").len(), 3);
}

#[tokio::test]
async fn what_a_run_that_died_left_paused_is_put_back_by_the_next() {
    let machine = Machine::new(&BOTH);
    machine.pause(&Silent).await;
    let told = Told::default();
    let started = restore_leftovers(&MANAGER, &machine.paths, Some(&machine.systemctl), &told).await;
    assert_eq!(started, BOTH);
    assert_eq!(machine.lines("active"), BOTH);
    insta::assert_snapshot!(told.all(), @"note: an earlier run left apt-daily.timer and apt-daily-upgrade.timer paused: started again");
}

#[tokio::test]
async fn a_second_pause_does_not_forget_the_first() {
    let machine = Machine::new(&["apt-daily.timer"]);
    machine.pause(&Silent).await;
    fs::write(machine.file("active"), "apt-daily-upgrade.timer\n").unwrap();
    assert_eq!(machine.pause(&Silent).await, ["apt-daily-upgrade.timer"]);
    assert_eq!(machine.pause(&Silent).await, Vec::<String>::new());
    assert_eq!(machine.restore(&Silent).await, BOTH);
}

#[tokio::test]
async fn without_systemd_or_active_timers_nothing_is_done_or_made() {
    let machine = Machine::new(&[]);
    assert!(machine.pause(&Silent).await.is_empty());
    assert!(!machine.paths.state_dir().exists());
    fs::write(machine.file("active"), "apt-daily.timer\n").unwrap();
    fs::remove_dir(machine.paths.systemd_booted()).unwrap();
    assert!(machine.pause(&Silent).await.is_empty());
    assert_eq!(machine.lines("calls").len(), 1);
}

#[tokio::test]
async fn a_systemctl_that_fails_hangs_or_is_missing_is_a_warning() {
    let machine = Machine::new(&BOTH);
    let told = Told::default();
    for verb in ["fail-is-active", "fail-stop"] {
        fs::write(machine.file(verb), "").unwrap();
        assert!(machine.pause(&told).await.is_empty());
        fs::remove_file(machine.file(verb)).unwrap();
    }
    nix::unistd::mkfifo(&machine.file("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::write(machine.file("hang-is-active"), "").unwrap();
    let hasty = machine.systemctl.clone().with_limit(Duration::from_millis(50));
    assert!(pause(&MANAGER, &machine.paths, Some(&hasty), &told).await.is_empty());
    assert!(pause(&MANAGER, &machine.paths, None, &told).await.is_empty());
    insta::assert_snapshot!(told.all(), @"
    warn: apt's timers are not paused: systemctl cannot say which are active: is-active told 0 states of 2 units: Failed to is-active apt-daily.timer: Unit apt-daily.timer is masked.
    warn: apt-daily.timer and apt-daily-upgrade.timer could not be paused: Failed to stop apt-daily.timer: Unit apt-daily.timer is masked. (exit status: 1)
    warn: apt's timers are not paused: systemctl cannot say which are active: no answer within 50ms
    warn: apt's timers are not paused: there is no systemctl
    ");
    assert_eq!(machine.lines("active"), BOTH);
}

#[tokio::test]
async fn a_timer_that_will_not_start_stays_written_down() {
    let machine = Machine::new(&["apt-daily.timer"]);
    machine.pause(&Silent).await;
    fs::write(machine.file("fail-start"), "").unwrap();
    let told = Told::default();
    assert!(machine.restore(&told).await.is_empty());
    insta::assert_snapshot!(told.all(), @"warn: apt-daily.timer is still paused: Failed to start apt-daily.timer: Unit apt-daily.timer is masked. (exit status: 1); start it with `systemctl start apt-daily.timer`");
    fs::remove_file(machine.file("fail-start")).unwrap();
    assert_eq!(machine.restore(&Silent).await, ["apt-daily.timer"]);
    assert!(!machine.paths.paused_timers().exists());
}

#[tokio::test]
async fn a_record_that_makes_no_sense_is_said_and_no_foreign_unit_is_started() {
    let machine = Machine::new(&[]);
    fs::create_dir_all(machine.paths.state_dir()).unwrap();
    fs::write(machine.paths.paused_timers(), "{").unwrap();
    let told = Told::default();
    assert!(machine.restore(&told).await.is_empty());
    assert!(told.all().contains("`systemctl start apt-daily.timer apt-daily-upgrade.timer` puts them back"));
    assert!(!machine.paths.paused_timers().exists());
    fs::write(machine.paths.paused_timers(), r#"{"schema": 1, "timers": ["reboot.target", "apt-daily.timer"]}"#)
        .unwrap();
    assert_eq!(machine.restore(&Silent).await, ["apt-daily.timer"]);
    assert_eq!(machine.lines("active"), ["apt-daily.timer"]);
}

#[test]
fn systemctl_is_found_on_a_path() {
    let machine = Machine::new(&[]);
    let path = std::env::join_paths([machine.file("nowhere"), machine.file("")]).unwrap();
    assert!(Systemctl::find(Some(&path)).is_some());
    assert!(Systemctl::find(Some(machine.file("nowhere").as_os_str())).is_none());
    assert!(Systemctl::find(None).is_none());
}

#[tokio::test]
async fn dnfs_timers_and_yum_cron_are_paused_and_put_back_as_apts_are() {
    let dnf = &kasm_bootstrap::dnf::MANAGER;
    let machine = Machine::new(&["dnf-makecache.timer", "yum-cron.service", "apt-daily.timer"]);
    let paused = pause(dnf, &machine.paths, Some(&machine.systemctl), &Silent).await;
    assert_eq!(paused, ["dnf-makecache.timer", "yum-cron.service"]);
    assert_eq!(machine.lines("active"), ["apt-daily.timer"]);
    let told = Told::default();
    let started = restore_leftovers(dnf, &machine.paths, Some(&machine.systemctl), &told).await;
    assert_eq!(started, paused);
    assert_eq!(machine.lines("active"), ["apt-daily.timer", "dnf-makecache.timer", "yum-cron.service"]);
    assert!(!machine.paths.paused_timers().exists());
}
