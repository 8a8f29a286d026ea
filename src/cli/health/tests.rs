//! What a person reads of a node's health.

use super::*;
use crate::intent::Role;

fn probe(name: &str, level: Level, words: &str, remedy: Option<&str>) -> ProbeStatus {
    ProbeStatus {
        name: name.into(),
        level,
        words: words.into(),
        since: "2026-01-02T03:04:05.000Z".into(),
        remedy: remedy.map(str::to_owned),
        checked: "2026-01-02T04:00:00.000Z".into(),
        took_ms: 3,
        measures: Vec::new(),
    }
}

fn health(verdict: Verdict, words: &str, changes: &[ProbeStatus]) -> Health {
    let mut probes: Vec<ProbeStatus> =
        health::probes().iter().map(|one| probe(one.name, Level::Ok, one.about, None)).collect();
    for change in changes {
        *probes.iter_mut().find(|probe| probe.name == change.name).unwrap() = change.clone();
    }
    Health {
        schema: Health::SCHEMA,
        verdict,
        words: words.into(),
        since: "2026-01-02T03:04:05.000Z".into(),
        role: Some(Role::Agent),
        checked: "2026-01-02T04:00:00.000Z".into(),
        probes,
    }
}

fn fits(text: &str) {
    assert!(text.lines().count() <= 24, "{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 100 && line.trim_end() == line, "{line}");
    }
}

#[test]
fn a_healthy_node_fits_a_screen() {
    let text = text(&health(Verdict::Healthy, "kasm_agent healthy, kasm_proxy healthy", &[]), false);
    fits(&text);
    insta::assert_snapshot!(text, @"
    healthy since 2026-01-02 03:04 UTC: kasm_agent healthy, kasm_proxy healthy

    ok    containers           the containers of the role are up, says Docker
    ok    docker               Docker's daemon answers
    ok    kasm                 which Kasm is installed, and where its links lead
    ok    tokens               the components' tokens are good, and not refused
    ok    manager              the manager calls itself healthy
    ok    manager-certificate  the manager's certificate does not expire soon
    ok    disk                 there is room on the disks, and inodes
    ok    memory               there is memory and swap
    ok    load                 the machine has no more to do than it can
    ok    upstream-address, manager-name, guest-agent, last-run, configuration,
          restarts, component, sidecar, rclone, docker-version, token-expiry, clock,
          oom-kills, reboot-required
    ");
}

#[test]
fn what_is_wrong_comes_first_with_its_remedy_and_the_rest_in_short() {
    let changes = [
        probe("disk", Level::Warn, "only 1.2 GB free of 20.0 GB for / and /opt, on / (ext4)", Some("free some")),
        probe(
            "containers",
            Level::Fail,
            "kasm_agent is running but unhealthy, kasm_proxy is restarting (exit 1)",
            Some("`docker logs kasm_agent` says why"),
        ),
        probe("component", Level::Unknown, "this release does not tell its health at /agent/__healthcheck", None),
    ];
    let health = health(Verdict::Degraded, "kasm_agent is running but unhealthy (also: disk)", &changes);
    let short = text(&health, false);
    fits(&short);
    insta::assert_snapshot!(short, @"
    degraded since 2026-01-02 03:04 UTC: kasm_agent is running but unhealthy (also:
    disk)

    FAIL  containers           kasm_agent is running but unhealthy, kasm_proxy is
                               restarting (exit 1)
                               since 2026-01-02 03:04 UTC
                               help: `docker logs kasm_agent` says why
    warn  disk                 only 1.2 GB free of 20.0 GB for / and /opt, on /
                               (ext4)
                               since 2026-01-02 03:04 UTC
                               help: free some
    ?     component            this release does not tell its health at
                               /agent/__healthcheck
    ok    docker, kasm, tokens, upstream-address, manager-name, manager,
          guest-agent, last-run, configuration, restarts, sidecar, rclone,
          docker-version, token-expiry, manager-certificate, clock, memory, load,
          oom-kills, reboot-required
    ");
    let long = text(&health, true);
    for probe in &health.probes {
        let told =
            long.lines().filter(|line| line.get(6..).is_some_and(|line| line.starts_with(&format!("{} ", probe.name))));
        assert_eq!(told.count(), 1, "{}: {long}", probe.name);
    }
}

#[test]
fn what_has_one_reason_is_told_once() {
    let none = "Kasm is not installed here";
    let changes = [
        probe("kasm", Level::Fail, "Kasm is not installed: /opt/kasm/current is not there", Some("install it")),
        probe("containers", Level::Unknown, none, None),
        probe("manager", Level::Unknown, "no manager is configured", None),
        probe("tokens", Level::Unknown, none, None),
        probe("upstream-address", Level::Unknown, none, None),
    ];
    let health = health(Verdict::Failed, "Kasm is not installed: /opt/kasm/current is not there", &changes);
    let short = text(&health, false);
    fits(&short);
    insta::assert_snapshot!(short, @"
    failed since 2026-01-02 03:04 UTC: Kasm is not installed: /opt/kasm/current is
    not there

    FAIL  kasm                 Kasm is not installed: /opt/kasm/current is not there
                               since 2026-01-02 03:04 UTC
                               help: install it
    ?     manager              no manager is configured
    ?     containers, tokens, upstream-address: Kasm is not installed here
    ok    docker, manager-name, guest-agent, last-run, configuration, restarts,
          component, sidecar, rclone, docker-version, token-expiry,
          manager-certificate, clock, disk, memory, load, oom-kills, reboot-required
    ");
}

#[test]
fn hostile_words_stay_in_their_line_and_a_long_word_in_its_place() {
    let words = format!("{}\u{1b}[2J\nok    all is well", "x".repeat(300));
    let text = text(&health(Verdict::Failed, &words, &[probe("kasm", Level::Fail, &words, None)]), false);
    assert!(!text.contains('\u{1b}') && !text.lines().any(|line| line.starts_with("ok    all is")), "{text}");
}
