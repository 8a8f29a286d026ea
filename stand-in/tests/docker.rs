//! Docker's stand-in answers as the Engine API does, and its containers turn out as the script says.

use kasm_stand_in::docker::{Condition, Docker, Script};
use serde_json::Value;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Status code and document.
fn get(root: &Path, target: &str) -> (u16, Value) {
    let directory = File::open(root.join("run")).unwrap();
    let socket = format!("/proc/self/fd/{}/docker.sock", directory.as_raw_fd());
    let mut stream = UnixStream::connect(socket).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: docker\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned())))
}

fn start_containers(root: &Path, names: &[&str]) {
    fs::create_dir_all(root.join("run")).unwrap();
    let lines: String = names.iter().map(|name| format!("{name} stand-in/{name}:1.18.1\n")).collect();
    fs::write(root.join("run/stand-in-containers"), lines).unwrap();
}

#[test]
fn nothing_started_means_an_empty_list() {
    let root = tempfile::tempdir().unwrap();
    let _docker = Docker::start(root.path());
    assert_eq!(get(root.path(), "/_ping"), (200, "OK".into()));
    assert_eq!(get(root.path(), "/containers/json?all=1"), (200, Value::Array(Vec::new())));
    assert_eq!(get(root.path(), "/v1.47/version").1["ApiVersion"], "1.47");
    assert_eq!(get(root.path(), "/containers/kasm_agent/json").0, 404);
    assert_eq!(get(root.path(), "/nothing").0, 404);
}

#[test]
fn containers_become_healthy_at_the_third_look() {
    let root = tempfile::tempdir().unwrap();
    let docker = Docker::start(root.path());
    start_containers(root.path(), &["kasm_agent", "kasm_proxy"]);
    let statuses = || -> Vec<String> {
        let (_, list) = get(root.path(), "/v1.41/containers/json?all=1");
        list.as_array().unwrap().iter().map(|container| container["Status"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(statuses(), ["Up 2 seconds (health: starting)"; 2]);
    assert_eq!(statuses(), ["Up 2 seconds (health: starting)"; 2]);
    assert_eq!(statuses(), ["Up 8 seconds (healthy)"; 2]);
    let (status, details) = get(root.path(), "/containers/kasm_agent/json");
    assert_eq!((status, &details["State"]["Health"]["Status"]), (200, &"healthy".into()));
    assert_eq!(get(root.path(), "/info").1["ContainersRunning"], 2);
    assert_eq!(docker.requests().len(), 5);
}

#[test]
fn containers_can_turn_out_badly() {
    let root = tempfile::tempdir().unwrap();
    let names = ["fine", "sick", "dead", "looping", "plain", "gone"];
    start_containers(root.path(), &names);
    let ends =
        [Condition::Unhealthy, Condition::Exited(1), Condition::Restarting(137), Condition::Running, Condition::Gone];
    let except: HashMap<String, Condition> = names[1..].iter().map(|name| (*name).to_owned()).zip(ends).collect();
    let script = Script { looks: 0, except, ..Script::default() };
    let docker = Docker::scripted(root.path(), script);
    let state = |name: &str| get(root.path(), &format!("/containers/{name}/json")).1["State"].clone();
    assert_eq!(state("sick")["Health"]["Status"], "unhealthy");
    assert_eq!((state("dead")["Status"].clone(), state("dead")["ExitCode"].clone()), ("exited".into(), 1.into()));
    assert_eq!(
        (state("looping")["Restarting"].clone(), state("looping")["ExitCode"].clone()),
        (true.into(), 137.into())
    );
    assert_eq!(state("plain").get("Health"), None);
    assert_eq!(get(root.path(), "/containers/gone/json").0, 404);
    let count = |target: &str| get(root.path(), target).1.as_array().unwrap().len();
    assert_eq!((count("/containers/json?all=1"), count("/containers/json")), (5, 4));
    docker.set_script(Script { looks: 0, ..Script::default() });
    assert_eq!(state("sick")["Health"]["Status"], "healthy");
}

#[test]
fn the_socket_works_below_a_path_longer_than_a_socket_address() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("long/".repeat(40));
    fs::create_dir_all(&root).unwrap();
    let docker = Docker::start(&root);
    assert_eq!(get(&root, "/_ping").0, 200);
    drop(docker);
    assert!(!root.join("run/docker.sock").exists());
}
