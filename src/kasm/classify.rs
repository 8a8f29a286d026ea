//! What an installer's output says about why it failed (docs/kasm-facts.md, 2: the exit codes are too
//! coarse, the markers are not).

use crate::apt;
use crate::dnf;
use crate::words;
use std::fmt;
use std::sync::LazyLock;

/// How the installer's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// By itself, with this exit code.
    Code(i32),
    /// By a signal of this number.
    Signal(i32),
}

impl Ended {
    /// True for exit code 0.
    pub fn is_success(self) -> bool {
        self == Ended::Code(0)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Code(code) => write!(f, "exit code {code}"),
            Ended::Signal(number) => match nix::sys::signal::Signal::try_from(*number) {
                Ok(signal) => f.write_str(signal.as_str()),
                Err(_) => write!(f, "signal {number}"),
            },
        }
    }
}

/// A known trouble, recognised by its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Marker {
    /// An option the script does not know.
    UnknownOption,
    /// A role the script does not know.
    InvalidRole,
    /// A port it wants to listen on is taken.
    PortInUse,
    /// The distribution or its version is not supported.
    UnsupportedSystem,
    /// Docker does not answer.
    DockerUnreachable,
    /// The bundled compose is too old for the Docker on the machine.
    ComposeTooOld,
    /// A registry refuses further downloads.
    RateLimited,
    /// No space.
    DiskFull,
    /// Another program held a lock of the package manager.
    PackageManagerBusy,
    /// A name does not resolve.
    NameResolution,
    /// Something else that the script itself calls fatal.
    Fatal,
}

impl Marker {
    /// Every marker, the most telling first: where several were seen the first one explains the failure.
    pub const ALL: [Marker; 11] = [
        Marker::UnknownOption,
        Marker::InvalidRole,
        Marker::PortInUse,
        Marker::UnsupportedSystem,
        Marker::ComposeTooOld,
        Marker::RateLimited,
        Marker::DiskFull,
        Marker::DockerUnreachable,
        Marker::PackageManagerBusy,
        Marker::NameResolution,
        Marker::Fatal,
    ];

    /// The words of which one is in every line that shows it.
    fn words(self) -> Vec<&'static str> {
        match self {
            Marker::UnknownOption => vec!["Unknown option"],
            Marker::InvalidRole => vec!["Invalid Role Defined"],
            Marker::PortInUse => vec!["is in use. Installation cannot continue."],
            Marker::UnsupportedSystem => vec!["Installation Not Supported for this Operating System"],
            Marker::DockerUnreachable => vec!["Unable to check Docker version, is the Docker daemon running?"],
            Marker::ComposeTooOld => vec!["client version "],
            Marker::RateLimited => vec!["toomanyrequests"],
            Marker::DiskFull => vec!["No space left on device"],
            Marker::PackageManagerBusy => [&apt::LOST[..], &dnf::LOST].concat(),
            Marker::NameResolution => {
                vec!["Unable to resolve", "Could not resolve host", "Temporary failure resolving"]
            }
            Marker::Fatal => vec!["FATAL:"],
        }
    }

    /// True if this line of output shows it.
    fn is_in(self, line: &str) -> bool {
        match self {
            Marker::PackageManagerBusy => apt::has_lost_a_race(line) || dnf::has_lost_a_race(line),
            Marker::ComposeTooOld if !line.contains("is too old") => false,
            _ => words::holds_any(line, &self.words()),
        }
    }

    /// The stable reason code.
    pub fn reason(self) -> &'static str {
        match self {
            Marker::UnknownOption => "installer.unknown-option",
            Marker::InvalidRole => "installer.invalid-role",
            Marker::PortInUse => "installer.port-in-use",
            Marker::UnsupportedSystem => "installer.unsupported-system",
            Marker::DockerUnreachable => "installer.docker-unreachable",
            Marker::ComposeTooOld => "installer.compose-too-old",
            Marker::RateLimited => "installer.rate-limited",
            Marker::DiskFull => "installer.disk-full",
            Marker::PackageManagerBusy => "installer.package-manager-busy",
            Marker::NameResolution => "installer.name-resolution",
            Marker::Fatal => "installer.fatal",
        }
    }

    /// What it means, as the end of a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Marker::UnknownOption => "it does not know an option",
            Marker::InvalidRole => "it does not know the role",
            Marker::PortInUse => "a port it needs is in use",
            Marker::UnsupportedSystem => "it does not support this operating system",
            Marker::DockerUnreachable => "Docker does not answer",
            Marker::ComposeTooOld => "its Docker Compose is too old for the Docker on this machine",
            Marker::RateLimited => "the image registry refuses further downloads for now",
            Marker::DiskFull => "the disk is full",
            Marker::PackageManagerBusy => "another program held the package manager's lock",
            Marker::NameResolution => "a name could not be resolved",
            Marker::Fatal => "it met a fatal error",
        }
    }

    /// What to do about it.
    pub fn help(self) -> &'static str {
        match self {
            Marker::UnknownOption => {
                "remove the option it names from [installer] or --installer-arg, or pick a release that has it"
            }
            Marker::InvalidRole => "pick a release that has this role",
            Marker::PortInUse => {
                "`ss -ltnp` names the program on the port: stop it, or choose another port with --proxy-port"
            }
            Marker::UnsupportedSystem => {
                "use a distribution and version that this Kasm release supports, or bake Docker and its compose plugin \
                 into the image: the installer then skips this test"
            }
            Marker::DockerUnreachable => {
                "`systemctl status docker` and `journalctl -u docker` say why; start it and run again"
            }
            Marker::ComposeTooOld => {
                "install the docker-compose-plugin package that belongs to the machine's Docker before running again"
            }
            Marker::RateLimited => "wait, log Docker in to the registry, or give the images with --offline-service",
            Marker::DiskFull => {
                "free space below /var and /opt (`df -h` shows where), or give the machine a bigger disk"
            }
            Marker::PackageManagerBusy => "`kasm-bootstrap apt-wait` waits until nobody holds it; then run again",
            Marker::NameResolution => "check /etc/resolv.conf and that the machine's DNS servers answer",
            Marker::Fatal => "the installer's own words above say what is wrong",
        }
    }
}

