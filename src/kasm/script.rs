//! Which options a release's own script knows, found by reading the script, never by running it.
//!
//! Flags come and go between releases (docs/kasm-facts.md, 2, "Flags drift"), so the release itself is
//! asked. What counts is what its argument parser compares with: the patterns of `case` and the right
//! sides of `=`. Words elsewhere (`curl -k`, usage texts) count only in a script whose parser is not
//! recognised.

use std::collections::BTreeSet;

/// Scripts longer than this are read up to here: Kasm's have some 100 KiB.
const LIMIT: usize = 1 << 20;

/// The options a script knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScriptFlags {
    words: BTreeSet<String>,
}

impl ScriptFlags {
    /// Reads a script's text. Never fails: bytes that are no script know no options.
    pub fn read(script: &[u8]) -> ScriptFlags {
        let text = String::from_utf8_lossy(&script[..script.len().min(LIMIT)]);
        let text = text.replace("\\\r\n", " ").replace("\\\n", " ");
        let lines = || text.lines().map(str::trim).filter(|line| !line.starts_with('#'));

        let mut compared = BTreeSet::new();
        lines().for_each(|line| {
            patterns(line, &mut compared);
            comparisons(line, &mut compared);
        });
        if compared.contains("--role") || compared.contains("-S") {
            return ScriptFlags { words: compared };
        }
        let mut words = compared;
        lines().for_each(|line| anywhere(line, &mut words));
        ScriptFlags { words }
    }

    /// True if the script knows exactly this option, dashes included: `--manager-token`, `-M`.
    pub fn knows(&self, flag: &str) -> bool {
        self.words.contains(flag)
    }

    /// The first of these options that the script knows.
    pub fn first<'a>(&self, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        candidates.into_iter().find(|flag| self.knows(flag))
    }
}

/// `-M | "--manager-token")` at the start of the line, after `;;` or after `in`.
fn patterns(line: &str, found: &mut BTreeSet<String>) {
    let ends = |mark: &'static str| line.match_indices(mark).map(move |(at, _)| at + mark.len());
    for start in std::iter::once(0).chain(ends(";;")).chain(ends(" in ")) {
        // A start is the line's beginning or just behind an ASCII word, so always a character boundary.
        let mut rest = line[start..].trim_start();
        rest = rest.strip_prefix('(').unwrap_or(rest);
        let mut group = Vec::new();
        loop {
            rest = rest.trim_start();
            let length = rest.find(|c: char| c.is_whitespace() || matches!(c, '|' | ')')).unwrap_or(rest.len());
            let (word, after) = rest.split_at(length);
            if word.is_empty() {
                break;
            }
            group.push(unquoted(word));
            rest = after.trim_start();
            if let Some(after) = rest.strip_prefix('|') {
                rest = after;
                continue;
            }
            if rest.starts_with(')') {
                found.extend(group.into_iter().filter(|word| is_option(word)).map(str::to_owned));
            }
            break;
        }
    }
}

/// `[ "$1" = "--manager-token" ]`, `[[ $1 == -M ]]`.
fn comparisons(line: &str, found: &mut BTreeSet<String>) {
    for mark in [" = ", " == "] {
        for (at, _) in line.match_indices(mark) {
            let rest = line[at + mark.len()..].trim_start();
            let word = rest.split([' ', '\t', ';', ')', ']', '|', '&']).next().unwrap_or_default();
            let word = unquoted(word);
            if is_option(word) {
                found.insert(word.to_owned());
            }
        }
    }
}

/// Every word that looks like an option.
fn anywhere(line: &str, found: &mut BTreeSet<String>) {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    for piece in line.split(|c: char| !(part_of_word(c) || matches!(c, '/' | '.' | '$' | '{' | '='))) {
        let word = piece.split('=').next().unwrap_or_default();
        if is_option(word) {
            found.insert(word.to_owned());
        }
    }
}

fn unquoted(word: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = word.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    word
}

/// `-x`, or `--` and words of letters and digits joined by dashes.
fn is_option(word: &str) -> bool {
    if let Some(long) = word.strip_prefix("--") {
        return long.len() <= 64
            && long.starts_with(|c: char| c.is_ascii_alphanumeric())
            && long.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    }
    word.strip_prefix('-').is_some_and(|short| short.len() == 1 && short.as_bytes()[0].is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SCRIPT: &str = r#"#!/bin/bash
set -e
# -Q|--only-in-a-comment) nothing
function usage() {
  echo "  --only-in-usage   curl -k --max-time 5"
}
for index in "${!args[@]}"; do
  case "${args[index]}" in
    -S|--role) ROLE="$2" ;; -e | --accept-eula) EULA=1 ;;
    "-M"|'--manager-token')
      TOKEN="$2"
      ;;
    -b|--no-check-disks) shift ;;
    (-H|\
     --no-swap-check) SWAP=0 ;;
    -*) echo "Unknown option"; exit 1 ;;
  esac
done
if [ "$1" = "--help" ]; then usage; fi
"#;

    #[test]
    fn the_parser_of_the_script_decides_and_not_its_other_words() {
        let flags = ScriptFlags::read(SCRIPT.as_bytes());
        for known in ["-S", "--role", "-e", "--accept-eula", "-M", "--manager-token", "-H", "--no-swap-check", "--help"]
        {
            assert!(flags.knows(known), "{known}");
        }
        for unknown in
            ["--no-check-disk", "--only-in-usage", "-k", "--max-time", "-Q", "--only-in-a-comment", "-*", "role", "-x"]
        {
            assert!(!flags.knows(unknown), "{unknown}");
        }
        assert_eq!(flags.first(["--swap", "--no-swap-check", "-H"]), Some("--no-swap-check"));
    }

    #[test]
    fn a_script_without_a_recognised_parser_is_read_word_by_word() {
        let flags = ScriptFlags::read(b"getopt -l role:,x\nusage: install.sh [--role ROLE] [-M|--manager-token=T]\n");
        assert!(flags.knows("--role") && flags.knows("--manager-token") && flags.knows("-M"));
        assert!(!flags.knows("--manager"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            ScriptFlags::read(&bytes);
        }

        #[test]
        fn shell_like_text_can_be_read(text in "([-a-z|();=\"'$ #\\\\\n\u{e9}]| in |--role|-S|esac){0,200}") {
            ScriptFlags::read(text.as_bytes());
        }

        #[test]
        fn every_pattern_is_found_and_no_neighbour_of_it(
            name in "[a-z]{2,8}(-[a-z]{2,8}){0,3}",
            short in "[A-RT-Za-z]",
            indent in "[ \t]{0,6}",
            quote in "[\"']?",
        ) {
            let script = format!("case $1 in\n-S|--role) ;;\n{indent}-{short}|{quote}--{name}{quote}) x ;;\nesac\n");
            let flags = ScriptFlags::read(script.as_bytes());
            let (option, short) = (format!("--{name}"), format!("-{short}"));
            prop_assert!(flags.knows(&option));
            prop_assert!(flags.knows(&short));
            let (longer, shorter) = (format!("--{name}s"), &option[..option.len() - 1]);
            prop_assert!(!flags.knows(&longer));
            prop_assert!(!flags.knows(shorter) || shorter == "--role");
        }
    }
}
