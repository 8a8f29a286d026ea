use super::*;
use crate::error::Exit;
use crate::step::event::{VERSION, begun};

fn entries(events: Vec<(u64, Event)>) -> Vec<Entry> {
    let entry =
        |(ms, event)| Entry { v: VERSION, run: "5f0c21aa".into(), at: "2026-01-02T03:04:05.000Z".into(), ms, event };
    events.into_iter().map(entry).collect()
}

fn ended(step: &str, ending: Ending, detail: &str, took_ms: u64) -> Event {
    Event::StepEnded { step: step.into(), ending, detail: detail.into(), took_ms }
}

fn story() -> Vec<(u64, Event)> {
    vec![
        (0, begun(&["tokens", "fetch", "packages", "install"])),
        (1, Event::StepStarted { step: "tokens".into() }),
        (2, ended("tokens", Ending::Done, "the manager token is well-formed (opaque)", 1)),
        (3, Event::StepStarted { step: "fetch".into() }),
        (3, Event::StepStarted { step: "packages".into() }),
        (
            4,
            Event::StepWaiting {
                step: "packages".into(),
                what: "the package manager".into(),
                holder: Some("apt-daily.service, pid 812, apt-get".into()),
            },
        ),
        (4_000, ended("fetch", Ending::Warned, "mirror 1 was skipped", 3_997)),
        (6_000, ended("packages", Ending::Done, "apt and dpkg are free", 5_997)),
        (6_001, Event::StepStarted { step: "install".into() }),
    ]
}

#[test]
fn nothing_was_ever_run() {
    assert_eq!(Status::of(&[], false).text(false), "nothing was run here yet");
}

#[test]
fn a_failed_run_shows_where_the_time_went_and_what_to_do() {
    let mut story = story();
    story.push((12_000, ended("install", Ending::Failed, "the installer ended with status 1", 5_999)));
    let failure =
        Failure::new(Exit::Installer, "installer.failed", "the installer ended with status 1", "read installer.log");
    let detail = failure.message.clone();
    story.push((12_000, Event::RunEnded { exit: 18, detail, failure: Some(failure) }));
    let status = Status::of(&entries(story), false);
    assert_eq!(status.state, State::Failed);
    insta::assert_snapshot!(status.text(false), @"
    install FAILED after 12.0 s
    run 5f0c21aa, started 2026-01-02T03:04:05.000Z

    step                       took  0                         12.0 s
    tokens     done           0.0 s  |=                             |
    fetch      warned         4.0 s  |==========                    |
    packages   done           6.0 s  |===============               |
    install    failed         6.0 s  |               ===============|

    fetch      mirror 1 was skipped
    packages   waited for the package manager (apt-daily.service, pid 812, apt-get)

    error: the installer ended with status 1 [installer.failed]
    help: read installer.log
    ");
}

#[test]
fn a_run_that_was_killed_says_so() {
    let status = Status::of(&entries(story()), false);
    assert_eq!(status.state, State::Interrupted);
    assert_eq!(status.steps[3].state, "open");
    assert!(status.text(false).starts_with("install was cut off after 6.0 s: run it again"));
}

#[test]
fn a_running_step_says_what_it_waits_for() {
    let status = Status::of(&entries(story()[..6].to_vec()), true);
    assert_eq!(status.state, State::Running);
    assert_eq!(status.steps[2].detail, "waiting for the package manager (apt-daily.service, pid 812, apt-get)");
}