/// A marker, and the line it was first seen in.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Finding {
    /// What was recognised.
    pub marker: Marker,
    /// The line, masked, at most 200 bytes of it.
    pub line: String,
}

/// The words of all markers.
static WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| Marker::ALL.into_iter().flat_map(Marker::words).collect());

/// Looks for markers in output as it streams by.
#[derive(Debug, Default)]
pub struct Watch {
    found: Vec<Finding>,
}

impl Watch {
    /// Looks at one line. `masked` is asked for only when the line is kept.
    pub fn look(&mut self, line: &str, masked: impl Fn(&str) -> String) {
        // Hardly any line shows anything, and there may be a flood of them.
        if !words::holds_any(line, &WORDS) {
            return;
        }
        for marker in Marker::ALL {
            if marker.is_in(line) && !self.found.iter().any(|finding| finding.marker == marker) {
                let mut text = masked(line).trim().to_owned();
                text.truncate(text.floor_char_boundary(200));
                self.found.push(Finding { marker, line: text });
            }
        }
    }

    /// Everything found, in the order it was found.
    pub fn into_findings(self) -> Vec<Finding> {
        self.found
    }
}

/// The finding that explains a failure best.
pub fn decisive(findings: &[Finding]) -> Option<&Finding> {
    Marker::ALL.iter().find_map(|marker| findings.iter().find(|finding| finding.marker == *marker))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn look(lines: &[&str]) -> Vec<Finding> {
        let mut watch = Watch::default();
        lines.iter().for_each(|line| watch.look(line, |text| text.replace("hunter2", "[secret]")));
        watch.into_findings()
    }

    #[test]
    fn each_known_word_has_its_marker() {
        let table = [
            ("Unknown option --foo", Marker::UnknownOption),
            ("Port 443 is in use. Installation cannot continue.", Marker::PortInUse),
            ("Installation Not Supported for this Operating System. Exiting", Marker::UnsupportedSystem),
            ("Unable to check Docker version, is the Docker daemon running?", Marker::DockerUnreachable),
            ("FATAL: something", Marker::Fatal),
            ("Invalid Role Defined: agentx", Marker::InvalidRole),
            ("E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1", Marker::PackageManagerBusy),
            ("E: Unable to lock directory /var/lib/apt/lists/", Marker::PackageManagerBusy),
            ("Failed to lock apt for exclusive operation", Marker::PackageManagerBusy),
            ("RPM: error: can't create transaction lock on /var/lib/rpm/.rpm.lock", Marker::PackageManagerBusy),
            ("tar: write error: No space left on device", Marker::DiskFull),
            ("toomanyrequests: You have reached your pull rate limit", Marker::RateLimited),
            ("Error response from daemon: client version 1.42 is too old.", Marker::ComposeTooOld),
            ("curl: (6) Could not resolve host: manager", Marker::NameResolution),
        ];
        for (line, marker) in table {
            let findings = look(&["before", line, "after"]);
            assert_eq!(findings.iter().map(|finding| finding.marker).collect::<Vec<_>>(), [marker], "{line}");
        }
        assert_eq!(look(&["Waiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend."]), []);
        assert_eq!(look(&["Waiting for process with pid 812 to finish."]), []);
        assert_eq!(look(&["sudo: unable to resolve host vm: Name or service not known"]), []);
    }

    #[test]
    fn the_most_telling_marker_decides_whatever_came_first() {
        let findings = look(&["FATAL: apt failed", "E: Unable to lock directory hunter2", "No space left on device"]);
        assert_eq!(decisive(&findings).unwrap().marker, Marker::DiskFull);
        assert_eq!(findings[1].line, "E: Unable to lock directory [secret]");
        assert_eq!(decisive(&[]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn any_line_can_be_looked_at(line in "\\PC{0,100}(FATAL:|Could not get lock|é){0,60}\\PC{0,300}") {
            for finding in look(&[&line]) {
                prop_assert!(finding.line.len() <= 200);
            }
        }
    }
}
