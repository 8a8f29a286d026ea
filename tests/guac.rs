//! The main job for a connection proxy, whole: the real binary on a scratch machine, with components that
//! register by themselves.

mod common;
mod faults;

use common::{DEADLINE, Scene, TOKEN, WAYS, give_token, picture, run, spoken, start};
use faults::table::{End, saw};
use faults::{is_started, until};
use kasm_stand_in::docker::{Condition, Script};
use kasm_stand_in::manager::jwt::{self, Signer};
use kasm_stand_in::manager::{Behaviour, Issue, Registry};
use kasm_stand_in::metadata::{self, Metadata};
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

/// Records how this fault ended at this step.
#[track_caller]
fn fault(fault: &str, point: &str, end: End, code: i32, err: &str) {
    let line = err.lines().rev().find(|line| line.starts_with("error: ")).unwrap_or_default();
    let reason = line.rsplit_once(" [").map_or("", |(_, reason)| reason.trim_end_matches(']'));
    saw("install", fault, point, end, code, reason);
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
    fault("wrong token", "tokens", End::Untouched, code, &err);
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
    fault("expired token", "tokens", End::Untouched, code, &err);
    let (code, _, err) = with(&guac, TOKEN, &["--token-format", "jwt"]);
    assert_eq!(code, 11, "{err}");
    assert!(err.contains("Not enough segments"), "{err}");
    let (code, _, err) = with(&guac, &jwt::sign(&claims(7200), Signer::Manager), &["--token-format", "jwt"]);
    assert_eq!(code, 0, "{err}");
    guac.ended_well();
}

