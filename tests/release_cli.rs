//! `kasm-bootstrap release` as an operator meets it: the real binary against a real mirror.

use kasm_stand_in::mirror::{Fault, Mirror};
use kasm_stand_in::tls;
use sha2::Digest as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const NAME: &str = "/kasm_release_1.18.1.tar.gz";

struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        Bench { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap"));
        command.arg("--root").arg(self.path("root")).arg("release").args(args).stdin(Stdio::null());
        for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
        command
    }

    fn run(&self, args: &[&str]) -> Said {
        Said::of(self, self.command(args).output().unwrap())
    }

    fn cached(&self, digest: &str) -> PathBuf {
        self.path(&format!("root/var/cache/kasm-bootstrap/{digest}.tar.gz"))
    }
}

/// What the binary said, with what differs between runs made equal.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn of(bench: &Bench, output: Output) -> Said {
        let tidy = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap().replace(&bench.directory.path().display().to_string(), "DIR");
            let mut tidy = String::new();
            let mut rest = text.as_str();
            while let Some(at) = rest.find("127.0.0.1:") {
                let (before, after) = rest.split_at(at + "127.0.0.1:".len());
                tidy.push_str(before);
                tidy.push_str("PORT");
                rest = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
            }
            tidy + rest
        };
        Said { code: output.status.code().unwrap_or(-1), out: tidy(output.stdout), err: tidy(output.stderr) }
    }
}

fn hex(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn release() -> Vec<u8> {
    let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(encoder);
    let mut header = tar::Header::new_gnu();
    let content = b"#!/bin/bash\n";
    header.set_size(content.len() as u64);
    header.set_mode(0o755);
    header.set_mtime(1_700_000_000);
    header.set_cksum();
    builder.append_data(&mut header, "kasm_release/install.sh", content.as_slice()).unwrap();
    builder.into_inner().unwrap().finish().unwrap()
}

/// Bytes that begin like gzip and do not repeat.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = vec![0x1f, 0x8b];
    bytes.resize_with(length, || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    });
    bytes
}

fn mirror(bytes: &[u8]) -> Mirror {
    Mirror::plain(&[(NAME, bytes)])
}

