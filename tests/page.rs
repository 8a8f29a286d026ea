//! The page for people, in a real browser: Chromium without a screen. Values that want to be markup stay text, nothing
//! is asked for elsewhere, and it looks as it should (`KASM_PAGE_SHOTS=DIR` keeps the pictures).
//!
//! Without Chromium these tests are skipped and say so; `scripts/test-page` installs it first.

mod story;

use kasm_bootstrap::health::{Board, Health, Level, Verdict};
use kasm_bootstrap::observe::Silent;
use kasm_bootstrap::paths::Paths;
use kasm_bootstrap::report::http::{Endpoint, Pulse};
use kasm_bootstrap::step::Entry;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A node's endpoint on a port of its own.
struct Node {
    _endpoint: Endpoint,
    address: SocketAddr,
    _directory: TempDir,
}

fn node(entries: &[Entry], health: Option<Health>) -> Node {
    let directory = tempfile::tempdir().unwrap();
    story::write(directory.path(), entries);
    let board = Board::default();
    if let Some(health) = health {
        board.put(health);
    }
    let endpoint = Endpoint::start(&Paths::below(directory.path()), board, Pulse::default(), Arc::new(Silent));
    endpoint.listen(Some("127.0.0.1:0".parse().unwrap()));
    let begun = Instant::now();
    let address = loop {
        if let Some(address) = endpoint.tcp() {
            break address;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not listen");
        thread::sleep(Duration::from_millis(2));
    };
    Node { _endpoint: endpoint, address, _directory: directory }
}

/// Everything that is asked for anywhere but at loopback comes here, and is refused.
struct Elsewhere {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

fn elsewhere() -> Elsewhere {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = asked.clone();
    // It ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut head = [0; 512];
            let length = stream.read(&mut head).unwrap_or(0);
            let line = String::from_utf8_lossy(&head[..length]).lines().next().unwrap_or_default().to_owned();
            told.lock().unwrap().push(line);
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    Elsewhere { address, asked }
}

fn chromium() -> Option<&'static str> {
    let there = |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| there(name));
    if found.is_none() {
        eprintln!("skipped: there is no Chromium here (package chromium; scripts/test-page installs it)");
    }
    found
}

/// Opens the page and returns its document as the browser has understood it; a picture too, where somebody wants one.
fn browse(chromium: &str, node: &Node, proxy: &Elsewhere, shot: Option<(&str, &str, bool)>) -> String {
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new(chromium);
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]);
    command.args(["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    command.args(["--disable-default-apps", "--disable-extensions", "--virtual-time-budget=2000", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    command.arg(format!("--proxy-server=http://{}", proxy.address));
    if let Some((name, size, dark)) = shot {
        let path = shots().unwrap_or_else(|| profile.path().to_owned()).join(name);
        command.arg(format!("--screenshot={}", path.display())).arg(format!("--window-size={size}"));
        if dark {
            command.arg("--blink-settings=preferredColorScheme=0");
        }
    }
    let output = command.arg(format!("http://{}/", node.address)).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("kasm-bootstrap"), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn shots() -> Option<PathBuf> {
    let directory = std::env::var_os("KASM_PAGE_SHOTS").map(PathBuf::from)?;
    fs::create_dir_all(&directory).unwrap();
    Some(directory)
}

/// What was asked for elsewhere by the page; what a browser asks for on its own account does not count.
fn asked(proxy: &Elsewhere) -> Vec<String> {
    let asked = proxy.asked.lock().unwrap();
    asked.iter().filter(|line| !line.contains("google")).cloned().collect()
}

#[test]
fn a_page_whose_every_value_is_hostile_stays_a_page() {
    let Some(chromium) = chromium() else { return };
    let (node, proxy) = (node(&story::hostile(), Some(story::hostile_health())), elsewhere());
    let dom = browse(chromium, &node, &proxy, None);
    assert!(dom.contains("<title>Failed – kasm-bootstrap</title>"), "{dom}");
    // As a parser has understood it: what was text is still text.
    assert!(dom.contains("&lt;script&gt;document.title='owned'&lt;/script&gt;"), "{dom}");
    assert!(!dom.contains("<script") && !dom.contains("<img") && !dom.contains("evil.example/x\""), "{dom}");
    assert_eq!(dom.matches("<svg").count(), 1, "{dom}");
    assert_eq!(asked(&proxy), [] as [String; 0]);
}

#[test]
fn the_page_of_a_boot_shows_its_steps_probes_and_remedies_and_asks_for_nothing_elsewhere() {
    let Some(chromium) = chromium() else { return };
    let (node, proxy) = (node(&story::boot(), Some(story::degraded())), elsewhere());
    let dom = browse(chromium, &node, &proxy, Some(("degraded.png", "1100,1500", false)));
    for words in
        ["Degraded", "/var/lib/docker is 91 % full", "look at it with", "install done in 1 min 38 s", "412.0 MB"]
    {
        assert!(dom.contains(words), "{words}: {dom}");
    }
    assert_eq!(asked(&proxy), [] as [String; 0]);
}

/// Pictures for whoever changes the page: only where somebody asks for them.
#[test]
fn pictures_of_the_page_for_those_who_want_to_see_it() {
    let (Some(chromium), Some(directory)) = (chromium(), shots()) else { return };
    let proxy = elsewhere();
    let up = story::health(
        Verdict::Healthy,
        "kasm_agent and kasm_proxy are up",
        vec![story::probe("containers", Level::Ok, "kasm_agent and kasm_proxy are up", vec![])],
    );
    browse(chromium, &node(&story::boot(), Some(up)), &proxy, Some(("healthy-dark.png", "1100,1400", true)));
    browse(chromium, &node(&story::boot(), Some(story::degraded())), &proxy, Some(("phone.png", "500,2000", false)));
    browse(chromium, &node(&story::failed(), None), &proxy, Some(("failed.png", "1100,1400", false)));
    browse(
        chromium,
        &node(&story::hostile(), Some(story::hostile_health())),
        &proxy,
        Some(("hostile.png", "1100,2200", false)),
    );
    picture_of_svg(chromium, &directory);
}

fn picture_of_svg(chromium: &str, directory: &Path) {
    let svg = kasm_bootstrap::report::Timeline::of(&story::status(&story::failed())).svg();
    let file = directory.join("timeline.svg");
    fs::write(&file, svg).unwrap();
    let picture = format!("--screenshot={}", directory.join("timeline.png").display());
    let size = "--window-size=980,460";
    let arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", &picture, size];
    Command::new(chromium).args(arguments).arg(format!("file://{}", file.display())).output().unwrap();
}
