use super::*;
use crate::health::Measure;
use Level::{Fail, Unknown, Warn};
use proptest::collection::vec;
use proptest::prelude::*;

/// Not `Ok`, which is a result's.
const GOOD: Level = Level::Ok;

fn finding(level: Level, number: usize) -> Finding {
    let words = format!("{level} {number}");
    Finding { level, words, remedy: Some(format!("mend {number}")), measures: vec![Measure::new("n", number as f64)] }
}

/// How a probe stands after each of these findings, the moment being its number.
fn story(confirm: u32, findings: &[Level]) -> Vec<ProbeStatus> {
    let (mut memory, mut stood) = (Memory::default(), Vec::<ProbeStatus>::new());
    for (number, level) in findings.iter().enumerate() {
        let answer = Answer { finding: finding(*level, number), now: number.to_string(), took: Duration::ZERO };
        let status = after("p", confirm, stood.last(), &mut memory, answer);
        stood.push(status);
    }
    stood
}

fn levels(confirm: u32, findings: &[Level]) -> Vec<Level> {
    story(confirm, findings).iter().map(|status| status.level).collect()
}

#[test]
fn a_blip_is_no_alarm_and_what_stays_is_one() {
    assert_eq!(levels(3, &[GOOD, Fail, Fail, GOOD, Fail, Fail, Fail]), [GOOD, GOOD, GOOD, GOOD, GOOD, GOOD, Fail]);
    assert_eq!(levels(1, &[GOOD, Warn, GOOD, Fail, Warn]), [GOOD, Warn, GOOD, Fail, Warn]);
}

#[test]
fn what_gets_worse_by_and_by_is_what_all_of_the_row_say() {
    assert_eq!(levels(3, &[GOOD, Warn, Fail, Fail, Fail]), [GOOD, GOOD, GOOD, Warn, Fail]);
    assert_eq!(levels(2, &[GOOD, Fail, Warn, Fail, Fail]), [GOOD, GOOD, Warn, Warn, Fail]);
}

#[test]
fn better_is_believed_sooner_but_not_what_comes_and_goes() {
    assert_eq!((1..6).map(recover).collect::<Vec<_>>(), [1, 1, 2, 2, 2]);
    assert_eq!(
        levels(3, &[Fail, Fail, Fail, GOOD, Fail, GOOD, Fail, GOOD, GOOD])[2..],
        [Fail, Fail, Fail, Fail, Fail, Fail, GOOD]
    );
    assert_eq!(levels(3, &[Fail, Fail, Fail, Warn, GOOD, GOOD])[2..], [Fail, Fail, Warn, GOOD]);
    assert_eq!(levels(2, &[Fail, Fail, GOOD]), [Unknown, Fail, GOOD]);
}

#[test]
fn what_was_never_known_is_not_bad_before_it_is_confirmed() {
    assert_eq!(levels(2, &[Fail, Fail]), [Unknown, Fail]);
    assert_eq!(levels(2, &[Fail, GOOD]), [Unknown, GOOD]);
    assert_eq!(levels(2, &[Unknown, Unknown, GOOD]), [Unknown, Unknown, GOOD]);
}

#[test]
fn silence_is_passed_over_until_it_is_long_and_then_what_was_there_is_believed_at_once() {
    let silent = SILENCE as usize;
    let mut findings = vec![Fail, Fail];
    findings.extend(vec![Unknown; silent - 1]);
    assert_eq!(levels(2, &findings).last(), Some(&Fail));
    findings.push(Unknown);
    assert_eq!(levels(2, &findings).last(), Some(&Unknown));
    assert_eq!(levels(2, &[findings.clone(), vec![Fail]].concat()).last(), Some(&Fail));
    assert_eq!(levels(2, &[findings, vec![GOOD]].concat()).last(), Some(&GOOD));
    // A trouble that silence interrupts is still the same trouble.
    assert_eq!(levels(2, &[GOOD, Fail, Unknown, Fail]), [GOOD, GOOD, GOOD, Fail]);
}

