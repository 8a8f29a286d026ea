//! A container's log as Docker sends it: both outputs in one stream, each piece behind a header of eight
//! bytes (Docker Engine API, "Attach to a container", stream format). A container with a terminal has no
//! headers.

use crate::token::Masker;
use crate::words;

/// So much of a log is kept, its end, in bytes.
pub(super) const LOGS: usize = 1 << 20;

/// A line of a log without the time that Docker puts in front of it.
pub fn without_time(line: &str) -> &str {
    match line.split_once(' ') {
        Some((time, rest)) if time.parse::<jiff::Timestamp>().is_ok() => rest,
        _ => line,
    }
}

/// A line of a log as others may see it: without Docker's time, masked, in one line of at most so many characters.
pub fn quoted(line: &str, masker: &Masker, most: usize) -> String {
    words::one_line(&masker.mask(without_time(line))).trim().chars().take(most).collect()
}

/// The end of a log.
#[derive(Default)]
pub(super) struct Tail {
    /// `None` until the first header could be looked at; then whether there are headers.
    framed: Option<bool>,
    /// Bytes that are not understood yet: less than a header.
    pending: Vec<u8>,
    /// So much of the present piece is still to come.
    left: u64,
    kept: Vec<u8>,
    /// Something was dropped in front.
    cut: bool,
}

/// The header: which output (0, 1 or 2), three zeros, the length of the piece, big-endian.
fn header(bytes: &[u8]) -> Option<u64> {
    match *bytes {
        [0..=2, 0, 0, 0, a, b, c, d] => Some(u64::from(u32::from_be_bytes([a, b, c, d]))),
        _ => None,
    }
}

impl Tail {
    /// Takes the stream's next bytes.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.framed {
                Some(false) => {
                    self.keep(bytes);
                    return;
                }
                Some(true) if self.left > 0 => {
                    let now = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                    let (piece, rest) = bytes.split_at(now);
                    self.keep(piece);
                    self.left -= now as u64;
                    bytes = rest;
                }
                _ => {
                    let now = (8 - self.pending.len()).min(bytes.len());
                    let (some, rest) = bytes.split_at(now);
                    self.pending.extend_from_slice(some);
                    bytes = rest;
                    if self.pending.len() == 8 {
                        self.decide();
                    }
                }
            }
        }
    }

    fn decide(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        match header(&pending) {
            Some(length) => {
                self.framed = Some(true);
                self.left = length;
            }
            // A stream that is broken in the middle is better shown than dropped.
            None => {
                self.framed = Some(false);
                self.keep(&pending);
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        if self.kept.len() > 2 * LOGS {
            self.kept.drain(..self.kept.len() - LOGS);
            self.cut = true;
        }
    }

    /// What was written, as text. What was cut off in front is cut off at a line's end.
    pub(super) fn text(mut self) -> String {
        if self.framed.is_none() {
            let pending = std::mem::take(&mut self.pending);
            self.keep(&pending);
        }
        let mut from = self.kept.len().saturating_sub(LOGS);
        if from > 0 || self.cut {
            from += self.kept[from..].iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        }
        String::from_utf8_lossy(&self.kept[from..]).into_owned()
    }
}

/// Reads a whole stream at once: what a container wrote to both its outputs, at most the last MiB.
pub fn demultiplex(stream: &[u8]) -> String {
    let mut tail = Tail::default();
    tail.push(stream);
    tail.text()
}
