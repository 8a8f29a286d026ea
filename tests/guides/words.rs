//! The words of a shell's commands, as far as documents need: quotes, comments, lines that go on.

/// The calls of a program in a script, each with its words, the program's name first. What a heredoc holds is no call.
pub fn calls(script: &str, program: &str) -> Vec<Vec<String>> {
    let mut calls = Vec::new();
    let mut here: Option<String> = None;
    for line in script.replace("\\\n", " ").lines() {
        if let Some(end) = &here {
            if line.trim() == end {
                here = None;
            }
            continue;
        }
        let commands = commands(line);
        let words = commands.iter().flatten();
        here =
            words.clone().find_map(|word| word.strip_prefix("<<")).map(|end| end.trim_matches(['\'', '"']).to_owned());
        calls.extend(commands.into_iter().filter_map(|mut words| {
            let at = words.iter().position(|word| word == program)?;
            let end = words.iter().position(|word| word.starts_with(['<', '>']) || word.starts_with("2>"));
            words.truncate(end.unwrap_or(words.len()));
            // Assignments and `sudo` stand before it; a name among a command's arguments is no call.
            let before = |word: &String| {
                word.contains('=') || ["sudo", "if", "!", "until", "while", "exec"].contains(&word.as_str())
            };
            (at < words.len() && words[..at].iter().all(before)).then(|| words.split_off(at))
        }));
    }
    calls
}

/// The commands of a line, each in words.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, ' ' | '\t' | ';' | '|' | '&' | '(' | ')') => {
                all.last_mut().unwrap().extend(word.take());
                if c != ' ' && c != '\t' {
                    all.push(Vec::new());
                }
            }
            _ => word.get_or_insert_default().push(c),
        }
    }
    all.last_mut().unwrap().extend(word);
    all
}

#[test]
fn a_programs_calls_are_found_with_their_words() {
    let script =
        "a=1 p x 'y z' \\\n  --w=\"v\" >out # p no\nq p no\n(umask 077; p s) | p t\ncat <<'END'\np no\nEND\np u\n";
    let calls = calls(script, "p");
    assert_eq!(calls, [vec!["p", "x", "y z", "--w=v"], vec!["p", "s"], vec!["p", "t"], vec!["p", "u"]]);
}
