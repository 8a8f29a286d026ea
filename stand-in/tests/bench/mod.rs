//! A release, unpacked, and a root to install into.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use kasm_stand_in::release::{Components, Options, Release};
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// The registration token of every bench.
pub const REGISTRATION: &str = "kZ7TokenTokenTokenQ9";

pub struct Bench {
    directory: TempDir,
    release: PathBuf,
    /// Where the stand-in `systemctl` is, if this machine has one.
    pub systemctl: Option<PathBuf>,
}

impl Bench {
    pub fn new(options: &Options) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let release = Release::build(options).unpack(directory.path()).unwrap();
        fs::create_dir(directory.path().join("cwd")).unwrap();
        Bench { directory, release, systemctl: None }
    }

    /// From now on scripts are those of this release.
    pub fn next(&mut self, options: &Options) {
        let next = self.directory.path().join(format!("release-{}", options.version));
        fs::create_dir(&next).unwrap();
        self.release = Release::build(options).unpack(&next).unwrap();
    }

    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    pub fn run<A: AsRef<OsStr>>(&self, script: &str, args: &[A]) -> Output {
        self.bash(self.release.join(script)).args(args).output().unwrap()
    }

    /// What the component's script of the installed version ends with.
    pub fn component(&self, name: &str) -> i32 {
        let script = self.root().join("opt/kasm/current/bin/component");
        self.bash(script).arg(name).status().unwrap().code().unwrap()
    }

    fn bash(&self, script: PathBuf) -> Command {
        let mut command = Command::new("bash");
        command.arg(script).stdin(Stdio::null());
        command.current_dir(self.directory.path().join("cwd")).env("KASM_BOOTSTRAP_ROOT", self.root());
        if let Some(bin) = &self.systemctl {
            command.env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()));
        }
        command
    }

    pub fn installed(&self, path: &str) -> String {
        let path = self.root().join("opt/kasm/current").join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A connection proxy's file, in whichever layout.
    pub fn proxy(&self, directory: &str, file: &str) -> String {
        let split = self.root().join("opt/kasm/current/conf/app").join(directory).is_dir();
        self.installed(&if split { format!("conf/app/{directory}/{file}") } else { format!("conf/app/{file}") })
    }

    /// How the component of this container ended: its exit code, or `starting`.
    pub fn outcome(&self, container: &str) -> String {
        let path = self.root().join("run/stand-in-components").join(container);
        fs::read_to_string(path).unwrap_or_default().trim().to_owned()
    }

    /// Name and image of every container.
    pub fn containers(&self) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.root().join("run/stand-in-containers")).unwrap_or_default();
        let words = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            (words.next().unwrap(), words.next().unwrap())
        };
        text.lines().map(words).collect()
    }

    /// The version that `current` points to.
    pub fn version(&self) -> String {
        let target = fs::read_link(self.root().join("opt/kasm/current")).unwrap();
        target.file_name().unwrap().to_str().unwrap().to_owned()
    }
}

/// A release whose components register by themselves.
pub fn managed(version: &str) -> Options {
    Options { version: version.into(), components: Some(Components::default()), ..Options::default() }
}

pub fn guac(manager: &str) -> Vec<String> {
    let args = ["-S", "guac", "-e", "-p", "10.0.0.6", "-n", manager, "-k", REGISTRATION, "-z", "zone-1", "-H"];
    args.map(str::to_owned).to_vec()
}

pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What stands behind a key, without quotes.
pub fn value(yaml: &str, key: &str) -> String {
    let line = yaml.lines().find_map(|line| line.trim().strip_prefix(&format!("{key}: "))).unwrap_or_default();
    line.trim_matches(['\'', '"']).to_owned()
}
