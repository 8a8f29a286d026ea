//! Which of many findings are causes, and what follows from them. Pure.

use super::super::token::list::List;
use crate::error::{Exit, Failure};
use crate::health::{Health, Level, ProbeStatus, Verdict};
use crate::kasm::held;
use crate::paths::Paths;
use crate::preflight::{self, CheckResult};
use crate::token::Kind;
use serde::Serialize;

/// Who found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The probes of `health`.
    Health,
    /// `token list`.
    Tokens,
    /// The checks of `preflight`.
    Preflight,
}

/// One answer to one question.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The question's name.
    pub name: String,
    /// Who found it.
    pub source: Source,
    /// In one sentence.
    pub words: String,
    /// What to do.
    pub remedy: Option<String>,
    /// The stable reason code, where it has one.
    pub reason: Option<String>,
    /// Since when it is so, where somebody has watched.
    #[serde(skip)]
    pub since: Option<String>,
    /// What it means.
    #[serde(skip)]
    pub level: Level,
    /// How `doctor` ends where this is the first cause.
    #[serde(skip)]
    pub exit: Exit,
    /// How a run would have ended for it.
    #[serde(skip)]
    class: Option<Exit>,
}

/// A finding that nothing else explains.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cause {
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
    /// The names of what follows from it.
    pub consequences: Vec<String>,
}

/// All findings in their order.
#[derive(Debug, Default)]
pub struct Diagnosis {
    /// What is wrong, the deepest cause first.
    pub causes: Vec<Cause>,
    /// What somebody should look at.
    pub warnings: Vec<Cause>,
    /// What could not be found out, and follows from nothing.
    pub unknown: Vec<Finding>,
    /// How many are as they should be.
    pub well: usize,
}

/// Names that ask one and the same thing, and what follows where it is not well. `even`: also where it only warns.
struct Topic {
    asked: &'static [&'static str],
    leads_to: &'static [&'static str],
    even: bool,
}

const fn topic(asked: &'static [&'static str], leads_to: &'static [&'static str]) -> Topic {
    Topic { asked, leads_to, even: false }
}

/// From the deepest to what only follows. After a colon: what the words of the consequence must say.
const TOPICS: &[Topic] = &[
    Topic { even: true, ..topic(&["root"], &["configuration", "docker", "containers", "kasm", "tokens"]) },
    topic(&["configuration"], &["kasm", "last-run: configuration"]),
    topic(&["disk", "disk-state", "disk-kasm", "disk-docker"], &["docker", "containers", "restarts", "component"]),
    topic(&["clock"], &["manager-tls", "manager-certificate", "tokens", "token-expiry"]),
    topic(&[OTHERS], &[]),
    topic(&["docker"], &["compose", "sidecar", "rclone", "docker-version", "containers", "restarts", "component"]),
    topic(&["compose"], &["containers", "restarts", "component"]),
    topic(&["ports"], &["containers: kasm_proxy", "restarts: kasm_proxy", "component"]),
    Topic { even: true, ..topic(&["sidecar"], &["containers: kasm_proxy", "restarts: kasm_proxy", "component"]) },
    topic(&["kasm"], &["containers", "restarts", "tokens", "token-expiry", "upstream-address", "component"]),
    topic(&["upstream-address"], &["manager-name", "manager-tcp", "manager", "manager-certificate"]),
    topic(
        &["manager-name"],
        &[
            "proxy",
            "manager-tcp",
            "manager-tls",
            "manager",
            "manager-certificate",
            "address",
            "clock",
            NOT_REGISTERED,
            "release-mirror: no answer from name server",
        ],
    ),
    topic(
        &["proxy"],
        &["manager-tcp", "manager-tls", "manager", "manager-certificate", NOT_REGISTERED, "release-mirror: the proxy "],
    ),
    topic(&["release-mirror"], &[]),
    topic(&["manager-tcp"], &["manager-tls", "manager", "manager-certificate", "clock"]),
    topic(&["manager-tls"], &["manager", "manager-certificate"]),
    topic(&["manager", "manager-health"], &["manager-certificate", NOT_REGISTERED]),
    topic(&["tokens", "auth-tokens"], &["containers", "restarts", "component", "token-expiry"]),
    topic(&["containers"], &["restarts", "component"]),
    topic(&["restarts"], &["component"]),
    topic(&["last-run"], &[]),
];

