//! The whole way from text to intent, without files and without a process.

use super::layer::{Layer, Origin, Raw};
use super::*;
use crate::error::{Explain, Failure};
use crate::intent::{AddressChoice, Digest, HostPort, MinisignKey, Role, Source};
use crate::secret::Secret;
use proptest::prelude::*;
use std::time::Duration;

mod names;
mod release;
mod values;

/// An agent's configuration that is complete.
const AGENT: &str = r#"
role = "agent"
[release]
version = "1.19.0"
[manager]
address = "kasm.example.com"
token = "abcdefghijklmnopqrst"
"#;

const HEX: &str = "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd";

/// The key in minisign's own documentation.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

fn layer(text: &str) -> Layer {
    file::layer(Path::new("/etc/kasm-bootstrap/config.toml"), text)
}

fn later(text: &str) -> Layer {
    file::layer(Path::new("/etc/kasm-bootstrap/config.d/later.toml"), text)
}

fn flag(key: &'static str, text: &str) -> Layer {
    let mut layer = Layer::default();
    let setting = schema::find(key).unwrap();
    layer.set(setting, Raw::Text(text.into()), Origin::Flag(setting.flag.unwrap()));
    layer
}

fn intent(layers: &[&Layer]) -> Result<Intent, Error> {
    for layer in layers {
        assert!(layer.errors.is_empty(), "{:?}", layer.errors);
    }
    Merged::of(layers.iter().copied()).intent()
}

fn failure(error: Error) -> String {
    crate::cli::answer::text(&Failure::from(error))
}

#[test]
fn a_complete_configuration_becomes_an_intent_with_the_documented_defaults() {
    let intent = intent(&[&layer(AGENT)]).unwrap();
    assert_eq!(intent.role, Role::Agent);
    assert_eq!(intent.manager.address, HostPort { host: "kasm.example.com".into(), port: None });
    assert_eq!(intent.manager.token.expose(), "abcdefghijklmnopqrst");
    assert_eq!(intent.release.version.as_deref(), Some("1.19.0"));
    assert_eq!(intent.release.sources, [Source::Url(catalog::official("1.19.0").url)]);
    assert_eq!(intent.release.digest, Digest::Pinned(catalog::published_digest("1.19.0").unwrap().into()));
    assert_eq!(intent.address, AddressChoice::Auto);
    assert_eq!((intent.swap_mib, intent.proxy_port, intent.force), (None, None, false));
    let documented = |key: &str| {
        let text = schema::find(key).unwrap().default;
        value::duration(text.split([':', ' ']).next().unwrap()).unwrap()
    };
    assert_eq!(intent.budget, documented("deadline"));
    assert_eq!(intent.apt_wait, documented("apt.wait"));
    assert_eq!(intent.manager.wait, documented("manager.wait"));
    assert_eq!(intent.settle, documented("health.settle"));
}

