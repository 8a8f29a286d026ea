//! What all probes together mean. Pure.

use super::model::{Level, ProbeStatus, Verdict};

/// A probe's standing, as it is judged.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// How it stands.
    pub status: &'a ProbeStatus,
    /// True if the node does not do what it is for while this fails.
    pub vital: bool,
}

/// The verdict, and why, in one sentence: what is worst, or what is up.
///
/// A vital probe that fails means that the node failed; another one, that it is degraded. Of a vital probe that does
/// not know, nothing is held against the node, but nobody can call it healthy. A warning changes no verdict.
pub fn judge(standings: &[Standing<'_>]) -> (Verdict, String) {
    let at = |level: Level, vital: Option<bool>| -> Vec<&ProbeStatus> {
        let wanted = |one: &&Standing<'_>| one.status.level == level && vital.is_none_or(|vital| vital == one.vital);
        standings.iter().filter(wanted).map(|one| one.status).collect()
    };
    if standings.is_empty() {
        return (Verdict::Starting, "nothing was asked yet".into());
    }
    let (vital, other) = (at(Level::Fail, Some(true)), at(Level::Fail, Some(false)));
    let failing: Vec<&ProbeStatus> = vital.iter().chain(&other).copied().collect();
    if let Some((worst, rest)) = failing.split_first() {
        let verdict = if vital.is_empty() { Verdict::Degraded } else { Verdict::Failed };
        return (verdict, format!("{}{}", worst.words, beside("also failing", rest)));
    }
    let unknown = at(Level::Unknown, Some(true));
    if let Some((first, rest)) = unknown.split_first() {
        let words = format!("{} is not known: {}{}", first.name, first.words, beside("not known either", rest));
        return (Verdict::Starting, words);
    }
    let warnings = at(Level::Warn, None);
    let words = match warnings.split_first() {
        None => "the node is up, and nothing is wrong".to_owned(),
        Some((first, rest)) => format!("the node is up, but {}{}", first.words, beside("also to be looked at", rest)),
    };
    (Verdict::Healthy, words)
}

fn beside(what: &str, others: &[&ProbeStatus]) -> String {
    let names: Vec<&str> = others.iter().map(|one| one.name.as_str()).collect();
    if names.is_empty() { String::new() } else { format!(" ({what}: {})", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn judged(probes: &[(&str, Level, bool)]) -> String {
        let statuses: Vec<ProbeStatus> = probes.iter().map(|(name, level, _)| status(name, *level)).collect();
        let standings: Vec<Standing<'_>> =
            statuses.iter().zip(probes).map(|(status, (.., vital))| Standing { status, vital: *vital }).collect();
        let (verdict, words) = judge(&standings);
        format!("{verdict}: {words}")
    }

    #[test]
    fn what_is_vital_decides_and_what_is_worst_is_named() {
        use Level::{Fail, Ok, Unknown, Warn};
        let lines = [
            judged(&[]),
            judged(&[("a", Ok, true), ("b", Ok, false)]),
            judged(&[("a", Ok, true), ("b", Warn, false), ("c", Warn, true)]),
            judged(&[("a", Ok, true), ("b", Unknown, false)]),
            judged(&[("a", Unknown, true), ("b", Warn, false), ("c", Unknown, true)]),
            judged(&[("a", Unknown, true), ("b", Fail, false)]),
            judged(&[("a", Fail, false), ("b", Fail, true), ("c", Fail, false)]),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r"
        starting: nothing was asked yet
        healthy: the node is up, and nothing is wrong
        healthy: the node is up, but words of b (also to be looked at: c)
        healthy: the node is up, and nothing is wrong
        starting: a is not known: words of a (not known either: c)
        degraded: words of b
        failed: words of b (also failing: a, c)
        ");
    }
}
