//! What each reason code means: the pages of `docs/errors`, which every binary carries packed.

use flate2::read::GzDecoder;
use std::io::Read;

/// Made by the build script: pages, each after a record separator.
const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/reasons.gz"));

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The reason code, such as `token.placeholder`.
    pub reason: String,
    /// What it means, in one sentence.
    pub sentence: String,
    /// How it ends a command, in words: `Exit 11 (token refused)`, `A warning: …`.
    pub exit: String,
    /// The whole page, Markdown, from its title on.
    pub markdown: String,
}

/// Every page, in the order of the reasons.
pub fn pages() -> Vec<Page> {
    let mut text = String::new();
    GzDecoder::new(PACKED).read_to_string(&mut text).expect("the build script has packed UTF-8");
    text.split('\x1e').filter_map(Page::parse).collect()
}

impl Page {
    /// A page from its Markdown; `None` for what has not the form of one: a title that is the reason, a sentence,
    /// and how it ends a command, each a paragraph.
    pub fn parse(markdown: &str) -> Option<Page> {
        let mut paragraphs = markdown.trim().split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
        let reason = paragraphs.next()?.strip_prefix("# ")?.to_owned();
        let (sentence, exit) = (paragraphs.next()?, paragraphs.next()?);
        Some(Page { reason, sentence, exit, markdown: markdown.trim().to_owned() })
    }

    /// For a terminal: without the marks that only make sense in a browser.
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        let mut fenced = false;
        for line in self.markdown.lines() {
            match line {
                _ if line.starts_with("```") => fenced = !fenced,
                _ if fenced => lines.push(format!("    {line}")),
                _ => lines.push(without_links(line.trim_start_matches('#').trim_start())),
            }
        }
        lines.join("\n")
    }
}

/// `[words](target)` becomes `words`.
fn without_links(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some((before, words, after)) = link(rest) {
        text.push_str(before);
        text.push_str(words);
        rest = after;
    }
    text + rest
}

/// The first link of a line: what is before it, its words, what is after it.
fn link(line: &str) -> Option<(&str, &str, &str)> {
    let (head, tail) = line.split_once("](")?;
    let (before, words) = head.rsplit_once('[')?;
    let (_, after) = tail.split_once(')')?;
    Some((before, words, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_page_on_a_terminal_has_no_marks_of_a_browser() {
        let page = Page::parse(
            "# token.early\n\nIt is not\nvalid yet.\n\nExit 11 (token refused)\n\n## What to do\n\nSee \
             [token.expired](token.expired.md) and [that](x).\n\n```sh\ndate -u\n```\n",
        )
        .unwrap();
        assert_eq!((page.reason.as_str(), page.sentence.as_str()), ("token.early", "It is not valid yet."));
        insta::assert_snapshot!(page.text(), @r"
        token.early

        It is not
        valid yet.

        Exit 11 (token refused)

        What to do

        See token.expired and that.

            date -u
        ");
    }

    #[test]
    fn every_page_has_the_form_of_one_and_each_reason_one_page() {
        let pages = pages();
        assert!(pages.len() > 200);
        assert!(pages.windows(2).all(|two| two[0].reason < two[1].reason));
    }

    proptest! {
        #[test]
        fn no_text_makes_a_page_panic(text in "[\\[\\]()#` a\n]{0,200}") {
            if let Some(page) = Page::parse(&text) {
                page.text();
            }
        }
    }
}
