//! The proof of the new version, and what is done once it is proved.

use super::error::NOT_PROVED;
use super::record::{BadReleases, Open, Previous, drop_snapshot};
use super::{Change, Error};
use crate::error::Failure;
use crate::flow::install::installer;
use crate::health::{self, Expectations, Ids};
use crate::intent::Role;
use crate::kasm::layout::Installed;
use crate::kasm::receipt::Receipt;
use crate::record::Record;
use crate::step::{Context, Finish};
use crate::words;
use std::time::Duration;

/// How long the manager may take to show that it is there, where the new version is not well.
const ASK_TIME: Duration = Duration::from_secs(10);

/// Sees that the new version is up, is who it was and says what it said; and that its manager is there. What
/// speaks against the new version itself is kept in mind: it is rolled back for nothing else.
pub(super) async fn prove(work: &Change, cx: Context<'_>) -> Result<Finish, Failure> {
    let open = work.record()?;
    // An agent's configuration is written by upgrade.sh alone: what is wrong with it is wrong for good.
    if open.role == Role::Agent {
        kept_its_word(work)?;
    }
    let expectations = Expectations {
        version: Some(open.to.clone()),
        ids: Ids::of(&work.old, open.role)?,
        settle: work.install.intent.settle,
        not_started: !health::is_started(&work.install.intent),
        manager: Some(work.manager()),
        ..Expectations::default()
    };
    // Whoever blames the new version must have had the time to ask whether it is the manager.
    let ask = ASK_TIME.min(work.install.intent.manager.wait).min(cx.deadline.remaining() / 8);
    let deadline = cx.deadline.within(cx.deadline.remaining().saturating_sub(ask));
    let proof = match health::prove_installed(work.paths(), open.role, &expectations, deadline, cx.observer).await {
        Ok(proof) => proof,
        Err(error) => return Err(judge(work, &open, error, Context { deadline: cx.deadline.within(ask), ..cx }).await),
    };
    for warning in &proof.warnings {
        cx.observer.warn(warning);
    }
    if open.role == Role::Guac {
        kept_its_word(work)?;
    }
    // A node that is well in itself and cut off from its manager is not proved, and not for us to undo.
    let wait = cx.deadline.within(work.install.intent.manager.wait);
    if let Err(error) = work.manager().wait(wait, cx.observer).await {
        return Err(unproved(&open, error.into()));
    }
    let containers: Vec<&str> = proof.containers.iter().map(|(name, _)| name.as_str()).collect();
    Ok(match proof.not_started {
        true => Finish::Done(format!("Kasm {} is configured as it was; nothing was started (--no-start)", open.to)),
        false => Finish::Done(format!("Kasm {} is up and configured as it was: {}", open.to, containers.join(", "))),
    })
}

/// The configuration says what it said before.
fn kept_its_word(work: &Change) -> Result<(), Failure> {
    let installed = Installed::read(work.paths()).ok_or(Error::NothingInstalled)?;
    // What is kept of the version before is in it.
    let intent = &work.install.intent;
    let mut differences = installed.differences(work.paths(), intent, intent.address.given())?;
    // The tokens of a connection proxy have a proof of their own.
    differences.retain(|difference| open_to(work.role(), difference));
    if differences.is_empty() {
        return Ok(());
    }
    work.local.set(true);
    Err(health::Error::OtherConfiguration { differences }.into())
}

fn open_to(role: Role, difference: &str) -> bool {
    role == Role::Agent || !(difference.contains("registration token") || difference.contains("auth_token"))
}

/// Whose fault it is that the node is not proved.
async fn judge(work: &Change, open: &Open, error: health::Error, cx: Context<'_>) -> Failure {
    match &error {
        _ if error.is_remote() => return unproved(open, error.into()),
        // Nobody could look: that is no evidence.
        health::Error::Docker(_) => return error.into(),
        // A component that cannot reach its manager keeps its registration token, ends and is started again: is
        // the manager there?
        health::Error::Containers { .. } | health::Error::Restarts { .. } | health::Error::Tokens { .. } => {
            if let Err(silent) = work.manager().wait(cx.deadline, cx.observer).await {
                let mut failure = Failure::from(error);
                failure.causes.push(silent.to_string());
                return unproved(open, failure);
            }
        }
        _ => {}
    }
    work.local.set(true);
    error.into()
}

fn unproved(open: &Open, cause: Failure) -> Failure {
    let error = Error::NotProved { to: open.to.clone(), manager: open.manager.clone() };
    Failure::from(error).caused_by(cause)
}

/// Keeps the way back, and forgets everything else.
pub(super) async fn commit(work: &Change, cx: Context<'_>) -> Result<Finish, Failure> {
    let (paths, open) = (work.paths(), work.record()?);
    // Tokens that components got meanwhile, too.
    installer::sync(paths, cx).await;
    let older = Previous::read(paths).unwrap_or_else(|error| {
        cx.observer.warn(&format!("the way back from an earlier upgrade is lost: {error}"));
        None
    });
    if let Some(name) = &open.snapshot {
        let previous = Previous {
            schema: Previous::SCHEMA,
            from: open.from.clone(),
            to: open.to.clone(),
            role: open.role,
            snapshot: name.clone(),
            at: words::now(),
        };
        previous.write(paths)?;
    }
    Receipt::prove(paths, false)?;
    BadReleases::forget(paths, &open.digest)?;
    // From here on the node is the new version for good.
    Open::remove(paths)?;
    *work.open.borrow_mut() = None;
    if let Some(older) = older.filter(|older| Some(&older.snapshot) != open.snapshot.as_ref()) {
        drop_snapshot(paths, &older.snapshot);
    }
    installer::remove_unpacked(paths, &open.digest, cx.observer);
    Ok(Finish::Done(format!(
        "Kasm {} is up; `kasm-bootstrap rollback` goes back to Kasm {} as long as /opt/kasm/{} is there",
        open.to, open.from, open.from
    )))
}

/// The exit of an upgrade that stands and is not proved.
pub fn is_unproved(failure: &Failure) -> bool {
    failure.reason == NOT_PROVED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    #[test]
    fn the_exit_of_what_only_the_manager_can_prove_is_the_managers() {
        let cause = Failure::from(health::Error::NotInstalled { current: "x".into(), why: "is not there" });
        let open = Open::example(super::super::record::Phase::Installed);
        let failure = unproved(&open, cause);
        assert!(is_unproved(&failure));
        assert_eq!(failure.exit(), Exit::Manager);
    }
}
