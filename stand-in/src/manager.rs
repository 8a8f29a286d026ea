//! A manager that answers Kasm's health check and registers components, or misbehaves in the ways real ones do.

mod checkin;
mod components;
mod developer;
pub mod jwt;

pub use checkin::CheckInFault;
pub use components::{Issue, Registration, Registry};
pub use developer::Developer;

use crate::http::{self, Handler, Request, Server, Stream};
use rustls::ServerConfig;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How the manager answers.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// The first so many health checks are answered with [`Behaviour::down_status`].
    pub down_for: usize,
    /// The status while down; empty: `503 Service Unavailable`.
    pub down_status: String,
    /// The answer once up.
    pub answer: Answer,
    /// How long each answer takes.
    pub delay: Duration,
    /// The `Date` header, as HTTP writes dates; none is sent otherwise.
    pub date: Option<String>,
    /// Nothing is answered at all, whatever is asked: connections are taken and cut.
    pub down: bool,
    /// How it deals with its components.
    pub registry: Registry,
    /// Its developer API.
    pub developer: Developer,
    /// What goes wrong when a server tells how far it is.
    pub checkin: CheckInFault,
}

/// What a health check is answered with.
#[derive(Debug, Clone, Default)]
pub enum Answer {
    /// `{"ok": true}`.
    #[default]
    Ok,
    /// `{"ok": false}`.
    NotOk,
    /// Status 200 and a web page that contains the word `true`: a captive portal.
    Page,
    /// Status 200 and nothing.
    Empty,
    /// A redirect to this URL.
    Redirect(String),
    /// Status 200 and these bytes.
    Raw(Vec<u8>),
}

/// A running manager. It listens on loopback until it is dropped.
pub struct Manager {
    server: Server,
    behaviour: Arc<Mutex<Behaviour>>,
}

impl Manager {
    /// On a free port; HTTPS with a certificate, plain HTTP without.
    pub fn start(tls: Option<Arc<ServerConfig>>, behaviour: Behaviour) -> Manager {
        Manager::start_at("127.0.0.1:0".parse().expect("a literal address"), tls, behaviour)
    }

    /// On a given address.
    pub fn start_at(address: SocketAddr, tls: Option<Arc<ServerConfig>>, behaviour: Behaviour) -> Manager {
        let behaviour = Arc::new(Mutex::new(behaviour));
        let shared = behaviour.clone();
        let asked = AtomicUsize::new(0);
        let handler: Handler = Arc::new(move |request, stream| {
            let behaviour = shared.lock().expect("nobody panics with the lock held").clone();
            answer(request, stream, &behaviour, &asked)
        });
        Manager { server: Server::tcp(address, tls, handler), behaviour }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// Every registration that components asked for, whether it was granted judged by how the manager
    /// behaves now.
    pub fn registrations(&self) -> Vec<Registration> {
        let registry = self.behaviour.lock().expect("nobody panics with the lock held").registry.clone();
        components::registrations(&self.requests(), &registry)
    }

    /// What servers have told with a good token, first to last.
    pub fn told(&self) -> Vec<serde_json::Value> {
        checkin::told(&self.requests())
    }

    /// From now on this goes wrong when a server tells how far it is.
    pub fn fail_checkin(&self, fault: CheckInFault) {
        self.behaviour.lock().expect("nobody panics with the lock held").checkin = fault;
    }

    /// From now on it deals with its components like this, and behaves as before in all else.
    pub fn deal(&self, registry: Registry) {
        self.behaviour.lock().expect("nobody panics with the lock held").registry = registry;
    }

    /// From now on it answers nothing, or answers again.
    pub fn take_down(&self, down: bool) {
        self.behaviour.lock().expect("nobody panics with the lock held").down = down;
    }

    /// From now on it behaves like this.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().expect("nobody panics with the lock held") = behaviour;
    }
}

fn answer(request: &Request, stream: &mut dyn Stream, how: &Behaviour, asked: &AtomicUsize) -> io::Result<()> {
    if how.down {
        stream.abort();
        return Ok(());
    }
    if checkin::is_one(request) {
        std::thread::sleep(how.delay);
        return checkin::answer(request, stream, &how.checkin);
    }
    let date = how.date.as_deref();
    let mut headers: Vec<(&str, &str)> = date.map(|date| ("Date", date)).into_iter().collect();
    let developer = || developer::answer(request, &how.developer);
    if let Some(document) = components::answer(request, &how.registry).or_else(developer) {
        std::thread::sleep(how.delay);
        headers.push(("Content-Type", "application/json"));
        return http::respond(stream, "200 OK", &headers, document.to_string().as_bytes());
    }
    if request.method != "GET" || request.target.split('?').next() != Some("/api/__healthcheck") {
        return http::respond(stream, "404 Not Found", &headers, b"");
    }
    std::thread::sleep(how.delay);
    if asked.fetch_add(1, Ordering::SeqCst) < how.down_for {
        let status = if how.down_status.is_empty() { "503 Service Unavailable" } else { &how.down_status };
        return http::respond(stream, status, &headers, b"");
    }
    headers.push(("Content-Type", if matches!(how.answer, Answer::Page) { "text/html" } else { "application/json" }));
    let body: &[u8] = match &how.answer {
        Answer::Ok => br#"{"ok": true}"#,
        Answer::NotOk => br#"{"ok": false}"#,
        Answer::Page => b"<!DOCTYPE html>\n<html><body>Please log in. <!-- true --></body></html>",
        Answer::Empty => b"",
        Answer::Raw(bytes) => bytes,
        Answer::Redirect(to) => {
            headers.push(("Location", to));
            return http::respond(stream, "302 Found", &headers, b"");
        }
    };
    http::respond(stream, "200 OK", &headers, body)
}
