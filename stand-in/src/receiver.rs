//! A webhook's receiver: takes what it is told, or misbehaves in the ways real ones do. It checks signatures as the
//! documentation tells receivers to, with code of its own.

use crate::http::{self, Handler, Request, Server};
use rustls::ServerConfig;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is done with one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// This status and nothing else: `204 No Content`.
    Status(&'static str),
    /// This status, and the header `Retry-After` with this value.
    RetryAfter(&'static str, &'static str),
    /// This status, and a redirect to this URL.
    Redirect(&'static str, String),
    /// It is taken, after so long.
    Slow(Duration),
    /// It is taken, and never answered.
    Silent,
    /// It is taken, and the connection is cut.
    Cut,
}

struct State {
    /// What is done with the next events, first to last; what comes after them is taken.
    replies: Vec<Reply>,
    /// What was taken: answered with 2xx.
    taken: Vec<Request>,
}

/// A running receiver. It listens on loopback until it is dropped.
pub struct Receiver {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl Receiver {
    /// On a free port; HTTPS with a certificate, plain HTTP without.
    pub fn start(tls: Option<Arc<ServerConfig>>, replies: &[Reply]) -> Receiver {
        Receiver::start_at("127.0.0.1:0".parse().expect("a literal address"), tls, replies)
    }

    /// On a given address: one that comes back where it was.
    pub fn start_at(address: SocketAddr, tls: Option<Arc<ServerConfig>>, replies: &[Reply]) -> Receiver {
        let state = Arc::new(Mutex::new(State { replies: replies.to_vec(), taken: Vec::new() }));
        let shared = state.clone();
        let handler: Handler = Arc::new(move |request, stream| {
            let reply = {
                let mut state = shared.lock().expect("nobody panics with the lock held");
                let reply =
                    if state.replies.is_empty() { Reply::Status("204 No Content") } else { state.replies.remove(0) };
                if matches!(&reply, Reply::Status(status) if status.starts_with('2')) {
                    state.taken.push(request.clone());
                }
                reply
            };
            match reply {
                Reply::Status(status) => http::respond(stream, status, &[], b""),
                Reply::RetryAfter(status, after) => http::respond(stream, status, &[("Retry-After", after)], b""),
                Reply::Redirect(status, to) => http::respond(stream, status, &[("Location", &to)], b""),
                Reply::Slow(time) => {
                    std::thread::sleep(time);
                    shared.lock().expect("nobody panics with the lock held").taken.push(request.clone());
                    http::respond(stream, "200 OK", &[], b"ok")
                }
                Reply::Silent => {
                    // Until the client has had enough.
                    let mut one = [0];
                    let _ = stream.read(&mut one);
                    Ok(())
                }
                Reply::Cut => {
                    stream.abort();
                    Ok(())
                }
            }
        });
        Receiver { server: Server::tcp(address, tls, handler), state }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Its URL, with a path that is as good as a password.
    pub fn url(&self) -> String {
        format!("{}/hooks/{PATH_KEY}", self.server.url())
    }

    /// Every request so far, whatever became of it.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// What was taken, in the order in which it came.
    pub fn taken(&self) -> Vec<Request> {
        self.state.lock().expect("nobody panics with the lock held").taken.clone()
    }

    /// The documents that were taken, each once: an event that comes again has the same identifier.
    pub fn documents(&self) -> Vec<Value> {
        let mut documents: Vec<Value> = Vec::new();
        for request in self.taken() {
            let document: Value = serde_json::from_slice(&request.body).expect("it is JSON");
            assert_eq!(request.header("kasm-bootstrap-id"), document["id"].as_str());
            if !documents.iter().any(|known| known["id"] == document["id"]) {
                documents.push(document);
            }
        }
        documents
    }
}

/// What many receivers have in their URL in place of a password.
pub const PATH_KEY: &str = "T024BE7LD-B0G9QF9C6-4NOTaREALkey";

/// Checks a request as a receiver does: the signature over time and body, compared in constant time, and the time
/// within five minutes of `now`, in seconds since 1970.
pub fn verify(request: &Request, secret: &str, now: i64) -> Result<(), &'static str> {
    let header = request.header("kasm-bootstrap-signature").ok_or("not signed")?;
    let part = |name: &str| header.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    let (time, signature) = part("t").zip(part("v1")).ok_or("no signature in it")?;
    let seconds: i64 = time.parse().map_err(|_| "no time in it")?;
    if (now - seconds).abs() > 300 {
        return Err("too old, or from the future");
    }
    let mut message = format!("{time}.").into_bytes();
    message.extend_from_slice(&request.body);
    let bytes: Option<Vec<u8>> =
        (0..signature.len()).step_by(2).map(|at| u8::from_str_radix(signature.get(at..at + 2)?, 16).ok()).collect();
    let expected = hmac_sha256(secret.as_bytes(), &message);
    let bytes = bytes.filter(|bytes| bytes.len() == expected.len()).ok_or("no signature in it")?;
    let different = bytes.iter().zip(expected).fold(0, |all, (one, other)| all | (one ^ other));
    if different == 0 { Ok(()) } else { Err("wrong") }
}

/// RFC 2104, word by word.
fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    let mut block = [0; 64];
    if key.len() > 64 {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}
