//! How hard the machine is pressed, as `/proc` tells it (proc(5)): memory, load, what the kernel had to kill.

use super::facts::read_small;
use crate::paths::Paths;
use std::io;

/// Memory and swap, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// What programs can still have without swapping (proc_meminfo(5), `MemAvailable`).
    pub available: u64,
    /// Swap; 0: none.
    pub swap_total: u64,
    /// Swap that is free.
    pub swap_free: u64,
}

/// Reads the text of `/proc/meminfo`; `None` without total and available memory, or if more is free than there is.
pub fn parse_meminfo(text: &str) -> Option<Memory> {
    let bytes = |wanted: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(wanted)?.strip_prefix(':'))?;
        let number = line.trim_ascii_start().strip_suffix("kB")?.trim_ascii();
        number.parse::<u64>().ok()?.checked_mul(1024)
    };
    let memory = Memory {
        total: bytes("MemTotal")?,
        available: bytes("MemAvailable")?,
        swap_total: bytes("SwapTotal").unwrap_or(0),
        swap_free: bytes("SwapFree").unwrap_or(0),
    };
    (memory.available <= memory.total && memory.swap_free <= memory.swap_total).then_some(memory)
}

/// How many processes wanted to run, on average of the last 1, 5 and 15 minutes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Of the last minute.
    pub one: f64,
    /// Of the last five.
    pub five: f64,
    /// Of the last fifteen.
    pub fifteen: f64,
}

/// Reads the text of `/proc/loadavg`.
pub fn parse_loadavg(text: &str) -> Option<Load> {
    let mut numbers = text.split_ascii_whitespace().map(|word| {
        let plain = word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        word.parse::<f64>().ok().filter(|number| plain && number.is_finite())
    });
    Some(Load { one: numbers.next()??, five: numbers.next()??, fifteen: numbers.next()?? })
}

/// A counter by its name: `/proc/vmstat`, `/proc/stat`.
pub fn parse_counter(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.trim_ascii().parse().ok()
}

/// Seconds since the machine started, from the text of `/proc/uptime`.
pub fn parse_uptime(text: &str) -> Option<f64> {
    let first = text.split_ascii_whitespace().next()?;
    first.parse().ok().filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0)
}

/// Memory and swap.
///
/// # Errors
/// The file cannot be read, or makes no sense.
pub fn memory(paths: &Paths) -> io::Result<Memory> {
    read(paths, "meminfo", parse_meminfo)
}

/// The load.
///
/// # Errors
/// As of [`memory`].
pub fn load(paths: &Paths) -> io::Result<Load> {
    read(paths, "loadavg", parse_loadavg)
}

/// How many processes the kernel has killed for lack of memory since the machine started (`oom_kill`, there since
/// Linux 4.13).
///
/// # Errors
/// As of [`memory`].
pub fn oom_kills(paths: &Paths) -> io::Result<u64> {
    read(paths, "vmstat", |text| parse_counter(text, "oom_kill"))
}

/// Seconds since the machine started. No step of the clock moves them.
///
/// # Errors
/// As of [`memory`].
pub fn uptime(paths: &Paths) -> io::Result<f64> {
    read(paths, "uptime", parse_uptime)
}

fn read<T>(paths: &Paths, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> io::Result<T> {
    let text = read_small(&paths.proc_dir().join(name))?;
    parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{name} makes no sense")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_running_machine_tells_all_of_it() {
        let paths = Paths::default();
        assert!(memory(&paths).unwrap().total > 1 << 20);
        assert!(load(&paths).unwrap().fifteen >= 0.0);
        assert!(oom_kills(&paths).is_ok());
        assert!(uptime(&paths).unwrap() > 0.0);
    }

    #[test]
    fn what_is_not_there_or_no_sense_is_an_error_and_never_zero() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        assert_eq!(memory(&paths).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::create_dir(paths.proc_dir()).unwrap();
        for text in ["", "MemTotal: 4 kB\n", "MemTotal: 4 kB\nMemAvailable: 5 kB\n", "MemTotal: 4\nMemAvailable: 1\n"] {
            std::fs::write(paths.proc_dir().join("meminfo"), text).unwrap();
            assert_eq!(memory(&paths).unwrap_err().kind(), io::ErrorKind::InvalidData, "{text:?}");
        }
        assert_eq!(parse_counter("oom_kill_extra 3\noom_kill 7\n", "oom_kill"), Some(7));
        assert_eq!(parse_counter("nr_oom_kill 3\n", "oom_kill"), None);
        for text in ["", "nan 1 1", "1.0 2.0", "-1 1 1", "1e3 1 1", "inf 1 1"] {
            assert_eq!(parse_loadavg(text), None, "{text:?}");
        }
        assert_eq!(parse_uptime("inf 1"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_text_makes_a_reader_panic(text in "(?s)((MemTotal|MemAvailable|SwapTotal|SwapFree|oom_kill)[: ]+[0-9a-z.]{0,24}( kB)?\n|.{0,20})*") {
            parse_meminfo(&text);
            parse_loadavg(&text);
            parse_counter(&text, "oom_kill");
            parse_uptime(&text);
        }

        #[test]
        fn what_the_kernel_writes_is_read_back(total in 1u64..1 << 40, part in 0u64..=100, swap in 0u64..1 << 40, load in 0u32..10_000_000, kills in any::<u64>()) {
            let available = total / 100 * part;
            let text = format!("MemTotal:       {total} kB\nMemFree: 1 kB\nMemAvailable:   {available} kB\nSwapTotal: {swap} kB\nSwapFree: 0 kB\n");
            let expected = Memory { total: total * 1024, available: available * 1024, swap_total: swap * 1024, swap_free: 0 };
            prop_assert_eq!(parse_meminfo(&text), Some(expected));
            let hundredths = f64::from(load) / 100.0;
            let read = parse_loadavg(&format!("{hundredths:.2} 0.00 1.50 1/234 5678\n"));
            prop_assert_eq!(read, Some(Load { one: hundredths, five: 0.0, fifteen: 1.5 }));
            prop_assert_eq!(parse_counter(&format!("pgfault 1\noom_kill {kills}\n"), "oom_kill"), Some(kills));
        }
    }
}
