//! The machines on which the documents' commands are run: scratch roots with servers on loopback in place of the
//! addresses that the documents have for examples.

use crate::common::{Scene, TOKEN, holds};
use crate::nodes::{Node, REGISTRATION};
use crate::signing::Signer;
use kasm_stand_in::docker::Script;
use kasm_stand_in::manager::{Behaviour, Registry, jwt};
use kasm_stand_in::mirror::Mirror;
use kasm_stand_in::release::{Built, Components, Options, Release};
use kasm_stand_in::tls;
use serde_json::json;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What documents call the release's digest: the one that Kasm publishes for 1.19.0.
const DIGEST: &str = "7b801cb0579a7867df46b6da873fe8dd631db07d4c05349e5bd1aea27130c37d";
/// What documents call the key that signs releases.
const MINISIGN_KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
/// What documents call the manager's public key.
const PIN: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
/// The version every document installs.
const VERSION: &str = "1.19.0";
/// Directories of the machine: commands that name files in them mean the scratch machine's.
const MACHINE: [&str; 8] = ["/etc/", "/run/", "/var/", "/opt/", "/srv/", "/root/", "/tmp/", "/mnt/"];

/// A machine.
pub struct World {
    scene: Scene,
    directory: tempfile::TempDir,
    /// What stands on a page, and what it is here.
    table: Vec<(String, String)>,
    variables: Vec<(&'static str, String)>,
    checkin: String,
    // Kept while the machine is.
    mirrors: Vec<Mirror>,
}

/// How a block ended, in the words of its page.
pub struct Ended {
    pub code: i32,
    pub said: String,
}

fn fresh(role_registry: Registry) -> Scene {
    let components = Some(Components::default());
    let scene = Scene::new(&Options { version: VERSION.into(), components, ..Options::default() });
    scene.containers(Script { looks: 0, ..Script::default() });
    scene.manager.behave(Behaviour { registry: role_registry, ..Behaviour::default() });
    scene
}

fn both() -> Registry {
    Registry { registration_token: Some(REGISTRATION.into()), manager_token: Some(TOKEN.into()), ..Registry::default() }
}

impl World {
    /// The world that a page asks for by `<!-- test: world=NAME -->`:
    ///
    /// - `machine`: a fresh Debian, a manager that knows the page's tokens, a mirror with the release;
    /// - `official`: the same, and the release's official URL leads to that mirror;
    /// - `air-gapped`: the release and its digest are files in `/srv/kasm`, and no mirror answers;
    /// - `private-ca`: the mirror and the manager have certificates of an authority of their own, `/srv/kasm/ca.pem`;
    /// - `agent`, `guac`: a node that runs the version before;
    /// - `guac-816`, `guac-expired`, `agent-refused`: such a node whose token is broken.
    pub fn named(name: &str) -> World {
        match name {
            "machine" => World::of(fresh(both()), None),
            "official" => World::of(fresh(both()), None).official(),
            "air-gapped" => World::of(fresh(both()), None).air_gapped(),
            "private-ca" => World::private(),
            "agent" => World::of(Node::agent("1.18.1").scene, Some(Release::build(&next()))).official(),
            "guac" => World::of(Node::guac("1.18.1").scene, Some(Release::build(&next()))).official(),
            "guac-816" => {
                let node = Node::guac("1.18.1");
                node.break_as_816();
                World::of(node.scene, None)
            }
            "guac-expired" => {
                let node = Node::guac("1.18.1");
                node.expire();
                World::of(node.scene, None)
            }
            "agent-refused" => {
                let node = Node::agent("1.18.1");
                node.put(&node.agent_file(), "token", Some("\"{manager_token}\""));
                World::of(node.scene, None)
            }
            _ => panic!("there is no world {name}"),
        }
    }

