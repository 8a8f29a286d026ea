//! The way to the manager, stage by stage, and this node's own address at the near end of it.

use super::report::with_causes;
use super::{Context, LOOK_TIME, Mode, Verdict};
use crate::deadline::Deadline;
use crate::error::Explain;
use crate::intent::AddressChoice;
use crate::kasm::manager::{Error, Look, Trust};
use crate::machine::{address, cloud};
use crate::observe::Silent;
use futures_util::future::{BoxFuture, FutureExt};
use std::time::Duration;

pub(super) const NO_MANAGER: &str = "no manager is given";

pub(super) fn name(context: &Context) -> BoxFuture<'_, Verdict> {
    stage(context, |look, host| match &look.addresses {
        Err(error) => match &look.through {
            None => Err(error),
            Some(through) => Ok(Verdict::Skipped(format!(
                "{host} does not resolve here, but the way leads through proxy {}, which resolves it itself",
                through.proxy
            ))),
        },
        Ok(_) if host.parse::<std::net::IpAddr>().is_ok() => Ok(Verdict::Pass(format!("{host} is an address already"))),
        Ok(addresses) => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let told_by = look.told_by.as_ref().map(|who| format!(", says {who}")).unwrap_or_default();
            Ok(Verdict::Pass(format!("{host} is {}{told_by}", addresses.join(", "))))
        }
    })
}

pub(super) fn tcp(context: &Context) -> BoxFuture<'_, Verdict> {
    stage(context, |look, _| match (&look.connection, &look.through) {
        (_, Some(through)) => Ok(Verdict::Skipped(format!("the way leads through proxy {}: see proxy", through.proxy))),
        (None, None) => Ok(Verdict::Skipped("the manager's name does not resolve".into())),
        (Some(Err(error)), None) => Err(error),
        (Some(Ok(reached)), None) => {
            Ok(Verdict::Pass(format!("{} answers in {}", reached.address, milliseconds(reached.latency))))
        }
    })
}

pub(super) fn tls(context: &Context) -> BoxFuture<'_, Verdict> {
    stage(context, |look, _| match (&look.trust, &look.health) {
        (Some(Trust::Verified), _) => Ok(Verdict::Pass("the certificate is verified".into())),
        (Some(Trust::Distrusted(why)), _) => Ok(Verdict::Warn {
            detail: format!("the manager's certificate {why}"),
            remedy: "pass --ca-cert or --tls-pin to verify it".into(),
        }),
        (Some(Trust::NotAsked), _) => Ok(Verdict::Warn {
            detail: "the manager's certificate is not looked at (--insecure)".into(),
            remedy: "pass --ca-cert or --tls-pin in place of --insecure".into(),
        }),
        (None, Some(Err(error))) if is_tls(error) => Err(error),
        (None, Some(_)) => Ok(Verdict::Skipped("the manager does not answer: see manager-health".into())),
        (None, None) => Ok(Verdict::Skipped("there is no connection to the manager".into())),
    })
}

pub(super) fn health(context: &Context) -> BoxFuture<'_, Verdict> {
    stage(context, |look, _| match &look.health {
        None => Ok(Verdict::Skipped("there is no connection to the manager".into())),
        Some(Err(error)) if look.trust.is_none() && is_tls(error) => {
            Ok(Verdict::Skipped("there is no TLS connection to the manager".into()))
        }
        Some(Err(error)) => Err(error),
        Some(Ok(health)) => Ok(Verdict::Pass(format!("healthy, answered in {}", milliseconds(health.latency)))),
    })
}

pub(super) fn address(context: &Context) -> BoxFuture<'_, Verdict> {
    async move {
        let Some(choice) = &context.address else { return Verdict::Skipped("no address is asked for".into()) };
        if let AddressChoice::Cloud(method) = choice {
            let deadline = Deadline::after(LOOK_TIME);
            return match cloud::address(&context.paths, *method, &context.metadata, deadline, &Silent).await {
                Ok(found) => Verdict::Pass(found.story()),
                Err(error) if context.mode == Mode::Wait && error.may_pass() => not_yet(&error),
                Err(error) => Verdict::fail(&error),
            };
        }
        let (remote, port) = match (choice, &context.manager) {
            (AddressChoice::Auto, Some(manager)) => match context.look(manager).await {
                Look { addresses: Ok(addresses), .. } => (addresses.as_slice(), manager.port_or_https()),
                Look { through: Some(through), .. } if !through.addresses.is_empty() => {
                    (through.addresses.as_slice(), manager.port_or_https())
                }
                _ => return Verdict::Skipped("it depends on the manager's name, which does not resolve".into()),
            },
            (AddressChoice::Auto, None) => return Verdict::Skipped(NO_MANAGER.into()),
            _ => (Default::default(), 0),
        };
        match address::find(choice, remote, port) {
            Ok(found) => match &found.warning {
                None => Verdict::Pass(found.story()),
                Some(warning) => Verdict::Warn {
                    detail: warning.clone(),
                    remedy: "give the address that others reach this machine by (-p ADDRESS, or agent.address)".into(),
                },
            },
            Err(error @ address::Error::NoRoute { .. }) if context.mode == Mode::Wait => not_yet(&error),
            Err(error) => Verdict::fail(&error),
        }
    }
    .boxed()
}

/// One stage of the look at the manager; an error is judged by the mode.
fn stage<'a>(
    context: &'a Context,
    judge: fn(&'a Look, &'a str) -> Result<Verdict, &'a Error>,
) -> BoxFuture<'a, Verdict> {
    async move {
        let Some(manager) = &context.manager else { return Verdict::Skipped(NO_MANAGER.into()) };
        match judge(context.look(manager).await, &manager.host) {
            Ok(verdict) => verdict,
            Err(error) if context.mode == Mode::Wait && error.heals() => not_yet(error),
            Err(error) => Verdict::fail(error),
        }
    }
    .boxed()
}

pub(super) fn not_yet(error: &impl Explain) -> Verdict {
    Verdict::Warn { detail: format!("not yet: {} (will be waited for)", with_causes(error)), remedy: error.help() }
}

fn is_tls(error: &Error) -> bool {
    matches!(
        error,
        Error::Untrusted { .. }
            | Error::Clock { .. }
            | Error::NotTls { .. }
            | Error::Handshake { .. }
            | Error::Client(_)
    )
}

fn milliseconds(span: Duration) -> String {
    format!("{} ms", span.as_millis())
}
