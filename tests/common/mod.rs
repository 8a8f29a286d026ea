//! A scratch machine with everything around it, for tests that run the real binary.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod service;

use kasm_stand_in::docker::{Docker, Script};
use kasm_stand_in::manager::{Behaviour, Manager};
use kasm_stand_in::mirror::Mirror;
use kasm_stand_in::release::{Built, Options, Release};
use kasm_stand_in::tls;
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The token every scene uses: easy to search for, and like nothing else.
pub const TOKEN: &str = "Zq7Wk3Rt9Xv5Lm1Pn8Bd";

/// How long a run in a test may take at most: ample, because a test never waits for it.
pub const DEADLINE: &str = "120s";

/// A scratch machine, its manager, its mirror and its Docker.
pub struct Scene {
    pub root: PathBuf,
    pub release: Built,
    pub manager: Manager,
    pub docker: Docker,
    pub mirror: Mirror,
    // Last: the servers' sockets are in it.
    directory: tempfile::TempDir,
}

impl Scene {
    /// A fresh machine, a healthy manager with a self-signed certificate, a good mirror, this release, and containers
    /// that are up as soon as they are looked at: each look later is one of the proof's long waits.
    pub fn new(options: &Options) -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("machine");
        for path in
            ["etc/apt/apt.conf.d", "var/lib/dpkg", "var/lib/apt/lists", "var/cache/apt/archives", "run", "usr/bin"]
        {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        for path in
            ["var/lib/dpkg/lock-frontend", "var/lib/dpkg/lock", "var/lib/apt/lists/lock", "var/cache/apt/archives/lock"]
        {
            File::create(root.join(path)).unwrap();
        }
        // What makes the scratch root a machine with apt.
        File::create(root.join("usr/bin/apt-get")).unwrap();
        fs::write(root.join("etc/os-release"), "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n")
            .unwrap();
        fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
        fs::write(root.join("etc/fstab"), "# nothing\n").unwrap();
        let release = Release::build(options);
        let manager = Manager::start(Some(tls::self_signed(&["127.0.0.1"]).config), Behaviour::default());
        let docker = Docker::start(&root);
        docker.set_script(Script { looks: 0, ..Script::default() });
        let path = format!("/kasm_release_{}.tar.gz", release.version);
        let mirror = Mirror::plain(&[(&path, &release.tar_gz)]);
        Scene { root, release, manager, docker, mirror, directory }
    }

    pub fn url(&self) -> String {
        self.mirror.url(&format!("/kasm_release_{}.tar.gz", self.release.version))
    }

    /// Containers end up like this from now on.
    pub fn containers(&self, script: Script) {
        self.docker.set_script(script);
    }

