//! Waiting for the package manager of Red Hat's family, with the real rpm and the real dnf holding their real locks
//! in a scratch root, and the real binary waiting for them.
//!
//! Whoever holds a lock does so until the test lets it go by a pipe or a server, so that a test that fails leaves no
//! process behind.

mod common;
mod faults;
mod waiting;

use common::{Scene, run, spoken, start};
use faults::{ended_well, exit_code, until};
use kasm_bootstrap::dnf::MANAGER;
use kasm_bootstrap::packages::locks::{Obstacle, look, stale};
use kasm_bootstrap::paths::Paths;
use kasm_stand_in::http::{Handler, Server, respond};
use kasm_stand_in::lock;
use kasm_stand_in::release::Options;
use nix::sys::stat::Mode;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use waiting::{Guard, said_before_and_after, steady, text};

/// A machine of Red Hat's family, and beside it what must not lie in it.
struct Scratch {
    directory: tempfile::TempDir,
    paths: Paths,
    /// Where a package's script waits.
    fifo: File,
}

const SPEC: &str = "Name: slow\nVersion: 1\nRelease: 1\nSummary: waits while it is installed\nLicense: none\n\
                    BuildArch: noarch\nAutoReqProv: no\n%description\nIt waits.\n%pre -p <lua>\n\
                    local gate = io.open('GATE')\ngate:read()\ngate:close()\n%files\n";

