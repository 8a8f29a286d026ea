//! Waiting for a configuration that is complete. One that is wrong is never waited for.

use super::decide::{self, Decision};
use crate::config::{self, Loaded, RunOptions};
use crate::deadline::Deadline;
use crate::error::Failure;
use crate::intent::Intent;
use crate::machine::changes::Changes;
use crate::machine::instance::Identity;
use crate::observe::{Supervisor, Wait};
use crate::paths::Paths;
use crate::preflight;
use crate::words;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A file that is wrong may only be half written: so long it has to stay as it is before it counts.
const SETTLED: Duration = Duration::from_millis(500);

/// Where the configuration is read from.
pub(super) struct Place<'a> {
    pub(super) paths: &'a Paths,
    /// The one file, if the usual ones are not to be read.
    pub(super) file: Option<&'a Path>,
    pub(super) load: &'a dyn Fn() -> Result<Loaded, config::Error>,
}

/// What one reading gave.
enum Reading {
    Whole {
        intent: Box<Intent>,
        options: RunOptions,
        warnings: Vec<String>,
    },
    /// It lacks something; what there is, is right.
    Lacking {
        what: String,
        options: RunOptions,
        why: config::Error,
    },
    Wrong(Failure),
}

/// Waits for a configuration, and decides what is to be done with it. What is proved on this instance can be
/// watched without any.
///
/// # Errors
/// The configuration is wrong, or was not complete in time (`early.wait`, or what it says itself).
pub(super) async fn wait(
    place: &Place<'_>,
    early: &RunOptions,
    identity: &Identity,
    supervisor: &dyn Supervisor,
) -> Result<(RunOptions, Decision), Failure> {
    let begun = Instant::now();
    let mut deadline = Deadline::after(early.wait);
    let mut told = None;
    loop {
        let changes = Changes::of(&place.watched());
        match place.read() {
            Reading::Whole { intent, options, warnings } => {
                warnings.iter().for_each(|warning| supervisor.warn(warning));
                let decision = decide::with(place.paths, intent, identity, supervisor);
                return Ok((options, decision));
            }
            Reading::Wrong(failure) => {
                if tokio::time::timeout(SETTLED, changes.next()).await.is_err() {
                    return Err(failure);
                }
            }
            Reading::Lacking { what, options, why } => {
                if let Some(decision) = decide::without(place.paths, identity, &what, supervisor) {
                    return Ok((options, decision));
                }
                deadline = deadline.max(Deadline::after(options.wait.saturating_sub(begun.elapsed())));
                if told.as_ref() != Some(&what) {
                    let name = "the configuration".to_owned();
                    supervisor.waiting(&Wait { what: name, holder: Some(what.clone()), deadline });
                    told = Some(what.clone());
                }
                if tokio::time::timeout_at(deadline.instant().into(), changes.next()).await.is_err() {
                    let mut failure = Failure::from(why);
                    let after = words::span(begun.elapsed());
                    failure.message = format!("the configuration is still not complete after {after}: {what}");
                    return Err(failure);
                }
            }
        }
    }
}

/// What is decided without asking anybody: what was proved on this very instance, and is wanted or at least
/// not unwanted, is only watched. Nothing is told about a configuration that is wrong.
pub(super) fn settled(
    place: &Place<'_>,
    identity: &Identity,
    supervisor: &dyn Supervisor,
) -> Option<(RunOptions, Decision)> {
    if !decide::is_proved_here(place.paths, identity) {
        return None;
    }
    match place.read() {
        Reading::Whole { intent, options, .. } => match decide::with(place.paths, intent, identity, supervisor) {
            decision @ Decision::Watch(..) => Some((options, decision)),
            Decision::Install(_) => None,
        },
        Reading::Lacking { what, options, .. } => {
            decide::without(place.paths, identity, &what, supervisor).map(|decision| (options, decision))
        }
        Reading::Wrong(_) => None,
    }
}

impl Place<'_> {
    fn watched(&self) -> Vec<PathBuf> {
        match self.file {
            Some(file) => vec![std::path::absolute(file).unwrap_or_default().parent().unwrap_or(file).to_owned()],
            None => vec![self.paths.config_home(), self.paths.config_dir()],
        }
    }

    /// True if nothing is missing or wrong as far as it is there now.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.read(), Reading::Whole { .. })
    }

    fn read(&self) -> Reading {
        let loaded = match (self.load)() {
            Ok(loaded) => loaded,
            Err(why) if self.file.is_some_and(|file| !file.exists()) => {
                let what = "it is not there".to_owned();
                return Reading::Lacking { what, options: RunOptions::default(), why };
            }
            Err(error) => return Reading::Wrong(error.into()),
        };
        let options = match loaded.merged.run_options() {
            Ok(options) => options,
            Err(error) => return Reading::Wrong(error.into()),
        };
        match loaded.merged.understand() {
            Ok(understood) => match preflight::known(&understood.intent.skip) {
                Ok(()) => {
                    let warnings = loaded.warnings.into_iter().chain(understood.notes).collect();
                    Reading::Whole { intent: Box::new(understood.intent), options, warnings }
                }
                Err(failure) => Reading::Wrong(failure),
            },
            Err(why) => match why.missing() {
                Some(missing) => Reading::Lacking { what: not_set(&missing), options, why },
                None => Reading::Wrong(why.into()),
            },
        }
    }
}

/// `role, manager.address and release.version are not set`.
fn not_set(keys: &[&str]) -> String {
    match keys {
        [] => "something is not set".into(),
        [key] => format!("{key} is not set"),
        several => format!("{} are not set", words::listed(several)),
    }
}

#[cfg(test)]
mod tests {
    use super::not_set;

    #[test]
    fn what_is_missing_is_said_in_words() {
        assert_eq!(not_set(&["role"]), "role is not set");
        assert_eq!(not_set(&["role", "manager.address", "x"]), "role, manager.address and x are not set");
    }
}
