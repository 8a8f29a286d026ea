//! One file for every distribution: the binary needs no shared library, no name service of the C library
//! and no CA bundle of the machine.

use kasm_stand_in::http::{Server, respond};
use std::fs;
use std::io;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

/// Not an executable's usual header alone: an interpreter or a needed library would be in here.
#[test]
fn the_binary_asks_for_no_loader_and_no_library() {
    let bytes = fs::read(env!("CARGO_BIN_EXE_kasm-bootstrap")).unwrap();
    let number = |at: usize, size: usize| {
        bytes[at..at + size].iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
    };
    // elf(5), 64-bit little endian: program headers' offset, their size and count.
    assert_eq!(&bytes[..6], b"\x7fELF\x02\x01");
    let (offset, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let (mut interpreters, mut needed) = (0, 0);
    for header in 0..count {
        let at = usize::try_from(offset + header * size).unwrap();
        let place = usize::try_from(number(at + 8, 8)).unwrap();
        let length = usize::try_from(number(at + 32, 8)).unwrap();
        match number(at, 4) {
            3 => interpreters += 1, // PT_INTERP
            2 => {
                // PT_DYNAMIC: pairs of a tag and a value; DT_NEEDED is 1.
                needed += (place..place + length).step_by(16).filter(|at| number(*at, 8) == 1).count();
            }
            _ => {}
        }
    }
    assert_eq!((interpreters, needed), (0, 0));
}

/// A root that holds the binary and what is written here, and nothing else.
struct EmptyRoot(tempfile::TempDir);

impl EmptyRoot {
    /// `None`, with the reason printed, where only root may do this.
    fn new(resolv_conf: &str, hosts: &str) -> Option<EmptyRoot> {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: chroot needs root");
            return None;
        }
        let root = tempfile::tempdir().unwrap();
        for directory in ["etc", "tmp", "dev"] {
            fs::create_dir(root.path().join(directory)).unwrap();
        }
        // The kernel's randomness, which no machine is without.
        let devices = ["/dev/random", "/dev/urandom"];
        assert!(Command::new("cp").arg("-a").args(devices).arg(root.path().join("dev")).status().unwrap().success());
        let binary = root.path().join("kasm-bootstrap");
        fs::copy(env!("CARGO_BIN_EXE_kasm-bootstrap"), &binary).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        // Each of these names a module that a static glibc would try to load, and crash on.
        fs::write(root.path().join("etc/nsswitch.conf"), "passwd: files systemd\nhosts: files resolve dns\n").unwrap();
        fs::write(root.path().join("etc/resolv.conf"), resolv_conf).unwrap();
        fs::write(root.path().join("etc/hosts"), hosts).unwrap();
        Some(EmptyRoot(root))
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new("chroot")
            .arg(self.0.path())
            .arg("/kasm-bootstrap")
            .args(args)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .output()
            .unwrap()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }
}

/// A mirror that holds one file.
fn mirror() -> Server {
    Server::plain(Arc::new(|_, stream| respond(stream, "200 OK", &[], b"\x1f\x8bnot really a release")))
}

/// The SHA-256 of what the mirror holds.
fn digest(directory: &Path) -> String {
    let file = directory.join("expected");
    fs::write(&file, b"\x1f\x8bnot really a release").unwrap();
    let output = Command::new("sha256sum").arg(&file).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

fn fetched(root: &EmptyRoot, host: &str) {
    let server = mirror();
    let digest = digest(root.0.path());
    let url = format!("http://{host}:{}/kasm_release_1.19.0.tar.gz", server.address().port());
    let output = root.run(&["release", "fetch", "--sha256", &digest, "-o", "/tmp/release", &url, "--timeout", "30s"]);
    assert!(output.status.success(), "{host}: {output:?}");
    assert!(root.path("tmp/release").exists());
}

#[test]
fn in_an_empty_root_the_binary_runs_and_names_resolve_by_its_hosts_file() {
    let Some(root) = EmptyRoot::new("", "127.0.0.1 mirror.test\n") else { return };
    assert!(root.run(&["--version"]).status.success());
    fetched(&root, "mirror.test");
}

#[test]
fn in_an_empty_root_names_resolve_by_its_name_server_and_its_search_domain() {
    // The stub of systemd-resolved listens on loopback like this one; port 53 is root's.
    let address = "127.53.7.1:53";
    let socket = match UdpSocket::bind(address) {
        Ok(socket) => socket,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            println!("skipped: a name server's port needs root");
            return;
        }
        Err(error) => panic!("{address}: {error}"),
    };
    std::thread::spawn(move || name_server(&socket));
    let Some(root) = EmptyRoot::new("nameserver 127.53.7.1\nsearch kasm.test\noptions edns0 trust-ad\n", "") else {
        return;
    };
    fetched(&root, "mirror");
}

/// Answers `mirror.kasm.test` with 127.0.0.1, and nothing else.
fn name_server(socket: &UdpSocket) {
    let mut query = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut query) {
        let question = &query[12..length];
        let end = question.iter().position(|byte| *byte == 0).unwrap() + 5;
        let known = question.starts_with(b"\x06mirror\x04kasm\x04test\x00");
        let is_a = question[end - 3] == 1;
        let mut answer = query[..2].to_vec();
        // RFC 1035, 4.1.1: a response, recursion available; NXDOMAIN for other names.
        answer.extend([0x81, if known { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(known && is_a), 0, 0, 0, 0]);
        answer.extend(&question[..end]);
        if known && is_a {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
        }
        socket.send_to(&answer, from).unwrap();
    }
}

#[test]
fn without_any_ca_bundle_plain_http_works_and_https_is_refused_with_the_reason() {
    let Some(root) = EmptyRoot::new("", "") else { return };
    fetched(&root, "127.0.0.1");
    let identity = kasm_stand_in::tls::self_signed(&["127.0.0.1"]);
    let server = Server::tls(identity.config, Arc::new(|_, stream| respond(stream, "200 OK", &[], b"")));
    let url = format!("https://{}/kasm_release_1.19.0.tar.gz", server.address());
    let output = root.run(&["release", "fetch", "--sha256", &"0".repeat(64), &url, "--timeout", "30s"]);
    assert_eq!(output.status.code(), Some(15), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("certificate"), "{said}");
}
