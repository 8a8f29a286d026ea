//! The user-data in `cloud-init/`, filled in as Kasm does it: with Python's `str.format`.

mod common;

use common::{run, spoken};
use kasm_stand_in::manager::jwt::{self, Signer};
use kasm_stand_in::manager::{Behaviour, Manager};
use kasm_stand_in::tls;
use serde_json::{Value, json};
use sha2::Digest;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// KubeVirt's limit for user-data that is part of the machine's description.
const LIMIT: usize = 2048;

/// What a template is filled in with, at its usual length.
const VALUES: &str = r#"{
    "server_hostname": "kasm-agent-harvester-7f3a9c",
    "server_external_fqdn": "EXTERNAL",
    "manager_token": "Zq7Wk3Rt9Xv5Lm1Pn8BdZq7Wk3Rt9X",
    "upstream_auth_address": "kasm-manager.internal.example.com:8443",
    "server_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "provider_name": "harvester-production-cluster-01",
    "checkin_jwt": "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.CLAIMS.SIGNATURE",
    "ssh_key": "ssh-rsa KEY kasm-production-administrators@example.com"
}"#;

fn templates() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("cloud-init");
    let mut files: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|kind| kind == "yaml" || kind == "sh"));
    files.sort();
    assert_eq!(files.len(), 11, "{files:?}");
    files
}

/// True for what has no configuration of a node in it: a server of a pool, which is none.
fn is_server(path: &Path) -> bool {
    name(path).starts_with("server-pool")
}

