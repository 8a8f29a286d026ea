//! One mirror and one manager for a whole fleet. Both turn away who comes when there are too many, some with
//! `Retry-After` and some without; both cut connections; and the manager starts when everybody waits for it already.

use super::Options;
use kasm_bootstrap::intent::HostPort;
use kasm_stand_in::http::{self, Request, Server, Stream};
use kasm_stand_in::tls;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// So many seconds are asked for in `Retry-After`: the same for everybody, which is what makes a fleet come back at once.
const COME_BACK: u64 = 10;
/// The manager answers nobody before that.
const STARTS: Duration = Duration::from_secs(20);
/// What a download takes at least.
const DOWNLOAD: Duration = Duration::from_secs(2);
const CHUNKS: usize = 16;

/// What came in at a server, and what went out.
pub(crate) struct Counted {
    begun: Instant,
    /// When each request came, and whether it was the node's first.
    arrivals: Mutex<Vec<(Duration, bool)>>,
    known: Mutex<std::collections::HashSet<usize>>,
    /// Bytes of bodies that were sent.
    pub sent: AtomicUsize,
    /// Requests that were turned away.
    pub refused: AtomicUsize,
    /// Connections that were cut.
    pub cut: AtomicUsize,
    at_work: AtomicUsize,
    /// Answers in the current second.
    window: Mutex<(u64, usize)>,
}

impl Counted {
    fn new() -> Counted {
        Counted {
            begun: Instant::now(),
            arrivals: Mutex::default(),
            known: Mutex::default(),
            sent: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            cut: AtomicUsize::new(0),
            at_work: AtomicUsize::new(0),
            window: Mutex::default(),
        }
    }

    /// Notes a request; its number.
    fn came(&self, node: Option<usize>) -> usize {
        // A request without a node's name is a first one as often as there are nodes that have not come yet.
        let first = node.is_some_and(|node| self.known.lock().expect("nobody panics here").insert(node));
        let mut arrivals = self.arrivals.lock().expect("nobody panics here");
        arrivals.push((self.begun.elapsed(), first));
        arrivals.len()
    }

    /// True if this second has room for one more.
    fn has_room(&self, most: usize) -> bool {
        let now = self.begun.elapsed().as_secs();
        let mut window = self.window.lock().expect("nobody panics here");
        if window.0 != now {
            *window = (now, 0);
        }
        window.1 += 1;
        window.1 <= most
    }

    /// When each came. The first of each node are told from the others where nodes can be told apart; else the earliest
    /// are the first.
    pub(crate) fn arrivals(&self, nodes: usize) -> (usize, Vec<Duration>) {
        let arrivals = self.arrivals.lock().expect("nobody panics here");
        let firsts = arrivals.iter().filter(|(_, first)| *first).count();
        let again: Vec<Duration> = match firsts {
            0 => arrivals.iter().skip(nodes).map(|(at, _)| *at).collect(),
            _ => arrivals.iter().filter(|(_, first)| !first).map(|(at, _)| *at).collect(),
        };
        (arrivals.len(), again)
    }
}

/// Both servers.
pub(crate) struct World {
    mirror: Server,
    manager: Server,
    pub at_mirror: Arc<Counted>,
    pub at_manager: Arc<Counted>,
    /// So many downloads at a time.
    pub slots: usize,
    /// So many answers a second from the manager.
    pub answers: usize,
}

impl World {
    pub(crate) fn start(options: &Options, release: Vec<u8>) -> World {
        let (at_mirror, at_manager) = (Arc::new(Counted::new()), Arc::new(Counted::new()));
        let (slots, answers) = ((options.nodes / 10).max(2), (options.nodes / 20).max(2));
        let counted = at_mirror.clone();
        let mirror = Server::plain(Arc::new(move |request: &Request, stream: &mut dyn Stream| {
            serve_release(request, stream, &counted, &release, slots)
        }));
        let counted = at_manager.clone();
        let config = tls::self_signed(&["127.0.0.1"]).config;
        let manager = Server::tls(
            config,
            Arc::new(move |_: &Request, stream: &mut dyn Stream| serve_health(stream, &counted, answers)),
        );
        World { mirror, manager, at_mirror, at_manager, slots, answers }
    }

