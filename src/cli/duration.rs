//! Spans of time as flags take them.

use crate::words::parse_span;
use std::time::Duration;

/// A span of time, longer than nothing and at most a day. For clap's `value_parser`.
///
/// # Errors
/// One sentence in words.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    match parse_span(text) {
        Some(span) if span.is_zero() => Err("the span must be longer than nothing".into()),
        Some(span) => Ok(span),
        None => Err("write a number and a unit, such as 30s, 5m or 1h30m; at most 24h".into()),
    }
}
