//! HTML and SVG, put together so that no value can become markup: what is written by [`Markup::raw`] stands in this
//! program's own source, everything else goes through [`Markup::text`].

use crate::words;

/// A piece of HTML or SVG.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Markup(String);

impl Markup {
    /// Markup of this program's own.
    pub fn raw(&mut self, markup: &'static str) -> &mut Markup {
        self.0.push_str(markup);
        self
    }

    /// A value of whatever origin, for between tags and for between the double quotes of an attribute: no markup, no
    /// control characters, nothing that turns the direction of reading, nothing that XML cannot hold.
    pub fn text(&mut self, value: &str) -> &mut Markup {
        for c in words::one_line(value).chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // Not in the range of characters of XML 1.0 (2.2).
                '\u{fffe}' | '\u{ffff}' => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        self
    }

    /// The same, of at most so many characters.
    pub fn short(&mut self, value: &str, most: usize) -> &mut Markup {
        match value.char_indices().nth(most) {
            None => self.text(value),
            Some((end, _)) => self.text(value.get(..end).unwrap_or_default()).text("…"),
        }
    }

    /// A length or a place, with at most one decimal.
    pub fn number(&mut self, number: f64) -> &mut Markup {
        let text = format!("{number:.1}");
        self.0.push_str(text.strip_suffix(".0").unwrap_or(&text));
        self
    }

    /// Another piece.
    pub fn piece(&mut self, piece: &Markup) -> &mut Markup {
        self.0.push_str(&piece.0);
        self
    }

    /// The whole.
    pub fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_stays_text() {
        let mut markup = Markup::default();
        markup.raw("<b title=\"").text("\"><script>alert('x')</script>\u{202e}\n&").raw("\">").number(2.0).number(0.25);
        assert_eq!(
            markup.into_string(),
            "<b title=\"&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;  &amp;\">20.2"
        );
        let mut short = Markup::default();
        short.short("äöü", 2);
        assert_eq!(short.into_string(), "äö…");
    }

    proptest! {
        #[test]
        fn no_value_holds_markup_or_control_characters_afterwards(value in "\\PC{0,60}|[<>&\"'\u{0}-\u{1f}\u{fffe}]{0,60}") {
            let mut markup = Markup::default();
            markup.text(&value);
            let text = markup.into_string();
            prop_assert!(!text.contains(['<', '>', '"', '\'']) && !text.chars().any(char::is_control));
            let rest = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"].iter().fold(text, |text, name| text.replace(name, ""));
            prop_assert!(!rest.contains('&'));
        }
    }
}
