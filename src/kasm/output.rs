//! An installer's output on its way from the pipe to the eyes: bytes become clean lines, lines are
//! searched for markers and masked, and only then do they go anywhere.

use super::classify::{Finding, Watch};
use super::run::Mask;
use crate::observe::Observer;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// A longer line is passed on in pieces of about this many bytes.
pub(super) const PIECE: usize = 8 * 1024;
/// The last words kept for an error.
pub(super) const TAIL: usize = 4 * 1024;
/// The log does not grow beyond this.
pub(super) const LOG: u64 = 64 << 20;

/// Takes bytes, passes masked lines on.
pub(super) struct Output<'a> {
    mask: &'a Mask<'a>,
    observer: &'a dyn Observer,
    clean: Cleaner,
    log: Log,
    tail: Tail,
    watch: Watch,
    /// No secret is longer than this, however it is written.
    overlap: usize,
    /// The rest of this line has no place where it can be cut safely.
    skipping: bool,
    lines: u64,
    bytes: u64,
}

/// What is known at the end.
pub(super) struct Summary {
    pub(super) tail: String,
    pub(super) findings: Vec<Finding>,
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

impl<'a> Output<'a> {
    /// `longest_secret` in bytes.
    pub(super) fn new(log: Log, mask: &'a Mask<'a>, longest_secret: usize, observer: &'a dyn Observer) -> Output<'a> {
        Output {
            mask,
            observer,
            clean: Cleaner::default(),
            log,
            tail: Tail::default(),
            watch: Watch::default(),
            // A secret may come percent-encoded or in base64.
            overlap: (4 * longest_secret).max(PIECE / 2),
            skipping: false,
            lines: 0,
            bytes: 0,
        }
    }

    /// Takes what was read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let mut rest = bytes;
        while !rest.is_empty() {
            // Short strides keep the line's buffer near its limit.
            let (stride, after) = rest.split_at(rest.len().min(PIECE));
            rest = after;
            let mut clean = std::mem::take(&mut self.clean);
            clean.push(stride, |line| self.whole(line));
            self.clean = clean;
            while !self.skipping && self.clean.line.len() >= PIECE + self.overlap {
                self.cut();
            }
            if self.skipping {
                self.clean.line.clear();
            }
        }
        self.log.flush(self.observer);
    }

    /// The end of the output, with whatever stands in the last line.
    pub(super) fn finish(mut self) -> Summary {
        self.clean.end_of_input();
        if !self.clean.line.is_empty() {
            let line = std::mem::take(&mut self.clean.line);
            self.whole(&line);
        }
        self.log.close(self.observer);
        Summary {
            tail: self.tail.into_text(),
            findings: self.watch.into_findings(),
            lines: self.lines,
            bytes: self.bytes,
        }
    }

    /// A line that has ended.
    fn whole(&mut self, line: &str) {
        if std::mem::take(&mut self.skipping) {
            return;
        }
        self.watch.look(line, self.mask);
        self.pieces((self.mask)(line));
    }

    /// Passes on what can be longer than a piece: a line that came in one stride, or one that masking made
    /// longer. Masked, it can be cut anywhere.
    fn pieces(&mut self, mut masked: String) {
        while masked.len() > PIECE {
            let rest = masked.split_off(masked.floor_char_boundary(PIECE));
            self.pass_on(&masked);
            masked = rest;
        }
        self.pass_on(&masked);
    }

    /// Passes the front of an endless line on. The cut is right where masking the two parts gives the
    /// same as masking the whole: then no secret lies across it. The part behind the cut is longer than
    /// any secret, so one that begins before the cut is all there.
    fn cut(&mut self) {
        let line = std::mem::take(&mut self.clean.line);
        self.watch.look(&line, self.mask);
        let whole = (self.mask)(&line);
        let step = self.overlap / 8 + 1;
        for back in 0..16 {
            let Some(wanted) = PIECE.checked_sub(back * step) else { break };
            let at = line.floor_char_boundary(wanted);
            let (front, rest) = line.split_at(at);
            let masked = (self.mask)(front);
            if at > 0 && whole.strip_prefix(masked.as_str()).is_some_and(|tail| tail == (self.mask)(rest)) {
                self.pieces(masked);
                self.clean.line = rest.to_owned();
                return;
            }
        }
        self.pass_on("[the rest of an overlong line is left out: it cannot be cut without cutting a secret]");
        self.skipping = true;
    }

