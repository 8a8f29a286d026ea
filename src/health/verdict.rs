//! What all probes together mean. Pure.

use super::model::{Level, ProbeStatus, Verdict};

/// A probe as it is judged.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// How it stands.
    pub status: &'a ProbeStatus,
    /// True if the node does not do what it is for while this fails.
    pub vital: bool,
}

/// What the verdict depends on beside the probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// False if nothing was to be started (`--no-start`).
    pub started: bool,
    /// The verdict before; nothing where there was none, or where nobody has watched the node.
    pub was: Option<Verdict>,
    /// A vital probe has failed for so long that it does not look as if it would pass.
    pub lasting: bool,
}

/// The verdict, and why, in one sentence: what is worst, or what is up.
///
/// - **failed**: a vital probe fails, and stays like that; or it does, and nobody has seen the node up.
/// - **degraded**: a vital probe fails on a node that was up, or warns; or another one fails.
/// - **starting**: the vital probes have not all answered yet, or the node is still given time to come up.
/// - **healthy**: else. A warning of a probe that is not vital is said and changes no verdict.
///
/// Nothing is held against the node where a vital probe does not know: then it stays what it was.
pub fn judge(standings: &[Standing<'_>], past: Past) -> (Verdict, String) {
    if !past.started {
        return (Verdict::Starting, "installed; nothing was to be started (--no-start)".into());
    }
    if standings.is_empty() {
        return (Verdict::Starting, "nothing was asked yet".into());
    }
    let at = |level: Level, vital: bool| -> Vec<&ProbeStatus> {
        let wanted = |one: &&Standing<'_>| one.status.level == level && one.vital == vital;
        standings.iter().filter(wanted).map(|one| one.status).collect()
    };
    let (vital, other, doubtful) = (at(Level::Fail, true), at(Level::Fail, false), at(Level::Warn, true));
    let wrong = [vital.as_slice(), &other, &doubtful].concat();
    let unknown = at(Level::Unknown, true);
    if !vital.is_empty() {
        let verdict = match past.was {
            _ if past.lasting => Verdict::Failed,
            Some(Verdict::Healthy | Verdict::Degraded) => Verdict::Degraded,
            Some(Verdict::Starting) => Verdict::Starting,
            Some(Verdict::Failed) | None => Verdict::Failed,
        };
        return (verdict, led(&wrong));
    }
    if let Some(first) = unknown.first() {
        let words = match wrong.is_empty() {
            true => format!("{} is not known: {}", first.name, first.words),
            false => led(&wrong),
        };
        let verdict = match past.was {
            None | Some(Verdict::Starting) => Verdict::Starting,
            Some(Verdict::Healthy) if !wrong.is_empty() => Verdict::Degraded,
            Some(was) => was,
        };
        return (verdict, words);
    }
    if !wrong.is_empty() {
        return (Verdict::Degraded, led(&wrong));
    }
    let up = standings.iter().find(|one| one.vital).map_or("nothing is wrong", |one| &one.status.words);
    let warnings = at(Level::Warn, false);
    let but = if warnings.is_empty() { String::new() } else { format!("; but {}", led(&warnings)) };
    (Verdict::Healthy, format!("{up}{but}"))
}

/// The words of the first, and the names of the others.
fn led(statuses: &[&ProbeStatus]) -> String {
    let Some((first, others)) = statuses.split_first() else { return String::new() };
    let names: Vec<&str> = others.iter().map(|one| one.name.as_str()).collect();
    let others = if names.is_empty() { String::new() } else { format!(" (also: {})", names.join(", ")) };
    format!("{}{others}", first.words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn status(name: &str, level: Level) -> ProbeStatus {
        ProbeStatus {
            name: name.into(),
            level,
            words: format!("words of {name}"),
            since: String::new(),
            remedy: None,
            checked: String::new(),
            took_ms: 0,
            measures: Vec::new(),
        }
    }

    const PAST: Past = Past { started: true, was: Some(Verdict::Healthy), lasting: false };

    fn judged(past: Past, probes: &[(Level, bool)]) -> (Verdict, String) {
        let names = ["a", "b", "c", "d", "e", "f"];
        let statuses: Vec<ProbeStatus> =
            probes.iter().zip(names).map(|((level, _), name)| status(name, *level)).collect();
        let pairs = statuses.iter().zip(probes);
        let standings: Vec<_> = pairs.map(|(status, (_, vital))| Standing { status, vital: *vital }).collect();
        judge(&standings, past)
    }

    fn said(was: Option<Verdict>, probes: &[(Level, bool)]) -> String {
        let (verdict, words) = judged(Past { was, ..PAST }, probes);
        let was = was.map_or("nothing", Verdict::as_str);
        format!("{was:<8} -> {verdict}: {words}")
    }

    #[test]
    fn what_is_vital_decides_and_what_is_worst_is_named() {
        use Level::{Fail, Ok, Unknown, Warn};
        let up = Some(Verdict::Healthy);
        let lines = [
            said(None, &[]),
            said(None, &[(Ok, true), (Ok, false)]),
            said(None, &[(Ok, true), (Warn, false), (Warn, false)]),
            said(None, &[(Ok, true), (Unknown, false)]),
            said(None, &[(Unknown, true), (Fail, false)]),
            said(None, &[(Fail, true)]),
            said(Some(Verdict::Starting), &[(Fail, true), (Ok, true)]),
            said(Some(Verdict::Starting), &[(Ok, true), (Ok, true)]),
            said(up, &[(Ok, true), (Warn, true), (Fail, false)]),
            said(up, &[(Fail, false), (Fail, true), (Fail, false)]),
            said(up, &[(Unknown, true), (Ok, false)]),
            said(up, &[(Unknown, true), (Fail, false)]),
            said(Some(Verdict::Failed), &[(Unknown, true), (Ok, false)]),
            said(Some(Verdict::Failed), &[(Fail, true)]),
            said(Some(Verdict::Failed), &[(Ok, true)]),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r"
        nothing  -> starting: nothing was asked yet
        nothing  -> healthy: words of a
        nothing  -> healthy: words of a; but words of b (also: c)
        nothing  -> healthy: words of a
        nothing  -> starting: words of b
        nothing  -> failed: words of a
        starting -> starting: words of a
        starting -> healthy: words of a
        healthy  -> degraded: words of c (also: b)
        healthy  -> degraded: words of b (also: a, c)
        healthy  -> healthy: a is not known: words of a
        healthy  -> degraded: words of b
        failed   -> failed: a is not known: words of a
        failed   -> failed: words of a
        failed   -> healthy: words of a
        ");
    }

    #[test]
    fn what_lasts_has_failed_and_what_was_not_started_is_not_up() {
        let lasting = Past { lasting: true, ..PAST };
        assert_eq!(judged(lasting, &[(Level::Fail, true)]).0, Verdict::Failed);
        // It lasts only while it is there.
        assert_eq!(judged(lasting, &[(Level::Ok, true)]).0, Verdict::Healthy);
        assert_eq!(judged(Past { started: false, ..PAST }, &[(Level::Ok, true)]).0, Verdict::Starting);
    }

    fn any_probe() -> impl Strategy<Value = (Level, bool)> {
        let level = prop_oneof![Just(Level::Ok), Just(Level::Unknown), Just(Level::Warn), Just(Level::Fail)];
        (level, any::<bool>())
    }

    fn any_past() -> impl Strategy<Value = Past> {
        let verdicts = [Verdict::Starting, Verdict::Healthy, Verdict::Degraded, Verdict::Failed];
        let was = proptest::option::of(proptest::sample::select(verdicts.to_vec()));
        (was, any::<bool>()).prop_map(|(was, lasting)| Past { started: true, was, lasting })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn a_node_is_healthy_only_where_nothing_fails_and_failed_only_where_something_vital_does_or_did(
            past in any_past(), probes in vec(any_probe(), 1..6)
        ) {
            let (verdict, words) = judged(past, &probes);
            prop_assert!(!words.is_empty());
            if verdict == Verdict::Healthy {
                prop_assert!(probes.iter().all(|(level, _)| *level != Level::Fail));
            }
            if verdict == Verdict::Failed {
                let vital = probes.iter().any(|(level, vital)| *vital && *level == Level::Fail);
                let unknown = probes.iter().any(|(level, vital)| *vital && *level == Level::Unknown);
                prop_assert!(vital || (unknown && past.was == Some(Verdict::Failed)));
            }
        }

        #[test]
        fn silence_alone_never_makes_it_worse(past in any_past(), probes in vec(any_probe(), 1..6), at in 0usize..6) {
            let grade = |verdict: Verdict| match verdict {
                Verdict::Healthy => 0,
                Verdict::Starting => 1,
                Verdict::Degraded => 2,
                Verdict::Failed => 3,
            };
            let mut silent = probes.clone();
            let at = at % silent.len();
            silent[at].0 = Level::Unknown;
            let (was, is) = (judged(past, &probes).0, judged(past, &silent).0);
            // Where it was worse before, silence is no proof that it is better.
            let before = past.was.map_or(grade(Verdict::Starting), grade);
            prop_assert!(grade(is) <= grade(was).max(before), "{was} -> {is}");
        }
    }
}
