//! Waiting for the package manager, with the real dpkg and apt-get holding their real locks in a scratch
//! root, and the real binary waiting for them.
//!
//! Nothing here sleeps: whoever holds a lock does so until the test lets it go, and it is let go by the
//! end of a pipe or a server, so that a test that fails leaves no process behind.

mod waiting;

use kasm_bootstrap::apt::{MANAGER, environment, snippet};
use kasm_bootstrap::deadline::Deadline;
use kasm_bootstrap::observe::{Observer, Wait};
use kasm_bootstrap::packages::locks::{Obstacle, look};
use kasm_bootstrap::packages::wait::{Quiet, until_quiet};
use kasm_bootstrap::paths::Paths;
use kasm_stand_in::http::{Handler, Server, respond};
use kasm_stand_in::lock;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use waiting::{Guard, said_before_and_after, steady, text};

/// A root as apt and dpkg need it, and beside it what must not lie in it.
struct Scratch {
    directory: tempfile::TempDir,
    paths: Paths,
}

impl Scratch {
    fn new() -> Scratch {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path().join("root"));
        for path in
            ["/etc/apt/apt.conf.d", "/var/lib/apt/lists/partial", "/var/cache/apt/archives/partial", "/var/log/apt"]
        {
            fs::create_dir_all(paths.at(path)).unwrap();
        }
        admindir(&paths.at("/var/lib/dpkg"));
        Scratch { directory, paths }
    }

    /// `kasm-bootstrap --root ROOT apt-wait …`.
    fn apt_wait(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap"));
        command.arg("--root").arg(self.paths.root()).arg("apt-wait").args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// dpkg, in the middle of configuring a package, holding both its locks.
    fn dpkg_at_work(&self) -> Held {
        let package = self.directory.path().join("package");
        fs::create_dir_all(package.join("DEBIAN")).unwrap();
        fs::write(package.join("DEBIAN/control"), format!("{SLOW}\n")).unwrap();
        let postinst = package.join("DEBIAN/postinst");
        fs::write(&postinst, "#!/bin/sh\necho holding\nread line\nexit 0\n").unwrap();
        run(Command::new("chmod").arg("-R").arg("u=rwX,go=rX").arg(&package));
        run(Command::new("chmod").arg("755").arg(&postinst));
        let deb = self.directory.path().join("slow.deb");
        run(Command::new("dpkg-deb").args(["--root-owner-group", "-b"]).arg(&package).arg(&deb));
        let mut command = self.dpkg();
        let mut child = command.arg("-i").arg(deb).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "holding"), "dpkg ended before its package's script ran");
        let release = child.stdin.take();
        Held { child: Guard(child), release: Box::new(move || drop(release)) }
    }

    fn dpkg(&self) -> Command {
        let mut command = Command::new("dpkg");
        command.arg(format!("--admindir={}", self.paths.at("/var/lib/dpkg").display()));
        command.arg(format!("--instdir={}", self.directory.path().join("installed").display()));
        command.arg(format!("--log={}", self.directory.path().join("dpkg.log").display()));
        command.args(["--force-not-root", "--force-script-chrootless"]);
        fs::create_dir_all(self.directory.path().join("installed")).unwrap();
        command
    }

    /// One of apt's programs, at work below the root only; dpkg's files lie in `admindir`.
    fn apt(&self, program: &str, admindir: &Path) -> Command {
        let config = self.directory.path().join(format!("{program}.conf"));
        let (root, admindir) = (self.paths.root().display(), admindir.display());
        let text = format!(
            "Dir \"{root}\";\nDir::State::status \"{admindir}/status\";\nDir::Log \"{root}/var/log/apt\";\n\
             APT::Sandbox::User \"root\";\nAcquire::http::Proxy \"DIRECT\";\nAcquire::Retries \"0\";\n\
             Acquire::Languages \"none\";\n"
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(program);
        command.env("APT_CONFIG", config).env("LC_ALL", "C").envs(environment()).stdin(Stdio::null());
        command
    }

    fn source(&self, server: &Server) {
        fs::write(self.paths.at("/etc/apt/sources.list"), format!("deb [trusted=yes] {}/ ./\n", server.url())).unwrap();
    }
}

const SLOW: &str = "Package: slow\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <nobody@example.com>\n\
                    Description: waits while it is configured";

