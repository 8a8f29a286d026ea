//! The thread that serves: it accepts, bounds what one connection may cost, and hands questions to `answer`.
//!
//! Own code around httparse, because hyper's server, which keeps connections alive, reads bodies and much more that
//! nobody needs here, is 70 kB of the binary. Each connection is for one request, and is closed after the answer.

use super::answer::{self, Answer, Question};
use super::listen::{self, Unix};
use super::request::{self, Asked};
use super::{Shared, lock, page};
use crate::machine::names;
use crate::observe::Observer;
use crate::paths::Paths;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// So many connections one socket has at once. Beyond that the oldest is closed, so that whoever holds many open keeps
/// nobody out.
const MOST: usize = 32;
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(4);
/// How long a connection may last, whatever goes on in it.
const WHOLE: Duration = Duration::from_secs(20);
/// The longest head of a request, in bytes.
const HEAD_BYTES: usize = 16 * 1024;
/// So much, and for so long, is taken and thrown away of what is sent after the head: a connection that is closed
/// before it was read to its end takes the answer along (tcp(7), `SO_LINGER` aside: it is reset).
const REST_BYTES: u64 = 64 * 1024;
const REST: Duration = Duration::from_secs(1);
/// How long until a socket that could not be had is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// How long nothing is accepted after an error of accept(2), which is a lack of file descriptors or memory.
const BREATHER: Duration = Duration::from_millis(200);

/// Serves until nobody wants it any more.
pub(super) fn run(
    paths: &Paths,
    shared: &Arc<Shared>,
    mut wanted: watch::Receiver<Option<SocketAddr>>,
    observer: &dyn Observer,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return observer.warn(&format!("HTTP is not served: {error}")),
    };
    runtime.block_on(async {
        let over = {
            let mut wanted = wanted.clone();
            async move { while wanted.changed().await.is_ok() {} }
        };
        tokio::select! {
            () = over => {}
            () = on_unix(paths, shared, observer) => {}
            () = on_tcp(paths, shared, &mut wanted, observer) => {}
        }
    });
    *lock(&shared.bound) = None;
}

