//! What the manager is told about an agent once it is up: cores, memory, and that sessions may start on it.

mod common;

use common::{Scene, holds, run, spoken};
use kasm_stand_in::docker::Script;
use kasm_stand_in::manager::{Behaviour, Developer, Manager};
use kasm_stand_in::release::Options;
use kasm_stand_in::tls;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

const KEY: &str = "Kd8Wm2Ap1key";
const SECRET: &str = "Zs6Vt4Yq9Lx3Rb7secretOfTheKey";

/// An agent that is about to be installed, its manager with a developer API, and the pin of its certificate.
struct Site {
    scene: Scene,
    pin: String,
    developer: Developer,
}

impl Site {
    fn new(version: &str, developer: Developer) -> Site {
        let mut scene = Scene::new(&Options { version: version.into(), ..Options::default() });
        scene.containers(Script { looks: 0, ..Script::default() });
        let identity = tls::self_signed(&["127.0.0.1"]);
        let pin = Sha256::digest(&identity.certificate).iter().map(|byte| format!("{byte:02x}")).collect();
        let behaviour = Behaviour { developer: developer.clone(), ..Behaviour::default() };
        scene.manager = Manager::start(Some(identity.config), behaviour);
        Site { scene, pin, developer }
    }

    /// An installation that asks for all of it.
    fn install(&self, settings: &str) -> Command {
        let directory = self.scene.root.join("etc/kasm-bootstrap");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("api-secret"), SECRET).unwrap();
        let text = format!(
            "[manager]\napi_key = \"{KEY}\"\napi_key_secret_file = \"/etc/kasm-bootstrap/api-secret\"\n{settings}"
        );
        fs::write(directory.join("config.toml"), text).unwrap();
        for file in ["api-secret", "config.toml"] {
            fs::set_permissions(directory.join(file), fs::Permissions::from_mode(0o600)).unwrap();
        }
        self.scene.install(&["--tls-pin", &self.pin])
    }

    /// The step's ending and its words.
    fn step(&self) -> (String, String) {
        let status = self.scene.status();
        let steps = status["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["name"] == "settings").unwrap_or_else(|| panic!("{status:#}"));
        (step["state"].as_str().unwrap().into(), step["detail"].as_str().unwrap().into())
    }

    /// What the API was asked, in order.
    fn asked(&self) -> Vec<String> {
        let all = self.scene.manager.requests();
        let api = all.iter().filter(|request| request.target.starts_with("/api/admin/"));
        api.map(|request| request.target.trim_start_matches("/api/admin/").to_owned()).collect()
    }

    fn agent(&self) -> Value {
        self.developer.agents.lock().unwrap()[0].clone()
    }
}

/// Everything of the table.
const ALL: &str = "[agent]\nenable = true\ncores = 8\nmemory = \"16G\"\n";

/// An API that lists the scene's agent, and another.
fn developer() -> Developer {
    let agents = json!([
        {"agent_id": "a-7", "server_id": "server-7", "hostname": "10.0.0.7", "status": "running", "enabled": false,
         "cores": 4, "memory": 8_000_000_000u64, "cores_override": null, "memory_override": null},
        {"agent_id": "a-8", "server_id": "server-8", "hostname": "10.0.0.8", "enabled": false},
    ]);
    let agents = Arc::new(Mutex::new(agents.as_array().unwrap().clone()));
    Developer { key: Some((KEY.into(), SECRET.into())), agents, ..Developer::default() }
}

/// Nothing of the key is in what was said or in any file but those it was given in.
fn keeps_the_key(site: &Site, texts: &[&str]) {
    for text in texts {
        assert!(!text.contains(KEY) && !text.contains(SECRET), "{text}");
    }
    search(&site.scene.root.join("var"));
    search(&site.scene.root.join("run"));
    search(&site.scene.root.join("opt"));
}

fn search(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            search(&entry.path());
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).unwrap();
            assert!(!holds(&bytes, KEY.as_bytes()) && !holds(&bytes, SECRET.as_bytes()), "{}", entry.path().display());
        }
    }
}