/// Every template with these values; `KEY` is a public key. Python itself fills them in: what it says of braces is what counts.
fn render(values: &str) -> Vec<(PathBuf, String)> {
    let key = "A".repeat(716); // an RSA key of 4,096 bits
    // Claims of a server and its end, and the signature of an RSA key of 2,048 bits, in base64.
    let values = values.replace("KEY", &key).replace("CLAIMS", &"C".repeat(120)).replace("SIGNATURE", &"S".repeat(342));
    let program = "import json, sys\nvalues = json.loads(sys.argv[1])\n\
                   print(json.dumps([open(name).read().format(**values) for name in sys.argv[2:]]))";
    let files = templates();
    let output = Command::new("python3").args(["-c", program, &values]).args(&files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let texts: Vec<String> = serde_json::from_slice(&output.stdout).unwrap();
    files.into_iter().zip(texts).collect()
}

fn rendered(external: &str) -> Vec<(PathBuf, String)> {
    render(&VALUES.replace("EXTERNAL", external))
}

/// The configuration in filled-in user-data.
fn configuration(text: &str) -> String {
    let lines = match text.split_once("content: |\n") {
        Some((_, rest)) => rest.lines().take_while(|line| line.starts_with("      ")).collect::<Vec<_>>(),
        None => text.split_once("<<'END'\n").unwrap().1.lines().take_while(|line| *line != "END").collect(),
    };
    lines.iter().map(|line| format!("{}\n", line.trim_start())).collect()
}

/// `config check` of that configuration, with what a baked image adds where the template leaves it to the image.
fn check(name: &str, text: &str) -> (i32, String, String) {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("etc/kasm-bootstrap");
    fs::create_dir_all(directory.join("config.d")).unwrap();
    write_private(&directory.join("config.toml"), &configuration(text));
    if name.contains("baked") {
        assert!(!text.contains("[release]"), "{name}: the release is the image's");
        write_private(&directory.join("config.d/10-baked.toml"), "[release]\nversion = \"1.19.0\"\n");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap"));
    command.arg("--root").arg(root.path()).args(["config", "check"]).env_clear();
    spoken(&run(&mut command))
}

fn write_private(path: &Path, text: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn every_template_can_be_filled_in_and_stays_below_kubevirts_limit() {
    for (template, text) in rendered("agent-0f1e2d3c4b5a6978.agents.example.com") {
        assert!(text.len() < LIMIT, "{}: {} bytes", template.display(), text.len());
        assert!(!text.contains(['{', '}']), "{}: a brace is left", template.display());
    }
}

#[test]
fn the_configuration_in_every_template_is_a_right_one() {
    for (template, text) in rendered("None").into_iter().filter(|(path, _)| !is_server(path)) {
        // A registration token is for the operator to fill in.
        let text = text.replace("YOUR_REGISTRATION_TOKEN", "rEg1strat10nT0ken42xyz");
        let (code, _, err) = check(&name(&template), &text);
        assert_eq!(code, 0, "{}: {err}", template.display());
        assert!(!err.contains("warning"), "{}: {err}", template.display());
    }
}

#[test]
fn what_was_not_filled_in_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, "YOUR_REGISTRATION_TOKEN").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap"));
    command.args(["token", "check", "--kind", "registration"]).arg(&token);
    let (code, _, err) = spoken(&run(&mut command));
    assert_eq!(code, 11, "{err}");
    assert!(err.contains("token.placeholder"), "{err}");

    for (template, text) in render(&VALUES.replace("kasm-manager.internal.example.com:8443", "$request_host$")) {
        let name = name(&template);
        if is_server(&template) {
            continue;
        }
        assert_eq!(name.contains("guac"), text.contains("\"YOUR_REGISTRATION_TOKEN\""), "{name}");
        let (code, _, err) = check(&name, &text);
        assert_eq!(code, 10, "{name}: {err}");
        assert!(err.contains("$request_host$"), "{name}: {err}");
    }
}

#[test]
fn only_what_kasm_fills_in_for_that_kind_of_machine_is_asked_for() {
    // docs/kasm-facts.md, 7: start-up scripts of docker agents, and of server pools.
    let agent = ["server_external_fqdn", "manager_token", "upstream_auth_address", "server_id", "provider_name"];
    for template in templates() {
        let (name, text) = (name(&template), fs::read_to_string(&template).unwrap());
        let used = text.split('{').skip(1).map(|rest| rest.split('}').next().unwrap());
        for used in used {
            let known = match name.contains("guac") {
                _ if is_server(&template) => ["upstream_auth_address", "checkin_jwt"].contains(&used),
                true => ["upstream_auth_address", "server_id"].contains(&used),
                false => agent.contains(&used) || (used == "ssh_key" && name.ends_with(".yaml")),
            };
            assert!(known, "{name}: {used}");
        }
    }
}

#[test]
fn every_cloud_config_is_yaml_and_says_that_it_is_one() {
    for (template, text) in
        rendered("None").iter().filter(|(path, _)| path.extension().is_some_and(|kind| kind == "yaml"))
    {
        assert!(text.starts_with("#cloud-config\n"), "{}", template.display());
        for event in saphyr_parser::Parser::new_from_str(text) {
            event.unwrap_or_else(|error| panic!("{}: {error}", template.display()));
        }
    }
}

#[test]
fn the_scripts_are_posix_and_shellcheck_has_nothing_to_say() {
    for (template, text) in
        rendered("None").iter().filter(|(path, _)| path.extension().is_some_and(|kind| kind == "sh"))
    {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("user-data");
        fs::write(&script, text).unwrap();
        let output = Command::new("sh").arg("-n").arg(&script).output().unwrap();
        assert!(output.status.success(), "{}: {}", template.display(), String::from_utf8_lossy(&output.stderr));
        let output = Command::new("shellcheck").arg("--norc").arg(&script).output().unwrap();
        assert!(output.status.success(), "{}: {}", template.display(), String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn a_script_writes_a_configuration_that_only_root_can_read() {
    let is_ours = |path: &Path| path.extension().is_some_and(|kind| kind == "sh") && !is_server(path);
    for (template, text) in rendered("None").iter().filter(|(path, _)| is_ours(path)) {
        let machine = tempfile::tempdir().unwrap();
        let etc = machine.path().join("etc/kasm-bootstrap");
        // As on a machine whose image has the program: nothing is downloaded.
        let bin = machine.path().join("bin");
        fs::create_dir(&bin).unwrap();
        for program in ["kasm-bootstrap", "systemctl"] {
            let path = bin.join(program);
            let said = machine.path().join("said").display().to_string();
            fs::write(&path, format!("#!/bin/sh\necho {program} \"$@\" >>{said}\n")).unwrap();
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        let script = text.replace("/etc/kasm-bootstrap", &etc.display().to_string());
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let output = Command::new("sh").arg("-c").arg(script).env("PATH", path).output().unwrap();
        assert!(output.status.success(), "{}: {output:?}", template.display());
        let written = etc.join("config.toml");
        assert_eq!(fs::read_to_string(&written).unwrap(), configuration(text));
        use std::os::unix::fs::MetadataExt;
        assert_eq!(fs::metadata(&written).unwrap().mode() & 0o777, 0o600);
        let said = fs::read_to_string(machine.path().join("said")).unwrap();
        assert_eq!(said, "systemctl start --no-block kasm-bootstrap.service\n");
    }
}

/// The user-data of a pool's server, run on a machine whose apt-get ends like this. What the manager was told, how the
/// script ended, and what it said.
fn server(apt_get: &str) -> (Vec<Value>, bool, String) {
    let machine = tempfile::tempdir().unwrap();
    let at = |name: &str| machine.path().join(name);
    let identity = tls::self_signed(&["127.0.0.1"]);
    let pin: String = sha2::Sha256::digest(&identity.certificate).iter().map(|byte| format!("{byte:02x}")).collect();
    let manager = Manager::start(Some(identity.config), Behaviour::default());
    let token = jwt::sign(&json!({ "server_id": "s-1", "exp": jwt::now() + 4 * 3600 }), Signer::Manager);

    let script = fs::read_to_string(templates().into_iter().find(|path| is_server(path)).unwrap()).unwrap();
    let script = script.replace("{upstream_auth_address}", &manager.address().to_string());
    let script = script.replace("{checkin_jwt}", &token).replace("YOUR_SHA256_OF_ITS_CERTIFICATE", &pin);
    let script = script.replace("/run/kasm-checkin", at("token").to_str().unwrap());
    fs::create_dir(at("bin")).unwrap();
    let program = |name: &str, body: &str| {
        fs::write(at("bin").join(name), format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(at("bin").join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    let ours = env!("CARGO_BIN_EXE_kasm-bootstrap");
    program("kasm-bootstrap", &format!("exec {ours} --root {} \"$@\"", at("root").display()));
    // The token is there, and for root alone; what is installed is not given it.
    let mode = format!("[ \"$(stat -c %a {})\" = 600 ] || exit 9", at("token").display());
    program("apt-get", &format!("{mode}\necho \"apt-get $*\"\n{apt_get}"));
    let path = format!("{}:/usr/bin:/bin", at("bin").display());
    let output = Command::new("sh").arg("-c").arg(script).env_clear().env("PATH", path).output().unwrap();
    assert!(!at("token").exists(), "the token is left behind");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains(&token), "{said}");
    (manager.told(), output.status.success(), said)
}

#[test]
fn a_server_of_a_pool_tells_how_far_it_is_and_that_it_is_ready() {
    let (told, ended_well, said) = server("");
    assert!(ended_well, "{said}");
    let told: Vec<_> = told.iter().map(|one| format!("{one}")).collect();
    let expected =
        [("starting", "waiting for apt", "10"), ("starting", "installing", "30"), ("running", "Ready", "100")];
    let expected = expected.map(|(status, message, progress)| {
        json!({ "status": status, "status_message": message, "status_progress": progress }).to_string()
    });
    assert_eq!(told, expected);
    assert!(said.contains("apt-get -o DPkg::Lock::Timeout=300 -y install xrdp"), "{said}");
}

#[test]
fn a_server_of_a_pool_whose_installation_fails_says_so_and_never_that_it_is_ready() {
    let (told, ended_well, said) = server("exit 100");
    assert!(!ended_well, "{said}");
    let last = told.last().unwrap();
    assert_eq!((&last["status"], &last["status_progress"]), (&"starting".into(), &"0".into()));
    assert_eq!(last["status_message"], "FAILED: installing; see /var/log/cloud-init-output.log");
    assert!(told.iter().all(|one| one["status"] != "running"), "{told:?}");
}