impl Scratch {
    fn new() -> Scratch {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path().join("root"));
        for path in ["/etc", "/usr/bin", "/var/lib/rpm", "/var/lib/dnf", "/var/cache/dnf", "/run", "/tmp"] {
            fs::create_dir_all(paths.at(path)).unwrap();
        }
        fs::write(paths.at("/usr/bin/dnf"), "").unwrap();
        fs::write(paths.os_release(), "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.4\"\n").unwrap();
        let gate = paths.at("/gate");
        nix::unistd::mkfifo(&gate, Mode::S_IRWXU).unwrap();
        let fifo = File::options().read(true).write(true).open(gate).unwrap();
        Scratch { directory, paths, fifo }
    }

    fn outside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `kasm-bootstrap --root ROOT dnf-wait …`.
    fn wait(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap"));
        command.arg("--root").arg(self.paths.root()).arg("dnf-wait").args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A package whose script waits at `gate`, as that script sees it, in a directory of its own.
    fn package(&self, gate: &Path) -> PathBuf {
        let spec = self.outside("slow.spec");
        fs::write(&spec, SPEC.replace("GATE", gate.to_str().unwrap())).unwrap();
        let mut command = self.with_macros("rpmbuild");
        command.arg("-bb").arg(&spec).arg("--define").arg(format!("_topdir {}", self.outside("build").display()));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        self.outside("build/RPMS/noarch")
    }

    /// A program of rpm's world for which the database is where Red Hat has it: Debian's rpm has it elsewhere.
    fn with_macros(&self, program: &str) -> Command {
        fs::write(self.outside(".rpmmacros"), "%_dbpath /var/lib/rpm\n").unwrap();
        let mut command = Command::new(program);
        command.env("HOME", self.directory.path()).env("LC_ALL", "C.UTF-8");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn rpm(&self, package: &Path) -> Command {
        let mut command = self.with_macros("rpm");
        command.arg("--dbpath").arg(self.paths.at("/var/lib/rpm")).args(["-i", "--nodeps"]).arg(package);
        command
    }

    /// dnf on this root alone: its configuration, caches and database lie below it.
    fn dnf(&self, url: &str) -> Command {
        let config = self.outside("dnf.conf");
        let repository = format!("[slow]\nname=slow\nbaseurl={url}\ngpgcheck=0\nretries=1\n");
        fs::write(&config, format!("[main]\nplugins=0\nreposdir=/nowhere\nvarsdir=/nowhere\n{repository}")).unwrap();
        let mut command = self.with_macros("dnf");
        command.arg("-c").arg(config).arg(format!("--installroot={}", self.paths.root().display()));
        command.args(["-y", "--releasever=9"]);
        for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
        command
    }

    /// Until somebody who was started holds something: what it is.
    fn held_by(&self, child: &mut Guard) -> &'static str {
        loop {
            if let Some(held) = look(&MANAGER, &self.paths).unwrap() {
                let Obstacle::Lock(lock) = held.obstacle else { panic!("{held:?}") };
                return lock.what;
            }
            if let Some(status) = child.0.try_wait().unwrap() {
                let mut said = String::new();
                child.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                panic!("ended without a lock: {status}: {said}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// dnf itself refuses to install for anybody else, and keeps its locks elsewhere.
fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[test]
fn a_transaction_of_rpm_is_named_and_waited_for_and_another_rpm_loses_the_race() {
    let scratch = Scratch::new();
    let package = scratch.package(&scratch.paths.at("/gate")).join("slow-1-1.noarch.rpm");
    let mut rpm = Guard(scratch.rpm(&package).spawn().unwrap());
    assert_eq!(scratch.held_by(&mut rpm), "rpm");
    // Without a terminal rpm does not wait; its words are what the installer's log would have.
    let refused = scratch.rpm(&package).output().unwrap();
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).lines().any(kasm_bootstrap::dnf::has_lost_a_race), "{}", text(&refused.stderr));
    let late = scratch.wait(&["--timeout", "100ms"]).output().unwrap();
    assert_eq!((late.status.code(), text(&late.stdout).as_str()), (Some(14), ""));
    steady(|| {
        insta::assert_snapshot!(text(&late.stderr), @"
        waiting for the package manager: pid PID, rpm
        error: the package manager is still busy after SPAN: /var/lib/rpm/.rpm.lock (rpm) is held by pid PID, rpm [dnf.busy]
        help: `pid PID` shows what it is; let it finish or end it, then run again
        ");
    });
    let (first, output) = said_before_and_after(scratch.wait(&["--json"]), || {
        (&scratch.fifo).write_all(b"\n").unwrap();
    });
    assert!(first.ends_with(&format!("pid {}, rpm", rpm.0.id())), "{first}");
    assert_eq!(output.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["quiet"], &json["apt"], &json["manager"]), (&true.into(), &false.into(), &"dnf".into()));
    assert!(rpm.0.wait().unwrap().success());
}

#[test]
fn a_dnf_that_fetches_metadata_is_named_and_waited_for() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let (arrived, arrivals) = channel();
    let (release, released) = channel::<()>();
    let (arrived, released) = (Mutex::new(arrived), Mutex::new(released));
    let handler: Handler = Arc::new(move |_, stream| {
        // A test that has ended lets everything go.
        let _ = arrived.lock().unwrap().send(());
        let _ = released.lock().unwrap().recv();
        respond(stream, "404 Not Found", &[], b"")
    });
    let server = Server::plain(handler);
    let mut dnf = Guard(scratch.dnf(&server.url()).arg("makecache").spawn().unwrap());
    arrivals.recv_timeout(Duration::from_secs(60)).expect("dnf asks for metadata");
    assert_eq!(scratch.held_by(&mut dnf), "dnf's metadata");
    let (first, output) = said_before_and_after(scratch.wait(&[]), || drop(release));
    assert!(first.ends_with(&format!("pid {}, dnf", dnf.0.id())), "{first}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_dnf_that_installs_is_named_and_waited_for() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    // dnf's scripts run in its root.
    let repository = scratch.package(Path::new("/gate"));
    let made = Command::new("createrepo_c").arg("--quiet").arg(&repository).output().unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    let url = format!("file://{}", repository.display());
    let mut dnf = Guard(scratch.dnf(&url).args(["install", "slow"]).spawn().unwrap());
    while !scratch.paths.rpm_lock().exists() || scratch.held_by(&mut dnf) != "rpm" {
        assert_eq!(dnf.0.try_wait().unwrap(), None, "dnf ended without a transaction");
        std::thread::sleep(Duration::from_millis(2));
    }
    let pid = dnf.0.id();
    // What a second dnf waits for.
    assert_eq!(fs::read_to_string(scratch.paths.dnf_rpmdb_lock()).unwrap().trim(), pid.to_string());
    let (first, output) = said_before_and_after(scratch.wait(&[]), || {
        (&scratch.fifo).write_all(b"\n").unwrap();
    });
    assert!(first.contains(&format!("pid {pid}, dnf")), "{first}");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(dnf.0.wait().unwrap().success());
    assert!(!scratch.paths.dnf_rpmdb_lock().exists());
}

/// A scene of Red Hat's family, and rpm's lock on it.
fn rocky() -> (Scene, File) {
    let scene = Scene::new(&Options::default());
    let release = "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.4\"\nPRETTY_NAME=\"Rocky Linux 9.4\"\n";
    fs::write(scene.root.join("etc/os-release"), release).unwrap();
    fs::rename(scene.root.join("usr/bin/apt-get"), scene.root.join("usr/bin/dnf")).unwrap();
    fs::create_dir_all(scene.root.join("var/lib/rpm")).unwrap();
    let lock = File::create(scene.root.join("var/lib/rpm/.rpm.lock")).unwrap();
    (scene, lock)
}

#[test]
fn an_installation_beside_a_transaction_of_rpm_that_stays_ends_after_apt_wait_with_its_holder_named() {
    let (scene, rpm) = rocky();
    lock::take(&rpm).unwrap();
    let (code, _, err) = spoken(&run(scene.install(&[]).env("KASM_BOOTSTRAP_APT_WAIT", "300ms")));
    assert_eq!(code, 14, "{err}");
    let busy = err.lines().find(|line| line.starts_with("error: the package manager is still busy after")).unwrap();
    assert!(busy.contains("/var/lib/rpm/.rpm.lock (rpm) is held by ") && busy.ends_with("[dnf.busy]"), "{err}");
    assert!(busy.contains(&format!("pid {}, ", std::process::id())), "{err}");
    assert!(!scene.root.join("opt").exists());
}

#[test]
fn an_installation_beside_a_transaction_of_rpm_goes_on_where_that_has_ended() {
    let (scene, rpm) = rocky();
    lock::take(&rpm).unwrap();
    let mut child = start(&mut scene.install(&[]), &scene.root.join("said.txt"));
    until(&scene, |entry| entry["event"] == "step.waiting" && entry["step"] == "packages");
    assert!(!scene.root.join("opt").exists());
    lock::give_back(&rpm).unwrap();
    assert_eq!(exit_code(&mut child), Some(0));
    ended_well(&scene);
}

#[test]
fn what_a_killed_dnf_left_holds_nobody_up_and_a_number_used_again_is_told() {
    let scratch = Scratch::new();
    let lock = scratch.paths.dnf_rpmdb_lock();
    for left in ["", "4194305", "nonsense", "-1", "0"] {
        fs::write(&lock, left).unwrap();
        assert!(look(&MANAGER, &scratch.paths).unwrap().is_none(), "{left:?}");
        assert!(stale(&MANAGER, &scratch.paths).is_empty(), "{left:?}");
    }
    let mut other = Guard(Command::new("sleep").arg("60").spawn().unwrap());
    // Until it is itself.
    while !fs::read_to_string(format!("/proc/{}/comm", other.0.id())).unwrap().starts_with("sleep") {
        std::thread::yield_now();
    }
    fs::write(&lock, other.0.id().to_string()).unwrap();
    assert!(look(&MANAGER, &scratch.paths).unwrap().is_none());
    let told = stale(&MANAGER, &scratch.paths);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].0.as_path(), told[0].1.command.as_deref()), (lock.as_path(), Some("sleep")));
    other.0.kill().unwrap();
    other.0.wait().unwrap();
    assert!(stale(&MANAGER, &scratch.paths).is_empty());
}

#[test]
fn a_debian_that_has_dnf_as_a_tool_waits_for_apt() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.paths.at("/var/lib/dpkg")).unwrap();
    let manager = |id: &str| {
        fs::write(scratch.paths.os_release(), format!("ID={id}\n")).unwrap();
        kasm_bootstrap::flow::packages::manager(&scratch.paths).unwrap().name
    };
    assert_eq!([manager("debian"), manager("rhel"), manager("fedora")], ["apt", "dnf", "dnf"]);
}
