//! A mirror with faults: serves files with ranges and validators as a good server does, and misbehaves
//! as it is told, one fault a request.

use crate::http::{self, Handler, Request, Server, Stream};
use rustls::ServerConfig;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What goes wrong with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The connection ends after so many bytes of the body.
    Cut(u64),
    /// Nothing more comes after so many bytes of the body, until [`Mirror::release`] or the end.
    Stall(u64),
    /// The body comes in pieces of `size` bytes with a pause between them.
    Trickle {
        /// Bytes at once.
        size: usize,
        /// The pause.
        pause: Duration,
    },
    /// This status and these headers, with a short body.
    Status(&'static str, Vec<(&'static str, String)>),
    /// A redirect.
    Redirect(String),
    /// A web page with status 200, as a captive portal has it.
    Html,
    /// A web page that claims to be a tarball.
    HtmlInDisguise,
    /// The header promises so many bytes more than there are.
    Longer(u64),
    /// The header promises so many bytes fewer than are sent.
    Shorter(u64),
    /// From now on it serves another version: other bytes, another ETag.
    Changed(Vec<u8>),
    /// Ranges are not honoured: 200 and all of it.
    NoRanges,
    /// 206, but from this byte on whatever was asked.
    WrongRange(u64),
    /// Other bytes of the same length, with the same validators.
    WrongBytes,
    /// 416 whatever range was asked for. A request for all is answered.
    Unsatisfiable,
    /// No length is told; the end of the connection is the end of the body.
    NoLength,
}

#[derive(Default)]
struct State {
    files: HashMap<String, Vec<u8>>,
    script: VecDeque<Fault>,
    always: Option<Fault>,
    validators: bool,
    sent: u64,
    stalled: usize,
    released: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The mirror.
pub struct Mirror {
    shared: Arc<Shared>,
    server: Server,
}

impl Mirror {
    /// On plain HTTP, serving these files by their paths (`/name`).
    pub fn plain(files: &[(&str, &[u8])]) -> Mirror {
        Mirror::start(files, |handler| Server::plain(handler))
    }

    /// On HTTPS.
    pub fn tls(config: Arc<ServerConfig>, files: &[(&str, &[u8])]) -> Mirror {
        Mirror::start(files, |handler| Server::tls(config, handler))
    }

    /// On plain HTTP at a given address: for a mirror that comes back.
    pub fn at(address: SocketAddr, files: &[(&str, &[u8])]) -> Mirror {
        Mirror::start(files, |handler| Server::tcp(address, None, handler))
    }

    fn start(files: &[(&str, &[u8])], listen: impl FnOnce(Handler) -> Server) -> Mirror {
        let shared = Arc::new(Shared::default());
        {
            let mut state = shared.lock();
            state.files = files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect();
            state.validators = true;
        }
        let handled = shared.clone();
        let server = listen(Arc::new(move |request, stream| answer(&handled, request, stream)));
        Mirror { shared, server }
    }

    /// The next requests meet these faults, one each; later ones none.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.lock().script.extend(faults);
    }

    /// Every request that no script is left for meets this fault.
    pub fn always(&self, fault: Fault) {
        self.shared.lock().always = Some(fault);
    }

    /// Neither ETag nor Last-Modified from now on.
    pub fn forget_validators(&self) {
        self.shared.lock().validators = false;
    }

    /// Lets stalled requests end.
    pub fn release(&self) {
        self.shared.lock().released = true;
        self.shared.changed.notify_all();
    }

    /// Waits until a request stalls; false if none does within the time.
    pub fn wait_for_stall(&self, longest: Duration) -> bool {
        let state = self.shared.lock();
        let (state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, longest, |state| state.stalled == 0)
            .unwrap_or_else(PoisonError::into_inner);
        state.stalled > 0
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.url())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// The `Range` headers of the requests so far, in order; `None` where there was none.
    pub fn ranges(&self) -> Vec<Option<String>> {
        self.requests().iter().map(|request| request.header("range").map(str::to_owned)).collect()
    }

    /// How many bytes of bodies were sent.
    pub fn sent(&self) -> u64 {
        self.shared.lock().sent
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.release();
    }
}