/// Where a name stands that the table does not have: the machine itself.
const OTHERS: &str = "others";
/// A component that cannot reach its manager cannot register with it.
const NOT_REGISTERED: &str = "tokens: has not registered";

fn rank(name: &str) -> usize {
    let at = |name| TOPICS.iter().position(|topic| topic.asked.contains(&name));
    at(name).or_else(|| at(OTHERS)).unwrap_or_default()
}

/// True if both names ask the same thing.
fn is_same(one: &str, other: &str) -> bool {
    one == other || TOPICS.iter().any(|topic| topic.asked.contains(&one) && topic.asked.contains(&other))
}

/// True if `finding` follows at once from something wrong with `name`.
fn leads_to(name: &str, finding: &Finding) -> bool {
    let Some(topic) = TOPICS.iter().find(|topic| topic.asked.contains(&name)) else { return false };
    topic.leads_to.iter().any(|link| {
        let (to, words) = link.split_once(": ").unwrap_or((link, ""));
        is_same(to, &finding.name) && finding.words.contains(words)
    })
}

impl Finding {
    fn new(source: Source, name: &str, level: Level, words: impl Into<String>, remedy: Option<String>) -> Finding {
        let exit = match source {
            Source::Preflight => Exit::Preflight,
            _ if is_same(name, "tokens") => Exit::Token,
            _ if name == "configuration" => Exit::Configuration,
            _ => Exit::Unhealthy,
        };
        let (name, words) = (name.to_owned(), words.into());
        Finding { name, source, words, remedy, reason: None, since: None, level, exit, class: None }
    }

    /// What a probe has found; `failure`: what it tells of.
    pub fn of_probe(probe: &ProbeStatus, failure: Option<&Failure>) -> Finding {
        let mut finding =
            Finding::new(Source::Health, &probe.name, probe.level, probe.words.clone(), probe.remedy.clone());
        finding.reason = failure.map(|failure| failure.reason.clone());
        finding.since = super::health::lasting(probe);
        finding
    }

    /// What a check has found; nothing where it was not made.
    pub fn of_check(result: &CheckResult) -> Option<Finding> {
        let level = match &result.verdict {
            preflight::Verdict::Pass(_) => Level::Ok,
            // Whoever looks need not be root; what cannot be seen then follows from it.
            _ if result.name == "root" && result.verdict.word() == "fail" => Level::Warn,
            preflight::Verdict::Warn { .. } => Level::Warn,
            preflight::Verdict::Fail { .. } => Level::Fail,
            preflight::Verdict::Broken { .. } => Level::Unknown,
            preflight::Verdict::Skipped(_) => return None,
        };
        let remedy = result.verdict.remedy().map(str::to_owned);
        let mut finding = Finding::new(Source::Preflight, result.name, level, result.verdict.detail(), remedy);
        if let preflight::Verdict::Fail { reason, exit, .. } = &result.verdict {
            finding.reason = Some((*reason).to_owned());
            finding.class = Some(*exit);
        }
        Some(finding)
    }

    /// What is said of the token that a machine is to be installed with.
    pub fn of_token(judged: Result<(), Failure>) -> Finding {
        match judged {
            Ok(()) => Finding::new(Source::Tokens, "tokens", Level::Ok, "", None),
            Err(failure) => {
                let mut finding =
                    Finding::new(Source::Tokens, "tokens", Level::Fail, &failure.message, Some(failure.help.clone()));
                (finding.class, finding.reason) = (Some(failure.exit()), Some(failure.reason));
                finding
            }
        }
    }

