use super::*;
use crate::config::{Layer, Merged, file};
use crate::observe::Observer;
use crate::record::Record;
use std::fs;
use std::path::Path;

struct Nobody;

impl Observer for Nobody {}

impl Supervisor for Nobody {
    fn ready(&self) {}
    fn stopping(&self) {}
    fn status(&self, _: &str) {}
}

struct Machine {
    _directory: tempfile::TempDir,
    paths: Paths,
}

const HEX: &str = "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd";

impl Machine {
    fn new() -> Machine {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        fs::create_dir_all(paths.kasm_dir().join("1.19.0")).unwrap();
        std::os::unix::fs::symlink("/opt/kasm/1.19.0", paths.kasm_current()).unwrap();
        Machine { _directory: directory, paths }
    }

    fn receipt(&self, change: impl Fn(&mut Receipt)) {
        let mut receipt = Receipt {
            owes_settings: false,
            schema: Receipt::SCHEMA,
            role: crate::intent::Role::Agent,
            digest: HEX.into(),
            version: Some("1.19.0".into()),
            at: "2026-01-02T03:04:05Z".into(),
            manager: "kasm.example.com".into(),
            address: "10.0.0.4".into(),
            attempt: 1,
            proved: true,
            instance: Some("cloud-init:i-1".into()),
        };
        change(&mut receipt);
        receipt.write(&self.paths).unwrap();
    }

    fn identity(&self, id: &str) -> Identity {
        let path = self.paths.cloud_init().join("instance-data.json");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!(r#"{{"v1": {{"instance_id": "{id}"}}}}"#)).unwrap();
        Identity::find(&self.paths, None)
    }

    fn watches(&self, id: &str, release: &str) -> bool {
        matches!(with(&self.paths, intent(release), &self.identity(id), &Nobody), Decision::Watch(..))
    }
}

fn intent(release: &str) -> Box<Intent> {
    let text = format!("role = 'agent'\nmanager.address = 'm'\nmanager.token = 'x'\n[release]\n{release}");
    let layer: Layer = file::layer(Path::new("/c.toml"), &text);
    Box::new(Merged::of([&layer]).intent().unwrap())
}

fn pinned() -> String {
    format!("version = '1.19.0'\nsha256 = '{HEX}'")
}

#[test]
fn what_was_proved_on_this_instance_is_watched() {
    let machine = Machine::new();
    machine.receipt(|_| {});
    assert!(machine.watches("i-1", &pinned()));
    assert!(machine.watches("i-1", "version = '1.19.0'\nsha256 = 'sidecar'"));
    machine.receipt(|receipt| receipt.instance = None);
    assert!(machine.watches("i-1", &pinned()), "nobody knows of another instance");
}

#[test]
fn everything_else_is_for_the_installation_to_look_into() {
    let machine = Machine::new();
    assert!(!machine.watches("i-1", &pinned()), "there is no receipt");
    machine.receipt(|_| {});
    assert!(!machine.watches("i-2", &pinned()), "it is a copy");
    assert!(!machine.watches("i-1", &format!("version = '1.19.0'\nsha256 = '{}'", "0".repeat(64))));
    machine.receipt(|receipt| receipt.proved = false);
    assert!(!machine.watches("i-1", &pinned()), "it was not proved");
    machine.receipt(|receipt| receipt.role = crate::intent::Role::Guac);
    assert!(!machine.watches("i-1", &pinned()), "it is another role");
    machine.receipt(|_| {});
    fs::remove_file(machine.paths.kasm_current()).unwrap();
    assert!(!machine.watches("i-1", &pinned()), "it is not there any more");
}

#[test]
fn another_version_than_the_configuration_names_is_watched_where_it_was_proved_and_never_replaced() {
    let machine = Machine::new();
    machine.receipt(|_| {});
    for version in ["1.18.1", "1.20.0"] {
        assert!(machine.watches("i-1", &format!("version = '{version}'\nsha256 = 'sidecar'")), "{version}");
        assert!(!machine.watches("i-2", &format!("version = '{version}'\nsha256 = 'sidecar'")), "a copy");
    }
    machine.receipt(|receipt| receipt.role = crate::intent::Role::Guac);
    assert!(!machine.watches("i-1", "version = '1.18.1'\nsha256 = 'sidecar'"), "it is another role");
}

#[test]
fn without_a_configuration_only_what_is_certainly_this_instances_is_watched() {
    let machine = Machine::new();
    let watches = |id: &str| without(&machine.paths, &machine.identity(id), "role is not set", &Nobody).is_some();
    machine.receipt(|_| {});
    assert!(watches("i-1"));
    assert!(!watches("i-2"));
    machine.receipt(|receipt| receipt.instance = None);
    assert!(!watches("i-1"));
}
