use super::*;
use crate::error::{Exit, Failure};
use crate::health::Measure;
use crate::report::status::Fold;
use crate::step::event::{Entry, Event, VERSION, begun};

fn entry(ms: u64, event: Event) -> Entry {
    Entry { v: VERSION, run: "5f0c21aa".into(), at: "2026-01-02T03:04:05.000Z".into(), ms, event }
}

fn at_work() -> Vec<Entry> {
    let (step, what, holder) = ("packages".to_owned(), "the package manager".into(), Some("pid 812, apt-get".into()));
    vec![
        entry(0, begun(&["fetch", "packages"])),
        entry(1, Event::StepStarted { step: "fetch".into() }),
        entry(1, Event::StepStarted { step: step.clone() }),
        entry(2, Event::StepWaiting { step, what, holder }),
    ]
}

fn known(entries: &[Entry], at_work: bool, health: Option<Health>) -> Known {
    let mut fold = Fold::default();
    entries.iter().for_each(|entry| fold.push(entry));
    Known { run: fold.status(at_work), health, progress: Vec::new(), spooled: 0, still: Duration::ZERO }
}

fn probe(name: &str, level: Level, words: &str, remedy: Option<&str>) -> ProbeStatus {
    let at = || "2026-01-02T03:05:05.250Z".to_owned();
    let (since, checked, remedy) = (at(), at(), remedy.map(str::to_owned));
    let measures = vec![Measure::new("docker_latency_seconds", 0.5)];
    ProbeStatus { name: name.into(), level, words: words.into(), since, remedy, checked, took_ms: 1, measures }
}

fn health(verdict: Verdict, words: &str) -> Health {
    let mut health = Health::starting(None, "2026-01-02T03:05:00.000Z");
    (health.verdict, health.words) = (verdict, words.into());
    health.probes = vec![
        probe("docker", Level::Ok, "Docker 27.5.1 answers", None),
        probe("component", Level::Fail, "kasm_agent is\nrestarting", Some("see `docker logs kasm_agent`")),
        probe("disk", Level::Warn, "/ is 91 % full", Some("free space")),
        probe("dns", Level::Unknown, "no answer in time", None),
    ];
    health
}

fn ask(known: &Known, path: &str, query: &str) -> (u16, String) {
    let answer = answer(|| known.clone(), Question { path, query, accept: "" });
    (answer.status, answer.body)
}

#[test]
fn a_node_is_ready_while_it_does_what_it_is_for() {
    let ready = |verdict| ask(&known(&[], false, Some(health(verdict, "words"))), "/readyz", "");
    assert_eq!(ready(Verdict::Healthy), (200, "healthy: words\n".into()));
    assert_eq!(ready(Verdict::Degraded), (200, "degraded: words\n".into()));
    assert_eq!(ready(Verdict::Failed), (503, "failed: words\n".into()));
    assert_eq!(ready(Verdict::Starting), (503, "starting: words\n".into()));
    assert_eq!(
        ask(&known(&[], false, None), "/readyz", ""),
        (503, "starting: the node was not looked at yet\n".into())
    );
}

#[test]
fn a_node_that_was_up_is_not_ready_while_something_vital_fails() {
    let mut health = health(Verdict::Degraded, "kasm_agent is not there");
    assert_eq!(ask(&known(&[], false, Some(health.clone())), "/readyz", "").0, 200);
    health.probes.push(probe("containers", Level::Fail, "kasm_agent is not there", None));
    let gone = ask(&known(&[], false, Some(health)), "/readyz", "");
    assert_eq!(gone, (503, "degraded: kasm_agent is not there\n".into()));
}

#[test]
fn a_node_that_is_not_ready_says_in_a_line_what_it_waits_for_or_why_it_failed() {
    let waits = "starting: fetch; packages: waiting for the package manager (pid 812, apt-get)\n";
    assert_eq!(ask(&known(&at_work(), true, None), "/readyz", ""), (503, waits.into()));
    assert_eq!(ask(&known(&at_work(), false, None), "/readyz", ""), (503, "starting: install was cut off\n".into()));
    let mut entries = at_work();
    let failure = Failure::new(Exit::Download, "download.failed", "no mirror answered\nat all", "look at the mirrors");
    entries.push(entry(9, Event::RunEnded { exit: 15, detail: failure.message.clone(), failure: Some(failure) }));
    let failed = "starting: install failed: no mirror answered at all\n";
    assert_eq!(ask(&known(&entries, false, None), "/readyz", ""), (503, failed.into()));
}

#[test]
fn work_that_hangs_is_not_alive() {
    let mut known = known(&at_work(), true, None);
    assert_eq!(ask(&known, "/livez", ""), (200, "ok\n".into()));
    known.still = Duration::from_secs(75);
    assert_eq!(ask(&known, "/livez", ""), (503, "the work has not moved for 1 min 15 s\n".into()));
}

#[test]
fn probes_are_listed_one_a_line_when_that_is_asked_for_or_something_failed() {
    let up = known(&[], false, Some(health(Verdict::Degraded, "words")));
    assert_eq!(ask(&up, "/healthz", ""), (200, "ok\n".into()));
    for query in ["verbose", "verbose=1", "a=b&verbose"] {
        let (status, body) = ask(&up, "/healthz", query);
        assert_eq!(status, 200);
        insta::allow_duplicates! {
            insta::assert_snapshot!(body, @r"
            [+]docker ok: Docker 27.5.1 answers
            [-]component failed: kasm_agent is restarting (help: see `docker logs kasm_agent`)
            [!]disk warning: / is 91 % full (help: free space)
            [?]dns unknown: no answer in time
            degraded: words
            healthz check passed
            ");
        }
    }
    let down = known(&[], false, Some(health(Verdict::Failed, "kasm_agent is restarting")));
    let (status, body) = ask(&down, "/healthz", "");
    assert_eq!(status, 503);
    assert!(body.ends_with("failed: kasm_agent is restarting\nhealthz check failed\n"), "{body}");
    assert_eq!(ask(&known(&[], false, None), "/healthz", "").0, 503);
}

#[test]
fn status_and_metrics_say_the_same_as_the_page() {
    let known = known(&at_work(), true, Some(health(Verdict::Failed, "kasm_agent is restarting")));
    let json: serde_json::Value = serde_json::from_str(&ask(&known, "/status", "").1).unwrap();
    assert_eq!(
        (json["schema"].as_u64(), &json["run"]["state"], &json["health"]["verdict"]),
        (Some(1), &"running".into(), &"failed".into())
    );
    let metrics = ask(&known, "/metrics", "").1;
    assert!(metrics.contains("kasm_bootstrap_health_verdict{verdict=\"failed\"} 1\n"), "{metrics}");
    let page = ask(&known, "/", "").1;
    assert!(
        page.contains("<title>Failed – kasm-bootstrap</title>") && page.contains("http-equiv=\"refresh\""),
        "{page}"
    );
    assert!(page.contains("see `docker logs kasm_agent`"), "{page}");
}

#[test]
fn the_page_loads_itself_again_only_while_a_run_is_at_work() {
    assert!(!ask(&known(&at_work(), false, None), "/", "").1.contains("http-equiv"));
}

#[test]
fn a_path_that_is_not_there_names_those_that_are() {
    for path in ["/nowhere", "", "*", "//", "/metrics/", "/../etc/passwd"] {
        let (status, body) = ask(&known(&[], false, None), path, "");
        assert!(status == 404 && body.contains("/healthz?verbose"), "{path}");
    }
}
