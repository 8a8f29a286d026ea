//! The main job for a connection proxy, whole: the real binary on a scratch machine, with components that
//! register by themselves.

mod common;

use common::{DEADLINE, Scene, TOKEN, picture, run, spoken};
use kasm_stand_in::docker::{Condition, Script};
use kasm_stand_in::manager::jwt::{self, Signer};
use kasm_stand_in::manager::{Behaviour, Issue, Registry};
use kasm_stand_in::release::{Components, Fault, Options, Point};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

fn registering() -> Options {
    Options { components: Some(Components::default()), ..Options::default() }
}

fn faulty(fault: Fault) -> Options {
    Options { faults: vec![fault], ..registering() }
}

/// A machine for a connection proxy.
struct Guac {
    scene: Scene,
    token: tempfile::NamedTempFile,
}

impl Guac {
    fn new(options: &Options) -> Guac {
        let scene = Scene::new(options);
        scene.containers(Script { looks: 0, ..Script::default() });
        let token = tempfile::NamedTempFile::new().unwrap();
        fs::write(&token, TOKEN).unwrap();
        Guac { scene, token }
    }

    /// The binary with all flags but the token's.
    fn without_token(&self) -> Command {
        let (manager, url) = (self.scene.manager.address().to_string(), self.scene.url());
        let mut command = self.scene.command();
        command.args(["install", "-e", "-S", "guac", "-n", &manager, "--release-url", &url]);
        command.args(["--sha256", &self.scene.release.sha256]);
        command.env("KASM_BOOTSTRAP_HEALTH_SETTLE", "0s");
        command
    }

    fn install(&self, more: &[&str]) -> Command {
        let mut command = self.without_token();
        command.arg("--registration-token-file").arg(self.token.path());
        for (flag, value) in [("--deadline", DEADLINE), ("-p", "auto")] {
            if !more.contains(&flag) {
                command.args([flag, value]);
            }
        }
        command.args(more);
        command
    }

    /// The components' files.
    fn files(&self) -> Vec<String> {
        let app = self.scene.root.join("opt/kasm/current/conf/app");
        let names = [
            ("guac", "kasmguac.app.config.yaml"),
            ("rdp_gateway", "passthrough.app.config.yaml"),
            ("rdp_https_gateway", "rdp_https_gateway.app.config.yaml"),
        ];
        let read = |(directory, name): (&str, &str)| {
            fs::read_to_string(app.join(directory).join(name)).or_else(|_| fs::read_to_string(app.join(name))).unwrap()
        };
        names.into_iter().map(read).collect()
    }

    fn ended_well(&self) {
        for text in self.files() {
            assert!(text.contains("auth_token: ey") && !text.contains(TOKEN), "{text}");
        }
        assert_eq!(self.scene.status()["state"], "done");
        assert_eq!(self.scene.files_with_the_token(), Vec::<std::path::PathBuf>::new());
        assert!(!self.scene.root.join("etc/apt/apt.conf.d/99kasm-bootstrap").exists());
    }

    fn behave(&self, registry: Registry) {
        self.scene.manager.deal(registry);
    }
}

/// Keeps what a person sees of a failure: from the error on.
fn shown(name: &str, err: &str) {
    let at = err.find("error: ").unwrap_or_else(|| panic!("no error in {err}"));
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"127\.0\.0\.1:\d+", "[address]");
    settings.add_filter(r"/\S*/machine/", "[root]/");
    settings.add_filter(r"[0-9a-f]{64}", "[digest]");
    settings.add_filter(r"(after|waited|within) \d+(\.\d+)? s\b", "$1 [time]");
    settings.bind(|| insta::assert_snapshot!(name, err[at..].trim_end()));
}

#[test]
fn a_connection_proxy_comes_up_registered_in_both_layouts() {
    for version in ["1.16.1", "1.17.0", "1.18.1"] {
        let guac = Guac::new(&Options { version: version.into(), ..registering() });
        let (code, out, err) = spoken(&run(&mut guac.install(&["--json", "-z", "emea", "-L", "8443"])));
        assert_eq!(code, 0, "{version}: {err}");
        let report: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(report["result"], "done");
        guac.ended_well();
        let granted: Vec<String> = guac.scene.manager.registrations().into_iter().map(|one| one.kind).collect();
        assert_eq!(granted.len(), 3, "{granted:?}");
        for text in guac.files() {
            assert!(text.contains("zone: emea") && text.contains("server_port: 8443"), "{text}");
        }
        assert!(err.contains("registered with the manager"), "{err}");
    }
}

