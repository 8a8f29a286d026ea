//! A small HTTP/1.1 server that gives its handler the raw stream, so that a handler can misbehave in
//! every way a real server can: cut, stall, trickle, lie about lengths.
//!
//! One thread a connection, one request a connection (`Connection: close`): what is imitated here is
//! misbehaviour, not speed.

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a client asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// Names in lower case, in the order sent.
    pub headers: Vec<(String, String)>,
    /// As many bytes as `Content-Length` said.
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of this (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A connection, whatever it runs over.
pub trait Stream: Read + Write {
    /// Ends the connection at once with a reset where the transport has one.
    fn abort(&mut self);
}

impl Stream for TcpStream {
    fn abort(&mut self) {
        // Unread input makes the kernel answer with a reset when the socket closes; where even that
        // fails the connection is gone already.
        let _ = self.shutdown(std::net::Shutdown::Both);
    }
}

impl Stream for UnixStream {
    fn abort(&mut self) {
        let _ = self.shutdown(std::net::Shutdown::Both); // gone already, if this fails
    }
}

impl Stream for StreamOwned<ServerConnection, TcpStream> {
    fn abort(&mut self) {
        self.sock.abort();
    }
}

/// Answers one request on a raw stream. An error ends the connection, nothing else.
pub type Handler = Arc<dyn Fn(&Request, &mut dyn Stream) -> io::Result<()> + Send + Sync>;

/// A running server.
pub struct Server {
    stop: Arc<AtomicBool>,
    address: Option<SocketAddr>,
    socket: Option<PathBuf>,
    secure: bool,
    requests: Arc<Mutex<Vec<Request>>>,
    accept: Option<JoinHandle<()>>,
}

impl Server {
    /// Plain HTTP on a free port of 127.0.0.1.
    pub fn plain(handler: Handler) -> Server {
        Server::tcp("127.0.0.1:0".parse().expect("a literal address"), None, handler)
    }

    /// HTTPS on a free port of 127.0.0.1.
    pub fn tls(config: Arc<ServerConfig>, handler: Handler) -> Server {
        Server::tcp("127.0.0.1:0".parse().expect("a literal address"), Some(config), handler)
    }

    /// On a given address: for a server that comes back where it was.
    pub fn tcp(address: SocketAddr, tls: Option<Arc<ServerConfig>>, handler: Handler) -> Server {
        let listener = TcpListener::bind(address).expect("the loopback address is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let secure = tls.is_some();
        let mut server = Server::new(Some(address), None, secure);
        let (stop, requests) = (server.stop.clone(), server.requests.clone());
        server.accept = Some(std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (handler, requests, tls) = (handler.clone(), requests.clone(), tls.clone());
                std::thread::spawn(move || {
                    // A client that does not speak must not hold its thread for ever.
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
                    let _ = stream.set_nodelay(true); // only a matter of speed
                    let result = match tls {
                        None => serve(stream, &handler, &requests),
                        Some(config) => ServerConnection::new(config)
                            .map_err(io::Error::other)
                            .and_then(|tls| serve(StreamOwned::new(tls, stream), &handler, &requests)),
                    };
                    drop(result); // a client that went away is the client's business
                });
            }
        }));
        server
    }

    /// HTTP on a unix socket.
    pub fn unix(path: &Path, handler: Handler) -> Server {
        let listener = UnixListener::bind(path).expect("the socket's directory is there and the name is free");
        let mut server = Server::new(None, Some(path.to_owned()), false);
        let (stop, requests) = (server.stop.clone(), server.requests.clone());
        server.accept = Some(std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (handler, requests) = (handler.clone(), requests.clone());
                std::thread::spawn(move || {
                    drop(serve(stream, &handler, &requests)); // a client that went away is the client's business
                });
            }
        }));
        server
    }

    fn new(address: Option<SocketAddr>, socket: Option<PathBuf>, secure: bool) -> Server {
        Server { stop: Arc::default(), address, socket, secure, requests: Arc::default(), accept: None }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("a TCP server has an address")
    }

    /// `http://127.0.0.1:PORT` or `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.address())
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no handler panics with the lock held").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // One last connection wakes the accepting thread. Where none can be made (the socket's directory is
        // gone), the thread sleeps until the process ends.
        let tcp = self.address.is_some_and(|address| TcpStream::connect(address).is_ok());
        let unix = self.socket.as_ref().is_some_and(|path| UnixStream::connect(path).is_ok());
        if let (true, Some(accept)) = (tcp || unix, self.accept.take()) {
            let _ = accept.join(); // a panic there has been printed already
        }
        if let Some(path) = &self.socket {
            let _ = std::fs::remove_file(path); // may have gone with its directory
        }
    }
}

/// Sends a whole answer with its length.
pub fn respond(stream: &mut dyn Stream, status: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<()> {
    head(stream, status, headers, Some(body.len() as u64))?;
    stream.write_all(body)?;
    stream.flush()
}

/// Sends a status line and headers; the body is the handler's.
pub fn head(
    stream: &mut dyn Stream,
    status: &str,
    headers: &[(&str, &str)],
    content_length: Option<u64>,
) -> io::Result<()> {
    let mut text = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(length) = content_length {
        text.push_str(&format!("Content-Length: {length}\r\n"));
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

fn serve<S: Stream>(stream: S, handler: &Handler, requests: &Mutex<Vec<Request>>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let request = read_request(&mut reader)?;
    requests.lock().expect("no handler panics with the lock held").push(request.clone());
    let mut stream = reader.into_inner();
    handler(&request, &mut stream)
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Request> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Err(bad("no request line")) };
    let (method, target) = (method.to_owned(), target.to_owned());
    let mut headers = Vec::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(bad("the headers do not end"));
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0usize).min(1 << 20)];
    reader.read_exact(&mut body)?;
    Ok(Request { method, target, headers, body })
}