#[test]
fn a_new_agent_is_set_once_and_left_alone_when_it_is_so_already() {
    let site = Site::new("1.18.1", developer());
    let (exit, text, said) = spoken(&run(&mut site.install(ALL)));
    assert_eq!(exit, 0, "{said}");
    let agent = site.agent();
    assert_eq!((&agent["enabled"], &agent["cores_override"]), (&json!(true), &json!(8)));
    assert_eq!(agent["memory_override"], 16u64 << 30);
    assert_eq!(site.developer.agents.lock().unwrap()[1]["enabled"], false);
    assert_eq!(site.asked(), ["get_agents", "update_agent", "get_agents"]);
    let (state, words) = site.step();
    assert_eq!(state, "done");
    assert_eq!(words, "the manager has this agent as asked now: enabled, 8 cores, 16384 MiB of memory");
    keeps_the_key(&site, &[&text, &said]);
    // Installed anew: the manager has it so.
    let mut again = site.install(ALL);
    let (exit, _, said) = spoken(&run(again.arg("--force")));
    assert_eq!(exit, 0, "{said}");
    assert_eq!(site.step(), ("done".into(), "the manager has this agent so already".into()));
    assert_eq!(site.asked()[3..], ["get_agents"]);
}

#[test]
fn the_key_goes_in_the_form_of_the_installed_version_and_in_the_other_if_that_is_refused() {
    for (version, basic, asked) in [
        ("1.20.0", true, ["get_agents", "update_agent", "get_agents"].as_slice()),
        ("1.19.0", true, &["get_agents", "get_agents", "update_agent", "get_agents"]),
        ("1.20.0", false, &["get_agents", "get_agents", "update_agent", "get_agents"]),
    ] {
        let site = Site::new(version, Developer { basic, ..developer() });
        let (exit, _, said) = spoken(&run(&mut site.install("[agent]\ncores = 6\n")));
        assert_eq!(exit, 0, "{said}");
        assert_eq!(site.step().0, "done", "{:?}", site.step());
        assert_eq!(site.asked(), asked, "{version}, {basic}");
        assert_eq!((&site.agent()["cores_override"], &site.agent()["enabled"]), (&json!(6), &json!(false)));
        // Never in both.
        for request in site.scene.manager.requests() {
            assert!(request.header("authorization").is_none() || !holds(&request.body, SECRET.as_bytes()));
        }
    }
}

#[test]
fn an_agent_that_the_manager_does_not_list_yet_is_waited_for() {
    let site = Site::new("1.18.1", Developer { hidden_for: 2, ..developer() });
    let (exit, _, said) = spoken(&run(&mut site.install("[agent]\nenable = true\n")));
    assert_eq!(exit, 0, "{said}");
    assert_eq!(site.agent()["enabled"], true);
    assert_eq!(site.asked(), ["get_agents", "get_agents", "get_agents", "update_agent", "get_agents"]);
}

#[test]
fn what_cannot_be_set_is_a_warning_and_the_node_is_up() {
    let key = Some((KEY.to_owned(), "another".to_owned()));
    for (developer, reason, words) in [
        (Developer { key, ..developer() }, "settings.key-refused", "refuses the API key: Access Denied"),
        (
            Developer { refusal: Some(format!("cannot set {SECRET}")), ..developer() },
            "settings.failed",
            "does not take the agent's settings: cannot set [masked]",
        ),
        (Developer { forgetful: true, ..developer() }, "settings.failed", "still lists it otherwise: enabled, 8 cores"),
    ] {
        let site = Site::new("1.18.1", developer);
        let output = run(&mut site.install(ALL));
        let (exit, text, said) = spoken(&output);
        assert_eq!(exit, 0, "{said}");
        let (state, detail) = site.step();
        assert_eq!(state, "warned");
        assert!(detail.starts_with("the node is up, but ") && detail.contains(words), "{detail}");
        assert!(detail.contains(&format!("[{reason}]; ")), "{detail}");
        assert_eq!(site.agent()["enabled"], false);
        keeps_the_key(&site, &[&text, &said, &detail]);
    }
}

