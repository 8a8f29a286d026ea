//! The check-in of a server pool's machine, by hand and by the runs themselves, against a manager on loopback.

mod common;

use common::{Scene, run, spoken};
use kasm_stand_in::http::Request;
use kasm_stand_in::manager::jwt::{self, Signer};
use kasm_stand_in::manager::{Behaviour, CheckInFault, Manager};
use kasm_stand_in::release::Options;
use kasm_stand_in::tls;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

/// A machine that is to tell a manager how far it is.
struct Pool {
    directory: tempfile::TempDir,
    manager: Manager,
    token: String,
}

impl Pool {
    fn new() -> Pool {
        Pool::with(&jwt::sign(&json!({ "server_id": "s-1", "exp": jwt::now() + 4 * 3600 }), Signer::Manager))
    }

    fn with(token: &str) -> Pool {
        let directory = tempfile::tempdir().unwrap();
        let identity = tls::self_signed(&["127.0.0.1"]);
        fs::write(directory.path().join("ca.pem"), &identity.trust_pem).unwrap();
        let path = directory.path().join("token");
        fs::write(&path, format!("{token}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let manager = Manager::start(Some(identity.config), Behaviour::default());
        Pool { directory, manager, token: token.to_owned() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `checkin` with what it cannot do without.
    fn checkin(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap"));
        command.arg("--root").arg(self.file("machine")).arg("checkin");
        command.arg("--token-file").arg(self.file("token"));
        command.arg("--manager-hostname").arg(self.manager.address().to_string());
        command.args(more);
        for (name, _) in std::env::vars_os() {
            let shown = name.to_string_lossy().to_ascii_lowercase();
            if shown.starts_with("kasm_bootstrap") || shown.ends_with("_proxy") {
                command.env_remove(name);
            }
        }
        command
    }

    fn trusting(&self, more: &[&str]) -> Command {
        let mut command = self.checkin(more);
        command.arg("--ca-cert").arg(self.file("ca.pem"));
        command
    }

    /// Exit code, standard output and standard error; the token is in neither.
    fn said(&self, output: &Output) -> (i32, String, String) {
        let (code, out, err) = spoken(output);
        assert!(!out.contains(&self.token) && !err.contains(&self.token), "{out}{err}");
        // Not even its signature alone.
        let signature = self.token.rsplit('.').next().unwrap();
        assert!(!out.contains(signature) && !err.contains(signature), "{out}{err}");
        (code, out, err)
    }

    fn asked(&self) -> Vec<Request> {
        self.manager.requests().into_iter().filter(|request| request.target.contains("set_server_status")).collect()
    }
}

#[test]
fn the_manager_is_told_what_was_said_and_the_token_is_shown_nowhere() {
    let pool = Pool::new();
    let mut command = pool.trusting(&["--status", "starting", "--message", "Installing \"it\"", "--progress", "40"]);
    let (code, out, err) = pool.said(&run(&mut command));
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, format!("manager {} was told: starting, 40 %\n", pool.manager.address()));
    let told = json!({ "status": "starting", "status_message": "Installing \"it\"", "status_progress": "40" });
    assert_eq!(pool.manager.told(), [told]);
    assert_eq!(pool.asked()[0].target, format!("/api/set_server_status?token={}", pool.token));
    let (code, ..) = pool.said(&run(&mut pool.trusting(&["--message", "Ready"])));
    assert_eq!(code, 0);
    assert_eq!(pool.manager.told()[1]["status"], "running");
    assert_eq!(pool.manager.told()[1]["status_progress"], "100");
}

#[test]
fn an_error_message_is_a_failure_although_the_status_is_200() {
    let pool = Pool::new();
    pool.manager.fail_checkin(CheckInFault::Words("Server not found".into()));
    let (code, out, err) = pool.said(&run(&mut pool.trusting(&["--timeout", "1500ms", "-v"])));
    assert_eq!((code, out.as_str()), (13, ""));
    assert!(err.contains("does not take the status: Server not found [checkin.failed]"), "{err}");
    let before = pool.asked().len();
    let output = std::thread::scope(|threads| {
        let work = threads.spawn(|| run(&mut pool.trusting(&["--timeout", "60s"])));
        // It is tried again.
        while pool.asked().len() < before + 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        // What a manager says may hold what it was sent.
        pool.manager.fail_checkin(CheckInFault::Words(format!("Signature has expired: {}", pool.token)));
        work.join().unwrap()
    });
    let (code, _, err) = pool.said(&output);
    assert_eq!(code, 11, "{err}");
    assert!(
        err.contains("refuses the check-in token: Signature has expired: [masked] [checkin.token-refused]"),
        "{err}"
    );
}

#[test]
fn a_token_that_another_manager_signed_is_refused_by_this_one() {
    let pool = Pool::with(&jwt::sign(&json!({ "exp": jwt::now() + 3600 }), Signer::Another));
    let (code, _, err) = pool.said(&run(&mut pool.trusting(&[])));
    assert_eq!(code, 11, "{err}");
    assert_eq!(pool.asked().len(), 1);
}

#[test]
fn a_token_that_cannot_be_right_is_not_even_sent() {
    let expired = jwt::sign(&json!({ "exp": jwt::now() - 3600 }), Signer::Manager);
    for token in [expired.as_str(), "{checkin_jwt}", "notajsonwebtoken"] {
        let pool = Pool::with(token);
        let (code, _, err) = spoken(&run(&mut pool.trusting(&[])));
        assert_eq!(code, 11, "{err}");
        assert!(pool.asked().is_empty());
    }
    let pool = Pool::new();
    fs::remove_file(pool.file("token")).unwrap();
    let (code, _, err) = spoken(&run(&mut pool.trusting(&[])));
    assert_eq!(code, 10, "{err}");
}

#[test]
fn no_token_goes_to_a_manager_that_has_not_proved_who_it_is() {
    let pool = Pool::new();
    let (code, _, err) = pool.said(&run(&mut pool.checkin(&["--timeout", "60s"])));
    assert_eq!(code, 13, "{err}");
    assert!(err.contains("manager.certificate"), "{err}");
    let (code, _, err) = pool.said(&run(pool.checkin(&[]).env("KASM_BOOTSTRAP_NETWORK_INSECURE", "true")));
    assert_eq!(code, 10, "{err}");
    assert!(err.contains("net.unverified"), "{err}");
    assert!(pool.asked().is_empty());
    let pin: String = {
        use sha2::Digest;
        let identity = tls::self_signed(&["127.0.0.1"]);
        sha2::Sha256::digest(&identity.certificate).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let (code, ..) = pool.said(&run(&mut pool.checkin(&["--tls-pin", &pin])));
    assert_eq!((code, pool.asked().len()), (13, 0));
}

#[test]
fn what_may_pass_is_tried_again_until_the_time_is_over() {
    let pool = Pool::new();
    pool.manager.fail_checkin(CheckInFault::Status("503 Service Unavailable"));
    let output = std::thread::scope(|threads| {
        let work = threads.spawn(|| run(&mut pool.trusting(&["--timeout", "60s"])));
        while pool.asked().is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        pool.manager.fail_checkin(CheckInFault::None);
        work.join().unwrap()
    });
    let (code, _, err) = pool.said(&output);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("waiting for manager") && err.contains("status 503"), "{err}");
    for (fault, words) in [
        (CheckInFault::Silent, "takes the connection but does not answer"),
        (CheckInFault::Page, "not an answer of Kasm's API"),
        (CheckInFault::Status("500 Internal Server Error"), "status 500"),
    ] {
        pool.manager.fail_checkin(fault);
        let (code, _, err) = pool.said(&run(&mut pool.trusting(&["--timeout", "500ms"])));
        assert_eq!(code, 13, "{err}");
        assert!(err.contains(words), "{err}");
    }
    pool.manager.take_down(true);
    let (code, _, err) = pool.said(&run(&mut pool.trusting(&["--timeout", "500ms"])));
    assert_eq!(code, 13, "{err}");
}

#[test]
fn how_much_is_done_goes_from_0_to_100_and_only_what_is_running_is_done_by_itself() {
    let pool = Pool::new();
    for progress in ["0", "100"] {
        let (code, _, err) = pool.said(&run(&mut pool.trusting(&["--progress", progress])));
        assert_eq!(code, 0, "{err}");
    }
    let (code, out, err) = pool.said(&run(&mut pool.trusting(&["--status", "starting"])));
    assert_eq!(code, 0, "{err}");
    assert!(out.ends_with("was told: starting, 0 %\n"), "{out}");
    let told = pool.manager.told();
    let progress: Vec<_> = told.iter().map(|told| told["status_progress"].as_str().unwrap()).collect();
    assert_eq!(progress, ["0", "100", "0"]);
    for progress in ["101", "-1", "256", "half"] {
        let (code, ..) = pool.said(&run(&mut pool.trusting(&[&format!("--progress={progress}")])));
        assert_eq!(code, 2, "{progress}");
    }
    for status in ["", "not ready", "so-long-a-word-that-nobody-reads-it"] {
        let (code, ..) = pool.said(&run(&mut pool.trusting(&["--status", status])));
        assert_eq!(code, 2, "{status}");
    }
    assert_eq!(pool.asked().len(), 3);
}

#[test]
fn without_flags_and_files_the_environment_standard_input_or_a_credential_is_enough() {
    use std::io::Write;
    use std::process::Stdio;
    let pool = Pool::new();
    let command = || {
        let mut command = pool.trusting(&[]);
        // Only the root, the command and whom to trust.
        let kept: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
        let program = command.get_program().to_owned();
        command = Command::new(program);
        command.args(&kept[..3]).args(&kept[kept.len() - 2..]).env_clear();
        command.env("KASM_BOOTSTRAP_MANAGER_ADDRESS", pool.manager.address().to_string());
        command
    };
    let (code, _, err) =
        pool.said(&run(command().env("KASM_BOOTSTRAP_MANAGER_CHECKIN_TOKEN_FILE", pool.file("token"))));
    assert_eq!(code, 0, "{err}");
    let credentials = pool.file("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::copy(pool.file("token"), credentials.join("checkin-token")).unwrap();
    let (code, _, err) = pool.said(&run(command().env("CREDENTIALS_DIRECTORY", &credentials)));
    assert_eq!(code, 0, "{err}");
    let mut child = command();
    child.args(["--token-file", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    child.stdin.take().unwrap().write_all(pool.token.as_bytes()).unwrap();
    let (code, _, err) = pool.said(&child.wait_with_output().unwrap());
    assert_eq!(code, 0, "{err}");
    assert_eq!(pool.manager.told().len(), 3);
    // A zone whose upstream auth address was left as it is.
    let mut command = command();
    command.env("KASM_BOOTSTRAP_MANAGER_ADDRESS", "$request_host$");
    command.env("KASM_BOOTSTRAP_MANAGER_CHECKIN_TOKEN_FILE", pool.file("token"));
    let (code, _, err) = pool.said(&run(&mut command));
    assert_eq!(code, 10, "{err}");
    assert!(err.contains("$request_host$"), "{err}");
}

#[test]
fn a_redirect_is_not_followed_with_the_token_and_a_forbidden_token_is_not_tried_again() {
    let pool = Pool::new();
    pool.manager.fail_checkin(CheckInFault::Status("302 Found"));
    let (code, _, err) = pool.said(&run(&mut pool.trusting(&["--timeout", "60s"])));
    assert_eq!((code, pool.asked().len()), (13, 1), "{err}");
    for status in ["401 Unauthorized", "403 Forbidden"] {
        pool.manager.fail_checkin(CheckInFault::Status(status));
        let before = pool.asked().len();
        let (code, _, err) = pool.said(&run(&mut pool.trusting(&["--timeout", "60s"])));
        assert_eq!((code, pool.asked().len()), (11, before + 1), "{err}");
    }
}

/// A scene whose manager can prove who it is, and the environment that makes a run tell it.
fn scene() -> (Scene, Pool) {
    let mut scene = Scene::new(&Options::default());
    let pool = Pool::new();
    let identity = tls::self_signed(&["127.0.0.1"]);
    fs::write(pool.file("ca.pem"), &identity.trust_pem).unwrap();
    scene.manager = Manager::start(Some(identity.config), Behaviour::default());
    (scene, pool)
}

fn telling(command: &mut Command, pool: &Pool) -> Output {
    command.arg("--ca-cert").arg(pool.file("ca.pem"));
    run(command.env("KASM_BOOTSTRAP_MANAGER_CHECKIN_TOKEN_FILE", pool.file("token")))
}

#[test]
fn a_run_tells_the_manager_that_the_node_is_up_and_why_it_is_not() {
    let (scene, pool) = scene();
    let (code, _, err) = pool.said(&telling(&mut scene.install(&["--token-format", "jwt"]), &pool));
    assert_eq!(code, 11, "{err}");
    let last = scene.manager.told().pop().unwrap();
    assert_eq!(last["status"], "starting");
    let message = last["status_message"].as_str().unwrap();
    assert!(message.starts_with("FAILED: the manager token ") && message.contains("[token."), "{message}");

    let (code, _, err) = pool.said(&telling(&mut scene.install(&[]), &pool));
    assert_eq!(code, 0, "{err}");
    let told = scene.manager.told();
    let last = told.last().unwrap();
    assert_eq!((&last["status"], &last["status_progress"]), (&"running".into(), &"100".into()));
    assert!(told.iter().rev().skip(1).all(|told| told["status"] == "starting"), "{told:?}");
    assert!(scene.files_with_the_token().is_empty());
}

#[test]
fn a_manager_that_does_not_listen_changes_nothing_about_a_run() {
    let (scene, pool) = scene();
    scene.manager.fail_checkin(CheckInFault::Words("The JWT token has expired.".into()));
    let (code, _, err) = pool.said(&telling(&mut scene.install(&["--token-format", "jwt"]), &pool));
    assert_eq!(code, 11, "{err}");
    assert!(err.contains("warning: check-in: ") && err.contains("is not told how far this node is"), "{err}");
    // A template that nobody filled in is no token.
    let mut command = scene.install(&["--token-format", "jwt"]);
    command.env("KASM_BOOTSTRAP_MANAGER_CHECKIN_TOKEN", "{checkin_jwt}");
    let (code, _, err) = spoken(&run(&mut command));
    assert_eq!(code, 11, "{err}");
    assert!(!err.contains("check-in: "), "{err}");
}
