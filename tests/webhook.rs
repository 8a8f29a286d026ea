//! The webhook, against a real receiver on loopback: nothing is lost, nothing is told to anybody else, and nothing that
//! goes wrong with it changes anything else.

mod common;
mod faults;

use common::{Scene, TOKEN, holds, run, spoken, start};
use faults::disk::Disk;
use kasm_bootstrap::error::{Exit, Failure};
use kasm_bootstrap::intent::{Events, Form, Reporting, Role, WebhookIntent};
use kasm_bootstrap::observe::Observer;
use kasm_bootstrap::paths::Paths;
use kasm_bootstrap::report::webhook::{Left, Webhook};
use kasm_bootstrap::secret::Secret;
use kasm_bootstrap::step::{Ending, Event, Hub};
use kasm_stand_in::manager::jwt;
use kasm_stand_in::receiver::{PATH_KEY, Receiver, Reply, verify};
use kasm_stand_in::release::{Fault, Options, Point};
use kasm_stand_in::tls;
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const SECRET: &str = "0123456789abcdef-of-a-webhook";
/// More than a test ever waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a test waits for what cannot come.
const SHORT: Duration = Duration::from_millis(300);

/// Keeps what an operator is told.
#[derive(Default)]
struct Said(Mutex<Vec<String>>);

impl Observer for Said {
    fn warn(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

/// A machine with a webhook.
struct Machine {
    directory: tempfile::TempDir,
    reporting: Reporting,
    said: Arc<Said>,
}

impl Machine {
    fn new(url: &str) -> Machine {
        let webhook = WebhookIntent {
            url: Secret::new(url),
            form: Form::Events,
            events: Events::Changes,
            secret: Some(Secret::new(SECRET)),
        };
        let reporting = Reporting {
            webhook: Some(webhook),
            role: Some(Role::Agent),
            server_id: Some("server-7".into()),
            ..Reporting::default()
        };
        Machine { directory: tempfile::tempdir().unwrap(), reporting, said: Arc::default() }
    }

    fn paths(&self) -> Paths {
        Paths::below(self.directory.path())
    }

    fn start(&self) -> Webhook {
        Webhook::start(&self.paths(), &self.reporting, self.said.clone()).unwrap()
    }

    /// A process's life: these events, and so long at its end.
    fn live(&self, events: &[Event], limit: Duration) -> Left {
        let webhook = self.start();
        tell(&webhook, events);
        finish(&webhook, limit)
    }

    /// The same, with the receiver this machine tells from now on.
    fn at(&mut self, url: &str) -> &Machine {
        self.reporting.webhook.as_mut().unwrap().url = Secret::new(url);
        self
    }

    fn said(&self) -> String {
        self.said.0.lock().unwrap().join("\n")
    }

    /// What waits on the disk: names and bodies, in their order.
    fn spooled(&self) -> Vec<(String, Vec<u8>)> {
        spooled(self.directory.path())
    }
}

fn spooled(root: &Path) -> Vec<(String, Vec<u8>)> {
    let directory = root.join("var/lib/kasm-bootstrap/spool");
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension != "new"));
    files.sort();
    // What was told meanwhile is gone.
    files.into_iter().filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), fs::read(&path).ok()?))).collect()
}

fn tell(webhook: &Webhook, events: &[Event]) {
    let hub = Hub::unrecorded("5f0c21aa".into(), vec![webhook.view()]);
    events.iter().for_each(|event| hub.tell(event.clone()).unwrap());
}

fn finish(webhook: &Webhook, limit: Duration) -> Left {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(webhook.finish(limit))
}

fn warning(text: &str) -> Event {
    Event::StepNote { step: "fetch".into(), text: text.into(), warning: true }
}

fn failed() -> Event {
    let failure = Failure::new(Exit::Download, "release.download", "no mirror answered", "check the mirrors");
    Event::RunEnded { exit: 15, detail: failure.message.clone(), failure: Some(failure) }
}