    fn of(scene: Scene, next: Option<Built>) -> World {
        let release = next.unwrap_or_else(|| scene.release.clone());
        let signer = Signer::new(7);
        let tarball = format!("/kasm_release_{VERSION}.tar.gz");
        let sidecar = format!("{}  {}\n", release.sha256, &tarball[1..]);
        let signature = signer.sign(&release.tar_gz);
        let mirror = Mirror::plain(&[
            (&tarball, &release.tar_gz),
            (&format!("{tarball}.sha256sum"), sidecar.as_bytes()),
            (&format!("{tarball}.minisig"), signature.as_bytes()),
        ]);
        let table = [
            ("https://mirror.example/", mirror.url("/")),
            // Nobody has it there: the next one is asked.
            ("https://old.example/", mirror.url("/gone/")),
            ("kasm.example.com", scene.manager.address().to_string()),
            (DIGEST, release.sha256.clone()),
            (MINISIGN_KEY, signer.key()),
        ];
        let table = table.map(|(page, here)| (page.to_owned(), here)).to_vec();
        let claims = json!({ "server_id": "s-1", "exp": jwt::now() + 4 * 3600 });
        let checkin = jwt::sign(&claims, jwt::Signer::Manager);
        let variables = vec![("KASM_BOOTSTRAP_HEALTH_SETTLE", "200ms".into())];
        let directory = tempfile::tempdir().unwrap();
        let world = World { scene, directory, table, variables, checkin, mirrors: vec![mirror] };
        world.prepare();
        world.write("srv/kasm/minisign.pub", signer.key_file().as_bytes());
        world
    }

    /// A page that names nothing but the version means the mirror here: a flag with a version leads to Kasm's own
    /// URL, whatever the environment says.
    fn official(mut self) -> World {
        let url = self.here(&format!("https://mirror.example/kasm_release_{VERSION}.tar.gz"));
        let here = format!(" --release-url {url} --sha256 {}", self.here(DIGEST));
        self.table.push((format!(" --release {VERSION}"), here));
        self
    }

    fn air_gapped(mut self) -> World {
        let tarball = self.scene.release.tar_gz.clone();
        self.write(&format!("srv/kasm/kasm_release_{VERSION}.tar.gz"), &tarball);
        self.write(&format!("srv/kasm/kasm_release_service_images_amd64_{VERSION}.tar.gz"), b"\x1f\x8bimages");
        self.mirrors.clear();
        self
    }

    fn private() -> World {
        let identity = tls::issued(&["127.0.0.1"]);
        let mut world = World::of(fresh(both()), None);
        let release = &world.scene.release;
        let mirror =
            Mirror::tls(identity.config.clone(), &[(&format!("/kasm_release_{VERSION}.tar.gz"), &release.tar_gz)]);
        let behaviour = Behaviour { registry: both(), ..Behaviour::default() };
        world.scene.manager = kasm_stand_in::manager::Manager::start(Some(identity.config.clone()), behaviour);
        let pin: String = sha2::Digest::finalize(sha2::Digest::chain_update(
            <sha2::Sha256 as sha2::Digest>::new(),
            &identity.public_key,
        ))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
        for (page, here) in [
            ("https://mirror.example/", mirror.url("/")),
            ("kasm.example.com", world.scene.manager.address().to_string()),
            (PIN, pin),
        ] {
            world.table.retain(|(known, _)| known != page);
            world.table.push((page.to_owned(), here));
        }
        world.mirrors.push(mirror);
        world.write("srv/kasm/ca.pem", identity.trust_pem.as_bytes());
        world
    }