fn admindir(path: &Path) {
    for below in ["info", "updates", "triggers"] {
        fs::create_dir_all(path.join(below)).unwrap();
    }
    fs::write(path.join("status"), "").unwrap();
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Somebody who holds a lock until released.
struct Held {
    child: Guard,
    release: Box<dyn FnOnce()>,
}

impl Held {
    fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Lets go and waits for the end.
    fn release(mut self) -> bool {
        (self.release)();
        self.child.0.wait().unwrap().success()
    }
}

/// A server that answers with `Packages` and 404, but says when it is asked for something that ends in
/// `stalled`, and answers that only once it is let.
fn stalling(stalled: &'static str) -> (Server, Receiver<()>, Sender<()>) {
    let (arrived, arrivals) = channel();
    let (release, released) = channel::<()>();
    let (arrived, released) = (Mutex::new(arrived), Mutex::new(released));
    let packages = format!("{SLOW}\nFilename: ./slow.deb\nSize: 1000\nSHA256: {:064}\n", 0);
    let handler: Handler = Arc::new(move |request, stream| {
        if request.target.ends_with(stalled) {
            // A test that has ended lets everything go.
            let _ = arrived.lock().unwrap().send(());
            let _ = released.lock().unwrap().recv();
        }
        match request.target.ends_with("/Packages") {
            true => respond(stream, "200 OK", &[], packages.as_bytes()),
            false => respond(stream, "404 Not Found", &[], b""),
        }
    });
    (Server::plain(handler), arrivals, release)
}

fn what_is_held(paths: &Paths) -> &'static str {
    match look(&MANAGER, paths).unwrap().map(|held| held.obstacle) {
        Some(Obstacle::Lock(lock)) => lock.what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_dpkg_at_work_is_named_and_waited_for() {
    let scratch = Scratch::new();
    let dpkg = scratch.dpkg_at_work();
    let pid = dpkg.pid();
    let (first, output) = said_before_and_after(scratch.apt_wait(&[]), || assert!(dpkg.release()));
    assert!(first.contains(&format!("pid {pid}, dpkg")), "{first}");
    steady(|| {
        insta::assert_snapshot!(first, @"waiting for the package manager: pid PID, dpkg");
        insta::assert_snapshot!(text(&output.stdout), @"the package manager is free (waited SPAN for pid PID, dpkg)");
    });
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}

#[test]
fn an_apt_get_update_is_named_and_waited_for() {
    let scratch = Scratch::new();
    let (server, arrivals, release) = stalling("/InRelease");
    scratch.source(&server);
    let mut command = scratch.apt("apt-get", &scratch.paths.at("/var/lib/dpkg"));
    let update = Guard(command.arg("update").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    arrivals.recv_timeout(Duration::from_secs(60)).expect("apt-get asks for InRelease");
    assert_eq!(what_is_held(&scratch.paths), "apt's package lists");
    let (first, output) = said_before_and_after(scratch.apt_wait(&["--json"]), || drop(release));
    assert!(first.ends_with(&format!("pid {}, apt-get", update.0.id())), "{first}");
    assert_eq!(output.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["quiet"], &json["apt"]), (&true.into(), &true.into()));
    assert!(json["waited_ms"].is_u64());
    assert!(json["holders"][0].as_str().unwrap().ends_with(&format!("pid {}, apt-get", update.0.id())), "{json}");
}

#[test]
fn a_download_of_apts_is_named_and_waited_for() {
    let scratch = Scratch::new();
    let (server, arrivals, release) = stalling("/slow.deb");
    scratch.source(&server);
    // dpkg's locks lie elsewhere here, so that the one on the downloads is the only one below the root.
    let elsewhere = scratch.directory.path().join("dpkg");
    admindir(&elsewhere);
    run(scratch.apt("apt-get", &elsewhere).arg("update"));
    let mut command = scratch.apt("apt-get", &elsewhere);
    command.args(["install", "--yes", "--download-only", "slow"]).stdout(Stdio::null()).stderr(Stdio::null());
    let install = Guard(command.spawn().unwrap());
    arrivals.recv_timeout(Duration::from_secs(60)).expect("apt-get asks for the package");
    assert_eq!(what_is_held(&scratch.paths), "apt's downloads");
    let (first, output) = said_before_and_after(scratch.apt_wait(&[]), || drop(release));
    assert!(first.ends_with(&format!("pid {}, apt-get", install.0.id())), "{first}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_run_of_apts_daily_job_is_waited_for_between_its_locks() {
    let scratch = Scratch::new();
    // As apt.systemd.daily does it: flock(1) takes the lock on the shell's descriptor and ends.
    let script = "exec 3>\"$0\" && flock -w 60 3 && echo holding && read line";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(scratch.paths.apt_daily_lock()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut daily = Guard(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(daily.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "holding\n");
    let (first, output) = said_before_and_after(scratch.apt_wait(&["-v"]), || drop(daily.0.stdin.take()));
    steady(|| {
        insta::assert_snapshot!(first, @"/var/lib/apt/daily_lock (apt's daily job) is held by pid PID, sh");
    });
    assert!(first.contains(&format!("pid {}, ", daily.0.id())), "{first}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn past_its_time_the_wait_ends_with_14_and_says_what_to_do() {
    let scratch = Scratch::new();
    let dpkg = scratch.dpkg_at_work();
    let output = scratch.apt_wait(&["--timeout", "200ms"]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(14), ""));
    steady(|| {
        insta::assert_snapshot!(text(&output.stderr), @"
        waiting for the package manager: pid PID, dpkg
        error: the package manager is still busy after SPAN: /var/lib/dpkg/lock-frontend (dpkg) is held by pid PID, dpkg [apt.busy]
        help: `pid PID` shows what it is; let it finish or end it, then run again
        ");
    });
    let output = scratch.apt_wait(&["--timeout", "50ms", "--quiet", "--json"]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(14), ""));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["error"]["reason"], &json["error"]["exit"]), (&"apt.busy".into(), &14.into()));
    assert!(dpkg.release());
}

#[test]
fn a_span_that_makes_no_sense_is_a_usage_error() {
    let scratch = Scratch::new();
    let output = scratch.apt_wait(&["--timeout", "soon"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let first = text(&output.stderr);
    insta::assert_snapshot!(first.lines().next().unwrap(), @"error: invalid value 'soon' for '--timeout <SPAN>': write a number and a unit, such as 30s, 5m or 1h30m; at most 24h");
}

#[test]
fn a_free_package_manager_is_not_waited_for() {
    let scratch = Scratch::new();
    // Made by an earlier run and merely open: nobody holds it.
    let _open = fs::File::create(scratch.paths.dpkg_frontend_lock()).unwrap();
    let output = scratch.apt_wait(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!((text(&output.stdout).as_str(), text(&output.stderr).as_str()), ("the package manager is free", ""));
}

#[test]
fn a_machine_without_apt_is_told_so_and_nothing_is_made_on_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap"));
    let output = command.arg("--root").arg(directory.path()).arg("apt-wait").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(text(&output.stdout), @"this machine has neither apt nor dnf: nothing to wait for");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap"));
    let output = command.arg("--root").arg(directory.path()).args(["apt-wait", "--json"]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json.to_string(), r#"{"quiet":true,"apt":false,"manager":null,"waited_ms":0,"holders":[]}"#);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn looking_never_keeps_dpkg_from_its_locks() {
    let scratch = Scratch::new();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let mut looks = 0u64;
            while !stop.load(Ordering::SeqCst) {
                look(&MANAGER, &scratch.paths).unwrap();
                looks += 1;
            }
            looks
        });
        let failures: Vec<Output> = (0..20)
            .map(|_| scratch.dpkg().args(["--configure", "-a"]).output().unwrap())
            .filter(|output| !output.status.success())
            .collect();
        stop.store(true, Ordering::SeqCst);
        assert!(looks.join().unwrap() > 0);
        assert!(failures.is_empty(), "{failures:?}");
    });
}

#[tokio::test]
async fn each_new_holder_is_told_to_the_observer() {
    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);
    impl Observer for Told {
        fn waiting(&self, wait: &Wait) {
            self.0.lock().unwrap().push(format!("{}: {}", wait.what, wait.holder.as_deref().unwrap_or("?")));
        }
    }
    impl Told {
        async fn of(&self, pid: u32) {
            while !self.0.lock().unwrap().iter().any(|line| line.contains(&format!("pid {pid}"))) {
                tokio::task::yield_now().await;
            }
        }
    }
    let scratch = Scratch::new();
    let told = Told::default();
    let dpkg = scratch.dpkg_at_work();
    let (first, second) = (dpkg.pid(), std::process::id());
    let wait = until_quiet(&MANAGER, &scratch.paths, Deadline::after(Duration::from_secs(60)), &told);
    let change = async {
        told.of(first).await;
        // Taken before dpkg lets go, so that there is no moment at which nobody holds anything. By an
        // open file description, for a process's own locks never stand in its own way.
        let file = fs::File::create(scratch.paths.apt_archives_lock()).unwrap();
        lock::take_for_the_file(&file).unwrap();
        assert!(dpkg.release());
        told.of(second).await;
    };
    let (quiet, ()) = tokio::join!(wait, change);
    let Quiet { holders, .. } = quiet.unwrap();
    assert_eq!(holders.len(), 2, "{holders:?}");
    assert!(holders[0].ends_with(&format!("pid {first}, dpkg")), "{holders:?}");
    assert!(holders[1].contains(&format!("pid {second}, ")), "{holders:?}");
    let told = told.0.into_inner().unwrap();
    assert_eq!(told, holders.iter().map(|holder| format!("the package manager: {holder}")).collect::<Vec<_>>());
}

#[test]
fn with_the_snippet_the_real_apt_waits_for_dpkg_and_without_it_fails() {
    let scratch = Scratch::new();
    let admindir = scratch.paths.at("/var/lib/dpkg");
    let dpkg = scratch.dpkg_at_work();
    let refused = scratch.apt("apt-get", &admindir).args(["install", "--yes", "--fix-broken"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(100));
    assert!(text(&refused.stderr).contains("Could not get lock"), "{refused:?}");

    assert!(snippet::place(&scratch.paths, Duration::from_secs(60)).unwrap());
    let mut command = scratch.apt("apt-get", &admindir);
    command.args(["install", "--yes", "--fix-broken"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut apt = Guard(command.spawn().unwrap());
    // It rests between two tries: what apt prints meanwhile depends on how busy the machine is.
    let wchan = format!("/proc/{}/wchan", apt.0.id());
    while !fs::read_to_string(&wchan).unwrap_or_default().contains("nanosleep") {
        assert_eq!(apt.0.try_wait().unwrap(), None, "apt-get ended without waiting");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(dpkg.release());
    let mut said = String::new();
    apt.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(apt.0.wait().unwrap().success(), "{said}");
    assert!(snippet::remove(&scratch.paths).unwrap());
}

#[test]
fn the_snippet_is_what_apt_reads_and_gone_afterwards_even_half_written() {
    let scratch = Scratch::new();
    let timeout = || {
        let mut command = scratch.apt("apt-config", &scratch.paths.at("/var/lib/dpkg"));
        text(&command.args(["dump", "DPkg::Lock::Timeout"]).output().unwrap().stdout)
    };
    assert_eq!(timeout(), "");
    // What a crash in the middle of placing it leaves: apt does not read it.
    let half = scratch.paths.apt_conf_dir().join(".99kasm-bootstrap.1.0.new");
    fs::write(&half, "DPkg::Lock::Timeout \"7\";\n").unwrap();
    let other = scratch.paths.apt_conf_dir().join("50other");
    fs::write(&other, "// the operator's own\n").unwrap();
    assert_eq!(timeout(), "");
    snippet::place(&scratch.paths, Duration::from_secs(300)).unwrap();
    assert_eq!(timeout(), "DPkg::Lock::Timeout \"300\";");
    snippet::place(&scratch.paths, Duration::from_millis(10)).unwrap();
    assert_eq!(timeout(), "DPkg::Lock::Timeout \"1\";");
    insta::assert_snapshot!(fs::read_to_string(scratch.paths.apt_snippet()).unwrap(), @r#"
    // kasm-bootstrap put this here while Kasm's installer runs, and removes it afterwards:
    // the installer's apt is to wait for dpkg's locks instead of failing.
    DPkg::Lock::Timeout "1";
    "#);
    assert!(snippet::remove(&scratch.paths).unwrap());
    assert!(!snippet::remove(&scratch.paths).unwrap());
    assert_eq!(timeout(), "");
    assert!(!half.exists() && other.exists());
}

#[test]
fn a_machine_without_apts_configuration_gets_no_snippet() {
    let directory = tempfile::tempdir().unwrap();
    let paths = Paths::below(directory.path());
    assert!(!snippet::place(&paths, Duration::from_secs(300)).unwrap());
    assert!(!snippet::remove(&paths).unwrap());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}
