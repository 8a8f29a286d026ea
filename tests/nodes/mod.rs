//! Installed nodes whose components register with the stand-in manager, and what can be broken on them.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use crate::common::{Scene, TOKEN, picture, run};
use kasm_stand_in::docker::Script;
use kasm_stand_in::manager::{Registry, jwt};
use kasm_stand_in::release::{Components, Options};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The registration token that the manager of every node takes.
pub const REGISTRATION: &str = "kZ7TokenTokenTokenQ9";

/// A component of a connection proxy: its directory in the layout from 1.17 on, its file, its container.
pub const PROXIES: [(&str, &str, &str); 3] = [
    ("guac", "kasmguac.app.config.yaml", "kasm_guac"),
    ("rdp_gateway", "passthrough.app.config.yaml", "kasm_rdp_gateway"),
    ("rdp_https_gateway", "rdp_https_gateway.app.config.yaml", "kasm_rdp_https_gateway"),
];

/// Writes a file below the root, with the directories above it.
pub fn plant(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A machine that is not pressed.
pub fn calm(root: &Path) {
    let meminfo = "MemTotal: 8000000 kB\nMemAvailable: 6000000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n";
    plant(root, "proc/meminfo", meminfo);
    plant(root, "proc/loadavg", "0.10 0.20 0.30 1/234 5678\n");
    plant(root, "proc/vmstat", "pgfault 1\noom_kill 0\n");
    plant(root, "proc/uptime", "1000.00 900.00\n");
    plant(root, "run/systemd/timesync/synchronized", "");
}

/// A virtual machine of KubeVirt's whose guest agent does not run.
pub fn without_guest_agent(root: &Path) {
    plant(root, "sys/class/dmi/id/sys_vendor", "KubeVirt\n");
    fs::create_dir_all(root.join("dev/virtio-ports")).unwrap();
    symlink("../vport1p1", root.join("dev/virtio-ports/org.qemu.guest_agent.0")).unwrap();
}

pub struct Node {
    pub scene: Scene,
}

impl Node {
    /// A connection proxy of this version that has registered.
    pub fn guac(version: &str) -> Node {
        let node = Node::new(version, Registry::default());
        let manager = node.scene.manager.address().to_string();
        node.install(&["-S", "guac", "-e", "-p", "10.0.0.6", "-n", &manager, "-k", REGISTRATION, "-z", "zone-1", "-H"]);
        node
    }

    /// An agent of this version whose manager knows its token.
    pub fn agent(version: &str) -> Node {
        let node = Node::new(version, Registry { manager_token: Some(TOKEN.into()), ..Registry::default() });
        let manager = node.scene.manager.address().to_string();
        node.install(&[
            "-S", "agent", "-e", "-p", "10.0.0.6", "-m", &manager, "-i", "s-7", "-r", "x", "-M", TOKEN, "-H",
        ]);
        node
    }

    fn new(version: &str, registry: Registry) -> Node {
        let components = Some(Components { tries: 2, ..Components::default() });
        let scene = Scene::new(&Options { version: version.into(), components, ..Options::default() });
        scene.containers(Script { looks: 0, ..Script::default() });
        scene.manager.deal(Registry { registration_token: Some(REGISTRATION.into()), ..registry });
        Node { scene }
    }

    /// Runs Kasm's installer itself, not ours.
    fn install(&self, args: &[&str]) {
        let directory = self.scene.root.join("tmp");
        fs::create_dir_all(&directory).unwrap();
        let release = self.scene.release.unpack(&directory).unwrap();
        let mut command = Command::new("bash");
        command.arg(release.join("install.sh")).args(args).current_dir(&directory).stdin(Stdio::null());
        let output = command.env("KASM_BOOTSTRAP_ROOT", &self.scene.root).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        fs::remove_dir_all(directory).unwrap();
    }

    /// How the manager deals with its components from now on; it knows the same tokens.
    pub fn deal(&self, registry: Registry) {
        let (registration_token, manager_token) = (Some(REGISTRATION.into()), Some(TOKEN.into()));
        self.scene.manager.deal(Registry { registration_token, manager_token, ..registry });
    }

    /// A component's configuration file.
    pub fn file(&self, directory: &str, name: &str) -> PathBuf {
        let app = self.scene.root.join("opt/kasm/current/conf/app");
        let split = app.join(directory).join(name);
        if split.exists() { split } else { app.join(name) }
    }

    /// The file of kasm_guac.
    pub fn guac_file(&self) -> PathBuf {
        self.file(PROXIES[0].0, PROXIES[0].1)
    }

    pub fn agent_file(&self) -> PathBuf {
        self.file("agent", "agent.app.config.yaml")
    }

    /// Gives a key of a component's file, as it is written there, another value; `None` takes the line away.
    pub fn put(&self, file: &PathBuf, key: &str, value: Option<&str>) {
        let text = fs::read_to_string(file).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let at = lines.iter().position(|line| line.trim_start().starts_with(&format!("{key}:")));
        match (at, value) {
            (Some(at), Some(value)) => lines[at] = format!("  {key}: {value}"),
            (Some(at), None) => drop(lines.remove(at)),
            (None, Some(value)) => lines.insert(1, format!("  {key}: {value}")),
            (None, None) => {}
        }
        fs::write(file, lines.join("\n") + "\n").unwrap();
    }

    /// #816: a placeholder was given as the registration token of the upgrade, and `auth_token` is no token.
    pub fn break_as_816(&self) {
        for (directory, name, _) in PROXIES {
            let file = self.file(directory, name);
            self.put(&file, "auth_token", Some("\"false\" # what the upgrade left"));
            self.put(&file, "registration_token", Some("password"));
        }
    }

    /// kasm_guac alone has a token that expired long ago.
    pub fn expire(&self) {
        let file = self.guac_file();
        let id = value(&fs::read_to_string(&file).unwrap(), "id");
        let token = jwt::auth_token(&id, jwt::now() - 40 * 86_400, &[80], jwt::Signer::Manager);
        self.put(&file, "auth_token", Some(&token));
    }

    /// `token repair`, the token in a file of its own.
    pub fn repair_with(&self, flag: &str, token: &str) -> Command {
        let path = self.scene.root.join("given-token");
        fs::write(&path, token).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let mut command = self.scene.command();
        command.args(["token", "repair", flag]).arg(path);
        command
    }

    /// `token repair` with the right registration token.
    pub fn repair(&self) -> Command {
        self.repair_with("--registration-token-file", REGISTRATION)
    }

    pub fn list(&self, args: &[&str]) -> Output {
        run(self.scene.command().args(["token", "list"]).args(args))
    }

    /// Everything below /opt/kasm but logs.
    pub fn installed(&self) -> Vec<String> {
        let mut lines = picture(&self.scene.root.join("opt/kasm"));
        // What a component has left that was killed while it wrote its configuration is its own.
        lines.retain(|line| !line.contains("/log/") && !line.contains(".yaml.new "));
        lines
    }

    /// No repair is open, and nothing of one lies about.
    pub fn nothing_open(&self) {
        let state = self.scene.root.join("var/lib/kasm-bootstrap");
        assert!(!state.join("repair.json").exists() && !state.join("repair").exists());
        for line in self.installed() {
            let path = line.split(' ').next().unwrap();
            let name = path.rsplit('/').next().unwrap();
            assert!(name != "registration_token.txt" && !name.starts_with('.'), "{path}");
        }
    }

    /// Every token is good, and no registration token is left.
    pub fn is_repaired(&self) {
        let output = self.list(&["--check", "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let kinds = json["tokens"].as_array().unwrap().iter().map(|token| token["kind"].as_str().unwrap());
        assert!(!kinds.into_iter().any(|kind| kind == "registration"), "{json:#}");
        self.nothing_open();
    }
}

/// What stands behind a key, without quotes.
pub fn value(yaml: &str, key: &str) -> String {
    let line = yaml.lines().find_map(|line| line.trim().strip_prefix(&format!("{key}: "))).unwrap_or_default();
    line.split(" #").next().unwrap_or_default().trim_matches(['\'', '"']).to_owned()
}

/// Neither token is in what was said.
pub fn said(output: &Output) -> (i32, String, String) {
    for bytes in [&output.stdout, &output.stderr] {
        for token in [TOKEN, REGISTRATION, "eyJ"] {
            assert!(!crate::common::holds(bytes, token.as_bytes()), "{token}: {}", String::from_utf8_lossy(bytes));
        }
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}
