//! A kasm_release made on the spot: scripts that behave to their caller as Kasm's do
//! (`docs/kasm-facts.md`, 1 to 4), and that can be built to go wrong at a chosen point.
//!
//! What it installs lies below `KASM_BOOTSTRAP_ROOT`; without that variable it refuses to work, unless it was
//! built for a machine that is thrown away ([`Options::booted`]).

mod fault;

pub use fault::{FRONTEND_LOCKED, Fault, LISTS_LOCKED, Point};

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The first of Kasm's minor versions (of 1.x) whose configuration has a directory for each component.
const SPLIT_LAYOUT: u32 = 17;

const INSTALL: &str = include_str!("../release/install.sh");
const UPGRADE: &str = include_str!("../release/upgrade.sh");
const DEPENDENCIES: &str = include_str!("../release/install_dependencies.sh");
const START: &str = include_str!("../release/bin/start");
const STOP: &str = include_str!("../release/bin/stop");
const COMPONENT: &str = include_str!("../release/bin/component");
/// What the scripts share, below `bin/utils`.
const UTILS: [(&str, &str); 3] = [
    ("conf", include_str!("../release/bin/utils/conf")),
    ("reach", include_str!("../release/bin/utils/reach")),
    ("services", include_str!("../release/bin/utils/services")),
];
const YQ: &str = include_str!("../release/bin/utils/yq");
const COMPOSE_AGENT: &str = include_str!("../release/docker/docker-compose-agent.yaml");
const COMPOSE_GUAC: &str = include_str!("../release/docker/docker-compose-guac.yaml");
const NGINX: &str = include_str!("../release/conf/nginx/orchestrator.conf");
/// Directory in the layout since 1.17, file name, text.
const CONFIGURATION: [(&str, &str, &str); 4] = [
    ("agent", "agent.app.config.yaml", include_str!("../release/conf/app/agent.app.config.yaml")),
    ("guac", "kasmguac.app.config.yaml", include_str!("../release/conf/app/kasmguac.app.config.yaml")),
    ("rdp_gateway", "passthrough.app.config.yaml", include_str!("../release/conf/app/passthrough.app.config.yaml")),
    (
        "rdp_https_gateway",
        "rdp_https_gateway.app.config.yaml",
        include_str!("../release/conf/app/rdp_https_gateway.app.config.yaml"),
    ),
];

/// Files that make a release as heavy as a real one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Padding {
    /// How many files.
    pub files: u32,
    /// How many bytes each.
    pub bytes: usize,
    /// Whether they compress well (to about a hundredth) or not at all.
    pub compressible: bool,
}

/// How the components of a release register with their manager, by themselves. Needs `curl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Components {
    /// How often one asks before it gives up (a real one: 10 times), and its container ends and is started
    /// again.
    pub tries: u32,
    /// How long it rests between two questions.
    pub pause: Duration,
    /// How long it waits for an answer.
    pub patience: Duration,
    /// How long after the container's start it begins. Zero: `bin/start` waits until all have ended, which is
    /// less true to life and more to a test's taste. More: `bin/start` is done before, as a real one is.
    pub after: Duration,
}

impl Default for Components {
    /// Two tries a twentieth of a second apart, at once.
    fn default() -> Components {
        Components {
            tries: 2,
            pause: Duration::from_millis(50),
            patience: Duration::from_secs(5),
            after: Duration::ZERO,
        }
    }
}

/// What release is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Kasm's version, with or without a build (`1.18.1`, `1.16.1.98d6fa`). Its minor number decides
    /// about flags and layout.
    pub version: String,
    /// Flags this release does not have, by their long names without dashes.
    pub missing_flags: Vec<String>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// How long the installer rests after each line that says what it does.
    pub pace: Duration,
    /// How often the agent's late connection test asks the manager and how long it rests between two
    /// questions (a real one: 10 times, 3 s); `None`: it does not ask. Needs `curl`.
    pub manager_test: Option<(u32, Duration)>,
    /// The components register by themselves, with whatever answers where their configuration says. `None`:
    /// they do nothing, and no manager is asked.
    pub components: Option<Components>,
    /// Instead of registering, each connection proxy gets this token at its start. For tests of nothing but
    /// that.
    pub auth_token: Option<String>,
    /// Its upgrade.sh does what 1.16.0's did: writes `"false"` and a port number into two `auth_token` fields.
    pub false_bug: bool,
    /// Weight.
    pub padding: Padding,
    /// Whether it may install below `/` where `KASM_BOOTSTRAP_ROOT` is not set, and then calls the real
    /// apt: for machines that are thrown away (`tests/vm`).
    pub booted: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            version: "1.18.1".into(),
            missing_flags: Vec::new(),
            faults: Vec::new(),
            pace: Duration::ZERO,
            manager_test: None,
            components: None,
            auth_token: None,
            false_bug: false,
            padding: Padding::default(),
            booted: false,
        }
    }
}

