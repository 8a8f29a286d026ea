//! What a command says at its end: the answer on standard output, everything else on standard error.

use super::{Global, colour};
use crate::error::{Exit, Failure};
use crate::flow::run::Report;
use crate::words;
use serde_json::{Value, json};
use std::io::{self, Write};

/// The answer of a command, in both its forms.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// For people: whole lines without the last line feed. Empty: nothing is printed.
    pub text: String,
    /// For programs: one document.
    pub json: Value,
    /// How the command ends: [`Exit::Done`], or another class where the answer itself is bad news.
    pub exit: Exit,
}

impl Answer {
    /// A good answer.
    pub fn new(text: impl Into<String>, json: Value) -> Answer {
        Answer { text: text.into(), json, exit: Exit::Done }
    }

    /// What a run has brought about.
    pub fn of_run(report: Report) -> Answer {
        let json = serde_json::to_value(&report).expect("a report holds nothing that JSON cannot");
        Answer::new(report.detail, json)
    }
}

/// Prints an answer.
pub fn give(global: &Global, answer: &Answer) -> Exit {
    let text = if global.json { render(&answer.json) } else { words::clean(&answer.text) };
    if text.is_empty() {
        return answer.exit;
    }
    let out = io::stdout();
    let text = if global.json { text } else { colour::painted(&text, &out, global.no_color) };
    match writeln!(out.lock(), "{text}") {
        Ok(()) => answer.exit,
        // A reader that has seen enough (`| head`) is no error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => answer.exit,
        Err(error) => {
            let help = "free space where standard output goes";
            let message = format!("the answer cannot be written: {error}");
            say(global, &Failure::new(Exit::Unexpected, "output.write", message, help))
        }
    }
}

/// Prints a failure: to people on standard error, to programs as the one document on standard output.
pub fn fail(global: &Global, failure: &Failure) -> Exit {
    if global.json {
        let answer = Answer { text: String::new(), json: json!({ "error": failure }), exit: failure.exit() };
        return give(global, &answer);
    }
    say(global, failure)
}

/// The text of a failure: sentence, causes, remedy.
pub fn text(failure: &Failure) -> String {
    // Lines of their own only where a cause has them: what others said must not look like words of ours.
    let mut text = format!("error: {} [{}]\n", words::one_line(&failure.message), failure.reason);
    for cause in &failure.causes {
        let mut lines = cause.lines().map(words::one_line);
        text.push_str(&format!("  because: {}\n", lines.next().unwrap_or_default()));
        for line in lines {
            text.push_str(&format!("           {line}\n"));
        }
    }
    text.push_str(&format!("help: {}", words::one_line(&failure.help)));
    text
}

fn say(global: &Global, failure: &Failure) -> Exit {
    let err = io::stderr();
    // Where standard error is closed there is nobody to tell; the exit code remains.
    let _ = writeln!(err.lock(), "{}", colour::painted(&text(failure), &err, global.no_color));
    failure.exit()
}

fn render(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).expect("a JSON value can always be written");
    // JSON itself escapes only some control characters; the others can stand in texts alone.
    let risky = |c: &char| *c != '\n' && words::one_line(c.encode_utf8(&mut [0; 4])) == " " && *c != ' ';
    if !text.chars().any(|c| risky(&c)) {
        return text;
    }
    text.chars().map(|c| if risky(&c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }).collect()
}
