use super::*;
use proptest::prelude::*;
use std::os::unix::fs::MetadataExt;

struct Machine {
    _directory: tempfile::TempDir,
    paths: Paths,
}

impl Machine {
    fn new() -> Machine {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path().join("machine"));
        let conf = paths.at("/opt/kasm/1.17.0/conf");
        fs::create_dir_all(conf.join("app/agent")).unwrap();
        fs::write(conf.join("app/agent/agent.app.config.yaml"), "token: abcdef\n").unwrap();
        fs::set_permissions(conf.join("app/agent/agent.app.config.yaml"), Permissions::from_mode(0o640)).unwrap();
        fs::write(conf.join("empty"), "").unwrap();
        symlink("/opt/kasm/1.17.0", paths.kasm_current()).unwrap();
        Machine { _directory: directory, paths }
    }

    fn items(&self) -> Vec<PathBuf> {
        let unit = self.paths.at("/etc/systemd/system/kasm.service");
        vec![self.paths.at("/opt/kasm/1.17.0/conf"), self.paths.kasm_current(), unit]
    }

    fn take(&self) -> Snapshot {
        Snapshot::take(&self.paths, &self.dir(), &self.items()).unwrap()
    }

    fn dir(&self) -> PathBuf {
        self.paths.state_dir().join("snapshots/1")
    }

    fn picture(&self) -> Vec<(PathBuf, Kind)> {
        let paths = tree::walk(&self.paths.at("/opt"), 1000).unwrap().into_iter();
        let etc = tree::walk(&self.paths.at("/etc/systemd/system"), 1000).unwrap();
        paths.chain(etc).map(|path| (path.clone(), look(&path).unwrap().0)).collect()
    }
}

impl Snapshot {
    /// The bytes of one file as they were; `None` if it was no file or not taken.
    ///
    /// # Errors
    /// The snapshot is damaged.
    fn content(&self, path: &Path) -> Result<Option<Vec<u8>>, Error> {
        let shown = self.paths.shown(path);
        let entry = self.manifest.entries.iter().find(|entry| entry.path == shown);
        match entry.map(|entry| &entry.kind) {
            Some(Kind::File { sha256, .. }) => self.blob(sha256).map(Some),
            _ => Ok(None),
        }
    }
}

fn change(machine: &Machine) {
    let conf = machine.paths.at("/opt/kasm/1.17.0/conf");
    let yaml = conf.join("app/agent/agent.app.config.yaml");
    fs::write(&yaml, "token: other\n").unwrap();
    fs::set_permissions(&yaml, Permissions::from_mode(0o666)).unwrap();
    fs::remove_file(conf.join("empty")).unwrap();
    fs::create_dir_all(conf.join("empty/now/a/directory")).unwrap();
    fs::write(conf.join("app/new"), "new").unwrap();
    fs::remove_file(machine.paths.kasm_current()).unwrap();
    symlink("1.18.1", machine.paths.kasm_current()).unwrap();
    fs::create_dir_all(machine.paths.at("/etc/systemd/system")).unwrap();
    fs::write(machine.paths.at("/etc/systemd/system/kasm.service"), "[Unit]").unwrap();
}

#[test]
fn everything_changed_comes_back_and_what_was_not_there_goes() {
    let machine = Machine::new();
    fs::create_dir_all(machine.paths.at("/etc/systemd/system")).unwrap();
    let before = machine.picture();
    let snapshot = machine.take();
    assert_eq!(snapshot.differences().unwrap(), Vec::<String>::new());
    change(&machine);
    let told = snapshot.differences().unwrap().join("\n");
    for words in [
        "agent.app.config.yaml has another content",
        "conf/empty is something else",
        "/opt/kasm/current leads elsewhere",
        "kasm.service is new",
        "conf/app/new is new",
    ] {
        assert!(told.contains(words), "no {words} in {told}");
    }
    let again = Snapshot::open(&machine.paths, &machine.dir()).unwrap();
    assert_eq!(again.restore().unwrap().len(), 5);
    assert_eq!(machine.picture(), before);
    assert_eq!(again.restore().unwrap(), Vec::<String>::new());
    again.remove().unwrap();
    assert!(!machine.dir().exists());
    assert!(Snapshot::open(&machine.paths, &machine.dir()).is_err());
}

