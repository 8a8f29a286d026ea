//! Spans of time as flags take them: `30s`, `5m`, `1h30m`, `PT5M`.

use jiff::SignedDuration;
use std::time::Duration;

/// The longest span a flag takes.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A span of time: positive, at most a day. For clap's `value_parser`.
///
/// # Errors
/// One sentence in words.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let span: SignedDuration = text.trim().parse().map_err(|_: jiff::Error| {
        "this is no span of time: write a number and a unit, such as 30s, 5m or 1h30m".to_owned()
    })?;
    match Duration::try_from(span) {
        Ok(span) if span.is_zero() => Err("the span must be longer than nothing".into()),
        Ok(span) if span > LONGEST => Err("the span must be at most 24h".into()),
        Ok(span) => Ok(span),
        Err(_) => Err("the span must not be negative".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_are_written_as_people_write_them() {
        for (text, seconds) in [
            ("30s", 30),
            ("5m", 300),
            ("1h30m", 5400),
            ("1h 30m", 5400),
            ("90 sec", 90),
            ("24h", 86_400),
            ("PT5M", 300),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn what_is_no_positive_span_of_at_most_a_day_is_refused() {
        for text in ["", "5", "m", "0s", "-5m", "5m ago", "25h", "1d", "five minutes", "99999999999999999999h", "5m\0"]
        {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn no_text_is_a_panic_and_none_leaves_the_bounds(text in ".{0,24}|[0-9]{1,20}(ns|ms|s|m|h|d)") {
            if let Ok(span) = parse_duration(&text) {
                prop_assert!(!span.is_zero() && span <= LONGEST);
            }
        }
    }
}
