//! User-data from EC2's metadata service, and the configuration that comes of it.

use kasm_bootstrap::config::{self, Sources};
use kasm_bootstrap::deadline::Deadline;
use kasm_bootstrap::error::{Exit, Explain, Failure};
use kasm_bootstrap::intent::{MetadataOptions, UserDataFrom};
use kasm_bootstrap::machine::cloud::Error;
use kasm_bootstrap::machine::user_data::{self, UserData};
use kasm_bootstrap::observe::{Observer, Silent, Wait};
use kasm_bootstrap::paths::Paths;
use kasm_stand_in::metadata::{Behaviour, Metadata};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::time::Duration;

const TEXT: &str = "#kasm-bootstrap\nrole = \"agent\"\n[manager]\ntoken = \"Zq7Wk3Rt9Xv5Lm1Pn8Bd\"\n";

/// A machine whose firmware names EC2.
fn ec2() -> (tempfile::TempDir, Paths) {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::below(root.path());
    fs::create_dir_all(paths.dmi_dir()).unwrap();
    fs::write(paths.dmi_dir().join("sys_vendor"), "Amazon EC2\n").unwrap();
    (root, paths)
}

fn options(service: &Metadata) -> MetadataOptions {
    MetadataOptions { user_data: UserDataFrom::Auto, endpoint: service.url() }
}