#[test]
fn what_a_template_leaves_is_unset_where_it_may_be_and_an_error_where_not() {
    let text = r#"
        role = "agent"
        proxy_port = "{port}"
        deadline = "{deadline}"
        [release]
        version = "1.19.0"
        urls = ["{mirror}", ""]
        [manager]
        address = "kasm.example.com"
        token = "{manager_token}"
        [agent]
        address = "None"
        server_id = "{server_id}"
        provider = "  "
    "#;
    let intent = intent(&[&layer(text)]).unwrap();
    assert_eq!(intent.address, AddressChoice::Auto);
    assert_eq!((intent.agent.server_id, intent.agent.provider, intent.proxy_port), (None, None, None));
    assert_eq!(intent.budget, Duration::from_secs(570));
    assert_eq!(intent.release.sources.len(), 1);
    assert_eq!(intent.manager.token.expose(), "{manager_token}", "a token is refused by the token's own rules");

    let text = text.replace("kasm.example.com", "{upstream_auth_address}");
    insta::assert_snapshot!(failure(super::tests::intent(&[&layer(&text)]).unwrap_err()), @"
    error: /etc/kasm-bootstrap/config.toml:9: manager.address still holds the placeholder {upstream_auth_address} [config.placeholder]
    help: write the real value, or find out why the template was not filled in; Kasm fills {upstream_auth_address} in when it creates the machine
    ");
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let text = r#"
        role = "web"
        accept_eula = false
        proxy_port = 70000
        [manager]
        address = "https://kasm.example.com/#/login"
        [agent]
        provider = "a/b"
    "#;
    insta::assert_snapshot!(failure(intent(&[&layer(text)]).unwrap_err()), @r#"
    error: 6 things are wrong with the configuration [config.several]
      because: /etc/kasm-bootstrap/config.toml:3: accept_eula is false, and Kasm Workspaces cannot be installed without accepting its EULA [config.eula]
               read Kasm's EULA, then remove the line or give --accept-eula
      because: /etc/kasm-bootstrap/config.toml:2: role is `web`, and this program installs only agent and guac [config.value]
               write role = "agent" or role = "guac" into the configuration, or give --role
      because: release.version is not set [config.missing]
               give --release VERSION, --release-url URL or --release-file FILE, or [release] in the configuration
      because: /etc/kasm-bootstrap/config.toml:6: manager.address is `https://kasm.example.com/#/login`, a URL [config.value]
               write only the host, without `https` and path: kasm.example.com
      because: /etc/kasm-bootstrap/config.toml:8: agent.provider is `a/b`: the character `/` does not survive Kasm's installer [config.value]
               use letters, digits, `.`, `_` and `-`
      because: /etc/kasm-bootstrap/config.toml:4: proxy_port is `70000`, which is no port [config.value]
               write a number from 1 to 65535
    help: correct each of them, then try again with `kasm-bootstrap config check`
    "#);
}

#[test]
fn what_is_wrong_with_a_setting_that_two_things_hang_on_is_said_once() {
    let network = later("[network]\ntls_pin = \"zz\"\n");
    insta::assert_snapshot!(failure(intent(&[&layer(AGENT), &network]).unwrap_err()), @"
    error: /etc/kasm-bootstrap/config.d/later.toml:2: network.tls_pin is `zz`, which is no SHA-256 [config.value]
    help: write the 64 digits that `openssl x509 -in CERT -noout -fingerprint -sha256` prints
    ");
}

#[test]
fn an_empty_configuration_says_what_it_needs() {
    insta::assert_snapshot!(failure(intent(&[]).unwrap_err()), @r#"
    error: 3 things are wrong with the configuration [config.several]
      because: role is not set [config.missing]
               write role = "agent" or role = "guac" into the configuration, or give --role
      because: release.version is not set [config.missing]
               give --release VERSION, --release-url URL or --release-file FILE, or [release] in the configuration
      because: manager.address is not set [config.missing]
               give --manager-hostname HOST, or manager.address in the configuration
    help: correct each of them, then try again with `kasm-bootstrap config check`
    "#);
    let role = layer("role = \"guac\"\n[manager]\ntoken = \"abcdefghijklmnopqrst\"");
    insta::assert_snapshot!(failure(intent(&[&role]).unwrap_err()), @"
    error: 3 things are wrong with the configuration [config.several]
      because: release.version is not set [config.missing]
               give --release VERSION, --release-url URL or --release-file FILE, or [release] in the configuration
      because: manager.address is not set [config.missing]
               give --api-hostname HOST, or manager.address in the configuration
      because: guac.registration_token is not set: a node with the role guac cannot register without it [config.token-missing]
               give --registration-token-file FILE, guac.registration_token in the configuration, or the systemd credential registration-token; the manager token is for the role agent
    help: correct each of them, then try again with `kasm-bootstrap config check`
    ");
}

#[test]
fn the_request_host_is_refused_with_the_zone_setting_to_change() {
    let text = AGENT.replace("kasm.example.com", "$request_host$");
    insta::assert_snapshot!(failure(intent(&[&layer(&text)]).unwrap_err()), @r#"
    error: /etc/kasm-bootstrap/config.toml:6: manager.address is `$request_host$`, which only means something to the manager itself [config.request-host]
    help: in Kasm's admin interface open Infrastructure, Zones, this zone, and set "Upstream Auth Address" to the name or address under which this node reaches the manager; or write that into manager.address here
    "#);
    let guac = layer(&AGENT.replace("agent", "guac").replace("token =", "wait = \"1m\"\n#"));
    let guac_host = later("[guac]\napi_host = \"$request_host$:443\"\nregistration_token = \"x\"");
    assert_eq!(intent(&[&guac, &guac_host]).unwrap_err().reason(), "config.request-host");
}

#[test]
fn a_guac_node_takes_the_api_host_and_falls_back_to_the_manager() {
    let guac = layer(&AGENT.replace("\"agent\"", "\"guac\""));
    let token = later("[guac]\nregistration_token = \"ponmlkjihgfedcba\"\nzone = \"eu\"");
    let host = later("[guac]\napi_host = \"api.example.com:8443\"");
    let left = later("[guac]\napi_host = \"None\"");
    let without = intent(&[&guac, &token]).unwrap();
    assert_eq!(without.manager.address.to_string(), "kasm.example.com");
    assert_eq!(without.manager.token.expose(), "ponmlkjihgfedcba");
    assert_eq!(without.guac.zone.as_deref(), Some("eu"));
    assert_eq!(intent(&[&guac, &token, &host]).unwrap().manager.address.to_string(), "api.example.com:8443");
    assert_eq!(intent(&[&guac, &token, &left]).unwrap().manager.address.to_string(), "kasm.example.com");
}

#[test]
fn the_last_source_decides_even_by_unsetting() {
    let set = layer(&format!("{AGENT}\n[agent]\naddress = \"10.0.0.1\"\nserver_id = \"a\""));
    let unset = later("[agent]\naddress = \"None\"\nserver_id = \"\"");
    let both = intent(&[&set, &unset]).unwrap();
    assert_eq!((both.address, both.agent.server_id), (AddressChoice::Auto, None));
    let flag = flag("agent.address", "interface:eth1");
    assert_eq!(intent(&[&set, &unset, &flag]).unwrap().address, AddressChoice::Interface("eth1".into()));
}

#[test]
fn an_empty_token_says_nothing_in_a_file_and_is_refused_as_a_token_when_it_is_a_flag() {
    let token = layer(AGENT);
    let empty = later("[manager]\ntoken = \"\"");
    let through = intent(&[&token, &empty]).unwrap();
    assert_eq!(through.manager.token.expose(), "abcdefghijklmnopqrst");
    let flagged = intent(&[&token, &flag("manager.token", "")]).unwrap();
    assert!(flagged.manager.token.is_empty());
    let nothing = layer(&AGENT.replace("abcdefghijklmnopqrst", " "));
    assert_eq!(intent(&[&nothing]).unwrap_err().reason(), "config.token-missing");
}

#[test]
fn the_installers_own_flags_are_handed_over_by_their_long_names() {
    let text = layer(&format!(
        "{AGENT}\n[installer]\nskip_egress = true\nno_check_disk = \"false\"\noffline_service = \"/srv/s.tar.gz\"\n\
         args = [\"--new\", \"{{x}}\"]"
    ));
    let installer = intent(&[&text]).unwrap().installer;
    assert_eq!(installer.flags, ["skip-egress"]);
    assert_eq!(installer.values, [("offline-service".to_owned(), "/srv/s.tar.gz".to_owned())]);
    assert_eq!(installer.extra, ["--new", "{x}"]);
}

#[test]
fn the_environment_wins_over_files_and_knows_lists() {
    let variables = |pairs: &[(&str, &str)]| -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    };
    let environment = environment::layer(&variables(&[
        ("PATH", "/bin"),
        ("KASM_BOOTSTRAP_ROOT", "/scratch"),
        ("KASM_BOOTSTRAP_MANAGER_ADDRESS", "other.example.com:8443"),
        ("KASM_BOOTSTRAP_INSTALLER_ARGS", "[\"--one two\", \"--three\"]"),
        ("KASM_BOOTSTRAP_RELEASE_URLS", "http://a.example/k http://b.example/k"),
        ("KASM_BOOTSTRAP_NETWORK_INSECURE", "yes"),
    ]));
    let intent = intent(&[&layer(AGENT), &environment]).unwrap();
    assert_eq!(intent.manager.address.to_string(), "other.example.com:8443");
    assert_eq!(intent.installer.extra, ["--one two", "--three"]);
    assert_eq!(intent.release.sources.len(), 2);
    assert!(intent.network.insecure);

    let wrong = environment::layer(&variables(&[
        ("KASM_BOOTSTRAP_MANAGER_ADRESS", "x"),
        ("KASM_BOOTSTRAP_TOKEN", "hunter2hunter2"),
        ("KASM_BOOTSTRAP_FORCE", "1"),
        ("KASM_BOOTSTRAP_INSTALLER_ARGS", "[\"--one"),
    ]));
    insta::assert_snapshot!(failure(Error::of(wrong.errors).unwrap()), @r#"
    error: 4 things are wrong with the configuration [config.several]
      because: environment KASM_BOOTSTRAP_FORCE: there is no setting `KASM_BOOTSTRAP_FORCE` [config.unknown-key]
               remove the variable; `kasm-bootstrap config example` lists every setting
      because: environment KASM_BOOTSTRAP_INSTALLER_ARGS: installer.args begins like a TOML list of texts, but is none [config.value]
               separate the values by blanks, or write ["one", "two"]
      because: environment KASM_BOOTSTRAP_MANAGER_ADRESS: there is no setting `KASM_BOOTSTRAP_MANAGER_ADRESS` [config.unknown-key]
               did you mean `KASM_BOOTSTRAP_MANAGER_ADDRESS`?
      because: environment KASM_BOOTSTRAP_TOKEN: there is no setting `KASM_BOOTSTRAP_TOKEN` [config.unknown-key]
               did you mean `KASM_BOOTSTRAP_MANAGER_TOKEN`?
    help: correct each of them, then try again with `kasm-bootstrap config check`
    "#);
}

#[test]
fn what_is_shown_says_where_each_value_came_from_and_hides_secrets() {
    let text = layer(&AGENT.replace("address =", "#").replace("token =", "token_file = \"/nowhere\"\ntoken ="));
    let merged = Merged::of([&text, &later("[agent]\naddress = \"{x}\"\nserver_id = \"a-{b}\"")]);
    let shown = merged.shown();
    let one = |key: &str| shown.iter().find(|one| one.key == key).unwrap();
    assert_eq!(one("manager.token").value.as_deref(), Some("[secret]"));
    assert_eq!(one("manager.token").from.to_string(), "/etc/kasm-bootstrap/config.toml:8");
    assert_eq!(one("agent.address").value.as_deref(), Some("auto"));
    assert_eq!(one("agent.address").note.as_deref(), Some("unset: the template left {x}"));
    assert_eq!(one("apt.wait").value.as_deref(), Some("5m"));
    assert!(!format!("{shown:?} {merged:?}").contains("abcdefghijklmnopqrst"));
    let url = layer("[release]\nurls = [\"https://me:hunter2@mirror.example/k\"]");
    assert!(!format!("{:?}", Merged::of([&url]).shown()).contains("hunter2"));
}

#[test]
fn the_schema_and_the_example_know_every_setting() {
    let schema = document::json_schema();
    for setting in schema::lasting() {
        let pointer = format!("/properties/{}", setting.key.replace('.', "/properties/"));
        let property = schema.pointer(&pointer).unwrap_or_else(|| panic!("{pointer} is not in the schema"));
        assert!(property["description"].as_str().unwrap().starts_with(setting.doc));
    }
    let example = document::example();
    assert!(intent(&[&layer(&example), &flag("manager.token", "abcdefghijklmnopqrst")]).is_ok());
    let all: String = example.lines().map(uncommented).collect::<Vec<_>>().join("\n");
    let all = layer(&all);
    assert!(all.errors.is_empty(), "{:?}", all.errors);
    assert_eq!(all.entries.len(), schema::lasting().count());
    assert!(intent(&[&all]).is_ok(), "every example is a sound value");
}

/// A commented-out setting as it would be once the comment sign is gone.
fn uncommented(line: &str) -> &str {
    line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_as_any_setting_is_a_value_or_an_error(
        index in 0..schema::SETTINGS.len(),
        text in "\\PC{0,40}|[-a-z0-9.:\\[\\]{}$/%@_ ]{0,30}|[0-9]{1,25}[a-zA-Z]{0,3}",
    ) {
        let setting = &schema::SETTINGS[index];
        let mut layer = layer(AGENT);
        layer.set(setting, Raw::Text(text.clone()), Origin::File("/x".into(), 1));
        layer.set(setting, Raw::List(vec![text.clone()]), Origin::File("/x".into(), 2));
        let merged = Merged::of([&layer]);
        let shown = format!("{:?}", merged.shown());
        if setting.is_secret() && text.chars().count() > 12 && text.is_ascii() {
            prop_assert!(!shown.contains(&text));
        }
        if let Err(error) = merged.intent() {
            prop_assert!(!error.reason().is_empty() && !error.help().is_empty());
        }
    }

    #[test]
    fn any_text_as_a_file_is_a_layer_or_errors(
        text in "\\PC*|([a-z.\\[\\]=\"{}#0-9 \n]{0,80})|(role|manager|agent|release\\.urls|\\[swap\\])=?.{0,20}",
    ) {
        for error in layer(&text).errors {
            prop_assert!(!error.help().is_empty());
        }
    }

    #[test]
    fn any_bytes_as_a_file_are_a_layer_or_errors(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for error in file::layer_from_bytes(Path::new("/x"), &bytes).errors {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn a_secret_is_in_no_error(token in "[a-zA-Z0-9]{16,40}", key in "token|registration_token|tokn|secret") {
        let wrong = layer(&format!("[manager]\n{key} = \"{token}\"\nx = [\"{token}\"]\nwait = '{token}' x\n"));
        for error in wrong.errors {
            let shown = format!("{error:?} {}", failure(error.clone()));
            prop_assert!(!shown.contains(&token), "{}", shown);
        }
    }
}

#[test]
fn a_secret_stays_a_secret_whatever_the_source_calls_it() {
    let mut layer = Layer::default();
    layer.set(schema::find("manager.token").unwrap(), Raw::Text("hunter2hunter2".into()), Origin::Default);
    assert_eq!(layer.entries[0].raw, Raw::Secret(Secret::new("hunter2hunter2")));
    assert!(!format!("{layer:?}").contains("hunter2"));
}

#[test]
fn where_user_data_and_metadata_come_from_is_known_without_the_rest() {
    use crate::intent::{MetadataOptions, UserDataFrom};
    let options = |text: &str| Merged::of([&layer(text)]).metadata();
    assert_eq!(options("").unwrap(), MetadataOptions::default());
    assert_eq!(options("[run]\nuser_data = \"{source}\"\n").unwrap(), MetadataOptions::default());
    let set =
        options("role = \"x\"\n[run]\nuser_data = \"config-drive\"\n[metadata]\nendpoint = \"http://127.0.0.1:8/\"\n");
    let endpoint = "http://127.0.0.1:8".to_owned();
    assert_eq!(set.unwrap(), MetadataOptions { user_data: UserDataFrom::ConfigDrive, endpoint });
    insta::assert_snapshot!(failure(options("[run]\nuser_data = \"ec3\"\n").unwrap_err()), @"
    error: /etc/kasm-bootstrap/config.toml:2: run.user_data is `ec3` [config.value]
    help: write auto, off, ec2, nocloud or config-drive
    ");
    insta::assert_snapshot!(failure(options("[metadata]\nendpoint = \"http://example.com\"\n").unwrap_err()), @"
    error: /etc/kasm-bootstrap/config.toml:2: metadata.endpoint is `http://example.com`, and not http:// and an address [config.value]
    help: write http://169.254.169.254, or on IPv6 http://[fd00:ec2::254]
    ");
}
