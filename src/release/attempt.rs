//! One request to one mirror: from the beginning or from where the last one ended.

use super::cache::{Origin, remember_origin};
use super::mirror::Fault;
use super::spool::Spool;
use super::verified::CHUNK;
use super::{Digest, Error};
use crate::blocking;
use crate::deadline::Deadline;
use crate::net::describe;
use crate::net::redact;
use crate::net::retry::{self, Retry};
use crate::observe::Observer;
use reqwest::header::{self, HeaderMap};
use reqwest::{Client, Response, StatusCode, Url};
use sha2::Digest as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How many chunks may wait for the disk.
const QUEUE: usize = 4;
/// Bytes that trickle in reach the file at least this often, so that little is lost to a crash.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// What a gzip file begins with (RFC 1952, 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What is asked, and within which bounds.
pub(super) struct Asked<'a> {
    pub client: &'a Client,
    pub idle: Duration,
    pub max_bytes: u64,
    pub deadline: Deadline,
    pub observer: &'a dyn Observer,
}

/// A download between requests.
pub(super) struct Download {
    pub spool: Spool,
    /// The partial file, where there is one.
    pub partial: Option<PathBuf>,
    /// Where the bytes in the spool are from.
    pub origin: Option<Origin>,
    /// The wanted digest is known, so that bytes of several mirrors may be put together and judged.
    pub pinned: bool,
    /// The bytes may be of more than one version of the file: a wrong digest is nobody's fault yet.
    pub doubtful: bool,
    /// Do not put together bytes of several mirrors.
    pub unmixed: bool,
}

impl Download {
    /// Asks for what is missing and pours it into the spool. `Ok(Ok(()))`: the mirror says that this is
    /// all. `Ok(Err(_))`: the mirror failed, the spool holds what came. `Err(_)`: this machine failed.
    pub async fn attempt(&mut self, asked: &Asked<'_>, url: &Url) -> Result<Result<(), Fault>, Error> {
        let key = Digest::new(sha2::Sha256::digest(url.as_str()).into()).to_string();
        let known = self.origin.clone().filter(|origin| origin.url_sha256 == key);
        let validator = known.as_ref().and_then(|origin| origin.validator.clone());
        let mixable = self.pinned && (known.is_some() || !self.unmixed);
        let resume = self.spool.position() > 0 && (validator.is_some() || mixable);
        let mut request = asked.client.get(url.clone()).header(header::ACCEPT_ENCODING, "identity");
        if resume {
            request = request.header(header::RANGE, format!("bytes={}-", self.spool.position()));
            if let Some(validator) = &validator {
                request = request.header(header::IF_RANGE, validator);
            }
            asked.observer.note(&format!("continuing at {} bytes", self.spool.position()));
        }
        let response = match within(asked, request.send()).await {
            Some(Ok(response)) => response,
            Some(Err(error)) => return Ok(Err(fault_of(&error))),
            None => return Ok(Err(Fault::passing(silence(asked.idle)))),
        };
        let mut origin = Origin {
            url: redact(url.as_str()),
            url_sha256: key,
            validator: validator_of(response.headers()),
            total: None,
        };
        match judge(response.status(), response.headers(), resume.then(|| self.spool.position()), known.as_ref()) {
            Verdict::Whole => {
                self.start_over()?;
                origin.total = response.content_length();
                self.doubtful |= origin.total.is_none();
            }
            Verdict::Rest { total } => {
                origin.total = total;
                self.doubtful |= validator.is_none();
            }
            Verdict::NothingMissing => return Ok(Ok(())),
            Verdict::Changed(text) => {
                self.start_over()?;
                return Ok(Err(Fault::passing(text)));
            }
            Verdict::Fault(fault) => return Ok(Err(fault)),
        }
        if origin.total.is_some_and(|total| total > asked.max_bytes) {
            let total = origin.total.unwrap_or_default();
            return Ok(Err(Fault::last(format!("it offers {total} bytes, more than the {} allowed", asked.max_bytes))));
        }
        if let Some(partial) = &self.partial {
            remember_origin(partial, &origin)?;
        }
        let total = origin.total;
        self.origin = Some(origin);
        self.pour(asked, response, total).await
    }

    /// Forgets all bytes.
    pub fn start_over(&mut self) -> Result<(), Error> {
        self.origin = None;
        self.doubtful = false;
        self.spool.start_over()
    }