/// Keeps what it is told.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Heard {
    fn all(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

impl Observer for Heard {
    fn waiting(&self, wait: &Wait) {
        self.0.lock().unwrap().push(format!("{}: {}", wait.what, wait.holder.clone().unwrap_or_default()));
    }
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

async fn find(paths: &Paths, service: &Metadata, seconds: u64) -> Result<Option<UserData>, Error> {
    user_data::find(paths, &options(service), Deadline::after(Duration::from_secs(seconds)), &Silent).await
}

/// As a person reads it, without the port.
fn said(error: Error, service: &Metadata) -> String {
    let failure = Failure::from(error);
    format!("{} [{}]\nhelp: {}", failure.message, failure.reason, failure.help)
        .replace(&service.url(), "http://ENDPOINT")
}

fn methods(service: &Metadata) -> Vec<String> {
    service.requests().iter().map(|request| format!("{} {}", request.method, request.target)).collect()
}

#[tokio::test]
async fn an_instance_gets_its_user_data_with_a_token_and_never_without() {
    let (_root, paths) = ec2();
    let service = Metadata::start(Behaviour::ec2(Some(TEXT.as_bytes())));
    let found = find(&paths, &service, 30).await.unwrap().unwrap();
    assert_eq!(found.text.expose(), TEXT);
    assert_eq!((found.source, found.instance_id.as_deref()), ("EC2 instance metadata", Some("i-0abc")));
    assert_eq!(
        methods(&service),
        ["PUT /latest/api/token", "GET /latest/meta-data/instance-id", "GET /latest/user-data"]
    );
    for request in service.requests().iter().filter(|request| request.method == "GET") {
        assert_eq!(request.header("x-aws-ec2-metadata-token"), Some("TOKEN-0=="));
    }
    assert!(!format!("{found:?}").contains("Zq7W"));
}

#[tokio::test]
async fn a_token_that_expires_is_replaced_once_a_question() {
    let (_root, paths) = ec2();
    let service = Metadata::start(Behaviour { token_lives: 1, ..Behaviour::ec2(Some(TEXT.as_bytes())) });
    assert!(find(&paths, &service, 30).await.unwrap().is_some());
    assert_eq!(methods(&service).iter().filter(|line| line.starts_with("PUT")).count(), 2);
}

#[tokio::test]
async fn a_service_that_refuses_its_own_tokens_is_not_asked_for_ever() {
    let (_root, paths) = ec2();
    let service = Metadata::start(Behaviour { tokens_are_bad: true, ..Behaviour::ec2(None) });
    let error = find(&paths, &service, 30).await.unwrap_err();
    insta::assert_snapshot!(said(error, &service), @"
    the metadata service of Amazon EC2 (http://ENDPOINT) refuses the token that it has just given (status 401) [machine.metadata-token-refused]
    help: only version 2 of it is spoken here; look for something that answers in its place: a firewall rule for 169.254.169.254, or metadata.endpoint
    ");
    assert_eq!(methods(&service).len(), 4);
}

#[tokio::test]
async fn a_service_without_version_2_is_an_error_and_version_1_is_not_tried() {
    let (_root, paths) = ec2();
    for (status, reason, hint) in [
        ("403 Forbidden", "machine.metadata-no-token", "--http-endpoint enabled"),
        ("404 Not Found", "machine.metadata-no-token", "only version 2"),
        ("405 Method Not Allowed", "machine.metadata-no-token", "only version 2"),
    ] {
        let service = Metadata::start(Behaviour { token_status: status.into(), ..Behaviour::ec2(Some(b"x")) });
        let error = find(&paths, &service, 30).await.unwrap_err();
        assert_eq!((error.reason(), error.exit()), (reason, Exit::Preflight));
        assert!(error.help().contains(hint), "{}", error.help());
        assert_eq!(methods(&service), ["PUT /latest/api/token"]);
    }
}

#[tokio::test]
async fn a_token_that_does_not_arrive_points_at_the_hop_limit() {
    let (_root, paths) = ec2();
    let service = Metadata::start(Behaviour { token_delay: Duration::from_secs(60), ..Behaviour::ec2(Some(b"x")) });
    let error = find(&paths, &service, 30).await.unwrap_err();
    assert!(!error.may_pass());
    assert_eq!(error.exit(), Exit::Unexpected, "systemd starts it again");
    insta::assert_snapshot!(said(error, &service), @"
    the metadata service of Amazon EC2 (http://ENDPOINT) takes the connection, but its token does not arrive [machine.metadata-silent]
    help: in a container, or behind a bridge, the answer dies after its first hop: aws ec2 modify-instance-metadata-options --instance-id ID --http-put-response-hop-limit 2 (HttpPutResponseHopLimit)
    ");
    assert_eq!(methods(&service), ["PUT /latest/api/token"]);
}

#[tokio::test]
async fn user_data_that_comes_late_is_waited_for() {
    let (_root, paths) = ec2();
    let service = Metadata::start(Behaviour { not_yet: 2, down_for: 1, ..Behaviour::ec2(Some(TEXT.as_bytes())) });
    let heard = Heard::default();
    let deadline = Deadline::after(Duration::from_secs(30));
    let found = user_data::find(&paths, &options(&service), deadline, &heard).await.unwrap();
    assert_eq!(found.unwrap().text.expose(), TEXT);
    insta::assert_snapshot!(heard.all().replace(&service.url(), "http://ENDPOINT"), @"
    the metadata service of Amazon EC2 (http://ENDPOINT): status 503
    this instance's user-data: there is none yet (status 404)
    this instance's user-data: there is none yet (status 404)
    ");
}

#[tokio::test]
async fn user_data_that_does_not_come_is_none() {
    let (_root, paths) = ec2();
    let service = Metadata::start(Behaviour::ec2(None));
    assert_eq!(find(&paths, &service, 1).await.unwrap(), None);
    assert!(methods(&service).len() > 3, "asked once only: {:?}", methods(&service));
}

#[tokio::test]
async fn user_data_for_others_is_passed_over_and_said() {
    let (_root, paths) = ec2();
    let service = Metadata::start(Behaviour::ec2(Some(b"#cloud-config\nusers: []\n")));
    let heard = Heard::default();
    let deadline = Deadline::after(Duration::from_secs(30));
    assert_eq!(user_data::find(&paths, &options(&service), deadline, &heard).await.unwrap(), None);
    insta::assert_snapshot!(heard.all(), @"user-data (EC2 instance metadata) is not for kasm-bootstrap: it is cloud-config");
}

#[tokio::test]
async fn broken_user_data_is_named_and_not_shown() {
    let (_root, paths) = ec2();
    let body = b"Content-Type: text/x-kasm-bootstrap\nContent-Transfer-Encoding: base64\n\nhunter2!\n";
    let service = Metadata::start(Behaviour::ec2(Some(body)));
    let error = find(&paths, &service, 30).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Configuration);
    insta::assert_snapshot!(said(error, &service), @"
    user-data (EC2 instance metadata) has a part that is not base64 [machine.user-data-broken]
    help: it is TOML that begins with the line #kasm-bootstrap, or a MIME part text/x-kasm-bootstrap; at most 64 KiB, as it is or packed with gzip or base64
    ");
    let long = Metadata::start(Behaviour::ec2(Some(&[b'#'; 65 * 1024])));
    insta::assert_snapshot!(said(find(&paths, &long, 30).await.unwrap_err(), &long), @"
    the metadata service of Amazon EC2 (http://ENDPOINT) answers /latest/user-data with more than 65536 bytes [machine.metadata-answer]
    help: look for something that answers in its place; see metadata.endpoint
    ");
}

#[tokio::test]
async fn nobody_is_asked_where_nothing_speaks_for_a_source() {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::below(root.path());
    let service = Metadata::start(Behaviour::ec2(Some(TEXT.as_bytes())));
    assert_eq!(find(&paths, &service, 30).await.unwrap(), None);
    let (_root, ec2) = ec2();
    let off = MetadataOptions { user_data: UserDataFrom::Off, ..options(&service) };
    let deadline = Deadline::after(Duration::from_secs(30));
    assert_eq!(user_data::find(&ec2, &off, deadline, &Silent).await.unwrap(), None);
    assert_eq!(methods(&service), [""; 0]);
    // Asked for by name, it is asked wherever it is.
    let named = MetadataOptions { user_data: UserDataFrom::Ec2, ..options(&service) };
    assert!(user_data::find(&paths, &named, deadline, &Silent).await.unwrap().is_some());
}

#[tokio::test]
async fn a_service_that_is_not_there_is_waited_for_and_then_named() {
    let (_root, paths) = ec2();
    let service = Metadata::start(Behaviour::ec2(None));
    let nowhere = MetadataOptions { endpoint: service.url(), ..options(&service) };
    drop(service);
    let deadline = Deadline::after(Duration::from_millis(600));
    let error = user_data::find(&paths, &nowhere, deadline, &Silent).await.unwrap_err();
    assert!(error.may_pass());
    assert_eq!(error.exit(), Exit::Unexpected, "systemd starts it again");
    let text = error.to_string().replace(&nowhere.endpoint, "http://ENDPOINT");
    insta::assert_snapshot!(text, @"the metadata service of Amazon EC2 (http://ENDPOINT) does not answer: it did not answer in time");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (_root, paths) = ec2();
    let service = Metadata::start(Behaviour { token_status: "302 Found".into(), ..Behaviour::ec2(None) });
    let error = find(&paths, &service, 30).await.unwrap_err();
    assert!(error.to_string().ends_with("gives no token: status 302"), "{error}");
}

/// The configuration of this machine.
fn loaded(paths: &Paths) -> Result<config::Loaded, config::Error> {
    config::load(&Sources { paths, file: None, environment: Vec::new(), flags: config::Layer::default() })
}

#[tokio::test]
async fn what_was_found_is_a_source_of_the_configuration_from_then_on() {
    let (_root, paths) = ec2();
    fs::create_dir_all(paths.config_dir()).unwrap();
    fs::write(paths.config_file(), "role = \"guac\"\nproxy_port = 8443\n").unwrap();
    fs::write(paths.config_dir().join("9.toml"), "role = \"guac\"\n").unwrap();
    let service = Metadata::start(Behaviour::ec2(Some(TEXT.as_bytes())));
    find(&paths, &service, 30).await.unwrap().unwrap().keep(&paths).unwrap();
    let data = fs::metadata(paths.user_data()).unwrap();
    assert_eq!(data.permissions().mode() & 0o7777, 0o600);

    let loaded = loaded(&paths).unwrap();
    assert_eq!((loaded.warnings.as_slice(), loaded.files.len()), ([].as_slice(), 3));
    let shown = |key: &str| {
        let shown = loaded.merged.shown().into_iter().find(|shown| shown.key == key).unwrap();
        format!("{} from {}", shown.value.unwrap(), shown.from).replace(paths.root().to_str().unwrap(), "")
    };
    assert_eq!(shown("role"), "agent from user-data (EC2 instance metadata):2");
    assert_eq!(shown("manager.token"), "[secret] from user-data (EC2 instance metadata):4");
    assert_eq!(shown("proxy_port"), "8443 from /etc/kasm-bootstrap/config.toml:2");

    user_data::forget(&paths).unwrap();
    user_data::forget(&paths).unwrap();
    assert_eq!(self::loaded(&paths).unwrap().files.len(), 2);
}

#[test]
fn user_data_that_is_no_configuration_is_refused_by_its_sources_name() {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::below(root.path());
    let keep = |text: &str| {
        UserData { text: text.to_owned().into(), source: "NoCloud disk", instance_id: None }.keep(&paths).unwrap();
        let error = loaded(&paths).unwrap_err();
        assert_eq!(error.exit(), Exit::Configuration);
        error.to_string()
    };
    insta::assert_snapshot!(keep("#kasm-bootstrap\nrole = agent\n"), @"user-data (NoCloud disk):2:8: string values must be quoted, expected literal string");
    insta::assert_snapshot!(keep("#kasm-bootstrap\n\nrule = \"agent\"\n"), @"user-data (NoCloud disk):3: there is no setting `rule`");
}
