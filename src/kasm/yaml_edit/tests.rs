use super::super::yaml::Document;
use super::*;
use proptest::prelude::*;

/// A file as Kasm writes them, with everything that could be lost.
const GUAC: &str = "# Kasm: the connection proxy\n\
---\n\
kasmguac:\n\
\x20   # who we are\n\
\x20   id: \"0a1b\"   # never change\n\
\x20   server_address: 10.0.0.5\n\
\x20   zone: 'default'\n\
\n\
\x20   # how we register\n\
\x20   registration_token: [REGISTRATION_TOKEN]\n\
api:\n\
\x20   hostnames: ['kasm.example.com']   # the manager\n\
\x20   port:  443\n\
\x20   auth_token: \"false\" # see #571\n\
\x20   public_jwt_cert: |\n\
\x20       -----BEGIN CERTIFICATE-----\n\
\x20       MIIB\n\
\x20       -----END CERTIFICATE-----\n\
\x20   empty:   # nothing yet\n";

fn text(new: &str) -> Secret {
    Secret::new(new)
}

/// The lines that differ: before, after.
fn changed(before: &str, after: &str) -> (Vec<String>, Vec<String>) {
    let (old, new): (Vec<&str>, Vec<&str>) =
        (before.split_inclusive('\n').collect(), after.split_inclusive('\n').collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = (&old[head..], &new[head..]);
    let tail = rest.0.iter().rev().zip(rest.1.iter().rev()).take_while(|(a, b)| a == b).count();
    let own = |lines: &[&str]| lines[..lines.len() - tail].iter().map(|line| (*line).to_owned()).collect();
    (own(rest.0), own(rest.1))
}

fn line_of(before: &str, result: Result<Secret, Refusal>) -> String {
    let after = result.unwrap();
    let (old, new) = changed(before, after.expose());
    assert!(old.len() <= 1 && new.len() == 1, "{old:?} {new:?}");
    new.concat()
}

#[test]
fn one_value_changes_and_its_line_keeps_the_rest() {
    let set = |section, key, value: &str| line_of(GUAC, set(GUAC.as_bytes(), section, key, New::Text(&text(value))));
    assert_eq!(set("kasmguac", "id", "ffff"), "    id: \"ffff\"   # never change\n");
    assert_eq!(set("kasmguac", "server_address", "10.0.0.77"), "    server_address: '10.0.0.77'\n");
    assert_eq!(set("kasmguac", "zone", "it's"), "    zone: 'it''s'\n");
    assert_eq!(set("api", "auth_token", "a.b.c"), "    auth_token: \"a.b.c\" # see #571\n");
    assert_eq!(set("api", "hostnames", "new.example.com"), "    hostnames: ['new.example.com']   # the manager\n");
    assert_eq!(set("api", "empty", "now"), "    empty: now   # nothing yet\n");
    let port = super::set(GUAC.as_bytes(), "api", "port", New::Number(8443));
    assert_eq!(line_of(GUAC, port), "    port:  8443\n");
}

#[test]
fn what_a_template_left_where_the_token_belongs_is_replaced() {
    let put = put(GUAC.as_bytes(), "kasmguac", "registration_token", New::Text(&text("Zq7Wk3Rt9Xv5Lm1Pn8Bd")));
    // `[REGISTRATION_TOKEN]` without quotes is a list of one, and its one item is what is replaced.
    assert_eq!(line_of(GUAC, put), "    registration_token: [Zq7Wk3Rt9Xv5Lm1Pn8Bd]\n");
}

#[test]
fn a_key_that_is_not_there_gets_a_line_behind_the_last_one_like_the_others() {
    let yaml = "kasmguac:\r\n  id: a # x\r\n  zone: b\r\n\r\n# the API\r\napi:\r\n  port: 443";
    let token = text("0123456789abcdef");
    let added = |section| put(yaml.as_bytes(), section, "registration_token", New::Text(&token)).unwrap();
    assert_eq!(
        added("kasmguac").expose(),
        "kasmguac:\r\n  id: a # x\r\n  zone: b\r\n  registration_token: '0123456789abcdef'\r\n\r\n# the API\r\n\
         api:\r\n  port: 443"
    );
    assert_eq!(added("api").expose(), format!("{yaml}\r\n  registration_token: '0123456789abcdef'"));
    assert_eq!(set(yaml.as_bytes(), "api", "none", New::Text(&token)), Err(Refusal::NoKey));
}

#[test]
fn a_key_goes_with_its_line_and_nothing_else_does() {
    let without = remove(GUAC.as_bytes(), "kasmguac", "zone").unwrap();
    assert_eq!(changed(GUAC, without.expose()), (vec!["    zone: 'default'\n".into()], vec![]));
    let last = "a:\n  b: c\n  d: e";
    assert_eq!(remove(last.as_bytes(), "a", "d").unwrap().expose(), "a:\n  b: c");
    assert_eq!(remove(b"a:\n  b: c\n", "a", "b"), Err(Refusal::NoLine));
    assert_eq!(remove(GUAC.as_bytes(), "kasmguac", "nothing"), Err(Refusal::NoKey));
}

#[test]
fn what_is_added_and_taken_away_again_leaves_the_file_as_it_was() {
    for yaml in [GUAC.replace("[REGISTRATION_TOKEN]", "x").as_str(), "s:\r\n   é: ü # ö\r\n   k: v"] {
        let section = if yaml.contains("kasmguac") { "kasmguac" } else { "s" };
        let more = put(yaml.as_bytes(), section, "new_key", New::Text(&text("some: value"))).unwrap();
        assert_ne!(more.expose(), yaml);
        let less = remove(more.expose().as_bytes(), section, "new_key").unwrap();
        assert_eq!(less.expose(), yaml);
    }
}

#[test]
fn what_cannot_be_changed_safely_is_refused() {
    use Refusal::*;
    let new = text("new");
    let refused = |yaml: &str| put(yaml.as_bytes(), "a", "k", New::Text(&new)).unwrap_err();
    for (yaml, why) in [
        ("a:\n  k: 1\n  k: 2\n", Twice),
        // A line feed behind it would make one line end of two, and taken away again take both.
        ("a:\n  x:\r", NoLine),
        ("a:\n  k: 1\na:\n  x: 2\n", Twice),
        ("a:\n  k: &one 1\nb: *one\n", Tied),
        ("b: &one 1\na:\n  k: *one\n", Tied),
        ("a: &a\n  k: 1\nb: *a\n", Tied),
        ("b: &b\n  k: 1\na:\n  <<: *b\n  x: 1\n", Tied),
        ("a:\n  k: !secret 1\n", Tagged),
        ("a: !map\n  k: 1\n", Tagged),
        ("x: 1\n---\na:\n  k: 1\n", SeveralDocuments),
        ("a:\n  k: |\n    one\n    two\n", SeveralLines),
        ("a:\n  k: one\n    two\n", SeveralLines),
        ("a:\n  k: \"one\n    two\"\n", SeveralLines),
        ("a:\n  k: [one, two]\n", NotOne),
        ("a:\n  k: {one: two}\n", NotOne),
        ("a: 1\n", NotASection),
        ("a:\n", NotASection),
        ("- a\n", NoSections),
        ("", NoSections),
        ("b:\n  k: 1\n", NoSection),
        ("a: {x: 1}\n", NoLine),
        ("a:\n  ? x\n  : 1\n", NoLine),
        ("a:\n\tk: 1\n", NotYaml(2)),
    ] {
        assert_eq!(refused(yaml), why, "{yaml:?}");
    }
    assert_eq!(put(&[0xff, 0xfe], "a", "k", New::Text(&new)), Err(NotText));
    assert_eq!(put(&vec![b'#'; LIMIT + 1], "a", "k", New::Text(&new)), Err(TooLarge));
    assert!(!format!("{}", refused("a:\n  k: \"hunter2\n")).contains("hunter2"));
}

#[test]
fn lists_of_one_and_values_in_braces_can_be_set() {
    let set = |yaml: &str| set(yaml.as_bytes(), "a", "k", New::Text(&text("new"))).map(|new| new.expose().to_owned());
    assert_eq!(set("a:\n  k:\n  - old # one\n  x: 1\n").unwrap(), "a:\n  k:\n  - new # one\n  x: 1\n");
    assert_eq!(set("a: {k: 'old', x: 1} # c").unwrap(), "a: {k: 'new', x: 1} # c");
    assert_eq!(set("{\"a\": {\"k\": \"old\"}}").unwrap(), "{\"a\": {\"k\": \"new\"}}");
    assert_eq!(set("a:\n  k: []\n").unwrap(), "a:\n  k: [new]\n");
    assert_eq!(set("a:\n  \"k\" : ~\n").unwrap(), "a:\n  \"k\" : new\n");
    assert_eq!(set("a:\n  k :\n  x: 1\n").unwrap(), "a:\n  k : new\n  x: 1\n");
}

/// Every scalar with its place, however it is written: the judge's view of a file.
fn view(yaml: &str) -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    let mut path: Vec<Option<String>> = Vec::new();
    let mut keys: Vec<bool> = Vec::new();
    for event in Parser::new_from_str(yaml) {
        let (event, _) = event.unwrap();
        let text = match &event {
            Event::Scalar(text, style, anchor, tag) => format!("{style:?} {anchor} {tag:?} {text}"),
            other => format!("{other:?}"),
        };
        let place: Vec<String> = path.iter().map(|part| part.clone().unwrap_or_default()).collect();
        match &event {
            Event::Scalar(key, ..) if keys.last() == Some(&true) && path.last() == Some(&None) => {
                *path.last_mut().unwrap() = Some(key.to_string());
                found.push((place, text));
                continue;
            }
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                found.push((place, text));
                path.push(None);
                keys.push(matches!(event, Event::MappingStart(..)));
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => {
                path.pop();
                keys.pop();
            }
            _ => {}
        }
        found.push((place, text));
        if let Some(last) = path.last_mut() {
            *last = None;
        }
    }
    found
}

