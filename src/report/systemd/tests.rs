use super::*;
use crate::deadline::Deadline;
use crate::step::Ending;
use crate::step::event::VERSION;
use std::collections::VecDeque;

/// systemd's end of the line.
struct End {
    socket: UnixDatagram,
    name: std::ffi::OsString,
    _directory: tempfile::TempDir,
}

impl End {
    fn new() -> End {
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().join("notify");
        let socket = UnixDatagram::bind(&name).unwrap();
        socket.set_nonblocking(true).unwrap();
        End { socket, name: name.into(), _directory: directory }
    }

    fn service(&self, watchdog: Option<Duration>) -> Systemd {
        Systemd::at(Some(&self.name), watchdog)
    }

    /// All that came so far.
    fn came(&self) -> VecDeque<String> {
        let mut came = VecDeque::new();
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            came.push_back(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        came
    }
}

fn entry(event: Event) -> Entry {
    Entry { v: VERSION, run: "r".into(), at: String::new(), ms: 0, event }
}

fn started(step: &str) -> Entry {
    entry(Event::StepStarted { step: step.into() })
}

#[tokio::test]
async fn signs_of_life_come_from_the_loop_that_works_and_none_from_one_that_is_blocked() {
    let end = End::new();
    let systemd = end.service(Some(Duration::from_millis(20)));
    systemd
        .beside(async {
            while end.came().iter().filter(|message| message.contains("WATCHDOG=1")).count() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    end.came();
    systemd
        .beside(async {
            // Ten beats long this loop does nothing else.
            std::thread::sleep(Duration::from_millis(100));
            assert_eq!(end.came(), [] as [&str; 0], "a loop that hangs has no signs of life");
            tokio::task::yield_now().await;
            assert!(end.came().iter().any(|message| message.contains("WATCHDOG=1")), "and has them when it goes on");
        })
        .await;
}

#[tokio::test]
async fn a_status_says_what_every_step_does() {
    let end = End::new();
    let systemd = end.service(None);
    let mut view = systemd.clone();
    systemd
        .beside(async {
            for step in ["fetch", "packages", "swap"] {
                view.event(&started(step));
            }
            View::bytes(&mut view, "fetch", 45_000_000, Some(152_000_000));
            let holder = Some("apt-daily.service, pid 812, apt-get".to_owned());
            view.event(&entry(Event::StepWaiting {
                step: "packages".into(),
                what: "the package manager".into(),
                holder,
            }));
            tokio::task::yield_now().await;
        })
        .await;
    insta::assert_snapshot!(end.came().make_contiguous().concat(), @"
    STATUS=fetch: 45.0 MB of 152.0 MB; packages: waiting for the package manager (apt-daily.service, pid 812, apt-get); swap
    EXTEND_TIMEOUT_USEC=60000000
    ");
}

#[tokio::test]
async fn ready_and_stopping_are_told_once_and_after_them_no_time_is_asked_for() {
    let end = End::new();
    let systemd = end.service(Some(Duration::from_secs(3600)));
    systemd.status("healthy: kasm_agent");
    systemd.ready();
    systemd.ready();
    systemd.beside(async { tokio::task::yield_now().await }).await;
    systemd.stopping();
    systemd.stopping();
    insta::assert_snapshot!(end.came().make_contiguous().join("-\n"), @"
    READY=1
    STATUS=healthy: kasm_agent
    WATCHDOG=1
    -
    STOPPING=1
    STATUS=stopping; healthy: kasm_agent
    ");
}

#[tokio::test]
async fn what_systemd_had_no_room_for_is_told_again() {
    let end = End::new();
    let systemd = end.service(None);
    let other = UnixDatagram::unbound().unwrap();
    other.set_nonblocking(true).unwrap();
    while other.send_to(b"noise", &end.name).is_ok() {}
    systemd.ready();
    let came = |wanted: &str| end.came().iter().any(|message| message.contains(wanted));
    assert!(!came("READY=1"));
    systemd
        .beside(async {
            while !came("READY=1") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
}

#[tokio::test]
async fn a_status_stays_one_line_of_a_bounded_length() {
    let end = End::new();
    let systemd = end.service(None);
    let mut view = systemd.clone();
    for step in 0..20 {
        let step = format!("step{step}");
        view.event(&started(&step));
        let line = format!("\u{1b}[31mREADY=1\nSTOPPING=1 {}", "é".repeat(3000));
        view.event(&entry(Event::StepOutput { step, line }));
    }
    systemd.beside(async {}).await;
    let came = end.came().make_contiguous().concat();
    let lines: Vec<&str> = came.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("STATUS=step0:  [31mREADY=1 STOPPING=1 é"), "{came}");
    assert!(lines[0].chars().count() <= MOST + 7 && lines[0].ends_with('…'));
}

#[tokio::test]
async fn without_systemd_the_work_is_done_all_the_same() {
    let nobody = [None, Some("/nowhere/at/all"), Some("relative"), Some("vsock:2:1"), Some("@"), Some("")];
    for socket in nobody {
        let systemd = Systemd::at(socket.map(OsStr::new), Some(Duration::from_secs(1)));
        systemd.ready();
        assert_eq!(systemd.beside(async { 7 }).await, 7);
    }
}

#[tokio::test]
async fn an_abstract_socket_is_one_too() {
    let name = format!("kasm-bootstrap-test-{}", std::process::id());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let systemd = Systemd::at(Some(OsStr::new(&format!("@{name}"))), None);
    systemd.ready();
    let mut buffer = [0; 100];
    let length = socket.recv(&mut buffer).unwrap();
    assert!(buffer[..length].starts_with(b"READY=1\n"));
}

#[test]
fn a_run_is_told_from_its_beginning_to_its_end() {
    let mut systemd = Systemd::at(None, None);
    let now = |systemd: &Systemd| systemd.lock().status();
    systemd.waiting(&Wait {
        what: "cloud-init's network stage".into(),
        holder: None,
        deadline: Deadline::after(Duration::ZERO),
    });
    assert_eq!(now(&systemd), "waiting for cloud-init's network stage");
    systemd.event(&started("tokens"));
    assert_eq!(now(&systemd), "tokens");
    let detail = "the manager token is well-formed".to_owned();
    systemd.event(&entry(Event::StepEnded { step: "tokens".into(), ending: Ending::Done, detail, took_ms: 1 }));
    assert_eq!(now(&systemd), "tokens: the manager token is well-formed");
    systemd.event(&entry(Event::RunEnded { exit: 0, detail: "Kasm 1.18.1 is up".into(), failure: None }));
    assert_eq!(now(&systemd), "Kasm 1.18.1 is up");
}
