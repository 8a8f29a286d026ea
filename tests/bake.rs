//! Baking an image, and machines made from it: the real binary on a scratch machine, with the real apt and
//! dpkg where packages are about.

mod common;

use common::{Scene, TOKEN, picture, run, spoken};
use kasm_stand_in::mirror::Mirror;
use kasm_stand_in::release::Options;
use serde_json::Value;
use sha2::Digest;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const IMAGES: &str = "/kasm_release_service_images_amd64_1.18.1.tar.gz";

/// A mirror with a file of container images, its URL with its digest, and the digest.
fn images(content: &[u8]) -> (Mirror, String, String) {
    let digest: String = sha2::Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    let mirror = Mirror::plain(&[(IMAGES, content)]);
    let url = format!("{}#sha256={digest}", mirror.url(IMAGES));
    (mirror, url, digest)
}

fn bake(scene: &Scene, more: &[&str]) -> Command {
    let mut command = scene.command();
    command.arg("bake").args(more);
    command
}

fn json(command: &mut Command) -> Value {
    let (code, out, err) = spoken(&run(command.arg("--json")));
    assert_eq!(code, 0, "{out}{err}");
    serde_json::from_str(&out).unwrap()
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// What a machine that has booted has, and no image should.
fn lived_in(root: &Path) {
    for path in [
        "var/lib/kasm-bootstrap/journal.jsonl.1",
        "var/lib/kasm-bootstrap/installed.json",
        "var/lib/kasm-bootstrap/attempts/1/installer.log",
        "run/kasm-bootstrap/user-data.toml",
        "var/lib/cloud/instances/i-1/boot-finished",
        "var/lib/cloud/seed/nocloud/user-data",
        "var/log/cloud-init.log",
        "etc/ssh/ssh_host_ed25519_key",
        "etc/ssh/ssh_host_ed25519_key.pub",
        "etc/ssh/sshd_config",
        "etc/machine-id",
        "var/lib/dbus/machine-id",
        "var/lib/systemd/random-seed",
        "var/lib/apt/lists/deb.example_dists_stable_InRelease",
        "var/cache/apt/archives/slow_1_all.deb",
        "var/log/journal/0123456789abcdef0123456789abcdef/system.journal",
        "var/log/auth.log",
        "var/log/auth.log.1",
        "var/log/messages-20260102",
        "var/log/wtmp",
        "var/log/apt/history.log",
    ] {
        write(root, path, "# a machine's own\n");
    }
    fs::set_permissions(root.join("var/lib/kasm-bootstrap"), fs::Permissions::from_mode(0o700)).unwrap();
}

/// The release's flags, as they are for a release whose digest Kasm does not publish.
fn release(scene: &Scene) -> [String; 4] {
    ["--release-url".into(), scene.url(), "--sha256".into(), scene.release.sha256.clone()]
}

/// `install` without a word about the release.
fn install(scene: &Scene) -> Command {
    let mut args = scene.install_args();
    for flag in ["--release-url", "--sha256"] {
        let at = args.iter().position(|arg| arg == flag).unwrap();
        args.drain(at..at + 2);
    }
    let mut command = scene.command();
    command.arg("install").args(args);
    command
}

#[test]
fn a_machine_made_from_a_baked_image_asks_no_mirror_for_anything() {
    let scene = Scene::new(&Options::default());
    let (mirror, url, digest) = images(b"\x1f\x8b\x08layers");
    let flags = release(&scene);
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["--fetch", &url, "--no-packages"]).collect();
    let report = json(&mut bake(&scene, &flags));
    assert_eq!(report["result"], "done");
    assert_eq!(report["baked"]["releases"][0]["sha256"], scene.release.sha256.as_str());
    assert_eq!(report["baked"]["images"][0]["kind"], "service");
    let asked = (scene.mirror.requests().len(), mirror.requests().len());

    let (code, out, err) = spoken(&run(&mut install(&scene)));
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!((scene.mirror.requests().len(), mirror.requests().len()), asked);
    let said = format!("{:?}", scene.journal());
    assert!(said.contains(&format!("--offline-service {}", "")), "{said}");
    assert!(said.contains(&format!("kasm-bootstrap/{digest}.tar.gz")) && said.contains("SHA-256 verified"), "{said}");
    assert_eq!(scene.status()["state"], "done");
}

