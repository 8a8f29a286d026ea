//! A node that runs one version, and the release of another: for the tests of upgrades and rollbacks.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use crate::common::{Scene, TOKEN, picture, run, spoken};
use kasm_stand_in::docker::Script;
use kasm_stand_in::manager::{Behaviour, Registry};
use kasm_stand_in::release::{Built, Components, Options, Release};
use kasm_stand_in::systemd;
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

pub const OLD: &str = "1.17.0";
pub const NEW: &str = "1.18.1";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Agent,
    Guac,
}

pub struct Node {
    pub scene: Scene,
    pub new: Built,
    role: Role,
    file: PathBuf,
    token: PathBuf,
    path: Option<OsString>,
    directory: tempfile::TempDir,
}

/// A release of this version, whose components register by themselves.
pub fn release(version: &str) -> Options {
    Options { version: version.into(), components: Some(Components::default()), ..Options::default() }
}

impl Node {
    /// A node of this role that one release's own install.sh has made, without us; its manager, and the other
    /// release.
    pub fn new(role: Role, old: &Options, new: &Options) -> Node {
        Node::on(Scene::new(old), role, new)
    }

    /// The same on a machine that was prepared.
    pub fn on(scene: Scene, role: Role, new: &Options) -> Node {
        let directory = tempfile::tempdir().unwrap();
        scene.containers(Script { looks: 0, ..Script::default() });
        let registry = Registry { registration_token: Some(TOKEN.into()), ..Registry::default() };
        scene.manager.behave(Behaviour { registry, ..Behaviour::default() });
        let token = directory.path().join("token");
        fs::write(&token, TOKEN).unwrap();
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
        let built = Release::build(new);
        let file = directory.path().join(format!("kasm_release_{}.tar.gz", built.version));
        fs::write(&file, &built.tar_gz).unwrap();
        let node = Node { scene, new: built, role, file, token, path: None, directory };
        node.install();
        node
    }

    /// An agent that goes from 1.17.0 to 1.18.1.
    pub fn agent() -> Node {
        Node::new(Role::Agent, &release(OLD), &release(NEW))
    }

    /// A connection proxy that goes from 1.17.0 to 1.18.1.
    pub fn guac() -> Node {
        Node::new(Role::Guac, &release(OLD), &release(NEW))
    }

    /// An agent whose next release is like this.
    pub fn agent_to(new: &Options) -> Node {
        Node::new(Role::Agent, &release(OLD), new)
    }

    /// From now on systemd runs on this machine, by the stand-in's systemctl.
    pub fn with_systemd(mut self) -> Node {
        let bin = systemd::install(&self.scene.root);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(bin).chain(std::env::split_paths(&path));
        self.path = Some(std::env::join_paths(all).unwrap());
        self
    }

    fn install(&self) {
        let unpacked = self.directory.path().join("old");
        fs::create_dir_all(&unpacked).unwrap();
        let release = self.scene.release.unpack(&unpacked).unwrap();
        let manager = self.scene.manager.address().to_string();
        let args = match self.role {
            Role::Agent => {
                let args =
                    ["-S", "agent", "-p", "10.0.0.6", "-m", &manager, "-M", TOKEN, "-i", "server-7", "-r", "aws"];
                args.map(str::to_owned).to_vec()
            }
            Role::Guac => ["-S", "guac", "-p", "10.0.0.6", "-n", &manager, "-k", TOKEN, "-z", "zone-1"]
                .map(str::to_owned)
                .to_vec(),
        };
        let mut bash = Command::new("bash");
        bash.arg(release.join("install.sh")).args(["-e", "-H"]).args(args).stdin(Stdio::null());
        bash.current_dir(&unpacked).env("KASM_BOOTSTRAP_ROOT", &self.scene.root);
        let output = bash.output().unwrap();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    }

    /// The binary on this node, with short waits.
    pub fn command(&self, verb: &str) -> Command {
        let mut command = self.scene.command();
        command.arg(verb).env("KASM_BOOTSTRAP_HEALTH_SETTLE", "300ms").env("KASM_BOOTSTRAP_MANAGER_WAIT", "2s");
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        command
    }

