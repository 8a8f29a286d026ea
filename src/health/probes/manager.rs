//! The manager, as this node sees it: name, health, certificate. Nothing secret is sent.

use super::{DAY, SOON, found};
use crate::error::Explain;
use crate::health::model::{Finding, Measure, ProbeStatus};
use crate::health::probe::Context;
use crate::kasm::manager::{Error, Trust, Validity};
use futures_util::future::BoxFuture;
use jiff::Timestamp;

pub(super) const NAME: &str = "manager";
pub(super) const DNS: &str = "manager-name";
pub(super) const CERTIFICATE: &str = "manager-certificate";

/// Answers take milliseconds; one that takes longer than this comes from a manager in trouble. In seconds.
const SLOW: f64 = 3.0;

pub(super) fn name<'a>(context: &'a Context, _: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    found(async move {
        let seen = context.manager(DNS).await?;
        let host = &seen.address.host;
        Ok(match (&seen.look.addresses, &seen.look.through) {
            (Ok(_), _) if host.parse::<std::net::IpAddr>().is_ok() => {
                Finding::ok(format!("{host} is an address already"))
            }
            (Ok(addresses), _) => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                let told_by = seen.look.told_by.as_ref().map(|who| format!(", says {who}")).unwrap_or_default();
                Finding::ok(format!("{host} is {}{told_by}", addresses.join(", ")))
            }
            (Err(_), Some(through)) => {
                Finding::ok(format!("{host} is for proxy {} to resolve, through which the way leads", through.proxy))
            }
            (Err(Error::Dns { cause, .. }), None) => {
                let help = "see that the name servers in /etc/resolv.conf answer and know the name (`getent hosts` \
                            asks them), or write the name into /etc/hosts";
                Finding::fail(format!("DNS does not lead to the manager: {cause}"), help)
            }
            (Err(error), None) => Finding::fail(format!("DNS does not lead to the manager: {error}"), error.help()),
        })
    })
}

pub(super) fn health<'a>(context: &'a Context, _: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    found(async move {
        let seen = context.manager(NAME).await?;
        let look = &seen.look;
        let error = match (&look.health, &look.connection, &look.through) {
            (Some(Ok(health)), ..) => {
                let latency = health.latency.as_secs_f64();
                let measures = vec![Measure::new("manager_up", 1.0), Measure::new("manager_latency_seconds", latency)];
                let name = &seen.address;
                let finding = match latency > SLOW {
                    true => Finding::warn(
                        format!("manager {name} is healthy, but takes {latency:.1} s to say so"),
                        "see how the manager's own machine is, and the way to it (`mtr`)",
                    ),
                    false => Finding::ok(format!("manager {name} is healthy, answered in {:.0} ms", latency * 1000.0)),
                };
                return Ok(Finding { measures, ..finding });
            }
            (Some(Err(error)), ..) => error,
            (None, Some(Err(error)), _) => error,
            (None, _, Some(through)) => match &through.tunnel {
                Err(error) => error,
                Ok(()) => return Err(Finding::unknown("the manager was not asked")),
            },
            (None, ..) => return Err(Finding::unknown("the manager was not asked: its name does not resolve")),
        };
        let words = match is_somebody_else(error) {
            true => format!("the upstream address {} is most likely wrong: {error}", seen.address),
            false => error.to_string(),
        };
        Ok(Finding::fail(words, error.help()).with(Measure::new("manager_up", 0.0)))
    })
}

/// Whoever answers there does not answer as a manager does.
fn is_somebody_else(error: &Error) -> bool {
    match error {
        Error::NotTls { .. } | Error::Redirect { .. } => true,
        Error::Status { status, .. } => status.is_client_error(),
        // A manager that is not well says so in its own words.
        Error::Body { came, .. } => !came.contains("\"ok\"") && came != "nothing",
        _ => false,
    }
}

pub(super) fn certificate<'a>(context: &'a Context, _: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    found(async move {
        let seen = context.manager(CERTIFICATE).await?;
        let look = &seen.look;
        let Some(validity) = &look.certificate else {
            return Err(match &look.health {
                Some(Err(error @ (Error::Untrusted { .. } | Error::Clock { .. }))) => {
                    Finding::fail(error.to_string(), error.help())
                }
                _ => Finding::unknown("the manager has shown no certificate (see manager)"),
            });
        };
        // The manager's own clock, where it tells it: a wrong one here is for another probe to say.
        let theirs = look.clocks.and_then(|clocks| Timestamp::try_from(clocks.manager).ok());
        let now = theirs.unwrap_or_else(Timestamp::now);
        Ok(judge(validity, now, look.trust.as_ref())
            .with(Measure::new("manager_certificate_expiry_timestamp_seconds", validity.until.as_second() as f64)))
    })
}

fn judge(validity: &Validity, now: Timestamp, trust: Option<&Trust>) -> Finding {
    const RENEW: &str = "renew the manager's certificate";
    let left = now.duration_until(validity.until).as_secs();
    let until = validity.until.strftime("%Y-%m-%d %H:%M UTC");
    if now < validity.from {
        let from = validity.from.strftime("%Y-%m-%d %H:%M UTC");
        return Finding::warn(format!("the manager's certificate is valid only from {from} on"), RENEW);
    }
    if left <= 0 {
        // Kasm's own scripts ask without looking at it (docs/kasm-facts.md, 6); browsers do not.
        return Finding::warn(format!("the manager's certificate expired at {until}"), RENEW);
    }
    let days = left / DAY;
    let span = match days {
        0 => "in less than a day".to_owned(),
        1 => "in 1 day".to_owned(),
        days => format!("in {days} days"),
    };
    if days < SOON {
        return Finding::warn(format!("the manager's certificate expires {span}, at {until}"), RENEW);
    }
    let trust = match trust {
        Some(Trust::Verified) => "verified, ",
        _ => "not verified, ",
    };
    Finding::ok(format!("{trust}expires {span}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_judged_by_what_is_left_of_it() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let validity = Validity { from: at("2026-01-01T00:00:00Z"), until: at("2026-12-31T00:00:00Z") };
        let days = ["2025-12-31", "2026-06-01", "2026-12-16", "2026-12-18", "2026-12-29", "2026-12-30", "2027-01-01"];
        let lines = days.map(|day| {
            let finding = judge(&validity, at(&format!("{day}T12:00:00Z")), Some(&Trust::Verified));
            format!("{} {}: {}", day, finding.level, finding.words)
        });
        insta::assert_snapshot!(lines.join("\n"), @"
        2025-12-31 warn: the manager's certificate is valid only from 2026-01-01 00:00 UTC on
        2026-06-01 ok: verified, expires in 212 days
        2026-12-16 ok: verified, expires in 14 days
        2026-12-18 warn: the manager's certificate expires in 12 days, at 2026-12-31 00:00 UTC
        2026-12-29 warn: the manager's certificate expires in 1 day, at 2026-12-31 00:00 UTC
        2026-12-30 warn: the manager's certificate expires in less than a day, at 2026-12-31 00:00 UTC
        2027-01-01 warn: the manager's certificate expired at 2026-12-31 00:00 UTC
        ");
    }
}
