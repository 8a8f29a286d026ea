//! The tokens of the installed components: whether they can work, whether the manager has refused them, and for how
//! long they are good. No token leaves this file.

use super::{DAY, SOON, found};
use crate::health::model::{Finding, Level, Measure, ProbeStatus};
use crate::health::probe::{Context, Node};
use crate::kasm::docker;
use crate::kasm::held::{self, Held, Verdict};
use crate::kasm::refusal::is_refusal;
use crate::paths::Paths;
use crate::secret::Secret;
use crate::token::{self, Kind, Masker, in_words};
use crate::words::listed;
use futures_util::future::{BoxFuture, join_all};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

pub(super) const NAME: &str = "tokens";
pub(super) const EXPIRY: &str = "token-expiry";

/// So many lines of a component's log are looked through.
const LINES: u32 = 100;
/// So much of a line is shown, in characters.
const SHOWN: usize = 200;
/// A refusal older than so many seconds may have been got over.
const LATELY: i64 = 300;

/// From this Kasm on, components renew their auth tokens themselves, of which lifespans of three days were seen
/// (docs/kasm-facts.md, 5): one that ends in less than a day was not renewed in time.
const RENEWING: (u32, u32) = (1, 18);
const SOON_RENEWED: i64 = 1;

/// What the node holds, and by which clock it was judged.
struct Judged {
    held: Vec<Held>,
    now: Timestamp,
}

/// Reads them. Where time decides, the manager's clock is asked for: it is the one that counts.
async fn read(context: &Context, probe: &'static str, node: &Node) -> Result<Judged, Finding> {
    let read = |ahead: Option<SignedDuration>| {
        let (installed, role) = (node.installed.clone(), node.role);
        context.errands.run(probe, move || {
            // Nothing lies ahead of these tokens but their work.
            let context = token::Context { needed: Duration::ZERO, ..token::Context::now(ahead) };
            let now = context.manager_time.unwrap_or(context.now);
            held::read(&installed, role, &context).map(|held| Judged { held, now })
        })
    };
    let unreadable = |error: crate::kasm::Error| Finding::unknown(error.to_string());
    let found = read(None).await?.map_err(unreadable)?;
    let is_about_time = |one: &Held| matches!(&one.verdict, Verdict::Refused(error) if error.is_about_time());
    if !found.held.iter().any(is_about_time) {
        return Ok(found);
    }
    let clocks = context.manager(probe).await.ok().and_then(|seen| seen.look.clocks);
    match clocks.and_then(|clocks| clocks.ahead()) {
        Some(ahead) => read(Some(ahead)).await?.map_err(unreadable),
        None => Ok(found),
    }
}

pub(super) fn tokens<'a>(context: &'a Context, _: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    found(async move {
        let node = context.node(NAME).await?;
        let Judged { held, .. } = read(context, NAME, &node).await?;
        Ok(match judge(&held, &context.paths) {
            finding if finding.level == Level::Fail => finding,
            finding => refusals(context, &node, &held).await.unwrap_or(finding),
        })
    })
}

/// What to do for a token of this kind that does not work.
fn remedy(kind: Kind) -> &'static str {
    match kind {
        Kind::Manager => {
            "`kasm-bootstrap token repair --manager-token-file FILE`, with the manager token from the Admin UI in FILE"
        }
        _ => {
            "`kasm-bootstrap token repair --registration-token-file FILE`, with the Component Registration Token from \
             the Admin UI (Settings, Global, Authentication) in FILE"
        }
    }
}

/// `the manager token of kasm_agent`.
fn whose(one: &Held) -> String {
    format!("the {} of {}", if one.kind == Kind::Manager { "manager token" } else { "auth token" }, one.container)
}

fn judge(held: &[Held], paths: &Paths) -> Finding {
    let main: Vec<&Held> = held.iter().filter(|one| matches!(one.kind, Kind::Manager | Kind::Auth)).collect();
    if main.is_empty() {
        return Finding::unknown("no component has a file that a token could be in");
    }
    let is_bad = |one: &&&Held| !one.verdict.is_good() && !matches!(one.verdict, Verdict::Unverified { .. });
    let bad: Vec<&Held> = main.iter().filter(is_bad).copied().collect();
    let measures = main.iter().map(|one| {
        let good = f64::from(u8::from(one.verdict.is_good()));
        Measure::of("token_good", "component", one.component, good)
    });
    let measures = measures.collect();
    if let Some((first, rest)) = bad.split_first() {
        let waits = held.iter().any(|one| one.kind == Kind::Registration && one.component == first.component);
        let state = match waits && first.verdict == Verdict::Missing {
            true => format!("{} has not registered with the manager: {}", first.container, first.describe(paths)),
            false => format!("{} is no good: {}", whose(first), first.describe(paths)),
        };
        let others: Vec<&str> = rest.iter().map(|one| one.container).collect();
        let others = if others.is_empty() { String::new() } else { format!("; nor that of {}", listed(&others)) };
        return Finding { measures, ..Finding::fail(format!("{state}{others}"), remedy(first.kind)) };
    }
    let unverified: Vec<String> =
        main.iter().filter(|one| !one.verdict.is_good()).map(|one| format!("{} {}", whose(one), one.verdict)).collect();
    let words = match (main.as_slice(), unverified.is_empty()) {
        (_, false) => unverified.join("; "),
        ([only], true) => format!("{} is well-formed", whose(only)),
        (several, true) => format!("all {} auth tokens are good", several.len()),
    };
    let level = if unverified.is_empty() { Level::Ok } else { Level::Unknown };
    Finding { measures, level, ..Finding::ok(words) }
}