    /// Where a node finds the release. Each has a path of its own, so that nodes can be told apart.
    pub(crate) fn release(&self, node: usize) -> String {
        format!("{}/{node}/kasm_release_1.18.1.tar.gz", self.mirror.url())
    }

    pub(crate) fn manager(&self) -> HostPort {
        HostPort { host: "127.0.0.1".into(), port: Some(self.manager.address().port()) }
    }
}

/// 429 or 503, with and without `Retry-After`, by turns.
fn refuse(stream: &mut dyn Stream, counted: &Counted, number: usize) -> io::Result<()> {
    counted.refused.fetch_add(1, Ordering::Relaxed);
    let status = if number % 4 < 2 { "429 Too Many Requests" } else { "503 Service Unavailable" };
    let after = COME_BACK.to_string();
    let headers = [("Retry-After", after.as_str())];
    http::respond(stream, status, if number.is_multiple_of(2) { &headers } else { &[] }, b"")
}

fn serve_release(
    request: &Request,
    stream: &mut dyn Stream,
    counted: &Counted,
    release: &[u8],
    slots: usize,
) -> io::Result<()> {
    let node = request.target.split('/').nth(1).and_then(|node| node.parse().ok());
    let number = counted.came(node);
    if counted.at_work.fetch_add(1, Ordering::SeqCst) >= slots {
        counted.at_work.fetch_sub(1, Ordering::SeqCst);
        return refuse(stream, counted, number);
    }
    let result = send(request, stream, counted, release, number);
    counted.at_work.fetch_sub(1, Ordering::SeqCst);
    result
}

fn send(
    request: &Request,
    stream: &mut dyn Stream,
    counted: &Counted,
    release: &[u8],
    number: usize,
) -> io::Result<()> {
    let range = request.header("range").and_then(|range| range.strip_prefix("bytes="));
    let from = range.and_then(|range| range.trim_end_matches('-').parse().ok()).unwrap_or(0usize);
    let whole = release.len();
    let shown = format!("bytes {from}-{}/{whole}", whole - 1);
    let mut headers = vec![("ETag", "\"one\""), ("Accept-Ranges", "bytes")];
    let rest = release.get(from..).unwrap_or_default();
    if rest.is_empty() {
        return http::respond(stream, "416 Range Not Satisfiable", &headers, b"");
    }
    let status = match from {
        0 => "200 OK",
        _ => {
            headers.push(("Content-Range", &shown));
            "206 Partial Content"
        }
    };
    http::head(stream, status, &headers, Some(rest.len() as u64))?;
    // Of ten answers one is cut in the middle.
    let cut = number % 10 == 7;
    let rest = if cut { &rest[..rest.len() / 2] } else { rest };
    for chunk in rest.chunks(whole.div_ceil(CHUNKS)) {
        std::thread::sleep(DOWNLOAD / CHUNKS as u32);
        stream.write_all(chunk)?;
        counted.sent.fetch_add(chunk.len(), Ordering::Relaxed);
    }
    stream.flush()?;
    if cut {
        counted.cut.fetch_add(1, Ordering::Relaxed);
        stream.abort();
    }
    Ok(())
}

fn serve_health(stream: &mut dyn Stream, counted: &Counted, answers: usize) -> io::Result<()> {
    let number = counted.came(None);
    if counted.begun.elapsed() < STARTS || !counted.has_room(answers) {
        if number % 10 == 3 {
            counted.cut.fetch_add(1, Ordering::Relaxed);
            stream.abort();
            return Ok(());
        }
        return refuse(stream, counted, number);
    }
    http::respond(stream, "200 OK", &[("Content-Type", "application/json")], br#"{"ok": true}"#)
}
