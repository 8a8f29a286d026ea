//! What comes before anything on the machine is changed: leftovers, tokens, is it there already,
//! preflight.

use super::super::packages;
use super::super::repair;
use super::super::upgrade;
use super::super::upgrade::record::{Open, Phase};
use super::{Error, INSTALLED, Install, settings};
use crate::apt;
use crate::deadline::Deadline;
use crate::durable;
use crate::error::Failure;
use crate::health::{self, tokens::Tokens};
use crate::intent::{Intent, Role};
use crate::kasm::layout::Installed;
use crate::kasm::receipt::Receipt;
use crate::kasm::run;
use crate::kasm::session::{self, Leftover};
use crate::machine::facts::Facts;
use crate::paths::Paths;
use crate::preflight;
use crate::step::journal::Earlier;
use crate::step::{Context, Finish};
use crate::token::{self, Accepted};
use jiff::SignedDuration;
use std::fs;
use std::time::Duration;

/// So long can an installer outlive a killed run of ours.
const DYING: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);
/// How long the manager may take to tell the time, when a token looks expired.
const ASK_TIME: Duration = Duration::from_secs(5);

/// Checks whose question a later step asks again, and waits for the answer.
const FOLLOWED: [&str; 6] = ["manager-name", "manager-tcp", "manager-tls", "manager-health", "address", "proxy"];

/// Puts back what a killed run has left: timers paused, apt's snippet, an installer still at work.
pub async fn recover(work: &Install, cx: Context<'_>) -> Result<Finish, Failure> {
    if let Some(open) = Open::read(&work.paths)? {
        match open.phase {
            // Nothing was changed yet.
            Phase::Prepared => Open::remove(&work.paths)?,
            _ => return Err(upgrade::Error::still_open(&open).into()),
        }
    }
    clear_leftovers(&work.paths, cx).await
}

/// Puts back and ends what a killed run has left, whatever it was to do.
pub(in crate::flow) async fn clear_leftovers(paths: &Paths, cx: Context<'_>) -> Result<Finish, Failure> {
    let mut put_back = Vec::new();
    let restored = packages::restore_leftovers(paths, cx.observer).await;
    if !restored.is_empty() {
        put_back.push(format!("started {} again", restored.join(" and ")));
    }
    match apt::snippet::remove(paths) {
        Ok(true) => put_back.push(format!("removed {}", paths.shown(&paths.apt_snippet()).display())),
        Ok(false) => {}
        Err(error) => cx.observer.warn(&format!("{} cannot be removed: {error}", paths.apt_snippet().display())),
    }
    sweep(paths);
    if let Some(attempt) = super::installer::last_attempt(paths) {
        let record = paths.attempt_dir(attempt).join("installer.pid");
        match session::end_leftover(&record, run::GRACE, cx.observer).await? {
            Leftover::None => {}
            Leftover::Gone => put_back.push("cleared the record of an installer that is gone".into()),
            Leftover::Ended { pid } => put_back.push(format!("ended a left-behind installer (pid {pid})")),
            Leftover::Stuck { who } => return Err(Error::Stuck { who }.into()),
        }
    }
    put_back.extend(repair::end(paths, cx.observer).await);
    if put_back.is_empty() {
        return Ok(Finish::Skipped("nothing was left behind".into()));
    }
    Ok(Finish::Done(put_back.join("; ")))
}

/// Removes files that a killed run was about to rename to their places.
fn sweep(paths: &Paths) {
    durable::sweep(&paths.state_dir(), None);
    durable::sweep(&paths.cache_dir(), None);
    if let Some(attempt) = super::installer::last_attempt(paths) {
        durable::sweep(&paths.attempt_dir(attempt), None);
    }
    // Others write there too: only what was to become the fstab.
    durable::sweep(&paths.at("/etc"), Some("fstab"));
}

/// Judges the token that was given, by itself. `ahead`: how far the manager's clock is ahead of this machine's, where
/// that is known.
///
/// # Errors
/// It cannot be right.
pub fn judge_token(intent: &Intent, ahead: Option<SignedDuration>) -> Result<Accepted, token::Error> {
    let context = token::Context { needed: intent.budget, ..token::Context::now(ahead) };
    token::check(intent.role.token(), intent.token_format, &intent.manager.token, &context)
}

/// Refuses a token that cannot be right.
pub async fn tokens(work: &Install, cx: Context<'_>) -> Result<Finish, Failure> {
    // Here, because this is the first step that may connect to anybody.
    if let Some(warning) = work.intent.network.warning() {
        cx.observer.warn(warning);
    }
    let mut result = judge_token(&work.intent, None);
    if let Err(error) = &result
        && error.is_about_time()
    {
        // Is it the token or this machine's clock? The manager's clock tells.
        if let Some(clocks) = work.manager.clocks(Deadline::after(ASK_TIME)).await {
            result = judge_token(&work.intent, clocks.ahead());
        }
    }
    let accepted = result?;
    let words = format!("the {} is well-formed ({})", work.intent.role.token(), accepted.form.as_str());
    Ok(match accepted.warnings.is_empty() {
        true => Finish::Done(words),
        false => Finish::Warned(format!("{words}, but {}", accepted.warnings.join("; "))),
    })
}

/// Did an earlier run begin to install and not come to the end of it? Not if what is there is younger
/// than that run: then somebody has installed since, and it is not for us to replace.
pub fn is_half_done(paths: &Paths, earlier: &Earlier) -> bool {
    let changed = fs::symlink_metadata(paths.kasm_current()).and_then(|data| data.modified());
    let changed = changed.ok().and_then(|time| jiff::Timestamp::try_from(time).ok());
    let last: Option<jiff::Timestamp> = earlier.last_at.parse().ok();
    let since = match (changed, last) {
        (Some(changed), Some(last)) => changed.duration_since(last) > DYING,
        _ => false,
    };
    earlier.open.iter().any(|step| step == "install") && !since
}

