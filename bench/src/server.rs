//! The other end of the wire: files from memory, over HTTP and HTTPS, as fast as it goes or at 25 MB/s.

use crate::Fallible;
use kasm_stand_in::http::{self, Handler, Request, Server, Stream};
use kasm_stand_in::tls;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The slow link, bytes a second.
pub const SLOW: f64 = 25e6;

/// A way to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Plain HTTP on loopback.
    Http,
    /// HTTPS on loopback.
    Https,
    /// Plain HTTP, the server sends [`SLOW`] bytes a second.
    Slow,
}

impl Link {
    /// In the order they are measured.
    pub const ALL: [Link; 3] = [Link::Http, Link::Https, Link::Slow];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Link::Http => "loopback, HTTP",
            Link::Https => "loopback, HTTPS",
            Link::Slow => "25 MB/s, HTTP",
        }
    }
}

/// The servers.
pub struct Servers {
    plain: Server,
    secure: Server,
    /// What a client has to trust for HTTPS.
    pub ca: PathBuf,
}

impl Servers {
    /// Serves these files, each under its own name.
    pub fn start(files: &[&Path], directory: &Path) -> Fallible<Servers> {
        let mut held = HashMap::new();
        for path in files {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            held.insert(name, fs::read(path)?);
        }
        let held = Arc::new(held);
        let handler: Handler = Arc::new(move |request, stream| answer(&held, request, stream));
        let identity = tls::issued(&["127.0.0.1"]);
        let ca = directory.join("ca.pem");
        fs::write(&ca, &identity.trust_pem)?;
        Ok(Servers { plain: Server::plain(handler.clone()), secure: Server::tls(identity.config, handler), ca })
    }

    /// Where a file is found over a link.
    pub fn url(&self, link: Link, file: &Path) -> String {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        match link {
            Link::Http => format!("{}/{name}", self.plain.url()),
            Link::Https => format!("{}/{name}", self.secure.url()),
            Link::Slow => format!("{}/slow/{name}", self.plain.url()),
        }
    }
}

fn answer(held: &HashMap<String, Vec<u8>>, request: &Request, stream: &mut dyn Stream) -> io::Result<()> {
    let name = request.target.trim_start_matches('/');
    let slow = name.strip_prefix("slow/");
    let Some(bytes) = held.get(slow.unwrap_or(name)) else {
        return http::respond(stream, "404 Not Found", &[], b"no such file\n");
    };
    http::head(stream, "200 OK", &[("Content-Type", "application/gzip")], Some(bytes.len() as u64))?;
    if slow.is_none() {
        stream.write_all(bytes)?;
        return stream.flush();
    }
    let begun = Instant::now();
    let mut sent = 0;
    for piece in bytes.chunks(64 * 1024) {
        stream.write_all(piece)?;
        sent += piece.len();
        let due = begun + Duration::from_secs_f64(sent as f64 / SLOW);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    stream.flush()
}
