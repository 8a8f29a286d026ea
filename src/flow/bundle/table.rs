//! What a bundle consists of, in the order it is gathered: what tells most comes first, because the whole is bounded.

/// Where an item comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The end of a file that grows. What lies in its place and is no regular file is not read.
    Log(&'static str),
    /// A small file, all of it. The machine's own links, such as `/etc/resolv.conf`, are followed.
    File(&'static str),
    /// The ends of all files below a directory, so many directories deep. Links are not followed.
    Tree(&'static str, usize),
    /// The ends of the logs of every installed version of Kasm.
    KasmLogs,
    /// What a program says.
    Program(&'static [&'static str]),
    /// Docker's own words, over its socket.
    Docker(Topic),
    /// What this program finds out itself.
    Fact(Fact),
    /// What another command of this program says.
    Command(&'static str),
}

/// What Docker is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Which Docker it is.
    Version,
    /// How it is set up.
    Info,
    /// Its plugins.
    Plugins,
    /// All containers: name, image, state; of users' sessions no more than that.
    Containers,
    /// Kasm's own containers, closely.
    Inspect,
    /// The ends of their logs.
    Logs,
}

/// What this program finds out itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// Settings and where each value came from.
    Configuration,
    /// What `install` would do.
    Plan,
    /// Machine, memory, versions.
    Machine,
    /// The room left where it matters.
    Disks,
    /// Every address of every interface.
    Addresses,
    /// Who listens at which port.
    Listening,
    /// The proxies that are named in the environment.
    Proxies,
    /// Names, sizes and modes of what lies in our directories and Kasm's.
    Listing,
}

/// One item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Its path in the bundle; of several files, the directory they are in.
    pub name: &'static str,
    /// Where it comes from.
    pub from: From,
    /// No file of it is longer, in KiB. Of logs the end is kept.
    pub kib: u64,
    /// What it tells.
    pub about: &'static str,
}

const fn item(name: &'static str, from: From, kib: u64, about: &'static str) -> Item {
    Item { name, from, kib, about }
}

/// All of them.
#[rustfmt::skip]
pub const ITEMS: &[Item] = &[
    item("node/status.txt", From::Command("status -v"), 64, "what the last run did, for people"),
    item("node/status.json", From::Command("status --json"), 256, "the same for programs"),
    item("node/timeline.txt", From::Command("timeline"), 64, "where the time of the last run went"),
    item("node/health.txt", From::Command("health -v"), 64, "how the node is now, for people"),
    item("node/health-now.json", From::Command("health --json"), 256, "the same for programs"),
    item("node/tokens.txt", From::Command("token list"), 64, "which tokens the node holds and what each is worth, never a token"),
    item("node/configuration.json", From::Fact(Fact::Configuration), 256, "every setting and where its value came from, secrets hidden"),
    item("node/plan.json", From::Fact(Fact::Plan), 64, "what `install` would do with this configuration"),
    item("node/health.json", From::File("/var/lib/kasm-bootstrap/health.json"), 256, "what the watch knows of the node's health"),
    item("node/live-status.json", From::File("/run/kasm-bootstrap/status.json"), 256, "what the service says of itself on this boot"),
    item("node/journal.jsonl", From::Log("/var/lib/kasm-bootstrap/journal.jsonl"), 2048, "every step of every run"),
    item("node/journal.jsonl.1", From::Log("/var/lib/kasm-bootstrap/journal.jsonl.1"), 512, "the journal before that"),
    item("node/attempts", From::Tree("/var/lib/kasm-bootstrap/attempts", 2), 512, "what each run of the installer said"),
    item("node/installed.json", From::File("/var/lib/kasm-bootstrap/installed.json"), 64, "what was installed, and from which release"),
    item("node/upgrade.json", From::File("/var/lib/kasm-bootstrap/upgrade.json"), 64, "an upgrade that is open"),
    item("node/previous.json", From::File("/var/lib/kasm-bootstrap/previous.json"), 64, "the upgrade before: the way back"),
    item("node/bad-releases.json", From::File("/var/lib/kasm-bootstrap/bad-releases.json"), 64, "releases that were tried here and put back"),
    item("node/repair.json", From::File("/var/lib/kasm-bootstrap/repair.json"), 64, "a repair of tokens that is open"),
    item("node/baked.json", From::File("/var/lib/kasm-bootstrap/baked.json"), 64, "what the image brought"),
    item("node/paused-timers.json", From::File("/var/lib/kasm-bootstrap/paused-timers.json"), 64, "timers of the package manager's that are paused"),
    item("node/files.txt", From::Fact(Fact::Listing), 256, "names, sizes and modes in our directories and Kasm's"),
    item("docker/version.json", From::Docker(Topic::Version), 64, "which Docker it is"),
    item("docker/info.json", From::Docker(Topic::Info), 128, "how Docker is set up"),
    item("docker/plugins.json", From::Docker(Topic::Plugins), 256, "Docker's plugins, and whether each is enabled"),
    item("docker/containers.json", From::Docker(Topic::Containers), 512, "all containers: name, image, state; no more of users' sessions"),
    item("docker/inspect", From::Docker(Topic::Inspect), 256, "Kasm's own containers, closely; environment variables masked by name"),
    item("docker/logs", From::Docker(Topic::Logs), 1024, "the last 5,000 lines of each"),
    item("kasm", From::KasmLogs, 256, "Kasm's own logs, of every installed version"),
    item("units/journal.txt", From::Program(&["journalctl", "-u", "kasm-bootstrap", "-u", "kasm", "-u", "docker", "-u", "qemu-guest-agent", "-b", "-n", "20000", "-o", "short-iso-precise", "--no-pager"]), 2048, "what these services logged on this boot"),
    item("units/status.txt", From::Program(&["systemctl", "status", "kasm-bootstrap", "kasm", "docker", "qemu-guest-agent", "-n", "0", "--no-pager", "--full"]), 64, "how they are"),
    item("units/failed.txt", From::Program(&["systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager"]), 64, "every unit that has failed"),
    item("cloud-init/cloud-init.log", From::Log("/var/log/cloud-init.log"), 1024, "what cloud-init did"),
    item("cloud-init/cloud-init-output.log", From::Log("/var/log/cloud-init-output.log"), 1024, "what its programs said"),
    item("cloud-init/result.json", From::File("/run/cloud-init/result.json"), 64, "how it ended"),
    item("cloud-init/status.json", From::File("/run/cloud-init/status.json"), 64, "its stages"),
    item("machine/facts.json", From::Fact(Fact::Machine), 64, "versions, memory, processors, platform"),
    item("machine/disks.txt", From::Fact(Fact::Disks), 64, "the room left where it matters"),
    item("machine/os-release", From::File("/etc/os-release"), 64, "the distribution"),
    item("machine/kernel.txt", From::File("/proc/version"), 16, "the kernel"),
    item("machine/cmdline.txt", From::File("/proc/cmdline"), 16, "what it was started with"),
    item("machine/uptime.txt", From::File("/proc/uptime"), 16, "how long it runs"),
    item("machine/load.txt", From::File("/proc/loadavg"), 16, "how busy it is"),
    item("machine/memory.txt", From::File("/proc/meminfo"), 64, "its memory"),
    item("machine/swaps.txt", From::File("/proc/swaps"), 64, "its swap"),
    item("machine/mounts.txt", From::File("/proc/self/mountinfo"), 512, "what is mounted where"),
    item("network/addresses.txt", From::Fact(Fact::Addresses), 64, "every address of every interface"),
    item("network/routes.txt", From::File("/proc/net/route"), 128, "the routes of IPv4, as the kernel writes them"),
    item("network/routes6.txt", From::File("/proc/net/ipv6_route"), 128, "the routes of IPv6"),
    item("network/resolv.conf", From::File("/etc/resolv.conf"), 64, "where names are looked up"),
    item("network/hosts", From::File("/etc/hosts"), 128, "names this machine knows itself"),
    item("network/listening.txt", From::Fact(Fact::Listening), 64, "which TCP ports are listened at"),
    item("network/proxies.txt", From::Fact(Fact::Proxies), 16, "the proxies of this command's environment, without credentials"),
    item("packages/history.log", From::Log("/var/log/apt/history.log"), 128, "what apt did"),
    item("packages/term.log", From::Log("/var/log/apt/term.log"), 256, "what it said"),
    item("packages/dpkg.log", From::Log("/var/log/dpkg.log"), 128, "what dpkg did"),
    item("packages/dnf.log", From::Log("/var/log/dnf.log"), 128, "what dnf did"),
];

