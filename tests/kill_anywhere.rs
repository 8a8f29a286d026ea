//! `kill -9` of ours at random moments over the whole run: whatever the moment, the next run ends well.
//!
//! The short form kills at 12 moments. `KASM_KILLS=1000` asks for more, `KASM_SEED=7` for other moments,
//! `KASM_FIRST=815` begins at that kill, to see one again.

mod common;
mod faults;

use common::{Scene, run, spoken, start};
use faults::{ended_well, with_timers};
use kasm_stand_in::docker::Script;
use kasm_stand_in::release::{Options, Padding};
use serde_json::Value;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// splitmix64: the numbers of one kill depend on the seed and its place only.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

fn scene() -> Scene {
    let padding = Padding { files: 20, bytes: 30_000, compressible: true };
    let scene = Scene::new(&Options { pace: Duration::from_millis(10), padding, ..Options::default() });
    scene.containers(Script { looks: 0, ..Script::default() });
    scene
}

fn command(scene: &Scene) -> Command {
    let mut command = scene.install(&[]);
    command.args(["--swap-size", "1"]);
    with_timers(scene, &mut command);
    command
}

#[test]
fn killed_at_any_moment_and_started_again_a_run_ends_well() {
    let kills = number("KASM_KILLS").unwrap_or(12);
    let seed = number("KASM_SEED").unwrap_or(20_260_101);
    let first = number("KASM_FIRST").unwrap_or(0);
    println!("KASM_SEED={seed} KASM_KILLS={kills}");

    let whole = scene();
    let begun = Instant::now();
    let (code, _, err) = spoken(&run(&mut command(&whole)));
    assert_eq!(code, 0, "{err}");
    ended_well(&whole);
    // Moments lie over the whole run and a little beyond. A machine that gets busier or idler moves them
    // within the run, and changes nothing else.
    let mut span = u64::try_from(begun.elapsed().as_micros()).unwrap();
    drop(whole);

    let mut hit = 0;
    let mut done = 0;
    while done < kills {
        let at = first + done;
        let mut random = Random(seed ^ at.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let scene = scene();
        // Every third run is cut down more than once before it may end.
        let rounds = if at.is_multiple_of(3) { 1 + random.below(3) } else { 1 };
        let mut left = span;
        for round in 0..rounds.min(kills - done) {
            done += 1;
            let micros = random.below(left + left / 20);
            let moment = Duration::from_micros(micros);
            // What a round has done, the next one does not do again.
            left = left.saturating_sub(micros).max(span / 4);
            let begun = Instant::now();
            let mut child = start(&mut command(&scene), &scene.root.join("said.txt"));
            std::thread::sleep(moment.saturating_sub(begun.elapsed()));
            match child.try_wait().unwrap() {
                None => hit += 1,
                // A whole run was over by then: the machine was busier when the first one was measured.
                Some(_) if round == 0 => span = span.min(micros),
                Some(_) => {}
            }
            child.kill().unwrap();
            child.wait().unwrap();
            let story = format!("KASM_SEED={seed} KASM_FIRST={at}, round {round}, after {moment:?}");
            let said = fs::read_to_string(scene.root.join("said.txt")).unwrap();
            assert!(!said.contains("panicked") && !said.contains("error:"), "{story}: {said}");
            status_says_what_the_journal_says(&scene, &story);
        }
        let story = format!("KASM_SEED={seed} KASM_FIRST={at}");
        let (code, _, err) = spoken(&run(&mut command(&scene)));
        assert_eq!(code, 0, "{story}: {err}");
        println!("{story}: checked");
        ended_well(&scene);
        nothing_finished_was_repeated(&scene, &story);
        let swap = fs::metadata(scene.root.join("var/swap.1")).unwrap();
        assert_eq!(swap.len(), 1 << 20, "{story}");
        assert!(u64::try_from(scene.whole_downloads()).unwrap() <= 1 + rounds, "{story}");
    }
    println!("{hit} of {done} kills met a run at work");
    assert!(hit > 0, "every kill came too late");
}

/// After a kill the status is that of the last run on record, cut off unless it had come to its end.
fn status_says_what_the_journal_says(scene: &Scene, story: &str) {
    let (mut status, journal) = (scene.status(), scene.journal());
    // The lock stays for moments with a process that was just being started.
    let begun = Instant::now();
    while status["state"] == "running" && begun.elapsed() < Duration::from_secs(10) {
        status = scene.status();
    }
    let Some(begin) = journal.iter().rposition(|entry| entry["event"] == "run.started") else {
        return assert_eq!(status["state"], "never", "{story}");
    };
    let last = &journal[begin..];
    let ended = last.iter().any(|entry| entry["event"] == "run.ended");
    assert_eq!(status["state"], if ended { "done" } else { "interrupted" }, "{story}: {status:#}");
    for step in status["steps"].as_array().unwrap() {
        let about = |entry: &&Value| entry["step"] == step["name"] && entry["event"] != "step.output";
        let expected = match last.iter().rfind(|entry| about(entry) && entry["event"] == "step.ended") {
            Some(entry) => entry["ending"].as_str().unwrap(),
            None if last.iter().any(|entry| about(&entry)) => "open",
            None => "pending",
        };
        assert_eq!(step["state"], expected, "{story}: {step:#}");
    }
}

/// Once one of the steps whose result lasts is on record as done, it is not begun again.
fn nothing_finished_was_repeated(scene: &Scene, story: &str) {
    for step in ["fetch", "unpack", "install"] {
        let journal = scene.journal();
        let mut finished = false;
        for entry in journal.iter().filter(|entry| entry["step"] == step) {
            assert!(!(finished && entry["event"] == "step.started"), "{story}: {step} was repeated: {journal:#?}");
            finished |= entry["ending"] == "done";
        }
    }
}
