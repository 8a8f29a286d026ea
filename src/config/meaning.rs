//! What a value that came out of a template means: a value, nothing at all, or a template that nobody
//! filled in.

/// A text, once its blanks and its template have been looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// A value, without the blanks around it.
    Given(&'a str),
    /// Nothing: empty, or blanks.
    Empty,
    /// Nothing but what a template left: a placeholder, or `None`, which is what Kasm's templates write
    /// for a variable without a value (docs/kasm-facts.md, 7).
    Left(&'a str),
    /// A placeholder inside a longer text. That is never right.
    Torn(&'a str),
}

/// The brackets of the template languages on an operator's way: Kasm's, Jinja's, the shell's, and those
/// that documentation writes. Longer ones first.
const BRACKETS: [(&str, &str); 6] = [("{{", "}}"), ("${", "}"), ("$(", ")"), ("{", "}"), ("<", ">"), ("[", "]")];

/// Reads a text.
pub fn of(text: &str) -> Meaning<'_> {
    let text = text.trim();
    if text.is_empty() {
        return Meaning::Empty;
    }
    if text == "None" || is_placeholder(text) {
        return Meaning::Left(text);
    }
    match placeholder_in(text) {
        Some(placeholder) => Meaning::Torn(placeholder),
        None => Meaning::Given(text),
    }
}

fn is_placeholder(text: &str) -> bool {
    let bracketed = BRACKETS
        .iter()
        .any(|(open, close)| text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)).is_some_and(is_name));
    bracketed || text.strip_prefix('$').is_some_and(|rest| is_name(rest) && !rest.contains(' '))
}

fn placeholder_in(text: &str) -> Option<&str> {
    text.char_indices().find_map(|(start, _)| {
        let rest = text.get(start..)?;
        // Square brackets inside a text are an IPv6 address more often than a placeholder.
        BRACKETS.iter().filter(|(open, _)| *open != "[").find_map(|(open, close)| {
            let inside = rest.strip_prefix(open)?;
            let end = inside.find(close)?;
            is_name(inside.get(..end)?).then(|| rest.get(..open.len() + end + close.len()))?
        })
    })
}

/// What stands between a placeholder's brackets: a word or a few of them, and no address.
fn is_name(text: &str) -> bool {
    let text = text.trim();
    text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | '[' | ']'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_templates_leave_is_told_from_values() {
        for left in [
            "None",
            "{server_id}",
            "{{server_id}}",
            "{{ server_id }}",
            "${SERVER_ID}",
            "$(hostname)",
            "$SERVER_ID",
            "<server-id>",
            "[SERVER_ID]",
            " {server_id}\n",
        ] {
            assert_eq!(of(left), Meaning::Left(left.trim()), "{left}");
        }
        for empty in ["", " ", "\t\n"] {
            assert_eq!(of(empty), Meaning::Empty);
        }
        assert_eq!(of("srv-{server_id}-x"), Meaning::Torn("{server_id}"));
        assert_eq!(of("https://{{ host }}/x"), Meaning::Torn("{{ host }}"));
        for given in ["none", "[::1]", "[2001:db8::1]:443", "10.0.0.1", "a[0]", "{}", "{1}", "$", "a<b"] {
            assert_eq!(of(given), Meaning::Given(given));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_text_has_a_meaning(text in "\\PC*|[\\[{<$ é_a(){}>\\]]{0,12}") {
            match of(&text) {
                Meaning::Given(part) | Meaning::Left(part) | Meaning::Torn(part) => prop_assert!(text.contains(part)),
                Meaning::Empty => prop_assert!(text.trim().is_empty()),
            }
        }
    }
}