/// A file of two sections; the first has the key `k` where `value` is given.
fn file() -> impl Strategy<Value = (String, bool)> {
    let plain = "[a-zA-Z0-9][a-zA-Z0-9._/+-]{0,12}";
    let value = prop_oneof![
        plain.prop_map(|text| text),
        "[ -&(-~é]{0,12}".prop_map(|text| format!("'{text}'")),
        "[ !#-\\[\\]-~é]{0,12}".prop_map(|text| format!("\"{text}\"")),
        plain.prop_map(|text| format!("['{text}']")),
        Just(String::new()),
        Just("~".to_owned()),
    ];
    let other = prop_oneof![
        value.clone(),
        Just("|\n      one\n      two".to_owned()),
        Just("[a, 'b', {c: d}]".to_owned()),
        Just(">-\n      folded\n      text".to_owned()),
    ];
    let comment = prop_oneof![Just(""), Just(" # c: 'd"), Just("   "), Just("\t# é")];
    let between = prop_oneof![Just(""), Just("\n"), Just("    # - k: x\n"), Just("# k: y\n\n")];
    let entry = |value| (value, comment.clone(), between.clone());
    let others = proptest::collection::vec(entry(other.boxed()), 1..4);
    let (indent, crlf, end) = (1usize..5, any::<bool>(), any::<bool>());
    let k = proptest::option::of((entry(value.boxed()), 0usize..4));
    (others.clone(), others, k, indent, crlf, end, any::<bool>()).prop_map(
        |(first, second, k, indent, crlf, end, dashes)| {
            let indent = " ".repeat(indent);
            let mut lines: Vec<String> = Vec::new();
            let line = |name: &str, (value, comment, between): &(String, &str, &str)| {
                // A comment behind a text of several lines would be a part of it.
                let comment = if value.contains('\n') { "" } else { comment };
                format!("{between}{indent}{name}: {value}{comment}\n")
            };
            for (at, entry) in first.iter().enumerate() {
                lines.push(line(&format!("o{at}"), entry));
            }
            if let Some((entry, at)) = &k {
                lines.insert((*at).min(lines.len()), line("k", entry));
            }
            let second: String = second.iter().enumerate().map(|(at, entry)| line(&format!("k{at}"), entry)).collect();
            let dashes = if dashes { "---\n" } else { "" };
            let mut text = format!("{dashes}# top\na: # section\n{}b:\n{second}", lines.concat());
            if !end {
                text.truncate(text.trim_end_matches('\n').len());
            }
            if crlf {
                text = text.replace('\n', "\r\n");
            }
            (text, k.is_some())
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn the_value_reads_back_and_everything_else_is_as_it_was(
        (yaml, has) in file(),
        new in "\\PC{0,24}|[ -~\n\té]{0,24}|[a-z]{1,5}",
    ) {
        let secret = text(&new);
        let after = put(yaml.as_bytes(), "a", "k", New::Text(&secret));
        let after = match after {
            Ok(after) => after,
            // Where no key of the section has a line of its own, none can be added.
            Err(Refusal::NoLine) if !has => return Ok(()),
            Err(why) => panic!("{why}: {yaml:?}"),
        };
        let after = after.expose();
        let document = Document::read(after.as_bytes()).unwrap();
        prop_assert_eq!(document.list("a", "k").first().cloned().unwrap_or_default(), new.clone());
        // The judge: but for the one scalar (or the new pair), the same places with the same values.
        let (before, now) = (view(&yaml), view(after));
        let is_k = |(place, _): &&(Vec<String>, String)| place.iter().take(2).eq(["a", "k"]);
        let rest = |view: &[(Vec<String>, String)]| view.iter().filter(|one| !is_k(one)).cloned().collect::<Vec<_>>();
        let (before_rest, mut now_rest) = (rest(&before), rest(&now));
        if !has {
            let key = now_rest.iter().position(|(place, text)| place.len() == 2 && text == "Plain 0 None k").unwrap();
            now_rest.remove(key);
        }
        prop_assert_eq!(before_rest, now_rest);
        // And by bytes: one line differs, and on it only the value.
        let (old, new_lines) = changed(&yaml, after);
        match has {
            true => {
                prop_assert!(old.len() == new_lines.len() && old.len() <= 1, "{:?} {:?}", old, new_lines);
                if let (Some(old), Some(new)) = (old.first(), new_lines.first()) {
                    let comment = |line: &str| {
                        let at = line.rfind(" # c: 'd").or(line.rfind("\t# é"))?;
                        Some(line[at..].to_owned())
                    };
                    prop_assert_eq!(comment(old), comment(new));
                    let ending = |line: &str| line.len() - line.trim_end_matches(['\r', '\n']).len();
                    prop_assert_eq!(ending(old), ending(new));
                }
            }
            false => {
                prop_assert_eq!(after.len() - yaml.len(), new_lines.concat().len() - old.concat().len());
                let back = remove(after.as_bytes(), "a", "k").unwrap();
                prop_assert_eq!(back.expose(), &yaml);
            }
        }
    }

    #[test]
    fn whatever_is_not_refused_reads_as_it_should(
        yaml in "(a:|k:|k|: |- |\n|  |\\[|\\]|\\{|\\}|, |&a |\\*a|\"|'|\\||>|\\?|---\n|!t |#|é|\r\n|\t|b:|x){0,60}",
        new in "[ -~é\n]{0,8}",
    ) {
        let (secret, bytes) = (text(&new), yaml.as_bytes());
        let results = [set(bytes, "a", "k", New::Text(&secret)), put(bytes, "a", "k", New::Text(&secret))];
        for result in results.into_iter().flatten() {
            let document = Document::read(result.expose().as_bytes()).unwrap();
            prop_assert_eq!(document.list("a", "k").first().cloned().unwrap_or_default(), new.clone());
        }
        if let Ok(result) = remove(bytes, "a", "k") {
            prop_assert!(!Document::read(result.expose().as_bytes()).unwrap().has("a", "k"));
        }
    }

    #[test]
    fn any_bytes_can_be_given(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        drop(put(&bytes, "a", "k", New::Number(1)));
    }
}