#[test]
fn baked_images_that_were_changed_do_not_reach_the_installer() {
    let scene = Scene::new(&Options::default());
    let (_mirror, url, digest) = images(b"\x1f\x8b\x08layers");
    let flags = release(&scene);
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["--fetch", &url, "--no-packages"]).collect();
    json(&mut bake(&scene, &flags));
    fs::write(scene.root.join(format!("var/cache/kasm-bootstrap/{digest}.tar.gz")), b"\x1f\x8b\x08lovers").unwrap();

    let (code, _, err) = spoken(&run(&mut install(&scene)));
    assert_eq!(code, 16, "{err}");
    let error = err[err.find("error: ").unwrap()..]
        .replace(&digest, "[digest]")
        .replace(&found(b"\x1f\x8b\x08lovers"), "[found]");
    insta::assert_snapshot!(error, @r#"
    error: the container images in /var/cache/kasm-bootstrap/[digest].tar.gz are not what was baked: their SHA-256 is [found] [digest.mismatch]
    help: remove /var/cache/kasm-bootstrap/[digest].tar.gz and bake the image again; here, `kasm-bootstrap release fetch --sha256 [digest] URL` fetches them anew
    "#);
    assert!(!scene.root.join("opt/kasm").exists());
}

fn found(content: &[u8]) -> String {
    sha2::Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_second_run_does_nothing() {
    let scene = Scene::new(&Options::default());
    lived_in(&scene.root);
    let (mirror, url, _) = images(b"\x1f\x8b\x08layers");
    let flags = release(&scene);
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["--fetch", &url, "--no-packages"]).collect();
    assert_eq!(json(&mut bake(&scene, &flags))["result"], "done");
    fs::remove_file(scene.root.join("var/lib/kasm-bootstrap/lock")).unwrap();
    let before = (picture(&scene.root), scene.mirror.requests().len(), mirror.requests().len());

    let report = json(&mut bake(&scene, &flags));
    assert_eq!(report["result"], "already", "{report:#}");
    fs::remove_file(scene.root.join("var/lib/kasm-bootstrap/lock")).unwrap();
    assert_eq!((picture(&scene.root), scene.mirror.requests().len(), mirror.requests().len()), before);
    // Without flags it goes by what it wrote into the configuration.
    assert_eq!(json(&mut bake(&scene, &["--no-packages"]))["result"], "already");
    assert_eq!(scene.mirror.requests().len(), before.1);
}

