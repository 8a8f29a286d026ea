//! Names: the table itself, what is refused, and what is suggested.

use super::*;

#[test]
fn the_table_is_sound() {
    let mut variables: Vec<String> = schema::SETTINGS.iter().map(schema::Setting::variable).collect();
    variables.sort();
    variables.dedup();
    assert_eq!(variables.len(), schema::SETTINGS.len(), "each setting has a variable of its own");
    for setting in schema::SETTINGS {
        assert!(setting.key.matches('.').count() <= 1, "{}", setting.key);
        assert!(!setting.doc.is_empty() && !setting.doc.ends_with('.') && !setting.default.is_empty());
        assert!(!setting.flag_only || setting.flag.is_some(), "{}", setting.key);
        assert_eq!(setting.kind == Kind::SecretFile, setting.fills.is_some(), "{}", setting.key);
        if let Some(filled) = setting.fills {
            assert!(schema::find(filled).is_some_and(schema::Setting::is_secret), "{}", setting.key);
        }
    }
    let mut tables = schema::tables();
    tables.sort_unstable();
    let all = tables.len();
    tables.dedup();
    assert_eq!(tables.len(), all, "the settings of a table stand together");
}

#[test]
fn the_words_of_the_table_are_those_that_are_understood() {
    let wrong = |key: &str, word: &str| {
        let (table, name) = key.rsplit_once('.').unwrap_or_default();
        let text = if table.is_empty() { format!("{key} = '{word}'") } else { format!("[{table}]\n{name} = '{word}'") };
        let merged = Merged::of([&layer(&text)]);
        let errors = merged.intent().err().into_iter().chain(merged.repair().err());
        let all: Vec<String> = errors.map(failure).collect();
        let named = format!("{key} is `{word}`");
        all.into_iter().find(|text| text.contains(&named))
    };
    for setting in schema::SETTINGS {
        let Kind::Choice(words) = setting.kind else { continue };
        for word in words {
            assert_eq!(wrong(setting.key, word), None);
        }
        let refused = wrong(setting.key, "nonsense").unwrap();
        let quoted: Vec<String> = words.iter().map(|word| format!("role = \"{word}\"")).collect();
        let listed = [crate::words::either(words), quoted.join(" or ")];
        assert!(listed.iter().any(|list| refused.contains(&format!("write {list}"))), "{refused}");
    }
}

