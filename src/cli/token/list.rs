//! `kasm-bootstrap token list`: every token the node holds, and what each is worth. Never a token.

use crate::cli::{Global, answer::Answer};
use crate::error::{Exit, Failure};
use crate::flow::repair::{self, Cure, Diagnosis, diagnose, purpose};
use crate::kasm::held::{Held, Verdict};
use crate::kasm::layout::Installed;
use crate::paths::Paths;
use crate::token::{self, Context, Error, Form, Kind, Refusal, Signature};
use crate::words;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The form of the JSON answer.
const SCHEMA: u32 = 1;

/// Flags of `token list`.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// End with 11 if some token is not good
    #[arg(long)]
    check: bool,
    /// Judge them as of this moment instead of now, for example 2026-01-31T12:00:00Z
    #[arg(long, value_name = "RFC3339")]
    at: Option<Timestamp>,
}

const EXAMPLES: &str = "\
Reads the configuration of what is installed, and asks nobody. No token is shown.

Examples:
  kasm-bootstrap token list                   What this node holds
  kasm-bootstrap token list --check           For scripts: 11 if one is not good
  kasm-bootstrap token list --at 2026-12-24T00:00:00Z
                                              What will have expired by then";

/// What an installed node holds, and what each is worth.
pub(in crate::cli) struct List {
    paths: Paths,
    installed: Installed,
    now: Timestamp,
    /// Every token.
    pub held: Vec<Held>,
    diagnoses: Vec<Diagnosis>,
}

/// Runs the command.
pub fn run(global: &Global, args: &Args) -> Result<Answer, Failure> {
    let list = List::read(global.paths(), args.at)?;
    let mut answer = list.answer();
    if args.check && list.bad() > 0 {
        answer.exit = Exit::Token;
    }
    Ok(answer)
}

impl List {
    /// Reads them, and judges them as of `at` or of now.
    pub(in crate::cli) fn read(paths: Paths, at: Option<Timestamp>) -> Result<List, Failure> {
        let installed = Installed::read(&paths).ok_or(repair::Error::NotInstalled)?;
        let now = at.unwrap_or_else(Timestamp::now);
        // Nothing lies ahead of these tokens but their work: no need of some minutes more makes one of them worse.
        let context = Context { is_assumed: at.is_some(), needed: std::time::Duration::ZERO, ..Context::at(now) };
        let held = repair::here(&paths, &installed, &context)?;
        if held.is_empty() {
            return Err(repair::Error::NoComponents.into());
        }
        Ok(List { diagnoses: diagnose(&held), paths, installed, now, held })
    }

    fn bad(&self) -> usize {
        self.held.iter().filter(|held| !held.verdict.is_good()).count()
    }

    /// The answer, without its exit code.
    pub(in crate::cli) fn answer(&self) -> Answer {
        let List { paths, installed, now, held, diagnoses } = self;
        let json = json!({
            "schema": SCHEMA,
            "version": installed.version,
            "at": now.to_string(),
            "good": self.bad() == 0,
            "tokens": held.iter().map(|held| as_json(held, paths)).collect::<Vec<_>>(),
            "components": diagnoses.iter().map(|one| component(one, paths)).collect::<Vec<_>>(),
        });
        Answer::new(text(paths, installed, held, diagnoses, *now), json)
    }

    /// What mends them: paragraphs.
    pub(in crate::cli) fn remedies(&self) -> Vec<String> {
        remedies(&self.diagnoses)
    }
}

fn as_json(held: &Held, paths: &Paths) -> Value {
    let claims = held.verdict.accepted().and_then(|accepted| accepted.claims.as_ref());
    let time = |time: Option<Timestamp>| time.map(|at| at.to_string());
    json!({
        "component": held.component,
        "container": held.container,
        "file": paths.shown(&held.file),
        "key": held.key,
        "kind": held.kind.as_str(),
        "good": held.verdict.is_good(),
        "reason": held.verdict.reason(),
        "verdict": held.verdict.to_string(),
        "form": form(&held.verdict).map(Form::as_str),
        "algorithm": claims.map(|claims| claims.alg.as_str()),
        "class": class(held),
        "authorizations": claims.map(|claims| claims.authorizations.as_slice()),
        "issued": time(claims.and_then(|claims| claims.iat)),
        "not_before": time(claims.and_then(|claims| claims.nbf)),
        "expires": time(held.verdict.expires()),
        "signature": signature(held),
        "warnings": held.verdict.accepted().map(|accepted| accepted.warnings.as_slice()).unwrap_or_default(),
        "purpose": purpose(held),
    })
}

fn component(one: &Diagnosis, paths: &Paths) -> Value {
    let cure = match one.cure {
        Cure::Nothing => Value::Null,
        Cure::Clean => "clean".into(),
        Cure::Register => "register".into(),
        Cure::ManagerToken => "manager-token".into(),
    };
    json!({
        "component": one.component,
        "container": one.container,
        "file": paths.shown(&one.config),
        "repair": cure,
        "story": one.story,
    })
}

fn form(verdict: &Verdict) -> Option<Form> {
    match verdict {
        Verdict::WrongClass { .. } | Verdict::Foreign { .. } => Some(Form::Jwt),
        other => other.accepted().map(|accepted| accepted.form),
    }
}