#[test]
fn a_second_run_does_nothing_and_tells_of_tokens_that_went_bad() {
    let guac = Guac::new(&registering());
    assert_eq!(spoken(&run(&mut guac.install(&[]))).0, 0);
    let (before, asked) = (picture(&guac.scene.root.join("opt")), guac.scene.mirror.requests().len());
    let (code, out, err) = spoken(&run(&mut guac.install(&["--json"])));
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["result"]), (0, &"already".into()), "{err}");
    assert!(!err.contains("token repair"), "{err}");
    assert_eq!(picture(&guac.scene.root.join("opt")), before);
    assert_eq!(guac.scene.mirror.requests().len(), asked);

    let file = guac.scene.root.join("opt/kasm/current/conf/app/guac/kasmguac.app.config.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let at = text.find("auth_token: ").unwrap() + "auth_token: ".len();
    let end = at + text[at..].find('\n').unwrap();
    fs::write(&file, format!("{}false{}", &text[..at], &text[end..])).unwrap();
    let (code, _, err) = spoken(&run(&mut guac.install(&[])));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("\"Not enough segments\"") && err.contains("token repair"), "{err}");
}

#[test]
fn the_placeholder_that_broke_a_cluster_is_refused_before_anything_is_touched() {
    let guac = Guac::new(&registering());
    let outside = |scene: &Scene| -> Vec<String> {
        let ours = |line: &String| line.contains("/kasm-bootstrap") || line.contains("/var/lib ");
        picture(&scene.root).into_iter().filter(|line| !ours(line) && !line.contains("/var/cache ")).collect()
    };
    let before = outside(&guac.scene);
    let mut command = guac.without_token();
    let (code, _, err) = spoken(&run(command.args(["-k", "[COMPONENT_REGISTRATION_TOKEN]", "-p", "auto"])));
    assert_eq!(code, 11, "{err}");
    shown("token-placeholder", &err);
    assert_eq!(outside(&guac.scene), before);
    assert!(guac.scene.mirror.requests().is_empty() && guac.scene.manager.requests().is_empty());
}

#[test]
fn a_registration_token_that_is_a_jwt_is_judged_as_one() {
    let claims = |seconds: i64| serde_json::json!({ "exp": jwt::now() + seconds, "kind": "registration" });
    let with = |guac: &Guac, token: &str, more: &[&str]| {
        fs::write(&guac.token, token).unwrap();
        let output = run(&mut guac.install(more));
        let printed = [output.stdout.clone(), output.stderr.clone()].concat();
        assert!(!String::from_utf8_lossy(&printed).contains(token), "the token was printed");
        spoken(&output)
    };
    let guac = Guac::new(&registering());
    let (code, _, err) = with(&guac, &jwt::sign(&claims(-7200), Signer::Manager), &[]);
    assert_eq!(code, 11, "{err}");
    assert!(err.contains("[token.expired]") && err.contains("Signature has expired"), "{err}");
    let (code, _, err) = with(&guac, TOKEN, &["--token-format", "jwt"]);
    assert_eq!(code, 11, "{err}");
    assert!(err.contains("Not enough segments"), "{err}");
    let (code, _, err) = with(&guac, &jwt::sign(&claims(7200), Signer::Manager), &["--token-format", "jwt"]);
    assert_eq!(code, 0, "{err}");
    guac.ended_well();
}

#[test]
fn a_registration_token_from_a_flag_the_environment_a_credential_or_a_file_is_printed_and_kept_nowhere() {
    for way in ["flag", "environment", "credential", "configuration"] {
        let guac = Guac::new(&faulty(Fault::EchoToken { at: Point::Files }));
        let mut command = guac.without_token();
        command.args(["-p", "auto", "--deadline", DEADLINE]);
        let outside = tempfile::tempdir().unwrap();
        match way {
            "flag" => drop(command.args(["-k", TOKEN])),
            "environment" => drop(command.env("KASM_BOOTSTRAP_GUAC_REGISTRATION_TOKEN", TOKEN)),
            "credential" => {
                fs::write(outside.path().join("registration-token"), TOKEN).unwrap();
                command.env("CREDENTIALS_DIRECTORY", outside.path());
            }
            _ => {
                let file = outside.path().join("config.toml");
                fs::write(&file, format!("[guac]\nregistration_token = \"{TOKEN}\"\n")).unwrap();
                fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
                command.arg("--config").arg(file);
            }
        }
        let (code, _, err) = spoken(&run(&mut command));
        assert_eq!(code, 0, "{way}: {err}");
        guac.ended_well();
    }
}

