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
    let (status, body) = send(root, "GET", target);
    (status, serde_json::from_slice(&body).unwrap_or_else(|_| Value::String(String::from_utf8(body).unwrap())))
}

fn post(root: &Path, target: &str) -> u16 {
    send(root, "POST", target).0
}

fn send(root: &Path, method: &str, target: &str) -> (u16, Vec<u8>) {
    let directory = File::open(root.join("run")).unwrap();
    let socket = format!("/proc/self/fd/{}/docker.sock", directory.as_raw_fd());
    let mut stream = UnixStream::connect(socket).unwrap();
    write!(stream, "{method} {target} HTTP/1.1\r\nHost: docker\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), bytes[end + 4..].to_vec())
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

/// A component's script that writes down that it ran, and ends as the file `outcome` says.
fn component(root: &Path) {
    let bin = root.join("opt/kasm/1.18.1/bin");
    fs::create_dir_all(&bin).unwrap();
    fs::create_dir_all(root.join("opt/kasm/1.18.1/log")).unwrap();
    let script = "R=$KASM_BOOTSTRAP_ROOT\nmkdir -p $R/run/stand-in-components\n\
                  echo \"ran $1\" >>$R/opt/kasm/1.18.1/log/$1.log\ncat $R/outcome >$R/run/stand-in-components/$1\n";
    fs::write(bin.join("component"), script).unwrap();
}

/// Looks until the container's state is this.
fn until(root: &Path, name: &str, wanted: &str) {
    loop {
        let state = get(root, &format!("/containers/{name}/json")).1["State"].clone();
        if state["Status"] == wanted || state["Health"]["Status"] == wanted {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn a_restarted_container_runs_its_component_which_decides_its_condition() {
    let root = tempfile::tempdir().unwrap();
    start_containers(root.path(), &["kasm_guac", "kasm_proxy"]);
    component(root.path());
    let _docker = Docker::scripted(root.path(), Script { looks: 0, ..Script::default() });
    until(root.path(), "kasm_guac", "healthy");
    let details = |name: &str| get(root.path(), &format!("/containers/{name}/json")).1;
    let before = details("kasm_guac")["State"]["StartedAt"].clone();

    fs::write(root.path().join("outcome"), "1").unwrap();
    assert_eq!(post(root.path(), "/v1.47/containers/kasm_guac/restart?t=5"), 204);
    until(root.path(), "kasm_guac", "restarting");
    assert_eq!(details("kasm_guac")["State"]["ExitCode"], 1);
    assert_ne!(details("kasm_guac")["State"]["StartedAt"], before);
    while details("kasm_guac")["RestartCount"].as_u64().unwrap() < 2 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }

    fs::write(root.path().join("outcome"), "0").unwrap();
    until(root.path(), "kasm_guac", "healthy");
    assert_eq!(post(root.path(), "/containers/kasm_guac/restart"), 204);
    until(root.path(), "kasm_guac", "healthy");
    assert_eq!(details("kasm_guac")["RestartCount"], 0, "a person's restart sets it back");
    assert_eq!(post(root.path(), "/containers/nobody/restart"), 404);
}

#[test]
fn containers_are_stopped_and_started() {
    let root = tempfile::tempdir().unwrap();
    start_containers(root.path(), &["kasm_agent"]);
    let _docker = Docker::scripted(root.path(), Script { looks: 0, ..Script::default() });
    assert_eq!(post(root.path(), "/containers/kasm_agent/start"), 304);
    assert_eq!(post(root.path(), "/containers/kasm_agent/stop?t=1"), 204);
    assert_eq!(post(root.path(), "/containers/kasm_agent/stop"), 304);
    assert_eq!(get(root.path(), "/containers/json").1, Value::Array(Vec::new()));
    assert_eq!(get(root.path(), "/containers/kasm_agent/json").1["State"]["Status"], "exited");
    assert_eq!(post(root.path(), "/containers/kasm_agent/start"), 204);
    until(root.path(), "kasm_agent", "healthy");
}

#[test]
fn sessions_are_containers_with_a_label() {
    let root = tempfile::tempdir().unwrap();
    start_containers(root.path(), &["kasm_agent"]);
    let docker = Docker::start(root.path());
    let names = |target: &str| -> Vec<String> {
        let (status, list) = get(root.path(), target);
        assert_eq!(status, 200);
        list.as_array().unwrap().iter().map(|one| one["Names"][0].as_str().unwrap().to_owned()).collect()
    };
    let labelled = "/containers/json?all=1&filters=%7B%22label%22%3A%5B%22kasm.kasmid%22%5D%7D";
    assert!(names(labelled).is_empty());
    docker.add_session("ada_1", "id-1");
    docker.add_session("bob_2", "id-2");
    assert_eq!(names(labelled), ["/ada_1", "/bob_2"]);
    assert_eq!(names("/containers/json?filters={\"label\":[\"kasm.kasmid=id-2\"]}"), ["/bob_2"]);
    assert_eq!(names("/containers/json?all=1").len(), 3);
    docker.end_session("ada_1");
    assert_eq!(names(labelled), ["/bob_2"]);
    assert_eq!(get(root.path(), "/containers/bob_2/json").1["Config"]["Labels"]["kasm.kasmid"], "id-2");
}

#[test]
fn containers_turn_out_by_version_and_their_restart_counts_grow() {
    let root = tempfile::tempdir().unwrap();
    start_containers(root.path(), &["kasm_agent", "kasm_proxy"]);
    let versions = HashMap::from([("1.18.1".to_owned(), Condition::Unhealthy)]);
    let except = HashMap::from([("kasm_proxy".to_owned(), Condition::Healthy)]);
    let docker = Docker::scripted(root.path(), Script { looks: 0, versions, except, ..Script::default() });
    let details = |name: &str| get(root.path(), &format!("/containers/{name}/json")).1;
    assert_eq!(details("kasm_agent")["State"]["Health"]["Status"], "unhealthy");
    assert_eq!(details("kasm_proxy")["State"]["Health"]["Status"], "healthy");
    let count = || details("kasm_proxy")["RestartCount"].as_u64().unwrap();
    assert_eq!((count(), count()), (0, 0));
    docker.restarted("kasm_proxy", 2);
    assert_eq!(count(), 2);
    docker.change(|script| script.flapping.push("kasm_proxy".into()));
    let first = count();
    assert_eq!(count(), first + 1);
}

#[test]
fn a_new_line_of_a_release_is_a_new_container() {
    let root = tempfile::tempdir().unwrap();
    start_containers(root.path(), &["kasm_agent"]);
    let _docker = Docker::scripted(root.path(), Script { looks: 1, ..Script::default() });
    let health = || get(root.path(), "/containers/kasm_agent/json").1["State"]["Health"]["Status"].clone();
    assert_eq!((health(), health()), ("starting".into(), "healthy".into()));
    let line = "kasm_agent stand-in/kasm_agent:1.19.0 2026-01-02T03:04:05.000000006Z\n";
    fs::write(root.path().join("run/stand-in-containers"), line).unwrap();
    assert_eq!((health(), health()), ("starting".into(), "healthy".into()));
    let state = get(root.path(), "/containers/kasm_agent/json").1["State"].clone();
    assert_eq!(state["StartedAt"], "2026-01-02T03:04:05.000000006Z");
}

#[test]
fn logs_come_in_pieces_of_two_streams() {
    let root = tempfile::tempdir().unwrap();
    start_containers(root.path(), &["kasm_guac"]);
    component(root.path());
    fs::write(root.path().join("opt/kasm/1.18.1/log/kasm_guac.log"), "one\ntwo\n").unwrap();
    let logs = HashMap::from([("kasm_guac".to_owned(), "bad".to_owned())]);
    let _docker = Docker::scripted(root.path(), Script { logs, ..Script::default() });
    let ask = |query: &str| send(root.path(), "GET", &format!("/containers/kasm_guac/logs?{query}"));
    let piece = |stream: u8, text: &str| [&[stream, 0, 0, 0, 0, 0, 0, text.len() as u8], text.as_bytes()].concat();
    let all = [piece(1, "one\n"), piece(1, "two\n"), piece(2, "bad")].concat();
    assert_eq!(ask("stdout=1&stderr=true"), (200, all));
    assert_eq!(ask("stdout=1&stderr=1&tail=2"), (200, [piece(1, "two\n"), piece(2, "bad")].concat()));
    assert_eq!(ask("tail=2").0, 400, "at least one stream has to be chosen");
    assert_eq!(send(root.path(), "GET", "/containers/nobody/logs?stdout=1").0, 404);
}

#[test]
fn a_plugin_is_switched_on_once() {
    let root = tempfile::tempdir().unwrap();
    let plugins = vec![("kasmweb/sidecar:1.2".to_owned(), false)];
    let _docker = Docker::scripted(root.path(), Script { plugins, ..Script::default() });
    let enabled = || get(root.path(), "/plugins").1[0]["Enabled"].clone();
    assert_eq!(enabled(), false);
    assert_eq!(post(root.path(), "/plugins/kasmweb/sidecar:1.2/enable?timeout=0"), 200);
    assert_eq!(enabled(), true);
    assert_eq!(post(root.path(), "/plugins/kasmweb%2Fsidecar:1.2/enable"), 409);
    assert_eq!(post(root.path(), "/plugins/nothing/enable"), 404);
}