    /// The binary on this machine, with nothing of the test's own environment that could matter.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kasm-bootstrap"));
        command.arg("--root").arg(&self.root).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let shown = name.to_string_lossy().to_ascii_lowercase();
            if shown.starts_with("kasm_bootstrap") || shown.ends_with("_proxy") || shown == "journal_stream" {
                command.env_remove(name);
            }
        }
        command
    }

    /// The flags of an agent's installation, token in a file.
    pub fn install_args(&self) -> Vec<String> {
        let token = self.directory.path().join("token");
        fs::write(&token, TOKEN).unwrap();
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
        let (manager, token) = (self.manager.address().to_string(), token.display().to_string());
        let (url, digest) = (self.url(), self.release.sha256.clone());
        [
            ["-e", "-S", "agent", "-p", "auto", "-m", &manager, "-i", "server-7", "-r", "harvester"].as_slice(),
            &["--manager-token-file", &token, "--release-url", &url, "--sha256", &digest, "--deadline", DEADLINE],
        ]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect()
    }

    /// `install` with the usual flags and these; one given again replaces the usual one.
    pub fn install(&self, more: &[&str]) -> Command {
        let mut args = self.install_args();
        if let [flag, _] = more
            && let Some(at) = args.iter().position(|arg| arg == flag)
        {
            args.drain(at..at + 2);
        }
        let mut command = self.command();
        command.arg("install").args(args).args(more);
        command
    }

    /// The journal, as far as it can be read.
    pub fn journal(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.root.join("var/lib/kasm-bootstrap/journal.jsonl")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// `status --json`.
    pub fn status(&self) -> Value {
        let output = run(self.command().args(["status", "--json"]));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// How often the release was asked for from its beginning.
    pub fn whole_downloads(&self) -> usize {
        self.mirror.requests().iter().filter(|request| request.header("range").is_none()).count()
    }

    /// Files below the root that hold the token and should not. Kasm's own configuration has to.
    pub fn files_with_the_token(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        search(&self.root, TOKEN.as_bytes(), &mut found);
        found.retain(|path| !path.starts_with(self.root.join("opt/kasm")));
        found
    }
}

/// Every way in which a token can be given to a command, but for a file of its own.
pub const WAYS: [&str; 4] = ["flag", "environment", "credential", "configuration"];

/// Gives a command [`TOKEN`] in one of these ways: the one of `kind` that the table `table` of the configuration has. What it
/// lies in is gone with what is returned.
pub fn give_token(command: &mut Command, way: &str, flag: &str, table: &str, kind: &str) -> tempfile::TempDir {
    let outside = tempfile::tempdir().unwrap();
    let key = if table == kind { "token".to_owned() } else { format!("{kind}_token") };
    match way {
        "flag" => drop(command.args([flag, TOKEN])),
        "environment" => drop(command.env(format!("KASM_BOOTSTRAP_{table}_{key}").to_uppercase(), TOKEN)),
        "credential" => {
            fs::write(outside.path().join(format!("{kind}-token")), TOKEN).unwrap();
            command.env("CREDENTIALS_DIRECTORY", outside.path());
        }
        _ => {
            let file = outside.path().join("config.toml");
            fs::write(&file, format!("[{table}]\n{key} = \"{TOKEN}\"\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            command.arg("--config").arg(file);
        }
    }
    outside
}

fn search(directory: &Path, needle: &[u8], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            search(&path, needle, found);
        } else if kind.is_file() && holds(&fs::read(&path).unwrap(), needle) {
            found.push(path);
        }
    }
}

pub fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// Works on each beside the others, in threads that bear this one's name: what waits, for a deadline or for the disk,
/// may wait at the same time.
pub fn beside<T: Send>(each: impl IntoIterator<Item = T>, work: impl Fn(T) + Sync) {
    let (work, test) = (&work, std::thread::current().name().unwrap().to_owned());
    std::thread::scope(|scope| {
        for one in each {
            std::thread::Builder::new().name(test.clone()).spawn_scoped(scope, move || work(one)).unwrap();
        }
    });
}

/// Runs to the end.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

/// Starts, with both outputs kept in a file.
pub fn start(command: &mut Command, output: &Path) -> Child {
    let file = File::create(output).unwrap();
    let other = file.try_clone().unwrap();
    command.stdout(file).stderr(other).spawn().unwrap()
}

/// Exit code, standard output, standard error; the token must be in neither.
pub fn spoken(output: &Output) -> (i32, String, String) {
    for bytes in [&output.stdout, &output.stderr] {
        assert!(!holds(bytes, TOKEN.as_bytes()), "the token was printed: {}", String::from_utf8_lossy(bytes));
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// What was broken into lines for a console, in one line again. Where a line breaks hangs on how long a port or a time
/// is in this run.
pub fn unwrapped(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let said = line.trim_start();
        let is_new = ["help: ", "since ", "follows from it: "].iter().any(|front| said.starts_with(front));
        match lines.last_mut() {
            Some(last) if line.starts_with("      ") && !is_new => *last = format!("{last} {said}"),
            _ => lines.push(line.to_owned()),
        }
    }
    lines.join("\n")
}

/// Every path below a directory, with what tells a change: mode, size, link target, content's hash.
pub fn picture(directory: &Path) -> Vec<String> {
    use sha2::Digest;
    let mut lines = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        let data = fs::symlink_metadata(&path).unwrap();
        let what = if data.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().flatten().map(|entry| entry.path()));
            "directory".to_owned()
        } else if data.is_symlink() {
            format!("link to {}", fs::read_link(&path).unwrap().display())
        } else if data.is_file() {
            format!("{:x?}", sha2::Sha256::digest(fs::read(&path).unwrap()))
        } else {
            "special".to_owned()
        };
        lines.push(format!("{} {:o} {what}", path.display(), data.permissions().mode()));
    }
    lines.sort();
    lines
}
