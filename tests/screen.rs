//! What is asked of a node that is well fits a console of 80 columns and 24 lines: nothing scrolls away.

mod common;
mod nodes;

use common::{Scene, run, service, spoken};
use kasm_stand_in::docker::Script;
use kasm_stand_in::release::Options;
use nodes::calm;

const COLUMNS: usize = 80;
/// The prompt takes the last of the 24.
const LINES: usize = 23;

/// So many lines of a console are taken by the text.
fn rows(text: &str) -> usize {
    text.lines().map(|line| line.chars().count().div_ceil(COLUMNS).max(1)).sum()
}

#[test]
fn what_is_asked_of_a_node_that_is_well_fits_a_console() {
    let scene = Scene::new(&Options::default());
    calm(&scene.root);
    scene.containers(Script { looks: 0, ..Script::default() });
    let (code, _, err) = spoken(&run(&mut scene.install(&["-p", "10.0.0.6"])));
    assert_eq!(code, 0, "{err}");
    service::configure(&scene, &service::whole(&scene));
    let asked: [&[&str]; 11] = [
        &["status"],
        &["timeline"],
        &["plan", "install"],
        &["preflight"],
        &["token", "list"],
        &["release", "list"],
        &["health"],
        &["doctor"],
        &["config", "check"],
        &["config", "show"],
        &["--version"],
    ];
    for words in asked {
        let (code, out, err) = spoken(&run(scene.command().args(words)));
        assert_eq!(code, 0, "{words:?}: {out}{err}");
        let text = out + &err;
        assert!(rows(&text) <= LINES, "{words:?} takes {} lines:\n{text}", rows(&text));
    }
}
