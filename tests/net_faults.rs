//! Faults of networks, each made for real on loopback: what `tests/release_fetch.rs` does not try already.

use kasm_bootstrap::deadline::Deadline;
use kasm_bootstrap::error::Failure;
use kasm_bootstrap::intent::{HostPort, Source};
use kasm_bootstrap::kasm::manager::Manager;
use kasm_bootstrap::net::{self, Confidential};
use kasm_bootstrap::observe::Observer;
use kasm_bootstrap::paths::Paths;
use kasm_bootstrap::release::{Cache, Digest, Request, Wanted, fetch};
use kasm_bootstrap::secret::Secret;
use kasm_stand_in::manager::{Behaviour, Manager as StandIn};
use kasm_stand_in::mirror::{Fault, Mirror};
use kasm_stand_in::tls;
use sha2::Digest as _;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const NAME: &str = "/kasm_release_1.18.1.tar.gz";

/// Numbers that nobody can guess and that are the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }
}

fn blob(length: usize, seed: u64) -> Vec<u8> {
    let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut bytes = vec![0x1f, 0x8b];
    bytes.resize_with(length, || numbers.next() as u8);
    bytes
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::new(sha2::Sha256::digest(bytes).into())
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Observer for Heard {
    fn warn(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

struct Bench {
    directory: tempfile::TempDir,
    options: net::Options,
    idle: Duration,
    heard: Heard,
}

impl Bench {
    fn new() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("etc")).unwrap();
        let options = net::Options::default();
        Bench { directory, options, idle: Duration::from_secs(20), heard: Heard::default() }
    }

    fn paths(&self) -> Paths {
        Paths::below(self.directory.path())
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.directory.path().join(path), text).unwrap();
    }

    async fn fetch(&self, urls: &[String], wanted: Digest) -> Result<Vec<u8>, Failure> {
        let sources = urls.iter().map(|url| Source::Url(url.clone())).collect();
        let request = Request { idle: self.idle, ..Request::new(sources, Wanted::Pinned(wanted)) };
        let client = net::client(&self.paths(), &self.options)?;
        let cache = Cache::below(self.directory.path().join("cache"));
        let found = fetch(&request, &client, &cache, Deadline::after(Duration::from_secs(60)), &self.heard).await?;
        Ok(fs::read(found.path()).unwrap())
    }

    fn gets(&self, urls: &[String], bytes: &[u8]) {
        assert!(run(self.fetch(urls, digest(bytes))).unwrap() == bytes, "these are other bytes");
    }
}

fn mirror(bytes: &[u8], script: impl IntoIterator<Item = Fault>) -> Mirror {
    let mirror = Mirror::plain(&[(NAME, bytes)]);
    mirror.script(script);
    mirror
}

