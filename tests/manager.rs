//! The manager's health check against real sockets: everything that stands between a node and its
//! manager has its own words.

use kasm_bootstrap::deadline::Deadline;
use kasm_bootstrap::error::{Exit, Explain, Failure};
use kasm_bootstrap::intent::HostPort;
use kasm_bootstrap::kasm::manager::{Error, Health, Manager, Trust};
use kasm_bootstrap::net;
use kasm_bootstrap::observe::{Observer, Silent, Wait};
use kasm_bootstrap::paths::Paths;
use kasm_stand_in::manager::{Answer, Behaviour, Manager as StandIn};
use kasm_stand_in::tls;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::time::Duration;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn at(port: u16, options: net::Options) -> Manager {
    let address = HostPort { host: "127.0.0.1".into(), port: Some(port) };
    Manager::new(&Paths::default(), &address, &options)
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn ask(port: u16, options: net::Options) -> Result<Health, Error> {
    run(at(port, options).healthcheck(soon()))
}

fn trusting(pem: &str) -> (tempfile::TempDir, net::Options) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, pem).unwrap();
    (directory, net::Options { ca_certs: vec![path], ..net::Options::default() })
}

/// A failure as people see it, without this run's port.
fn shown(error: Error, port: u16) -> String {
    let failure = Failure::from(error);
    assert_eq!(failure.exit(), Exit::Manager);
    let text = format!("{}\n[{}]\n{}", failure.message, failure.reason, failure.help);
    text.replace(&format!(":{port}"), ":PORT")
}

/// A port on which nobody listens, and which no other test can be given.
const CLOSED: u16 = 1;

/// A port that is free now: bound and let go.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Takes connections for as long as the process lives and hands each to `talk`.
fn listener(talk: fn(std::net::TcpStream)) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || talk(stream));
        }
    });
    port
}

#[test]
fn a_healthy_manager_whose_issuer_is_named_is_verified() {
    let identity = tls::issued(&["127.0.0.1"]);
    let date = "Wed, 21 Oct 2015 07:28:00 GMT";
    let manager = StandIn::start(Some(identity.config), Behaviour { date: Some(date.into()), ..Behaviour::default() });
    let (_directory, options) = trusting(&identity.trust_pem);
    let health = ask(manager.port(), options).unwrap();
    assert!(health.verified());
    assert_eq!(health.warning(), None);
    assert_eq!(health.clocks.unwrap().manager, httpdate::parse_http_date(date).unwrap());
    assert_eq!(manager.requests()[0].target, "/api/__healthcheck");
}

#[test]
fn a_self_signed_manager_is_believed_with_a_warning() {
    let manager = StandIn::start(Some(tls::self_signed(&["127.0.0.1"]).config), Behaviour::default());
    let health = ask(manager.port(), net::Options::default()).unwrap();
    assert!(!health.verified());
    insta::assert_snapshot!(health.warning().unwrap(), @"the manager's certificate is self-signed or its issuer is unknown: pass --ca-cert or --tls-pin to verify it");
}

#[test]
fn an_unknown_issuer_is_a_warning_too() {
    let manager = StandIn::start(Some(tls::issued(&["127.0.0.1"]).config), Behaviour::default());
    let health = ask(manager.port(), net::Options::default()).unwrap();
    assert!(matches!(health.trust, Trust::Distrusted(_)));
}

