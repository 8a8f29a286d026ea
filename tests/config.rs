//! `kasm-bootstrap config` from outside: the real binary below a scratch root.

use serde_json::Value;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

const TOKEN: &str = "hunter2hunter2hunter2";

/// What one run said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn reason(&self) -> String {
        let json: Value = serde_json::from_str(&self.out).unwrap();
        json["error"]["reason"].as_str().unwrap().to_owned()
    }
}

/// A root of its own, with nothing in it.
struct Root(TempDir);

impl Root {
    fn new() -> Root {
        Root(tempfile::tempdir().unwrap())
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.0.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    /// The file every test begins with.
    fn config(&self, text: &str) {
        self.write("/etc/kasm-bootstrap/config.toml", text, 0o600);
    }

    fn run(&self, args: &[&str]) -> Said {
        self.run_with(args, &[], "")
    }

    /// Runs `config` with these arguments, variables and input. No run may ever show a secret.
    fn run_with(&self, args: &[&str], variables: &[(&str, &str)], input: &str) -> Said {
        let mut child = Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap"))
            .arg("--root")
            .arg(self.0.path())
            .arg("config")
            .args(args)
            .env_clear()
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A run that does not read its input may be gone before it is written.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(self.0.path().to_str().unwrap(), "ROOT");
        let said = Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) };
        assert!(!format!("{}{}", said.out, said.err).contains("hunter"), "shows a secret: {}{}", said.out, said.err);
        said
    }
}

fn sample() -> String {
    format!(
        r#"role = "agent"
[release]
version = "1.19.0"
[manager]
address = "kasm.example.com"
token = "{TOKEN}"
"#
    )
}

/// A whole configuration, as a startup script's template has it.
const TEMPLATE: &str = r#"role = "agent"
[release]
version = "1.19.0"
urls = ["https://mirror.example/kasm_release_1.19.0.tar.gz"]
sha256 = "7b801cb0579a7867df46b6da873fe8dd631db07d4c05349e5bd1aea27130c37d"
[manager]
address = "{upstream_auth_address}"
token = "{manager_token}"
[agent]
address = "{server_external_fqdn}"
server_id = "{server_id}"
provider = "{provider_name}"
[guac]
registration_token = "{token}"
zone = "default"
"#;

