//! Memory and swap, the load, and what the kernel has killed for lack of memory.

use super::{not_told, number};
use crate::health::model::{Finding, Measure, ProbeStatus};
use crate::health::probe::Context;
use crate::machine::pressure::{self, Load, Memory};
use crate::words;
use futures_util::future::{BoxFuture, FutureExt, ready};
use nix::unistd::SysconfVar;

pub(super) const NAME: &str = "memory";
pub(super) const LOAD: &str = "load";
pub(super) const OOM: &str = "oom-kills";

/// Less memory than so much is worth a word, and less than a twentieth of a smaller machine's.
const LITTLE: u64 = 512 << 20;
/// With so many processes waiting for each processor over five minutes, sessions crawl.
const CROWDED: f64 = 4.0;
/// For so many seconds a killed process is remembered.
const REMEMBERED: f64 = 3600.0;
const TOTAL: &str = "oom_kills_total";
const SEEN: &str = "oom_kill_seen_uptime_seconds";

pub(super) fn memory<'a>(context: &'a Context, _: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    let finding = match pressure::memory(&context.paths) {
        Ok(memory) => judge_memory(&memory),
        Err(error) => not_told(context, &error),
    };
    ready(finding).boxed()
}

fn judge_memory(memory: &Memory) -> Finding {
    let Memory { total, available, swap_total, swap_free } = *memory;
    let swap = match swap_total {
        0 => "no swap".to_owned(),
        total => format!("{} of {} swap free", words::bytes(swap_free), words::bytes(total)),
    };
    let words = format!("{} of {} memory available, {swap}", words::bytes(available), words::bytes(total));
    let more = "`docker stats` shows who takes it; give the machine more memory, or let it run fewer sessions";
    let finding = if available < LITTLE.min(total / 20) {
        Finding::warn(format!("memory runs short: {words}"), more)
    } else if swap_total > 0 && swap_free < swap_total / 10 {
        Finding::warn(format!("swap is nearly full: {words}"), more)
    } else {
        Finding::ok(words)
    };
    finding
        .with(Measure::new("memory_size_bytes", total as f64))
        .with(Measure::new("memory_available_bytes", available as f64))
        .with(Measure::new("swap_size_bytes", swap_total as f64))
        .with(Measure::new("swap_free_bytes", swap_free as f64))
}

pub(super) fn load<'a>(context: &'a Context, _: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    let processors =
        nix::unistd::sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten().and_then(|n| u32::try_from(n).ok());
    let finding = match pressure::load(&context.paths) {
        Ok(load) => judge_load(&load, processors.unwrap_or(1).max(1)),
        Err(error) => not_told(context, &error),
    };
    ready(finding).boxed()
}

fn judge_load(load: &Load, processors: u32) -> Finding {
    let on = format!("{processors} processor{}", if processors == 1 { "" } else { "s" });
    let words = format!("load {:.2} {:.2} {:.2} on {on}", load.one, load.five, load.fifteen);
    let finding = match load.five > CROWDED * f64::from(processors) {
        true => Finding::warn(
            format!("the machine has more to do than it can: {words}"),
            "`docker stats` shows who keeps it busy; give it more processors, or let it run fewer sessions",
        ),
        false => Finding::ok(words),
    };
    finding
        .with(Measure::new("load1", load.one))
        .with(Measure::new("load5", load.five))
        .with(Measure::new("load15", load.fifteen))
}

pub(super) fn oom<'a>(context: &'a Context, before: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    let kills = pressure::oom_kills(&context.paths).and_then(|kills| Ok((kills, pressure::uptime(&context.paths)?)));
    let finding = match kills {
        Ok((kills, uptime)) => judge_kills(kills, uptime, number(before, TOTAL), number(before, SEEN)),
        Err(error) => not_told(context, &error),
    };
    ready(finding).boxed()
}

