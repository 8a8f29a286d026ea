//! Tells on standard error what a command without a journal is doing: plain lines, nothing twice in a row, and on a
//! terminal how far a download is.

use super::{Global, colour};
use crate::observe::{Observer, Wait};
use crate::report::terminal::{ProgressBar, byte_bar};
use crate::words;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

/// The observer.
pub struct Teller {
    quiet: bool,
    verbose: bool,
    no_color: bool,
    /// Standard error can show a bar.
    live: bool,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    last: String,
    bar: Option<ProgressBar>,
}

impl Teller {
    /// As talkative as the global options say.
    pub fn new(global: &Global) -> Teller {
        let (live, told) = (!global.quiet && colour::is_live(&io::stderr()), Mutex::default());
        Teller { quiet: global.quiet, verbose: global.verbose > 0, no_color: global.no_color, live, told }
    }

    /// One line, unless it must be quiet or said just that.
    pub fn say(&self, text: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if self.quiet || told.last == text {
            return;
        }
        text.clone_into(&mut told.last);
        let err = io::stderr();
        let line = colour::painted(&words::one_line(text), &err, self.no_color);
        // Where standard error is closed there is nobody to tell.
        let say = || drop(writeln!(err.lock(), "{line}"));
        match &told.bar {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }
}

impl Observer for Teller {
    fn waiting(&self, wait: &Wait) {
        match &wait.holder {
            Some(holder) => self.say(&format!("waiting for {}: {holder}", wait.what)),
            None => self.say(&format!("waiting for {}", wait.what)),
        }
    }

    fn bytes(&self, done: u64, total: Option<u64>) {
        let Some(total) = total.filter(|_| self.live) else { return };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = told.bar.get_or_insert_with(byte_bar);
        bar.set_length(total);
        bar.set_position(done);
    }

    fn note(&self, text: &str) {
        if self.verbose {
            self.say(text);
        }
    }

    fn warn(&self, text: &str) {
        self.say(&format!("warning: {text}"));
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if let Some(bar) = &self.told.get_mut().unwrap_or_else(PoisonError::into_inner).bar {
            bar.finish_and_clear();
        }
    }
}
