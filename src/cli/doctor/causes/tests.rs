//! Causes before what follows from them.

use super::*;

fn found(source: Source, name: &str, level: Level, words: &str) -> Finding {
    Finding::new(source, name, level, words, Some(format!("mend {name}")))
}

fn told(findings: Vec<Finding>, last: Option<&Failure>) -> String {
    let diagnosis = diagnose(findings, last);
    let line = |mark: &str, cause: &Cause| {
        format!("{mark} {} ({}) -> {}\n", cause.finding.name, cause.finding.exit.code(), cause.consequences.join(" "))
    };
    let causes: String = diagnosis.causes.iter().map(|cause| line("cause", cause)).collect();
    let warnings: String = diagnosis.warnings.iter().map(|cause| line("warn", cause)).collect();
    let unknown: Vec<&str> = diagnosis.unknown.iter().map(|finding| finding.name.as_str()).collect();
    format!("{causes}{warnings}unknown {}, well {}", unknown.join(" "), diagnosis.well)
}

#[test]
fn what_follows_is_named_with_its_cause_and_two_who_say_the_same_are_heard_once() {
    use Level::{Fail, Ok, Unknown, Warn};
    use Source::{Health, Preflight, Tokens};
    let text = told(
        vec![
            found(Health, "containers", Fail, "kasm_guac is restarting"),
            found(Health, "restarts", Fail, "kasm_guac was started again"),
            found(Health, "tokens", Fail, "kasm_guac has not registered with the manager"),
            found(Health, "manager-name", Fail, "it does not exist"),
            found(Health, "manager", Unknown, "not asked"),
            found(Health, "memory", Warn, "short"),
            found(Health, "clock", Ok, ""),
            found(Tokens, "tokens", Fail, "is not there"),
            found(Preflight, "manager-name", Fail, "it does not exist"),
            found(Preflight, "manager-health", Fail, "no"),
        ],
        None,
    );
    insta::assert_snapshot!(text, @"
    cause manager-name (19) -> manager-health tokens containers restarts
    warn memory (19) -> 
    unknown , well 1
    ");
}

#[test]
fn a_warning_is_a_cause_only_where_something_fails_for_it() {
    use Level::{Fail, Warn};
    let sidecar = || found(Source::Health, "sidecar", Warn, "disabled");
    let containers = |words| found(Source::Health, "containers", Fail, words);
    insta::assert_snapshot!(told(vec![containers("kasm_proxy is exited"), sidecar()], None), @"
    cause sidecar (19) -> containers
    unknown , well 0
    ");
    insta::assert_snapshot!(told(vec![containers("kasm_agent is exited"), sidecar()], None), @"
    cause containers (19) -> 
    warn sidecar (19) -> 
    unknown , well 0
    ");
}

#[test]
fn the_last_run_follows_from_what_still_fails_as_it_did() {
    let mut mirror = found(Source::Preflight, "release-mirror", Level::Fail, "404");
    mirror.class = Some(Exit::Download);
    let run = found(Source::Health, "last-run", Level::Fail, "the download failed");
    let last = |exit| Failure::new(exit, "x.y", "m", "h");
    let both = vec![run, mirror];
    insta::assert_snapshot!(told(both.clone(), Some(&last(Exit::Download))), @"
    cause release-mirror (12) -> last-run
    unknown , well 0
    ");
    insta::assert_snapshot!(told(both, Some(&last(Exit::Installer))), @"
    cause release-mirror (12) -> 
    cause last-run (19) -> 
    unknown , well 0
    ");
}

#[test]
fn a_mirror_follows_from_what_keeps_the_manager_away_only_where_it_is_the_same() {
    let asked = |name, mirror| {
        let manager = found(Source::Preflight, name, Level::Fail, "manager kasm.example.com cannot be reached");
        told(vec![found(Source::Preflight, "release-mirror", Level::Fail, mirror), manager], None)
    };
    insta::assert_snapshot!([
        asked("manager-name", "the name m.example cannot be resolved: no answer from name server 10.0.0.53"),
        asked("manager-name", "https://m.example/k.tar.gz: status 404"),
        asked("proxy", "https://m.example/k.tar.gz: the proxy 10.0.0.8:3128: connection refused"),
    ].join("\n"), @"
    cause manager-name (12) -> release-mirror
    unknown , well 0
    cause manager-name (12) -> 
    cause release-mirror (12) -> 
    unknown , well 0
    cause proxy (12) -> release-mirror
    unknown , well 0
    ");
}

#[test]
fn nothing_follows_from_itself_and_every_consequence_has_a_place_behind_its_cause() {
    for topic in TOPICS {
        for link in topic.leads_to {
            let name = link.split(": ").next().unwrap();
            assert!(!topic.asked.contains(&name), "{name}");
        }
    }
    for (name, known) in [("manager-health", "manager"), ("auth-tokens", "tokens")] {
        assert!(is_same(name, known) && !is_same(name, "others"));
    }
}
