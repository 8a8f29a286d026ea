//! Usage errors. A line that was badly quoted can put a token where a flag's value or nothing at all
//! belongs, and whatever is printed here ends in a log: what could be a token is not repeated.

use super::colour;
use crate::token::MIN_OPAQUE;
use crate::words;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::io::{self, Write};

/// Prints help, version or a usage error.
pub(super) fn print(error: &clap::Error, no_color: bool) {
    let (out, err) = (io::stdout(), io::stderr());
    let printed = match hidden(error) {
        Some(text) => writeln!(err.lock(), "{}", colour::painted(&text, &err, no_color)),
        None if error.use_stderr() => write!(err.lock(), "{}", styled(error, colour::is_wanted(&err, no_color))),
        None => write!(out.lock(), "{}", styled(error, colour::is_wanted(&out, no_color))),
    };
    // Where standard error is closed there is nobody to tell; the exit code remains.
    drop(printed);
}

fn styled(error: &clap::Error, in_colour: bool) -> String {
    let text = error.render();
    if in_colour { text.ansi().to_string() } else { text.to_string() }
}

/// The error without what could be a token; `None` where nothing in it could.
fn hidden(error: &clap::Error) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let (value, what) = match error.kind() {
        ErrorKind::InvalidSubcommand => (text(ContextKind::InvalidSubcommand)?, "unrecognized subcommand".to_owned()),
        ErrorKind::UnknownArgument => (text(ContextKind::InvalidArg)?, "unexpected argument".to_owned()),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::TooManyValues => {
            let argument = text(ContextKind::InvalidArg).unwrap_or("an argument");
            (text(ContextKind::InvalidValue)?, format!("invalid value for '{argument}'"))
        }
        _ => return None,
    };
    // A misspelt flag is called by its name. No token is shorter, and none consists of dashed words.
    let is_flag =
        value.starts_with('-') && value.len() <= 40 && value.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    if is_flag || value.len() < MIN_OPAQUE {
        return (value != words::one_line(value)).then(|| words::clean(&error.to_string()));
    }
    let length = value.chars().count();
    let mut shown = format!("error: {what} ({length} characters, not shown: it could be a token)\n");
    if let Some(ContextValue::Strings(possible)) = error.get(ContextKind::ValidValue) {
        shown.push_str(&format!("  [possible values: {}]\n", possible.join(", ")));
    }
    if let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) {
        shown.push_str(&format!("\n{usage}\n"));
    }
    Some(shown + "\nFor more information, try '--help'.")
}
