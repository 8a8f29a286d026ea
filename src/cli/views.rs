//! Which views of a run this invocation shows.

use super::Global;
use crate::report::journald::Journald;
use crate::report::lines::Lines;
use crate::report::status_file::StatusFile;
use crate::report::terminal::Terminal;
use crate::step::View;
use std::io::{self, IsTerminal};

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
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    if io::stderr().is_terminal() && !dumb {
        return vec![Box::new(Terminal::new(colour(global)))];
    }
    vec![Box::new(Lines::new(io::stderr()))]
}

/// Colour only on terminals, and never where NO_COLOR (no-color.org) or `--no-color` speaks against it.
fn colour(global: &Global) -> bool {
    !global.no_color && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Says warnings on standard error.
pub fn warn(global: &Global, warnings: &[String]) {
    use std::io::Write;
    if global.quiet {
        return;
    }
    for warning in warnings {
        // Where standard error is closed there is nobody to warn.
        let _ = writeln!(io::stderr().lock(), "warning: {}", crate::words::one_line(warning));
    }
}
