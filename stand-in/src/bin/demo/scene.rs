//! Everything the binary meets: a scratch machine, a manager, a mirror with faults, Docker, a release.

use crate::lock;
use kasm_stand_in::docker::Docker;
use kasm_stand_in::manager::{Behaviour, Manager};
use kasm_stand_in::mirror::{Fault, Mirror};
use kasm_stand_in::release::{Built, Options, Padding, Release};
use kasm_stand_in::tls;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The scene. Its servers end with it.
pub struct Scene {
    /// The directory that holds everything.
    pub scratch: PathBuf,
    /// The scratch machine.
    pub root: PathBuf,
    /// The manager.
    pub manager: Manager,
    /// The mirror.
    pub mirror: Mirror,
    /// The release on it.
    pub release: Built,
    /// The manager token.
    pub token: String,
    /// The file it is handed over in, outside the machine.
    pub token_file: PathBuf,
    _docker: Docker,
}

impl Scene {
    /// Builds the scene in an empty directory.
    ///
    /// # Panics
    /// If the directory cannot be written to.
    pub fn build(scratch: &Path) -> Scene {
        let scratch = fs::canonicalize(scratch).expect("the scratch directory is there");
        let root = scratch.join("machine");
        furnish(&root).expect("the scratch directory can be written to");
        let release = Release::build(&Options {
            pace: Duration::from_millis(250),
            padding: Padding { files: 60, bytes: 500_000, compressible: false },
            ..Options::default()
        });
        let identity = tls::self_signed(&["127.0.0.1", "localhost"]);
        let manager = Manager::start(Some(identity.config), Behaviour::default());
        let token = random_token();
        let token_file = scratch.join("manager-token");
        File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&token_file)
            .and_then(|mut file| writeln!(file, "{token}"))
            .expect("the scratch directory can be written to");
        let path = format!("/kasm_release_{}.tar.gz", release.version);
        let mirror = Mirror::plain(&[(&path, &release.tar_gz)]);
        let third = release.tar_gz.len() as u64 / 3;
        let overloaded = Fault::Status("503 Service Unavailable", vec![("Retry-After", "1".into())]);
        mirror.script([Fault::Cut(third), overloaded, Fault::Cut(third)]);
        // About 25 MB a second, a slow mirror's pace, so that the way can be watched.
        mirror.always(Fault::Trickle { size: 512 * 1024, pause: Duration::from_millis(20) });
        let docker = Docker::start(&root);
        Scene { scratch, root, manager, mirror, release, token, token_file, _docker: docker }
    }

    /// Where the mirror has the release.
    pub fn release_url(&self) -> String {
        self.mirror.url(&format!("/kasm_release_{}.tar.gz", self.release.version))
    }

    /// True if Kasm's configuration below the root says what the operator asked for, the token included.
    pub fn is_configured(&self) -> bool {
        let path = self.root.join("opt/kasm/current/conf/app/agent/agent.app.config.yaml");
        let text = fs::read_to_string(path).unwrap_or_default();
        ["server_id: demo-server", "provider: harvester", &format!("token: {}", self.token)]
            .iter()
            .all(|line| text.lines().any(|found| found.trim() == *line))
    }

    /// True if the agent's containers were started.
    pub fn runs(&self) -> bool {
        let text = fs::read_to_string(self.root.join("run/stand-in-containers")).unwrap_or_default();
        ["kasm_agent ", "kasm_proxy "].iter().all(|name| text.lines().any(|line| line.starts_with(name)))
    }

    /// True if the mirror got to show every fault and was then asked for the rest alone.
    pub fn was_resumed(&self) -> bool {
        let requests = self.mirror.requests();
        requests.len() > 3 && requests.last().is_some_and(|last| last.header("range").is_some())
    }

    /// The files below the root that hold the token and should not. Kasm's own configuration has to.
    pub fn files_with_the_token(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        search(&self.root, self.token.as_bytes(), &mut found).expect("the scratch root can be read");
        found.retain(|path| !(path.starts_with(self.root.join("opt/kasm")) && path.iter().any(|part| part == "conf")));
        found
    }
}

/// What a fresh Debian has that this program looks at.
fn furnish(root: &Path) -> io::Result<()> {
    for directory in
        ["etc/apt/apt.conf.d", "var/lib/dpkg", "var/lib/apt/lists", "var/cache/apt/archives", "usr/bin", "run", "tmp"]
    {
        fs::create_dir_all(root.join(directory))?;
    }
    for file in lock::FILES {
        File::create(root.join(file))?;
    }
    let release = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nID=debian\nVERSION_ID=\"12\"\n\
                   VERSION_CODENAME=bookworm\n";
    fs::write(root.join("etc/os-release"), release)?;
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n")?;
    fs::write(root.join("etc/resolv.conf"), "")?;
    fs::write(root.join("etc/fstab"), "")?;
    // The processes are this machine's own.
    symlink("/proc", root.join("proc"))
}

/// 20 letters and digits, as Kasm's installer makes one.
fn random_token() -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut bytes = [0; 20];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .expect("the kernel has random bytes");
    bytes.iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}

fn search(directory: &Path, words: &[u8], found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        if kind.is_dir() {
            search(&path, words, found)?;
        } else if kind.is_file() && fs::read(&path)?.windows(words.len()).any(|window| window == words) {
            found.push(path);
        }
    }
    Ok(())
}