#[test]
fn with_another_authority_named_an_unknown_issuer_is_refused() {
    let manager = StandIn::start(Some(tls::issued(&["127.0.0.1"]).config), Behaviour::default());
    let (_directory, options) = trusting(&tls::issued(&["127.0.0.1"]).trust_pem);
    let error = ask(manager.port(), options).unwrap_err();
    assert!(!error.heals());
    insta::assert_snapshot!(shown(error, manager.port()), @"
    the certificate of manager 127.0.0.1:PORT is not signed by the authority it names
    [manager.certificate]
    give the authority that issued it to --ca-cert, or the certificate's SHA-256 to --tls-pin
    ");
    assert!(manager.requests().is_empty());
}

#[test]
fn a_certificate_for_another_name_is_refused_where_its_issuer_was_named() {
    let identity = tls::issued(&["other.example"]);
    let manager = StandIn::start(Some(identity.config), Behaviour::default());
    let (_directory, options) = trusting(&identity.trust_pem);
    insta::assert_snapshot!(shown(ask(manager.port(), options).unwrap_err(), manager.port()), @"
    the certificate of manager 127.0.0.1:PORT is for another name (other.example)
    [manager.certificate]
    give the manager by a name its certificate is for with -m, or the certificate's SHA-256 to --tls-pin
    ");
}

#[test]
fn a_pin_is_enough_and_another_pin_is_refused() {
    let identity = tls::self_signed(&["other.example"]);
    let pin = net::Pin::of(&identity.certificate);
    let manager = StandIn::start(Some(identity.config), Behaviour::default());
    let pinned = |pin| net::Options { pin: Some(pin), ..net::Options::default() };
    assert!(ask(manager.port(), pinned(pin)).unwrap().verified());
    let error = ask(manager.port(), pinned(net::Pin::of(b"another"))).unwrap_err();
    let text = shown(error, manager.port()).replace(&pin.to_string(), "SEEN");
    insta::assert_snapshot!(text, @"
    the certificate of manager 127.0.0.1:PORT is not the pinned one (it is SEEN)
    [manager.certificate]
    make sure that this is the manager that is meant, then give the SHA-256 of its certificate to --tls-pin
    ");
}

#[test]
fn insecure_is_not_a_warning_because_it_was_asked_for() {
    let manager = StandIn::start(Some(tls::self_signed(&["127.0.0.1"]).config), Behaviour::default());
    let health = ask(manager.port(), net::Options { insecure: true, ..net::Options::default() }).unwrap();
    assert_eq!((health.warning(), health.trust), (None, Trust::NotAsked));
}

#[test]
fn a_refused_port_says_that_nothing_listens() {
    let port = CLOSED;
    let error = ask(port, net::Options::default()).unwrap_err();
    assert!(error.heals());
    insta::assert_snapshot!(shown(error, port), @"
    manager 127.0.0.1:PORT refuses the connection
    [manager.refused]
    nothing listens at 127.0.0.1:PORT: check the address and port given with -m, and that Kasm's web server runs on the manager
    ");
}

#[test]
fn a_listener_that_never_answers_is_told_from_a_port_that_is_filtered() {
    let port = listener(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let manager = at(port, net::Options::default());
    let error = run(manager.healthcheck(Deadline::after(Duration::from_secs(3)))).unwrap_err();
    assert!(error.heals());
    insta::assert_snapshot!(shown(error, port), @"
    manager 127.0.0.1:PORT takes the connection but does not answer (2 s)
    [manager.silent]
    see `docker ps` on the manager: its containers must be healthy; a load balancer at 127.0.0.1:PORT needs a healthy manager behind it
    ");
}

#[test]
fn a_port_that_drops_every_packet_points_at_the_firewall() {
    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, socket};
    let address: std::net::SocketAddrV4 = "127.0.0.1:0".parse().unwrap();
    let held = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).unwrap();
    bind(std::os::fd::AsRawFd::as_raw_fd(&held), &SockaddrIn::from(address)).unwrap();
    listen(&held, Backlog::new(0).unwrap()).unwrap();
    let held = TcpListener::from(held);
    let address = held.local_addr().unwrap();
    // Nobody accepts: once the queue is full the kernel drops each further attempt without a word.
    let mut queue = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queue.push(stream);
    }
    let manager = at(address.port(), net::Options::default());
    let error = run(manager.healthcheck(Deadline::after(Duration::from_secs(2)))).unwrap_err();
    assert!(error.heals());
    insta::assert_snapshot!(shown(error, address.port()), @"
    manager 127.0.0.1:PORT does not answer a connection attempt (1 s)
    [manager.timeout]
    a firewall or security group most likely drops the packets: let this machine connect to 127.0.0.1:PORT (TCP)
    ");
}

#[test]
fn plain_http_where_tls_is_expected_points_at_the_port() {
    let port = listener(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    let error = ask(port, net::Options::default()).unwrap_err();
    assert!(!error.heals());
    insta::assert_snapshot!(shown(error, port), @"
    127.0.0.1:PORT does not speak TLS
    [manager.not-tls]
    check the port in 127.0.0.1:PORT: the manager's HTTPS port is wanted with -m HOST:PORT, 443 unless it was changed
    ");
}

#[test]
fn a_connection_cut_before_the_answer_is_its_own_case() {
    let port = listener(|mut stream| drop(stream.read(&mut [0; 1024])));
    let error = ask(port, net::Options::default()).unwrap_err();
    assert!(error.heals());
    assert_eq!(error.reason(), "manager.cut");
}

#[test]
fn answers_other_than_ok_are_described() {
    let cases = [
        (Answer::NotOk, "{\"ok\": false}` instead of"),
        (Answer::Page, "with a web page instead of JSON"),
        (Answer::Empty, "with nothing"),
        (Answer::Raw(b"true".to_vec()), "`true` instead of {\"ok\": true}"),
        (Answer::Raw(vec![b'x'; 70 * 1024]), "with more than 64 KiB"),
    ];
    let identity = tls::self_signed(&["127.0.0.1"]);
    let manager = StandIn::start(Some(identity.config), Behaviour::default());
    for (answer, expected) in cases {
        manager.behave(Behaviour { answer, ..Behaviour::default() });
        let error = ask(manager.port(), net::Options::default()).unwrap_err();
        assert_eq!(error.reason(), "manager.body");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_redirect_away_from_https_is_not_followed() {
    let manager = StandIn::start(Some(tls::self_signed(&["127.0.0.1"]).config), Behaviour::default());
    manager.behave(Behaviour { answer: Answer::Redirect("http://127.0.0.1:1/login".into()), ..Behaviour::default() });
    let error = ask(manager.port(), net::Options::default()).unwrap_err();
    insta::assert_snapshot!(shown(error, manager.port()), @"
    manager 127.0.0.1:PORT sends its health check elsewhere: it redirects from https to unprotected http://127.0.0.1:1/login, which is refused
    [manager.redirect]
    check that 127.0.0.1:PORT is the Kasm manager itself: a captive portal, proxy or other web server may answer in its place (try `curl -k https://127.0.0.1:PORT/api/__healthcheck`)
    ");
}

#[test]
fn a_status_of_a_starting_manager_is_worth_waiting_for() {
    let manager = StandIn::start(
        Some(tls::self_signed(&["127.0.0.1"]).config),
        Behaviour { down_for: 1, down_status: "502 Bad Gateway".into(), ..Behaviour::default() },
    );
    let error = ask(manager.port(), net::Options::default()).unwrap_err();
    assert!(error.heals());
    insta::assert_snapshot!(shown(error, manager.port()), @"
    manager 127.0.0.1:PORT answers its health check with status 502 Bad Gateway
    [manager.status]
    Kasm's API behind 127.0.0.1:PORT is not up: see `docker ps` and the log of kasm_api on the manager
    ");
    assert!(ask(manager.port(), net::Options::default()).is_ok());
}

#[derive(Default)]
struct Recorder(Mutex<Vec<Wait>>);

impl Observer for Recorder {
    fn waiting(&self, wait: &Wait) {
        self.0.lock().unwrap().push(wait.clone());
    }
}

#[test]
fn waiting_goes_on_until_the_manager_comes_up_on_its_port_and_each_wait_is_told() {
    let port = free_port();
    let recorder = Recorder::default();
    let manager = at(port, net::Options::default());
    let address: SocketAddr = ([127, 0, 0, 1], port).into();
    let config = tls::self_signed(&["127.0.0.1"]).config;
    let behaviour = Behaviour { down_for: 1, ..Behaviour::default() };
    let (health, _stand_in) = run(async {
        tokio::join!(manager.wait(soon(), &recorder), async {
            // It comes up once the first wait has been told, not after a guessed time.
            while recorder.0.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            StandIn::start_at(address, Some(config), behaviour)
        })
    });
    health.unwrap();
    let waits = recorder.0.into_inner().unwrap();
    let texts: Vec<String> = waits
        .iter()
        .map(|wait| {
            format!("{}: {}", wait.what, wait.holder.as_deref().unwrap_or("-")).replace(&port.to_string(), "PORT")
        })
        .collect();
    insta::assert_snapshot!(texts.join("\n"), @"
    manager 127.0.0.1:PORT: manager 127.0.0.1:PORT refuses the connection
    manager 127.0.0.1:PORT: manager 127.0.0.1:PORT answers its health check with status 503 Service Unavailable
    ");
}

#[test]
fn waiting_ends_at_the_deadline_with_the_last_real_error() {
    let manager = at(CLOSED, net::Options::default());
    let error = run(manager.wait(Deadline::after(Duration::from_millis(1200)), &Silent)).unwrap_err();
    assert_eq!(error.reason(), "manager.refused");
    let failure = Failure::from(error);
    assert!(failure.message.contains("refuses the connection (waited "), "{}", failure.message);
    assert!(failure.causes.is_empty());
}

#[test]
fn what_waiting_cannot_mend_ends_the_wait_at_once() {
    let manager = StandIn::start(Some(tls::issued(&["127.0.0.1"]).config), Behaviour::default());
    let (_directory, options) = trusting(&tls::issued(&["127.0.0.1"]).trust_pem);
    let recorder = Recorder::default();
    let error = run(at(manager.port(), options).wait(soon(), &recorder)).unwrap_err();
    assert_eq!(error.reason(), "manager.certificate");
    assert!(recorder.0.into_inner().unwrap().is_empty());
}

#[test]
fn a_ca_file_that_cannot_be_used_is_a_matter_of_configuration() {
    let options = net::Options { ca_certs: vec!["/nonexistent/ca.pem".into()], ..net::Options::default() };
    let error = ask(1, options).unwrap_err();
    assert_eq!((error.reason(), error.exit()), ("net.ca-file", Exit::Configuration));
}

#[test]
fn each_stage_on_the_way_is_looked_at_on_its_own() {
    let stand_in = StandIn::start(
        Some(tls::self_signed(&["127.0.0.1"]).config),
        Behaviour { answer: Answer::NotOk, ..Behaviour::default() },
    );
    let look = run(at(stand_in.port(), net::Options::default()).look(soon()));
    assert_eq!(look.addresses.unwrap(), [stand_in.address().ip()]);
    assert_eq!(look.connection.unwrap().unwrap().address, stand_in.address());
    assert!(matches!(look.trust, Some(Trust::Distrusted(_))));
    assert_eq!(look.health.unwrap().unwrap_err().reason(), "manager.body");

    let look = run(at(CLOSED, net::Options::default()).look(soon()));
    assert_eq!(look.connection.unwrap().unwrap_err().reason(), "manager.refused");
    assert!(look.trust.is_none() && look.health.is_none());
}