#[test]
fn what_belongs_to_one_machine_is_gone_and_the_rest_is_not() {
    let scene = Scene::new(&Options::default());
    lived_in(&scene.root);
    let flags = release(&scene);
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["--no-packages"]).collect();
    let report = json(&mut bake(&scene, &flags));
    let left: Vec<String> = picture(&scene.root)
        .into_iter()
        .filter_map(|line| {
            let path = line.split(' ').next()?.strip_prefix(scene.root.to_str().unwrap())?.to_owned();
            Path::new(&scene.root).join(path.trim_start_matches('/')).is_file().then_some(path)
        })
        .map(|path| path.replace(&scene.release.sha256, "[digest]"))
        .collect();
    insta::assert_snapshot!(left.join("\n"), @r#"
    /etc/fstab
    /etc/hosts
    /etc/kasm-bootstrap/config.d/10-baked.toml
    /etc/machine-id
    /etc/os-release
    /etc/ssh/sshd_config
    /usr/bin/apt-get
    /var/cache/apt/archives/lock
    /var/cache/kasm-bootstrap/[digest].tar.gz
    /var/lib/apt/lists/lock
    /var/lib/cloud/seed/nocloud/user-data
    /var/lib/dpkg/lock
    /var/lib/dpkg/lock-frontend
    /var/lib/kasm-bootstrap/baked.json
    /var/lib/kasm-bootstrap/lock
    /var/log/apt/history.log
    /var/log/auth.log
    /var/log/wtmp
    "#);
    for emptied in ["etc/machine-id", "var/log/auth.log", "var/log/wtmp"] {
        assert_eq!(fs::read(scene.root.join(emptied)).unwrap(), b"", "{emptied}");
    }
    insta::assert_snapshot!(report["baked"]["cleaned"].to_string(), @r#"["our own state","cloud-init's state","ssh host keys","the machine id","D-Bus's copy of it","systemd's random seed and credential key","logs","apt's lists and downloads"]"#);
    let config = fs::read_to_string(scene.root.join("etc/kasm-bootstrap/config.d/10-baked.toml")).unwrap();
    let config = config.replace(&scene.release.sha256, "[digest]").replace(&scene.mirror.url(""), "http://[mirror]");
    insta::assert_snapshot!(config, @r#"
    # Written by `kasm-bootstrap bake`: what is in this image. User-data, the environment and flags can say otherwise.
    [release]
    version = "1.18.1"
    sha256 = "[digest]"
    urls = ["http://[mirror]/kasm_release_1.18.1.tar.gz"]
    "#);
}

#[test]
fn without_cloud_init_the_ssh_host_keys_stay_because_nothing_would_make_new_ones() {
    let scene = Scene::new(&Options::default());
    let key = "etc/ssh/ssh_host_rsa_key";
    write(&scene.root, key, "a key\n");
    let (code, _, err) = spoken(&run(&mut bake(&scene, &["--no-packages"])));
    assert_eq!(code, 0, "{err}");
    assert!(scene.root.join(key).exists() && err.contains("the ssh host keys stay"), "{err}");
}

#[test]
fn a_node_is_not_baked_and_keeps_its_identity() {
    let scene = Scene::new(&Options::default());
    assert_eq!(spoken(&run(&mut scene.install(&[]))).0, 0);
    write(&scene.root, "etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    let (code, _, err) = spoken(&run(&mut bake(&scene, &["--no-packages"])));
    assert_eq!(code, 12, "{err}");
    insta::assert_snapshot!(err[err.find("error: ").unwrap()..].trim_end(), @r#"
    error: Kasm 1.18.1 is installed here, and baking would take this machine's identity from it [bake.in-use]
    help: bake a fresh machine that is only there to become an image; to fetch releases and packages here all the same, leave the clean-up out with --no-clean
    "#);
    assert!(fs::read_to_string(scene.root.join("etc/machine-id")).unwrap().starts_with("0123"));
    // Its release is fetched all the same where that is all that is wanted.
    assert_eq!(spoken(&run(&mut bake(&scene, &["--no-packages", "--no-clean"]))).0, 0);
}

#[test]
fn a_wrong_digest_ends_the_run_before_anything_is_cleaned_or_configured() {
    let scene = Scene::new(&Options::default());
    lived_in(&scene.root);
    let url = format!("{}#sha256={}", scene.url(), found(b"another"));
    let (code, _, err) = spoken(&run(&mut bake(&scene, &["--release-url", &url, "--no-packages"])));
    assert_eq!(code, 16, "{err}");
    assert!(
        !scene.root.join("etc/kasm-bootstrap").exists() && scene.root.join("etc/ssh/ssh_host_ed25519_key").exists()
    );
    assert!(!scene.root.join("var/lib/kasm-bootstrap/baked.json").exists());
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let scene = Scene::new(&Options::default());
    lived_in(&scene.root);
    let before = picture(&scene.root);
    let flags = release(&scene);
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["--dry-run", "--skip", "images"]).collect();
    let (code, out, err) = spoken(&run(&mut bake(&scene, &flags)));
    assert_eq!((code, err.as_str()), (0, ""));
    insta::assert_snapshot!(out.trim_end(), @"
    bake: within 30 min 00 s
      1. check         see that this is a machine to make an image of
      2. packages      wait for apt, then install what is not there of: docker-ce or
                       docker.io, docker-compose-plugin or docker-compose-v2 or
                       docker-compose, openssl, lsof, curl, iproute2, iptables, gpg,
                       sudo, fuse or fuse3, wireguard-tools
      3. releases      fetch and verify Kasm 1.18.1 (after check)
      4. images        left out (--skip)
      5. rclone        make the directories that Docker's rclone plugin needs (after
                       check)
      6. configuration write /etc/kasm-bootstrap/config.d/10-baked.toml (after
                       images)
      7. clean         remove what belongs to one machine alone: our own state,
                       cloud-init's, ssh host keys, the machine id, its logs, apt's
                       lists (after packages, rclone, configuration)
      8. record        write /var/lib/kasm-bootstrap/baked.json
    ");
    assert_eq!(picture(&scene.root), before);
    assert_eq!(scene.mirror.requests().len(), 0);
}

#[test]
fn several_releases_are_baked_and_the_first_flag_is_the_one_that_machines_install() {
    let scene = Scene::new(&Options::default());
    let other = Scene::new(&Options { version: "1.16.1.98d6fa".into(), ..Options::default() });
    write(
        &scene.root,
        "etc/kasm-bootstrap/config.toml",
        &format!("[release]\nurls = [\"{}\"]\nsha256 = \"{}\"\n", other.url(), other.release.sha256),
    );
    let url = format!("{}#sha256={}", scene.url(), scene.release.sha256);
    let report = json(&mut bake(&scene, &["--release-url", &url, "--no-packages"]));
    let versions: Vec<_> = report["baked"]["releases"].as_array().unwrap().iter().map(|one| &one["version"]).collect();
    assert_eq!(versions, ["1.18.1", "1.16.1"]);
    let (code, out, err) = spoken(&run(&mut install(&scene)));
    assert_eq!(code, 0, "{out}{err}");
    assert!(fs::read_link(scene.root.join("opt/kasm/current")).unwrap().ends_with("1.18.1"));
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    let scene = Scene::new(&Options::default());
    let (_mirror, url, digest) = images(b"\x1f\x8b\x08layers");
    for (flags, code) in [
        (vec!["--sha256", &digest], 2),
        (vec!["--release", "1.19.0", "--release", "1.18.1", "--sha256", &digest], 2),
        (vec!["--fetch", "https://m.example/images.tar.gz"], 2),
        (vec!["--fetch", &url, "--fetch", &url], 2),
        (vec!["--packages", "curl,--purge"], 2),
        (vec!["--packages", "curl", "--no-packages"], 2),
        (vec!["--skip", "check"], 2),
        (vec!["--release", "1.18.1"], 10),
    ] {
        let output = run(&mut bake(&scene, &flags));
        assert_eq!(output.status.code(), Some(code), "{flags:?}");
    }
    assert!(!scene.root.join("var/lib/kasm-bootstrap").exists());
}

/// A repository below the scene with these packages, made by the real dpkg-deb, and a machine whose apt has it as
/// its only source.
fn with_repository(packages: &[(&str, &str)]) -> (Scene, tempfile::TempDir) {
    let scene = Scene::new(&Options::default());
    let repository = tempfile::tempdir().unwrap();
    let mut index = String::new();
    for (name, version) in packages {
        let tree = repository.path().join(name);
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Nobody <nobody@example.com>\n\
             Description: a stand-in\n"
        );
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        fs::write(tree.join("DEBIAN/control"), &control).unwrap();
        let file = format!("{name}.deb");
        let status = Command::new("dpkg-deb")
            .args(["--root-owner-group", "-b"])
            .arg(&tree)
            .arg(repository.path().join(&file))
            .output()
            .unwrap()
            .status;
        assert!(status.success());
        let deb = fs::read(repository.path().join(&file)).unwrap();
        index.push_str(&format!("{control}Filename: ./{file}\nSize: {}\nSHA256: {}\n\n", deb.len(), found(&deb)));
    }
    fs::write(repository.path().join("Packages"), index).unwrap();
    let root = &scene.root;
    for path in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "var/log/apt"] {
        fs::create_dir_all(root.join(path)).unwrap();
    }
    for path in ["var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "etc/apt/preferences.d"] {
        fs::create_dir_all(root.join(path)).unwrap();
    }
    write(root, "var/lib/dpkg/status", "");
    let source = format!("deb [trusted=yes] file:{}/ ./\n", repository.path().display());
    write(root, "etc/apt/sources.list", &source);
    let config =
        "APT::Sandbox::User \"root\";\nDPkg::Options { \"--force-not-root\"; };\nAcquire::Languages \"none\";\n";
    write(root, "etc/apt/apt.conf.d/50test", config);
    (scene, repository)
}

const ALL: [(&str, &str); 13] = [
    ("docker.io", "26.1.5"),
    ("docker-compose-v2", "2.27.1"),
    ("docker-compose", "1.29.2-3"),
    ("openssl", "3.0"),
    ("lsof", "4.95"),
    ("curl", "7.88"),
    ("iproute2", "6.1"),
    ("iptables", "1.8"),
    ("gpg", "2.2"),
    ("sudo", "1.9"),
    ("fuse3", "3.14"),
    ("wireguard-tools", "1.0"),
    ("unasked", "1"),
];

#[test]
fn packages_come_from_what_this_machines_apt_has_and_are_not_installed_again() {
    let (scene, repository) = with_repository(&ALL);
    let report = json(&mut bake(&scene, &[]));
    let text =
        |package: &Value| format!("{} {}", package["name"].as_str().unwrap(), package["version"].as_str().unwrap());
    let mut packages: Vec<String> = report["baked"]["packages"].as_array().unwrap().iter().map(text).collect();
    packages.sort();
    insta::assert_snapshot!(packages.join(", "), @"curl 7.88, docker-compose-v2 2.27.1, docker.io 26.1.5, fuse3 3.14, gpg 2.2, iproute2 6.1, iptables 1.8, lsof 4.95, openssl 3.0, sudo 1.9, wireguard-tools 1.0");
    let status = fs::read_to_string(scene.root.join("var/lib/dpkg/status")).unwrap();
    assert_eq!(status.matches("Status: install ok installed").count(), 11);
    assert!(!scene.root.join("var/lib/kasm-bootstrap/apt.conf").exists());

    // With nothing to install there is nobody to ask.
    drop(repository);
    assert_eq!(json(&mut bake(&scene, &[]))["result"], "already");
}

#[test]
fn packages_can_be_chosen_by_name_and_by_version_and_one_that_apt_lacks_is_named() {
    let (scene, _repository) = with_repository(&ALL);
    let (code, _, err) = spoken(&run(&mut bake(&scene, &["--packages", "curl,nothing-like-it"])));
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("apt has no package nothing-like-it [bake.no-package]"), "{err}");
    let report = json(&mut bake(&scene, &["--packages", "curl=7.88,lsof"]));
    assert_eq!(report["baked"]["packages"].as_array().unwrap().len(), 2);
    let (code, _, err) = spoken(&run(&mut bake(&scene, &["--packages", "openssl=9"])));
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("[apt.failed]") && err.contains("because:"), "{err}");
}