    fn pass_on(&mut self, masked: &str) {
        self.lines += 1;
        self.log.line(masked);
        self.tail.line(masked);
        self.observer.output(masked);
    }
}

/// Bytes in, lines of clean text out: UTF-8 (anything else becomes U+FFFD), no control characters but
/// the tab, no escape sequences. Line feed and carriage return both end a line, so that a progress bar
/// is seen moving.
#[derive(Default)]
struct Cleaner {
    line: String,
    /// The first bytes of a character whose others are not here yet.
    partial: Vec<u8>,
    escape: Escape,
    after_return: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// ESC was seen.
    Begun,
    /// ESC [ …, until a final character.
    Control,
    /// ESC ] … and its kin, until BEL or ESC \.
    Text,
}

impl Cleaner {
    fn push(&mut self, bytes: &[u8], mut ended: impl FnMut(&str)) {
        let joined;
        let mut bytes = bytes;
        if !self.partial.is_empty() {
            joined = [std::mem::take(&mut self.partial).as_slice(), bytes].concat();
            bytes = &joined;
        }
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            self.text(chunk.valid(), &mut ended);
            let invalid = chunk.invalid();
            let last = chunks.peek().is_none();
            if last && std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none()) {
                self.partial = invalid.to_vec();
            } else if !invalid.is_empty() {
                self.text("\u{fffd}", &mut ended);
            }
        }
    }

    fn end_of_input(&mut self) {
        if !std::mem::take(&mut self.partial).is_empty() {
            self.line.push('\u{fffd}');
        }
    }

    fn text(&mut self, text: &str, ended: &mut impl FnMut(&str)) {
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if self.escape == Escape::None && !first.is_control() {
                let plain = rest.find(char::is_control).unwrap_or(rest.len());
                self.line.push_str(&rest[..plain]);
                self.after_return = false;
                rest = &rest[plain..];
                continue;
            }
            rest = &rest[first.len_utf8()..];
            self.special(first, ended);
        }
    }

    fn special(&mut self, c: char, ended: &mut impl FnMut(&str)) {
        let after_return = std::mem::take(&mut self.after_return);
        match (self.escape, c) {
            (_, '\n' | '\r') => {
                // CR LF is one end of a line. No sequence outlives its line.
                self.escape = Escape::None;
                self.after_return = c == '\r';
                if !(after_return && c == '\n') {
                    ended(&self.line);
                }
                self.line.clear();
            }
            (_, '\x1b') => self.escape = Escape::Begun,
            (Escape::None, '\t') => self.line.push(c),
            (Escape::None, _) => {}
            (Escape::Begun, '[') => self.escape = Escape::Control,
            (Escape::Begun, ']' | 'P' | 'X' | '^' | '_') => self.escape = Escape::Text,
            (Escape::Begun, ' '..='/') => {}
            (Escape::Begun, _) => self.escape = Escape::None,
            (Escape::Control, '@'..='~') => self.escape = Escape::None,
            (Escape::Text, '\x07') => self.escape = Escape::None,
            (Escape::Control | Escape::Text, _) => {}
        }
    }
}

/// The last words.
#[derive(Default)]
struct Tail {
    text: String,
}

impl Tail {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        if self.text.len() > 4 * TAIL {
            self.trim();
        }
    }

    fn trim(&mut self) {
        if let Some(excess) = self.text.len().checked_sub(TAIL) {
            self.text.drain(..self.text.ceil_char_boundary(excess));
        }
    }

    fn into_text(mut self) -> String {
        self.trim();
        self.text
    }
}

/// The log file, bounded. Trouble with it is told once and does not stop the installer.
pub(super) struct Log {
    file: Option<BufWriter<File>>,
    room: u64,
}

impl Log {
    /// Opens the log for appending, readable by its owner only from birth.
    pub(super) fn open(path: &Path) -> io::Result<Log> {
        let file =
            OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW).open(path)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        let room = LOG.saturating_sub(file.metadata()?.len());
        Ok(Log { file: Some(BufWriter::with_capacity(64 * 1024, file)), room })
    }

    /// No log at all.
    pub(super) fn nowhere() -> Log {
        Log { file: None, room: 0 }
    }

    fn line(&mut self, line: &str) {
        let Some(file) = &mut self.file else { return };
        if self.room == 0 {
            return;
        }
        let length = line.len() as u64 + 1;
        // An error of the buffered writer comes back at the next flush, where it is told.
        let _ = if length <= self.room {
            self.room -= length;
            writeln!(file, "{line}")
        } else {
            self.room = 0;
            writeln!(file, "[the output goes on; the log is cut at {} MiB]", LOG >> 20)
        };
    }

    fn flush(&mut self, observer: &dyn Observer) {
        let Some(file) = &mut self.file else { return };
        if let Err(error) = file.flush() {
            self.give_up(observer, &error);
        }
    }

    fn give_up(&mut self, observer: &dyn Observer, error: &io::Error) {
        observer.warn(&format!("the installer's log cannot be written any more, it goes on without: {error}"));
        if let Some(file) = self.file.take() {
            // Dropping the writer would try once more to write what it holds.
            drop(file.into_parts());
        }
    }

    fn close(&mut self, observer: &dyn Observer) {
        self.flush(observer);
        if let Some(Err(error)) = self.file.as_ref().map(|file| file.get_ref().sync_all()) {
            self.give_up(observer, &error);
        }
        self.file = None;
    }
}

#[cfg(test)]
mod tests;