#[test]
fn words_belong_to_the_level_and_numbers_to_the_moment() {
    let stood = story(2, &[GOOD, Fail, Unknown, Fail, Fail, GOOD]);
    let said: Vec<String> = stood
        .iter()
        .map(|status| {
            let numbers = status.measures.iter().map(|one| one.value.to_string()).collect::<String>();
            let ProbeStatus { level, words, since, remedy, checked, .. } = status;
            format!("{level} since {since}, at {checked}: {words}, {}, n={numbers}", remedy.as_deref().unwrap_or("-"))
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"), @r"
    ok since 0, at 0: ok 0, mend 0, n=0
    ok since 0, at 1: ok 0, mend 0, n=1
    ok since 0, at 2: ok 0, mend 0, n=1
    fail since 3, at 3: fail 3, mend 3, n=3
    fail since 3, at 4: fail 4, mend 4, n=4
    ok since 5, at 5: ok 5, mend 5, n=5
    ");
}

#[test]
fn doubt_is_where_the_last_finding_is_not_believed_yet() {
    let mut memory = Memory::default();
    assert!(!memory.is_in_doubt(Unknown));
    memory.add(Fail);
    assert!(memory.is_in_doubt(GOOD) && memory.is_in_doubt(Unknown) && !memory.is_in_doubt(Fail));
    memory.add(Unknown);
    assert!(!memory.is_in_doubt(GOOD), "silence is no reason to hurry");
    memory.add(GOOD);
    assert!(memory.is_in_doubt(Fail) && !memory.is_in_doubt(GOOD));
}

fn any_level() -> impl Strategy<Value = Level> {
    prop_oneof![Just(GOOD), Just(Unknown), Just(Warn), Just(Fail)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn it_gets_worse_only_by_a_row_that_is_as_bad(confirm in 1u32..5, findings in vec(any_level(), 1..40)) {
        let stood = levels(confirm, &findings);
        for at in 1..stood.len() {
            let (was, is) = (stood[at - 1], stood[at]);
            if is >= Warn && (was == GOOD || (was == Warn && is == Fail)) {
                let known: Vec<Level> = findings[..=at].iter().copied().filter(|level| *level != Unknown).collect();
                let row = known.iter().rev().take(confirm as usize);
                let confirmed = known.len() >= confirm as usize && row.clone().all(|level| *level >= is);
                prop_assert!(confirmed, "{at}: {stood:?}");
            }
        }
    }

    #[test]
    fn what_stays_the_same_is_believed_in_the_end(
        confirm in 1u32..6, findings in vec(any_level(), 0..30), last in any_level()
    ) {
        let enough = confirm.max(SILENCE) as usize;
        let findings = [findings, vec![last; enough]].concat();
        prop_assert_eq!(levels(confirm, &findings).pop(), Some(last));
    }

    #[test]
    fn short_silences_change_nothing(confirm in 1u32..5, findings in vec((any_level(), 0u32..SILENCE), 1..20)) {
        let known: Vec<(Level, u32)> = findings.into_iter().filter(|(level, _)| *level != Unknown).collect();
        let without: Vec<Level> = known.iter().map(|(level, _)| *level).collect();
        let mut with = Vec::new();
        for (level, silence) in &known {
            with.push(*level);
            with.extend(vec![Unknown; *silence as usize]);
        }
        prop_assert_eq!(levels(confirm, &without).pop(), levels(confirm, &with).pop());
    }

    #[test]
    fn since_changes_with_the_level_and_only_with_it(confirm in 1u32..5, findings in vec(any_level(), 1..40)) {
        let stood = story(confirm, &findings);
        for pair in stood.windows(2) {
            prop_assert_eq!(pair[0].level == pair[1].level, pair[0].since == pair[1].since);
        }
    }

    #[test]
    fn no_memory_from_a_file_is_a_panic(warn: i32, fail: i32, unknown: u32, level in any_level(), confirm: u32) {
        let mut memory = Memory { warn, fail, unknown };
        let answer = Answer { finding: finding(level, 0), now: String::new(), took: Duration::MAX };
        let before = story(1, &[level]);
        after("p", confirm, before.last(), &mut memory, answer);
        prop_assert!(memory.warn.abs() <= MOST.max(warn.saturating_abs()));
    }
}