#[test]
fn what_apt_does_not_have_is_a_warning_that_names_it() {
    let (scene, _repository) = with_repository(&ALL[2..12]);
    let (code, _, err) = spoken(&run(&mut bake(&scene, &[])));
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("apt has no docker-ce or docker.io, no docker-compose-plugin or"), "{err}");
}

#[test]
fn no_token_of_the_configuration_gets_into_the_image() {
    let scene = Scene::new(&Options::default());
    write(&scene.root, "etc/kasm-bootstrap/config.toml", "role = \"agent\"\n");
    let [_, url, _, sha256] = release(&scene);
    let secret = format!("{url}?signature={TOKEN}");
    let output = run(bake(&scene, &["--release-url", &secret, "--sha256", &sha256, "--no-packages"])
        .env("KASM_BOOTSTRAP_MANAGER_TOKEN", TOKEN));
    let (code, _, err) = spoken(&output);
    assert_eq!(code, 0, "{err}");
    assert_eq!(scene.files_with_the_token(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_token_that_stays_in_the_image_is_warned_of() {
    let scene = Scene::new(&Options::default());
    let path = scene.root.join("etc/kasm-bootstrap/config.toml");
    write(&scene.root, "etc/kasm-bootstrap/config.toml", &format!("[manager]\ntoken = \"{TOKEN}\"\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let (code, out, err) = spoken(&run(&mut bake(&scene, &["--no-packages"])));
    assert_eq!(code, 0, "{err}");
    let warnings: Vec<&str> = err.lines().filter(|line| line.starts_with("warning: ")).collect();
    insta::assert_snapshot!(warnings.join("\n").replace(scene.root.to_str().unwrap(), "[root]"), @"warning: manager.token ([root]/etc/kasm-bootstrap/config.toml:2) stays in the image: every machine made from it has it");
    assert!(!out.contains(TOKEN) && !err.contains(TOKEN) && path.exists());
}
