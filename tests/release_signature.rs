//! Releases signed with minisign: what fits is taken, and nothing else is, wherever it comes from.

mod common;
mod signing;

use common::Scene;
use kasm_bootstrap::deadline::Deadline;
use kasm_bootstrap::error::Failure;
use kasm_bootstrap::intent::Source;
use kasm_bootstrap::net;
use kasm_bootstrap::observe::Silent;
use kasm_bootstrap::paths::Paths;
use kasm_bootstrap::release::{Cache, Digest, Request, Wanted, fetch};
use kasm_stand_in::mirror::{Fault, Mirror};
use kasm_stand_in::release::Options;
use sha2::Digest as _;
use signing::Signer;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const NAME: &str = "/kasm_release_1.18.1.tar.gz";
const SIGNATURE: &str = "/kasm_release_1.18.1.tar.gz.minisig";

fn digest(bytes: &[u8]) -> Digest {
    Digest::new(sha2::Sha256::digest(bytes).into())
}

fn tarball(length: usize) -> Vec<u8> {
    let noise = (0..length as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8);
    [0x1f, 0x8b].into_iter().chain(noise).collect()
}

fn mirror(tarball: &[u8], signature: &str) -> Mirror {
    Mirror::plain(&[(NAME, tarball), (SIGNATURE, signature.as_bytes())])
}

/// A cache, and a signer whose key is given.
struct Bench {
    directory: tempfile::TempDir,
    signer: Signer,
}

impl Bench {
    fn new() -> Bench {
        Bench { directory: tempfile::tempdir().unwrap(), signer: Signer::new(7) }
    }

    fn wanted(&self, digest: Option<Digest>) -> Wanted {
        Wanted::Signed { key: self.signer.key().parse().unwrap(), digest }
    }

    fn fetch_as(&self, sources: Vec<Source>, wanted: Wanted) -> Result<PathBuf, Failure> {
        let client = net::client(&Paths::below(self.directory.path()), &net::Options::default())?;
        let cache = Cache::below(self.directory.path().join("cache"));
        let request = Request::new(sources, wanted);
        let work = fetch(&request, &client, &cache, Deadline::after(Duration::from_secs(60)), &Silent);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Ok(runtime.block_on(work)?.path().to_owned())
    }

    fn fetch(&self, mirrors: &[&Mirror], digest: Option<Digest>) -> Result<PathBuf, Failure> {
        let sources = mirrors.iter().map(|mirror| Source::Url(mirror.url(NAME))).collect();
        self.fetch_as(sources, self.wanted(digest))
    }

    fn kept(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path().join("cache")).into_iter().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.contains(".partial"));
        names.sort();
        names
    }
}

fn targets(mirror: &Mirror) -> Vec<String> {
    mirror.requests().iter().map(|request| request.target.clone()).collect()
}

#[test]
fn a_signed_release_needs_no_digest_and_is_kept_with_its_signature() {
    let (bench, bytes) = (Bench::new(), tarball(300_000));
    let mirror = mirror(&bytes, &bench.signer.sign(&bytes));
    let path = bench.fetch(&[&mirror], None).unwrap();
    assert!(fs::read(path).unwrap() == bytes);
    let name = format!("{}.tar.gz", digest(&bytes));
    assert_eq!(bench.kept(), [name.clone(), format!("{name}.minisig")]);
    // The signature comes first; the second time it alone is asked for.
    bench.fetch(&[&mirror], None).unwrap();
    assert_eq!(targets(&mirror), [SIGNATURE, NAME, SIGNATURE]);
    // With a digest nobody has to be asked.
    bench.fetch(&[&mirror], Some(digest(&bytes))).unwrap();
    assert_eq!(targets(&mirror).len(), 3);
}