#[test]
fn the_help_of_release() {
    insta::assert_snapshot!(Bench::new().run(&["--help"]).out, @r"
    Fetch, verify and unpack a kasm_release

    Usage: kasm-bootstrap release [OPTIONS] <COMMAND>

    Commands:
      fetch   Download a release, verify it, and print where it is
      verify  Check the SHA-256 of a file
      unpack  Verify a release and unpack it to DIR/kasm_release
      digest  Print the SHA-256 of a release, and the configuration that pins it
      list    What the cache holds

    Options:
      -h, --help  Print help

    Global options:
          --config <FILE>  Configuration file [default:
                           /etc/kasm-bootstrap/config.toml, then config.d/*.toml]
          --root <DIR>     Every path below DIR (for tests and images)
      -v, --verbose...     Say more; twice: say everything
      -q, --quiet          Say nothing but the answer and errors
          --json           The answer as one JSON document
          --no-color       No colour, whatever the terminal can do

    Examples:
      kasm-bootstrap release digest kasm_release_1.18.1.tar.gz
      kasm-bootstrap release list
    ");
    insta::assert_snapshot!(Bench::new().run(&["fetch", "--help"]).out, @r"
    Download a release, verify it, and print where it is

    Usage: kasm-bootstrap release fetch [OPTIONS] --sha256 <HEX|sidecar> <URL>...
           kasm-bootstrap release fetch [OPTIONS] --minisign-key <KEY> <URL>...

    Arguments:
      <URL>...  Mirrors in the order they are tried: https, http or file URLs, or
                paths

    Options:
          --sha256 <HEX|sidecar>  The SHA-256 it must have; the word sidecar trusts
                                  the .sha256sum beside it instead
          --minisign-key <KEY>    The minisign key (or its file) that signed the
                                  .minisig beside it: --sha256 may be left out
      -o, --output <FILE>         Put the verified file here instead of into the
                                  cache
          --ca-cert <FILE>        Trust this certificate authority, or this
                                  self-signed certificate (PEM)
          --tls-pin <PIN>         Trust exactly this certificate or public key:
                                  sha256:HEX, or base64
          --insecure              Do not verify certificates at all
          --deadline <SPAN>       Give up after this long: 90s, 30m, 2h [default:
                                  30m] [alias: --timeout]
      -h, --help                  Print help

    Global options:
          --config <FILE>  Configuration file [default:
                           /etc/kasm-bootstrap/config.toml, then config.d/*.toml]
          --root <DIR>     Every path below DIR (for tests and images)
      -v, --verbose...     Say more; twice: say everything
      -q, --quiet          Say nothing but the answer and errors
          --json           The answer as one JSON document
          --no-color       No colour, whatever the terminal can do

    Examples:
      kasm-bootstrap release fetch --sha256 sidecar https://mirror.example/k.tar.gz
    ");
}

#[test]
fn fetch_verify_and_unpack_end_with_a_release() {
    let (bench, bytes) = (Bench::new(), release());
    let (mirror, digest) = (mirror(&bytes), hex(&bytes));
    let fetched = bench.run(&["fetch", "--sha256", &digest, &mirror.url("/gone.tar.gz"), &mirror.url(NAME)]);
    assert_eq!(fetched.code, 0, "{}", fetched.err);
    assert_eq!(
        fetched.out.trim().replace("DIR", &bench.directory.path().display().to_string()),
        bench.cached(&digest).display().to_string()
    );
    insta::assert_snapshot!(fetched.err, @r"warning: http://127.0.0.1:PORT/gone.tar.gz: it answered 404 Not Found");

    let file = bench.cached(&digest).display().to_string();
    let verified = bench.run(&["verify", "--sha256", &digest.to_uppercase(), &file]);
    assert_eq!((verified.code, verified.out.ends_with(".tar.gz: OK\n")), (0, true), "{}", verified.err);

    let target = bench.path("target").display().to_string();
    let unpacked = bench.run(&["unpack", "--sha256", &digest, &file, &target]);
    assert_eq!((unpacked.code, unpacked.out.as_str()), (0, "DIR/target/kasm_release\n"), "{}", unpacked.err);
    assert!(Path::new(&target).join("kasm_release/install.sh").exists());

    let listed = bench.run(&["list"]);
    assert_eq!(
        listed.out,
        format!("in DIR/root/var/cache/kasm-bootstrap:\n{digest}  {:>8}\n", format!("{} B", bytes.len()))
    );
    let listed: serde_json::Value = serde_json::from_str(&bench.run(&["list", "--json"]).out).unwrap();
    assert_eq!(listed[0]["sha256"], digest);
}

#[test]
fn a_wrong_digest_is_exit_16_and_leaves_nothing() {
    let (bench, bytes) = (Bench::new(), release());
    let wanted = "7b801cb0579a7867df46b6da873fe8dd631db07d4c05349e5bd1aea27130c37d";
    let said = bench.run(&[
        "fetch",
        "--sha256",
        wanted,
        &mirror(&bytes).url(NAME),
        "-o",
        &bench.path("out").display().to_string(),
    ]);
    assert_eq!(said.code, 16);
    assert!(!bench.path("out").exists());
    let file = bench.path("file");
    fs::write(&file, &bytes).unwrap();
    let said = bench.run(&["verify", "--sha256", wanted, &file.display().to_string()]);
    assert_eq!(said.code, 16);
    assert!(said.err.contains(wanted) && said.err.contains(&hex(&bytes)), "{}", said.err);
    let said =
        bench.run(&["unpack", "--sha256", wanted, &file.display().to_string(), &bench.path("x").display().to_string()]);
    assert_eq!((said.code, bench.path("x").exists()), (16, false));
}

#[test]
fn a_digest_that_is_none_is_a_usage_error() {
    let said = Bench::new().run(&["verify", "--sha256", "abc", "/file"]);
    insta::assert_snapshot!(said.err, @r#"
    error: invalid value 'abc' for '--sha256 <HEX>': "abc" is not a SHA-256

    For more information, try '--help'.
    "#);
    assert_eq!(said.code, 2);
}

#[test]
fn an_archive_that_is_no_release_is_exit_17_in_json_too() {
    let (bench, file) = (Bench::new(), noise(100));
    fs::write(bench.path("file"), &file).unwrap();
    let (path, target) = (bench.path("file").display().to_string(), bench.path("x").display().to_string());
    let said = bench.run(&["unpack", "--json", "--sha256", &hex(&file), &path, &target]);
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (said.code, &json["error"]["exit"], &json["error"]["reason"]),
        (17, &17.into(), &"archive.broken".into())
    );
    assert!(!Path::new(&target).exists());
}

#[test]
fn fetch_to_a_file_puts_it_there_and_nothing_beside_it() {
    let (bench, bytes) = (Bench::new(), release());
    let (mirror, digest) = (mirror(&bytes), hex(&bytes));
    let out = bench.path("here/kasm.tar.gz");
    let args = ["fetch", "--sha256", &digest, &mirror.url(NAME), "-o", &out.display().to_string()];
    let said = bench.run(&args);
    assert_eq!((said.code, said.out.as_str()), (0, "DIR/here/kasm.tar.gz\n"), "{}", said.err);
    assert_eq!(fs::read(&out).unwrap(), bytes);
    assert_eq!(fs::read_dir(bench.path("here")).unwrap().count(), 1);
    assert!(!bench.path("root/var").exists());
    assert_eq!((bench.run(&args).code, mirror.requests().len()), (0, 1), "it is there already");
    let copy = bench.path("copy.tar.gz").display().to_string();
    let said = bench.run(&["fetch", "--sha256", &digest, &out.display().to_string(), "-o", &copy]);
    assert_eq!((said.code, fs::read(&copy).unwrap()), (0, bytes), "{}", said.err);
}

#[test]
fn digest_prints_what_to_paste_and_that_it_is_trust_on_first_use() {
    let (bench, bytes) = (Bench::new(), b"\x1f\x8bnot much".to_vec());
    let mirror = mirror(&bytes);
    let said = bench.run(&["digest", &mirror.url(&format!("{NAME}?token=secret"))]);
    insta::assert_snapshot!(said.out, @r#"
    e7d3b2cc083445c4d11a83d1f255dd6d755b86662970ad5f33891a4ec4bc809f

    [release]
    urls = ["http://127.0.0.1:PORT/kasm_release_1.18.1.tar.gz"]
    sha256 = "e7d3b2cc083445c4d11a83d1f255dd6d755b86662970ad5f33891a4ec4bc809f"
    "#);
    insta::assert_snapshot!(said.err, @r"
    note: credentials and query are left out of the URL below
    note: this trusts what was there just now; pin it, and compare it with what Kasm publishes
    ");
    fs::write(bench.path("file.tar.gz"), &bytes).unwrap();
    let said = bench.run(&["digest", "-q", &bench.path("file.tar.gz").display().to_string()]);
    assert!(
        said.out.contains("urls = [\"file://DIR/file.tar.gz\"]") && said.err.is_empty(),
        "{}{}",
        said.out,
        said.err
    );
}

#[test]
fn a_download_survives_kill_9() {
    let (bench, bytes) = (Bench::new(), noise(6_000_000));
    let (mirror, digest) = (mirror(&bytes), hex(&bytes));
    mirror.script([Fault::Stall(4_000_000)]);
    let url = mirror.url(NAME);
    let mut child = bench.command(&["fetch", "--sha256", &digest, &url]).stdout(Stdio::null()).spawn().unwrap();
    assert!(mirror.wait_for_stall(Duration::from_secs(30)));
    let partial = bench.cached(&digest).with_file_name(format!("{digest}.partial"));
    let written = || fs::metadata(&partial).map_or(0, |meta| meta.len());
    while written() < 3_000_000 {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();

    let said = bench.run(&["fetch", "--sha256", &digest, &url]);
    assert_eq!(said.code, 0, "{}", said.err);
    let range = mirror.ranges()[1].clone().expect("a Range header");
    let start: u64 = range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
    assert!(start >= 3_000_000, "{range}");
    assert!(mirror.sent() < 2 * bytes.len() as u64);
    assert_eq!(hex(&fs::read(bench.cached(&digest)).unwrap()), digest);
    assert!(!partial.exists());
}

#[test]
fn an_unpacking_that_is_killed_leaves_a_whole_release_or_none_and_nothing_for_the_next_one() {
    let bench = Bench::new();
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let content = noise(40_000);
    for n in 0..600 {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, format!("kasm_release/{n}"), content.as_slice()).unwrap();
    }
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o755);
    header.set_cksum();
    builder.append_data(&mut header, "kasm_release/install.sh", std::io::empty()).unwrap();
    let bytes = builder.into_inner().unwrap().finish().unwrap();
    fs::write(bench.path("file"), &bytes).unwrap();
    let (file, target) = (bench.path("file").display().to_string(), bench.path("t"));
    let digest = hex(&bytes);
    let args = ["unpack", "--sha256", &digest, &file, &target.display().to_string()];
    for files_before_the_kill in [0, 1, 50, 300] {
        let mut child = bench.command(&args).stdout(Stdio::null()).spawn().unwrap();
        let temporary = target.join(format!(".kasm_release.{}.new/kasm_release", child.id()));
        while child.try_wait().unwrap().is_none() {
            if fs::read_dir(&temporary).is_ok_and(|files| files.count() > files_before_the_kill) {
                child.kill().unwrap();
            }
        }
        assert!(
            !target.join("kasm_release").exists() || fs::read_dir(target.join("kasm_release")).unwrap().count() == 601
        );
    }
    assert_eq!(bench.run(&args).code, 0);
    assert_eq!(fs::read_dir(&target).unwrap().count(), 1);
    assert_eq!(fs::read_dir(target.join("kasm_release")).unwrap().count(), 601);
}

#[test]
fn memory_stays_flat_however_big_the_release_is() {
    let (bench, bytes) = (Bench::new(), noise(48_000_000));
    let (mirror, digest) = (mirror(&bytes), hex(&bytes));
    mirror.script([Fault::Stall(47_000_000)]);
    let url = mirror.url(NAME);
    let mut child = bench.command(&["fetch", "--sha256", &digest, &url]).stdout(Stdio::null()).spawn().unwrap();
    assert!(mirror.wait_for_stall(Duration::from_secs(60)));
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let kilobytes = |field: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    // The pages of an unoptimised binary are not what is asked here: only what it allocates.
    assert!(kilobytes("RssAnon:") < 10 * 1024, "{status}");
    println!("VmHWM {} kB, RssAnon {} kB", kilobytes("VmHWM:"), kilobytes("RssAnon:"));
}

#[test]
fn tls_is_trusted_by_authority_or_pin_and_insecure_says_what_it_gives_up() {
    let (bench, bytes) = (Bench::new(), release());
    let identity = tls::issued(&["127.0.0.1"]);
    let mirror = Mirror::tls(identity.config.clone(), &[(NAME, &bytes)]);
    let (url, digest) = (mirror.url(NAME), hex(&bytes));
    assert_eq!(bench.run(&["fetch", "--sha256", &digest, &url]).code, 15);
    fs::write(bench.path("ca.pem"), &identity.trust_pem).unwrap();
    let ca = bench.path("ca.pem").display().to_string();
    assert_eq!(bench.run(&["fetch", "--sha256", &digest, &url, "--ca-cert", &ca]).code, 0);
    let pin = format!("sha256:{}", hex(&identity.public_key));
    assert_eq!(Bench::new().run(&["fetch", "--sha256", &digest, &url, "--tls-pin", &pin]).code, 0);
    let said = Bench::new().run(&["fetch", "--sha256", &digest, &url, "--insecure"]);
    assert_eq!(said.code, 0);
    insta::assert_snapshot!(said.err, @r"warning: --insecure: anybody on the way can see and change what is downloaded; only a pinned SHA-256 protects the release");
}

#[test]
fn the_deadline_of_the_command_line_is_kept() {
    let (bench, bytes) = (Bench::new(), release());
    let mirror = mirror(&bytes);
    mirror.always(Fault::Status("503 Service Unavailable", vec![]));
    let said = bench.run(&["fetch", "--deadline", "500ms", "--sha256", &hex(&bytes), &mirror.url(NAME)]);
    assert_eq!(said.code, 15);
    assert!(said.err.contains("[download.deadline]"), "{}", said.err);
}

#[test]
fn the_proxy_of_the_environment_is_used_and_no_proxy_is_honoured() {
    let (bench, bytes) = (Bench::new(), release());
    let served = bytes.clone();
    let proxy = kasm_stand_in::http::Server::plain(std::sync::Arc::new(move |_, stream| {
        kasm_stand_in::http::respond(stream, "200 OK", &[], &served)
    }));
    let direct = mirror(&bytes);
    let (there, here, digest) = ("http://mirror.invalid/x.tar.gz", direct.url(NAME), hex(&bytes));
    let fetch = |url: &str, out: &str| {
        let mut command =
            bench.command(&["fetch", "--sha256", &digest, url, "-o", &bench.path(out).display().to_string()]);
        command.env("http_proxy", proxy.url()).env("no_proxy", "127.0.0.1").status().unwrap()
    };
    assert!(fetch(there, "one").success());
    assert_eq!(proxy.requests()[0].target, there);
    assert!(fetch(&here, "two").success());
    assert_eq!((proxy.requests().len(), direct.requests().len()), (1, 1));
}
