//! Which views of a run this invocation shows.

use super::{Global, colour};
use crate::report::journald::Journald;
use crate::report::lines::Lines;
use crate::report::status_file::StatusFile;
use crate::report::terminal::Terminal;
use crate::step::View;
use crate::words;
use std::io::{self, Write};

/// The views of a command that runs something: [`of_a_person`], and the status file.
pub fn views(global: &Global) -> Vec<Box<dyn View>> {
    let mut views = of_a_person(global);
    if let Some(file) = StatusFile::start(&global.paths(), None) {
        views.push(Box::new(file));
    }
    views
}

/// What whoever has called this sees: journald where systemd has connected it, else a live view on a terminal, else lines on
/// standard error; with `--quiet` only journald.
pub fn of_a_person(global: &Global) -> Vec<Box<dyn View>> {
    if let Some(journald) = Journald::if_connected() {
        return vec![Box::new(journald)];
    }
    if global.quiet {
        return Vec::new();
    }
    let err = io::stderr();
    if colour::is_live(&err) {
        return vec![Box::new(Terminal::new(colour::is_wanted(&err, global.no_color)))];
    }
    vec![Box::new(Lines::new(err))]
}

/// Says warnings on standard error.
pub fn warn(global: &Global, warnings: &[String]) {
    if global.quiet {
        return;
    }
    for warning in warnings {
        // Where standard error is closed there is nobody to warn.
        let (err, text) = (io::stderr(), format!("warning: {}", words::one_line(warning)));
        let _ = writeln!(err.lock(), "{}", colour::painted(&text, &err, global.no_color));
    }
}
