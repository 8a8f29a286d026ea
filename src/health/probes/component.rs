//! The component's own health check, the way others take to it: through this node's web server (kasm_proxy).
//!
//! The paths are not known for sure (docs/kasm-facts.md, 6), and Docker's own health check is the better witness. So
//! nothing said here is a failure: an answer that tells nothing is `unknown`, and one that speaks against the component
//! is a warning.

use super::{NOT_BELOW_ROOT, NOT_STARTED, found};
use crate::health::model::{Finding, Measure, ProbeStatus};
use crate::health::probe::Context;
use crate::intent::Role;
use crate::kasm::layout::{AGENT, PROXIES, PROXY};
use crate::kasm::manager::came_instead;
use crate::net;
use futures_util::future::BoxFuture;
use reqwest::StatusCode;
use std::time::{Duration, Instant};

pub(super) const NAME: &str = "component";

/// What the whole answer may take: less than the probe may.
const ANSWER: Duration = Duration::from_secs(8);
/// The answer is not read beyond this; Kasm's has a dozen bytes.
const LONGEST: usize = 64 * 1024;

/// Why there is no answer.
enum Silence {
    /// Nothing listens there.
    Refused,
    /// Anything else, in words.
    Other(String),
}

pub(super) fn health<'a>(context: &'a Context, _: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    found(async move {
        if !context.started {
            return Ok(Finding::ok(NOT_STARTED));
        }
        let node = context.node(NAME).await?;
        let role = node.role()?;
        let read = context.errands.run(NAME, move || match role {
            Role::Agent => node.installed.agent().map(|agent| agent.and_then(|agent| agent.public_port)),
            Role::Guac => node.installed.proxies().map(|all| all.first().and_then(|proxy| proxy.server_port)),
        });
        let port = read.await?.map_err(|error| Finding::unknown(error.to_string()))?.unwrap_or(443);
        let begun = Instant::now();
        Ok(match ask(role, port).await {
            Err(Silence::Refused) if !context.paths.is_machine() => Finding::ok(NOT_BELOW_ROOT),
            answer => judge(role, port, answer, begun.elapsed()),
        })
    })
}

/// docs/kasm-facts.md, 6.
fn path(role: Role) -> &'static str {
    match role {
        Role::Agent => "/agent/__healthcheck",
        Role::Guac => "/guac/__healthcheck",
    }
}

async fn ask(role: Role, port: u16) -> Result<(StatusCode, Vec<u8>), Silence> {
    let other = |error: &reqwest::Error| match net::describe(error).as_str() {
        "connection refused" => Silence::Refused,
        words => Silence::Other(words.to_owned()),
    };
    let client = net::client_of_this_machine(ANSWER).map_err(|error| Silence::Other(error.to_string()))?;
    let url = format!("https://127.0.0.1:{port}{}", path(role));
    let mut response = client.get(url).send().await.map_err(|error| other(&error))?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| other(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST {
            return Err(Silence::Other(format!("its answer is longer than {} KiB", LONGEST / 1024)));
        }
    }
    Ok((response.status(), body))
}

fn judge(role: Role, port: u16, answer: Result<(StatusCode, Vec<u8>), Silence>, took: Duration) -> Finding {
    let (container, path) = match role {
        Role::Agent => (AGENT.container, path(role)),
        Role::Guac => (PROXIES[0].container, path(role)),
    };
    let logs =
        |container: &str| format!("`docker logs {container}` says why; `curl -k https://127.0.0.1:{port}{path}` asks");
    match answer {
        Err(Silence::Refused) => Finding::warn(
            format!("nothing listens at port {port} of this machine, where {PROXY} should"),
            format!("see `docker ps -a`: {PROXY} must run, and its port be published"),
        ),
        Err(Silence::Other(words)) => {
            Finding::warn(format!("{container} does not answer through {PROXY} at port {port}: {words}"), logs(PROXY))
        }
        Ok((StatusCode::OK, body)) => match came_instead(&body) {
            None => Finding::ok(format!("{container} answers in {} ms", took.as_millis()))
                .with(Measure::new("component_latency_seconds", took.as_secs_f64())),
            Some(came) if came.contains("\"ok\"") && came.contains("false") => {
                Finding::warn(format!("{container} answers its health check with {came}"), logs(container))
            }
            Some(_) => Finding::unknown(format!("this release does not tell its health at {path}")),
        },
        // What nginx says when nobody answers behind it (RFC 9110, 15.6.3 to 15.6.5).
        Ok((status, _)) if status.is_server_error() => {
            Finding::warn(format!("{container} answers its health check with status {status}"), logs(container))
        }
        Ok((status, _)) => {
            Finding::unknown(format!("this release does not tell its health at {path} (status {})", status.as_u16()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_speaks_against_the_component_is_held_against_it() {
        let judged = |answer| {
            let finding = judge(Role::Agent, 443, answer, Duration::from_millis(12));
            format!("{}: {}", finding.level, finding.words)
        };
        let ok = |body: &str| judged(Ok((StatusCode::OK, body.as_bytes().to_vec())));
        let lines = [
            ok(r#"{"ok": true}"#),
            ok(r#"{"ok": false}"#),
            ok("<html></html>"),
            judged(Ok((StatusCode::NOT_FOUND, Vec::new()))),
            judged(Ok((StatusCode::BAD_GATEWAY, Vec::new()))),
            judged(Err(Silence::Refused)),
            judged(Err(Silence::Other("it did not answer in time".into()))),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r#"
        ok: kasm_agent answers in 12 ms
        warn: kasm_agent answers its health check with `{"ok": false}` instead of {"ok": true}
        unknown: this release does not tell its health at /agent/__healthcheck
        unknown: this release does not tell its health at /agent/__healthcheck (status 404)
        warn: kasm_agent answers its health check with status 502 Bad Gateway
        warn: nothing listens at port 443 of this machine, where kasm_proxy should
        warn: kasm_agent does not answer through kasm_proxy at port 443: it did not answer in time
        "#);
    }
}
