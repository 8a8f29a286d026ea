//! A run on a terminal: what is finished scrolls up, what runs stands below with a spinner, a byte bar
//! or what it waits for.

use super::lines;
use super::paint::{BAD, DOUBTFUL, FAINT, GOOD, paint};
use crate::step::{Ending, Entry, Event, View};
use crate::words;
pub use indicatif::ProgressBar;
use indicatif::{MultiProgress, ProgressDrawTarget, ProgressStyle};
use std::io;
use std::time::Duration;

/// Where what a step has ended with stands: behind mark, name and time.
const DETAIL: usize = 29;
/// Where remarks stand.
const NOTE: usize = 6;
/// Text is not pressed into fewer columns.
const NARROWEST: usize = 20;
/// How far a download is. Without the rate: on 60 columns there would be no room for the bar.
const BYTES: &str = "[{wide_bar}] {decimal_bytes} of {decimal_total_bytes}, {eta} left";
const STEP_BYTES: &str = "{spinner}     {prefix}  [{wide_bar}] {decimal_bytes} of {decimal_total_bytes}, {eta} left";

/// The live view.
pub struct Terminal {
    bars: MultiProgress,
    running: Vec<(String, ProgressBar, bool)>,
    colour: bool,
}

impl Terminal {
    /// A live view on standard error.
    pub fn new(colour: bool) -> Terminal {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        Terminal { bars, running: Vec::new(), colour }
    }

    fn bar(&self, step: &str) -> Option<&ProgressBar> {
        self.running.iter().find(|(name, ..)| name == step).map(|(_, bar, _)| bar)
    }

    fn say(&self, text: &str) {
        // A terminal that went away is no reason to stop.
        let _ = self.bars.println(text);
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour { paint(colour, text) } else { text.to_owned() }
    }

    fn ended(&mut self, step: &str, ending: Ending, detail: &str, took_ms: u64) {
        if let Some(at) = self.running.iter().position(|(name, ..)| name == step) {
            let (_, bar, _) = self.running.remove(at);
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        let mark = match ending {
            Ending::Done => self.paint(GOOD, "ok  "),
            Ending::Warned => self.paint(DOUBTFUL, "warn"),
            Ending::Skipped => self.paint(FAINT, "skip"),
            Ending::Failed => self.paint(BAD, "FAIL"),
            Ending::Stopped => self.paint(FAINT, "stop"),
        };
        let took = words::span(Duration::from_millis(took_ms));
        let mut front = format!("{mark}  {step:<9}  {took:>10}  ");
        for line in wrapped(detail, DETAIL) {
            self.say(&format!("{front}{line}"));
            front = " ".repeat(DETAIL);
        }
    }
}

impl View for Terminal {
    fn event(&mut self, entry: &Entry) {
        match &entry.event {
            Event::StepStarted { step } => {
                let bar = self.bars.add(ProgressBar::new_spinner());
                bar.set_style(spinner());
                bar.set_prefix(format!("{step:<9}"));
                bar.enable_steady_tick(Duration::from_millis(120));
                self.running.push((step.clone(), bar, false));
            }
            Event::StepEnded { step, ending, detail, took_ms } => self.ended(step, *ending, detail, *took_ms),
            Event::StepWaiting { step, what, holder } => {
                if let Some(bar) = self.bar(step) {
                    let holder = holder.as_deref().map(|holder| format!(": {holder}")).unwrap_or_default();
                    bar.set_message(words::one_line(&format!("waiting for {what}{holder}")));
                }
            }
            Event::StepOutput { step, line } => {
                if let Some(bar) = self.bar(step) {
                    bar.set_message(words::one_line(line));
                }
            }
            // What is only worth knowing while it is so stands beside the spinner and goes with it.
            Event::StepNote { step, text, warning: false } => {
                if let Some(bar) = self.bar(step) {
                    bar.set_message(words::one_line(text));
                }
            }
            event => {
                if let Some(text) = lines::sentence(event) {
                    for line in wrapped(&text, NOTE) {
                        self.say(&self.paint(FAINT, &format!("{:NOTE$}{line}", "")));
                    }
                }
            }
        }
    }

    fn bytes(&mut self, step: &'static str, done: u64, total: Option<u64>) {
        let Some((_, bar, has_bar)) = self.running.iter_mut().find(|(name, ..)| name == step) else { return };
        if let Some(total) = total {
            if !*has_bar {
                *has_bar = true;
                bar.set_style(style(STEP_BYTES));
            }
            bar.set_length(total);
        }
        bar.set_position(done);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        for (_, bar, _) in &self.running {
            bar.finish_and_clear();
        }
    }
}

fn spinner() -> ProgressStyle {
    style("{spinner}     {prefix}  {elapsed:>10}  {wide_msg}")
}

/// A bar for a download on standard error. It fills the line, and needs 60 columns.
pub fn byte_bar() -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(10);
    ProgressBar::with_draw_target(None, target).with_style(style(BYTES))
}

/// The text in lines that end with the terminal's when they begin in this column; one at least.
fn wrapped(text: &str, column: usize) -> Vec<String> {
    let width = terminal_size::terminal_size_of(io::stderr()).map_or(80, |(width, _)| usize::from(width.0));
    let lines = words::wrap(text, width.saturating_sub(column).max(NARROWEST));
    if lines.is_empty() { vec![String::new()] } else { lines }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).expect("the template is one of the literals of this file");
    style.tick_chars("|/-\\ ").progress_chars("=> ")
}