/// For ever.
async fn on_unix(paths: &Paths, shared: &Arc<Shared>, observer: &dyn Observer) {
    let mut told = String::new();
    loop {
        match listen::unix(paths).and_then(accepting) {
            Ok((listener, _unix)) => {
                let mut open = Open::default();
                loop {
                    match listener.accept().await {
                        Ok((stream, _)) => open.take(Box::pin(stream), shared, Way::Unix),
                        Err(_) => tokio::time::sleep(BREATHER).await,
                    }
                }
            }
            Err(error) => {
                let words = format!("HTTP is not served on {}: {error}", paths.http_socket().display());
                tell(&mut told, words, observer);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

fn accepting(unix: Unix) -> io::Result<(UnixListener, Unix)> {
    Ok((UnixListener::from_std(unix.listener.try_clone()?)?, unix))
}

/// For ever.
async fn on_tcp(
    paths: &Paths,
    shared: &Arc<Shared>,
    wanted: &mut watch::Receiver<Option<SocketAddr>>,
    observer: &dyn Observer,
) {
    let mut told = String::new();
    loop {
        let address = *wanted.borrow_and_update();
        let Some(address) = address else {
            changed(wanted).await;
            continue;
        };
        let mut open = Open::default();
        let serving = async {
            match listen::tcp(address).and_then(TcpListener::from_std) {
                Ok(listener) => {
                    *lock(&shared.bound) = listener.local_addr().ok();
                    observer.note(&format!("answers HTTP requests at {address}"));
                    loop {
                        match listener.accept().await {
                            Ok((stream, _)) => open.take(Box::pin(stream), shared, Way::Tcp),
                            Err(_) => tokio::time::sleep(BREATHER).await,
                        }
                    }
                }
                Err(error) => {
                    let why = listen::why_not(paths, address, &error);
                    let words = format!("HTTP is not served at {address}: {why}; it is tried again");
                    tell(&mut told, words, observer);
                    tokio::time::sleep(AGAIN).await;
                }
            }
        };
        tokio::select! {
            () = serving => {}
            () = changed(wanted) => {}
        }
        *lock(&shared.bound) = None;
    }
}

async fn changed(wanted: &mut watch::Receiver<Option<SocketAddr>>) {
    if wanted.changed().await.is_err() {
        // Nobody wants anything any more: whoever has called us sees it too.
        std::future::pending::<()>().await;
    }
}

/// Says a trouble once, as long as it is the same.
fn tell(told: &mut String, words: String, observer: &dyn Observer) {
    if *told != words {
        observer.warn(&words);
        *told = words;
    }
}

/// What a connection is read from and written to. One type for all of them: the server's code is there once.
trait Stream: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

/// The way a request has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// No browser takes it.
    Unix,
    Tcp,
}

/// The connections of one socket, the oldest first. They end with this.
#[derive(Default)]
struct Open(VecDeque<JoinHandle<()>>);

impl Open {
    fn take(&mut self, stream: Pin<Box<dyn Stream>>, shared: &Arc<Shared>, way: Way) {
        self.0.retain(|connection| !connection.is_finished());
        while self.0.len() >= MOST {
            self.0.pop_front().inspect(JoinHandle::abort);
        }
        let shared = shared.clone();
        self.0.push_back(tokio::spawn(async move {
            // Who goes away, or takes too long, has nobody here to tell about it.
            let _ = tokio::time::timeout(WHOLE, converse(stream, &shared, way)).await;
        }));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// One request, one answer.
async fn converse(mut stream: Pin<Box<dyn Stream>>, shared: &Shared, way: Way) -> io::Result<()> {
    let mut head = Vec::new();
    let bytes = match tokio::time::timeout(HEAD, read_head(&mut stream, &mut head)).await {
        Ok(Ok(Some(length))) => respond(shared, head.get(..length).unwrap_or_default(), way),
        Ok(Ok(None)) if head.len() < HEAD_BYTES => return Ok(()),
        Ok(Ok(None)) => written(Answer::text(431, "the head of the request is too long"), false),
        Ok(Err(error)) => return Err(error),
        Err(_) => written(Answer::text(408, "the request took too long"), false),
    };
    stream.write_all(&bytes).await?;
    stream.shutdown().await?;
    let mut rest = stream.take(REST_BYTES);
    // Whatever it is, nobody wants it.
    let _ = tokio::time::timeout(REST, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    Ok(())
}

/// Reads until the head is whole: then its length. Nothing where it ends before, or is too long.
async fn read_head(stream: &mut Pin<Box<dyn Stream>>, head: &mut Vec<u8>) -> io::Result<Option<usize>> {
    loop {
        let seen = head.len();
        let left = HEAD_BYTES.saturating_sub(seen) as u64;
        if left == 0 || stream.take(left.min(4096)).read_buf(head).await? == 0 {
            return Ok(None);
        }
        if let Some(length) = request::whole(head, seen) {
            return Ok(Some(length));
        }
    }
}

fn respond(shared: &Shared, head: &[u8], way: Way) -> Vec<u8> {
    let names = || [names::hostname(), names::full_name(&shared.paths)];
    match request::parse(head) {
        Ok(Asked { host: Some(host), head_only, .. }) if way == Way::Tcp && !request::is_ours(host, names) => {
            written(Answer::text(421, "this machine is not called that: ask by its address or its own name"), head_only)
        }
        Ok(Asked { head_only, path, query, accept, .. }) => {
            written(answer::answer(|| shared.known(), Question { path, query, accept }), head_only)
        }
        Err((status, words)) => written(Answer::text(status, words), false),
    }
}

/// The answer as it goes out.
fn written(answer: Answer, head_only: bool) -> Vec<u8> {
    let Answer { status, media, body } = answer;
    let reason = match status {
        200 => "OK",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Bad Request",
    };
    let allow = if status == 405 { "Allow: GET, HEAD\r\n" } else { "" };
    let (date, length, policy) = (httpdate::fmt_http_date(SystemTime::now()), body.len(), page::policy());
    let mut text = format!(
        "HTTP/1.1 {status} {reason}\r\nDate: {date}\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n{allow}\
         Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
         Content-Security-Policy: {policy}\r\nReferrer-Policy: no-referrer\r\nX-Frame-Options: DENY\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\n\r\n"
    );
    if !head_only {
        text.push_str(&body);
    }
    text.into_bytes()
}
