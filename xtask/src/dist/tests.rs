//! Releases of a tree whose binary is a shell script, made and verified with the real programs.

use super::*;
use std::process::Output;

/// A tree to release, with everything in it small.
struct Tree {
    directory: tempfile::TempDir,
}

const CHANGELOG: &str = "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-11-23\n\n### Added\n\n- Everything.\n";

impl Tree {
    fn new() -> Tree {
        let tree = Tree { directory: tempfile::tempdir().unwrap() };
        tree.write("Cargo.toml", "[workspace]\n[package]\nname = \"kasm-bootstrap\"\nversion = \"1.2.3\"\n");
        tree.write("CHANGELOG.md", CHANGELOG);
        tree.write(".gitignore", "/target\n");
        tree.script(
            "scripts/build",
            "mkdir -p target\nprintf '#!/bin/sh\\necho kasm-bootstrap 1.2.3\\n' >target/built\necho target/built",
        );
        tree.script("scripts/package", PACKAGE);
        tree.script(
            "scripts/sbom",
            "case $1 in -o) echo '{}' >\"$2\" ;; --check) [ \"$(cat \"$2\")\" = '{}' ] ;; esac",
        );
        tree.git(&["init", "--quiet"]);
        tree.commit();
        tree
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn script(&self, name: &str, body: &str) {
        self.write(name, &format!("#!/bin/bash\nset -eu\n{body}\n"));
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn git(&self, args: &[&str]) -> Output {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.directory.path()).args(["-c", "user.name=test", "-c", "user.email=test@localhost"]);
        let output = git.args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "a change"]);
    }

    fn make(&self, words: &[&str]) -> io::Result<PathBuf> {
        make(self.directory.path(), &Options::parse(words).unwrap())
    }

    fn refused(&self, words: &[&str]) -> String {
        let error = self.make(words).unwrap_err().to_string();
        // Neither a release nor anything that could be taken for one.
        assert!(!self.path("target/dist/1.2.3").exists(), "{error}");
        error
    }

    /// A throw-away key without a password: with one, minisign takes seconds and a gibibyte (scripts/test does that).
    fn key(&self, name: &str) -> [String; 2] {
        fs::create_dir_all(self.path("target")).unwrap();
        let keys = ["secret", "public"].map(|half| self.path(&format!("target/{name}.{half}")).display().to_string());
        let mut minisign = Command::new("minisign");
        run(minisign.args(["-G", "-W", "-s", &keys[0], "-p", &keys[1]])).unwrap();
        keys
    }
}

/// A .deb and an .rpm with nothing but the binary in them.
const PACKAGE: &str = r#"
[ "$1" = --binary ] && [ "$3" = --output ]
mkdir -p "$4" "$4/stage/deb/usr/bin" "$4/stage/deb/DEBIAN"
install -m 755 "$2" "$4/stage/deb/usr/bin/kasm-bootstrap"
printf 'Package: kasm-bootstrap\nVersion: 1.2.3-1\nArchitecture: all\nMaintainer: test\nDescription: test\n' \
    >"$4/stage/deb/DEBIAN/control"
dpkg-deb --root-owner-group --build "$4/stage/deb" "$4/kasm-bootstrap_1.2.3-1_all.deb" >/dev/null
printf '%s\n' 'Name: kasm-bootstrap' 'Version: 1.2.3' 'Release: 1' 'Summary: test' 'License: test' 'BuildArch: noarch' \
    '%description' 'test' '%install' "mkdir -p %{buildroot}/usr/bin" \
    "install -m 755 $4/stage/deb/usr/bin/kasm-bootstrap %{buildroot}/usr/bin/" '%files' '/usr/bin/kasm-bootstrap' \
    >"$4/stage/spec"
rpmbuild --quiet --define "_topdir $4/stage/rpm" --define "_rpmdir $4" --define '_rpmfilename %{NAME}.rpm' \
    --define '_build_id_links none' --define 'debug_package %{nil}' --dbpath "$4/stage/rpmdb" -bb "$4/stage/spec" >&2
rm -r "$4/stage"
"#;

fn names(directory: &Path) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    files(directory).unwrap().iter().map(name).collect()
}

