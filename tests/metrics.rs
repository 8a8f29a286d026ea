//! The metrics, held against Prometheus's own tool, and what is in `packaging/observability/` against the metrics.
//!
//! `promtool` comes with Prometheus (Debian's package prometheus). `scripts/test` takes it out of the package without
//! installing a server; where it is not there the tests that need it are skipped and say so.

mod story;

use kasm_bootstrap::health::{Health, Level, Measure, Verdict};
use kasm_bootstrap::report::Status;
use kasm_bootstrap::report::metrics::{Format, OURS, PREFIX, Progress, render};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use story::{HOSTILE, boot, check, degraded, failed, hostile, hostile_health, promtool, status};

fn progress() -> Vec<Progress> {
    vec![
        Progress { step: "fetch".into(), done: 1_000, total: Some(412_000_000) },
        Progress { step: HOSTILE.into(), done: 5, total: None },
    ]
}

fn text(run: &Status, health: Option<&Health>) -> String {
    render(run, health, &progress(), 3, Format::Text)
}

#[test]
fn the_metrics_of_a_node_stay_as_they_are() {
    let only = [Progress { step: "fetch".into(), done: 1_000, total: Some(412_000_000) }];
    let text = render(&status(&boot()), Some(&degraded()), &only, 3, Format::Text);
    insta::assert_snapshot!("boot", text.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
}

#[test]
fn promtool_has_nothing_to_say_about_the_metrics() {
    let Some(promtool) = promtool() else { return };
    check(&promtool, &text(&status(&[]), None));
    check(&promtool, &text(&status(&boot()), Some(&degraded())));
    check(&promtool, &text(&status(&failed()), Some(&story::health(Verdict::Starting, "w", vec![]))));
    check(&promtool, &text(&status(&hostile()), None));
}

/// A name that a probe might choose badly is not the exposition's fault; that it can be read is.
#[test]
fn hostile_values_forge_no_line_and_no_family() {
    for format in [Format::Text, Format::Open] {
        let text = render(&status(&hostile()), Some(&hostile_health()), &progress(), 3, format);
        let families: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        assert!(families.iter().all(|family| family.starts_with(PREFIX)), "{families:?}");
        let distinct: BTreeSet<&&str> = families.iter().collect();
        assert_eq!(distinct.len(), families.len(), "{families:?}");
        let series: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let names: BTreeSet<&str> = series.iter().map(|line| line.rsplit_once(' ').unwrap().0).collect();
        assert_eq!(names.len(), series.len(), "{text}");
        assert!(series.iter().all(|line| line.starts_with(PREFIX)) && !text.contains('\u{1b}'), "{text}");
    }
}

#[test]
fn openmetrics_is_for_those_who_ask_for_it() {
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    assert_eq!(
        (Format::accepted(accept), Format::accepted("*/*"), Format::accepted("")),
        (Format::Open, Format::Text, Format::Text)
    );
    let open = render(&status(&boot()), Some(&degraded()), &[], 3, Format::Open);
    assert!(open.ends_with("\n# EOF\n") && !text(&status(&boot()), None).contains("# EOF"));
    // The family of a counter has no `_total`, its sample has.
    assert!(open.contains("# TYPE kasm_bootstrap_container_restarts counter\n"), "{open}");
    assert!(open.contains("kasm_bootstrap_container_restarts_total{container=\"kasm_agent\"} 2\n"), "{open}");
    let plain = text(&status(&boot()), Some(&degraded()));
    assert!(plain.contains("# TYPE kasm_bootstrap_container_restarts_total counter\n"), "{plain}");
}

/// What a label's value was, from its escaped form (Prometheus, "Exposition formats").
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some(c) => out.push(c),
                None => panic!("half an escape"),
            },
            '"' => panic!("a quote that ends the value"),
            c => out.push(c),
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_labels_value_comes_back_as_it_was(value in "[ -~äöü€\\\\\"]{0,60}") {
        let mut health = degraded();
        health.probes = vec![story::probe("disk", Level::Ok, "w", vec![Measure::of("disk_free_bytes", "path", &value, 1.5)])];
        let text = text(&status(&[]), Some(&health));
        let line = text.lines().find(|line| line.starts_with("kasm_bootstrap_disk_free_bytes{")).unwrap();
        let inside = line.strip_prefix("kasm_bootstrap_disk_free_bytes{path=\"").unwrap().strip_suffix("\"} 1.5").unwrap();
        prop_assert_eq!(unescaped(inside), value);
    }

    #[test]
    fn no_name_or_number_breaks_the_form(name in "\\PC{0,30}", label in "\\PC{0,20}", value in any::<f64>()) {
        let mut health = degraded();
        health.probes = vec![story::probe("p", Level::Ok, "w", vec![Measure::of(&name, &label, "x", value)])];
        for line in text(&status(&[]), Some(&health)).lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{}", line);
            prop_assert!(matches!(value, "NaN" | "+Inf" | "-Inf") || value.parse::<f64>().is_ok(), "{}", line);
        }
    }
}

fn observability(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/observability").join(name)
}

/// The metrics of ours that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in text.split(PREFIX).skip(1) {
        let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        found.insert(name);
    }
    found
}

#[test]
fn promtool_has_nothing_to_say_about_the_rules_and_they_fire_when_they_should() {
    let Some(promtool) = promtool() else { return };
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let output = Command::new(&promtool).args(arguments).current_dir(observability("")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
}

/// The numbers of probes, as their sources name them.
fn measured() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/health/probes")];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let word = |text: &&str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        found.extend(text.split('"').filter(word).map(str::to_owned));
    }
    found
}

#[test]
fn every_metric_in_the_dashboard_and_the_rules_is_one_that_is_exported() {
    let measured = measured();
    for name in ["alerts.yml", "alerts_test.yml", "dashboard.json", "README.md"] {
        for metric in named(&fs::read_to_string(observability(name)).unwrap()) {
            assert!(OURS.contains(&metric.as_str()) || measured.contains(&metric), "{name} names {PREFIX}{metric}");
        }
    }
}

#[test]
fn every_metric_of_ours_is_in_the_list_of_them() {
    let text = text(
        &status(&failed()),
        Some(&story::health(Verdict::Failed, "w", vec![story::probe("p", Level::Ok, "w", vec![])])),
    );
    let families: BTreeSet<String> = named(&text);
    let listed: BTreeSet<String> = OURS.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(families, listed);
}

#[test]
fn the_dashboard_is_one_that_can_be_imported() {
    let text = fs::read_to_string(observability("dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(dashboard["uid"], "kasm-bootstrap");
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(panel["title"].as_str().is_some_and(|title| !title.is_empty()), "{panel}");
        let place = &panel["gridPos"];
        assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "{panel}");
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert!(target["expr"].as_str().is_some_and(|expr| !expr.is_empty()), "{panel}");
        }
    }
}
