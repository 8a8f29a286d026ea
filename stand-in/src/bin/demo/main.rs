//! The main job, shown: a machine whose apt is busy, a mirror that drops connections and a manager with
//! a certificate nobody knows, all imitated on loopback; and the real binary that brings an agent up there.
//!
//! `demo SCRATCH BINARY` plays it in the empty directory SCRATCH; `scripts/demo` calls it. It ends with 0
//! only if everything came out as it should. `demo hold-lock FILE…` is a part of it: a process that holds
//! locks until its standard input ends.

mod lock;
mod scene;
mod stage;

use scene::Scene;
use stage::Stage;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How long "apt-daily" is busy.
const APT_BUSY: Duration = Duration::from_secs(3);
/// What the binary may have in memory while it downloads, KiB.
const MOST_MEMORY: u64 = 12 * 1024;
/// What somebody once pasted from the manual, brackets and all.
const PLACEHOLDER: &str = "[COMPONENT_REGISTRATION_TOKEN]";

fn main() -> ExitCode {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    match args.as_slice() {
        [verb, files @ ..] if verb.as_os_str() == "hold-lock" => lock::hold(files),
        [scratch, binary] => play(Scene::build(scratch), binary),
        _ => {
            eprintln!("usage: demo SCRATCH BINARY");
            ExitCode::from(2)
        }
    }
}

fn play(scene: Scene, binary: &std::path::Path) -> ExitCode {
    let mut stage = Stage::new(binary, &scene);
    stage.say(&format!(
        "A scratch machine below {}.\n\
         Its manager is {}, with a certificate that nobody has heard of.\n\
         Its mirror is {}: it drops two connections and is overloaded once.\n\
         apt-get holds its locks for another {} seconds. Kasm's release is a synthetic one of {} MB.",
        scene.root.display(),
        scene.manager.address(),
        scene.mirror.url(""),
        APT_BUSY.as_secs(),
        scene.release.tar_gz.len() / 1_000_000,
    ));

    stage.chapter("One command brings the agent up");
    let manager = scene.manager.address().to_string();
    let token = scene.token_file.display().to_string();
    let (url, digest) = (scene.release_url(), scene.release.sha256.clone());
    let install = [
        ["install", "-e", "-S", "agent", "-p", "auto", "-m", &manager].as_slice(),
        &["-i", "demo-server", "-r", "harvester", "--manager-token-file", &token],
        &["--release-url", &url, "--sha256", &digest],
    ]
    .concat();
    let busy = lock::Holder::start(&scene.root, APT_BUSY);
    stage.run(&install, None, 0);
    drop(busy);
    stage.expect_memory(MOST_MEMORY);
    stage.expect("the agent's configuration holds what was asked for", scene.is_configured());
    stage.expect("the agent's containers run", scene.runs());
    stage.expect("the mirror had its faults, and the download went on where it was cut", scene.was_resumed());

    stage.chapter("What happened, and where the time went");
    stage.run(&["status"], None, 0);

    stage.chapter("Once more: there is nothing left to do");
    let before = scene.mirror.requests().len();
    stage.run(&install, None, 0);
    stage.expect("nothing was downloaded again", scene.mirror.requests().len() == before);

    stage.chapter("A placeholder is no token");
    stage.run(&["token", "check", "--kind", "registration", "-"], Some(PLACEHOLDER), 11);

    stage.chapter("The manager token");
    let leaks = scene.files_with_the_token();
    for file in &leaks {
        println!("  found in {}", file.display());
    }
    stage.expect("the token is in no file but Kasm's own configuration", leaks.is_empty());
    if let Some(printed) = stage.printed(&scene.token) {
        stage.expect("the token was printed nowhere", !printed);
    }
    stage.end()
}