#[test]
fn connections_cut_at_any_byte_are_continued_to_the_right_end() {
    let bytes = blob(120_000, 1);
    let cases: Vec<(Bench, Mirror)> = (1..=24u64)
        .map(|seed| {
            let mut numbers = Numbers(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
            // The first bytes and the last are where off-by-one errors live.
            let mut cuts = vec![Fault::Cut(numbers.next() % 4), Fault::Cut(numbers.next() % 120_000)];
            cuts.extend((0..3).map(|_| Fault::Cut(numbers.next() % 60_000)));
            (Bench::new(), mirror(&bytes, cuts))
        })
        .collect();
    let fetched =
        run(futures_util::future::join_all(cases.iter().map(|(bench, mirror)| async {
            bench.fetch(&[mirror.url(NAME)], digest(&bytes)).await.unwrap() == bytes
        })));
    assert!(fetched.into_iter().all(|right| right));
}

#[test]
fn a_kilobyte_a_second_goes_on_longer_than_silence_may() {
    let (mut bench, bytes) = (Bench::new(), blob(5000, 2));
    bench.idle = Duration::from_secs(3);
    let mirror = mirror(&bytes, [Fault::Trickle { size: 1000, pause: Duration::from_secs(1) }]);
    let started = Instant::now();
    bench.gets(&[mirror.url(NAME)], &bytes);
    assert!(started.elapsed() > bench.idle, "the trickle was too short to prove anything");
    assert_eq!(mirror.requests().len(), 1);
}

#[test]
fn a_promise_of_fewer_bytes_than_there_are_is_a_wrong_file_and_the_next_mirror_is_asked() {
    let (bench, bytes) = (Bench::new(), blob(50_000, 3));
    let (short, whole) = (mirror(&bytes, []), mirror(&bytes, []));
    short.always(Fault::Shorter(7));
    bench.gets(&[short.url(NAME), whole.url(NAME)], &bytes);
}

#[test]
fn a_mirror_with_the_wrong_bytes_is_named_and_the_next_one_is_asked() {
    let (bench, bytes) = (Bench::new(), blob(50_000, 4));
    let (bad, good) = (Mirror::plain(&[(NAME, &blob(50_000, 5))]), mirror(&bytes, []));
    bench.gets(&[bad.url(NAME), good.url(NAME)], &bytes);
    let heard = bench.heard.0.into_inner().unwrap();
    assert_eq!(heard, [format!("{}: SHA-256 is {}", bad.url(NAME), digest(&blob(50_000, 5)))]);
}

#[test]
fn a_partial_file_as_long_as_the_release_and_wrong_is_thrown_away_after_a_416() {
    let (bench, bytes) = (Bench::new(), blob(50_000, 6));
    fs::create_dir(bench.directory.path().join("cache")).unwrap();
    bench.write(&format!("cache/{}.partial", digest(&bytes)), &"x".repeat(bytes.len()));
    let mirror = mirror(&bytes, []);
    bench.gets(&[mirror.url(NAME)], &bytes);
    let ranges = mirror.ranges();
    assert_eq!(ranges, [Some("bytes=50000-".into()), None]);
}

#[test]
fn of_three_mirrors_the_last_one_is_enough() {
    let (bench, bytes) = (Bench::new(), blob(50_000, 7));
    let (ill, portal, good) = (mirror(&bytes, []), mirror(&bytes, []), mirror(&bytes, []));
    ill.always(Fault::Status("503 Service Unavailable", vec![]));
    portal.always(Fault::Html);
    let urls = ["http://127.0.0.1:1/x.tar.gz".into(), ill.url(NAME), portal.url(NAME), good.url(NAME)];
    bench.gets(&urls, &bytes);
    assert_eq!(bench.heard.0.lock().unwrap().len(), 3);
}

/// A name server on a loopback address of its own that fails so often, then knows every name as 127.0.0.1.
fn name_server(last: u8, failures: usize) -> Option<Ipv4Addr> {
    let here = Ipv4Addr::new(127, 53, 2, last);
    let Ok(socket) = UdpSocket::bind((here, 53)) else {
        println!("skipped: port 53 of {here} cannot be bound");
        return None;
    };
    let asked = AtomicUsize::new(0);
    std::thread::spawn(move || {
        let mut packet = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            let end = packet[12..length].iter().position(|byte| *byte == 0).unwrap() + 13;
            let fails = asked.fetch_add(1, Ordering::SeqCst) < failures;
            let known = !fails && packet[end + 1] == 1;
            let mut reply = packet[..end + 4].to_vec();
            reply[2..4].copy_from_slice(&if fails { [0x81, 0x82] } else { [0x81, 0x80] });
            reply[4..12].copy_from_slice(&[0, 1, 0, u8::from(known), 0, 0, 0, 0]);
            if known {
                reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            }
            socket.send_to(&reply, from).unwrap();
        }
    });
    Some(here)
}

#[test]
fn a_name_server_that_fails_at_first_is_asked_again_until_it_answers() {
    let Some(server) = name_server(1, 6) else { return };
    let (bench, bytes) = (Bench::new(), blob(50_000, 8));
    bench.write("etc/resolv.conf", &format!("nameserver {server}\noptions timeout:1 attempts:1\n"));
    let mirror = mirror(&bytes, []);
    bench.gets(&[mirror.url(NAME).replace("127.0.0.1", "mirror.example")], &bytes);
    let heard = bench.heard.0.lock().unwrap();
    assert!(heard[0].contains(&format!("cannot be resolved by name server {server}")), "{heard:?}");
}