    /// What the list of tokens says.
    pub fn of_tokens(list: Result<&List, &Failure>, paths: &Paths) -> Option<Finding> {
        let list = match list {
            Ok(list) => list,
            Err(failure) => return Some(Finding::of_token(Err(failure.clone()))),
        };
        let is_bad = |one: &&held::Held| !one.verdict.is_good() && one.verdict.accepted().is_none();
        let mut bad: Vec<&held::Held> = list.held.iter().filter(is_bad).collect();
        // What is left of a registration token keeps nobody from working.
        bad.sort_by_key(|one| one.kind == Kind::Registration);
        let Some(first) = bad.first() else {
            return Some(Finding::of_token(Ok(())));
        };
        let level = if first.kind == Kind::Registration { Level::Warn } else { Level::Fail };
        let words = format!("the {} of {} is no good: {}", first.kind, first.container, first.describe(paths));
        let mut finding = Finding::new(Source::Tokens, "tokens", level, words, list.remedies().into_iter().next());
        finding.reason = first.verdict.reason().map(str::to_owned);
        Some(finding)
    }

    /// What to do, and where there is more to read.
    pub fn help(&self) -> Option<String> {
        let more = self.reason.as_ref().map(|reason| format!("`kasm-bootstrap explain {reason}` says more"));
        match (&self.remedy, more) {
            (Some(remedy), Some(more)) => Some(format!("{remedy}; {more}")),
            (remedy, more) => remedy.clone().or(more),
        }
    }
}

/// Where nothing is known to be wrong, and yet the node is not known to be well, that is what is wrong.
pub fn not_known(findings: &mut [Finding], health: &Health) {
    if health.verdict == Verdict::Starting && health.words.contains("--no-start") {
        return;
    }
    if findings.iter().any(|finding| finding.level == Level::Fail) {
        return;
    }
    if let Some(first) =
        findings.iter_mut().find(|one| one.level == Level::Unknown && health.words.contains(&one.words))
    {
        first.level = Level::Fail;
        first.remedy = Some("`kasm-bootstrap doctor -v` shows what was asked; ask as root (sudo)".into());
    }
}

/// Finds the causes. Of several who ask the same, the first of those who take it worst is heard. `last`: why the last
/// run failed.
pub fn diagnose(findings: Vec<Finding>, last: Option<&Failure>) -> Diagnosis {
    let mut diagnosis = Diagnosis::default();
    let mut open: Vec<Finding> = Vec::new();
    for finding in findings {
        if finding.level == Level::Ok {
            diagnosis.well += 1;
            continue;
        }
        // What one and the same remedy mends has one cause.
        let is_told = |known: &&mut Finding| {
            is_same(&known.name, &finding.name)
                && (known.source != finding.source || (known.level == finding.level && known.remedy == finding.remedy))
        };
        match open.iter_mut().find(is_told) {
            Some(known) if finding.level > known.level => *known = finding,
            Some(known) => known.reason = known.reason.take().or(finding.reason),
            None => open.push(finding),
        }
    }
    open.sort_by_key(|finding| rank(&finding.name));
    let class = last.map(Failure::exit);
    while let Some(at) = next(&open) {
        let finding = open.remove(at);
        let mut consequences = Vec::new();
        let mut names = vec![finding.name.clone()];
        while let Some(name) = names.pop() {
            open.retain(|other| {
                let is_last = other.name == "last-run" && finding.class.is_some() && finding.class == class;
                let follows = leads_to(&name, other) || is_last || is_mended_by(&finding, other);
                if follows {
                    names.push(other.name.clone());
                    consequences.push(other.name.clone());
                }
                !follows
            });
        }
        diagnosis.causes.push(Cause { finding, consequences });
    }
    for finding in open {
        match finding.level {
            Level::Warn => diagnosis.warnings.push(Cause { finding, consequences: Vec::new() }),
            _ => diagnosis.unknown.push(finding),
        }
    }
    diagnosis
}

fn is_mended_by(cause: &Finding, other: &Finding) -> bool {
    other.level == Level::Fail && cause.remedy.is_some() && cause.remedy == other.remedy
}

/// The deepest cause of those that are left: what fails, or what warns and something fails for it.
fn next(open: &[Finding]) -> Option<usize> {
    let has_failed =
        |finding: &Finding| open.iter().any(|one| one.level == Level::Fail && leads_to(&finding.name, one));
    let even = |name: &str| TOPICS.iter().any(|topic| topic.even && topic.asked.contains(&name));
    open.iter().position(|one| match one.level {
        Level::Fail => true,
        Level::Warn => even(&one.name) && has_failed(one),
        _ => false,
    })
}

#[cfg(test)]
mod tests;