/// Is the wanted version there already?
pub async fn present(work: &Install, cx: Context<'_>) -> Result<Finish, Failure> {
    let Some(installed) = Installed::read(&work.paths) else {
        return Ok(Finish::Done("no Kasm is installed here".into()));
    };
    let name = match &installed.version {
        Some(version) => format!("Kasm {version}"),
        None => "a Kasm of unknown version".into(),
    };
    if work.intent.force {
        return Ok(Finish::Done(format!("{name} is installed and will be replaced (--force)")));
    }
    let receipt = Receipt::read(&work.paths)?;
    if let Some((other, this)) = receipt.as_ref().and_then(|receipt| work.copied(receipt)) {
        return Ok(Finish::Done(format!(
            "{name} was installed on instance {other}, this is instance {this}: it is installed anew"
        )));
    }
    let receipt = receipt.filter(|receipt| receipt.version == installed.version);
    // Written after the installer's good end and by its last attempt: then only the journal lacks the end,
    // for a kill or a full disk, and a node that may be at work is not wiped for that.
    let ended = receipt.as_ref().is_some_and(|receipt| {
        receipt.digest == work.digest() && super::installer::last_attempt(&work.paths) == Some(receipt.attempt)
    });
    if work.half_done && !ended {
        return Ok(Finish::Done(format!(
            "{name} is there, but its installer did not come to a good end: it is installed again"
        )));
    }
    let same = match (&receipt, &work.intent.release.version) {
        (Some(receipt), _) if receipt.digest == work.digest() => true,
        (_, Some(wanted)) => installed.is_version(wanted),
        (_, None) => false,
    };
    if !same {
        return Err(Error::OtherVersion { installed: name, wanted: work.wanted() }.into());
    }
    if receipt.as_ref().is_some_and(|receipt| !receipt.proved) {
        work.installed.set(true);
        return Ok(Finish::Done(format!("{name} is installed, but was not proved to be healthy")));
    }
    // Which address was found is the receipt's business; asking again could find another.
    let address = work.intent.address.given();
    // A run that was killed after the proof and before its end has left its tree.
    if let Some(receipt) = &receipt {
        super::installer::remove_unpacked(&work.paths, &receipt.digest, cx.observer);
    }
    for trouble in token_troubles(work, &installed) {
        let remedy = "`kasm-bootstrap token repair` lets its components register again";
        cx.observer.warn(&format!("{trouble}; with a registration token, {remedy}"));
    }
    let differences = installed.differences(&work.paths, &work.intent, address)?;
    for difference in &differences {
        cx.observer.warn(&format!("{difference}; --force installs it anew"));
    }
    let others = if differences.is_empty() { "" } else { ", with other settings than were asked for" };
    let again = settings::again(work, receipt.as_ref(), cx).await.map(|words| format!("; {words}"));
    Ok(Finish::Complete(format!("{name} is already installed{others}{}", again.unwrap_or_default())))
}

/// What is wrong with the tokens of a connection proxy that is here already. What cannot be read is for others
/// to say.
fn token_troubles(work: &Install, installed: &Installed) -> Vec<String> {
    if work.intent.role != Role::Guac || !health::is_started(&work.intent) {
        return Vec::new();
    }
    let tokens = Tokens::read(&work.paths, installed, &[], &token::Context::now(None)).unwrap_or_default();
    let waiting = tokens.unregistered.iter().map(|one| format!("{} has not registered", one.component));
    waiting.chain(tokens.troubles.clone()).collect()
}

/// All questions at once. `upgrade`: what is here stays beside what comes.
pub async fn preflight(work: &Install, upgrade: bool, cx: Context<'_>) -> Result<Finish, Failure> {
    if work.installed.get() {
        return Ok(Finish::Skipped(INSTALLED.into()));
    }
    super::docker::started(work, cx).await;
    let facts = Facts::gather(&work.paths);
    let mut context = preflight::Context::new(work.paths.clone(), facts);
    context.manager = Some(work.intent.manager.address.clone());
    context.network = work.intent.network.clone();
    context.sources = work.intent.release.sources.clone();
    context.cached = work.is_fetched();
    context.role = Some(work.intent.role);
    context.address = Some(work.intent.address.clone());
    context.metadata = work.intent.metadata.clone();
    context.proxy_port = work.intent.proxy_port;
    context.installer = work.intent.installer.clone();
    context.skip = work.intent.skip.clone();
    context.mode = preflight::Mode::Wait;
    context.upgrade = upgrade;
    let report = preflight::run(&preflight::checks(), &context).await;
    // What the steps `manager` and `address` will say themselves is not said twice.
    let warned: Vec<_> = report.of("warn").filter(|result| !FOLLOWED.contains(&result.name)).collect();
    for result in &warned {
        let remedy = result.verdict.remedy().map(|remedy| format!(": {remedy}")).unwrap_or_default();
        cx.observer.warn(&format!("{}: {}{remedy}", result.name, result.verdict.detail()));
    }
    for result in report.of("broken").filter(|result| !FOLLOWED.contains(&result.name)) {
        cx.observer.note(&format!("{} could not be checked: {}", result.name, result.verdict.detail()));
    }
    match report.failure() {
        Some(failure) => Err(failure),
        None if warned.is_empty() => Ok(Finish::Done(report.sum())),
        None => Ok(Finish::Warned(report.sum())),
    }
}