#[test]
fn where_ipv6_is_refused_ipv4_is_taken_by_download_and_manager() {
    let (bench, bytes) = (Bench::new(), blob(50_000, 9));
    bench.write("etc/hosts", "::1 both.example\n127.0.0.1 both.example\n");
    let mirror = mirror(&bytes, []);
    bench.gets(&[mirror.url(NAME).replace("127.0.0.1", "both.example")], &bytes);
    assert_eq!(mirror.requests().len(), 1);
    let manager = StandIn::start(Some(tls::self_signed(&["both.example"]).config), Behaviour::default());
    healthy(&bench, "both.example", manager.port());
}

fn healthy(bench: &Bench, host: &str, port: u16) {
    let address = HostPort { host: host.into(), port: Some(port) };
    let manager = Manager::new(&bench.paths(), &address, &bench.options);
    let look = run(manager.look(Deadline::after(Duration::from_secs(20))));
    assert!(look.connection.unwrap().unwrap().address.is_ipv4());
    look.health.unwrap().unwrap();
}

#[test]
fn where_ipv6_swallows_every_packet_ipv4_is_taken_by_download_and_manager() {
    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, SockaddrIn6, bind, listen, setsockopt, socket};
    let (bench, bytes) = (Bench::new(), blob(50_000, 10));
    let mirror = mirror(&bytes, []);
    let manager = StandIn::start(Some(tls::self_signed(&["both.example"]).config), Behaviour::default());
    let mut held = Vec::new();
    for port in [mirror.address().port(), manager.port()] {
        let deaf = socket(AddressFamily::Inet6, SockType::Stream, SockFlag::empty(), None);
        let address: std::net::SocketAddrV6 = format!("[::1]:{port}").parse().unwrap();
        let Ok(deaf) = deaf else { return println!("skipped: no IPv6 here") };
        setsockopt(&deaf, nix::sys::socket::sockopt::Ipv6V6Only, &true).unwrap();
        if bind(std::os::fd::AsRawFd::as_raw_fd(&deaf), &SockaddrIn6::from(address)).is_err() {
            return println!("skipped: no IPv6 here");
        }
        listen(&deaf, Backlog::new(0).unwrap()).unwrap();
        held.push(TcpListener::from(deaf));
        let mut queue = Vec::new();
        // Nobody accepts: once the queue is full the kernel drops each further attempt without a word.
        while let Ok(stream) = std::net::TcpStream::connect_timeout(&address.into(), Duration::from_millis(200)) {
            queue.push(stream);
        }
        queue.into_iter().for_each(std::mem::forget);
    }
    bench.write("etc/hosts", "::1 both.example\n127.0.0.1 both.example\n");
    bench.gets(&[mirror.url(NAME).replace("127.0.0.1", "both.example")], &bytes);
    healthy(&bench, "both.example", manager.port());
}

/// What `release fetch` says when it has to go through this proxy.
fn through(proxy: &str, url: &str) -> (i32, String) {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap"));
    command.arg("--root").arg(directory.path()).args(["release", "fetch", "--deadline", "20s"]);
    command.args(["--sha256", &"0".repeat(64), url]);
    for variable in ["NO_PROXY", "no_proxy", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "all_proxy"] {
        command.env_remove(variable);
    }
    let output = command.env("https_proxy", proxy).env("http_proxy", proxy).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    let because = err.lines().find(|line| line.contains("because: ")).unwrap_or(&err).trim().to_owned();
    (output.status.code().unwrap(), because)
}