/// A finished release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The tarball. The same options give the same bytes.
    pub tar_gz: Vec<u8>,
    /// Its SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// The version it installs as (`/opt/kasm/<version>`): without the build.
    pub version: String,
}

impl Built {
    /// Writes the tarball into `dir` under the name of an official one.
    pub fn write(&self, dir: &Path) -> io::Result<PathBuf> {
        let path = dir.join(format!("kasm_release_{}.tar.gz", self.version));
        std::fs::write(&path, &self.tar_gz)?;
        Ok(path)
    }

    /// Unpacks it into `dir` and returns `dir/kasm_release`.
    pub fn unpack(&self, dir: &Path) -> io::Result<PathBuf> {
        tar::Archive::new(flate2::read::GzDecoder::new(self.tar_gz.as_slice())).unpack(dir)?;
        Ok(dir.join("kasm_release"))
    }
}

/// Builds releases.
pub struct Release;

impl Release {
    /// Builds one.
    ///
    /// # Panics
    /// If the version has no two numbers in front, or the auth token holds what `sed` would not leave alone.
    pub fn build(options: &Options) -> Built {
        let numbers: Vec<&str> = options.version.splitn(4, '.').take(3).collect();
        let minor: u32 = numbers.get(1).and_then(|minor| minor.parse().ok()).expect("a version has a minor number");
        let version = numbers.join(".");
        let script = |text: &str| fill(&fit(text, minor, &options.missing_flags), options, &version, minor);

        let mut archive = Archive::new(options.padding.compressible || options.padding.files == 0);
        archive.file("install.sh", 0o755, script(INSTALL).as_bytes());
        archive.file("upgrade.sh", 0o755, script(UPGRADE).as_bytes());
        archive.file("install_dependencies.sh", 0o755, script(DEPENDENCIES).as_bytes());
        archive.file("bin/start", 0o755, script(START).as_bytes());
        archive.file("bin/stop", 0o755, script(STOP).as_bytes());
        if options.components.is_some() {
            archive.file("bin/component", 0o755, script(COMPONENT).as_bytes());
        }
        for (name, text) in UTILS {
            archive.file(&format!("bin/utils/{name}"), 0o755, script(text).as_bytes());
        }
        for machine in ["x86_64", "aarch64"] {
            archive.file(&format!("bin/utils/yq_{machine}"), 0o755, YQ.as_bytes());
        }
        archive.link("bin/utils/yq", "yq_x86_64");
        if let Some(token) = &options.auth_token {
            assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)), "a JWT");
            archive.file("bin/auth_token", 0o600, token.as_bytes());
        }
        for (component, name, text) in CONFIGURATION {
            let directory = if minor < SPLIT_LAYOUT { String::new() } else { format!("{component}/") };
            archive.file(&format!("conf/app/{directory}{name}"), 0o644, text.as_bytes());
        }
        archive.file("conf/nginx/orchestrator.conf", 0o644, NGINX.as_bytes());
        archive.file("docker/docker-compose-agent.yaml", 0o644, script(COMPOSE_AGENT).as_bytes());
        archive.file("docker/docker-compose-guac.yaml", 0o644, script(COMPOSE_GUAC).as_bytes());
        archive.file(
            "licenses/LICENSE.txt",
            0o644,
            b"The stand-in is under the licence of the project it belongs to.\n",
        );
        archive.file("www/index.html", 0o644, b"<!doctype html><title>stand-in</title>\n");
        let mut bytes = vec![0; options.padding.bytes];
        for number in 0..options.padding.files {
            weigh(&mut bytes, number, options.padding.compressible);
            archive.file(&format!("www/padding/{number:04}.bin"), 0o644, &bytes);
        }
        let tar_gz = archive.finish();
        let sha256 = Sha256::digest(&tar_gz).iter().map(|byte| format!("{byte:02x}")).collect();
        Built { tar_gz, sha256, version }
    }
}

