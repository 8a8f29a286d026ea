//! The endpoint as those meet it who ask: kubelets, Prometheus, people, and who means no good. Raw sockets, because no
//! client would send what some of them do.

mod common;
mod story;

use common::{Scene, TOKEN, holds, start};
use kasm_bootstrap::health::{Board, Level, Verdict};
use kasm_bootstrap::machine::names;
use kasm_bootstrap::observe::{Observer, Wait};
use kasm_bootstrap::paths::Paths;
use kasm_bootstrap::report::http::{Endpoint, Pulse};
use kasm_stand_in::docker::{Condition, Script};
use kasm_stand_in::release::Options;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// So long is waited for what must come; a test waits so long only to fail.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until this is so.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Hears what the endpoint says.
#[derive(Default)]
struct Ear(Mutex<Vec<String>>);

impl Observer for Ear {
    fn waiting(&self, _: &Wait) {}
    fn warn(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

/// An endpoint on its own, without a run.
struct Node {
    endpoint: Endpoint,
    board: Board,
    pulse: Pulse,
    paths: Paths,
    ear: Arc<Ear>,
    directory: TempDir,
}

impl Node {
    fn start() -> Node {
        Node::below(tempfile::tempdir().unwrap())
    }

    fn below(directory: TempDir) -> Node {
        let (paths, board, pulse) = (Paths::below(directory.path()), Board::default(), Pulse::default());
        let ear = Arc::new(Ear::default());
        let endpoint = Endpoint::start(&paths, board.clone(), pulse.clone(), ear.clone());
        Node { endpoint, board, pulse, paths, ear, directory }
    }

    fn socket(&self) -> UnixStream {
        connect(&self.paths.http_socket())
    }

    fn ask(&self, path: &str) -> Said {
        ask(self.socket(), path)
    }

    fn listen(&self) -> SocketAddr {
        self.endpoint.listen(Some("127.0.0.1:0".parse().unwrap()));
        until("a port", || self.endpoint.tcp())
    }

    fn heard(&self) -> Vec<String> {
        self.ear.0.lock().unwrap().clone()
    }
}

fn connect(socket: &Path) -> UnixStream {
    let stream = until("the socket", || UnixStream::connect(socket).ok());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// An answer, taken apart.
#[derive(Debug)]
struct Said {
    status: u16,
    head: String,
    body: String,
}

impl Said {
    fn of(bytes: &[u8]) -> Said {
        assert!(!holds(bytes, TOKEN.as_bytes()), "the token was told");
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Said { status, head: head.to_owned(), body: body.to_owned() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &str| line.split_once(": ").is_some_and(|(found, _)| found.eq_ignore_ascii_case(name));
        self.head.lines().find(|line| of(line)).and_then(|line| line.split_once(": ")).map(|(_, value)| value)
    }
}

/// Sends these bytes, and reads until the end.
fn exchange(mut stream: impl Read + Write, bytes: &[u8]) -> Said {
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    Said::of(&answer)
}

fn ask(stream: impl Read + Write, path: &str) -> Said {
    exchange(stream, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
}

#[test]
fn every_answer_is_closed_to_browsers_and_says_how_long_it_is() {
    let node = Node::start();
    for path in ["/", "/livez", "/readyz", "/healthz", "/healthz?verbose", "/status", "/metrics", "/nowhere"] {
        let said = node.ask(path);
        assert_eq!(said.header("content-length").unwrap().parse::<usize>().unwrap(), said.body.len(), "{path}");
        assert_eq!(said.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(said.header("cache-control"), Some("no-store"), "{path}");
        let policy = said.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(said.header("date").is_some() && said.header("connection") == Some("close"), "{path}");
    }
    let types =
        ["/", "/status", "/metrics", "/livez"].map(|path| node.ask(path).header("content-type").unwrap().to_owned());
    assert_eq!(types[..2], ["text/html; charset=utf-8", "application/json"]);
    assert_eq!(types[2..], ["text/plain; version=0.0.4; charset=utf-8", "text/plain; charset=utf-8"]);
}

#[test]
fn the_style_of_the_page_is_the_one_that_its_policy_lets_in() {
    use sha2::Digest;
    let said = Node::start().ask("/");
    let (_, rest) = said.body.split_once("<style>").unwrap();
    let (style, _) = rest.split_once("</style>").unwrap();
    assert!(!rest.contains("<style") && !said.body.contains(" style=") && !said.body.contains("<script"));
    let hash = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, sha2::Sha256::digest(style));
    assert!(said.header("content-security-policy").unwrap().contains(&format!("'sha256-{hash}'")), "{}", said.head);
}

#[test]
fn head_is_get_without_the_body_and_nothing_else_is_understood() {
    let node = Node::start();
    let whole = node.ask("/livez");
    let head = exchange(node.socket(), b"HEAD /livez HTTP/1.1\r\nHost: node\r\n\r\n");
    assert_eq!(
        (head.status, head.header("content-length"), head.body.as_str()),
        (200, whole.header("content-length"), "")
    );
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"] {
        let said = exchange(node.socket(), format!("{method} / HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        assert_eq!((said.status, said.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    // The answer arrives although nobody reads what is sent beside.
    let body = "x".repeat(40_000);
    let post = format!("POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(exchange(dial(node.listen()), post.as_bytes()).status, 405);
}

#[test]
fn what_is_no_request_is_refused() {
    let node = Node::start();
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(32 * 1024));
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(100));
    let cases: [(&[u8], u16); 6] = [
        (long.as_bytes(), 431),
        (many.as_bytes(), 431),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\n\n", 400),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ];
    for (bytes, status) in cases {
        let said = exchange(node.socket(), bytes);
        assert_eq!(said.status, status, "{:?}: {said:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(60)]));
    }
    assert_eq!(node.ask("/livez").status, 200);
}

#[test]
fn a_page_that_leads_its_own_name_here_is_told_nothing_and_who_asks_by_ours_is() {
    let node = Node::start();
    let address = node.listen();
    let by = |host: &str| format!("GET /status HTTP/1.1\r\nHost: {host}\r\n\r\n");
    for host in ["evil.example", "127.0.0.1.evil.example:9107", "localhost.evil.example", ""] {
        let said = exchange(dial(address), by(host).as_bytes());
        assert_eq!(said.status, 421, "{host}");
        assert!(!said.body.contains("schema"), "{}", said.body);
        // No browser comes this way.
        assert_eq!(exchange(node.socket(), by(host).as_bytes()).status, 200, "{host}");
    }
    let own = names::hostname();
    for host in [address.to_string(), "10.0.0.4:9107".into(), format!("localhost:{}", address.port()), own] {
        assert_eq!(exchange(dial(address), by(&host).as_bytes()).status, 200, "{host}");
    }
    assert_eq!(exchange(dial(address), b"GET /status HTTP/1.0\r\n\r\n").status, 200);
}

#[test]
fn of_requests_in_one_piece_the_first_is_answered() {
    let node = Node::start();
    let two = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n";
    let said = exchange(node.socket(), two);
    assert_eq!((said.status, said.body.as_str()), (200, "ok\n"));
}

#[test]
fn a_request_that_comes_byte_by_byte_is_answered_and_one_that_never_ends_is_ended() {
    let node = Node::start();
    let mut slow = node.socket();
    for byte in b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" {
        slow.write_all(&[*byte]).unwrap();
    }
    assert_eq!(exchange(slow, b"").status, 200);
    // Its time is up after four seconds, whatever it sends meanwhile.
    let mut never = node.socket();
    never.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    never.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n").unwrap();
    let mut answer = Vec::new();
    until("its end", || {
        // It may have been ended already.
        let _ = never.write_all(b"X: y\r\n");
        let mut buffer = [0; 1024];
        match never.read(&mut buffer) {
            Ok(0) => Some(()),
            Ok(length) => {
                answer.extend_from_slice(&buffer[..length]);
                None
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            Err(_) => Some(()),
        }
    });
    assert_eq!(Said::of(&answer).status, 408);
}

#[test]
fn whoever_holds_many_connections_keeps_nobody_out() {
    let node = Node::start();
    let address = node.listen();
    let mut held: Vec<TcpStream> = (0..300).map(|_| dial(address)).collect();
    for stream in &mut held {
        // It may be closed already, being one of the oldest.
        let _ = stream.write_all(b"GET / HT");
    }
    for _ in 0..20 {
        assert_eq!(ask(dial(address), "/livez").status, 200);
        assert_eq!(node.ask("/livez").status, 200);
    }
    // The oldest were closed for it.
    let mut end = [0; 1];
    assert!(matches!(held[0].read(&mut end), Ok(0) | Err(_)));
    let open = fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(open < 300 + 120, "{open} open files");
}

#[test]
fn readiness_follows_the_board_and_life_the_pulse() {
    let node = Node::start();
    assert_eq!((node.ask("/readyz").status, node.ask("/livez").status), (503, 200));
    node.board.put(story::degraded());
    assert_eq!((node.ask("/readyz").status, node.ask("/healthz").body.as_str()), (200, "ok\n"));
    let gone = story::probe("containers", Level::Fail, "kasm_agent is not there", vec![]);
    node.board.put(story::health(Verdict::Failed, "kasm_agent is not there", vec![gone]));
    let said = node.ask("/readyz");
    assert_eq!((said.status, said.body.as_str()), (503, "failed: kasm_agent is not there\n"));
    assert!(node.ask("/healthz").body.contains("[-]containers failed: kasm_agent is not there"));
    node.pulse.beat();
    assert_eq!(node.ask("/livez").status, 200);
}

#[test]
fn the_socket_is_its_owners_alone_and_gone_with_the_endpoint() {
    let node = Node::start();
    drop(node.socket());
    let socket = node.paths.http_socket();
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(node.paths.run_dir()).unwrap().permissions().mode() & 0o7777, 0o711);
    let Node { endpoint, directory, .. } = node;
    drop(endpoint);
    until("the socket to be gone", || (!socket.exists()).then_some(()));
    assert!(directory.path().exists());
}

#[test]
fn a_socket_that_is_in_use_is_left_to_whom_it_belongs() {
    let first = Node::start();
    drop(first.socket());
    let ear = Arc::new(Ear::default());
    let second = Endpoint::start(&first.paths, Board::default(), Pulse::default(), ear.clone());
    let said = until("a word", || ear.0.lock().unwrap().first().cloned());
    assert!(said.ends_with("http.sock: another kasm-bootstrap serves it"), "{said}");
    first.board.put(story::degraded());
    assert_eq!(first.ask("/readyz").status, 200);
    drop(second);
    assert_eq!(first.ask("/readyz").status, 200);
}

#[test]
fn a_socket_that_somebody_left_is_replaced_and_what_is_no_socket_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let paths = Paths::below(directory.path());
    fs::create_dir_all(paths.run_dir()).unwrap();
    drop(UnixListener::bind(paths.http_socket()).unwrap());
    assert!(fs::symlink_metadata(paths.http_socket()).unwrap().file_type().is_socket());
    let node = Node::below(directory);
    // What it left is still there for a moment, and refuses.
    until("an answer", || UnixStream::connect(node.paths.http_socket()).ok());
    assert_eq!(node.ask("/livez").status, 200);

    let directory = tempfile::tempdir().unwrap();
    let paths = Paths::below(directory.path());
    fs::create_dir_all(paths.run_dir()).unwrap();
    fs::write(paths.http_socket(), "precious").unwrap();
    let node = Node::below(directory);
    let said = until("a word", || node.heard().first().cloned());
    assert!(said.contains("something that is no socket has its name"), "{said}");
    assert_eq!(fs::read_to_string(paths.http_socket()).unwrap(), "precious");
}

#[test]
fn a_root_whose_path_is_too_long_for_a_socket_has_one_too() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("a".repeat(120));
    fs::create_dir(&deep).unwrap();
    let paths = Paths::below(&deep);
    let _endpoint = Endpoint::start(&paths, Board::default(), Pulse::default(), Arc::new(Ear::default()));
    until("the socket", || paths.http_socket().exists().then_some(()));
    let run = fs::File::open(paths.run_dir()).unwrap();
    let short = PathBuf::from(format!("/proc/self/fd/{}/http.sock", std::os::fd::AsRawFd::as_raw_fd(&run)));
    assert_eq!(ask(connect(&short), "/livez").status, 200);
}

#[test]
fn a_port_that_is_taken_is_a_warning_that_names_who_has_it() {
    let node = Node::start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    node.endpoint.listen(Some(address));
    let said = until("a word", || node.heard().first().cloned());
    let ours = format!("pid {}", std::process::id());
    assert!(said.starts_with(&format!("HTTP is not served at {address}: the port is taken by ")), "{said}");
    assert!(said.contains(&ours) && said.ends_with("; it is tried again"), "{said}");
    assert_eq!(node.ask("/livez").status, 200);
    // Another address in its place, and none.
    let other = node.listen();
    assert_eq!(ask(dial(other), "/livez").status, 200);
    node.endpoint.listen(None);
    until("the port to be closed", || TcpStream::connect(other).is_err().then_some(()));
}

#[test]
fn hostile_values_are_text_in_every_answer() {
    let node = Node::start();
    story::write(node.directory.path(), &story::hostile());
    node.board.put(story::hostile_health());
    let page = node.ask("/").body;
    for forbidden in ["<script", "<img", "onerror=\"", "\u{202e}", "\u{1b}"] {
        assert!(!page.contains(forbidden), "{forbidden} in {page}");
    }
    for path in ["/readyz", "/healthz?verbose", "/metrics"] {
        let body = node.ask(path).body;
        assert!(!body.contains(['\u{202e}', '\u{1b}']) && !body.contains("\n# TYPE forged"), "{path}: {body}");
    }
    let json: serde_json::Value = serde_json::from_str(&node.ask("/status").body).unwrap();
    assert_eq!(json["run"]["verb"], story::HOSTILE);
    assert!(!page.contains("<p>") || page.contains("&lt;script&gt;"));
}

/// The service on a scratch machine, by its real binary.
struct Service {
    child: Child,
    output: PathBuf,
    socket: PathBuf,
    _directory: TempDir,
}

impl Service {
    fn start(scene: &Scene) -> Service {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("output.txt");
        let child = start(scene.command().arg("run"), &output);
        Service { child, output, socket: scene.root.join("run/kasm-bootstrap/http.sock"), _directory: directory }
    }

    fn ask(&mut self, path: &str) -> Said {
        let stream = until("the socket", || {
            assert_eq!(self.child.try_wait().unwrap(), None, "{}", self.text());
            UnixStream::connect(&self.socket).ok()
        });
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        ask(stream, path)
    }

    /// Waits until a question has this answer.
    fn until(&mut self, path: &str, wanted: impl Fn(&Said) -> bool) -> Said {
        let begun = Instant::now();
        loop {
            let said = self.ask(path);
            if wanted(&said) {
                return said;
            }
            assert!(begun.elapsed() < PATIENCE, "{path}: {said:?}\n{}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap()).into_owned()
    }

    fn end(&mut self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It has ended already, but for a test that failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configured(options: &Options, more: &str) -> Scene {
    let scene = Scene::new(options);
    scene.containers(Script { looks: 0, ..Script::default() });
    let text = format!(
        "role = \"agent\"\ndeadline = \"120s\"\n[release]\nurls = [\"{}\"]\nsha256 = \"{}\"\n\
         [manager]\naddress = \"{}\"\ntoken = \"{TOKEN}\"\n\
         [agent]\nserver_id = \"server-7\"\nprovider = \"harvester\"\n[run]\nwatch = \"100ms\"\n{more}",
        scene.url(),
        scene.release.sha256,
        scene.manager.address(),
    );
    let path = scene.root.join("etc/kasm-bootstrap/config.toml");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    scene
}

fn status_file(scene: &Scene) -> Option<serde_json::Value> {
    let text = fs::read(scene.root.join("run/kasm-bootstrap/status.json")).ok()?;
    assert!(!holds(&text, TOKEN.as_bytes()));
    // Whole whenever it is there.
    Some(serde_json::from_slice(&text).unwrap())
}

#[test]
fn the_service_answers_while_it_installs_and_after_it_was_killed() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = Options { pace: Duration::from_millis(300), ..Options::default() };
    let scene = configured(&options, &format!("[http]\nlisten = \"{port}\"\n"));
    let mut service = Service::start(&scene);
    let said = service.until("/readyz", |said| said.body == "starting: install\n");
    assert_eq!(said.status, 503, "{said:?}");
    assert_eq!(service.ask("/livez").status, 200);
    assert!(service.ask("/").body.contains("http-equiv=\"refresh\""));
    let metrics = service.ask("/metrics").body;
    assert!(metrics.contains("kasm_bootstrap_run_state{state=\"running\"} 1\n"), "{metrics}");
    assert!(metrics.contains("kasm_bootstrap_step_progress_bytes{step=\"fetch\"} "), "{metrics}");
    until("the file", || status_file(&scene).filter(|status| status["run"]["state"] == "running"));
    // Killed in the middle of it: its socket stays, and the next one serves on it.
    service.end(Signal::SIGKILL);
    assert!(service.socket.exists());
    let mut service = Service::start(&scene);
    service.until("/status", |said| said.body.contains("\"state\": \"done\""));
    let file = until("the end in the file", || status_file(&scene).filter(|status| status["run"]["state"] == "done"));
    assert_eq!((file["schema"].as_u64(), &file["run"]["verb"]), (Some(1), &"install".into()));
    let mode = fs::metadata(scene.root.join("run/kasm-bootstrap/status.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o644);
    until("TCP", || TcpStream::connect(port).ok());
    assert_eq!(ask(dial(port), "/livez").status, 200);
    assert_eq!(service.until("/readyz", |said| said.status == 200).body.split(':').next(), Some("healthy"));
    service.end(Signal::SIGTERM);
    assert!(!service.socket.exists(), "{}", service.text());
}

#[test]
fn readiness_turns_when_containers_turn() {
    let scene = configured(&Options::default(), "");
    let mut service = Service::start(&scene);
    service.until("/readyz", |said| said.status == 200);
    let metrics = service.until("/metrics", |said| said.body.contains("kasm_bootstrap_container_up")).body;
    assert!(metrics.contains("kasm_bootstrap_container_up{container=\"kasm_agent\"} 1\n"), "{metrics}");
    // Every probe has answered by now, or says that it has not.
    service.until("/metrics", |said| said.body.contains("kasm_bootstrap_disk_free_bytes"));
    if let Some(promtool) = story::promtool() {
        story::check(&promtool, &service.ask("/metrics").body);
    }
    scene.containers(Script { looks: 0, then: Condition::Exited(1), ..Script::default() });
    let said = service.until("/readyz", |said| said.status == 503);
    assert!(said.body.contains("kasm_agent"), "{said:?}");
    assert!(service.ask("/healthz").body.contains("[-]containers failed: "), "{:?}", service.ask("/healthz"));
    until("the file", || status_file(&scene).filter(|status| status["health"]["verdict"] != "healthy"));
    scene.containers(Script { looks: 0, ..Script::default() });
    service.until("/readyz", |said| said.status == 200);
    service.end(Signal::SIGTERM);
    assert!(!service.text().contains(TOKEN));
}

#[test]
fn an_installation_by_hand_keeps_the_status_file_too() {
    let scene = Scene::new(&Options::default());
    scene.containers(Script { looks: 0, ..Script::default() });
    let output = common::run(&mut scene.install(&[]));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let file = status_file(&scene).unwrap();
    assert_eq!((&file["run"]["state"], &file["health"]), (&"done".into(), &serde_json::Value::Null));
    assert_eq!(file["run"], scene.status());
}
