//! On what it was measured.

use std::fs;
use std::process::Command;

/// This machine.
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// How many are usable.
    pub cores: usize,
    /// MiB of memory.
    pub memory: u64,
    /// Kernel and system.
    pub system: String,
    /// The compiler.
    pub rustc: String,
    /// The commit, and whether anything was changed since.
    pub commit: String,
    /// The day, UTC.
    pub date: String,
    /// Load averages when it began.
    pub load_before: String,
    /// Load averages when it ended.
    pub load_after: String,
}

impl Machine {
    /// Looks at it.
    pub fn look() -> Machine {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once([':', '='])?.1.trim().trim_matches('"').to_owned())
        };
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib = field(&meminfo, "MemTotal").and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok());
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let changed = if said("git", &["status", "--porcelain", "--", "src", "Cargo.lock", "Cargo.toml"]).is_empty() {
            ""
        } else {
            ", changed since"
        };
        Machine {
            cpu: field(&cpuinfo, "model name").unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory: kib.unwrap_or_default() / 1024,
            system: format!(
                "Linux {}, {}",
                kernel.trim(),
                field(&release, "PRETTY_NAME").unwrap_or_else(|| "unknown".into())
            ),
            rustc: said("rustc", &["-V"]),
            commit: format!("{}{changed}", said("git", &["rev-parse", "--short=12", "HEAD"])),
            date: said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
            load_before: load(),
            load_after: String::new(),
        }
    }
}

/// The load averages of one, five and fifteen minutes.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(", ")
}

fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map_or_else(|_| "unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
