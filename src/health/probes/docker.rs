//! Docker's daemon, and the plugins that Kasm has in it.

use crate::health::model::{Finding, Measure, ProbeStatus};
use crate::health::probe::Context;
use crate::kasm::docker::{self, Engine, Error, OLDEST, Plugin, version};
use crate::words::listed;
use futures_util::future::{BoxFuture, FutureExt};
use std::time::Instant;

pub(super) const DAEMON: &str = "docker";
pub(super) const SIDECAR: &str = "sidecar";
pub(super) const RCLONE: &str = "rclone";
pub(super) const VERSION: &str = "docker-version";

/// The oldest version of the API that this program is made for (see [`crate::kasm::docker`]).
const OLDEST_API: (u32, u32, u32) = (1, 41, 0);
/// The first Kasm whose documentation asks for [`OLDEST`] (docs/kasm-facts.md, 2).
const ASKING: (u32, u32, u32) = (1, 17, 0);
const DAEMON_REMEDY: &str = "`systemctl start docker`; `journalctl -u docker` says why it was not running";

/// What is known of anything in Docker where Docker itself cannot be asked: nothing.
pub(super) fn not_asked(error: &Error) -> Finding {
    match error {
        Error::NoSocket(_) | Error::Unreachable { .. } => Finding::unknown("Docker does not answer (see docker)"),
        other => Finding::unknown(other.to_string()),
    }
}

pub(super) fn daemon<'a>(context: &'a Context, _: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    async move {
        let socket = context.paths.docker_socket();
        let begun = Instant::now();
        match docker::engine(&socket).await {
            Ok(engine) => {
                let latency = Measure::new("docker_latency_seconds", begun.elapsed().as_secs_f64());
                Finding::ok(named(&engine)).with(latency)
            }
            Err(Error::NoSocket(_)) => {
                let words =
                    format!("Docker's daemon does not run: {} is not there", context.paths.shown(&socket).display());
                // The installer brings it: where there is no Kasm yet, it is no cause.
                match context.node(DAEMON).await {
                    Ok(_) => Finding::fail(words, DAEMON_REMEDY),
                    Err(_) => Finding::unknown(words),
                }
            }
            // Only root and Docker's group may ask it.
            Err(Error::Unreachable { why, .. }) if !nix::unistd::geteuid().is_root() => {
                Finding::unknown(format!("Docker cannot be asked: {why}; ask as root (sudo)"))
            }
            Err(Error::Unreachable { why, .. }) => {
                Finding::fail(format!("Docker's daemon does not answer: {why}"), DAEMON_REMEDY)
            }
            Err(error) => Finding::unknown(error.to_string()),
        }
    }
    .boxed()
}

/// `Docker 27.5.1, API 1.47`.
fn named(engine: &Engine) -> String {
    let api = engine.api.as_ref().map(|api| format!(", API {api}")).unwrap_or_default();
    format!("Docker {}{api}", engine.version)
}

pub(super) fn which<'a>(context: &'a Context, _: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    async move {
        let kasm = context.node(VERSION).await.ok().and_then(|node| node.installed.version);
        match docker::engine(&context.paths.docker_socket()).await {
            Ok(engine) => judge(&engine, kasm.as_deref().and_then(version)),
            Err(error) => not_asked(&error),
        }
    }
    .boxed()
}

/// `kasm`: the installed version, where it is known.
fn judge(engine: &Engine, kasm: Option<(u32, u32, u32)>) -> Finding {
    let words = named(engine);
    if engine.api.as_deref().and_then(version).is_some_and(|api| api < OLDEST_API) {
        let (major, minor, _) = OLDEST_API;
        let words = format!("{words} is older than API {major}.{minor}, by which Docker is asked here");
        return Finding::warn(words, "upgrade Docker, when no session runs here");
    }
    let asks = kasm.is_none_or(|kasm| kasm >= ASKING);
    if asks && version(&engine.version).is_some_and(|found| found < OLDEST) {
        let (major, minor, patch) = OLDEST;
        let words = format!("{words} is older than {major}.{minor}.{patch}, which Kasm from 1.17 on asks for");
        return Finding::warn(words, "upgrade Docker, when no session runs here");
    }
    Finding::ok(words)
}

/// How the plugins of one kind are; `off`: the words for what their absence does, with their names in front.
async fn plugins(context: &Context, is_one: fn(&Plugin) -> bool, kind: &str, off: &str) -> Finding {
    let list = match docker::plugins(&context.paths.docker_socket()).await {
        Ok(list) => list,
        Err(error) => return not_asked(&error),
    };
    let named = |enabled: bool| -> Vec<String> {
        let found = list.iter().filter(|plugin| is_one(plugin) && plugin.enabled == enabled);
        found.map(|plugin| crate::words::one_line(&plugin.name).chars().take(128).collect()).collect()
    };
    match (named(false), named(true)) {
        (disabled, _) if !disabled.is_empty() => {
            let remedy: Vec<String> = disabled.iter().map(|name| format!("docker plugin enable {name}")).collect();
            Finding::warn(format!("{} is disabled in Docker{off}", listed(&disabled)), remedy.join(" && "))
        }
        (_, enabled) if enabled.is_empty() => Finding::ok(format!("Docker has no {kind} plugin")),
        (_, enabled) => Finding::ok(format!("{} is enabled", listed(&enabled))),
    }
}

pub(super) fn sidecar<'a>(context: &'a Context, _: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    // docs/kasm-facts.md, 8: after some reboots (#668).
    plugins(context, Plugin::is_sidecar, "sidecar", ", so that kasm_proxy does not start").boxed()
}

pub(super) fn rclone<'a>(context: &'a Context, _: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    plugins(context, Plugin::is_rclone, "rclone", ", so that no session can mount storage").boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_are_warned_of_and_what_cannot_be_read_is_not() {
        let judged = |version: &str, api: Option<&str>, kasm| {
            let engine = Engine { version: version.into(), api: api.map(str::to_owned) };
            let finding = judge(&engine, kasm);
            format!("{}: {}", finding.level, finding.words)
        };
        let lines = [
            judged("27.5.1", Some("1.47"), None),
            judged("dev", None, None),
            judged("20.10.24+dfsg1", Some("1.41"), None),
            judged("20.10.24+dfsg1", Some("1.41"), Some((1, 16, 1))),
            judged("19.03", Some("1.40"), Some((1, 16, 1))),
        ];
        insta::assert_snapshot!(lines.join("\n"), @"
        ok: Docker 27.5.1, API 1.47
        ok: Docker dev
        warn: Docker 20.10.24+dfsg1, API 1.41 is older than 25.0.5, which Kasm from 1.17 on asks for
        ok: Docker 20.10.24+dfsg1, API 1.41
        warn: Docker 19.03, API 1.40 is older than API 1.41, by which Docker is asked here
        ");
    }
}
