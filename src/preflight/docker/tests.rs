use super::*;
use proptest::prelude::*;

#[test]
fn versions_are_read_as_docker_and_distributions_write_them() {
    let cases = [
        ("27.5.1", Some((27, 5, 1))),
        ("v2.5.0\n", Some((2, 5, 0))),
        ("20.10.24+dfsg1", Some((20, 10, 24))),
        ("29.0.0-rc.1", Some((29, 0, 0))),
        ("5", Some((5, 0, 0))),
        ("dev", None),
        ("", None),
        ("99999999999.1", None),
    ];
    for (text, expected) in cases {
        assert_eq!(version(text), expected, "{text}");
    }
}

#[test]
fn a_docker_older_than_kasm_asks_for_is_warned_of() {
    assert_eq!(judge_version("25.0.5").word(), "pass");
    assert_eq!(judge_version("no version").word(), "broken");
    let Verdict::Warn { detail, .. } = judge_version("20.10.24+dfsg1") else { panic!() };
    insta::assert_snapshot!(detail, @"Docker 20.10.24+dfsg1 is older than 25.0.5, which Kasm from 1.17 on asks for");
}

#[test]
fn the_compose_that_docker_29_refuses_fails_and_any_other_passes() {
    let there = |text: &str| Compose::There(Some(text.into()));
    let judge = |compose: &Compose, engine| judge_compose(compose, Some(engine), "apt-get install -y");
    let table = [
        (there("v2.5.0"), (29, 0, 0), "fail"),
        (there("2.5.0"), (28, 5, 2), "pass"),
        (there("2.40.3"), (29, 1, 0), "pass"),
        (there("5.0.0"), (29, 1, 0), "pass"),
        (there("what"), (29, 1, 0), "broken"),
        (Compose::There(None), (29, 1, 0), "pass"),
        (Compose::Missing, (29, 1, 0), "fail"),
        (Compose::Missing, (27, 5, 1), "warn"),
    ];
    for (compose, engine, word) in table {
        assert_eq!(judge(&compose, engine).word(), word, "{compose:?} {engine:?}");
    }
    let Verdict::Fail { detail, remedy, reason, .. } = judge(&there("2.5.0"), (29, 1, 0)) else { panic!() };
    insta::assert_snapshot!(format!("{detail} [{reason}]\n{remedy}"), @"
    compose 2.5.0 is too old for this Docker, which refuses it [preflight.compose]
    apt-get install -y docker-compose-plugin, and remove the old one from the directories that `docker info` names
    ");
}

fn asked(script: &str) -> io::Result<Compose> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(short_version(Command::new("sh").args(["-c", script])))
}

#[test]
fn the_first_line_is_the_version_and_a_program_that_fails_has_no_compose() {
    assert_eq!(asked("echo v2.29.7; echo more").unwrap(), Compose::There(Some("v2.29.7".into())));
    assert_eq!(asked("echo usage; exit 125").unwrap(), Compose::Missing);
    assert_eq!(asked("true").unwrap(), Compose::There(None));
    // A flood is cut, and the program ends with it.
    assert_eq!(asked("yes").unwrap(), Compose::Missing);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_makes_the_reader_of_versions_panic(text in "\\PC{0,30}") {
        version(&text);
    }

    #[test]
    fn what_is_written_as_a_version_is_read_back(a in any::<u32>(), b in any::<u32>(), c in any::<u32>()) {
        prop_assert_eq!(version(&format!("v{a}.{b}.{c}-x")), Some((a, b, c)));
    }
}
