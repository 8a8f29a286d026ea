//! The last run, for people: how it ended, where the time went, and what is worth knowing of its steps.

use super::{State, Status, StepStatus, waited_for};
use crate::words;
use std::time::Duration;

/// How wide the picture of the time is.
const PICTURE: usize = 30;

impl Status {
    /// For people. `verbose`: also what the steps said that ended well.
    pub fn text(&self, verbose: bool) -> String {
        let (Some(verb), Some(run), Some(started)) = (&self.verb, &self.run, &self.started) else {
            return "nothing was run here yet".into();
        };
        let took = words::span(Duration::from_millis(self.took_ms));
        let head = match self.state {
            State::Never => "nothing was run here yet".to_owned(),
            State::Running => format!("{verb} is at work"),
            State::Done => format!("{verb} done in {took}"),
            State::Failed => format!("{verb} FAILED after {took}"),
            State::Interrupted => format!("{verb} was cut off after {took}: run it again, it goes on from there"),
        };
        let mut lines = vec![head];
        let resumed = self.resumes.as_deref().map(|run| format!(", going on from run {run}")).unwrap_or_default();
        lines.push(format!("run {run}, started {started}{resumed}"));
        if !self.detail.is_empty() && self.state == State::Done {
            lines.push(words::one_line(&self.detail));
        }
        lines.push(String::new());
        lines.push(format!("{:<10} {:<8} {:>11}  0 {:>PICTURE$}", "step", "", "took", took));
        for step in &self.steps {
            let took = match step.began_ms {
                Some(_) if step.state != "skipped" => words::span(Duration::from_millis(step.took_ms)),
                _ => String::new(),
            };
            let line = format!("{:<10} {:<8} {:>11}  |{}|", step.name, step.state, took, self.picture(step));
            lines.push(line);
        }
        let mut said = Vec::new();
        for step in &self.steps {
            let mut name = step.name.as_str();
            for words in self.said(step, verbose) {
                said.extend(words::hanging(&format!("{name:<10} "), &words, words::CONSOLE));
                name = "";
            }
        }
        if !said.is_empty() {
            lines.push(String::new());
            lines.extend(said);
        }
        lines.extend(self.error.iter().flat_map(crate::report::trouble));
        lines.join("\n")
    }

    /// What a step has said, a line each. That all went well, and why it failed, stand elsewhere on the screen.
    fn said(&self, step: &StepStatus, verbose: bool) -> Vec<String> {
        let stands_elsewhere = match step.state {
            "done" | "skipped" => !verbose,
            "failed" => self.error.as_ref().is_some_and(|error| error.message == step.detail),
            state => state == "stopped",
        };
        let mut said = Vec::new();
        if !step.detail.is_empty() && !stands_elsewhere {
            said.push(step.detail.clone());
        }
        if step.state != "running" {
            said.extend(waited_for(&step.waits).into_iter().map(|wait| format!("waited for {wait}")));
        }
        let warnings = step.warnings.iter().filter(|warning| **warning != step.detail);
        said.extend(warnings.map(|warning| format!("warning: {warning}")));
        said
    }

    fn picture(&self, step: &StepStatus) -> String {
        let mut cells = [' '; PICTURE];
        if let Some(began) = step.began_ms
            && step.state != "skipped"
        {
            crate::report::fill(&mut cells, self.took_ms, began, began.saturating_add(step.took_ms), '=');
        }
        cells.iter().collect()
    }
}
