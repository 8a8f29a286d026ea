//! A bundle for a support ticket, by the real binary: what is in it, what is not, and that no secret is.

mod common;
mod nodes;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Scene, TOKEN, holds, run, spoken};
use flate2::read::GzDecoder;
use kasm_stand_in::release::Options;
use kasm_stand_in::systemd;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nodes::{Node, REGISTRATION, value};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A bundle that was opened.
struct Opened {
    /// The archive's bytes, unpacked and otherwise untouched.
    raw: Vec<u8>,
    /// Below its one directory.
    files: BTreeMap<String, String>,
    names: Vec<String>,
    manifest: Value,
}

impl Opened {
    fn new(packed: &[u8]) -> Opened {
        let mut raw = Vec::new();
        GzDecoder::new(packed).read_to_end(&mut raw).unwrap();
        let (mut files, mut names, mut tops) = (BTreeMap::new(), Vec::new(), Vec::new());
        for entry in tar::Archive::new(&raw[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            assert_eq!(entry.header().mode().unwrap(), 0o600);
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            let (top, name) = path.split_once('/').unwrap();
            tops.push(top.to_owned());
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            names.push(name.to_owned());
            files.insert(name.to_owned(), text);
        }
        tops.dedup();
        assert!(tops.len() == 1 && tops[0].starts_with("kasm-bootstrap-bundle-"), "{tops:?}");
        let manifest = serde_json::from_str(&files["manifest.json"]).unwrap();
        Opened { raw, files, names, manifest }
    }

    /// The manifest's word on an item.
    fn of(&self, name: &str) -> &Value {
        let items = self.manifest["items"].as_array().unwrap();
        items.iter().find(|item| item["name"] == name).unwrap_or_else(|| panic!("{name}: {:#}", self.manifest))
    }
}

/// Writes a file of the scratch machine.
fn put(scene: &Scene, path: &str, text: &str) -> PathBuf {
    let path = scene.root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

fn bundle(scene: &Scene) -> Command {
    let mut command = scene.command();
    command.args(["bundle", "-o"]).arg(scene.root.join("bundle.tar.gz"));
    command
}

fn opened(scene: &Scene) -> Opened {
    let output = run(&mut bundle(scene));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let path = scene.root.join("bundle.tar.gz");
    let opened = Opened::new(&fs::read(&path).unwrap());
    fs::remove_file(path).unwrap();
    opened
}

/// Secrets that nobody told us of, each in a form of its own.
const SHAPES: [(&str, &str); 12] = [
    ("Hq8Vz3Lw6Rt1", "db_password: 'Hq8Vz3Lw6Rt1'"),
    ("Jw5Nc2Xk9Ms4", "{\"level\": \"info\", \"apiKey\": \"Jw5Nc2Xk9Ms4\", \"n\": 1}"),
    ("two plain words", "admin_password: two plain words"),
    ("Bd6Tf1Qy7Gh0", "PGPASSWORD=Bd6Tf1Qy7Gh0 psql -h db"),
    ("Cn3Zp8Vr5Kx2", "connecting to postgres://kasm:Cn3Zp8Vr5Kx2@db.internal/kasm"),
    ("Ey4Hm7Lq2Wj9", "> Authorization: Basic Ey4Hm7Lq2Wj9"),
    ("AKIAQ3EGRX7PLMZTV2YB", "using AKIAQ3EGRX7PLMZTV2YB for s3"),
    ("Fs1Gt6Ud8Ri3", "curl -u operator:Fs1Gt6Ud8Ri3 https://mirror"),
    ("c2VjcmV0LWtleS1ieXRlcw", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0LWtleS1ieXRlcw\n-----END PRIVATE KEY-----"),
    (
        "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ4In0",
        "sent eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl",
    ),
    ("Mx9Pa5Ob7Lc1", "bash kasm_release/install.sh -S agent -M Mx9Pa5Ob7Lc1 -m kasm"),
    ("Tv2Yr8Ek4Zd6", "GET /api/set_server_status?token=Tv2Yr8Ek4Zd6&x=1"),
];

#[test]
fn a_nodes_bundle_holds_what_a_ticket_needs_and_none_of_its_secrets() {
    let node = Node::guac("1.18.1");
    let scene = &node.scene;
    let bin = systemd::install(&scene.root);
    let auth = value(&fs::read_to_string(node.guac_file()).unwrap(), "auth_token");
    assert!(auth.starts_with("eyJ"));
    let credential = "Wk5Jq1Zs8Np3Credential";
    let configured = "lowercaseconfiguredsecret";
    put(
        scene,
        "etc/kasm-bootstrap/config.toml",
        &format!(
            "role = \"guac\"\n[manager]\naddress = \"m\"\ncheckin_token = \"{configured}\"\n[guac]\nregistration_token = \"{REGISTRATION}\"\n"
        ),
    );
    put(scene, "run/credentials/kasm-bootstrap.service/registration-token", &format!("{credential}\n"));
    // All there is to hide: by value in every form it travels in, and by shape.
    let mut secrets: Vec<String> = SHAPES.iter().map(|(secret, _)| (*secret).to_owned()).collect();
    let mut bait = String::from("a line that stays\n");
    for (_, line) in SHAPES {
        bait += &format!("{line}\n");
    }
    for known in [REGISTRATION, &auth, credential, configured] {
        secrets.push(known.to_owned());
        let encoded = STANDARD.encode(format!("x:{known}"));
        let quoted = known.replace('.', "%2e");
        bait += &format!("said {known} and {encoded}\nx={quoted}\n");
        secrets.push(encoded);
    }
    let places = [
        "var/lib/kasm-bootstrap/journal.jsonl",
        "var/lib/kasm-bootstrap/journal.jsonl.1",
        "var/lib/kasm-bootstrap/attempts/1/installer.log",
        "var/lib/kasm-bootstrap/upgrade.json",
        "var/lib/kasm-bootstrap/health.json",
        "run/kasm-bootstrap/status.json",
        "var/log/cloud-init.log",
        "var/log/cloud-init-output.log",
        "run/cloud-init/result.json",
        "var/log/apt/history.log",
        "var/log/apt/term.log",
        "opt/kasm/1.18.1/log/app.log",
        "opt/kasm/1.18.1/log/nginx/error.log",
        "opt/kasm/1.17.0/log/old.log",
        "proc/cmdline",
        "etc/hosts",
    ];
    for place in places {
        put(scene, place, &bait);
    }
    scene.docker.change(|script| drop(script.logs.insert("kasm_guac".into(), bait.clone())));
    let said = put(scene, "said", &bait);
    for program in ["journalctl", "systemctl"] {
        let path = bin.join(program);
        fs::write(&path, format!("#!/bin/sh\ncat {}\n", said.display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = bundle(scene);
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    command.env("HTTPS_PROXY", "http://proxyuser:Ux7Ql2Proxy@proxy.internal:3128").env("SOME_API_KEY", "Ov4Envsecret9");
    secrets.extend(["Ux7Ql2Proxy".into(), "Ov4Envsecret9".into()]);
    put(scene, "var/log/dpkg.log", "Ov4Envsecret9\n");
    let (exit, text, _) = spoken(&run(&mut command));
    assert_eq!(exit, 0, "{text}");
    let opened = Opened::new(&fs::read(scene.root.join("bundle.tar.gz")).unwrap());

    for secret in &secrets {
        assert!(!holds(&opened.raw, secret.as_bytes()), "{secret} is in the bundle");
        assert!(!text.contains(secret.as_str()));
        // Nor a good part of it.
        for (name, file) in &opened.files {
            let half = &secret[..secret.len().min(10)];
            let harmless = half.starts_with("eyJ") || half == "two plain " || half == "lowercasec";
            assert!(harmless || !file.contains(half), "{half} of {secret} is in {name}");
        }
    }
    for name in [
        "node/status.txt",
        "node/status.json",
        "node/tokens.txt",
        "node/configuration.json",
        "node/files.txt",
        "node/journal.jsonl",
        "node/attempts/1/installer.log",
        "docker/containers.json",
        "docker/inspect/kasm_guac.json",
        "docker/logs/kasm_guac.log",
        "kasm/1.18.1/log/nginx/error.log",
        "kasm/1.17.0/log/old.log",
        "units/journal.txt",
        "cloud-init/cloud-init.log",
        "machine/facts.json",
        "network/addresses.txt",
        "network/proxies.txt",
        "packages/history.log",
    ] {
        assert!(opened.files.contains_key(name), "{name} is missing: {:#}", opened.manifest);
        assert_eq!(opened.of(name)["result"], "ok");
    }
    for name in ["units/journal.txt", "docker/logs/kasm_guac.log", "kasm/1.18.1/log/app.log"] {
        assert!(opened.files[name].contains("a line that stays"), "{}", opened.files[name]);
    }
    assert!(opened.files["network/proxies.txt"].contains("@proxy.internal:3128"));
    let configuration: Value = serde_json::from_str(&opened.files["node/configuration.json"]).unwrap();
    assert_eq!(configuration["settings"]["manager.address"]["value"], "m");
    assert_eq!(opened.names.last().unwrap(), "manifest.json");
    // The same node gives the same files in the same order.
    let first = opened.names.clone();
    let second = names_of_another(scene, &bin);
    assert_eq!(first, second);
}

#[test]
fn the_answer_says_where_it_is_what_is_missing_and_to_look_at_it() {
    let scene = Scene::new(&Options::default());
    let (_, text, _) = spoken(&run(&mut bundle(&scene)));
    let text = text.replace(scene.root.to_str().unwrap(), "ROOT");
    insta::with_settings!({filters => vec![(r"[0-9.]+ kB, \d+ files", "SIZE, N files"), (r"have \d+ of", "have N of")]}, {
        insta::assert_snapshot!(text, @r"
        bundle: ROOT/bundle.tar.gz (SIZE, N files)
        not in it:
          node/tokens.txt: no Kasm is installed here: there is no /opt/kasm/current
          node/plan.json: 3 things are wrong with the configuration
        this machine does not have N of the things that are looked for: see manifest.json
        secrets that are known or look like one are masked; look before you send it
        ");
    });
}

/// The names of another bundle of this node.
fn names_of_another(scene: &Scene, bin: &Path) -> Vec<String> {
    fs::remove_file(scene.root.join("bundle.tar.gz")).unwrap();
    let mut command = bundle(scene);
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.display())).env("HTTPS_PROXY", "x");
    assert!(run(&mut command).status.success());
    Opened::new(&fs::read(scene.root.join("bundle.tar.gz")).unwrap()).names
}

#[test]
fn a_secret_is_masked_wherever_docker_cuts_its_stream() {
    let node = Node::agent("1.18.1");
    // Every line is a frame of its own, and the token stands at every place of a buffer's end once.
    let log: String = (0..600).map(|at| format!("{}{TOKEN}\n", "x".repeat(at % 97))).collect();
    node.scene.docker.change(|script| drop(script.logs.insert("kasm_agent".into(), log)));
    put(&node.scene, "opt/kasm/1.18.1/log/a.log", &format!("{}{TOKEN}", "y ".repeat(40_000)));
    let opened = opened(&node.scene);
    assert!(!holds(&opened.raw, TOKEN.as_bytes()));
    assert!(opened.files["docker/logs/kasm_agent.log"].matches("[masked]").count() >= 600);
    assert!(opened.files["kasm/1.18.1/log/a.log"].ends_with("[masked]"));
}

#[test]
fn where_nothing_is_installed_the_bundle_says_so_and_is_there() {
    let scene = Scene::new(&Options::default());
    let output = run(bundle(&scene).arg("--json"));
    let (exit, json, _) = spoken(&output);
    assert_eq!(exit, 0);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["schema"], 1);
    let path = scene.root.join("bundle.tar.gz");
    assert_eq!(json["file"], path.to_str().unwrap());
    let bytes = fs::read(&path).unwrap();
    assert_eq!(json["size"], bytes.len());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let opened = Opened::new(&bytes);
    assert_eq!(opened.manifest["items"], json["items"]);
    for name in ["kasm", "docker/inspect", "cloud-init/cloud-init.log", "units/journal.txt"] {
        assert_eq!(opened.of(name)["result"], "missing", "{}", opened.of(name));
    }
    assert_eq!(opened.of("node/plan.json")["result"], "error");
    assert_eq!(opened.of("docker/containers.json")["result"], "ok");
    let again = run(&mut bundle(&scene));
    let (exit, _, said) = spoken(&again);
    assert_eq!(exit, 1);
    assert!(said.contains("is there already [bundle.exists]") && said.contains("help: "), "{said}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_docker_that_is_down_and_a_configuration_that_is_wrong_fail_nothing() {
    let node = Node::agent("1.18.1");
    let Node { scene } = node;
    // A socket that nobody listens at any more.
    let socket = scene.root.join("run/docker.sock");
    fs::remove_file(&socket).unwrap();
    drop(std::os::unix::net::UnixListener::bind(Path::new(&short(&scene)).join("docker.sock")).unwrap());
    put(&scene, "etc/kasm-bootstrap/config.toml", "rolle = \"agent\"\n");
    let opened = opened(&scene);
    for name in ["docker/version.json", "docker/containers.json", "docker/logs", "node/configuration.json"] {
        assert_eq!(opened.of(name)["result"], "error", "{}", opened.of(name));
    }
    assert!(opened.of("docker/logs")["why"].as_str().unwrap().contains("does not answer"));
    assert!(opened.of("node/configuration.json")["why"].as_str().unwrap().contains("rolle"));
}

/// A path to the scene's /run that fits into a socket's address.
fn short(scene: &Scene) -> String {
    let link = std::env::temp_dir().join(format!("kb-bundle-{}", std::process::id()));
    // Left by a test that was ended.
    let _ = fs::remove_file(&link);
    symlink(scene.root.join("run"), &link).unwrap();
    link.to_str().unwrap().to_owned()
}

#[test]
fn of_a_huge_log_the_end_is_taken_and_whole_lines_only() {
    let scene = Scene::new(&Options::default());
    let line = |at: usize| format!("{at:08} some words of a log that has grown for months\n");
    let log: String = (0..100_000).map(line).collect();
    put(&scene, "opt/kasm/1.18.1/log/big.log", &log);
    put(&scene, "opt/kasm/1.18.1/log/one-line.log", &"password=x ".repeat(100_000));
    put(&scene, "var/lib/kasm-bootstrap/installed.json", &"x".repeat(100_000));
    let opened = opened(&scene);
    let text = &opened.files["kasm/1.18.1/log/big.log"];
    assert!(text.len() <= 256 * 1024 && text.len() > 200 * 1024);
    assert!(text.ends_with(&line(99_999)) && text.lines().next().unwrap().len() == line(0).len() - 1);
    assert_eq!(opened.of("kasm/1.18.1/log/big.log")["truncated"], true);
    // Half a line may hold half a token.
    assert_eq!(opened.files["kasm/1.18.1/log/one-line.log"], "");
    assert_eq!(opened.of("node/installed.json")["result"], "error");
}

#[test]
fn links_pipes_devices_and_packed_files_in_log_directories_are_left_alone() {
    let scene = Scene::new(&Options::default());
    let log = put(&scene, "opt/kasm/1.18.1/log/good.log", "good\n").parent().unwrap().to_owned();
    let outside = put(&scene, "outside/shadow", "root:not-for-you:1::\n");
    symlink(&outside, log.join("link.log")).unwrap();
    symlink(outside.parent().unwrap(), log.join("directory")).unwrap();
    symlink(&outside, scene.root.join("var/lib/kasm-bootstrap-link")).unwrap();
    fs::create_dir_all(scene.root.join("var/log")).unwrap();
    symlink(&outside, scene.root.join("var/log/cloud-init.log")).unwrap();
    nix::unistd::mkfifo(&log.join("pipe.log"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    nix::unistd::mkfifo(&scene.root.join("var/log/dpkg.log"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(log.join("s.log"));
    fs::write(log.join("old.log.1.gz"), "packed").unwrap();
    fs::write(log.join("odd\nname\u{202e}.log"), "odd\n").unwrap();
    if nix::unistd::geteuid().is_root() {
        let zero = nix::sys::stat::makedev(1, 5);
        nix::sys::stat::mknod(
            &log.join("zero.log"),
            nix::sys::stat::SFlag::S_IFCHR,
            nix::sys::stat::Mode::S_IRWXU,
            zero,
        )
        .unwrap();
        assert_eq!(opened(&scene).of("kasm/1.18.1/log/zero.log")["result"], "error");
    }
    let opened = opened(&scene);
    assert!(!holds(&opened.raw, b"not-for-you"));
    assert_eq!(opened.files["kasm/1.18.1/log/good.log"], "good\n");
    assert_eq!(opened.files["kasm/1.18.1/log/odd_name_.log"], "odd\n");
    for name in ["link.log", "directory", "pipe.log"] {
        assert_eq!(opened.of(&format!("kasm/1.18.1/log/{name}"))["result"], "error");
    }
    for name in ["cloud-init/cloud-init.log", "packages/dpkg.log"] {
        assert_eq!(opened.of(name)["result"], "error");
    }
    assert_eq!(opened.of("kasm/1.18.1/log/old.log.1.gz")["result"], "left-out");
}

/// A directory that any user may go into and write to.
fn open_to_all(scene: &Scene) -> PathBuf {
    for path in scene.root.ancestors().take(2).chain([scene.root.join("run").as_path()]) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let place = scene.root.join("place");
    fs::create_dir(&place).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
    place
}

#[test]
fn without_root_it_holds_what_it_may_read_and_says_what_it_may_not() {
    let scene = Scene::new(&Options::default());
    put(&scene, "var/log/apt/history.log", "Start-Date: x\n");
    let term = put(&scene, "var/log/apt/term.log", "secretive\n");
    let journal = put(&scene, "var/lib/kasm-bootstrap/journal.jsonl", "{}\n");
    for path in [term, journal.clone()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    }
    fs::set_permissions(journal.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
    let place = open_to_all(&scene);
    let mut command = scene.command();
    command.arg("bundle").current_dir(&place);
    if nix::unistd::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let output = run(&mut command);
    let (exit, text, said) = spoken(&output);
    assert_eq!(exit, 0, "{said}");
    assert!(text.contains("may be read by root only: run it as root (sudo)"), "{text}");
    let files: Vec<PathBuf> = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(files[0].file_name().unwrap().to_str().unwrap().starts_with("kasm-bootstrap-bundle-"));
    let opened = Opened::new(&fs::read(&files[0]).unwrap());
    assert_eq!(opened.of("packages/history.log")["result"], "ok");
    assert_eq!(opened.of("packages/term.log")["result"], "error");
}

#[test]
fn on_a_full_disk_it_fails_with_a_remedy_and_leaves_no_half_file() {
    let scene = Scene::new(&Options::default());
    // What does not pack well.
    let noise: String = (0u64..20_000).map(|at| format!("{:x}\n", at.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    put(&scene, "opt/kasm/1.18.1/log/noise.log", &noise);
    let full = Command::new("sh")
        .args(["-c", "exec \"$0\" --root \"$1\" bundle -o - > /dev/full"])
        .arg(env!("CARGO_BIN_EXE_kasm-bootstrap"))
        .arg(&scene.root)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    says_it_is_full(&full);
    let disk = scene.root.join("disk");
    fs::create_dir(&disk).unwrap();
    if let Err(errno) = mount(Some("tmpfs"), &disk, Some("tmpfs"), MsFlags::empty(), Some("size=16k")) {
        println!("skipped: no file system can be mounted here: {errno}");
        return;
    }
    let output = run(scene.command().args(["bundle", "-o"]).arg(disk.join("b.tar.gz")));
    let left = fs::read_dir(&disk).unwrap().count();
    umount2(&disk, MntFlags::MNT_DETACH).unwrap();
    says_it_is_full(&output);
    assert_eq!(left, 0);
}

fn says_it_is_full(output: &Output) {
    let (exit, _, said) = spoken(output);
    assert_eq!(exit, 1, "{said}");
    assert!(said.contains("[bundle.write]") && said.contains("help: free some space"), "{said}");
}

#[test]
fn on_standard_output_it_is_nothing_but_the_archive() {
    let scene = Scene::new(&Options::default());
    let (code, _, err) = spoken(&run(&mut scene.install(&[])));
    assert_eq!(code, 0, "{err}");
    let output = run(scene.command().args(["bundle", "-o", "-"]));
    assert_eq!(output.status.code(), Some(0));
    let opened = Opened::new(&output.stdout);
    // What every step found: whoever reads it cannot ask again with -v.
    let status = &opened.files["node/status.txt"];
    assert!(status.contains("\nrecover    nothing was left behind\n"), "{status}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("look before you send it"));
    let both = run(scene.command().args(["--json", "bundle", "-o", "-"]));
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn the_documentation_has_the_table_as_it_is() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/bundle.md")).unwrap();
    let table = kasm_bootstrap::flow::bundle::documentation();
    assert!(page.contains(&table), "docs/bundle.md must hold this:\n{table}");
}