#[test]
fn an_unknown_key_is_refused_with_a_suggestion() {
    let root = Root::new();
    root.config(&format!("token = \"{TOKEN}\"\n{}", sample()));
    let said = root.run(&["check"]);
    assert_eq!((said.code, said.out.as_str()), (10, ""));
    insta::assert_snapshot!(said.err, @"
    error: ROOT/etc/kasm-bootstrap/config.toml:1: there is no setting `token` [config.unknown-key]
    help: did you mean `manager.token`?
    ");

    let json: Value = serde_json::from_str(&root.run(&["check", "--json"]).out).unwrap();
    assert_eq!((&json["error"]["reason"], &json["error"]["exit"]), (&"config.unknown-key".into(), &10.into()));
}

#[test]
fn a_template_that_was_filled_is_valid_and_one_that_was_not_is_refused() {
    let root = Root::new();
    let filled = TEMPLATE
        .replace("{upstream_auth_address}", "kasm.example.com:8443")
        .replace("{manager_token}", TOKEN)
        .replace("{server_external_fqdn}", "None")
        .replace("{server_id}", "0a1b2c")
        .replace("{provider_name}", "harvester");
    root.config(&filled);
    let said = root.run(&["check"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    insta::assert_snapshot!(said.out, @"configuration is valid (agent of kasm.example.com:8443, release 1.19.0)");

    root.config(TEMPLATE);
    let said = root.run(&["check"]);
    assert_eq!(said.code, 10);
    insta::assert_snapshot!(said.err, @"
    error: ROOT/etc/kasm-bootstrap/config.toml:7: manager.address still holds the placeholder {upstream_auth_address} [config.placeholder]
    help: write the real value, or find out why the template was not filled in; Kasm fills {upstream_auth_address} in when it creates the machine
    ");
}

#[test]
fn show_says_where_each_value_came_from() {
    let root = Root::new();
    root.config(&sample());
    let later = "[swap]\nsize = \"8G\"\n[agent]\naddress = \"{fqdn}\"";
    root.write("/etc/kasm-bootstrap/config.d/20-site.toml", later, 0o644);
    root.write("/etc/kasm-bootstrap/config.d/10-site.toml", "swap.size = 1\nmanager.address = 'other'", 0o644);
    root.write("/etc/kasm-bootstrap/config.d/ignored.conf", "nonsense", 0o644);
    let args = ["show", "-v", "-i", "a1", "-r", "None", "--deadline", "9m"];
    let said = root.run_with(&args, &[("KASM_BOOTSTRAP_APT_WAIT", "1m"), ("KASM_BOOTSTRAP_ROOT", "/x")], "");
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    insta::assert_snapshot!(said.out, @"
    role                            agent     ROOT/etc/kasm-bootstrap/config.toml:1
    accept_eula                     true      default
    token_format                    auto      default
    deadline                        9m        flag --deadline
    proxy_port                      -         not set
    release.version                 1.19.0    ROOT/etc/kasm-bootstrap/config.toml:3
    release.urls                    -         not set
    release.file                    -         not set
    release.sha256                  -         not set
    release.minisign_key            -         not set
    manager.address                 other     ROOT/etc/kasm-bootstrap/config.d/10-site.toml:2
    manager.token                   [secret]  ROOT/etc/kasm-bootstrap/config.toml:6
    manager.wait                    2m        default
    manager.checkin_token           -         not set
    manager.api_key                 -         not set
    manager.api_key_secret          -         not set
    agent.address                   auto      ROOT/etc/kasm-bootstrap/config.d/20-site.toml:4 (unset: the template left {fqdn})
    agent.server_id                 a1        flag --agent-server-id
    agent.provider                  -         flag --agent-provider (unset: the template left None)
    agent.enable                    -         not set
    agent.cores                     -         not set
    agent.memory                    -         not set
    guac.registration_token         -         not set
    guac.zone                       -         not set
    guac.api_host                   -         not set
    swap.size                       8G        ROOT/etc/kasm-bootstrap/config.d/20-site.toml:2
    apt.wait                        1m        environment KASM_BOOTSTRAP_APT_WAIT
    run.ready                       healthy   default
    run.wait                        10m       default
    run.console                     true      default
    run.watch                       30s       default
    run.user_data                   auto      default
    http.listen                     -         not set
    repair.method                   both      default
    webhook.url                     -         not set
    webhook.form                    events    default
    webhook.events                  changes   default
    webhook.secret                  -         not set
    metadata.endpoint               -         not set
    network.ca_certs                -         not set
    network.tls_pin                 -         not set
    network.insecure                false     default
    health.settle                   10s       default
    health.enable_sidecar           false     default
    health.repair_tokens            false     default
    health.restart_components       0         default
    preflight.skip                  -         not set
    installer.args                  -         not set
    installer.offline_service       -         not set
    installer.offline_workspaces    -         not set
    installer.offline_plugin        -         not set
    installer.use_rolling_images    false     default
    installer.use_static_images     false     default
    installer.skip_v4l2loopback     false     default
    installer.skip_egress           false     default
    installer.skip_custom_rclone    false     default
    installer.no_check_disk         false     default
    installer.no_check_ports        false     default
    installer.skip_connection_test  false     default
    installer.no_start              false     default
    ");

    insta::assert_snapshot!(root.run(&["show"]).out, @"
    role             agent     ROOT/etc/kasm-bootstrap/config.toml:1
    release.version  1.19.0    ROOT/etc/kasm-bootstrap/config.toml:3
    manager.address  other     ROOT/etc/kasm-bootstrap/config.d/10-site.toml:2
    manager.token    [secret]  ROOT/etc/kasm-bootstrap/config.toml:6
    agent.address    auto      ROOT/etc/kasm-bootstrap/config.d/20-site.toml:4 (unset: the template left {fqdn})
    swap.size        8G        ROOT/etc/kasm-bootstrap/config.d/20-site.toml:2

    nothing else is set; -v tells every setting and its default
    ");
    insta::assert_snapshot!(Root::new().run(&["show"]).out, @"
    nothing is set; -v tells every setting and its default
    ");

    let json: Value = serde_json::from_str(&root.run(&["show", "--json"]).out).unwrap();
    assert_eq!(json["settings"]["swap.size"]["value"], "8G");
    assert_eq!(json["settings"]["swap.size"]["from"], "ROOT/etc/kasm-bootstrap/config.d/20-site.toml:2");
    assert_eq!(json["settings"]["manager.token"]["value"], "[secret]");
    assert_eq!(json["files"].as_array().unwrap().len(), 3);
}

#[test]
fn a_named_file_takes_the_place_of_all_others_and_must_be_there() {
    let root = Root::new();
    root.config("nonsense");
    root.write("/etc/kasm-bootstrap/config.d/a.toml", "nonsense", 0o600);
    let named = root.write("/elsewhere.toml", sample(), 0o600);
    assert_eq!(root.run(&["check", "--config", named.to_str().unwrap()]).code, 0);
    let missing = root.run(&["check", "--config", "/nowhere/at/all.toml"]);
    assert_eq!(missing.code, 10);
    insta::assert_snapshot!(missing.err, @"
    error: configuration file /nowhere/at/all.toml cannot be read [config.read]
      because: No such file or directory (os error 2)
    help: check its name, its mode and who runs this
    ");
    let nothing = Root::new().run(&["check", "-q"]);
    assert_eq!(nothing.code, 10);
    insta::assert_snapshot!(nothing.err, @r#"
    error: 3 things are wrong with the configuration [config.several]
      because: role is not set [config.missing]
               write role = "agent" or role = "guac" into the configuration, or give --role
      because: release.version is not set [config.missing]
               give --release VERSION, --release-url URL or --release-file FILE, or [release] in the configuration
      because: manager.address is not set [config.missing]
               give --manager-hostname HOST, or manager.address in the configuration
    help: correct each of them, then try again with `kasm-bootstrap config check`
    "#);
}

#[test]
fn a_token_where_others_can_see_it_is_warned_about() {
    let root = Root::new();
    root.write("/etc/kasm-bootstrap/config.toml", sample(), 0o644);
    let said = root.run(&["check"]);
    assert_eq!(said.code, 0);
    insta::assert_snapshot!(said.err, @"warning: ROOT/etc/kasm-bootstrap/config.toml holds a token and others can read it; run: chmod 600 ROOT/etc/kasm-bootstrap/config.toml");
    assert_eq!(root.run(&["check", "-q"]).err, "");

    root.write("/etc/kasm-bootstrap/config.toml", sample().replace("token =", "wait = 1 #"), 0o644);
    let file = root.write("/token", TOKEN, 0o644);
    insta::assert_snapshot!(root.run(&["check", "--manager-token-file", file.to_str().unwrap()]).err, @"warning: ROOT/token holds a token and others can read it; run: chmod 600 ROOT/token");
    insta::assert_snapshot!(root.run(&["check", "-M", TOKEN]).err, @"warning: the token given by --manager-token was visible to every user of this machine (ps); better: --manager-token-file FILE");
    insta::assert_snapshot!(root.run_with(&["check"], &[("KASM_BOOTSTRAP_MANAGER_TOKEN", TOKEN)], "").err, @"warning: KASM_BOOTSTRAP_MANAGER_TOKEN holds a token in the environment, where every process of this user can read it; put it into a file and name that in KASM_BOOTSTRAP_MANAGER_TOKEN_FILE");
}

/// Where `config show` says the manager token came from.
fn token_line(said: &Said) -> String {
    assert_eq!(said.code, 0, "{}", said.err);
    let line = said.out.lines().find(|line| line.starts_with("manager.token ")).unwrap();
    line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

#[test]
fn tokens_come_from_credentials_files_variables_and_flags_the_later_the_stronger() {
    let root = Root::new();
    let credentials = root.write("/credentials/manager-token", format!("{TOKEN}\n"), 0o400);
    let credentials = &[("CREDENTIALS_DIRECTORY", credentials.parent().unwrap().to_str().unwrap())];
    root.config(&sample().replace("token =", "wait = 1 #"));
    let seen = |args: &[&str], variables: &[(&str, &str)]| {
        token_line(&root.run_with(&[&["show"], args].concat(), variables, TOKEN))
    };
    assert_eq!(seen(&[], credentials), "[secret] credential manager-token");
    assert_eq!(root.run_with(&["check"], credentials, "").code, 0);

    root.write("/etc/kasm-bootstrap/token", TOKEN, 0o600);
    root.config(&sample().replace(&format!("token = \"{TOKEN}\""), "token_file = \"/etc/kasm-bootstrap/token\""));
    let from_file = "[secret] ROOT/etc/kasm-bootstrap/config.toml:6 (from ROOT/etc/kasm-bootstrap/token)";
    assert_eq!(seen(&[], credentials), from_file);
    root.write("/etc/kasm-bootstrap/config.d/a.toml", format!("manager.token = '{TOKEN}'"), 0o600);
    assert_eq!(seen(&[], credentials), "[secret] ROOT/etc/kasm-bootstrap/config.d/a.toml:1");
    root.write("/etc/kasm-bootstrap/config.d/b.toml", "manager.token = ''", 0o600);
    assert_eq!(seen(&[], credentials), "[secret] ROOT/etc/kasm-bootstrap/config.d/a.toml:1");
    let variable = &[("KASM_BOOTSTRAP_MANAGER_TOKEN", TOKEN)];
    assert_eq!(seen(&[], variable), "[secret] environment KASM_BOOTSTRAP_MANAGER_TOKEN");
    let stdin = "[secret] flag --manager-token-file (from standard input)";
    assert_eq!(seen(&["--manager-token-file", "-"], variable), stdin);
    assert_eq!(seen(&["--manager-token-file", "-", "-M", TOKEN], variable), "[secret] flag --manager-token");
}

#[test]
fn a_tokens_file_that_cannot_be_used_is_an_error_only_for_the_role_that_needs_it() {
    let root = Root::new();
    root.config(&format!("{}[guac]\nregistration_token_file = \"/nowhere\"", sample()));
    assert_eq!(root.run(&["check"]).code, 0);
    let said = root.run(&["check", "-S", "guac"]);
    assert_eq!(said.code, 10);
    insta::assert_snapshot!(said.err, @"
    error: the file with guac.registration_token /nowhere cannot be read [config.read]
      because: No such file or directory (os error 2)
    help: check its name, its mode and who runs this
    ");

    let large = root.write("/large", vec![b'a'; 17 * 1024], 0o600);
    let binary = root.write("/binary", b"hunter2\xff", 0o600);
    for (file, reason) in [(large, "config.too-large"), (binary, "config.not-utf8")] {
        assert_eq!(root.run(&["check", "--json", "--manager-token-file", file.to_str().unwrap()]).reason(), reason);
    }
    let both = ["check", "--json", "--manager-token-file", "-", "--registration-token-file", "-"];
    assert_eq!(root.run(&both).reason(), "config.standard-input");
}

#[test]
fn files_that_cannot_be_a_configuration_are_refused() {
    let root = Root::new();
    let reason = |path: &Path| {
        let said = root.run(&["check", "--json", "--config", path.to_str().unwrap()]);
        assert_eq!(said.code, 10);
        said.reason()
    };
    assert_eq!(reason(&root.write("/large.toml", vec![b'#'; 1024 * 1024 + 1], 0o600)), "config.too-large");
    assert_eq!(reason(&root.write("/latin1.toml", b"role = \"\xe9\"", 0o600)), "config.not-utf8");
    assert_eq!(reason(&root.write("/bad.toml", format!("token = \"{TOKEN}\" x"), 0o600)), "config.syntax");
    assert_eq!(reason(root.0.path()), "config.read");
    assert_eq!(reason(Path::new("/dev/zero")), "config.too-large");
    let relative = root.write("/relative.toml", "installer.offline_service = 'images.tar.gz'", 0o600);
    assert_eq!(reason(&relative), "config.value");
}

#[test]
fn the_example_is_valid_but_for_the_token() {
    let root = Root::new();
    let example = root.run(&["example"]);
    assert_eq!((example.code, example.err.as_str()), (0, ""));
    root.config(&example.out);
    let without = root.run(&["check", "--json"]);
    assert_eq!((without.code, without.reason().as_str()), (10, "config.token-missing"));
    assert_eq!(root.run_with(&["check", "--manager-token-file", "-"], &[], TOKEN).code, 0);
}

#[test]
fn the_schema_is_json_and_describes_every_key_of_the_example() {
    let root = Root::new();
    let schema: Value = serde_json::from_str(&root.run(&["schema"]).out).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let example: toml::Table = toml::from_str(&root.run(&["example"]).out).unwrap();
    for (key, value) in &example {
        let property = &schema["properties"][key];
        assert!(property.is_object(), "{key}");
        for (name, _) in value.as_table().into_iter().flatten() {
            assert!(property["properties"][name]["description"].is_string(), "{key}.{name}");
        }
    }
}

#[test]
fn a_whole_cloud_config_with_it_fits_a_virtual_machines_inline_limit() {
    let indented: String = TEMPLATE.lines().map(|line| format!("    {line}\n")).collect();
    let cloud_config = format!(
        "#cloud-config\nwrite_files:\n- path: /etc/kasm-bootstrap/config.toml\n  permissions: '0600'\n  content: |\n{indented}"
    );
    // KubeVirt refuses inline user-data of more than 2048 bytes; a few lines more must fit.
    assert!(cloud_config.len() < 1500, "{}", cloud_config.len());
}