    /// Directories that commands take for granted, and `kasm-bootstrap` itself: first in the path, with this root.
    fn prepare(&self) {
        for directory in ["etc/kasm-bootstrap", "run", "srv/kasm", "root", "tmp", "mnt"] {
            fs::create_dir_all(self.scene.root.join(directory)).unwrap();
        }
        // No name leads out of here: nobody is asked for one, and Kasm's own bucket is a closed port of this machine.
        let hosts = "127.0.0.1 localhost kasm-static-content.s3.amazonaws.com\n";
        self.write("etc/hosts", hosts.as_bytes());
        self.write("etc/resolv.conf", b"nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
        let (binary, root) = (env!("CARGO_BIN_EXE_kasm-bootstrap"), self.scene.root.display());
        let bin = self.directory.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let path = bin.join("kasm-bootstrap");
        fs::write(&path, format!("#!/bin/sh\nexec '{binary}' --root '{root}' \"$@\"\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(self.directory.path().join("home")).unwrap();
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.scene.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// The page's text with what it is on this machine.
    pub fn here(&self, text: &str) -> String {
        let mut table: Vec<&(String, String)> = self.table.iter().collect();
        table.sort_by_key(|(page, _)| usize::MAX - page.len());
        table.iter().fold(below(text, &self.scene.root), |text, (page, here)| text.replace(page, here))
    }

    /// What was said here, in the page's words.
    fn on_the_page(&self, text: &str) -> String {
        let root = self.scene.root.display().to_string();
        let home = self.directory.path().join("home").display().to_string();
        let mut table: Vec<&(String, String)> = self.table.iter().collect();
        table.sort_by_key(|(_, here)| usize::MAX - here.len());
        let text = text.replace(&root, "").replace(&home, "/root");
        table.iter().fold(text, |text, (page, here)| text.replace(here.as_str(), page))
    }

    /// Runs a block as bash would, with this on standard input.
    pub fn run(&self, script: &str, input: Option<&str>) -> Ended {
        let file = self.directory.path().join("block.sh");
        fs::write(&file, self.here(script)).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let (read, write) = std::io::pipe().unwrap();
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail"]).arg(&file).env_clear();
        command.env("PATH", format!("{}:{path}", self.directory.path().join("bin").display()));
        command.env("HOME", self.directory.path().join("home")).env("LANG", "C.UTF-8").env("TERM", "dumb");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.directory.path().join("home"));
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(write.try_clone().unwrap()).stderr(write);
        let mut child = command.spawn().unwrap();
        // Its ends of the pipe are the last ones.
        drop(command);
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            // One that does not read ends in its own way.
            let _ = stdin.write_all(format!("{}\n", self.secret(input)).as_bytes());
        }
        let said = std::io::read_to_string(read).unwrap();
        let code = child.wait().unwrap().code().unwrap_or(-1);
        for secret in [TOKEN, REGISTRATION, &self.checkin] {
            assert!(!holds(said.as_bytes(), secret.as_bytes()), "a token was printed: {said}");
        }
        Ended { code, said: self.on_the_page(&said) }
    }

    fn secret(&self, name: &str) -> String {
        match name {
            "manager-token" => TOKEN.into(),
            "registration-token" => REGISTRATION.into(),
            "checkin-token" => self.checkin.clone(),
            _ => panic!("nobody types {name}"),
        }
    }
}

/// The release that comes after what nodes run.
fn next() -> Options {
    Options { version: VERSION.into(), components: Some(Components::default()), ..Options::default() }
}

/// The same text with every file of the machine below this root.
fn below(text: &str, root: &Path) -> String {
    let mut all = String::new();
    let mut rest = text;
    while let Some(at) = MACHINE.iter().filter_map(|directory| rest.find(directory)).min() {
        let (before, after) = rest.split_at(at);
        all.push_str(before);
        let inside = |c: char| c.is_alphanumeric() || "._~-}".contains(c);
        if !before.chars().next_back().or(all.chars().next_back()).is_some_and(inside) {
            all.push_str(root.to_str().unwrap());
        }
        all.push('/');
        rest = &after[1..];
    }
    all + rest
}

#[test]
fn files_of_the_machine_are_the_scratch_machines() {
    let text =
        "cat >/etc/a 'file:///srv/b' https://x.example/run/c ./etc/d --unix-socket /run/e /dev/null \"/opt/etc/f\"";
    let here = below(text, Path::new("/R"));
    assert_eq!(
        here,
        "cat >/R/etc/a 'file:///R/srv/b' https://x.example/run/c ./etc/d --unix-socket /R/run/e /dev/null \"/R/opt/etc/f\""
    );
}