fn answer(shared: &Shared, request: &Request, stream: &mut dyn Stream) -> io::Result<()> {
    let path = request.target.split('?').next().unwrap_or_default();
    let (file, fault, validators) = {
        let mut state = shared.lock();
        // Whoever only asks whether the file is there does not use up a fault of the script.
        let scripted = if is_probe(request) { None } else { state.script.pop_front() };
        let fault = scripted.or_else(|| state.always.clone()).unwrap_or(Fault::None);
        if let Fault::Changed(bytes) = &fault {
            state.files.insert(path.to_owned(), bytes.clone());
        }
        (state.files.get(path).cloned(), fault, state.validators)
    };
    match &fault {
        Fault::Status(status, headers) => {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            return http::respond(stream, status, &headers, b"no\n");
        }
        Fault::Redirect(to) => return http::respond(stream, "302 Found", &[("Location", to)], b""),
        Fault::Html => {
            let headers = [("Content-Type", "text/html; charset=utf-8")];
            return http::respond(stream, "200 OK", &headers, b"<html>Welcome! Please log in.</html>");
        }
        Fault::HtmlInDisguise => {
            let headers = [("Content-Type", "application/gzip")];
            return http::respond(stream, "200 OK", &headers, b"<!DOCTYPE html><html>Welcome!</html>");
        }
        Fault::Unsatisfiable if request.header("range").is_some() => {
            return http::respond(stream, "416 Range Not Satisfiable", &[], b"");
        }
        _ => {}
    }
    let Some(mut bytes) = file else { return http::respond(stream, "404 Not Found", &[], b"no such file\n") };
    let etag = etag(&bytes);
    if fault == Fault::WrongBytes {
        bytes.iter_mut().skip(2).for_each(|byte| *byte ^= 0x55);
    }
    let total = bytes.len() as u64;
    let mut start = request.header("range").and_then(range_start).filter(|_| fault != Fault::NoRanges);
    if request.header("if-range").is_some_and(|validator| validator != etag) {
        start = None;
    }
    if let (Fault::WrongRange(at), Some(start)) = (&fault, &mut start) {
        *start = *at;
    }
    if start.is_some_and(|start| start >= total) {
        let range = format!("bytes */{total}");
        return http::respond(stream, "416 Range Not Satisfiable", &[("Content-Range", &range)], b"");
    }
    let mut body = &bytes[usize::try_from(start.unwrap_or(0)).unwrap_or(0)..];
    if start.is_some() && is_probe(request) {
        body = &body[..1];
    }
    let mut headers = vec![("Content-Type", "application/gzip".to_owned()), ("Accept-Ranges", "bytes".to_owned())];
    if validators {
        headers.push(("ETag", etag));
    }
    if let Some(start) = start {
        headers.push(("Content-Range", format!("bytes {start}-{}/{total}", start + body.len() as u64 - 1)));
    }
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let length = match &fault {
        Fault::Longer(more) => Some(body.len() as u64 + more),
        Fault::Shorter(less) => Some((body.len() as u64).saturating_sub(*less)),
        Fault::NoLength => None,
        _ => Some(body.len() as u64),
    };
    let status = if start.is_some() { "206 Partial Content" } else { "200 OK" };
    http::head(stream, status, &headers, length)?;
    send(shared, &fault, body, stream)
}

fn send(shared: &Shared, fault: &Fault, body: &[u8], stream: &mut dyn Stream) -> io::Result<()> {
    let until = |bytes: u64| &body[..usize::try_from(bytes).unwrap_or(usize::MAX).min(body.len())];
    match fault {
        Fault::Cut(bytes) => {
            write(shared, stream, until(*bytes), 64 * 1024)?;
            stream.abort();
            Ok(())
        }
        Fault::Stall(bytes) => {
            write(shared, stream, until(*bytes), 64 * 1024)?;
            let mut state = shared.lock();
            state.stalled += 1;
            shared.changed.notify_all();
            while !state.released {
                state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            Ok(())
        }
        Fault::Trickle { size, pause } => {
            for piece in body.chunks((*size).max(1)) {
                write(shared, stream, piece, piece.len())?;
                std::thread::sleep(*pause);
            }
            Ok(())
        }
        _ => write(shared, stream, body, 64 * 1024),
    }
}

fn write(shared: &Shared, stream: &mut dyn Stream, bytes: &[u8], size: usize) -> io::Result<()> {
    for piece in bytes.chunks(size.max(1)) {
        stream.write_all(piece)?;
        shared.lock().sent += piece.len() as u64;
    }
    stream.flush()
}

/// A strong ETag: changes with the bytes.
fn etag(bytes: &[u8]) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(bytes);
    format!("\"{}\"", digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn range_start(range: &str) -> Option<u64> {
    if range == PROBE {
        return Some(0);
    }
    range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// The range of a question for no more than the first byte.
const PROBE: &str = "bytes=0-0";

fn is_probe(request: &Request) -> bool {
    request.header("range") == Some(PROBE)
}