    /// `upgrade` to the other release, with these flags too.
    pub fn upgrade(&self, more: &[&str]) -> Command {
        let mut command = self.command("upgrade");
        command.arg("--release-file").arg(&self.file).args(["--sha256", &self.new.sha256]);
        if !more.contains(&"--deadline") {
            command.args(["--deadline", "60s"]);
        }
        if self.role == Role::Guac && !more.contains(&"--registration-token") {
            command.arg("--registration-token-file").arg(&self.token);
        }
        command.args(more);
        command
    }

    /// Runs an upgrade: exit, JSON, standard error.
    pub fn upgraded(&self, more: &[&str]) -> (i32, Value, String) {
        answer(&run(self.upgrade(more).arg("--json")))
    }

    /// Runs a rollback: exit, JSON, standard error.
    pub fn rolled_back(&self, more: &[&str]) -> (i32, Value, String) {
        answer(&run(self.command("rollback").args(more).arg("--json")))
    }

    /// The version `current` leads to.
    pub fn version(&self) -> String {
        let target = fs::read_link(self.scene.root.join("opt/kasm/current")).unwrap();
        target.file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// The images of the containers that run, which tell the version.
    pub fn images(&self) -> String {
        fs::read_to_string(self.scene.root.join("run/stand-in-containers")).unwrap_or_default()
    }

    /// Everything of Kasm's as it is: configuration and links. Logs and the time of starting are not in it.
    pub fn kasm(&self) -> Vec<String> {
        let keep = |line: &String| !line.contains("/log/") && !line.contains("/tmp/");
        picture(&self.scene.root.join("opt/kasm")).into_iter().filter(keep).collect()
    }

    /// The machine without our own records.
    pub fn machine(&self) -> Vec<String> {
        let keep = |line: &String| {
            let ours = line.contains("/kasm-bootstrap") || line.contains("/var/lib ") || line.contains("/var/cache ");
            !ours && !line.contains("/run/docker.sock")
        };
        picture(&self.scene.root).into_iter().filter(keep).collect()
    }

    /// Our own state.
    pub fn state(&self, name: &str) -> PathBuf {
        self.scene.root.join("var/lib/kasm-bootstrap").join(name)
    }

    /// The old version runs, and nothing is open.
    #[track_caller]
    pub fn is_old(&self) {
        self.is_at(OLD);
        assert!(!self.scene.root.join("opt/kasm").join(NEW).exists(), "the new version's directory is still there");
    }

    /// The new version runs, and nothing is open.
    #[track_caller]
    pub fn is_new(&self) {
        self.is_at(NEW);
        assert!(self.state("previous.json").exists());
        let receipt = fs::read_to_string(self.state("installed.json")).unwrap();
        let receipt: Value = serde_json::from_str(&receipt).unwrap();
        assert_eq!((&receipt["version"], &receipt["proved"]), (&NEW.into(), &true.into()));
    }

    #[track_caller]
    fn is_at(&self, version: &str) {
        assert_eq!(self.version(), version);
        let images = self.images();
        assert!(!images.trim().is_empty(), "no container runs");
        assert!(images.lines().all(|line| line.contains(version)), "{images}");
        assert!(!self.state("upgrade.json").exists(), "an upgrade is open");
        assert!(!self.scene.root.join("etc/apt/apt.conf.d/99kasm-bootstrap").exists());
        // The configuration and its snapshots hold tokens, nothing else may.
        let mut found = self.scene.files_with_the_token();
        let configured = self.scene.root.join("etc/kasm-bootstrap");
        found.retain(|path| !path.starts_with(self.state("snapshots")) && !path.starts_with(&configured));
        assert_eq!(found, Vec::<PathBuf>::new());
    }
}

fn answer(output: &Output) -> (i32, Value, String) {
    let (code, out, err) = spoken(output);
    (code, serde_json::from_str(&out).unwrap_or_default(), err)
}

/// The reason of a failure.
pub fn reason(answer: &Value) -> String {
    answer["error"]["reason"].as_str().unwrap_or_default().to_owned()
}

/// What a failure says, causes and remedy included.
pub fn words(answer: &Value) -> String {
    answer["error"].to_string()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
