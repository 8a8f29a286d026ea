//! os-release(5): which distribution this is. Pure: text in, names out.

use serde::Serialize;

/// What os-release(5) says of the distribution. Every text is as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Os {
    /// `ID`, lower case by convention (`ubuntu`, `debian`, `rocky`); `linux` where the file names none.
    pub id: String,
    /// `VERSION_ID` (`24.04`, `12`); rolling distributions have none.
    pub version_id: Option<String>,
    /// `PRETTY_NAME`, for people.
    pub pretty: Option<String>,
    /// `ID_LIKE`: distributions this one is closely related to, nearest first.
    pub id_like: Vec<String>,
}

impl Os {
    /// The words for people: the pretty name, else identifier and version.
    pub fn name(&self) -> String {
        match (&self.pretty, &self.version_id) {
            (Some(pretty), _) => pretty.clone(),
            (None, Some(version)) => format!("{} {version}", self.id),
            (None, None) => self.id.clone(),
        }
    }

    /// True if this distribution is one of `ids` or calls itself like one of them.
    pub fn is_like(&self, ids: &[&str]) -> bool {
        std::iter::once(&self.id).chain(&self.id_like).any(|id| ids.contains(&id.as_str()))
    }

    /// The version up to its first dot: `9` of `9.4`.
    pub fn major(&self) -> Option<&str> {
        self.version_id.as_deref().map(|version| version.split('.').next().unwrap_or(version))
    }

    /// True for a distribution with Red Hat's packages, by what it calls itself like.
    pub fn is_red_hat(&self) -> bool {
        self.is_like(&["rhel", "fedora", "centos"])
    }
}

/// How packages are installed on this distribution.
pub fn install_command(os: Option<&Os>) -> &'static str {
    match os {
        // Red Hat's family has dnf from 8 on.
        Some(os) if os.is_red_hat() && os.major() == Some("7") => "yum install -y",
        Some(os) if os.is_red_hat() => "dnf install -y",
        _ => "apt-get install -y",
    }
}

/// Reads the text of an os-release file. Lines that are no assignment, or whose quotes do not close,
/// are passed over, as os-release(5) asks of readers; of several assignments to one name the last
/// counts, as in a shell.
pub fn parse(text: &str) -> Os {
    let (mut id, mut version_id, mut pretty, mut id_like) = (None, None, None, Vec::new());
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, raw)) = line.split_once('=') else { continue };
        let Some(value) = unquote(raw) else { continue };
        let value = Some(value).filter(|value| !value.is_empty());
        match name {
            "ID" => id = value,
            "VERSION_ID" => version_id = value,
            "PRETTY_NAME" => pretty = value,
            "ID_LIKE" => {
                id_like = value.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
            }
            _ => {}
        }
    }
    Os { id: id.unwrap_or_else(|| "linux".into()), version_id, pretty, id_like }
}

/// A value as a shell would understand it, as far as os-release(5) allows shell: bare, in single quotes,
/// or in double quotes with `\` before `"`, `$`, `` ` `` and `\`. `None` if a quote does not close or
/// something follows it.
fn unquote(raw: &str) -> Option<String> {
    if let Some(rest) = raw.strip_prefix('\'') {
        let inner = rest.strip_suffix('\'')?;
        return (!inner.contains('\'')).then(|| inner.to_owned());
    }
    let quoted = raw.starts_with('"');
    let mut characters = raw.chars().skip(usize::from(quoted));
    let mut value = String::new();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next()? {
                // Inside double quotes a shell keeps the backslash before any other character.
                next if quoted && !matches!(next, '"' | '$' | '`' | '\\') => value.extend(['\\', next]),
                next => value.push(next),
            },
            '"' if quoted => return characters.next().is_none().then_some(value),
            '"' | '\'' if !quoted => return None,
            other => value.push(other),
        }
    }
    (!quoted).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_distribution_is_read_with_quotes_comments_and_broken_lines() {
        let os = parse(
            "# comment\n\nPRETTY_NAME=\"Ubuntu 24.04.1 \\\"LTS\\\"\"\nID=debian\nID=ubuntu\nVERSION_ID='24.04'\n\
             ID_LIKE=\"debian  other\"\nnot an assignment\nVERSION=\"never closed\nHOME_URL=https://example.com\n",
        );
        assert_eq!(
            os,
            Os {
                id: "ubuntu".into(),
                version_id: Some("24.04".into()),
                pretty: Some("Ubuntu 24.04.1 \"LTS\"".into()),
                id_like: vec!["debian".into(), "other".into()],
            }
        );
        assert!(os.is_like(&["debian"]) && os.is_like(&["ubuntu"]) && !os.is_like(&["rhel"]));
    }

    #[test]
    fn an_empty_file_still_names_linux() {
        let os = parse("");
        assert_eq!((os.id.as_str(), os.name().as_str()), ("linux", "linux"));
    }

    #[test]
    fn quotes_are_understood_as_a_shell_does() {
        let cases = [
            ("plain", Some("plain")),
            ("", Some("")),
            ("\"\"", Some("")),
            ("''", Some("")),
            ("'a \\ b'", Some("a \\ b")),
            ("\"a \\$b \\x\"", Some("a $b \\x")),
            ("a\\ b", Some("a b")),
            ("\"open", None),
            ("'open", None),
            ("'", None),
            ("\"", None),
            ("\"a\"b", None),
            ("trailing\\", None),
        ];
        for (raw, expected) in cases {
            assert_eq!(unquote(raw).as_deref(), expected, "{raw}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_value_written_in_double_quotes_is_read_back(value in "[^\\r\\n\\x00]{1,40}") {
            let mut escaped = String::new();
            for character in value.chars() {
                if matches!(character, '"' | '$' | '`' | '\\') {
                    escaped.push('\\');
                }
                escaped.push(character);
            }
            prop_assert_eq!(unquote(&format!("\"{escaped}\"")), Some(value));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "(?s)(ID|VERSION_ID|ID_LIKE|X)?=?['\"\\\\$`# a-z\\n=\u{e9}]{0,60}") {
            let os = parse(&text);
            prop_assert!(!os.id.is_empty());
        }
    }
}