    async fn pour(
        &mut self,
        asked: &Asked<'_>,
        mut response: Response,
        total: Option<u64>,
    ) -> Result<Result<(), Fault>, Error> {
        let mut spool = std::mem::replace(&mut self.spool, Spool::nowhere());
        let mut position = spool.position();
        let (chunks, mut queue) = mpsc::channel::<Vec<u8>>(QUEUE);
        let writer = tokio::task::spawn_blocking(move || {
            while let Some(chunk) = queue.blocking_recv() {
                if let Err(error) = spool.append(&chunk) {
                    return (spool, Err(error));
                }
            }
            (spool, Ok(()))
        });
        let mut buffer = Vec::with_capacity(CHUNK);
        let mut flushed = Instant::now();
        asked.observer.bytes(position, total);
        let end = loop {
            let chunk = match within(asked, response.chunk()).await {
                Some(Ok(Some(chunk))) => chunk,
                Some(Ok(None)) => break Ok(()),
                Some(Err(error)) => break Err(fault_of(&error)),
                None if asked.deadline.is_over() => break Err(Fault::passing("the time was over")),
                None => break Err(Fault::passing(silence(asked.idle))),
            };
            if let Some(fault) = not_gzip(position, &chunk) {
                break Err(fault);
            }
            position += chunk.len() as u64;
            if position > asked.max_bytes {
                break Err(Fault::last(format!("it sends more than the {} bytes allowed", asked.max_bytes)));
            }
            buffer.extend_from_slice(&chunk);
            if buffer.len() >= CHUNK || flushed.elapsed() >= FLUSH_EVERY {
                flushed = Instant::now();
                let full = std::mem::replace(&mut buffer, Vec::with_capacity(CHUNK));
                if chunks.send(full).await.is_err() {
                    break Err(Fault::last("")); // the writer has failed, and says why below
                }
                asked.observer.bytes(position, total);
            }
            if asked.deadline.is_over() {
                break Err(Fault::passing("the time was over"));
            }
        };
        if !buffer.is_empty() {
            // Fails only if the writer has failed, which it says itself.
            let _ = chunks.send(buffer).await;
        }
        drop(chunks);
        let (spool, written) = blocking::join(writer).await;
        self.spool = spool;
        written?;
        asked.observer.bytes(position, total);
        Ok(match (end, total) {
            (Ok(()), Some(total)) if position < total => {
                Err(Fault::passing(format!("the connection ended after {position} of {total} bytes")))
            }
            (Err(fault), Some(total)) if fault.again && position > 0 => {
                Err(Fault { text: format!("{}, after {position} of {total} bytes", fault.text), ..fault })
            }
            (end, _) => end,
        })
    }
}

fn silence(idle: Duration) -> String {
    format!("nothing came from it for {} s", idle.as_secs())
}

/// Waits for the network no longer than the idle timeout and the deadline.
async fn within<T>(asked: &Asked<'_>, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout_at(asked.deadline.within(asked.idle).instant().into(), future).await.ok()
}

/// A failed request as a fault.
pub(super) fn fault_of(error: &reqwest::Error) -> Fault {
    let text = describe(error);
    match retry::of_error(error) {
        Retry::Again(after) => Fault { after, unknown_name: retry::is_unknown_name(error), ..Fault::passing(text) },
        Retry::No => Fault::last(text),
    }
}

/// An answer other than the one asked for, as a fault.
pub(super) fn fault_of_status(status: StatusCode, headers: &HeaderMap) -> Fault {
    let text = format!("it answered {status}").trim_end_matches(" <unknown status code>").to_owned();
    match retry::of_status(status, headers) {
        Retry::Again(after) => {
            let busy = after.is_none() && matches!(status.as_u16(), 429 | 503);
            Fault { after, busy, ..Fault::passing(text) }
        }
        Retry::No => Fault::last(text),
    }
}

/// What an answer means for the bytes there already.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The whole file follows.
    Whole,
    /// What was asked for follows.
    Rest { total: Option<u64> },
    /// Nothing follows: all is there.
    NothingMissing,
    /// What is there is not the beginning of what the mirror has now.
    Changed(String),
    /// It failed.
    Fault(Fault),
}