/// Keeps the lines that belong to this minor version and whose flag this release has.
fn fit(text: &str, minor: u32, missing_flags: &[String]) -> String {
    let since = |line: &str, word: &str| -> Option<u32> { line.rsplit_once(word)?.1.parse().ok() };
    let mut kept = String::new();
    for line in text.lines() {
        let fits = since(line, " # since 1.").is_none_or(|first| minor >= first)
            && since(line, " # until 1.").is_none_or(|last| minor <= last)
            && !missing_flags.iter().any(|flag| line.contains(&format!("--{flag})")));
        if fits {
            let end = line.rfind(" # since 1.").or_else(|| line.rfind(" # until 1.")).unwrap_or(line.len());
            kept.push_str(&line[..end]);
            kept.push('\n');
        }
    }
    kept
}

/// Writes the words between at signs out.
fn fill(text: &str, options: &Options, version: &str, minor: u32) -> String {
    let seconds = |duration: Duration| if duration.is_zero() { "0".into() } else { duration.as_secs_f64().to_string() };
    let (tries, pause) = options.manager_test.unwrap_or_default();
    let components = options.components.clone().unwrap_or_default();
    let points: BTreeSet<&str> = options.faults.iter().map(|fault| fault.at().word()).collect();
    let faults: String = points
        .iter()
        .map(|point| {
            let bodies: String =
                options.faults.iter().filter(|fault| fault.at().word() == *point).map(Fault::script).collect();
            format!("fault_{point}() {{\n{bodies}}}\n")
        })
        .collect();
    text.replace("# @FAULTS@\n", &faults)
        .replace("@VERSION@", version)
        .replace("@MINOR@", &minor.to_string())
        .replace("@FALSE_BUG@", if options.false_bug { "true" } else { "false" })
        .replace("@TRIES@", &components.tries.to_string())
        .replace("@PAUSE@", &seconds(components.pause))
        .replace("@PATIENCE@", &seconds(components.patience))
        .replace("@AFTER@", &seconds(components.after))
        .replace("@BOOTED@", if options.booted { "true" } else { "false" })
        .replace("@PACE@", &seconds(options.pace))
        .replace("@TEST_MANAGER@", if options.manager_test.is_some() { "true" } else { "false" })
        .replace("@MANAGER_TRIES@", &tries.to_string())
        .replace("@MANAGER_PAUSE@", &seconds(pause))
}

/// Fills a file's bytes: text that repeats, or what no compressor can shorten (xorshift64, seeded by the
/// file's number).
fn weigh(bytes: &mut [u8], number: u32, compressible: bool) {
    if compressible {
        let line = format!("padding {number}\n");
        bytes.iter_mut().zip(line.bytes().cycle()).for_each(|(byte, value)| *byte = value);
        return;
    }
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ (u64::from(number) + 1);
    for chunk in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
}

/// A tar.gz with one root directory that remembers which directories it has.
struct Archive {
    tar: tar::Builder<GzEncoder<Vec<u8>>>,
    directories: BTreeSet<PathBuf>,
}

impl Archive {
    fn new(compress: bool) -> Archive {
        let level = if compress { Compression::default() } else { Compression::fast() };
        let mut archive =
            Archive { tar: tar::Builder::new(GzEncoder::new(Vec::new(), level)), directories: BTreeSet::new() };
        archive.directory(Path::new("kasm_release"));
        archive
    }

    fn directory(&mut self, path: &Path) {
        if path.as_os_str().is_empty() || self.directories.contains(path) {
            return;
        }
        if let Some(parent) = path.parent() {
            self.directory(parent);
        }
        self.append(tar::EntryType::Directory, path, 0o755, &[]);
        self.directories.insert(path.to_owned());
    }

    fn file(&mut self, name: &str, mode: u32, bytes: &[u8]) {
        let path = Path::new("kasm_release").join(name);
        self.directory(path.parent().expect("it has the root above it"));
        self.append(tar::EntryType::Regular, &path, mode, bytes);
    }

    fn link(&mut self, name: &str, target: &str) {
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        let path = Path::new("kasm_release").join(name);
        self.tar.append_link(&mut header, path, target).expect("memory can be written to");
    }

    fn append(&mut self, kind: tar::EntryType, path: &Path, mode: u32, bytes: &[u8]) {
        let mut header = header(kind, mode, bytes.len() as u64);
        self.tar.append_data(&mut header, path, bytes).expect("memory can be written to");
    }

    fn finish(self) -> Vec<u8> {
        let gzip = self.tar.into_inner().expect("memory can be written to");
        gzip.finish().expect("memory can be written to")
    }
}

/// The same bytes on every day and every machine: no time, no owner of this machine.
fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(1_700_000_000);
    header.set_uid(1000);
    header.set_gid(1000);
    header
}
