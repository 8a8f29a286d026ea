//! Journals of runs, for the views of them: one as it goes, and one whose every value is hostile.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use kasm_bootstrap::error::{Exit, Failure};
use kasm_bootstrap::health::{Health, Level, Measure, ProbeStatus, Verdict};
use kasm_bootstrap::intent::Role;
use kasm_bootstrap::report::Status;
use kasm_bootstrap::step::event::VERSION;
use kasm_bootstrap::step::{Ending, Entry, Event};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What must never be more than text, wherever it is shown.
pub const HOSTILE: &str = "</title></style><script>document.title='owned'</script><img src=http://evil.example/x \
    onerror=\"document.title='owned'\">\"'>]]><svg onload=alert(1)>\u{202e}\u{1b}[31m\n# TYPE forged gauge\nforged 1";

pub fn entry(ms: u64, event: Event) -> Entry {
    Entry { v: VERSION, run: "5f0c21aa".into(), at: "2026-01-02T03:04:05.000Z".into(), ms, event }
}

pub fn begun(uptime_ms: Option<u64>, budget_ms: u64, steps: &[&str]) -> Entry {
    let steps = steps.iter().map(|name| (*name).to_owned()).collect();
    entry(
        0,
        Event::RunStarted {
            verb: "install".into(),
            fingerprint: "f".into(),
            version: "0.1.0".into(),
            boot: String::new(),
            uptime_ms,
            pid: 7,
            budget_ms,
            resumes: None,
            steps,
        },
    )
}

pub fn starts(ms: u64, step: &str) -> Entry {
    entry(ms, Event::StepStarted { step: step.into() })
}

pub fn waits(ms: u64, step: &str, what: &str, holder: Option<&str>) -> Entry {
    entry(ms, Event::StepWaiting { step: step.into(), what: what.into(), holder: holder.map(str::to_owned) })
}

pub fn says(ms: u64, step: &str, text: &str) -> Entry {
    entry(ms, Event::StepNote { step: step.into(), text: text.into(), warning: false })
}

pub fn ends(ms: u64, step: &str, ending: Ending, detail: &str, took_ms: u64) -> Entry {
    entry(ms, Event::StepEnded { step: step.into(), ending, detail: detail.into(), took_ms })
}

pub fn over(ms: u64, failure: Option<Failure>) -> Entry {
    let detail = failure.as_ref().map_or("Kasm 1.19.0 is up".to_owned(), |failure| failure.message.clone());
    entry(ms, Event::RunEnded { exit: failure.as_ref().map_or(0, |failure| failure.code), detail, failure })
}

/// A boot with an apt that is busy, a slow mirror and a manager that comes late.
pub fn boot() -> Vec<Entry> {
    let steps = ["tokens", "preflight", "swap", "fetch", "manager", "packages", "unpack", "install", "prove"];
    vec![
        begun(Some(23_400), 570_000, &steps),
        starts(2, "tokens"),
        ends(12, "tokens", Ending::Done, "the manager token is well-formed (opaque)", 10),
        starts(14, "preflight"),
        ends(1_310, "preflight", Ending::Warned, "16 checks passed, 1 warning: memory", 1_296),
        ends(1_312, "swap", Ending::Skipped, "no swap was asked for", 0),
        starts(1_312, "fetch"),
        starts(1_313, "manager"),
        starts(1_313, "packages"),
        waits(1_320, "manager", "manager kasm.example.com", Some("connection refused")),
        waits(1_330, "packages", "the package manager", Some("apt-daily.service, pid 812, apt-get")),
        says(6_000, "fetch", "mirror 1 answers 503, the next one is tried"),
        ends(9_100, "manager", Ending::Done, "kasm.example.com answers", 7_787),
        waits(14_000, "packages", "the package manager", Some("unattended-upgrades.service, pid 901")),
        ends(22_313, "packages", Ending::Done, "apt and dpkg are free", 21_000),
        ends(31_300, "fetch", Ending::Done, "412.0 MB from mirror 2", 29_988),
        starts(31_301, "unpack"),
        ends(35_000, "unpack", Ending::Done, "verified and unpacked", 3_699),
        starts(35_001, "install"),
        ends(83_000, "install", Ending::Done, "install.sh ended well", 47_999),
        starts(83_001, "prove"),
        waits(83_400, "prove", "container kasm_agent", Some("is starting")),
        waits(88_000, "prove", "10.0 s without a restart", None),
        ends(98_100, "prove", Ending::Done, "kasm_agent and kasm_proxy are up", 15_099),
        over(98_102, None),
    ]
}

/// The same with an installer that fails.
pub fn failed() -> Vec<Entry> {
    let mut entries = boot();
    entries.truncate(19);
    let failure = Failure {
        causes: vec!["E: Could not get lock /var/lib/dpkg/lock-frontend".into()],
        ..Failure::new(
            Exit::Installer,
            "installer.apt",
            "the installer ended with status 100: apt was locked",
            "run it again: it waits for apt",
        )
    };
    entries.push(ends(61_000, "install", Ending::Failed, &failure.message, 25_999));
    entries.push(over(61_002, Some(failure)));
    entries
}