/// A token may be well-formed and another one than the manager's: then the component's log tells.
async fn refusals(context: &Context, node: &Node, held: &[Held]) -> Option<Finding> {
    let socket = context.paths.docker_socket();
    let main: Vec<&Held> = held.iter().filter(|one| matches!(one.kind, Kind::Manager | Kind::Auth)).collect();
    let logs = join_all(main.iter().map(|one| async {
        let details = docker::details(&socket, one.container).await.ok()?;
        Some((*one, details.started, docker::logs(&socket, one.container, LINES).await.ok()?))
    }));
    let now = Timestamp::now();
    let found = logs.await.into_iter().flatten().find_map(|(one, started, log)| {
        let line = log.lines().rev().find(|line| is_refusal(line) && is_recent(line, started, now))?;
        Some((one, line.to_owned()))
    });
    let (one, line) = found?;
    let secrets = secrets(context, node).await?;
    let said = docker::quoted(&line, &Masker::new(&secrets), SHOWN);
    let words = format!("the manager refuses {}: its log says \"{said}\"", whose(one));
    Some(Finding::fail(words, remedy(one.kind)))
}

/// Of this life of the container, and of the last minutes; a line that does not say when it was written counts.
fn is_recent(line: &str, started: Option<Timestamp>, now: Timestamp) -> bool {
    let Some(at) = line.split_once(' ').and_then(|(time, _)| time.parse::<Timestamp>().ok()) else { return true };
    started.is_none_or(|started| at >= started) && at.duration_until(now).as_secs() < LATELY
}

/// What a component's log may hold and nobody may see; without it nothing of the log is shown.
async fn secrets(context: &Context, node: &Node) -> Option<Vec<Secret>> {
    let installed = node.installed.clone();
    let read = context.errands.run(NAME, move || {
        let agent = installed.agent().ok()?.and_then(|agent| agent.token);
        let proxies = installed.proxies().ok()?.into_iter();
        let proxies = proxies.flat_map(|proxy| [proxy.registration_token, proxy.auth_token]).flatten();
        Some(agent.into_iter().chain(proxies).collect())
    });
    read.await.ok().flatten()
}

pub(super) fn expiry<'a>(context: &'a Context, _: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    found(async move {
        let node = context.node(EXPIRY).await?;
        let Judged { held, now } = read(context, EXPIRY, &node).await?;
        Ok(judge_expiry(&held, now, renews(node.installed.version.as_deref())))
    })
}

/// True if the components of this Kasm renew their auth tokens.
fn renews(version: Option<&str>) -> bool {
    let version = version.and_then(docker::version);
    version.is_some_and(|(major, minor, _)| (major, minor) >= RENEWING)
}

fn judge_expiry(held: &[Held], now: Timestamp, renews: bool) -> Finding {
    let mut measures = Vec::new();
    // The one that expires first.
    let mut first: Option<(i64, &Held)> = None;
    for one in held {
        let Some(at) = one.verdict.expires() else { continue };
        if one.kind != Kind::Registration {
            let stamp = at.as_second() as f64;
            measures.push(Measure::of("token_expiry_timestamp_seconds", "component", one.component, stamp));
        }
        let left = now.duration_until(at).as_secs();
        // One that is gone is for another probe to tell.
        if left > 0 && first.is_none_or(|(known, _)| left < known) {
            first = Some((left, one));
        }
    }
    let finding = match first {
        None => Finding::ok("no token says when it expires"),
        Some((left, one)) => {
            let span = in_words(Duration::from_secs(left.unsigned_abs()));
            let words = format!("{} expires in {span}", whose(one));
            let soon = if renews && one.kind == Kind::Auth { SOON_RENEWED } else { SOON };
            match left < soon * DAY {
                true if renews && one.kind == Kind::Auth => {
                    Finding::warn(format!("{words}, and its component has not renewed it yet"), remedy(one.kind))
                }
                true => Finding::warn(words, remedy(one.kind)),
                false => Finding::ok(words),
            }
        }
    };
    Finding { measures, ..finding }
}
