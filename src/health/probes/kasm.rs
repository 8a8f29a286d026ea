//! Which Kasm is here, and how it came to be: its links, the configuration, the last run.

use super::SEE_STATUS;
use crate::error::{Exit, Failure};
use crate::health::model::{Finding, Level, ProbeStatus};
use crate::health::probe::Context;
use crate::kasm::layout::Installed;
use crate::paths::Paths;
use futures_util::future::{BoxFuture, FutureExt};
use std::fs;

pub(super) const NAME: &str = "kasm";
pub(super) const CONFIGURATION: &str = "configuration";
pub(super) const LAST_RUN: &str = "last-run";

pub(super) fn installed<'a>(context: &'a Context, _: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    async move {
        let paths = context.paths.clone();
        let mut finding = context.errands.run(NAME, move || look(&paths)).await.unwrap_or_else(|finding| finding);
        // Why it is not there is worth more than what to do about it in general.
        let cause = context.last_failure.as_ref().map(|failure| (after_a_run(failure), failure.help.clone()));
        let cause = cause.or_else(|| {
            let failure = context.configuration.as_ref()?;
            Some((sentence(WRONG_CONFIGURATION, failure), failure.help.clone()))
        });
        if let (Level::Fail, Some((cause, help))) = (finding.level, cause) {
            finding.words = format!("{}: {cause}", finding.words);
            finding.remedy = Some(help);
        }
        finding
    }
    .boxed()
}

fn look(paths: &Paths) -> Finding {
    let current = paths.kasm_current();
    let shown = paths.shown(&current);
    let Some(installed) = Installed::read(paths) else {
        return match fs::read_link(&current) {
            Ok(target) => Finding::fail(
                format!("Kasm is gone: {} leads to {}, which is not there", shown.display(), target.display()),
                "let the link lead to a version that is there, or install again with --force",
            ),
            Err(_) => Finding::fail(format!("Kasm is not installed: {} is not there", shown.display()), SEE_STATUS),
        };
    };
    let name = match &installed.version {
        Some(version) => format!("Kasm {}", crate::words::one_line(version)),
        None => format!("Kasm in {}, which is no link", shown.display()),
    };
    if paths.open_upgrade().exists() {
        let words = format!("an upgrade has begun and has not come to its end; {name} is in use");
        return Finding::warn(
            words,
            "`kasm-bootstrap upgrade` with the same release ends it, `kasm-bootstrap rollback` undoes it",
        );
    }
    // docs/kasm-facts.md, 4: the link beside it, by which the services are started.
    let bin = paths.at("/opt/kasm/bin");
    let leads = |target: std::path::PathBuf| {
        let target = if target.is_absolute() && !target.starts_with(paths.root()) { paths.at(target) } else { target };
        bin.parent().map(|parent| parent.join(target))
    };
    match fs::read_link(&bin).ok().and_then(leads) {
        Some(target) if !target.exists() => Finding::warn(
            format!("{} leads to {}, which is not there", paths.shown(&bin).display(), paths.shown(&target).display()),
            format!("ln -sfn {} /opt/kasm/bin", paths.shown(&installed.dir.join("bin")).display()),
        ),
        _ => Finding::ok(name),
    }
}

pub(super) fn configuration<'a>(context: &'a Context, _: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    async move {
        let Some(failure) = &context.configuration else { return Finding::ok("nothing speaks against it") };
        told(context, CONFIGURATION, sentence(WRONG_CONFIGURATION, failure), failure).await
    }
    .boxed()
}

pub(super) fn last_run<'a>(context: &'a Context, _: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    async move {
        let Some(failure) = &context.last_failure else { return Finding::ok("it did not fail, or there was none") };
        told(context, LAST_RUN, after_a_run(failure), failure).await
    }
    .boxed()
}

const WRONG_CONFIGURATION: &str = "the configuration is wrong";

/// What a run's failure means, in a sentence that names the cause.
fn after_a_run(failure: &Failure) -> String {
    let cause = match failure.exit() {
        Exit::Download => "the download of the release failed",
        Exit::Token => "the token was refused",
        Exit::RolledBack => "the last upgrade failed, and the version before is back",
        _ => "the last run failed",
    };
    sentence(cause, failure)
}

fn sentence(cause: &str, failure: &Failure) -> String {
    let mut words = failure.message.clone();
    for cause in &failure.causes {
        // The whole of a program's last words is for `status`.
        if cause.lines().count() == 1 && !words.contains(cause.as_str()) {
            words.push_str(": ");
            words.push_str(cause);
        }
    }
    let words: String = crate::words::one_line(&words).chars().take(600).collect();
    if words.starts_with(cause) { words } else { format!("{cause}: {words}") }
}

/// A failure of our own is why the node is not there, or else something to look at.
async fn told(context: &Context, probe: &'static str, words: String, failure: &Failure) -> Finding {
    match context.node(probe).await {
        Ok(_) => Finding::warn(words, failure.help.clone()),
        Err(_) => Finding::fail(words, failure.help.clone()),
    }
}
