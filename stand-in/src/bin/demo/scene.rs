//! Everything the binary meets: a scratch machine, a manager, a mirror with faults, Docker, a release.

use crate::lock;
use kasm_stand_in::docker::Docker;
use kasm_stand_in::http::{Handler, Server, head, respond};
use kasm_stand_in::release::{Built, Options, Padding, Release};
use kasm_stand_in::tls;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The scene. Its servers end with it.
pub struct Scene {
    /// The directory that holds everything.
    pub scratch: PathBuf,
    /// The scratch machine.
    pub root: PathBuf,
    /// The manager.
    pub manager: Server,
    /// The mirror.
    pub mirror: Server,
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
        let manager = Server::tls(identity.config, manager());
        let token = random_token();
        let token_file = scratch.join("manager-token");
        File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&token_file)
            .and_then(|mut file| writeln!(file, "{token}"))
            .expect("the scratch directory can be written to");
        let mirror = Server::plain(mirror(release.tar_gz.clone()));
        let docker = Docker::start(&root);
        Scene { scratch, root, manager, mirror, release, token, token_file, _docker: docker }
    }

    /// Where the mirror has the release.
    pub fn release_url(&self) -> String {
        format!("{}/kasm_release_{}.tar.gz", self.mirror.url(), self.release.version)
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
        requests.len() > FAULTS && requests.last().is_some_and(|last| last.header("range").is_some())
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

fn manager() -> Handler {
    Arc::new(|request, stream| match request.target.as_str() {
        "/api/__healthcheck" => respond(stream, "200 OK", &[("Content-Type", "application/json")], br#"{"ok": true}"#),
        _ => respond(stream, "404 Not Found", &[], b""),
    })
}

/// How many requests end badly before one is answered in full.
const FAULTS: usize = 3;

/// Cuts the first connection, is overloaded at the second, cuts the third, and then goes on where the
/// client wants it to.
fn mirror(body: Vec<u8>) -> Handler {
    let count = AtomicUsize::new(0);
    Arc::new(move |request, stream| {
        let turn = count.fetch_add(1, Ordering::SeqCst);
        if turn == 1 {
            return respond(stream, "503 Service Unavailable", &[("Retry-After", "1")], b"");
        }
        let etag = "\"stand-in-1\"";
        let first = request
            .header("range")
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok())
            .filter(|first| *first < body.len() && request.header("if-range").is_none_or(|tag| tag == etag));
        let rest = &body[first.unwrap_or(0)..];
        match first {
            Some(first) => {
                let range = format!("bytes {first}-{}/{}", body.len() - 1, body.len());
                let headers = [("ETag", etag), ("Content-Range", range.as_str())];
                head(stream, "206 Partial Content", &headers, Some(rest.len() as u64))?;
            }
            None => head(stream, "200 OK", &[("ETag", etag), ("Accept-Ranges", "bytes")], Some(rest.len() as u64))?,
        }
        let sent = if turn < FAULTS { rest.len().min(body.len() / 3) } else { rest.len() };
        for piece in rest[..sent].chunks(512 * 1024) {
            stream.write_all(piece)?;
            // About 25 MB a second, a slow mirror's pace, so that the way can be watched.
            std::thread::sleep(Duration::from_millis(20));
        }
        stream.flush()?;
        if sent < rest.len() {
            stream.abort();
        }
        Ok(())
    })
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
