//! The way to the manager and to the release, through the real binary: every fault has its own name.

mod common;

use common::{Scene, TOKEN, holds, run, spoken};
use kasm_stand_in::manager::{Answer, Behaviour, Manager};
use kasm_stand_in::mirror::{Fault, Mirror};
use kasm_stand_in::release::Options;
use kasm_stand_in::tls;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// A port on which nobody listens, and which no test can be given.
const CLOSED: &str = "127.0.0.1:1";
/// A name server that is not there.
const NO_SERVER: &str = "nameserver 127.0.0.254\noptions timeout:1 attempts:1\n";

fn scene() -> Scene {
    Scene::new(&Options::default())
}

fn write(scene: &Scene, path: &str, text: &str) {
    std::fs::write(scene.root.join(path), text).unwrap();
}

fn preflight(scene: &Scene, manager: &str) -> Command {
    let mut command = scene.command();
    command.args(["preflight", "--json", "-p", "agent.example.com", "-m", manager]);
    command
}

/// What a preflight said, check by check.
struct Said(Value);

impl Said {
    fn of(command: &mut Command) -> Said {
        let (_, out, err) = spoken(&run(command));
        Said(serde_json::from_str(&out).unwrap_or_else(|_| panic!("no answer: {err}")))
    }

    fn of_check(&self, name: &str) -> &Value {
        self.0["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()
    }

    /// Verdict and detail, without what differs from run to run.
    fn line(&self, name: &str) -> String {
        let check = self.of_check(name);
        stable(&format!("{}: {}", check["verdict"].as_str().unwrap(), check["detail"].as_str().unwrap()))
    }

    fn lines(&self, names: &[&str]) -> String {
        names.iter().map(|name| format!("{name} {}\n", self.line(name))).collect()
    }
}

/// Ports and times made equal.
fn stable(text: &str) -> String {
    let mut out = String::new();
    let mut digits = String::new();
    let flush = |digits: &mut String, out: &mut String, next: Option<char>| {
        let port = out.ends_with(':') && digits.len() >= 4;
        let time = next == Some(' ') && out.ends_with("in ");
        out.push_str(if port {
            "PORT"
        } else if time {
            "N"
        } else {
            digits.as_str()
        });
        digits.clear();
    };
    for character in text.chars() {
        if character.is_ascii_digit() {
            digits.push(character);
            continue;
        }
        flush(&mut digits, &mut out, Some(character));
        out.push(character);
    }
    flush(&mut digits, &mut out, None);
    out
}

/// A name server on a loopback address of its own, port 53. It answers questions for A with this address, or
/// else with these header bits, or not at all. `None` where port 53 may not be bound.
fn name_server(last: u8, bits: u16, address: Option<Ipv4Addr>) -> Option<String> {
    let here = Ipv4Addr::new(127, 53, 1, last);
    let Ok(socket) = UdpSocket::bind((here, 53)) else {
        println!("skipped: port 53 of {here} cannot be bound");
        return None;
    };
    std::thread::spawn(move || {
        let mut packet = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            let end = packet[12..length].iter().position(|byte| *byte == 0).unwrap() + 13;
            let known = address.filter(|_| packet[end + 1] == 1);
            let mut reply = packet[..end + 4].to_vec();
            reply[2..4].copy_from_slice(&if address.is_some() { 0x8180u16 } else { bits }.to_be_bytes());
            reply[4..12].copy_from_slice(&[0, 1, 0, u8::from(known.is_some()), 0, 0, 0, 0]);
            if let Some(address) = known {
                reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                reply.extend(address.octets());
            }
            socket.send_to(&reply, from).unwrap();
        }
    });
    Some(format!("nameserver {here}\n"))
}

