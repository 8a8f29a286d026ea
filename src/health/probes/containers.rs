//! The containers of the role: whether they are up, and whether they stay up.

use super::docker as daemon;
use super::{NOT_STARTED, found};
use crate::health::containers::{self, fell};
use crate::health::model::{Finding, Level, Measure, ProbeStatus};
use crate::health::probe::Context;
use crate::kasm::docker;
use crate::words::listed;
use futures_util::future::{BoxFuture, join_all};
use jiff::Timestamp;

pub(super) const NAME: &str = "containers";
pub(super) const RESTARTS: &str = "restarts";

/// So many restarts between two questions, or in a life as short as [`CALM`], are a container that does not stay up:
/// Docker starts one again at once at first, and after a minute at the longest (its documentation, "Start containers
/// automatically").
const LOOP: u64 = 3;
/// A container that has been up for so many seconds has got over what befell it before anybody asked.
const CALM: i64 = 600;
/// The name of the number of restarts.
const TOTAL: &str = "container_restarts_total";

/// The names of the containers that this release starts for the role.
async fn expected(context: &Context, probe: &'static str) -> Result<Vec<&'static str>, Finding> {
    let node = context.node(probe).await?;
    let role = node.role()?;
    context.errands.run(probe, move || node.installed.containers(role)).await
}

pub(super) fn up<'a>(context: &'a Context, _: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    found(async move {
        if !context.started {
            return Ok(Finding::ok(NOT_STARTED));
        }
        let expected = expected(context, NAME).await?;
        let list =
            docker::containers(&context.paths.docker_socket()).await.map_err(|error| daemon::not_asked(&error))?;
        let troubles = containers::troubles(&expected, &list);
        let measure = |name: &&str| {
            let is_up = !troubles.iter().any(|(other, _)| other == name);
            Measure::of("container_up", "container", name, f64::from(u8::from(is_up)))
        };
        let measures = expected.iter().map(measure).collect();
        let Some((first, _)) = troubles.first() else {
            return Ok(Finding { measures, ..Finding::ok(expected.join(", ")) });
        };
        let is_there = list.iter().any(|container| container.is_named(first));
        let remedy = match is_there {
            true => format!("`docker logs {first}` says why"),
            false => "start Kasm: `systemctl start kasm`, up to Kasm 1.17 `/opt/kasm/bin/start`".into(),
        };
        let words: Vec<String> = troubles.iter().map(|(name, words)| format!("{name} {words}")).collect();
        Ok(Finding { measures, ..Finding::fail(words.join(", "), remedy) })
    })
}

pub(super) fn restarts<'a>(context: &'a Context, before: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    found(async move {
        let expected = expected(context, RESTARTS).await?;
        let socket = context.paths.docker_socket();
        let asked = join_all(expected.iter().map(|name| docker::details(&socket, name))).await;
        let mut seen = Vec::new();
        for (name, details) in expected.iter().zip(asked) {
            match details {
                Ok(details) => seen.push((*name, details)),
                // That it is not there is for another probe to say.
                Err(docker::Error::Unknown(_)) => {}
                Err(error) => return Err(daemon::not_asked(&error)),
            }
        }
        Ok(judge(&seen, before, Timestamp::now()))
    })
}

/// By how often each was started again since it was asked last; where nobody asked before, by how often it ever was,
/// if it has not been up for long.
fn judge(seen: &[(&'static str, docker::Details)], before: Option<&ProbeStatus>, now: Timestamp) -> Finding {
    let mut fallen: Vec<(&str, u64, bool)> = Vec::new();
    let mut finding = Finding::ok("no container was started again lately");
    for (name, details) in seen {
        finding = finding.with(Measure::of(TOTAL, "container", name, details.restarts as f64));
        let is_it = |measure: &&Measure| measure.name == TOTAL && measure.of.as_ref().is_some_and(|of| of.1 == *name);
        let known = before.and_then(|before| before.measures.iter().find(is_it)).map(|measure| measure.value as u64);
        let is_young = details.started.is_none_or(|started| started.duration_until(now).as_secs() < CALM);
        let times = match known {
            // Another container of the same name, or one that somebody has restarted, counts from 0 again.
            Some(known) => details.restarts.checked_sub(known).unwrap_or(details.restarts),
            None if is_young => details.restarts,
            None => 0,
        };
        if times > 0 {
            fallen.push((name, times, details.out_of_memory));
        }
    }
    let lines = |list: &[(&str, u64, bool)]| -> String {
        let line = |(name, times, out_of_memory): &(&str, u64, bool)| match out_of_memory {
            true => format!("{} for lack of memory", fell(name, *times)),
            false => fell(name, *times),
        };
        listed(&list.iter().map(line).collect::<Vec<_>>())
    };
    let looping: Vec<_> = fallen.iter().filter(|(_, times, _)| *times >= LOOP).copied().collect();
    if let Some((first, ..)) = looping.first() {
        finding.level = Level::Fail;
        finding.words = format!("{}: it does not stay up", lines(&looping));
        finding.remedy = Some(format!("`docker logs {first}` says why"));
    } else if !fallen.is_empty() {
        finding.words = lines(&fallen);
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details(restarts: u64, started: &str) -> docker::Details {
        docker::Details {
            id: "x".into(),
            state: "running".into(),
            restarts,
            started: started.parse().ok(),
            out_of_memory: false,
            exit_code: None,
        }
    }

    fn status(finding: Finding) -> ProbeStatus {
        ProbeStatus {
            name: RESTARTS.into(),
            level: finding.level,
            words: finding.words,
            since: String::new(),
            remedy: finding.remedy,
            checked: String::new(),
            took_ms: 0,
            measures: finding.measures,
        }
    }

    #[test]
    fn a_crash_loop_is_told_from_one_fall_and_from_falls_of_long_ago() {
        let now: Timestamp = "2026-01-02T12:00:00Z".parse().unwrap();
        let (young, old) = ("2026-01-02T11:59:00Z", "2026-01-01T00:00:00Z");
        let one = |restarts, started, before: Option<&ProbeStatus>| {
            let finding = judge(&[("kasm_guac", details(restarts, started))], before, now);
            (finding.level, finding.words.clone(), status(finding))
        };
        assert_eq!(one(9, old, None).0, Level::Ok);
        assert_eq!(one(2, young, None).1, "kasm_guac was started again twice");
        let (level, words, before) = one(4, young, None);
        assert_eq!((level, words.as_str()), (Level::Fail, "kasm_guac was started again 4 times: it does not stay up"));
        assert_eq!(one(4, young, Some(&before)).0, Level::Ok);
        assert_eq!(one(5, young, Some(&before)).1, "kasm_guac was started again");
        assert_eq!(one(7, young, Some(&before)).0, Level::Fail);
        assert_eq!(one(0, young, Some(&before)).0, Level::Ok);
        assert_eq!(one(3, young, Some(&before)).0, Level::Fail);
    }

    #[test]
    fn what_was_killed_for_lack_of_memory_is_told_so() {
        let now: Timestamp = "2026-01-02T12:00:00Z".parse().unwrap();
        let killed = docker::Details { out_of_memory: true, ..details(3, "2026-01-02T11:59:00Z") };
        let finding = judge(&[("kasm_guac", killed)], None, now);
        assert_eq!(finding.words, "kasm_guac was started again 3 times for lack of memory: it does not stay up");
    }
}