#[test]
fn what_was_kept_without_a_signature_is_not_taken_without_one() {
    let (bench, bytes) = (Bench::new(), tarball(50_000));
    let unsigned = Mirror::plain(&[(NAME, &bytes)]);
    let source = || vec![Source::Url(unsigned.url(NAME))];
    bench.fetch_as(source(), Wanted::Pinned(digest(&bytes))).unwrap();
    let failure = bench.fetch(&[&unsigned], Some(digest(&bytes))).unwrap_err();
    assert_eq!((failure.reason.as_str(), failure.code), ("signature.missing", 16));
    // The tarball itself is there; the signature is all that is asked for.
    let signed = mirror(&bytes, &bench.signer.sign(&bytes));
    bench.fetch(&[&signed], Some(digest(&bytes))).unwrap();
    assert_eq!(targets(&signed), [SIGNATURE]);
}

#[test]
fn every_flaw_has_its_name_and_nothing_is_kept() {
    let bytes = tarball(50_000);
    let signer = Signer::new(7);
    let good = signer.sign(&bytes);
    let cases = [
        ("nothing", None, "signature.missing", false),
        ("a web page", Some("<html>not here</html>".to_owned()), "signature.missing", false),
        ("too long", Some(format!("{good}{}", "x".repeat(9000))), "signature.missing", false),
        ("half of one", Some(good[..good.len() / 2].to_owned()), "signature.missing", false),
        ("the old kind", Some(signer.sign_the_old_way(&bytes)), "signature.missing", false),
        ("another key", Some(Signer::new(8).sign(&bytes)), "signature.key", false),
        ("of another file", Some(signer.sign(b"another")), "signature.mismatch", true),
        ("another comment", Some(good.replace("a release", "b release")), "signature.mismatch", true),
    ];
    for (what, signature, reason, downloads) in cases {
        for pinned in [None, Some(digest(&bytes))] {
            let bench = Bench::new();
            let mut files = vec![(NAME, bytes.as_slice())];
            files.extend(signature.as_ref().map(|text| (SIGNATURE, text.as_bytes())));
            let mirror = Mirror::plain(&files);
            let failure = bench.fetch(&[&mirror], pinned).unwrap_err();
            assert_eq!((failure.reason.as_str(), failure.code), (reason, 16), "{what}: {failure:?}");
            assert!(failure.causes[0].contains(".minisig"), "{what}: {failure:?}");
            assert_eq!(bench.kept(), Vec::<String>::new(), "{what}");
            assert_eq!(targets(&mirror).contains(&NAME.to_owned()), downloads, "{what}");
        }
    }
}

#[test]
fn the_key_id_alone_convinces_nobody() {
    let (bench, bytes) = (Bench::new(), tarball(50_000));
    // Another key's signature that claims to be ours: both begin with two letters and eight bytes of id.
    let (ours, theirs) = (bench.signer.sign(&bytes), Signer::new(8).sign(&bytes));
    let forged: Vec<String> = ours
        .lines()
        .zip(theirs.lines())
        .enumerate()
        .map(|(at, (our, their))| match at {
            1 => format!("{}{}", &our[..12], &their[12..]),
            _ => their.to_owned(),
        })
        .collect();
    let failure = bench.fetch(&[&mirror(&bytes, &forged.join("\n"))], None).unwrap_err();
    assert!(["signature.mismatch", "signature.key"].contains(&failure.reason.as_str()), "{failure:?}");
}

#[test]
fn a_digest_that_does_not_match_is_said_although_the_signature_does() {
    let (bench, bytes) = (Bench::new(), tarball(50_000));
    let mirror = mirror(&bytes, &bench.signer.sign(&bytes));
    let failure = bench.fetch(&[&mirror], Some(digest(b"another"))).unwrap_err();
    assert_eq!((failure.reason.as_str(), failure.code), ("digest.mismatch", 16));
    assert_eq!(bench.kept(), Vec::<String>::new());
}

#[test]
fn the_next_mirror_is_tried_and_right_bytes_are_not_asked_for_twice() {
    let (bench, bytes) = (Bench::new(), tarball(200_000));
    let unsigned = Mirror::plain(&[(NAME, &bytes)]);
    let wrong = mirror(&bytes, &bench.signer.sign(b"another"));
    let good = mirror(&bytes, &bench.signer.sign(&bytes));
    bench.fetch(&[&unsigned, &wrong, &good], Some(digest(&bytes))).unwrap();
    assert!(wrong.sent() >= bytes.len() as u64);
    assert!(good.sent() < 1000, "{} bytes were sent again", good.sent());

    let bench = Bench::new();
    let path = bench.fetch(&[&unsigned, &wrong, &good], None).unwrap();
    assert!(fs::read(path).unwrap() == bytes);
}

