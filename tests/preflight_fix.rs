//! The checks whose remedy this program applies itself, those of an installed connection proxy, and room for
//! two versions.

mod common;
mod signed;

use common::{Scene, run, spoken};
use kasm_bootstrap::machine::facts::Facts;
use kasm_bootstrap::preflight::{self, Context, Verdict};
use kasm_stand_in::docker::Script;
use kasm_stand_in::release::Options;
use serde_json::Value;
use signed::{ID, Jwt, certificate};
use std::fs;
use std::process::Command;

const FILE: &str = "opt/kasm/1.18.1/conf/app/guac/kasmguac.app.config.yaml";

fn scene() -> Scene {
    let scene = Scene::new(&Options::default());
    fs::create_dir_all(scene.root.join("var/lib/docker-plugins/rclone/config")).unwrap();
    scene.containers(plugins(false));
    scene
}

fn plugins(enabled: bool) -> Script {
    Script { plugins: vec![("kasmweb/sidecar:1.2".into(), enabled), ("other:1".into(), false)], ..Script::default() }
}

fn preflight(scene: &Scene, more: &[&str]) -> Command {
    let mut command = scene.command();
    command.arg("preflight").args(more);
    command
}

/// One check's result and the `fixes` in an answer in JSON.
fn told(out: &str, name: &str) -> (Value, Value) {
    let answer: Value = serde_json::from_str(out).unwrap();
    let check = answer["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap();
    (check["verdict"].clone(), answer["fixes"].clone())
}

fn look(scene: &Scene, name: &str, upgrade: bool) -> Verdict {
    let paths = kasm_bootstrap::paths::Paths::below(&scene.root);
    let mut context = Context::new(paths.clone(), Facts::gather(&paths));
    context.upgrade = upgrade;
    let checks: Vec<_> = preflight::checks().into_iter().filter(|check| check.name == name).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(preflight::run(&checks, &context)).results.remove(0).verdict
}

#[test]
fn what_can_be_mended_safely_is_offered_mended_and_checked_again() {
    let scene = scene();
    let (code, out, _) = spoken(&run(&mut preflight(&scene, &[])));
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("\n`kasm-bootstrap preflight --fix` mends: sidecar, rclone\n"), "{out}");
    assert!(!scene.root.join("var/lib/docker-plugins/rclone/cache").exists());

    let (code, out, err) = spoken(&run(&mut preflight(&scene, &["--fix", "-v"])));
    assert_eq!(code, 0, "{err}");
    assert!(
        out.starts_with(
            "fixed sidecar: enabled kasmweb/sidecar:1.2 in Docker\n\
             fixed rclone: made /var/lib/docker-plugins/rclone/cache\n"
        ),
        "{out}"
    );
    assert!(out.contains("ok    sidecar          enabled: kasmweb/sidecar:1.2"), "{out}");
    assert!(scene.root.join("var/lib/docker-plugins/rclone/cache").is_dir());
    let changes: Vec<String> =
        scene.docker.requests().into_iter().filter(|one| one.method != "GET").map(|one| one.target).collect();
    assert_eq!(changes, ["/plugins/kasmweb/sidecar:1.2/enable?timeout=30"]);

    let (code, out, _) = spoken(&run(&mut preflight(&scene, &["--fix"])));
    assert_eq!(code, 0);
    assert!(out.starts_with("nothing to fix\n"), "{out}");
}

#[test]
fn what_was_mended_is_in_the_answer_for_programs_too() {
    let scene = scene();
    let (_, out, _) = spoken(&run(&mut preflight(&scene, &["--json"])));
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&answer["schema"], &answer["fixable"]), (&1.into(), &serde_json::json!(["sidecar", "rclone"])));
    assert_eq!(told(&out, "sidecar"), ("warn".into(), Value::Null));
    let (_, out, _) = spoken(&run(&mut preflight(&scene, &["--fix", "--json"])));
    let (verdict, fixes) = told(&out, "sidecar");
    assert_eq!(verdict, "pass");
    let done = "enabled kasmweb/sidecar:1.2 in Docker";
    assert_eq!(fixes[0], serde_json::json!({ "check": "sidecar", "done": done, "error": null }));
}