/// A proxy that answers each `CONNECT` with these bytes, or leads wherever it was told to.
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone, Copy)]
enum Habit {
    Says(&'static str),
    Leads(SocketAddr),
    Silent,
}

impl Proxy {
    fn start(habit: Habit) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy { address: listener.local_addr().unwrap(), asked: Arc::default() };
        let asked = proxy.asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let asked = asked.clone();
                std::thread::spawn(move || serve(stream, habit, &asked));
            }
        });
        proxy
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn serve(mut stream: TcpStream, habit: Habit, asked: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut byte = [0; 1];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
    }
    asked.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
    match habit {
        // A client that went away is the client's business.
        Habit::Says(words) => drop(stream.write_all(words.as_bytes())),
        Habit::Silent => drop(stream.read_to_end(&mut Vec::new())),
        Habit::Leads(to) => {
            let mut there = TcpStream::connect(to).unwrap();
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
            let (mut from, mut into) = (stream.try_clone().unwrap(), there.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut into); // ends with either side
                let _ = into.shutdown(std::net::Shutdown::Write); // may be gone already
            });
            let _ = std::io::copy(&mut there, &mut stream); // ends with either side
            let _ = stream.shutdown(std::net::Shutdown::Both); // may be gone already
        }
    }
}

#[test]
fn a_manager_that_only_a_proxy_reaches_is_asked_through_it_and_by_name() {
    let scene = scene();
    write(&scene, "etc/resolv.conf", NO_SERVER);
    let proxy = Proxy::start(Habit::Leads(scene.manager.address()));
    let url = proxy.url().replace("http://", "http://user:hunter2@");
    let said = Said::of(preflight(&scene, "kasm.internal.example").env("HTTPS_PROXY", url));
    insta::assert_snapshot!(said.lines(&["manager-name", "manager-tcp", "proxy", "manager-tls", "manager-health"]), @"
    manager-name skipped: kasm.internal.example does not resolve here, but the way leads through proxy 127.0.0.1:PORT, which resolves it itself
    manager-tcp skipped: the way leads through proxy 127.0.0.1:PORT: see proxy
    proxy pass: proxy 127.0.0.1:PORT connects to the manager
    manager-tls warn: the manager's certificate is self-signed or its issuer is unknown
    manager-health pass: healthy, answered in N ms
    ");
    let asked = proxy.asked.lock().unwrap();
    assert!(asked.iter().all(|head| head.starts_with("CONNECT kasm.internal.example:443 HTTP/1.1\r\n")), "{asked:?}");
    // user:hunter2
    assert!(asked.iter().all(|head| head.to_ascii_lowercase().contains("proxy-authorization: basic dxnlcjpodw50zxiy")));
    assert!(!said.0.to_string().contains("hunter2"));
}

#[test]
fn a_proxy_that_is_wrong_is_named_with_what_is_wrong_with_it() {
    let scene = scene();
    write(&scene, "etc/resolv.conf", NO_SERVER);
    let starts = |words| Proxy::start(Habit::Says(words)).url();
    let proxies = [
        starts("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"),
        starts("HTTP/1.1 407 No\r\n\r\n").replace("http://", "http://user:hunter2@"),
        starts("HTTP/1.1 403 Forbidden\r\n\r\n"),
        starts("HTTP/1.1 503 Service Unavailable\r\n\r\n"),
        starts("SSH-2.0-OpenSSH_9.2\r\n"),
        starts(""),
        Proxy::start(Habit::Silent).url(),
        format!("http://{CLOSED}"),
        "http://proxy.nowhere.example:3128".into(),
        "socks5://127.0.0.1:1080".into(),
        "::nonsense::".into(),
    ];
    let manager = scene.manager.address().to_string();
    let lines: Vec<String> = std::thread::scope(|scope| {
        let ask = |proxy: &String| {
            let said = Said::of(preflight(&scene, &manager).env("https_proxy", proxy));
            let text = said.0.to_string();
            assert!(!text.contains("hunter2") && !text.contains("aHVudGVy"), "{text}");
            said.line("proxy")
        };
        let asking: Vec<_> = proxies.iter().map(|proxy| scope.spawn(move || ask(proxy))).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    insta::assert_snapshot!(lines.join("\n"), @"
    fail: there is no way through the proxy to manager 127.0.0.1:PORT: proxy 127.0.0.1:PORT asks for a user name and a password (status 407)
    fail: there is no way through the proxy to manager 127.0.0.1:PORT: proxy 127.0.0.1:PORT refuses the user name and password in its URL (status 407)
    fail: there is no way through the proxy to manager 127.0.0.1:PORT: proxy 127.0.0.1:PORT does not connect to 127.0.0.1:PORT: status 403
    fail: there is no way through the proxy to manager 127.0.0.1:PORT: proxy 127.0.0.1:PORT does not connect to 127.0.0.1:PORT: status 503
    fail: there is no way through the proxy to manager 127.0.0.1:PORT: proxy 127.0.0.1:PORT does not answer as an HTTP proxy does
    fail: there is no way through the proxy to manager 127.0.0.1:PORT: proxy 127.0.0.1:PORT closes the connection without an answer
    fail: there is no way through the proxy to manager 127.0.0.1:PORT: proxy 127.0.0.1:PORT takes the connection but does not answer
    fail: there is no way through the proxy to manager 127.0.0.1:PORT: proxy 127.0.0.1:1 cannot be reached: connection refused
    fail: there is no way through the proxy to manager 127.0.0.1:PORT: proxy proxy.nowhere.example:PORT cannot be found: the name proxy.nowhere.example cannot be resolved: no answer from name server 127.0.0.254
    fail: there is no way through the proxy to manager 127.0.0.1:PORT: proxy 127.0.0.1:PORT is a socks5 proxy, and only http and https ones can be used
    warn: https_proxy is set to what is no proxy's URL, so that no proxy is used
    ");
}

#[test]
fn what_no_proxy_names_is_reached_past_the_proxy() {
    let scene = scene();
    let manager = scene.manager.address().to_string();
    let mut command = preflight(&scene, &manager);
    let said = Said::of(command.env("HTTPS_PROXY", format!("http://{CLOSED}")).env("NO_PROXY", "127.0.0.1"));
    assert_eq!(said.line("proxy"), "skipped: no proxy is on the way to the manager");
    assert_eq!(said.of_check("manager-tcp")["verdict"], "pass");
}

#[test]
fn a_proxy_that_refuses_ends_an_installation_in_one_sentence() {
    let scene = scene();
    let proxy = Proxy::start(Habit::Says("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"));
    let (code, _, err) = spoken(&run(scene.install(&[]).env("HTTPS_PROXY", proxy.url())));
    assert_eq!(code, 13, "{err}");
    insta::assert_snapshot!(sentence(&err), @"error: there is no way through the proxy to manager 127.0.0.1:PORT: proxy 127.0.0.1:PORT asks for a user name and a password (status 407) [manager.proxy]");
    assert!(scene.manager.requests().is_empty());
}

/// The one line that says why a command failed.
fn sentence(err: &str) -> String {
    let mut lines = err.lines().filter(|line| line.starts_with("error: "));
    let line = lines.next().unwrap_or_else(|| panic!("no error in {err}"));
    assert_eq!(lines.next(), None, "{err}");
    stable(line)
}

fn now() -> String {
    httpdate::fmt_http_date(SystemTime::now())
}

/// What `manager-tls` says of a manager with this certificate and this clock, when its authority is named.
fn tls_line(identity: tls::Identity, date: Option<String>) -> String {
    let scene = scene();
    let ca = scene.root.join("ca.pem");
    std::fs::write(&ca, &identity.trust_pem).unwrap();
    let manager = Manager::start(Some(identity.config), Behaviour { date, ..Behaviour::default() });
    let mut command = preflight(&scene, &manager.address().to_string());
    let said = Said::of(command.arg("--ca-cert").arg(ca));
    assert_eq!(said.of_check("manager-health")["verdict"], "skipped");
    let check = said.of_check("manager-tls");
    format!("{} [{}]", said.line("manager-tls"), check["reason"].as_str().unwrap())
}

#[test]
fn an_expired_certificate_is_told_from_a_wrong_clock() {
    let here = &["127.0.0.1"];
    let lines = [
        tls_line(tls::issued_between(here, 2010, 2012), Some(now())),
        tls_line(tls::issued_between(here, 2010, 2012), Some("Sat, 01 Jan 2011 00:00:00 GMT".into())),
        tls_line(tls::issued_between(here, 3000, 3010), Some(now())),
        tls_line(tls::issued_between(here, 3000, 3010), Some("Sun, 01 Jan 3004 00:00:00 GMT".into())),
        tls_line(tls::issued(&["other.example"]), Some(now())),
    ];
    let shown = lines.map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        // How far the clocks are apart grows from day to day.
        let at = words.iter().position(|word| *word == "years").unwrap_or(usize::MAX);
        let kept = words.iter().enumerate().filter(|(n, _)| *n + 1 < at || *n > at.saturating_add(2));
        kept.map(|(_, word)| *word).collect::<Vec<_>>().join(" ")
    });
    insta::assert_snapshot!(shown.join("\n"), @"
    fail: the certificate of manager 127.0.0.1:PORT expired at 2012-01-01 00:00 UTC, by the manager's clock and by this machine's [manager.certificate]
    fail: this machine's clock is wrong: it is ahead of that of manager 127.0.0.1:PORT, whose certificate has expired by it [manager.clock]
    fail: the certificate of manager 127.0.0.1:PORT is valid from 3000-01-01 00:00 UTC on, by the manager's clock and by this machine's [manager.certificate]
    fail: this machine's clock is wrong: it is behind that of manager 127.0.0.1:PORT, whose certificate is not valid yet by it [manager.clock]
    fail: the certificate of manager 127.0.0.1:PORT is for another name (other.example) [manager.certificate]
    ");
}

#[test]
fn a_clock_that_differs_from_the_managers_is_a_warning_of_its_own() {
    let scene = scene();
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3 * 86_400 + 7300));
    scene.manager.behave(Behaviour { date: Some(date), ..Behaviour::default() });
    let manager = scene.manager.address().to_string();
    let line = Said::of(&mut preflight(&scene, &manager)).line("clock");
    insta::assert_snapshot!(line, @"warn: this machine's clock is 3 days 2 hours behind the manager's: good tokens and certificates may look expired or not valid yet");
    // Also from a manager that is ill: its clock is not.
    scene.manager.behave(Behaviour { date: Some(now()), down_for: usize::MAX, ..Behaviour::default() });
    assert_eq!(Said::of(&mut preflight(&scene, &manager)).line("clock"), "pass: agrees with the manager's");
}

#[test]
fn a_captive_portal_is_called_one() {
    let scene = scene();
    let manager = scene.manager.address().to_string();
    let answers = [
        Answer::Page,
        Answer::Redirect("https://portal.example/login?mac=1".into()),
        Answer::Redirect("http://portal.example/login".into()),
        Answer::Raw(b"{\"ok\": \"true\"}".to_vec()),
    ];
    let lines = answers.map(|answer| {
        scene.manager.behave(Behaviour { answer, ..Behaviour::default() });
        Said::of(&mut preflight(&scene, &manager)).line("manager-health")
    });
    insta::assert_snapshot!(lines.join("\n"), @r#"
    fail: manager 127.0.0.1:PORT answers its health check with a web page instead of JSON (a captive portal or a login page?)
    fail: manager 127.0.0.1:PORT sends its health check elsewhere: it redirects to https://portal.example/login, as a captive portal or a login page does
    fail: manager 127.0.0.1:PORT sends its health check elsewhere: it redirects to http://portal.example/login, as a captive portal or a login page does
    fail: manager 127.0.0.1:PORT answers its health check with `{"ok": "true"}` instead of {"ok": true}
    "#);
}

#[test]
fn a_name_is_told_with_who_told_it_or_who_did_not() {
    let scene = scene();
    let say = |resolv: &str| {
        write(&scene, "etc/resolv.conf", resolv);
        Said::of(&mut preflight(&scene, &format!("kasm.example.com:{}", scene.manager.port()))).line("manager-name")
    };
    let mut lines = vec![say(NO_SERVER)];
    std::fs::remove_file(scene.root.join("etc/resolv.conf")).unwrap();
    std::os::unix::fs::symlink("../run/systemd/resolve/stub-resolv.conf", scene.root.join("etc/resolv.conf")).unwrap();
    lines.push(Said::of(&mut preflight(&scene, "kasm.example.com")).line("manager-name"));
    std::fs::remove_file(scene.root.join("etc/resolv.conf")).unwrap();
    insta::assert_snapshot!(lines.join("\n"), @"
    fail: manager kasm.example.com:PORT cannot be found: the name kasm.example.com cannot be resolved: no answer from name server 127.0.0.254
    fail: manager kasm.example.com:443 cannot be found: the name kasm.example.com cannot be resolved: no answer from name server 127.0.0.1 (there is no /etc/resolv.conf)
    ");
    let (Some(knows), Some(denies), Some(fails)) =
        (name_server(1, 0, Some(Ipv4Addr::LOCALHOST)), name_server(2, 0x8183, None), name_server(3, 0x8182, None))
    else {
        return;
    };
    insta::assert_snapshot!([say(&knows), say(&denies), say(&fails)].join("\n"), @"
    pass: kasm.example.com is 127.0.0.1, says name server 127.53.1.1, in N ms
    fail: manager kasm.example.com:PORT cannot be found: the name kasm.example.com does not exist, says name server 127.53.1.2
    fail: manager kasm.example.com:PORT cannot be found: the name kasm.example.com cannot be resolved by name server 127.53.1.3: DNS error: error response: Server Failure
    ");
}

#[test]
fn a_machine_without_a_route_is_told_so() {
    let scene = scene();
    let command = preflight(&scene, "10.9.8.7");
    let mut alone = Command::new("unshare");
    alone.arg("--net").arg(command.get_program()).args(command.get_args()).stdin(std::process::Stdio::null());
    alone.env_clear();
    let output = alone.output();
    let Some(output) = output.ok().filter(|output| !output.stdout.is_empty()) else {
        println!("skipped: no network namespace can be made");
        return;
    };
    let said = Said(serde_json::from_slice(&output.stdout).unwrap());
    assert_eq!(said.of_check("manager-tcp")["reason"], "manager.no-route");
    insta::assert_snapshot!(said.line("manager-tcp"), @"fail: no route leads to manager 10.9.8.7:443: Network is unreachable (os error 101)");
}

#[test]
fn the_releases_mirrors_are_asked_before_anything_is_touched() {
    let scene = scene();
    let manager = scene.manager.address().to_string();
    let (good, other) = (scene.url(), Mirror::plain(&[("/other.tar.gz", b"\x1f\x8bx")]));
    let digest = scene.release.sha256.clone();
    let ask = |urls: &[&str]| {
        let mut command = preflight(&scene, &manager);
        command.args(["--sha256", &digest]);
        for url in urls {
            command.args(["--release-url", url]);
        }
        let line = Said::of(&mut command).line("release-mirror");
        line.split(" has ")
            .map(|part| part.split_once(" kB").map_or(part, |(_, rest)| rest))
            .collect::<Vec<_>>()
            .join(" has SIZE")
    };
    let mut lines = vec![ask(&[&good]), ask(&[&other.url("/gone.tar.gz?signature=secret"), &good])];
    lines.push(ask(&[&other.url("/gone.tar.gz"), &format!("http://{CLOSED}/x.tar.gz"), "file:///nowhere/x.tar.gz"]));
    other.always(Fault::Html);
    lines.push(ask(&[&other.url("/other.tar.gz")]));
    insta::assert_snapshot!(lines.join("\n"), @"
    pass: http://127.0.0.1:PORT/kasm_release_1.18.1.tar.gz has SIZE
    warn: http://127.0.0.1:PORT/gone.tar.gz: it answered 404 Not Found; but http://127.0.0.1:PORT/kasm_release_1.18.1.tar.gz has SIZE
    fail: the release cannot be downloaded: http://127.0.0.1:PORT/gone.tar.gz: it answered 404 Not Found; http://127.0.0.1:1/x.tar.gz: connection refused; /nowhere/x.tar.gz cannot be read: No such file or directory (os error 2)
    fail: the release cannot be downloaded: http://127.0.0.1:PORT/other.tar.gz: it answered with a web page instead of the tarball (a captive portal or a login page?)
    ");
    assert_eq!(scene.mirror.ranges(), [Some("bytes=0-0".into()), Some("bytes=0-0".into())]);
    assert!(!lines.concat().contains("secret"));
}

// Why an agent's machine never comes online: each cause ends in one sentence that names it.

#[test]
fn never_online_because_the_upstream_address_is_wrong() {
    let scene = scene();
    let (code, _, err) = spoken(&run(&mut scene.install(&["-m", "$request_host$"])));
    let unset = sentence(&err);
    assert_eq!(code, 10, "{err}");
    let (code, _, err) = spoken(&run(&mut install(&scene, &[("-m", CLOSED), ("--deadline", "6s")])));
    assert_eq!(code, 13, "{err}");
    insta::assert_snapshot!(format!("{unset}\n{}", waited(&sentence(&err))), @"
    error: flag --manager-hostname: manager.address is `$request_host$`, which only means something to the manager itself [config.request-host]
    error: manager 127.0.0.1:1 refuses the connection (waited N s) [manager.refused]
    ");
    assert!(!scene.root.join("opt").exists());
}

/// Without how long it was waited.
fn waited(line: &str) -> String {
    match line.split_once("(waited ") {
        Some((before, after)) => format!("{before}(waited N{}", &after[after.find(' ').unwrap_or(0)..]),
        None => line.to_owned(),
    }
}

/// `install` with some of the usual flags given otherwise.
fn install(scene: &Scene, flags: &[(&str, &str)]) -> Command {
    let mut args = scene.install_args();
    for (flag, value) in flags {
        match args.iter().position(|arg| arg == flag) {
            Some(at) => args[at + 1] = (*value).to_owned(),
            None => args.extend([(*flag).to_owned(), (*value).to_owned()]),
        }
    }
    let mut command = scene.command();
    command.arg("install").args(args);
    command
}

/// A token that says when it expires, and is signed by nobody we know.
fn jwt(expires: i64) -> String {
    use base64::Engine;
    let part = |text: String| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let (header, claims) = (r#"{"alg":"RS256","typ":"JWT"}"#.to_owned(), format!(r#"{{"exp":{expires}}}"#));
    format!("{}.{}.{}", part(header), part(claims), "c2lnbmF0dXJl")
}

fn with_token(scene: &Scene, token: &str, flags: &[(&str, &str)]) -> Command {
    use std::os::unix::fs::PermissionsExt;
    let path = scene.root.join("../jwt");
    std::fs::write(&path, token).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    install(scene, &[&[("--manager-token-file", path.to_str().unwrap())], flags].concat())
}

fn epoch() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

#[test]
fn never_online_because_the_token_has_expired() {
    let scene = scene();
    scene.manager.behave(Behaviour { date: Some(now()), ..Behaviour::default() });
    let (code, _, err) = spoken(&run(&mut with_token(&scene, &jwt(epoch() - 30 * 86_400), &[])));
    assert_eq!(code, 11, "{err}");
    let line = sentence(&err);
    assert!(line.contains("expired") && line.contains("by the manager's clock and by this machine's"), "{line}");
}

#[test]
fn a_token_that_only_a_wrong_clock_calls_expired_is_not_refused() {
    let scene = scene();
    // The manager's certificate looks expired by that clock too, and its authority was named: a check of
    // its health would not even come about.
    let identity = tls::issued_between(&["127.0.0.1"], 2010, 2012);
    let ca = scene.root.join("ca.pem");
    std::fs::write(&ca, &identity.trust_pem).unwrap();
    let date = "Sat, 01 Jan 2011 00:00:00 GMT";
    let manager = Manager::start(Some(identity.config), Behaviour { date: Some(date.into()), ..Behaviour::default() });
    let moment: i64 = 1_293_840_000;
    let (ca, address) = (ca.display().to_string(), manager.address().to_string());
    let flags = [("--deadline", "6s"), ("--ca-cert", &ca), ("-m", &address)];
    let (code, _, err) = spoken(&run(&mut with_token(&scene, &jwt(moment + 86_400), &flags)));
    assert_eq!(code, 13, "{err}");
    let line = sentence(&err);
    assert!(line.starts_with("error: this machine's clock is wrong: it is "), "{line}");
    assert!(line.contains("[manager.clock]"), "{line}");
    assert!(err.contains("the token is good by the manager's"), "{err}");
}

#[test]
fn never_online_because_names_do_not_resolve() {
    let scene = scene();
    write(&scene, "etc/resolv.conf", NO_SERVER);
    let (code, _, err) = spoken(&run(&mut install(&scene, &[("-m", "kasm.example.com"), ("--deadline", "6s")])));
    assert_eq!(code, 13, "{err}");
    insta::assert_snapshot!(waited(&sentence(&err)), @"error: manager kasm.example.com:443 cannot be found: the name kasm.example.com cannot be resolved: no answer from name server 127.0.0.254 (waited N s) [manager.dns]");
}

#[test]
fn never_online_because_the_release_cannot_be_downloaded() {
    let scene = scene();
    let (code, _, err) = spoken(&run(&mut scene.install(&["--release-url", &scene.url().replace(".tar", ".gone")])));
    assert_eq!(code, 15, "{err}");
    insta::assert_snapshot!(sentence(&err), @"error: the release cannot be downloaded from its only source [download.no-source]");
    let because = err.lines().find(|line| line.trim_start().starts_with("because: ")).unwrap();
    assert!(because.contains("it answered 404 Not Found"), "{because}");
}

#[test]
fn insecure_says_once_and_on_record_what_it_gives_up() {
    let scene = scene();
    let (code, _, err) = spoken(&run(&mut scene.install(&["--insecure"])));
    assert_eq!(code, 0, "{err}");
    let loud: Vec<&str> = err.lines().filter(|line| line.contains("--insecure")).collect();
    assert_eq!(loud.len(), 1, "{err}");
    assert!(loud[0].contains("anybody on the way can pose as the manager"), "{}", loud[0]);
    let noted = scene.journal().into_iter().filter(|entry| entry.to_string().contains("--insecure"));
    assert_eq!(noted.filter(|entry| entry["warning"] == true).count(), 1);
}

#[test]
fn over_a_whole_installation_no_request_of_ours_carries_the_token() {
    let scene = scene();
    let (code, _, err) = spoken(&run(&mut scene.install(&[])));
    assert_eq!(code, 0, "{err}");
    let mut requests = [scene.manager.requests(), scene.mirror.requests()].concat();
    // The agent that was installed shows it to its manager: that is what it is for.
    requests.retain(|request| request.method != "POST");
    assert!(requests.len() >= 3);
    for request in requests {
        assert!(!holds(format!("{request:?}").as_bytes(), TOKEN.as_bytes()) && !holds(&request.body, TOKEN.as_bytes()));
    }
}