fn judge(status: StatusCode, headers: &HeaderMap, position: Option<u64>, known: Option<&Origin>) -> Verdict {
    let range = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok()).and_then(content_range);
    match (status, position) {
        (StatusCode::OK, _) if is_html(headers) => {
            let text = "it answered with a web page instead of the tarball (a captive portal or a login page?)";
            Verdict::Fault(Fault::last(text))
        }
        (StatusCode::OK, _) => Verdict::Whole,
        (StatusCode::PARTIAL_CONTENT, Some(position)) => {
            let Some((Some(start), total)) = range else {
                return Verdict::Changed("it answered with a part and did not say which".into());
            };
            if start != position {
                return Verdict::Changed(format!("it was asked for byte {position} on and answered with byte {start}"));
            }
            let (was, is) = (known.and_then(|known| known.validator.as_ref()), validator_of(headers));
            let differs = was.is_some() && is.is_some() && was != is.as_ref();
            let grown = matches!((known.and_then(|known| known.total), total), (Some(was), Some(is)) if was != is);
            if differs || grown {
                return Verdict::Changed("the file changed there during the download".into());
            }
            Verdict::Rest { total }
        }
        (StatusCode::RANGE_NOT_SATISFIABLE, Some(position)) => match range {
            Some((None, Some(total))) if total == position => Verdict::NothingMissing,
            _ => Verdict::Changed("it has fewer bytes than were downloaded already".into()),
        },
        (StatusCode::PARTIAL_CONTENT, None) => {
            Verdict::Fault(Fault::last("it answered with a part of the file although all of it was asked for"))
        }
        (status, _) => Verdict::Fault(fault_of_status(status, headers)),
    }
}

/// `bytes START-END/TOTAL` or `bytes */TOTAL` (RFC 9110, 14.4): the start and the total.
fn content_range(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.trim().split_once('/')?;
    let total = match total {
        "*" => None,
        digits => Some(digits.parse().ok()?),
    };
    match range {
        "*" => Some((None, total)),
        range => Some((Some(range.split_once('-')?.0.parse().ok()?), total)),
    }
}

/// What `If-Range` may carry: a strong ETag, else Last-Modified.
fn validator_of(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    text(header::ETAG)
        .filter(|etag| etag.starts_with('"') && etag.len() < 1024)
        .or_else(|| text(header::LAST_MODIFIED).filter(|date| httpdate::parse_http_date(date).is_ok()))
}

fn is_html(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.trim_start().to_ascii_lowercase().starts_with("text/html")
}

/// Looks at the first two bytes of the file as they come by.
fn not_gzip(position: u64, chunk: &[u8]) -> Option<Fault> {
    let from = usize::try_from(position).ok().filter(|from| *from < GZIP.len())?;
    let wrong = chunk.iter().zip(&GZIP[from..]).any(|(is, wanted)| is != wanted);
    wrong.then(|| match chunk.trim_ascii_start().first() {
        Some(b'<') if from == 0 => {
            Fault::last("it answered with a web page instead of the tarball (a captive portal or a login page?)")
        }
        _ => Fault::last("what it sends is not a gzip file"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_range_is_read_as_rfc_9110_writes_it() {
        assert_eq!(content_range("bytes 5-9/10"), Some((Some(5), Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((Some(5), None)));
        assert_eq!(content_range("bytes */10"), Some((None, Some(10))));
        for text in ["", "bytes", "bytes 5/10", "lines 5-9/10", "bytes -/x", "bytes 99999999999999999999-1/2"] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }

    #[test]
    fn a_weak_etag_is_no_validator() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ETAG, "W/\"1\"".parse().unwrap());
        assert_eq!(validator_of(&headers), None);
        headers.insert(header::LAST_MODIFIED, "Wed, 21 Oct 2015 07:28:00 GMT".parse().unwrap());
        assert!(validator_of(&headers).unwrap().starts_with("Wed"));
        headers.insert(header::ETAG, "\"1\"".parse().unwrap());
        assert_eq!(validator_of(&headers).unwrap(), "\"1\"");
    }

    #[test]
    fn the_first_bytes_are_judged_however_they_are_cut() {
        assert_eq!(not_gzip(0, &[0x1f]), None);
        assert_eq!(not_gzip(1, &[0x8b, 8]), None);
        assert!(not_gzip(1, b"x").is_some());
        assert!(not_gzip(0, b"\n <html>").unwrap().text.contains("web page"));
        assert_eq!(not_gzip(2, b"anything"), None);
    }
}
