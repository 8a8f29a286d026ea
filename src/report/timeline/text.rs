//! The timeline as text: one line a step, wide enough to see what happened beside what.

use super::super::{fill, trouble, words_of};
use super::{Bar, Timeline};
use crate::words;

/// How wide the picture is, in characters: a line fits into the 80 columns of a console.
const PICTURE: usize = 44;
/// Waits shorter than this are not worth a line, milliseconds.
const WORTH_A_LINE: u64 = 100;
/// So many waits are listed, the longest first.
const MOST_LISTED: usize = 15;

pub(super) fn text(timeline: &Timeline) -> String {
    let (Some(run), Some(started)) = (&timeline.run, &timeline.started) else { return timeline.headline() };
    let before = timeline.before_ms();
    let headline = words::one_line(&timeline.headline());
    let mut lines = vec![format!("{headline} (budget {})", words_of(timeline.budget_ms))];
    let after_kernel = match timeline.uptime_ms {
        Some(uptime) => format!(", {} after the kernel", words_of(uptime)),
        None => String::new(),
    };
    lines.push(words::one_line(&format!("run {run}, started {started}{after_kernel}")));
    lines.push(String::new());
    let whole = before.saturating_add(timeline.took_ms);
    lines.push(format!("{:<10} {:<8} {:>11}  0 {:>PICTURE$}", "step", "", "took", words_of(whole)));
    if before > 0 {
        let mut cells = [' '; PICTURE];
        fill(&mut cells, whole, 0, before, ':');
        lines.push(line("(boot)", "", &words_of(before), &cells));
    }
    for step in &timeline.steps {
        let took = step.began_ms.map(|_| words_of(step.took_ms)).unwrap_or_default();
        lines.push(line(&step.name, step.state, &took, &picture(whole, before, step)));
    }
    lines.push(String::new());
    lines.push(legend(before > 0, timeline.steps.iter().any(|step| step.state == "failed")));
    let waits = waits(timeline);
    if !waits.is_empty() {
        lines.push(String::new());
        lines.extend(waits);
    }
    lines.extend(timeline.error.iter().flat_map(trouble));
    lines.join("\n")
}

fn line(name: &str, state: &str, took: &str, cells: &[char; PICTURE]) -> String {
    let cells: String = cells.iter().collect();
    format!("{:<10} {state:<8} {took:>11}  |{cells}|", words::one_line(name))
}

fn legend(boot: bool, failed: bool) -> String {
    let marks = [(true, "= at work"), (true, ". waiting"), (boot, ": before the run"), (failed, "X failed")];
    marks.iter().filter(|(there, _)| *there).map(|(_, mark)| *mark).collect::<Vec<_>>().join("   ")
}

fn picture(whole: u64, before: u64, step: &Bar) -> [char; PICTURE] {
    let mut cells = [' '; PICTURE];
    let Some(began) = step.began_ms else { return cells };
    let at = |ms: u64| before.saturating_add(ms);
    let end = began.saturating_add(step.took_ms);
    fill(&mut cells, whole, at(began), at(end), '=');
    for wait in step.waits.iter().filter(|wait| wait.took_ms() > 0) {
        fill(&mut cells, whole, at(wait.from_ms), at(wait.to_ms.unwrap_or(wait.from_ms)), '.');
    }
    if step.state == "failed"
        && let Some(cell) = cells.iter_mut().rfind(|cell| **cell != ' ')
    {
        *cell = 'X';
    }
    cells
}

fn waits(timeline: &Timeline) -> Vec<String> {
    let all = timeline.steps.iter().flat_map(|step| step.waits.iter().map(move |wait| (step, wait)));
    let mut worth: Vec<_> = all.filter(|(_, wait)| wait.took_ms() >= WORTH_A_LINE).collect();
    worth.sort_by_key(|(_, wait)| std::cmp::Reverse(wait.took_ms()));
    let left_out = worth.len().saturating_sub(MOST_LISTED);
    worth.truncate(MOST_LISTED);
    let line = |(step, wait): (&Bar, &super::Waited)| {
        words::one_line(&format!("{:<10} {:>11} waiting for {}", step.name, words_of(wait.took_ms()), wait.words()))
    };
    let mut lines: Vec<String> = worth.into_iter().map(line).collect();
    if left_out > 0 {
        lines.push(format!("{:<10} {left_out} shorter ones are left out", ""));
    }
    lines
}