#[test]
fn its_own_address_is_found_or_taken_as_given_and_the_zone_is_default() {
    for (address, expected) in
        [("auto", "127.0.0.1"), ("interface:lo", "127.0.0.1"), ("proxy.example.com", "proxy.example.com")]
    {
        let guac = Guac::new(&registering());
        let (code, _, err) = spoken(&run(&mut guac.install(&["-p", address])));
        assert_eq!(code, 0, "{address}: {err}");
        for text in guac.files() {
            assert!(text.contains(&format!("server_address: {expected}")) && text.contains("zone: default"), "{text}");
        }
    }
}

#[test]
fn a_manager_that_refuses_the_token_is_told_in_its_own_words_and_another_run_only_proves() {
    let guac = Guac::new(&registering());
    guac.behave(Registry { refusal: Some("The JWT token has expired.".into()), ..Registry::default() });
    let (code, _, err) = spoken(&run(&mut guac.install(&["--deadline", "9s"])));
    assert_eq!(code, 19, "{err}");
    shown("registration-refused", &err);
    assert_eq!(guac.scene.status()["state"], "failed");
    let installers = || guac.scene.root.join("var/lib/kasm-bootstrap/attempts/2").exists();
    assert!(!installers());

    guac.behave(Registry::default());
    let (code, _, err) = spoken(&run(&mut guac.install(&[])));
    assert_eq!(code, 0, "{err}");
    assert!(!installers(), "it was installed again");
    guac.ended_well();
}

#[test]
fn a_manager_that_goes_away_before_the_registration_is_named_and_the_node_stays() {
    // The installer itself takes it down, through a file that the test waits for.
    let late = Components { after: Duration::from_secs(2), ..Components::default() };
    let guac = Guac::new(&Options { components: Some(late), ..Options::default() });
    let mut command = guac.install(&["--deadline", "11s"]);
    let output = std::thread::scope(|scope| {
        let work = scope.spawn(|| run(&mut command));
        while !guac.scene.root.join("opt/kasm/current").exists() {
            assert!(!work.is_finished(), "it ended before anything was installed");
            std::thread::sleep(Duration::from_millis(5));
        }
        guac.scene.manager.take_down(true);
        work.join().unwrap()
    });
    let (code, _, err) = spoken(&output);
    assert_eq!(code, 19, "{err}");
    assert!(err.contains("[health.not-registered]") && err.contains("which is not reachable from here"), "{err}");
    assert!(err.contains("waiting for the registration of "), "{err}");
    assert!(guac.scene.root.join("opt/kasm/current").exists());

    guac.scene.manager.take_down(false);
    let (code, _, err) = spoken(&run(&mut guac.install(&[])));
    assert_eq!(code, 0, "{err}");
    guac.ended_well();
}

#[test]
fn an_auth_token_that_cannot_work_is_no_proof() {
    let guac = Guac::new(&registering());
    guac.behave(Registry { issue: Issue::WrongClass, ..Registry::default() });
    let (code, _, err) = spoken(&run(&mut guac.install(&["--deadline", "9s"])));
    assert_eq!(code, 19, "{err}");
    shown("wrong-class", &err);
}

#[test]
fn a_manager_that_is_down_is_named_before_anything_is_installed() {
    let guac = Guac::new(&registering());
    guac.scene.manager.behave(Behaviour { down: true, ..Behaviour::default() });
    let (code, _, err) = spoken(&run(&mut guac.install(&["--deadline", "8s"])));
    assert_eq!(code, 13, "{err}");
    assert!(!guac.scene.root.join("opt").exists());
}

#[test]
fn a_container_that_stays_ill_is_named_although_its_component_is_registered() {
    let guac = Guac::new(&registering());
    let except = [("kasm_rdp_gateway".to_owned(), Condition::Unhealthy)].into();
    guac.scene.containers(Script { looks: 0, except, ..Script::default() });
    let (code, _, err) = spoken(&run(&mut guac.install(&["--deadline", "9s"])));
    assert_eq!(code, 19, "{err}");
    assert!(err.contains("kasm_rdp_gateway is running but unhealthy [health.containers]"), "{err}");
}
