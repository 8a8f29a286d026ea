//! What comes before anything is changed: tokens, versions, sessions.

use super::record::{Bad, BadReleases};
use super::{Change, Error, record};
use crate::error::Failure;
use crate::flow::install;
use crate::health;
use crate::intent::{Digest, Role};
use crate::kasm::docker;
use crate::kasm::held;
use crate::observe::Wait;
use crate::step::{Context, Finish};
use crate::token::{self, Kind};
use std::cmp::Ordering;
use std::time::Duration;

/// How often Docker is asked whether sessions have ended.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// So many sessions are named.
const NAMED: usize = 10;

/// Puts back what a killed run has left, whatever it was to do; snapshots nobody knows any more go.
pub(in crate::flow) async fn recover(work: &Change, cx: Context<'_>) -> Result<Finish, Failure> {
    record::sweep(work.paths())?;
    install::before::clear_leftovers(work.paths(), cx).await
}

/// Refuses a token that cannot be right; what is wrong with those installed is told.
pub(super) async fn tokens(work: &Change, cx: Context<'_>) -> Result<Finish, Failure> {
    for ignored in &work.ignored {
        cx.observer.warn(&format!("{ignored}: an upgrade keeps what is installed"));
    }
    let installed = held::read(&work.old, Some(work.role()), &token::Context::now(None))?;
    // An agent's manager token is the one that is checked below.
    for one in installed.iter().filter(|one| !one.verdict.is_good() && one.kind != Kind::Manager) {
        cx.observer.warn(&format!("before the upgrade, {}", one.describe(work.paths())));
    }
    *work.known.borrow_mut() = installed;
    install::before::tokens(&work.install, cx).await
}

/// Is there something to upgrade, and is it one?
pub(super) async fn present(work: &Change, cx: Context<'_>) -> Result<Finish, Failure> {
    let Some(from) = work.old.version.as_deref().filter(|_| work.old.dir.parent() == Some(&work.paths().kasm_dir()))
    else {
        return Err(Error::UnknownVersion.into());
    };
    let Some(to) = work.install.intent.release.version.as_deref() else {
        return Err(Error::UnknownRelease.into());
    };
    if work.old.is_version(to) {
        if work.options.force {
            cx.observer
                .warn("an upgrade to the same version would wipe it: `kasm-bootstrap install --force` does that");
        }
        return Ok(Finish::Complete(format!("Kasm {from} is already installed")));
    }
    if compare(to, from) == Ordering::Less {
        if !work.options.force {
            return Err(Error::Downgrade { from: from.into(), to: to.into() }.into());
        }
        cx.observer.warn(&format!("Kasm {to} is older than Kasm {from} (--force)"));
    }
    if let Digest::Pinned(digest) = &work.install.intent.release.digest {
        refuse_bad(work, digest, cx)?;
    }
    Ok(Finish::Done(format!("Kasm {from} is installed, Kasm {to} is newer")))
}

/// Refuses a release that was tried here and put back.
pub(super) fn refuse_bad(work: &Change, digest: &str, cx: Context<'_>) -> Result<(), Failure> {
    let Some(bad) = BadReleases::find(work.paths(), digest)? else { return Ok(()) };
    if !work.options.force {
        return Err(Error::BadRelease(bad).into());
    }
    let Bad { version, at, why, .. } = bad;
    cx.observer.warn(&format!("this release of Kasm {version} failed here at {at} (--force): {why}"));
    Ok(())
}

/// Versions by their numbers. What is no number is not compared.
fn compare(one: &str, other: &str) -> Ordering {
    let numbers =
        |version: &str| -> Vec<u64> { version.split('.').take(3).map_while(|part| part.parse().ok()).collect() };
    numbers(one).cmp(&numbers(other))
}

/// Refuses while somebody works here, unless he is waited for or passed over.
pub(in crate::flow) async fn sessions(work: &Change, _: Context<'_>) -> Result<Finish, Failure> {
    let open = look(work).await?;
    if open.is_empty() {
        return Ok(Finish::Done("no session is open on this node".into()));
    }
    let told = told(&open);
    match work.options {
        super::Options { force: true, .. } => Ok(Finish::Warned(format!("{told}; they are cut off (--force)"))),
        super::Options { drain: Some(_), .. } => Ok(Finish::Done(format!("{told}; they are waited for"))),
        _ => Err(Error::Sessions(told).into()),
    }
}

/// The same right before the change, having waited for as long as may be.
pub(in crate::flow) async fn drain(work: &Change, cx: Context<'_>) -> Result<Finish, Failure> {
    let mut open = look(work).await?;
    if open.is_empty() {
        return Ok(Finish::Skipped("no session is open on this node".into()));
    }
    if work.options.force {
        return Ok(Finish::Warned(format!("{}; they are cut off (--force)", told(&open))));
    }
    let deadline = cx.deadline.within(work.options.drain.unwrap_or_default());
    let mut said = Vec::new();
    while !open.is_empty() {
        if deadline.is_over() {
            return Err(Error::Sessions(told(&open)).into());
        }
        if said != open {
            cx.observer.waiting(&Wait { what: "sessions to end".into(), holder: Some(told(&open)), deadline });
            said.clone_from(&open);
        }
        tokio::time::sleep(ASK_AGAIN.min(deadline.remaining())).await;
        open = look(work).await?;
    }
    Ok(Finish::Done("the sessions have ended".into()))
}

async fn look(work: &Change) -> Result<Vec<String>, Failure> {
    // Sessions are an agent's business.
    if work.role() == Role::Guac {
        return Ok(Vec::new());
    }
    let socket = work.paths().docker_socket();
    let sessions = docker::sessions(&socket).await.map_err(health::Error::Docker)?;
    Ok(sessions.into_iter().filter(docker::Session::is_active).map(|one| one.name).collect())
}

fn told(open: &[String]) -> String {
    let named: Vec<&str> = open.iter().take(NAMED).map(String::as_str).collect();
    let more = match open.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let verb = if open.len() == 1 { "session is" } else { "sessions are" };
    format!("{} {verb} open on this node: {}{more}", open.len(), named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert_eq!(compare("1.9.0", "1.18.1"), Ordering::Less);
        assert_eq!(compare("1.18.1", "1.18.1.abc"), Ordering::Equal);
        assert_eq!(compare("1.18.1.7", "1.18.1.6"), Ordering::Equal);
        assert_eq!(compare("2.0.0", "1.20.0"), Ordering::Greater);
    }

    #[test]
    fn many_sessions_are_counted_and_some_are_named() {
        let names: Vec<String> = (0..12).map(|number| format!("s{number}")).collect();
        assert_eq!(told(&names[..1]), "1 session is open on this node: s0");
        assert!(told(&names).ends_with("s8, s9 and 2 more"), "{}", told(&names));
    }
}
