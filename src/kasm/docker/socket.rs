//! How Docker's socket is spoken to: plain HTTP, one request, an answer of bounded length in bounded time.

use super::Error;
use crate::net::{self, describe};
use crate::words;
use reqwest::Method;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The answer is not read beyond this: thousands of containers fit.
const LIMIT: usize = 8 << 20;
/// A socket's path has to fit into `sockaddr_un.sun_path` with a NUL behind it (unix(7)).
const SOCKET_PATH: usize = 107;
/// Docker answers a question at once or is in trouble.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Docker's own words are kept up to here, in characters.
const WORDS: usize = 300;

/// One request.
pub(super) struct Ask<'a> {
    pub method: Method,
    pub target: String,
    /// How long Docker may take.
    pub patience: Duration,
    /// What an answer that is no success is told by.
    pub wrong: &'a (dyn Fn(u16, String) -> Error + Sync),
}

impl<'a> Ask<'a> {
    /// A question.
    pub(super) fn get(target: String, wrong: &'a (dyn Fn(u16, String) -> Error + Sync)) -> Ask<'a> {
        Ask { method: Method::GET, target, patience: PATIENCE, wrong }
    }
}

/// A question: an answer that is no success is told by `wrong`.
pub(super) async fn get(socket: &Path, target: &str, wrong: fn(String) -> Error) -> Result<Vec<u8>, Error> {
    let told = move |status: u16, _: String| wrong(format!("HTTP status {}", words_of(status)));
    collect(socket, Ask::get(target.to_owned(), &told), wrong).await
}

/// The whole body of a successful answer; one that is too long is told by `wrong`.
pub(super) async fn collect(socket: &Path, ask: Ask<'_>, wrong: fn(String) -> Error) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    let take = &mut |chunk: &[u8]| {
        body.extend_from_slice(chunk);
        if body.len() > LIMIT { Err(wrong(format!("it is longer than {LIMIT} bytes"))) } else { Ok(()) }
    };
    send(socket, ask, take).await?;
    Ok(body)
}

/// `500 Internal Server Error`.
fn words_of(status: u16) -> String {
    reqwest::StatusCode::from_u16(status).map_or_else(|_| status.to_string(), |status| status.to_string())
}

/// Sends a request and hands the body of a successful answer over as it comes.
pub(super) async fn send(
    socket: &Path,
    ask: Ask<'_>,
    take: &mut (dyn FnMut(&[u8]) -> Result<(), Error> + Send),
) -> Result<(), Error> {
    if !socket.exists() {
        return Err(Error::NoSocket(socket.to_owned()));
    }
    let unreachable = |why: String| Error::Unreachable { path: socket.to_owned(), why };
    // Held until the answer is there: a path that is too long goes through the directory's handle.
    let mut directory = None;
    let address = if socket.as_os_str().len() <= SOCKET_PATH {
        socket.to_owned()
    } else {
        let (Some(parent), Some(name)) = (socket.parent(), socket.file_name()) else {
            return Err(Error::NoSocket(socket.to_owned()));
        };
        let handle = directory.insert(std::fs::File::open(parent).map_err(|error| unreachable(error.to_string()))?);
        PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd())).join(name)
    };
    let client = net::client_of_socket(&address).map_err(|error| unreachable(innermost(&error)))?;
    let patience = ask.patience;
    let asked = async {
        let mut answer = client
            .request(ask.method, format!("http://docker{}", ask.target))
            .send()
            .await
            .map_err(|error| unreachable(innermost(&error)))?;
        let status = answer.status();
        if !status.is_success() {
            let mut said = Vec::new();
            // Why it refuses is worth having, but the refusal is the answer.
            while let Ok(Some(chunk)) = answer.chunk().await {
                said.extend_from_slice(&chunk);
                if said.len() > WORDS * 16 {
                    break;
                }
            }
            return Err((ask.wrong)(status.as_u16(), message(&said, status.as_u16())));
        }
        while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(innermost(&error)))? {
            take(&chunk)?;
        }
        Ok(())
    };
    let answer = tokio::time::timeout(patience, asked).await;
    drop(directory);
    answer.unwrap_or_else(|_| Err(unreachable(format!("no answer within {} s", patience.as_secs()))))
}

/// What a refusal says of itself (`{"message": …}`), in one line; its status where it says nothing.
fn message(body: &[u8], status: u16) -> String {
    let said = serde_json::from_slice::<serde_json::Value>(body).ok();
    let said = said.as_ref().and_then(|said| said["message"].as_str()).unwrap_or_default().trim();
    match said.is_empty() {
        true => format!("HTTP status {}", words_of(status)),
        false => words::one_line(said).chars().take(WORDS).collect(),
    }
}

/// The cause at the bottom: the layers above only say that a request failed.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    describe::chain(error).last().unwrap_or(error).to_string()
}
