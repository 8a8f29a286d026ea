//! A cloud's metadata service: EC2's, version 2 only, and the others with the headers they insist on.

use crate::http::{self, Handler, Request, Server, Stream};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How the service answers.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// What it has: paths with their answers. Anything else is not found.
    pub has: Vec<(String, Vec<u8>)>,
    /// The header that each request must have, and its value; without it the answer is 403.
    pub header: Option<(String, String)>,
    /// Tokens are asked for, as on EC2: without a good one the answer is 401.
    pub tokens: bool,
    /// A token is good for so many questions; 0: for any number.
    pub token_lives: usize,
    /// No token is taken, however fresh.
    pub tokens_are_bad: bool,
    /// The status that the question for a token gets; empty: 200 and a token.
    pub token_status: String,
    /// The question for a token is not answered for so long.
    pub token_delay: Duration,
    /// So many questions for user-data are answered with 404 before it is there.
    pub not_yet: usize,
    /// So many questions of any kind are answered with 503 first.
    pub down_for: usize,
}

impl Behaviour {
    /// EC2 with an instance `i-0abc`, its addresses, and this user-data.
    pub fn ec2(user_data: Option<&[u8]>) -> Behaviour {
        let mut has = vec![
            ("/latest/meta-data/instance-id".into(), b"i-0abc".to_vec()),
            ("/latest/meta-data/local-ipv4".into(), b"172.31.5.9".to_vec()),
            ("/latest/meta-data/public-ipv4".into(), b"203.0.113.9".to_vec()),
        ];
        has.extend(user_data.map(|bytes| ("/latest/user-data".into(), bytes.to_vec())));
        Behaviour { has, tokens: true, ..Behaviour::default() }
    }

    /// A cloud that wants this header, if any, and has these answers.
    pub fn other(header: Option<(&str, &str)>, has: &[(&str, &str)]) -> Behaviour {
        Behaviour {
            has: has.iter().map(|(path, body)| ((*path).to_owned(), body.as_bytes().to_vec())).collect(),
            header: header.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())),
            ..Behaviour::default()
        }
    }
}

/// A running service. It listens on loopback until it is dropped.
pub struct Metadata {
    server: Server,
}

#[derive(Default)]
struct State {
    asked: AtomicUsize,
    user_data_asked: AtomicUsize,
    /// Tokens given so far, and how often each was used.
    tokens: Mutex<Vec<usize>>,
}

impl Metadata {
    /// On a free port of 127.0.0.1.
    pub fn start(behaviour: Behaviour) -> Metadata {
        Metadata::start_at("127.0.0.1:0".parse().expect("a literal address"), behaviour)
    }

    /// On a given address.
    pub fn start_at(address: SocketAddr, behaviour: Behaviour) -> Metadata {
        let state = State::default();
        let handler: Handler = Arc::new(move |request, stream| answer(request, stream, &behaviour, &state));
        Metadata { server: Server::tcp(address, None, handler) }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }
}

fn answer(request: &Request, stream: &mut dyn Stream, how: &Behaviour, state: &State) -> io::Result<()> {
    let say = |stream: &mut dyn Stream, status: &str| http::respond(stream, status, &[], b"");
    if state.asked.fetch_add(1, Ordering::SeqCst) < how.down_for {
        return say(stream, "503 Service Unavailable");
    }
    if how.tokens && request.target == "/latest/api/token" {
        std::thread::sleep(how.token_delay);
        if !how.token_status.is_empty() {
            return say(stream, &how.token_status);
        }
        let ttl = request.header("x-aws-ec2-metadata-token-ttl-seconds").and_then(|ttl| ttl.parse::<u32>().ok());
        if request.method != "PUT" {
            return say(stream, "405 Method Not Allowed");
        }
        if !ttl.is_some_and(|ttl| (1..=21600).contains(&ttl)) {
            return say(stream, "400 Bad Request");
        }
        let mut tokens = state.tokens.lock().expect("nobody panics with the lock held");
        tokens.push(0);
        return http::respond(stream, "200 OK", &[], format!("TOKEN-{}==", tokens.len() - 1).as_bytes());
    }
    if how.tokens && !is_good(request, how, state) {
        return say(stream, "401 Unauthorized");
    }
    if let Some((name, value)) = &how.header
        && request.header(name) != Some(value)
    {
        return say(stream, "403 Forbidden");
    }
    if request.target == "/latest/user-data" && state.user_data_asked.fetch_add(1, Ordering::SeqCst) < how.not_yet {
        return say(stream, "404 Not Found");
    }
    match how.has.iter().find(|(path, _)| *path == request.target) {
        Some((_, body)) if request.method == "GET" => http::respond(stream, "200 OK", &[], body),
        _ => say(stream, "404 Not Found"),
    }
}

fn is_good(request: &Request, how: &Behaviour, state: &State) -> bool {
    let token = request.header("x-aws-ec2-metadata-token").unwrap_or_default();
    let number = token.strip_prefix("TOKEN-").and_then(|rest| rest.strip_suffix("==")?.parse::<usize>().ok());
    let mut tokens = state.tokens.lock().expect("nobody panics with the lock held");
    match number.and_then(|number| tokens.get_mut(number)) {
        Some(used) => {
            *used += 1;
            !how.tokens_are_bad && (how.token_lives == 0 || *used <= how.token_lives)
        }
        None => false,
    }
}