/// A failing run.
fn story() -> Vec<Event> {
    let detail = "no mirror answered".to_owned();
    vec![
        warning("mirror 1 is slow"),
        Event::StepEnded { step: "fetch".into(), ending: Ending::Failed, detail, took_ms: 7 },
        failed(),
    ]
}

fn names(documents: &[Value]) -> Vec<&str> {
    let mut names: Vec<&str> = documents.iter().map(|document| document["event"]["event"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

fn texts(documents: &[Value]) -> Vec<&str> {
    documents.iter().filter_map(|document| document["event"]["text"].as_str()).collect()
}

/// A loopback address where nobody listens.
fn nobody() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

const NONE: Left = Left { waiting: 0, lost: 0 };

#[test]
fn a_run_is_told_signed_and_with_who_tells_it() {
    let receiver = Receiver::start(None, &[]);
    let machine = Machine::new(&receiver.url());
    assert_eq!(machine.live(&story(), PATIENCE), NONE);
    assert!(machine.spooled().is_empty());
    let documents = receiver.documents();
    assert_eq!(names(&documents), ["run.ended", "step.ended", "step.note"]);
    let end = documents.iter().find(|document| document["event"]["event"] == "run.ended").unwrap();
    assert_eq!((&end["schema"], &end["run"], &end["lost"]), (&1.into(), &"5f0c21aa".into(), &0.into()));
    assert_eq!((&end["node"]["role"], &end["node"]["server_id"]), (&"agent".into(), &"server-7".into()));
    assert_eq!(end["event"]["failure"]["reason"], "release.download");
    assert!(end["node"]["hostname"].is_string() && end["node"]["boot"].as_str().unwrap().len() == 36);
    let now = jwt::now();
    for request in receiver.requests() {
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(verify(&request, SECRET, now), Ok(()));
        assert_eq!(verify(&request, "another secret", now), Err("wrong"));
        assert_eq!(verify(&request, SECRET, now + 600), Err("too old, or from the future"));
        let mut changed = request.clone();
        changed.body.push(b' ');
        assert_eq!(verify(&changed, SECRET, now), Err("wrong"));
    }
    assert_eq!(machine.said(), "");
}

#[test]
fn what_a_receiver_that_is_down_was_not_told_the_next_process_tells() {
    let address = nobody();
    let machine = Machine::new(&format!("http://{address}/"));
    assert_eq!(machine.live(&[warning("one"), warning("two")], SHORT), Left { waiting: 2, lost: 0 });
    assert!(machine.said().contains("cannot be told now: connection refused"), "{}", machine.said());
    let before = machine.spooled();
    let receiver = Receiver::start_at(address, None, &[]);
    assert_eq!(machine.live(&[warning("three")], PATIENCE), NONE);
    assert_eq!(texts(&receiver.documents()), ["one", "two", "three"]);
    let bodies: Vec<Vec<u8>> = receiver.taken().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies[..2], before.into_iter().map(|(_, body)| body).collect::<Vec<_>>()[..]);
}

#[test]
fn what_a_receiver_cannot_take_now_it_is_told_again_as_the_same_event() {
    let replies = [
        Reply::Status("500 Internal Server Error"),
        Reply::RetryAfter("429 Too Many Requests", "0"),
        Reply::Cut,
        Reply::Status("408 Request Timeout"),
        Reply::Slow(Duration::from_millis(50)),
    ];
    let receiver = Receiver::start(None, &replies);
    let machine = Machine::new(&receiver.url());
    assert_eq!(machine.live(&[failed()], PATIENCE), NONE);
    let requests = receiver.requests();
    let first = (requests[0].header("kasm-bootstrap-id"), &requests[0].body);
    assert!(requests.len() >= 5);
    assert!(requests.iter().all(|request| (request.header("kasm-bootstrap-id"), &request.body) == first));
    assert_eq!(receiver.documents().len(), 1);
}

#[test]
fn a_receiver_that_wants_to_be_left_alone_is_and_nobody_waits_for_it() {
    let receiver = Receiver::start(None, &[Reply::RetryAfter("503 Service Unavailable", "600")]);
    let machine = Machine::new(&receiver.url());
    let webhook = machine.start();
    tell(&webhook, &[failed()]);
    until("one request", || receiver.requests().len() == 1 && !machine.said().is_empty());
    // It would take longer than the test if anybody waited.
    assert_eq!(finish(&webhook, Duration::from_secs(500)), Left { waiting: 1, lost: 0 });
    assert_eq!(receiver.requests().len(), 1);
}

#[test]
fn a_receiver_that_is_dead_does_not_keep_a_process_that_ends() {
    let machine = Machine::new(&format!("http://{}/", nobody()));
    let webhook = machine.start();
    tell(&webhook, &[failed()]);
    // It would take longer than the test may if anybody waited.
    assert_eq!(finish(&webhook, Duration::from_secs(500)), Left { waiting: 1, lost: 0 });
}

#[test]
fn what_a_receiver_refuses_is_given_up_and_said() {
    let receiver = Receiver::start(None, &[Reply::Status("404 Not Found")]);
    let machine = Machine::new(&receiver.url());
    assert_eq!(machine.live(&[warning("one"), warning("two")], PATIENCE), Left { waiting: 0, lost: 1 });
    assert_eq!(texts(&receiver.documents()), ["two"]);
    let said = machine.said();
    assert!(said.contains("does not take an event, which is given up: status 404"), "{said}");
    assert!(said.contains("http://127.0.0.1:") && !said.contains(PATH_KEY), "{said}");
}

#[test]
fn no_redirect_is_followed() {
    let elsewhere = Receiver::start(None, &[]);
    for status in ["302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let receiver = Receiver::start(None, &[Reply::Redirect(status, elsewhere.url())]);
        let machine = Machine::new(&receiver.url());
        assert_eq!(machine.live(&[failed()], PATIENCE), Left { waiting: 0, lost: 1 });
        assert!(machine.said().contains("no redirect is followed"), "{}", machine.said());
        assert!(!machine.said().contains(PATH_KEY), "{}", machine.said());
    }
    assert!(elsewhere.requests().is_empty());
}

#[test]
fn a_silent_receiver_is_waited_for_no_longer_than_was_said_and_the_event_stays() {
    let receiver = Receiver::start(None, &[Reply::Silent, Reply::Silent]);
    let mut machine = Machine::new(&receiver.url());
    assert_eq!(machine.live(&[failed()], SHORT), Left { waiting: 1, lost: 0 });
    let other = Receiver::start(None, &[]);
    assert_eq!(machine.at(&other.url()).live(&[], PATIENCE), NONE);
    assert_eq!(names(&other.documents()), ["run.ended"]);
}

#[test]
fn the_end_is_told_before_what_led_to_it_when_time_is_short() {
    let address = nobody();
    let machine = Machine::new(&format!("http://{address}/"));
    machine.live(&[warning("one"), warning("two"), failed()], SHORT);
    let silent = [Reply::Status("204 No Content"), Reply::Silent, Reply::Silent];
    let receiver = Receiver::start_at(address, None, &silent);
    let webhook = machine.start();
    // Asked for before the thread has looked at the disk, or after it has told one.
    let left = finish(&webhook, Duration::from_secs(1));
    assert!(left.waiting >= 1, "{left:?}");
    assert!(receiver.requests().len() >= 2);
    let early = &receiver.requests()[..2];
    assert!(early.iter().any(|request| holds(&request.body, b"run.ended")), "the end came late");
}

#[test]
fn a_receiver_that_cannot_prove_who_it_is_is_told_nothing_until_it_can() {
    let identity = tls::self_signed(&["127.0.0.1"]);
    let receiver = Receiver::start(Some(identity.config), &[]);
    let mut machine = Machine::new(&receiver.url());
    assert_eq!(machine.live(&[failed()], PATIENCE), Left { waiting: 1, lost: 0 });
    assert!(machine.said().contains("certificate"), "{}", machine.said());
    assert!(receiver.requests().is_empty());
    let ca = machine.directory.path().join("ca.pem");
    fs::write(&ca, identity.trust_pem).unwrap();
    machine.reporting.network.ca_certs = vec![ca];
    assert_eq!(machine.live(&[], PATIENCE), NONE);
    assert_eq!(names(&receiver.documents()), ["run.ended"]);
}

#[test]
fn more_events_than_fit_cost_the_oldest_and_the_next_one_says_how_many() {
    let address = nobody();
    let machine = Machine::new(&format!("http://{address}/"));
    let events: Vec<Event> = (0..259).map(|number| warning(&number.to_string())).collect();
    let webhook = machine.start();
    tell(&webhook, &events);
    let is_last = |(_, body): &(String, Vec<u8>)| holds(body, b"\"258\"");
    until("the last event", || machine.spooled().last().is_some_and(is_last));
    assert_eq!(finish(&webhook, SHORT), Left { waiting: 256, lost: 3 });
    assert!(machine.said().contains("the oldest are lost"), "{}", machine.said());
    let last: Value = serde_json::from_slice(&machine.spooled().last().unwrap().1).unwrap();
    assert_eq!((&last["event"]["text"], &last["lost"]), (&"258".into(), &1.into()));
}

#[test]
fn two_processes_tell_each_event_once() {
    let receiver = Receiver::start(None, &[]);
    let machine = Machine::new(&receiver.url());
    let webhooks = [machine.start(), machine.start()];
    std::thread::scope(|threads| {
        for (number, webhook) in webhooks.iter().enumerate() {
            threads.spawn(move || {
                let events: Vec<Event> = (0..20).map(|event| warning(&format!("{number}.{event}"))).collect();
                tell(webhook, &events);
                assert_eq!(finish(webhook, PATIENCE), NONE);
            });
        }
    });
    assert_eq!(receiver.taken().len(), 40);
    assert_eq!(receiver.documents().len(), 40);
}

#[test]
fn the_form_of_phone_home_is_sent_once_at_a_good_end() {
    let receiver = Receiver::start(None, &[Reply::Status("503 Service Unavailable")]);
    let mut machine = Machine::new(&receiver.url());
    machine.reporting.webhook.as_mut().unwrap().form = Form::PhoneHome;
    assert_eq!(machine.live(&story(), PATIENCE), NONE);
    assert!(receiver.requests().is_empty());
    let keys = machine.directory.path().join("etc/ssh");
    fs::create_dir_all(&keys).unwrap();
    fs::write(keys.join("ssh_host_rsa_key.pub"), "ssh-rsa AAAAB3 root@kasm\n").unwrap();
    let done = Event::RunEnded { exit: 0, detail: "the node is up".into(), failure: None };
    assert_eq!(machine.live(&[warning("one"), done], PATIENCE), NONE);
    let taken = receiver.taken();
    assert_eq!((taken.len(), receiver.requests().len()), (1, 2));
    assert_eq!(taken[0].header("content-type"), Some("application/x-www-form-urlencoded"));
    let body = String::from_utf8(taken[0].body.clone()).unwrap();
    assert!(body.starts_with("pub_key_rsa=ssh-rsa+AAAAB3+root%40kasm%0A&pub_key_ecdsa=N%2FA&"), "{body}");
    assert_eq!(verify(&taken[0], SECRET, jwt::now()), Ok(()));
}

/// `install` that is refused at its first step, on a machine with a webhook.
fn refused(scene: &Scene, url: &str) -> std::process::Command {
    let mut command = scene.install(&["--token-format", "jwt"]);
    command.env("KASM_BOOTSTRAP_WEBHOOK_URL", url).env("KASM_BOOTSTRAP_WEBHOOK_SECRET", SECRET);
    command
}

#[test]
fn a_failing_run_is_told_and_its_exit_code_is_its_own_whatever_the_receiver_does() {
    let scene = Scene::new(&Options::default());
    let receiver = Receiver::start(None, &[]);
    let (code, _, err) = spoken(&run(&mut refused(&scene, &receiver.url())));
    assert_eq!(code, 11, "{err}");
    let documents = receiver.documents();
    assert_eq!(names(&documents), ["run.ended", "run.started", "step.ended"]);
    let end = documents.iter().find(|document| document["event"]["event"] == "run.ended").unwrap();
    assert!(end["event"]["failure"]["reason"].as_str().unwrap().starts_with("token."), "{end}");
    assert_eq!(end["node"]["provider"], "harvester");
    let receiver = Receiver::start(None, &[const { Reply::Status("410 Gone") }; 3]);
    let (code, _, err) = spoken(&run(&mut refused(&scene, &receiver.url())));
    assert_eq!(code, 11, "{err}");
    assert!(err.contains("warning: webhook: ") && err.contains("status 410"), "{err}");
    assert!(err.contains("3 events are lost"), "{err}");
    for text in [SECRET, PATH_KEY] {
        assert!(!err.contains(text), "{err}");
    }
}

#[test]
fn what_a_killed_process_had_on_the_disk_is_told_to_the_last_byte() {
    let scene = Scene::new(&Options::default());
    let silent = Receiver::start(None, &[const { Reply::Silent }; 20]);
    let output = scene.root.join("output.txt");
    let mut child = start(&mut refused(&scene, &silent.url()), &output);
    let count = || spooled(&scene.root).iter().filter(|(name, _)| name != "lock").count();
    until("three events on the disk", || count() == 3);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut left: Vec<Vec<u8>> =
        spooled(&scene.root).into_iter().filter(|(name, _)| name != "lock").map(|(_, body)| body).collect();
    let receiver = Receiver::start(None, &[]);
    // A service that has nothing to do but this.
    fs::create_dir_all(scene.root.join("etc/kasm-bootstrap")).unwrap();
    let config = format!("[webhook]\nurl = \"{}\"\n[run]\nwait = \"1s\"\n", receiver.url());
    fs::write(scene.root.join("etc/kasm-bootstrap/config.toml"), config).unwrap();
    let service = run(scene.command().arg("run"));
    assert_eq!(service.status.code(), Some(10), "{}", String::from_utf8_lossy(&service.stderr));
    let mut told: Vec<Vec<u8>> = receiver.taken().into_iter().map(|request| request.body).collect();
    // It tells its own end, too: there was no run, and it failed all the same.
    let own = told.iter().position(|body| holds(body, b"config.missing")).unwrap();
    let own: Value = serde_json::from_slice(&told.remove(own)).unwrap();
    assert_eq!((&own["event"]["event"], &own["run"]), (&"run.ended".into(), &"none".into()));
    told.sort();
    left.sort();
    assert_eq!(told, left);
    assert_eq!(count(), 0);
}

/// A service that tells how it ends, with this in its configuration beside.
fn service(scene: &Scene, receiver: &Receiver, beside: &str) -> std::process::Command {
    let config = format!(
        "role = \"agent\"\n{beside}\n[release]\nurls = [\"{}\"]\nsha256 = \"{}\"\n[manager]\naddress = \"{}\"\n\
         token = \"{TOKEN}\"\n[webhook]\nurl = \"{}\"\nevents = \"end\"\n",
        scene.url(),
        scene.release.sha256,
        scene.manager.address(),
        receiver.url(),
    );
    fs::create_dir_all(scene.root.join("etc/kasm-bootstrap")).unwrap();
    fs::write(scene.root.join("etc/kasm-bootstrap/config.toml"), config).unwrap();
    let mut command = scene.command();
    command.arg("run");
    command
}

#[test]
fn a_failing_boot_is_told_once_before_the_service_ends() {
    let scene = Scene::new(&Options::default());
    let receiver = Receiver::start(None, &[]);
    let (code, _, err) = spoken(&run(&mut service(&scene, &receiver, "token_format = \"jwt\"")));
    assert_eq!(code, 11, "{err}");
    let documents = receiver.documents();
    assert_eq!(names(&documents), ["run.ended"]);
    assert_ne!(documents[0]["run"], "none");
}

#[test]
fn a_boot_that_its_budget_ends_is_told_too() {
    let fault = Fault::Hang { at: Point::Apt, ignore_term: false };
    let scene = Scene::new(&Options { faults: vec![fault], ..Options::default() });
    let receiver = Receiver::start(None, &[]);
    let (code, _, err) = spoken(&run(&mut service(&scene, &receiver, "deadline = \"5s\"")));
    assert_eq!(code, 22, "{err}");
    let documents = receiver.documents();
    assert_eq!(names(&documents), ["run.ended"]);
    assert_eq!(documents[0]["event"]["exit"], 22, "{}", documents[0]);
    assert!(spooled(&scene.root).iter().all(|(name, _)| name == "lock"));
}

#[test]
fn a_spool_on_a_full_disk_harms_no_run_and_what_is_lost_is_said() {
    let scene = Scene::new(&Options::default());
    let Some(disk) = Disk::over(&scene, "var/lib/kasm-bootstrap/spool") else { return };
    disk.fill();
    let receiver = Receiver::start(None, &[]);
    let (code, _, err) = spoken(&run(&mut refused(&scene, &receiver.url())));
    assert_eq!(code, 11, "{err}");
    assert!(err.contains("events cannot be kept on the disk"), "{err}");
    assert!(!err.contains("lost"), "{err}");
    assert_eq!(names(&receiver.documents()), ["run.ended", "run.started", "step.ended"]);
    let gone = Receiver::start(None, &[const { Reply::RetryAfter("503 Service Unavailable", "600") }; 9]);
    let (code, _, err) = spoken(&run(&mut refused(&scene, &gone.url())));
    assert_eq!(code, 11, "{err}");
    assert!(err.contains("3 events are lost: nobody will be told them"), "{err}");
}

#[test]
fn a_url_with_a_password_in_it_is_used_and_shown_nowhere() {
    let identity = tls::self_signed(&["127.0.0.1"]);
    let receiver = Receiver::start(Some(identity.config), &[Reply::Status("403 Forbidden")]);
    let scene = Scene::new(&Options::default());
    let ca = scene.root.join("ca.pem");
    fs::write(&ca, identity.trust_pem).unwrap();
    let url = format!("https://kasm:hunter2hunter2@{}/hooks/{PATH_KEY}?key={PATH_KEY}#x", receiver.address());
    let mut outputs = Vec::new();
    let mut command = refused(&scene, &url);
    command.arg("--ca-cert").arg(&ca).args(["-v"]);
    outputs.push(run(&mut command));
    assert_eq!(receiver.requests()[0].header("authorization"), Some("Basic a2FzbTpodW50ZXIyaHVudGVyMg=="));
    assert_eq!(receiver.taken().len(), 2);
    for arguments in
        [["config", "show"].as_slice(), &["config", "show", "--json"], &["status", "--json"], &["plan", "install"]]
    {
        outputs.push(run(scene.command().args(arguments).env("KASM_BOOTSTRAP_WEBHOOK_URL", &url)));
    }
    // Without proof of who it is, a password goes to nobody.
    let mut command = refused(&scene, &url);
    outputs.push(run(command.arg("--insecure")));
    assert_eq!(outputs.last().unwrap().status.code(), Some(10));
    for output in &outputs {
        for bytes in [&output.stdout, &output.stderr] {
            for secret in ["hunter2", PATH_KEY, "a2FzbTpod", SECRET] {
                assert!(!holds(bytes, secret.as_bytes()), "{secret}: {}", String::from_utf8_lossy(bytes));
            }
        }
    }
    let shown = String::from_utf8(outputs[1].stdout.clone()).unwrap();
    assert!(shown.contains(&format!("https://{}", receiver.address())), "{shown}");
    for entry in scene.journal() {
        assert!(!entry.to_string().contains(PATH_KEY));
    }
}
