//! Colours of a terminal: one parameter of SGR each (ECMA-48, 8.3.117).

/// It is well.
pub const GOOD: &str = "32";
/// It may not be well.
pub const DOUBTFUL: &str = "33";
/// It is not well.
pub const BAD: &str = "1;31";
/// It matters less.
pub const FAINT: &str = "2";
/// It is to be read.
pub const BOLD: &str = "1";

/// The text in this colour, and what follows it in the terminal's own.
pub fn paint(colour: &str, text: &str) -> String {
    format!("\x1b[{colour}m{text}\x1b[0m")
}
