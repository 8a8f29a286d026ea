//! One command, measured: wall time, processor time, the most memory any of its processes had.
//!
//! It is run by a small process of its own (`bench measure`), because a process started from a large one
//! is accounted for that one's memory (getrusage(2), `ru_maxrss` across execve).

use crate::Fallible;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::ffi::OsString;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// What a command took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Taken {
    /// Seconds on the clock.
    pub wall: f64,
    /// Seconds of processor time, of all processes and the kernel for them.
    pub cpu: f64,
    /// KiB of the process that had the most.
    pub rss: u64,
}

/// `bench measure COMMAND…`: runs it and prints what it took.
pub fn child(command: &[OsString]) -> ExitCode {
    let Some((program, args)) = command.split_first() else { return ExitCode::from(2) };
    let begun = Instant::now();
    let status = Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).status();
    let wall = begun.elapsed();
    match (status, getrusage(UsageWho::RUSAGE_CHILDREN)) {
        (Ok(status), Ok(usage)) if status.success() => {
            let cpu = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
            println!("{} {cpu} {}", wall.as_micros(), usage.max_rss());
            ExitCode::SUCCESS
        }
        (status, _) => {
            eprintln!("{} ended with {status:?}", program.display());
            ExitCode::FAILURE
        }
    }
}

/// Runs a command measured. Its standard output is thrown away; it has to end well.
pub fn measured(command: &Command) -> Fallible<Taken> {
    let mut wrapped = Command::new(std::env::current_exe()?);
    wrapped.arg("measure").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    let output = wrapped.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{command:?} failed").into());
    }
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [wall, cpu, rss] = numbers[..] else { return Err(format!("{text:?} is no measurement").into()) };
    let seconds = |micros| Duration::from_micros(micros).as_secs_f64();
    Ok(Taken { wall: seconds(wall), cpu: seconds(cpu), rss })
}

/// Runs a command that has to end well.
pub fn must(command: &mut Command) -> Fallible<()> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()).into()),
    }
}

/// The middle one (the lower of two).
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// The largest.
pub fn most(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(f64::NAN, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(median([5.0, 1.0, 3.0]), 3.0);
        assert_eq!(median([4.0, 1.0, 3.0, 2.0]), 2.0);
        assert!(median([]).is_nan());
        assert_eq!(most([1.0, 3.0, 2.0]), 3.0);
    }
}
