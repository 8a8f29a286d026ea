//! The remedies that are safe enough to be applied by this program itself: each does one thing, does it again
//! without harm, and takes nothing away.

use super::{Check, Context, Report, docker};
use crate::durable;
use crate::kasm::docker as engine;
use futures_util::future::{BoxFuture, FutureExt};
use serde::Serialize;
use std::time::Duration;

/// No remedy may take longer.
const FIX_TIME: Duration = Duration::from_secs(60);

/// How a remedy is applied: what was done, or why it could not be.
pub type Fix = for<'a> fn(&'a Context) -> BoxFuture<'a, Result<String, String>>;

/// What became of a check that had something to mend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fixed {
    /// The check's name.
    pub check: &'static str,
    /// What was done; `None` if it could not be.
    pub done: Option<String>,
    /// Why it could not be; `None` if it was.
    pub error: Option<String>,
}

impl Fixed {
    /// `fixed sidecar: enabled kasmweb/sidecar:1.2 in Docker`.
    pub fn text(&self) -> String {
        match (&self.done, &self.error) {
            (Some(done), _) => format!("fixed {}: {done}", self.check),
            (None, error) => format!("not fixed {}: {}", self.check, error.as_deref().unwrap_or("nothing was done")),
        }
    }
}

/// The names of those checks that found something wrong and know how to mend it.
pub fn fixable(checks: &[Check], report: &Report) -> Vec<&'static str> {
    mending(checks, report).map(|check| check.name).collect()
}

fn mending<'a>(checks: &'a [Check], report: &'a Report) -> impl Iterator<Item = &'a Check> {
    let is_wrong = |name| {
        report.results.iter().any(|result| result.name == name && matches!(result.verdict.word(), "warn" | "fail"))
    };
    checks.iter().filter(move |check| check.fix.is_some() && is_wrong(check.name))
}

/// Applies the remedies of the checks that found something wrong, one after the other. Whether that has mended
/// it is for the checks to say when they are run again.
pub async fn fix(checks: &[Check], context: &Context, report: &Report) -> Vec<Fixed> {
    let mut list = Vec::new();
    for check in mending(checks, report) {
        let Some(fix) = check.fix else { continue };
        let late = || Err(format!("it was not done within {} s", FIX_TIME.as_secs()));
        let result = tokio::time::timeout(FIX_TIME, fix(context)).await.unwrap_or_else(|_| late());
        let (done, error) = match result {
            Ok(done) => (Some(done), None),
            Err(error) => (None, Some(error)),
        };
        list.push(Fixed { check: check.name, done, error });
    }
    list
}

/// Enables Kasm's sidecar plugins that are disabled.
pub(super) fn sidecar(context: &Context) -> BoxFuture<'_, Result<String, String>> {
    async move {
        let socket = context.paths.docker_socket();
        let mut enabled = Vec::new();
        let list = engine::plugins(&socket).await.map_err(|error| error.to_string())?;
        for plugin in list.iter().filter(|plugin| plugin.is_sidecar() && !plugin.enabled) {
            engine::enable_plugin(&socket, &plugin.name).await.map_err(|error| error.to_string())?;
            enabled.push(plugin.name.clone());
        }
        match enabled.is_empty() {
            true => Err("no sidecar plugin is disabled any more".into()),
            false => Ok(format!("enabled {} in Docker", enabled.join(" and "))),
        }
    }
    .boxed()
}

/// Makes the directories that the rclone plugin needs.
pub(super) fn rclone(context: &Context) -> BoxFuture<'_, Result<String, String>> {
    async move {
        let mut made = Vec::new();
        for path in docker::missing_rclone(context) {
            let shown = context.paths.shown(&path).display().to_string();
            // As `mkdir -p` makes them.
            durable::directory(&path, 0o755).map_err(|error| format!("{shown} cannot be made: {error}"))?;
            made.push(shown);
        }
        match made.is_empty() {
            true => Err("the directories are there already".into()),
            false => Ok(format!("made {}", made.join(" and "))),
        }
    }
    .boxed()
}