impl From {
    /// Where it comes from, in words.
    pub fn words(&self) -> String {
        match self {
            From::Log(path) | From::File(path) => (*path).to_owned(),
            From::Tree(path, _) => format!("{path}/*"),
            From::KasmLogs => "/opt/kasm/*/log/*".into(),
            From::Program(words) => words.join(" "),
            From::Docker(topic) => match topic {
                Topic::Version => "Docker: GET /version",
                Topic::Info => "Docker: GET /info",
                Topic::Plugins => "Docker: GET /plugins",
                Topic::Containers => "Docker: GET /containers/json",
                Topic::Inspect => "Docker: GET /containers/kasm_*/json",
                Topic::Logs => "Docker: GET /containers/kasm_*/logs",
            }
            .into(),
            From::Command(command) => format!("kasm-bootstrap {command}"),
            From::Fact(fact) => match fact {
                Fact::Configuration => "kasm-bootstrap config show",
                Fact::Plan => "kasm-bootstrap plan install",
                Fact::Machine => "uname(2), sysinfo(2), SMBIOS",
                Fact::Disks => "statvfs(3)",
                Fact::Addresses => "getifaddrs(3)",
                Fact::Listening => "/proc/net/tcp, /proc/net/tcp6",
                Fact::Proxies => "the environment",
                Fact::Listing => "our directories and Kasm's",
            }
            .into(),
        }
    }
}

/// The table as the documentation has it.
pub fn documentation() -> String {
    let mut text = String::from("| in the bundle | from | at most, KiB a file | what |\n| --- | --- | --- | --- |\n");
    for Item { name, from, kib, about } in ITEMS {
        text += &format!("| `{name}` | `{}` | {kib} | {about} |\n", from.words().replace('|', "\\|"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Paths;

    #[test]
    fn what_lies_in_our_directories_is_where_we_put_it() {
        let known: Vec<&str> = Paths::described().into_iter().map(|(path, _)| path).collect();
        for Item { name, from, .. } in ITEMS {
            let (From::Log(path) | From::File(path) | From::Tree(path, _)) = from else { continue };
            let ours = path.contains("kasm-bootstrap");
            // The journal before this one has its name, and a number behind it.
            assert!(!ours || known.contains(&path.trim_end_matches(".1")), "{name}: {path}");
        }
    }
}