#[test]
fn a_proxy_that_wants_a_password_is_named_at_once_and_not_asked_for_ever() {
    let proxy = kasm_stand_in::http::Server::plain(std::sync::Arc::new(|_, stream| {
        kasm_stand_in::http::respond(stream, "407 Proxy Authentication Required", &[], b"")
    }));
    let (plain, secure) = ("http://mirror.example/x.tar.gz", "https://mirror.example/x.tar.gz");
    let said = [through(&proxy.url(), plain), through(&proxy.url(), secure)];
    assert_eq!(proxy.requests().len(), 2);
    let said: Vec<String> = said
        .into_iter()
        .map(|(code, because)| format!("{code} {because}").replace(&proxy.address().to_string(), "PROXY"))
        .collect();
    insta::assert_snapshot!(said.join("\n"), @"
    15 because: http://mirror.example/x.tar.gz: it answered 407 Proxy Authentication Required
    15 because: https://mirror.example/x.tar.gz: the proxy PROXY: it asks for a user name and a password (status 407)
    ");
}

#[test]
fn a_proxy_that_is_not_there_is_not_taken_for_the_mirror() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap"));
    command.arg("--root").arg(directory.path()).args(["release", "fetch", "--deadline", "1s", "--sha256"]);
    command.args([&"0".repeat(64), "https://mirror.example/x.tar.gz"]).env("https_proxy", "http://127.0.0.1:1");
    let output = command.env_remove("NO_PROXY").env_remove("no_proxy").output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.contains("https://mirror.example/x.tar.gz: the proxy 127.0.0.1:1: connection refused"), "{err}");
}

#[test]
fn a_secret_travels_over_a_verified_connection_or_not_at_all() {
    let identity = tls::issued(&["127.0.0.1"]);
    let bench = Bench::new();
    bench.write("ca.pem", &identity.trust_pem);
    let server = StandIn::start(Some(identity.config), Behaviour::default());
    let url = format!("https://{}/api/set_server_status", server.address());
    let secret = Secret::new("Zq7Wk3Rt9Xv5Lm1Pn8Bd");
    let insecure = net::Options { insecure: true, ..net::Options::default() };
    assert!(matches!(Confidential::new(&bench.paths(), &insecure), Err(net::Error::Unverified)));

    let unknown = Confidential::new(&bench.paths(), &net::Options::default()).unwrap();
    assert!(matches!(unknown.post("http://127.0.0.1/x", "token", &secret), Err(net::Error::Unverified)));
    let error = run(unknown.post(&url, "token", &secret).unwrap().send()).unwrap_err();
    assert!(!net::describe(&error).contains(secret.expose()));
    assert!(server.requests().is_empty());

    let named = net::Options { ca_certs: vec![bench.directory.path().join("ca.pem")], ..net::Options::default() };
    let named = Confidential::new(&bench.paths(), &named).unwrap();
    run(named.post(&url, "token", &secret).unwrap().send()).unwrap();
    assert!(server.requests()[0].target.ends_with(&format!("?token={}", secret.expose())));
}

/// A wall clock cannot be set for one process, and must not be set for the machine the tests run on: so the
/// sources are held to reading it only to compare or to write down a moment. Every wait and every deadline
/// is an `Instant` (`src/deadline.rs`), which no step of the clock moves.
#[test]
fn no_wait_goes_by_the_wall_clock() {
    let allowed = [
        "cli/token.rs",                // is this token expired now?
        "cli/token/list.rs",           // the same
        "flow/run.rs",                 // randomness of last resort
        "health/probes/containers.rs", // how long Docker says that a container is up
        "health/probes/manager.rs",    // does this certificate expire soon?
        "health/probes/tokens.rs",     // how old is a line of a log?
        "kasm/checkin.rs",             // is this token expired now?
        "kasm/manager.rs",             // our clock beside the manager's
        "net/retry.rs",                // Retry-After as a date becomes a span on arrival
        "preflight/clock.rs",          // is the clock set at all?
        "report/http/serve.rs",        // the header Date of an answer
        "report/webhook/send.rs",      // when it was signed, for whoever checks that
        "token/mod.rs",                // is this token expired now?
        "words.rs",                    // when it happened, for records
    ];
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut left = vec![src.clone()];
    let mut found = Vec::new();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        if ["SystemTime::now", "Timestamp::now", "UnixTime::now", "Zoned::now"].iter().any(|read| code.contains(read)) {
            found.push(path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned());
        }
    }
    found.sort();
    assert_eq!(found, allowed);
}
