//! Tells on standard error what a command without a journal is doing: plain lines, nothing twice in a row.

use super::Global;
use crate::observe::{Observer, Wait};
use crate::words;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

/// The observer.
pub struct Teller {
    quiet: bool,
    verbose: bool,
    last: Mutex<String>,
}

impl Teller {
    /// As talkative as the global options say.
    pub fn new(global: &Global) -> Teller {
        Teller { quiet: global.quiet, verbose: global.verbose > 0, last: Mutex::default() }
    }

    /// One line, unless it must be quiet or said just that.
    pub fn say(&self, text: &str) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.quiet && *last != text {
            // Where standard error is closed there is nobody to tell.
            let _ = writeln!(io::stderr().lock(), "{}", words::one_line(text));
            text.clone_into(&mut last);
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

    fn note(&self, text: &str) {
        if self.verbose {
            self.say(text);
        }
    }

    fn warn(&self, text: &str) {
        self.say(&format!("warning: {text}"));
    }
}