/// `known`: how many had been killed when this was asked last; `seen`: how long the machine had been up when the last
/// of them was noticed. Both count from 0 again when the machine is started.
fn judge_kills(kills: u64, uptime: f64, known: Option<f64>, seen: Option<f64>) -> Finding {
    let more = known.is_some_and(|known| kills as f64 > known);
    let seen = match (more, seen) {
        (true, _) => Some(uptime),
        (false, Some(seen)) if seen <= uptime && uptime - seen < REMEMBERED => Some(seen),
        (false, _) => None,
    };
    let counted = match kills {
        0 => return Finding::ok("nothing was killed for lack of memory").with(Measure::new(TOTAL, 0.0)),
        1 => "1 process".to_owned(),
        kills => format!("{kills} processes"),
    };
    let finding = match seen {
        Some(seen) => Finding::warn(
            format!(
                "the kernel has killed {counted} for lack of memory since the machine started, the last one lately"
            ),
            "`journalctl -k -g 'out of memory'` names them; give the machine more memory or swap, or fewer sessions",
        )
        .with(Measure::new(SEEN, seen)),
        None => Finding::ok(format!("{counted} killed for lack of memory, none of them lately")),
    };
    finding.with(Measure::new(TOTAL, kills as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Level;

    fn line(finding: &Finding) -> String {
        format!("{}: {}", finding.level, finding.words)
    }

    #[test]
    fn memory_and_load_are_judged_by_the_size_of_the_machine() {
        const GIB: u64 = 1 << 30;
        let memory = |total, available, swap_total, swap_free| {
            line(&judge_memory(&Memory { total, available, swap_total, swap_free }))
        };
        let load = |five, processors| line(&judge_load(&Load { one: 0.1, five, fifteen: 3.0 }, processors));
        let lines = [
            memory(16 * GIB, 8 * GIB, 0, 0),
            memory(64 * GIB, GIB, 8 * GIB, 8 * GIB),
            memory(64 * GIB, GIB / 4, 8 * GIB, 8 * GIB),
            memory(2 * GIB, GIB / 4, 8 * GIB, GIB / 8),
            load(7.5, 2),
            load(8.5, 2),
            load(0.0, 1),
        ];
        insta::assert_snapshot!(lines.join("\n"), @"
        ok: 8.6 GB of 17.2 GB memory available, no swap
        ok: 1.1 GB of 68.7 GB memory available, 8.6 GB of 8.6 GB swap free
        warn: memory runs short: 268.4 MB of 68.7 GB memory available, 8.6 GB of 8.6 GB swap free
        warn: swap is nearly full: 268.4 MB of 2.1 GB memory available, 134.2 MB of 8.6 GB swap free
        ok: load 0.10 7.50 3.00 on 2 processors
        warn: the machine has more to do than it can: load 0.10 8.50 3.00 on 2 processors
        ok: load 0.10 0.00 3.00 on 1 processor
        ");
    }

    #[test]
    fn a_killed_process_is_told_for_an_hour_and_a_restart_of_the_machine_forgets_it() {
        let asked = |kills, uptime, before: Option<&Finding>| {
            let measure = |name: &str| {
                before.and_then(|before| before.measures.iter().find(|one| one.name == name)).map(|one| one.value)
            };
            judge_kills(kills, uptime, measure(TOTAL), measure(SEEN))
        };
        let first = asked(2, 100.0, None);
        assert_eq!(line(&first), "ok: 2 processes killed for lack of memory, none of them lately");
        let second = asked(3, 160.0, Some(&first));
        assert_eq!(second.level, Level::Warn);
        let third = asked(3, 3700.0, Some(&second));
        assert_eq!((third.level, &third.words), (Level::Warn, &second.words));
        assert_eq!(asked(3, 3761.0, Some(&third)).level, Level::Ok);
        assert_eq!(line(&asked(0, 10.0, Some(&third))), "ok: nothing was killed for lack of memory");
        assert_eq!(asked(1, 10.0, Some(&third)).level, Level::Ok);
    }
}