#[test]
fn a_release_is_made_signed_and_verified_by_whoever_gets_it() {
    let tree = Tree::new();
    let [secret, public] = tree.key("ours");
    let place = tree.make(&["--key", &secret, "--public-key", &public]).unwrap();
    assert_eq!(place, tree.path("target/dist/1.2.3"));
    let binary = Names::of("1.2.3").binary;
    let expected = [
        "SHA256SUMS",
        "SHA256SUMS.minisig",
        &binary,
        "kasm-bootstrap-1.2.3.cdx.json",
        "kasm-bootstrap-1.2.3.tar.gz",
        "kasm-bootstrap.rpm",
        "kasm-bootstrap_1.2.3-1_all.deb",
    ];
    assert_eq!(names(&place), expected);
    // What docs/release.md tells whoever gets it to type.
    let by_hand = |program: &str, args: &[&str]| {
        let output = Command::new(program).current_dir(&place).args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let said = by_hand("minisign", &["-V", "-p", &public, "-m", "SHA256SUMS"]);
    assert!(said.contains("Trusted comment: kasm-bootstrap 1.2.3"), "{said}");
    let said = by_hand("sha256sum", &["--check", "SHA256SUMS"]);
    assert_eq!(said.lines().filter(|line| line.ends_with(": OK")).count(), 5, "{said}");
    assert_eq!(by_hand(&format!("./{binary}"), &["--version"]), "kasm-bootstrap 1.2.3\n");
}

#[test]
fn the_same_tree_gives_the_same_checksums_of_all_but_the_packages() {
    let tree = Tree::new();
    let sums = || {
        let text = fs::read_to_string(tree.make(&[]).unwrap().join(SUMS)).unwrap();
        text.lines()
            .filter(|line| !line.ends_with(".deb") && !line.ends_with(".rpm"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let first = sums();
    assert_eq!(first.len(), 3);
    // A second one takes the place of the first.
    assert_eq!(first, sums());
    assert!(!tree.path("target/dist/1.2.3.partial").exists());
}

#[test]
fn what_is_not_committed_is_no_release() {
    let tree = Tree::new();
    tree.write("new-file", "");
    let error = tree.refused(&[]);
    assert!(error.contains("not what is committed (?? new-file)") && error.contains("--allow-dirty"), "{error}");
    assert!(!tree.path("target/built").exists(), "something was built");
    tree.make(&["--allow-dirty"]).unwrap();
}

#[test]
fn a_version_without_an_entry_in_the_changelog_is_no_release() {
    let tree = Tree::new();
    for (from, to) in [("[1.2.3]", "[1.2.4]"), ("2026-11-23", "soon"), ("- Everything.", "")] {
        tree.write("CHANGELOG.md", &CHANGELOG.replace(from, to));
        tree.commit();
        let error = tree.refused(&[]);
        assert!(error.contains("CHANGELOG.md has no entry `## [1.2.3] - YYYY-MM-DD`"), "{to}: {error}");
    }
    assert!(refuse::has_entry(CHANGELOG, "1.2.3"));
}

#[test]
fn a_binary_or_a_package_of_another_version_is_found_out() {
    let tree = Tree::new();
    let other = tree.path("target/other");
    tree.script("target/other", "echo kasm-bootstrap 1.2.30");
    let error = tree.refused(&["--binary", other.to_str().unwrap()]);
    assert!(error.contains("says `kasm-bootstrap 1.2.30`"), "{error}");
    // Packages of an earlier build.
    let packages = tree.path("target/packages");
    let packages = packages.to_str().unwrap();
    let binary = tree.path("target/first");
    tree.script("target/first", "echo kasm-bootstrap 1.2.3 # first");
    run(Command::new(tree.path("scripts/package")).arg("--binary").arg(&binary).args(["--output", packages])).unwrap();
    let error = tree.refused(&["--packages", packages]);
    assert!(error.contains("the binary in kasm-bootstrap.rpm is another one"), "{error}");
    tree.make(&["--packages", packages, "--binary", binary.to_str().unwrap()]).unwrap();
}

#[test]
fn a_release_that_was_changed_afterwards_is_found_out() {
    let tree = Tree::new();
    let [secret, public] = tree.key("ours");
    let words = ["--key", &secret, "--public-key", &public];
    let place = tree.make(&words).unwrap();
    let signer = refuse::signer(&Options::parse(&words).unwrap()).unwrap().unwrap();
    verify::checksums(&place).unwrap();
    verify::signature(&place, "1.2.3", &signer).unwrap();
    let error = verify::signature(&place, "1.2.4", &signer).unwrap_err().to_string();
    assert!(error.contains("the signature is of `kasm-bootstrap 1.2.3`"), "{error}");

    fs::write(place.join("one-more"), "").unwrap();
    let error = verify::checksums(&place).unwrap_err().to_string();
    assert!(error.contains("SHA256SUMS does not have one-more"), "{error}");
    fs::remove_file(place.join("one-more")).unwrap();

    fs::write(place.join("kasm-bootstrap-1.2.3.cdx.json"), "{ }").unwrap();
    let error = verify::checksums(&place).unwrap_err().to_string();
    assert!(error.contains("sha256sum failed"), "{error}");
    // With checksums that fit it again, the signature does not.
    checksums_anew(&place);
    verify::checksums(&place).unwrap();
    let error = verify::signature(&place, "1.2.3", &signer).unwrap_err().to_string();
    assert!(error.contains("the signature is not right"), "{error}");
}

fn checksums_anew(place: &Path) {
    let signature = fs::read(place.join(SIGNATURE)).unwrap();
    fs::remove_file(place.join(SIGNATURE)).unwrap();
    fs::remove_file(place.join(SUMS)).unwrap();
    checksums(place).unwrap();
    fs::write(place.join(SIGNATURE), signature).unwrap();
}

#[test]
fn a_key_is_refused_before_anything_is_made() {
    let tree = Tree::new();
    let ([secret, public], [_, another]) = (tree.key("ours"), tree.key("theirs"));
    let error = tree.refused(&["--key", &secret]);
    assert!(error.contains("--key and --public-key belong together"), "{error}");
    let error = tree.refused(&["--key", &secret, "--public-key", &secret]);
    assert!(error.contains("is no minisign public key"), "{error}");
    assert!(!tree.path("target/built").exists(), "something was built");
    // Only a signature shows that two keys are not a pair.
    let error = tree.refused(&["--key", &secret, "--public-key", &another]);
    assert!(error.contains("the signature is not right"), "{error}");
    tree.make(&["--key", &secret, "--public-key", &public]).unwrap();
}

#[test]
fn what_is_not_understood_is_not_guessed() {
    assert!(Options::parse(&["--sign"]).is_none());
    assert!(Options::parse(&["--key"]).is_none());
    assert!(Options::parse(&[]).is_some_and(|options| !options.allow_dirty && options.key.is_none()));
}

#[test]
fn a_password_goes_to_the_program_by_its_standard_input() {
    assert_eq!(run_with(&mut Command::new("cat"), b"a password\n").unwrap(), "a password\n");
    let error = run_with(&mut Command::new("false"), b"a password\n").unwrap_err().to_string();
    assert!(error.contains("false failed") && !error.contains("a password"), "{error}");
}