/// The class its component needs, and whether the token is of it.
fn class(held: &Held) -> Option<&'static str> {
    let known = |number: &u64| match number {
        80 => Some("guac"),
        90 => Some("rdp"),
        _ => None,
    };
    let numbers = match &held.verdict {
        Verdict::WrongClass { found, .. } => found.as_slice(),
        other => &other.accepted()?.claims.as_ref()?.authorizations,
    };
    numbers.iter().find_map(known)
}

/// What is known of its signature; `null` where there is none to speak of.
fn signature(held: &Held) -> Option<&'static str> {
    match &held.verdict {
        Verdict::Refused(Error::Refused { refusal: Refusal::SignatureMismatch, .. }) => Some("wrong"),
        Verdict::Unverified { .. } => Some("no-certificate"),
        Verdict::Accepted(accepted) if accepted.form == Form::Jwt => Some(accepted.signature.as_str()),
        _ => None,
    }
}

fn text(paths: &Paths, installed: &Installed, list: &[Held], diagnoses: &[Diagnosis], now: Timestamp) -> String {
    let version = installed.version.as_deref().map(|version| format!("Kasm {version}"));
    let bad = list.iter().filter(|held| !held.verdict.is_good()).count();
    let there = list.iter().filter(|held| held.verdict != Verdict::Missing).count();
    let all = match (list.len(), bad) {
        (1, 0) => "its token is good".to_owned(),
        (_, 0) => format!("all {there} tokens are good"),
        (1, _) => "its token is not good".into(),
        (count, bad) if bad == count => format!("none of {count} tokens is good"),
        (count, bad) => format!("{bad} of {count} tokens {} not good", if bad == 1 { "is" } else { "are" }),
    };
    let mut text = format!("{}: {all}\n", version.unwrap_or_else(|| "Kasm".into()));
    for one in diagnoses {
        // On a line of its own it just fits 80 columns, the longest one, too.
        text += &format!("\n{}\n  {}\n", one.container, paths.shown(&one.config).display());
        for held in list.iter().filter(|held| held.component == one.component) {
            text += &entry(paths, one, held, now);
        }
        for line in words::wrap(one.story.as_deref().unwrap_or_default(), words::CONSOLE - 9) {
            text += &format!("         {line}\n");
        }
    }
    for remedy in remedies(diagnoses) {
        text += &format!("\n{}\n", words::wrap(&remedy, words::CONSOLE).join("\n"));
    }
    text.trim_end().to_owned()
}

fn entry(paths: &Paths, one: &Diagnosis, held: &Held, now: Timestamp) -> String {
    let mark = match &held.verdict {
        Verdict::Accepted(_) => "good",
        Verdict::Missing => "none",
        Verdict::Unverified { .. } => "unsure",
        _ => "BAD",
    };
    let place = if held.file == one.config { held.key.clone() } else { paths.shown(&held.file).display().to_string() };
    let mut text = format!("  {mark:<6} {}: {place}\n", held.kind);
    let mut say = |line: &str| {
        for line in words::wrap(line, words::CONSOLE - 9) {
            text.push_str(&format!("         {line}\n"));
        }
    };
    if let Some(accepted) = held.verdict.accepted() {
        say(&about(held, accepted, now));
        accepted.warnings.iter().for_each(|warning| say(&format!("warning: {warning}")));
    }
    if let Some(reason) = held.verdict.reason() {
        say(&format!("{} [{reason}]", held.verdict));
    }
    if held.verdict.is_good() {
        say(&purpose(held));
    }
    text
}

/// Form, class, signature; issue and expiry.
fn about(held: &Held, accepted: &token::Accepted, now: Timestamp) -> String {
    let Some(claims) = accepted.claims.as_ref().filter(|_| accepted.form == Form::Jwt) else {
        return "opaque: only the manager can say whether it is the right one".into();
    };
    let mut parts = vec![format!("JSON Web Token, {}", claims.alg)];
    if let (Some(class), Kind::Auth) = (class(held), held.kind) {
        let numbers: Vec<String> = claims.authorizations.iter().map(u64::to_string).collect();
        parts.push(format!("class {} ({class})", numbers.join(", ")));
    }
    if accepted.signature == Signature::Verified {
        parts.push("signature verified".into());
    }
    let day = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M UTC").to_string();
    let mut times = Vec::new();
    times.extend(claims.iat.map(|at| format!("issued {}", day(at))));
    times.push(match claims.exp {
        None => "never expires".into(),
        Some(at) => format!("expires {}, in {}", day(at), token::in_words(now.duration_until(at).unsigned_abs())),
    });
    format!("{}; {}", parts.join(", "), times.join(", "))
}

fn remedies(diagnoses: &[Diagnosis]) -> Vec<String> {
    let any = |cure: Cure| diagnoses.iter().any(|one| one.cure == cure);
    let command = "kasm-bootstrap token repair";
    let mut lines = Vec::new();
    if any(Cure::Register) {
        lines.push(format!(
            "to mend it: `{command} --registration-token-file FILE`, with the Component Registration Token from the \
             Admin UI (Settings, Global, Authentication) in FILE; --dry-run shows what it would change"
        ));
    }
    if any(Cure::ManagerToken) {
        lines.push(format!(
            "to mend it: `{command} --manager-token-file FILE`, with the manager token from the Admin UI in FILE; \
             --dry-run shows what it would change"
        ));
    }
    if lines.is_empty() && any(Cure::Clean) {
        lines.push(format!("to remove what is left of registration tokens: `{command}`"));
    }
    lines
}
