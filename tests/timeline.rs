//! Where a run's time went: as text, as JSON and as a picture.

mod story;

use kasm_bootstrap::report::{Status, Timeline};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use story::{HOSTILE, boot, failed, hostile, status};

fn timeline(root: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap"))
        .arg("--root")
        .arg(root)
        .arg("timeline")
        .args(args)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_boot_shows_what_it_waited_for_and_who_held_it_up() {
    insta::assert_snapshot!(Timeline::of(&status(&boot())).text(), @"
    install done in 1 min 38 s (budget 9 min 30 s)
    run 5f0c21aa, started 2026-01-02T03:04:05.000Z, 23.4 s after the kernel

    step                       took  0                                   2 min 01 s
    (boot)                   23.4 s  |::::::::                                    |
    tokens     done           0.0 s  |        =                                   |
    preflight  warned         1.3 s  |        =                                   |
    swap       skipped               |                                            |
    fetch      done          30.0 s  |        ===========                         |
    manager    done           7.8 s  |        ...                                 |
    packages   done          21.0 s  |        ........                            |
    unpack     done           3.7 s  |                   ==                       |
    install    done          48.0 s  |                     =================      |
    prove      done          15.1 s  |                                      ..... |

    = at work   . waiting   : before the run

    packages        12.7 s waiting for the package manager (apt-daily.service, pid 812, apt-get)
    prove           10.1 s waiting for 10.0 s without a restart
    packages         8.3 s waiting for the package manager (unattended-upgrades.service, pid 901)
    manager          7.8 s waiting for manager kasm.example.com (connection refused)
    prove            4.6 s waiting for container kasm_agent (is starting)
    ");
}

#[test]
fn a_failed_boot_shows_where_it_failed_and_what_to_do() {
    insta::assert_snapshot!(Timeline::of(&status(&failed())).text(), @"
    install FAILED after 1 min 01 s (budget 9 min 30 s)
    run 5f0c21aa, started 2026-01-02T03:04:05.000Z, 23.4 s after the kernel

    step                       took  0                                   1 min 24 s
    (boot)                   23.4 s  |::::::::::::                                |
    tokens     done           0.0 s  |            =                               |
    preflight  warned         1.3 s  |            =                               |
    swap       skipped               |                                            |
    fetch      done          30.0 s  |            ================                |
    manager    done           7.8 s  |            ....                            |
    packages   done          21.0 s  |            ...........                     |
    unpack     done           3.7 s  |                            ==              |
    install    failed        26.0 s  |                              ============X |
    prove      pending               |                                            |

    = at work   . waiting   : before the run   X failed

    packages        12.7 s waiting for the package manager (apt-daily.service, pid 812, apt-get)
    packages         8.3 s waiting for the package manager (unattended-upgrades.service, pid 901)
    manager          7.8 s waiting for manager kasm.example.com (connection refused)

    error: the installer ended with status 100: apt was locked [installer.apt]
    help: run it again: it waits for apt
    ");
}

#[test]
fn the_picture_of_a_boot_stays_as_it_is() {
    insta::assert_snapshot!("boot-svg", Timeline::of(&status(&boot())).svg());
}

#[test]
fn the_picture_marks_the_step_that_failed_and_a_budget_that_is_near() {
    let svg = Timeline::of(&status(&hostile())).svg();
    assert_eq!(svg.matches("class=\"failed\" x=").count(), 2, "the bar and the legend: {svg}");
    assert!(svg.contains("<line class=\"budget\"") && !svg.contains("far to the right"), "{svg}");
    let far = Timeline::of(&status(&boot())).svg();
    assert!(!far.contains("<line class=\"budget\"") && far.contains("budget 9 min 30 s, far to the right"), "{far}");
}

#[test]
fn no_value_becomes_markup_or_leads_out_of_the_picture() {
    let svg = Timeline::of(&status(&hostile())).svg();
    for forbidden in ["<script", "<img", "onerror=\"", "<svg onload", "\u{202e}", "\u{1b}"] {
        assert!(!svg.contains(forbidden), "{forbidden} in {svg}");
    }
    // Every address in it is the name of its language or a part of itself.
    assert_eq!(svg.matches("://").count() - svg.matches("http://evil.example").count(), 1, "{svg}");
    assert!(!svg.contains("href") && svg.matches("url(").count() == svg.matches("url(#wait)").count());
    let text = Timeline::of(&status(&hostile())).text();
    assert!(!text.contains(['\u{202e}', '\u{1b}']) && !text.contains("\n# TYPE"), "{text}");
}

#[test]
fn a_machine_that_was_up_for_long_is_told_and_not_drawn() {
    let mut entries = boot();
    entries[0] = story::begun(Some(40 * 24 * 3_600_000), 570_000, &["tokens"]);
    let timeline = Timeline::of(&status(&entries));
    assert!(!timeline.text().contains("(boot)") && timeline.text().contains("960 h 00 min after the kernel"));
    assert!(!timeline.svg().contains("before the run"));
}

#[test]
fn what_still_waits_has_waited_until_now() {
    let entries = &boot()[..13];
    let timeline = Timeline::of(&Status::of(entries, true));
    let packages = timeline.steps.iter().find(|step| step.name == "packages").unwrap();
    assert_eq!((packages.state, packages.waits[0].from_ms, packages.waits[0].to_ms), ("running", 1_330, Some(9_100)));
    assert!(timeline.text().starts_with("install is at work, 9.1 s so far"), "{}", timeline.text());
}

#[test]
fn the_command_gives_text_json_or_a_picture_here_or_into_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    assert_eq!(text(&timeline(root, &[])), "nothing was run here yet\n");
    story::write(root, &boot());
    assert_eq!(text(&timeline(root, &[])), Timeline::of(&status(&boot())).text() + "\n");
    assert_eq!(text(&timeline(root, &["--svg"])), Timeline::of(&status(&boot())).svg());
    let json: serde_json::Value = serde_json::from_str(&text(&timeline(root, &["--json"]))).unwrap();
    assert_eq!((json["schema"].as_u64(), json["uptime_ms"].as_u64()), (Some(1), Some(23_400)));
    let packages = json["steps"].as_array().unwrap().iter().find(|step| step["name"] == "packages").unwrap();
    assert_eq!(packages["waits"][0]["holder"], "apt-daily.service, pid 812, apt-get");
    assert_eq!(
        (packages["waits"][0]["from_ms"].as_u64(), packages["waits"][0]["to_ms"].as_u64()),
        (Some(1_330), Some(14_000))
    );

    let file = root.join("boot.svg");
    let said = text(&timeline(root, &["--svg", "-o", file.to_str().unwrap()]));
    assert_eq!(said, format!("written to {}\n", file.display()));
    assert_eq!(fs::read_to_string(&file).unwrap(), Timeline::of(&status(&boot())).svg());
    let nowhere = timeline(root, &["-o", "/nowhere/boot.txt"]);
    assert!(nowhere.status.code() == Some(1) && String::from_utf8_lossy(&nowhere.stderr).contains("[timeline.write]"));
    assert_eq!(timeline(root, &["--svg", "--json"]).status.code(), Some(2));
}

#[test]
fn nothing_hostile_reaches_the_terminal() {
    let directory = tempfile::tempdir().unwrap();
    story::write(directory.path(), &hostile());
    for args in [[].as_slice(), &["--svg"], &["--json"]] {
        let said = text(&timeline(directory.path(), args));
        assert!(!said.contains(HOSTILE) && !said.contains(['\u{202e}', '\u{1b}']), "{said}");
    }
}