#[test]
fn contents_are_for_root_alone_and_named_by_their_digest() {
    let machine = Machine::new();
    let snapshot = machine.take();
    for path in tree::walk(&snapshot.dir, 100).unwrap() {
        let mode = fs::metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
    let yaml = machine.paths.at("/opt/kasm/1.17.0/conf/app/agent/agent.app.config.yaml");
    assert_eq!(snapshot.content(&yaml).unwrap().unwrap(), b"token: abcdef\n");
    assert!(machine.dir().join(sha256_of(b"token: abcdef\n")).exists());
}

#[test]
fn a_damaged_snapshot_changes_nothing() {
    let machine = Machine::new();
    let snapshot = machine.take();
    fs::write(machine.dir().join(sha256_of(b"token: abcdef\n")), "forged").unwrap();
    change(&machine);
    let before = machine.picture();
    assert!(matches!(snapshot.restore(), Err(Error::Damaged { .. })));
    assert_eq!(machine.picture(), before);
    let manifest = machine.dir().join(MANIFEST);
    for text in [
        "{}",
        "",
        r#"{"schema":2,"items":[],"entries":[]}"#,
        r#"{"schema":1,"items":["/a"],"entries":[{"path":"/etc/shadow","kind":"absent"}]}"#,
        r#"{"schema":1,"items":["/a"],"entries":[{"path":"/a/../etc/shadow","kind":"absent"}]}"#,
    ] {
        fs::write(&manifest, text).unwrap();
        assert!(matches!(Snapshot::open(&machine.paths, &machine.dir()), Err(Error::Damaged { .. })), "{text}");
    }
}

#[test]
fn a_link_that_was_put_in_a_directorys_place_is_replaced_and_not_followed() {
    let machine = Machine::new();
    let snapshot = machine.take();
    let (app, elsewhere) = (machine.paths.at("/opt/kasm/1.17.0/conf/app"), machine.paths.at("/elsewhere"));
    fs::rename(&app, &elsewhere).unwrap();
    fs::write(elsewhere.join("kept"), "kept").unwrap();
    symlink(&elsewhere, &app).unwrap();
    snapshot.restore().unwrap();
    assert!(tree::is_directory(&app) && elsewhere.join("kept").exists());
    assert_eq!(snapshot.differences().unwrap(), Vec::<String>::new());
}

#[test]
fn a_file_that_is_too_large_leaves_no_snapshot() {
    let machine = Machine::new();
    let large = fs::File::create(machine.paths.at("/opt/kasm/1.17.0/conf/core")).unwrap();
    large.set_len(LARGEST + 1).unwrap();
    let taken = Snapshot::take(&machine.paths, &machine.dir(), &machine.items());
    assert!(matches!(taken, Err(Error::TooLarge { .. })));
    assert!(!machine.dir().exists());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_to_the_files_the_tree_comes_back(
        names in proptest::collection::vec("[a-c]{1,2}(/[a-c]){0,2}", 1..8),
        changes in proptest::collection::vec(("[a-c]{1,2}(/[a-c]){0,2}", 0..4u8), 0..8),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        let tree = paths.at("/tree");
        fs::create_dir_all(&tree).unwrap();
        let make = |name: &str, what: u8| {
            let path = tree.join(name);
            // A part of the name may be a file by now: then there is nothing to make.
            if fs::create_dir_all(path.parent().unwrap()).is_err() {
                return;
            }
            let _ = match what {
                0 => fs::write(&path, name),
                1 => fs::create_dir_all(&path),
                2 => symlink("somewhere", &path),
                _ => remove_all(&path),
            };
        };
        names.iter().enumerate().for_each(|(at, name)| make(name, (at % 3) as u8));
        let picture = || -> Vec<(PathBuf, Kind)> {
            tree::walk(&tree, 1000).unwrap().into_iter().map(|path| (path.clone(), look(&path).unwrap().0)).collect()
        };
        let before = picture();
        let snapshot = Snapshot::take(&paths, &paths.at("/snapshot"), std::slice::from_ref(&tree)).unwrap();
        changes.iter().for_each(|(name, what)| make(name, *what));
        snapshot.restore().unwrap();
        prop_assert_eq!(picture(), before);
    }
}