#[test]
fn a_cut_download_without_a_digest_goes_on_where_it_ended() {
    let (bench, bytes) = (Bench::new(), tarball(900_000));
    let mirror = mirror(&bytes, &bench.signer.sign(&bytes));
    mirror.script([Fault::None, Fault::Cut(400_000), Fault::None, Fault::Cut(300_000)]);
    bench.fetch(&[&mirror], None).unwrap();
    assert!(mirror.sent() < 2 * bytes.len() as u64, "{}", mirror.sent());
    assert!(mirror.ranges().iter().flatten().count() >= 2);
}

#[test]
fn a_mirror_that_is_busy_is_asked_again_for_the_signature() {
    let (bench, bytes) = (Bench::new(), tarball(50_000));
    let mirror = mirror(&bytes, &bench.signer.sign(&bytes));
    mirror.script([Fault::Status("503 Service Unavailable", Vec::new())]);
    bench.fetch(&[&mirror], None).unwrap();
}

#[test]
fn a_file_is_held_to_the_signature_beside_it() {
    let (bench, bytes) = (Bench::new(), tarball(50_000));
    let path = bench.directory.path().join("release.tar.gz");
    fs::write(&path, &bytes).unwrap();
    let fetch = || bench.fetch_as(vec![Source::File(path.clone())], bench.wanted(None));
    assert_eq!(fetch().unwrap_err().reason, "signature.missing");
    let signature = bench.directory.path().join("release.tar.gz.minisig");
    fs::write(&signature, bench.signer.sign(&bytes)).unwrap();
    assert_eq!(fetch().unwrap(), path);
    fs::write(&path, tarball(50_001)).unwrap();
    assert_eq!(fetch().unwrap_err().reason, "signature.mismatch");
}