#[test]
fn a_check_that_is_left_out_is_not_mended_and_a_remedy_that_fails_is_said() {
    let scene = scene();
    let (_, out, _) = spoken(&run(&mut preflight(&scene, &["--fix", "--skip", "sidecar", "--json"])));
    assert_eq!(told(&out, "sidecar").0, "skipped");
    assert_eq!(told(&out, "sidecar").1.as_array().unwrap().len(), 1);
    assert!(scene.docker.requests().iter().all(|request| request.method == "GET"));

    // A file where the directory belongs.
    fs::remove_dir(scene.root.join("var/lib/docker-plugins/rclone/cache")).unwrap();
    fs::write(scene.root.join("var/lib/docker-plugins/rclone/cache"), "").unwrap();
    let (code, out, _) = spoken(&run(&mut preflight(&scene, &["--fix", "--json"])));
    let (verdict, fixes) = told(&out, "rclone");
    assert_eq!((code, verdict), (0, "warn".into()));
    assert_eq!(fixes[1]["done"], Value::Null);
    assert!(
        fixes[1]["error"].as_str().unwrap().contains("/var/lib/docker-plugins/rclone/cache cannot be made"),
        "{out}"
    );
}

/// A guac of 1.18.1 with this auth token, and this in its own section.
fn with_guac(scene: &Scene, own: &str, auth: &str) {
    let path = scene.root.join(FILE);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let certificate: String = certificate().lines().map(|line| format!("    {line}\n")).collect();
    let text = format!(
        "kasmguac:\n  id: {ID}\n  zone: default\n{own}\napi:\n  auth_token: {auth}\n  public_jwt_cert: |\n{certificate}"
    );
    fs::write(path, text).unwrap();
    let current = scene.root.join("opt/kasm/current");
    if !current.exists() {
        std::os::unix::fs::symlink("1.18.1", current).unwrap();
    }
}

#[test]
fn tokens_that_a_faulty_upgrade_has_left_are_named_with_the_command_that_mends_them() {
    let scene = scene();
    assert_eq!(look(&scene, "auth-tokens", false), Verdict::Skipped("no connection proxy is installed here".into()));
    with_guac(&scene, "", &Jwt::default().signed());
    assert_eq!(look(&scene, "auth-tokens", false), Verdict::Pass("its auth token is good".into()));
    for bad in ["false", "\"false\"", "443", "''"] {
        with_guac(&scene, "", bad);
        let verdict = look(&scene, "auth-tokens", false);
        assert_eq!(verdict.word(), "warn", "{bad}");
        assert!(verdict.detail().starts_with("api.auth_token in /opt/kasm/1.18.1/conf/app/guac/"), "{verdict:?}");
        assert!(verdict.remedy().unwrap().ends_with("kasm-bootstrap token repair"), "{verdict:?}");
    }
    with_guac(&scene, "  registration_token: Zq7Wk3Rt9Xv5Lm1Pn8Bd", "''");
    let verdict = look(&scene, "auth-tokens", false);
    assert_eq!((verdict.word(), verdict.detail()), ("warn", "guac has not registered yet"));
    // Where `token repair` is to help, the file has to be one.
    fs::write(scene.root.join(FILE), "kasmguac: \"").unwrap();
    assert_eq!(look(&scene, "auth-tokens", false).word(), "broken");
}

#[test]
fn an_upgrade_needs_as_much_room_again_as_the_version_takes_that_stays() {
    let scene = scene();
    with_guac(&scene, "", &Jwt::default().signed());
    // 600 MiB that are really there: what a hole in a file leaves out takes no room.
    let big = fs::File::create(scene.root.join("opt/kasm/1.18.1/www")).unwrap();
    if nix::fcntl::posix_fallocate(&big, 0, 600 << 20).is_err() {
        eprintln!("not tested: there is no room for 600 MiB where temporary files are");
        return;
    }
    assert!(look(&scene, "disk-kasm", false).detail().ends_with("free for /opt/kasm (512 MiB needed)"));
    let verdict = look(&scene, "disk-kasm", true);
    let words = verdict.detail();
    assert!(words.contains("free for /opt/kasm (600 MiB needed)") || verdict.word() == "fail", "{verdict:?}");
    assert!(words.ends_with("/opt/kasm/1.18.1 takes 600 MiB and stays for a rollback"), "{words}");
}