#[test]
fn a_registration_token_from_a_flag_the_environment_a_credential_or_a_file_is_printed_and_kept_nowhere() {
    for way in WAYS {
        let guac = Guac::new(&faulty(Fault::EchoToken { at: Point::Files }));
        let mut command = guac.without_token();
        command.args(["-p", "auto", "--deadline", DEADLINE]);
        let _outside = give_token(&mut command, way, "-k", "guac", "registration");
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
    guac.behave(Registry { registration_token: Some("another20characters.".into()), ..Registry::default() });
    let (code, _, err) = spoken(&run(&mut guac.install(&["--deadline", "8s"])));
    assert_eq!(code, 19, "{err}");
    shown("registration-refused", &err);
    fault("wrong token", "prove", End::Unproved, code, &err);
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
fn a_registration_token_that_expires_on_the_way_is_told_by_the_manager() {
    let guac = Guac::new(&registering());
    // Within the leeway that every clock is granted, and past the manager's.
    let token = jwt::sign(&serde_json::json!({ "exp": jwt::now() - 20 }), Signer::Manager);
    fs::write(&guac.token, token).unwrap();
    let (code, _, err) = spoken(&run(&mut guac.install(&["--deadline", "8s"])));
    assert_eq!(code, 19, "{err}");
    assert!(err.contains("only the leeway keeps it") && err.contains("The JWT token has expired."), "{err}");
    fault("expired token", "prove", End::Unproved, code, &err);
}

#[test]
fn a_manager_that_goes_away_before_the_registration_is_named_and_the_node_stays() {
    // The installer itself takes it down, through a file that the test waits for.
    let late = Components { after: Duration::from_secs(2), ..Components::default() };
    let guac = Guac::new(&Options { components: Some(late), ..Options::default() });
    let mut command = guac.install(&["--deadline", "8s"]);
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
    fault("manager down", "install", End::Unproved, code, &err);
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
    let (code, _, err) = spoken(&run(&mut guac.install(&["--deadline", "8s"])));
    assert_eq!(code, 19, "{err}");
    shown("wrong-class", &err);
}

#[test]
fn a_manager_that_is_down_is_named_before_anything_is_installed() {
    let guac = Guac::new(&registering());
    guac.scene.manager.behave(Behaviour { down: true, ..Behaviour::default() });
    let (code, _, err) = spoken(&run(guac.install(&[]).env("KASM_BOOTSTRAP_MANAGER_WAIT", "1s")));
    assert_eq!(code, 13, "{err}");
    assert!(!guac.scene.root.join("opt").exists());
    fault("manager down", "manager", End::Untouched, code, &err);
}

#[test]
fn a_manager_that_goes_away_after_the_registration_does_not_matter() {
    let guac = Guac::new(&registering());
    guac.scene.containers(Script { looks: 3, ..Script::default() });
    let mut command = guac.install(&[]);
    let output = std::thread::scope(|scope| {
        let work = scope.spawn(|| run(&mut command));
        until(&guac.scene, |entry| is_started(entry, "prove"));
        guac.scene.manager.take_down(true);
        work.join().unwrap()
    });
    let (code, _, err) = spoken(&output);
    assert_eq!(code, 0, "{err}");
    guac.ended_well();
    fault("manager down", "prove", End::New, code, &err);
}

#[test]
fn a_clock_that_is_a_day_ahead_calls_nothing_expired_that_the_manager_does_not() {
    // Two hours ago by our clock, tomorrow by the manager's.
    let exp = jwt::now() - 7200;
    let auth = jwt::sign(&serde_json::json!({ "exp": exp, "authorizations": [80, 90] }), Signer::Manager);
    let lines = format!(
        "local file\nfor file in \"$KASM_BOOTSTRAP_ROOT\"/opt/kasm/current/conf/app/*/*.app.config.yaml; do\n\
         sed -i -e '/^  registration_token:/d' -e '/^  public_jwt_cert:/d' -e 's/^  auth_token:.*/  auth_token: {auth}/' \
         \"$file\"\nprintf '  public_jwt_cert: \"{}\"\\n' >>\"$file\"\ndone\n",
        jwt::CERTIFICATE.trim_end().replace('\n', "\\\\n"),
    );
    let registered = Fault::Bash { at: Point::Started, lines };
    let guac = Guac::new(&Options { faults: vec![registered], ..Options::default() });
    let then = std::time::SystemTime::now() - Duration::from_secs(86_400);
    guac.scene.manager.behave(Behaviour { date: Some(httpdate::fmt_http_date(then)), ..Behaviour::default() });
    fs::write(&guac.token, jwt::sign(&serde_json::json!({ "exp": exp }), Signer::Manager)).unwrap();
    let (code, _, err) = spoken(&run(&mut guac.install(&["--deadline", "20s"])));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("this machine's clock is 1 day ahead of the manager's"), "{err}");
    fault("clock off", "tokens", End::New, code, &err);
    fault("clock off", "prove", End::New, code, &err);
}

#[test]
fn a_container_that_stays_ill_is_named_although_its_component_is_registered() {
    let guac = Guac::new(&registering());
    let except = [("kasm_rdp_gateway".to_owned(), Condition::Unhealthy)].into();
    guac.scene.containers(Script { looks: 0, except, ..Script::default() });
    let (code, _, err) = spoken(&run(&mut guac.install(&["--deadline", "8s"])));
    assert_eq!(code, 19, "{err}");
    assert!(err.contains("kasm_rdp_gateway is running but unhealthy [health.containers]"), "{err}");
    fault("container unhealthy", "prove", End::Unproved, code, &err);
}

#[test]
fn its_address_can_be_the_one_its_cloud_knows() {
    let openstack = metadata::Behaviour::other(None, &[("/latest/meta-data/public-ipv4", "203.0.113.7")]);
    let table = [
        ("ec2-private", metadata::Behaviour::ec2(None), "172.31.5.9"),
        ("ec2-public", metadata::Behaviour::ec2(None), "203.0.113.9"),
        ("openstack-public", openstack, "203.0.113.7"),
    ];
    for (method, behaviour, expected) in table {
        let (guac, service) = (Guac::new(&registering()), Metadata::start(behaviour));
        let mut command = guac.install(&["-p", method]);
        let (code, _, err) = spoken(&run(command.env("KASM_BOOTSTRAP_METADATA_ENDPOINT", service.url())));
        assert_eq!(code, 0, "{method}: {err}");
        assert!(guac.files()[0].contains(&format!("server_address: {expected}")), "{}", guac.files()[0]);
    }
}

#[test]
fn a_configuration_file_alone_is_enough() {
    let guac = Guac::new(&registering());
    let file = guac.scene.root.join("etc/kasm-bootstrap/config.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let (api, url, digest) = (guac.scene.manager.address(), guac.scene.url(), &guac.scene.release.sha256);
    let text = format!(
        "role = \"guac\"\ndeadline = \"{DEADLINE}\"\n[release]\nurls = [\"{url}\"]\nsha256 = \"{digest}\"\n\
         [guac]\napi_host = \"{api}\"\nregistration_token = \"{TOKEN}\"\nzone = \"emea\"\n\
         [health]\nsettle = \"1s\"\n"
    );
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let (code, _, err) = spoken(&run(guac.scene.command().arg("install")));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("waiting for 1.0 s without a restart"), "{err}");
    fs::remove_file(&file).unwrap();
    guac.ended_well();
    assert!(guac.files()[0].contains("zone: emea"));
}

#[test]
fn a_run_that_is_killed_while_it_waits_for_the_registration_is_gone_on_with() {
    let late = Components { after: Duration::from_secs(1), ..Components::default() };
    let guac = Guac::new(&Options { components: Some(late), ..Options::default() });
    let mut child = start(&mut guac.install(&[]), &guac.scene.root.join("first.txt"));
    until(&guac.scene, |entry| is_started(entry, "prove"));
    child.kill().unwrap();
    child.wait().unwrap();
    let (code, _, err) = spoken(&run(&mut guac.install(&[])));
    assert_eq!(code, 0, "{err}");
    assert!(!guac.scene.root.join("var/lib/kasm-bootstrap/attempts/2").exists(), "it was installed again");
    guac.ended_well();
    // And one that is to begin anew wipes what is there.
    let (code, _, err) = spoken(&run(&mut guac.install(&["--force"])));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("wiping /opt/kasm/1.18.1 with its configuration, certificates and tokens"), "{err}");
    guac.ended_well();
}

#[test]
fn its_plan_says_what_is_proved_of_it() {
    let guac = Guac::new(&registering());
    let (code, plan, err) = spoken(&run(&mut guac.install(&["--dry-run"])));
    assert_eq!(code, 0, "{err}");
    let plan = common::unwrapped(&plan);
    let last = plan.lines().last().unwrap_or_default().trim();
    insta::assert_snapshot!(last, @"12. prove      see that the configuration holds what was asked for, that the containers are healthy and stay so, and that each component is registered");
    assert!(plan.contains("check the component registration token without using it"), "{plan}");
}
