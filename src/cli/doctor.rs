//! `kasm-bootstrap doctor`: preflight, health and tokens in one screen, causes first.

mod causes;

use super::kasm_flags::KasmFlags;
use super::screen::{self, Row, Told};
use super::token::list::List;
use super::{Global, answer::Answer, health, preflight as checks};
use crate::config::{self, Merged};
use crate::error::{Exit, Failure};
use crate::flow::install::judge_token;
use crate::health::{Health, Level, Verdict};
use crate::kasm::layout::Installed;
use crate::machine::facts::Facts;
use crate::preflight;
use crate::words;
use causes::{Cause, Diagnosis, Finding};
use serde_json::{Value, json};

/// The form of the JSON answer.
const SCHEMA: u32 = 1;
/// What preflight asks and health does not, and what matters where Kasm is installed: its other checks are about an
/// installation that lies ahead.
const OF_A_NODE: [&str; 3] = ["root", "ports", "compose"];
/// What health asks and preflight does not, where Kasm is not installed.
const OF_A_MACHINE: [&str; 3] = ["configuration", "last-run", "reboot-required"];

/// Flags of `doctor`: none of its own.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

const EXAMPLES: &str = "\
Asks what preflight, health and token list ask, side by side; it changes
nothing. Causes come first, the deepest one on top, each with its remedy and with
what follows from it. Ends with 0 if nothing is wrong (warnings are allowed), else
by the first cause: 10 the configuration, 11 a token, 12 a check of preflight,
19 whatever else health says.

Examples:
  kasm-bootstrap doctor           What is wrong here, and what to do about it?
  kasm-bootstrap doctor -v        The same, and every line of the three
  kasm-bootstrap doctor --json    For programs";

/// Runs the command.
pub async fn run(global: &Global, _: Args) -> Result<Answer, Failure> {
    let paths = global.paths();
    let installed = Installed::read(&paths);
    // A link that leads nowhere is a node that has lost its Kasm.
    let is_node = installed.is_some() || paths.kasm_current().symlink_metadata().is_ok();
    let loaded = KasmFlags::default().load(global);
    // What is not installed yet has no token but the one that is configured.
    let intent = loaded.as_ref().ok().filter(|_| !is_node).and_then(|loaded| loaded.merged.intent().ok());
    let (mut asked, known) = health::context(&paths, loaded);
    let mut all = preflight::checks();
    let context = if is_node {
        all.retain(|check| OF_A_NODE.contains(&check.name));
        // What is installed counts, whatever is configured.
        let layer = installed.as_ref().and_then(|installed| config::installed::layer(&paths, installed).ok());
        let mut context = preflight::Context::new(paths.clone(), Facts::gather(&paths));
        if let Some(known) = layer.and_then(|layer| Merged::of([&layer]).known().ok()) {
            (context.role, context.proxy_port) = (known.role, known.proxy_port);
        }
        context
    } else {
        if let Some(known) = &known {
            asked.configuration = preflight::known(&known.skip).err().or(asked.configuration);
        }
        match known {
            Some(known) => checks::context(paths.clone(), known),
            None => preflight::Context::new(paths.clone(), Facts::gather(&paths)),
        }
    };
    let tokens = async { installed.is_some().then(|| List::read(paths.clone(), None)) };
    let (health, report, tokens) = tokio::join!(health::ask(&asked), preflight::run(&all, &context), tokens);

    let mut findings = Vec::new();
    let of_health = health.probes.iter().filter(|probe| is_node || OF_A_MACHINE.contains(&probe.name.as_str()));
    findings.extend(of_health.map(|probe| {
        let failure = match probe.name.as_str() {
            "configuration" => asked.configuration.as_ref(),
            "last-run" => asked.last_failure.as_ref(),
            _ => None,
        };
        Finding::of_probe(probe, failure.filter(|_| probe.level > Level::Unknown))
    }));
    findings.extend(tokens.iter().filter_map(|list| Finding::of_tokens(list.as_ref(), &paths)));
    findings
        .extend(intent.map(|intent| Finding::of_token(judge_token(&intent, None).map(drop).map_err(Failure::from))));
    findings.extend(report.results.iter().filter_map(Finding::of_check));
    if is_node && health.verdict != Verdict::Healthy {
        causes::not_known(&mut findings, &health);
    }
    let diagnosis = causes::diagnose(findings, asked.last_failure.as_ref());
    let verdict = match (is_node, health.verdict) {
        (false, _) => "not-installed",
        (true, Verdict::Healthy) if !diagnosis.causes.is_empty() => Verdict::Degraded.as_str(),
        (true, verdict) => verdict.as_str(),
    };
    let head = head(installed.as_ref(), &health, verdict, diagnosis.causes.len());
    let (of_health, of_checks) = (health::answer(&health, true), checks::answer(&all, &report, None, true));
    let of_tokens = tokens.map(|list| list.map(|list| list.answer()));
    let mut text = screen(&head, &diagnosis);
    if global.verbose > 0 {
        let tokens = match &of_tokens {
            None => "Kasm is not installed here",
            Some(Ok(answer)) => &answer.text,
            Some(Err(failure)) => &failure.message,
        };
        text += &format!("\n\nhealth:\n{}\n\npreflight:\n{}\n\ntokens:\n{tokens}", of_health.text, of_checks.text);
    }
    let json = json!({
        "schema": SCHEMA,
        "verdict": verdict,
        "words": head,
        "causes": diagnosis.causes,
        "warnings": diagnosis.warnings,
        "preflight": of_checks.json,
        "health": of_health.json,
        "tokens": match of_tokens {
            None => Value::Null,
            Some(Ok(answer)) => answer.json,
            Some(Err(failure)) => json!({ "error": failure }),
        },
    });
    let exit = diagnosis.causes.first().map_or(Exit::Done, |cause| cause.finding.exit);
    Ok(Answer { exit, ..Answer::new(text, json) })
}

