//! A run as plain lines: for cloud-init's output log, a serial console, a pipe.

use crate::step::{Ending, Entry, Event, View};
use crate::words;
use std::io::Write;
use std::time::{Duration, Instant};

/// A download says how far it is at most this often.
const BYTES_EVERY: Duration = Duration::from_secs(10);

/// What one event says, without its time: `None` for what is not worth a line.
pub fn sentence(event: &Event) -> Option<String> {
    let text = match event {
        Event::RunStarted { verb, version, resumes, .. } => match resumes {
            Some(run) => format!("{verb} (kasm-bootstrap {version}), going on from run {run}"),
            None => format!("{verb} (kasm-bootstrap {version})"),
        },
        Event::StepStarted { .. } => return None,
        Event::StepWaiting { step, what, holder: Some(holder) } => format!("{step}: waiting for {what}: {holder}"),
        Event::StepWaiting { step, what, holder: None } => format!("{step}: waiting for {what}"),
        Event::StepNote { step, text, warning: false } => format!("{step}: {text}"),
        Event::StepNote { step, text, warning: true } => format!("{step}: warning: {text}"),
        Event::StepOutput { step, line } => format!("{step} | {line}"),
        Event::StepEnded { step, ending, detail, took_ms } => {
            let took = words::span(Duration::from_millis(*took_ms));
            match ending {
                Ending::Done => format!("{step}: {detail} ({took})"),
                Ending::Skipped => format!("{step}: skipped: {detail}"),
                Ending::Warned => format!("{step}: warning: {detail} ({took})"),
                Ending::Failed => format!("{step}: FAILED after {took}: {detail}"),
                Ending::Stopped => format!("{step}: stopped after {took}"),
            }
        }
        // The command's own answer or error follows and says it better.
        Event::RunEnded { .. } => return None,
        Event::ProbeChanged { probe, now, words, .. } => format!("{probe}: {now}: {words}"),
        Event::HealthChanged { now, words, .. } => format!("{now}: {words}"),
        Event::HealthMended { probe, words, .. } => format!("{probe}: {words}"),
    };
    Some(words::one_line(&text))
}

/// Writes lines with the seconds since the run began.
pub struct Lines<W> {
    out: W,
    told_bytes: Option<(&'static str, Instant)>,
}

impl<W: Write + Send> Lines<W> {
    /// Lines to `out`.
    pub fn new(out: W) -> Lines<W> {
        Lines { out, told_bytes: None }
    }

    fn line(&mut self, time: &str, text: &str) {
        // Nobody may be listening any more; the journal has it.
        let _ = writeln!(self.out, "{time}{text}");
    }
}

impl<W: Write + Send> View for Lines<W> {
    fn event(&mut self, entry: &Entry) {
        if let Some(text) = sentence(&entry.event) {
            let time = format!("[{:>6.1}s] ", Duration::from_millis(entry.ms).as_secs_f64());
            self.line(&time, &text);
        }
    }

    fn bytes(&mut self, step: &'static str, done: u64, total: Option<u64>) {
        match self.told_bytes {
            Some((told, at)) if told == step && at.elapsed() < BYTES_EVERY => return,
            Some((told, _)) if told == step => {}
            // The first news of a step would be "0 of many": wait until there is something to tell.
            _ => {
                self.told_bytes = Some((step, Instant::now()));
                return;
            }
        }
        self.told_bytes = Some((step, Instant::now()));
        let of = total.map(|total| format!(" of {}", words::bytes(total))).unwrap_or_default();
        self.line("          ", &format!("{step}: {}{of}", words::bytes(done)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::event::VERSION;

    fn entry(ms: u64, event: Event) -> Entry {
        Entry { v: VERSION, run: "r".into(), at: String::new(), ms, event }
    }

    #[test]
    fn a_run_reads_like_a_story() {
        let mut out = Vec::new();
        let mut lines = Lines::new(&mut out);
        let step = || "packages".to_owned();
        for event in [
            entry(0, Event::StepStarted { step: step() }),
            entry(
                12,
                Event::StepWaiting {
                    step: step(),
                    what: "the package manager".into(),
                    holder: Some("apt-daily.service, pid 812, apt-get".into()),
                },
            ),
            entry(900, Event::StepNote { step: step(), text: "a note\nforged".into(), warning: true }),
            entry(
                61_200,
                Event::StepEnded {
                    step: step(),
                    ending: Ending::Done,
                    detail: "apt and dpkg are free".into(),
                    took_ms: 61_188,
                },
            ),
        ] {
            lines.event(&event);
        }
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
        [   0.0s] packages: waiting for the package manager: apt-daily.service, pid 812, apt-get
        [   0.9s] packages: warning: a note forged
        [  61.2s] packages: apt and dpkg are free (1 min 01 s)
        ");
    }
}