/// A failed run whose every value is hostile.
pub fn hostile() -> Vec<Entry> {
    let failure = Failure {
        causes: vec![HOSTILE.into()],
        reason: HOSTILE.into(),
        ..Failure::new(Exit::Installer, "installer.failed", HOSTILE, HOSTILE)
    };
    let mut entries = vec![
        begun(Some(1_000), 12_000, &[HOSTILE, "install"]),
        starts(10, HOSTILE),
        waits(20, HOSTILE, HOSTILE, Some(HOSTILE)),
        entry(3_000, Event::StepNote { step: HOSTILE.into(), text: HOSTILE.into(), warning: true }),
        ends(3_100, HOSTILE, Ending::Warned, HOSTILE, 3_090),
        starts(3_100, "install"),
        ends(9_000, "install", Ending::Failed, HOSTILE, 5_900),
        over(9_001, Some(failure)),
    ];
    let verb = |entry: &mut Entry| {
        entry.run = HOSTILE.into();
        entry.at = HOSTILE.into();
        if let Event::RunStarted { verb, .. } = &mut entry.event {
            *verb = HOSTILE.into();
        }
    };
    entries.iter_mut().for_each(verb);
    entries
}

pub fn status(entries: &[Entry]) -> Status {
    Status::of(entries, false)
}

/// Puts a journal where a command with `--root` finds it.
pub fn write(root: &Path, entries: &[Entry]) {
    let directory = root.join("var/lib/kasm-bootstrap");
    fs::create_dir_all(&directory).unwrap();
    let lines: Vec<String> = entries.iter().map(|entry| serde_json::to_string(entry).unwrap() + "\n").collect();
    fs::write(directory.join("journal.jsonl"), lines.concat()).unwrap();
}

pub fn probe(name: &str, level: Level, words: &str, measures: Vec<Measure>) -> ProbeStatus {
    let remedy = (level > Level::Unknown).then(|| "look at it with `docker ps`".to_owned());
    let at = || "2026-01-02T03:05:05.250Z".to_owned();
    ProbeStatus {
        name: name.into(),
        level,
        words: words.into(),
        since: at(),
        remedy,
        checked: at(),
        took_ms: 12,
        measures,
    }
}

pub fn health(verdict: Verdict, words: &str, probes: Vec<ProbeStatus>) -> Health {
    let mut health = Health::starting(Some(Role::Agent), "2026-01-02T03:05:00.000Z");
    (health.verdict, health.words, health.probes) = (verdict, words.into(), probes);
    health
}

/// A node that works and that somebody should look at.
pub fn degraded() -> Health {
    let disk = |path, free| Measure::of("disk_free_bytes", "path", path, free);
    let probes = vec![
        probe(
            "containers",
            Level::Ok,
            "kasm_agent and kasm_proxy are up",
            vec![
                Measure::of("container_up", "container", "kasm_agent", 1.0),
                Measure::of("container_up", "container", "kasm_proxy", 1.0),
                Measure::of("container_restarts_total", "container", "kasm_agent", 2.0),
            ],
        ),
        probe("docker", Level::Ok, "Docker 27.5.1 answers", vec![Measure::new("docker_latency_seconds", 0.004)]),
        probe(
            "disk",
            Level::Warn,
            "/var/lib/docker is 91 % full",
            vec![disk("/", 12e9), disk("/var/lib/docker", 4.5e9)],
        ),
        probe("guest-agent", Level::Unknown, "no answer in time", vec![]),
    ];
    health(Verdict::Degraded, "/var/lib/docker is 91 % full", probes)
}

/// Health whose every value is hostile.
pub fn hostile_health() -> Health {
    let measures = vec![Measure::of(HOSTILE, HOSTILE, HOSTILE, f64::NAN), Measure::new("run_state", f64::INFINITY)];
    let mut probe = probe(HOSTILE, Level::Fail, HOSTILE, measures);
    (probe.remedy, probe.since, probe.checked) = (Some(HOSTILE.into()), HOSTILE.into(), HOSTILE.into());
    let mut health = health(Verdict::Failed, HOSTILE, vec![probe.clone(), probe]);
    (health.since, health.checked) = (HOSTILE.into(), HOSTILE.into());
    health
}

/// Where `promtool` is: on the path, or where `scripts/test` puts it.
pub fn promtool() -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/promtool");
    let found = [PathBuf::from("promtool"), tools]
        .into_iter()
        .find(|path| Command::new(path).arg("--version").output().is_ok());
    if found.is_none() {
        eprintln!("skipped: there is no promtool here (package prometheus; scripts/test fetches it)");
    }
    found
}

/// Whether promtool has nothing to say about these metrics.
pub fn check(promtool: &Path, exposition: &str) {
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(exposition.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{exposition}");
}