/// `Kasm 1.18.1, agent: degraded, for one cause`.
fn head(installed: Option<&Installed>, health: &Health, verdict: &str, causes: usize) -> String {
    let why = match causes {
        0 => None,
        1 => Some("for one cause".to_owned()),
        several => Some(format!("for {several} causes, the deepest first")),
    };
    if verdict == "not-installed" {
        return match why {
            None => "Kasm is not installed here; nothing stands in its way".into(),
            Some(why) => format!("Kasm is not installed here, {why}"),
        };
    }
    let version = installed.and_then(|installed| installed.version.as_deref()).map(|version| format!(" {version}"));
    let role = health.role.map(|role| format!(", {role}")).unwrap_or_default();
    let why = why.map(|why| format!(", {why}")).unwrap_or_default();
    words::one_line(&format!("Kasm{}{role}: {verdict}{why}", version.unwrap_or_default()))
}

/// For people: causes, warnings, what is not known, and that the rest is well.
fn screen(head: &str, diagnosis: &Diagnosis) -> String {
    let Diagnosis { causes, warnings, unknown, well } = diagnosis;
    let more = |cause: &Cause| {
        let mut more = Vec::new();
        more.extend(cause.finding.since.iter().map(|since| format!("since {since}")));
        more.extend(cause.finding.help().map(|help| format!("help: {help}")));
        if !cause.consequences.is_empty() {
            more.push(format!("follows from it: {}", cause.consequences.join(", ")));
        }
        more
    };
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (mark, list) in [("FAIL", causes), ("warn", warnings)] {
        for cause in list {
            rows.push(Row { mark, name: &cause.finding.name, words: &cause.finding.words, more: more(cause) });
        }
    }
    rows.extend(unknown.iter().map(|finding| Row {
        mark: "?",
        name: &finding.name,
        words: &finding.words,
        more: Vec::new(),
    }));
    let rest = if rows.is_empty() { "all" } else { "the other" };
    let well = format!("{rest} {well} things that were asked are well: -v names them");
    let mut lines = words::wrap(head, words::CONSOLE);
    lines.push(String::new());
    lines.extend(screen::lines(&rows, |row| if row.mark == "?" { Told::Together } else { Told::Whole }));
    lines.push(format!("{:<5} {well}", "ok"));
    lines.join("\n")
}