#[test]
fn unknown_names_are_refused_with_a_suggestion_across_tables() {
    for (typed, meant) in [
        ("token", "manager.token"),
        ("server_id", "agent.server_id"),
        ("manager.server_id", "agent.server_id"),
        ("manager.adress", "manager.address"),
        ("agnet.address", "agent.address"),
        ("managr", "manager"),
        ("digest", "release.sha256"),
        ("release.url", "release.urls"),
        ("manager-hostname", "manager.address"),
        ("public_hostname", "agent.address"),
        ("ROLE", "role"),
    ] {
        assert_eq!(suggest::key(typed).as_deref(), Some(meant), "{typed}");
    }
    assert_eq!(suggest::key("something_else_entirely"), None);
    assert_eq!(suggest::variable("KASM_BOOTSTRAP_TOKEN").as_deref(), Some("KASM_BOOTSTRAP_MANAGER_TOKEN"));
    assert_eq!(suggest::variable("KASM_BOOTSTRAP_ROL").as_deref(), Some("KASM_BOOTSTRAP_ROLE"));
    insta::assert_snapshot!(failure(Error::of(layer("token = \"hunter2hunter2\"").errors).unwrap()), @"
    error: /etc/kasm-bootstrap/config.toml:1: there is no setting `token` [config.unknown-key]
    help: did you mean `manager.token`?
    ");
    insta::assert_snapshot!(failure(Error::of(layer("force = true").errors).unwrap()), @"
    error: /etc/kasm-bootstrap/config.toml:1: `force` can only be given as the flag --force [config.flag-only]
    help: remove it, and give --force to the one run that needs it
    ");
}

#[test]
fn what_is_not_toml_is_refused_with_its_place_and_without_its_text() {
    insta::assert_snapshot!(failure(Error::of(layer("role = \"agent\"\n[manager]\ntoken = \"hunter2\" x").errors).unwrap()), @"
    error: /etc/kasm-bootstrap/config.toml:3:19: unexpected key or value, expected newline, `#` [config.syntax]
    help: correct the line; `kasm-bootstrap config example` shows a complete file
    ");
    insta::assert_snapshot!(failure(Error::of(layer("[manager]\naddress = {upstream_auth_address}").errors).unwrap()), @r#"
    error: /etc/kasm-bootstrap/config.toml:2:33: invalid literal string, expected `'` [config.syntax]
    help: put template variables in quotes: address = "{upstream_auth_address}"
    "#);
    insta::assert_snapshot!(failure(Error::of(layer("role = 'agent'\nrole = 'guac'").errors).unwrap()), @"
    error: /etc/kasm-bootstrap/config.toml:2:1: duplicate key [config.syntax]
    help: correct the line; `kasm-bootstrap config example` shows a complete file
    ");
    let bytes = b"role = \"agent\"\n# \xc3\xa9 \xff";
    insta::assert_snapshot!(failure(Error::of(file::layer_from_bytes(Path::new("/x"), bytes).errors).unwrap()), @"
    error: /x:2:5 is not UTF-8 text [config.not-utf8]
    help: save it as UTF-8
    ");
}

#[test]
fn values_of_the_wrong_type_are_refused() {
    let text = "role = 5\nmanager = 'x'\nproxy_port = 4.3\n[release]\nurls = [1]\nversion = 1.19\n\
                [network]\ninsecure = 1\n[agent.address]\nx = 1";
    insta::assert_snapshot!(failure(Error::of(layer(text).errors).unwrap()), @"
    error: 7 things are wrong with the configuration [config.several]
      because: /etc/kasm-bootstrap/config.toml:1: role must be a text in quotes, not a number [config.type]
               correct it; `kasm-bootstrap config example` shows every setting
      because: /etc/kasm-bootstrap/config.toml:2: manager must be a table, not a text [config.type]
               correct it; `kasm-bootstrap config example` shows every setting
      because: /etc/kasm-bootstrap/config.toml:3: proxy_port must be a number, not a number with a point [config.type]
               correct it; `kasm-bootstrap config example` shows every setting
      because: /etc/kasm-bootstrap/config.toml:5: release.urls must be a list of texts, not a list of other things [config.type]
               correct it; `kasm-bootstrap config example` shows every setting
      because: /etc/kasm-bootstrap/config.toml:6: release.version must be a text in quotes, not a number with a point [config.type]
               correct it; `kasm-bootstrap config example` shows every setting
      because: /etc/kasm-bootstrap/config.toml:8: network.insecure must be true or false, not a number [config.type]
               correct it; `kasm-bootstrap config example` shows every setting
      because: /etc/kasm-bootstrap/config.toml:9: agent.address must be a text in quotes, not a table [config.type]
               correct it; `kasm-bootstrap config example` shows every setting
    help: correct each of them, then try again with `kasm-bootstrap config check`
    ");
}

#[test]
fn a_file_full_of_nonsense_is_given_up_after_a_while() {
    let text: String = (0..5000).map(|number| format!("nonsense{number} = 1\n")).collect();
    assert_eq!(layer(&text).errors.len(), 20);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn one_slip_of_the_finger_gets_a_suggestion(
        index in 0..schema::SETTINGS.len(), at in any::<prop::sample::Index>(), edit in 0..4, letter in "[a-z_]",
    ) {
        let setting = &schema::SETTINGS[index];
        prop_assume!(!setting.flag_only);
        let mut typed: Vec<char> = setting.key.chars().collect();
        let at = at.index(typed.len());
        let letter = letter.chars().next().unwrap();
        match edit {
            0 => { typed.remove(at); }
            1 => typed.insert(at, letter),
            2 => typed[at] = letter,
            _ => if at > 0 { typed.swap(at - 1, at) },
        }
        let typed: String = typed.into_iter().collect();
        prop_assume!(schema::find(&typed).is_none());
        prop_assert!(suggest::key(&typed).is_some(), "{}", typed);
        let (table, rest) = typed.split_once('.').unwrap_or((&typed, ""));
        if !rest.is_empty() && !schema::tables().contains(&table) {
            prop_assert!(suggest::key(table).is_some(), "{}", table);
        }
    }

    #[test]
    fn any_name_can_be_asked_about(typed in "\\PC{0,120}") {
        if let Some(key) = suggest::key(&typed) {
            prop_assert!(schema::find(&key).is_some() || schema::tables().contains(&key.as_str()));
        }
        suggest::variable(&format!("KASM_BOOTSTRAP_{typed}"));
    }
}