/// The binary's exit code, output and errors, with the directory's name made equal.
fn release(bench: &Bench, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap"));
    let root = bench.directory.path().join("root");
    command.current_dir(bench.directory.path()).arg("--root").arg(root).arg("release").args(args);
    let output = command.output().unwrap();
    let place = bench.directory.path().canonicalize().unwrap().display().to_string();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&place, "DIR");
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_release_command_takes_the_key_or_its_file() {
    let bench = Bench::new();
    let scene = Scene::new(&Options::default());
    let bytes = &scene.release.tar_gz;
    let at = |name: &str| bench.directory.path().join(name);
    fs::write(at("release.tar.gz"), bytes).unwrap();
    fs::write(at("release.tar.gz.minisig"), bench.signer.sign(bytes)).unwrap();
    fs::write(at("minisign.pub"), bench.signer.key_file()).unwrap();
    let key = bench.signer.key();

    let (code, out, _) = release(&bench, &["verify", "--minisign-key", &key, "release.tar.gz"]);
    assert_eq!((code, out.as_str()), (0, "release.tar.gz: OK\n"));
    let (code, _, err) = release(&bench, &["unpack", "--minisign-key", "./minisign.pub", "release.tar.gz", "there"]);
    assert_eq!(code, 0, "{err}");
    assert!(at("there/kasm_release/install.sh").exists());

    let other = Signer::new(9).key();
    let (code, _, err) = release(&bench, &["verify", "--minisign-key", &other, "release.tar.gz"]);
    assert_eq!(code, 16);
    insta::assert_snapshot!(err, @r"
    error: the signature of the release was made with another key [signature.key]
      because: release.tar.gz: its .minisig was made with another key
    help: compare the minisign key given here with the minisign.pub of whoever signs your releases, and give the right one with --minisign-key
    ");
    fs::write(at("release.tar.gz"), [bytes.as_slice(), b"x"].concat()).unwrap();
    let (code, _, err) = release(&bench, &["unpack", "--minisign-key", "minisign.pub", "release.tar.gz", "here"]);
    assert_eq!(code, 16);
    assert!(!at("here").exists());
    insta::assert_snapshot!(err, @r"
    error: the signature does not match the release [signature.mismatch]
      because: release.tar.gz: its .minisig does not match it
    help: do not use this file; find out who changed the tarball or its .minisig; where it was rebuilt on purpose, sign it again: minisign -Sm TARBALL
    ");
    fs::remove_file(at("release.tar.gz.minisig")).unwrap();
    let (code, _, err) = release(&bench, &["verify", "--minisign-key", "minisign.pub", "release.tar.gz"]);
    assert_eq!(code, 16);
    insta::assert_snapshot!(err, @r"
    error: the release has no usable signature [signature.missing]
      because: release.tar.gz: release.tar.gz.minisig cannot be read: No such file or directory (os error 2)
    help: sign the tarball (minisign -Sm TARBALL) and put the TARBALL.minisig beside it, or do not give a minisign key
    ");
    let (code, _, err) = release(&bench, &["verify", "--minisign-key", "/nowhere.pub", "release.tar.gz"]);
    assert_eq!(code, 10);
    insta::assert_snapshot!(err, @r"
    error: the minisign public key /nowhere.pub cannot be read [signature.unreadable-key]
      because: No such file or directory (os error 2)
    help: give the line of minisign.pub that begins with RW, or the path of that file
    ");
    let (code, ..) = release(&bench, &["verify", "release.tar.gz"]);
    assert_eq!(code, 2, "neither a digest nor a key");
    let (code, ..) = release(&bench, &["verify", "--minisign-key", "RWnonsense", "release.tar.gz"]);
    assert_eq!(code, 2);
}

#[test]
fn a_signed_release_is_fetched_to_a_file_with_its_signature_beside_it() {
    let bench = Bench::new();
    let bytes = tarball(40_000);
    let mirror = mirror(&bytes, &bench.signer.sign(&bytes));
    let key = bench.signer.key();
    let (code, _, err) = release(&bench, &["fetch", "--minisign-key", &key, "-o", "x.tar.gz", &mirror.url(NAME)]);
    assert_eq!(code, 0, "{err}");
    let (code, out, err) = release(&bench, &["verify", "--minisign-key", &key, "x.tar.gz"]);
    assert_eq!((code, out.as_str()), (0, "x.tar.gz: OK\n"), "{err}");
}

#[test]
fn an_installation_demands_the_signature_and_names_it() {
    let mut scene = Scene::new(&Options::default());
    let signer = Signer::new(7);
    let name = format!("/kasm_release_{}.tar.gz", scene.release.version);
    let signature = format!("{name}.minisig");
    let bytes = scene.release.tar_gz.clone();
    let key = signer.key();
    let install = |scene: &Scene| {
        let mut args = scene.install_args();
        let at = args.iter().position(|arg| arg == "--sha256").unwrap();
        args.drain(at..at + 2);
        let mut command = scene.command();
        command.arg("install").args(args).args(["--minisign-key", &key]);
        common::spoken(&common::run(&mut command))
    };
    scene.mirror = Mirror::plain(&[(&name, &bytes), (&signature, signer.sign(b"another").as_bytes())]);
    let (code, _, err) = install(&scene);
    assert_eq!(code, 16, "{err}");
    assert!(err.contains("[signature.mismatch]"), "{err}");
    assert!(!scene.root.join("var/lib/kasm-bootstrap/unpacked").exists());

    scene.mirror = Mirror::plain(&[(&name, &bytes), (&signature, signer.sign(&bytes).as_bytes())]);
    let (code, _, err) = install(&scene);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("signature and SHA-256 verified"), "{err}");
    let receipt = fs::read_to_string(scene.root.join("var/lib/kasm-bootstrap/installed.json")).unwrap();
    assert!(receipt.contains(&scene.release.sha256), "the digest is known from the verified bytes: {receipt}");
}
