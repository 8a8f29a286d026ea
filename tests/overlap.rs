//! What can wait at the same time waits at the same time. Proved by the order of a real run's journal
//! entries, not by a clock.

mod common;
mod faults;

use common::{Scene, start};
use faults::{ended_well, exit_code, is_ended, is_started, until};
use kasm_stand_in::lock;
use kasm_stand_in::manager::Behaviour;
use kasm_stand_in::mirror::Fault::{Cut, Stall};
use kasm_stand_in::release::Options;
use serde_json::Value;
use std::fs;
use std::time::Duration;

fn step<'a>(status: &'a Value, name: &str) -> &'a Value {
    status["steps"].as_array().unwrap().iter().find(|step| step["name"] == name).unwrap()
}

#[test]
fn download_manager_and_package_manager_are_waited_for_together_and_unpacking_waits_for_its_download_alone() {
    let scene = Scene::new(&Options::default());
    // All three are held up until the test lets them go, one by one.
    let dpkg = fs::File::options().write(true).open(scene.root.join("var/lib/dpkg/lock-frontend")).unwrap();
    lock::take(&dpkg).unwrap();
    scene.manager.behave(Behaviour { down_for: usize::MAX, ..Behaviour::default() });
    scene.mirror.script([Stall(1000), Cut(2000)]);
    let mut child = start(&mut scene.install(&[]), &scene.root.join("said.txt"));
    assert!(scene.mirror.wait_for_stall(Duration::from_secs(60)));
    until(&scene, |entry| entry["event"] == "step.waiting" && entry["step"] == "manager");
    until(&scene, |entry| entry["event"] == "step.waiting" && entry["step"] == "packages");
    let status = scene.status();
    for name in ["fetch", "manager", "packages"] {
        assert_eq!(step(&status, name)["state"], "running", "{status:#}");
    }
    assert!(step(&status, "packages")["detail"].as_str().unwrap().contains(&format!("pid {}", std::process::id())));

    scene.mirror.release();
    until(&scene, |entry| is_ended(entry, "unpack"));
    let status = scene.status();
    for (name, state) in [("unpack", "done"), ("manager", "running"), ("packages", "running"), ("install", "pending")] {
        assert_eq!(step(&status, name)["state"], state, "{status:#}");
    }
    scene.manager.behave(Behaviour::default());
    until(&scene, |entry| is_ended(entry, "address"));
    lock::give_back(&dpkg).unwrap();
    assert_eq!(exit_code(&mut child), Some(0));
    ended_well(&scene);

    let journal = scene.journal();
    let place = |found: &dyn Fn(&Value) -> bool| journal.iter().position(found).unwrap();
    let gathering = ["fetch", "manager", "packages"];
    let last_start = gathering.map(|name| place(&|entry| is_started(entry, name))).into_iter().max().unwrap();
    let first_end = gathering.map(|name| place(&|entry| is_ended(entry, name))).into_iter().min().unwrap();
    assert!(last_start < first_end, "{journal:#?}");
    // Nothing begins or ends between the end of the download and the start of the unpacking.
    let between = &journal[place(&|entry| is_ended(entry, "fetch")) + 1..place(&|entry| is_started(entry, "unpack"))];
    assert!(between.iter().all(|entry| entry["event"] == "step.waiting" || entry["event"] == "step.note"));
    let unpacked = place(&|entry| is_ended(entry, "unpack"));
    assert!(unpacked < place(&|entry| is_ended(entry, "manager")));
    assert!(unpacked < place(&|entry| is_ended(entry, "packages")));
    assert!(place(&|entry| is_ended(entry, "packages")) < place(&|entry| is_started(entry, "install")));

    // The timeline: bars that lie over each other, and one that begins where the other ends.
    let status = scene.status();
    let span = |name: &str| {
        let (from, took) = (step(&status, name)["began_ms"].as_u64(), step(&status, name)["took_ms"].as_u64());
        (from.unwrap(), from.unwrap() + took.unwrap())
    };
    let spans = gathering.map(span);
    assert!(spans.iter().map(|span| span.0).max() < spans.iter().map(|span| span.1).min(), "{status:#}");
    assert!(span("unpack").0 < span("packages").1 && span("unpack").0 < span("manager").1, "{status:#}");
    let output = common::run(scene.command().arg("status"));
    let text = String::from_utf8(output.stdout).unwrap();
    let bar = |name: &str| -> Vec<bool> {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} ")) && line.ends_with('|')).unwrap();
        line.split('|').nth(1).unwrap().chars().map(|cell| cell == '=').collect()
    };
    let bars = gathering.map(bar);
    assert!((0..bars[0].len()).any(|cell| bars.iter().all(|bar| bar[cell])), "{text}");
}