#[test]
fn what_the_manager_has_not_taken_is_asked_for_again_by_the_next_run_and_then_never_more() {
    let site = Site::new("1.18.1", developer());
    let twin = json!({"agent_id": "a-9", "server_id": "SERVER-7", "hostname": "10.0.0.9", "enabled": false});
    site.developer.agents.lock().unwrap().push(twin);
    let owed = || {
        let receipt = fs::read(site.scene.root.join("var/lib/kasm-bootstrap/installed.json")).unwrap();
        serde_json::from_slice::<Value>(&receipt).unwrap()["owes_settings"] == true
    };
    let install = |settings: &str| {
        let (exit, text, said) = spoken(&run(&mut site.install(settings)));
        assert_eq!(exit, 0, "{said}");
        keeps_the_key(&site, &[&text, &said]);
        (text, said)
    };
    install(ALL);
    assert!(owed());
    // A run that asks for nothing of it leaves it as it is.
    install("");
    assert_eq!((site.asked().len(), owed()), (1, true));
    let (text, said) = install(ALL);
    assert!(text.contains("Kasm 1.18.1 is already installed"), "{text}");
    assert!(said.contains("lists 2 agents") && said.contains("[settings.not-listed]"), "{said}");
    assert_eq!((site.asked().len(), owed()), (2, true));
    site.developer.agents.lock().unwrap().pop();
    let (text, _) = install(ALL);
    assert!(text.contains("is already installed; the manager has this agent as asked now: enabled, 8 cores"), "{text}");
    assert_eq!(site.asked()[2..], ["get_agents", "update_agent", "get_agents"]);
    assert_eq!((&site.agent()["enabled"], owed()), (&json!(true), false));
    install(ALL);
    assert_eq!(site.asked().len(), 5);
}

#[test]
fn of_two_agents_that_could_be_this_one_none_is_touched() {
    let site = Site::new("1.18.1", developer());
    let twin = json!({"agent_id": "a-9", "server_id": "SERVER-7", "hostname": "10.0.0.9", "enabled": false});
    site.developer.agents.lock().unwrap().push(twin);
    let (exit, _, said) = spoken(&run(&mut site.install(ALL)));
    assert_eq!(exit, 0, "{said}");
    let (state, detail) = site.step();
    assert_eq!(state, "warned");
    assert!(
        detail.contains("lists 2 agents with the server id server-7") && detail.contains("[settings.not-listed]"),
        "{detail}"
    );
    assert_eq!(site.asked(), ["get_agents"]);
}

#[test]
fn nothing_is_sent_to_a_manager_that_has_not_proved_who_it_is() {
    let site = Site::new("1.18.1", developer());
    let mut command = site.install(ALL);
    let pin = site.pin.clone();
    let args: Vec<_> =
        command.get_args().map(ToOwned::to_owned).filter(|arg| arg != "--tls-pin" && *arg != *pin).collect();
    command = site.scene.command();
    // The root stands in front already.
    command.args(args.into_iter().skip(2)).arg("--insecure");
    let (exit, _, said) = spoken(&run(&mut command));
    assert_eq!(exit, 0, "{said}");
    assert_eq!(site.asked(), Vec::<String>::new());
    assert!(site.step().1.contains("[net.unverified]"), "{:?}", site.step());
}

#[test]
fn without_its_key_it_is_refused_before_anything_is_done_and_without_settings_nothing_is_asked() {
    let site = Site::new("1.18.1", developer());
    let mut command = site.install(ALL);
    fs::write(site.scene.root.join("etc/kasm-bootstrap/config.toml"), ALL).unwrap();
    let (exit, _, said) = spoken(&run(&mut command));
    assert_eq!(exit, 10, "{said}");
    assert!(said.contains("manager.api_key") && said.contains("credential api-key"), "{said}");
    let (exit, _, said) = spoken(&run(&mut site.install("")));
    assert_eq!(exit, 0, "{said}");
    assert_eq!(site.asked(), Vec::<String>::new());
    let status = site.scene.status();
    assert!(status["steps"].as_array().unwrap().iter().all(|step| step["name"] != "settings"));
}

#[test]
fn the_plan_says_what_the_manager_will_be_told() {
    let site = Site::new("1.18.1", developer());
    let mut install = site.install(ALL);
    let output = run(install.arg("--dry-run"));
    let (exit, text, _) = spoken(&output);
    assert_eq!(exit, 0);
    let text = common::unwrapped(&text);
    assert!(text.contains("settings   have the manager enable it, count 8 cores, count 16384 MiB of memory"), "{text}");
    assert_eq!(site.asked(), Vec::<String>::new());
}
