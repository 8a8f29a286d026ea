//! What this machine is, gathered once. A fact that cannot be known is `None`, never a guess.

use super::os_release::{self, Os};
use crate::paths::Paths;
use nix::unistd::SysconfVar;
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// The processor architectures Kasm publishes releases for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// `x86_64`.
    Amd64,
    /// `aarch64`.
    Arm64,
}

impl Arch {
    /// The architecture of a machine name as uname(2) gives it; `None` for any other.
    pub fn from_machine(machine: &str) -> Option<Arch> {
        match machine {
            "x86_64" => Some(Arch::Amd64),
            "aarch64" => Some(Arch::Arm64),
            _ => None,
        }
    }

    /// Kasm's word for it, which is Debian's and Docker's too.
    pub fn as_str(self) -> &'static str {
        match self {
            Arch::Amd64 => "amd64",
            Arch::Arm64 => "arm64",
        }
    }
}

/// What the firmware says the machine is (SMBIOS, by way of the kernel's `/sys/class/dmi/id`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Platform {
    /// `sys_vendor`: `Amazon EC2`, `KubeVirt`, `QEMU`.
    pub vendor: Option<String>,
    /// `product_name`.
    pub product: Option<String>,
}

/// The facts. What the distribution is comes from below the root; everything else is the running machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Facts {
    /// The distribution; `None` without a readable os-release file.
    pub os: Option<Os>,
    /// uname(2)'s machine: `x86_64`, `aarch64`, …
    pub machine: Option<String>,
    /// The same, where it is one Kasm publishes for.
    pub arch: Option<Arch>,
    /// The effective user.
    pub euid: u32,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// Memory, bytes.
    pub memory: Option<u64>,
    /// Swap in use or not, bytes; 0: none.
    pub swap: Option<u64>,
    /// Processors online.
    pub cpus: Option<u32>,
    /// The host's own name.
    pub hostname: Option<String>,
    /// systemd is the init system (sd_booted(3)).
    pub systemd: bool,
    /// What the firmware says, where there is such firmware.
    pub platform: Option<Platform>,
}

impl Facts {
    /// Gathers them. Quick: a few small files and system calls, nothing that waits.
    pub fn gather(paths: &Paths) -> Facts {
        let uname = nix::sys::utsname::uname().ok();
        let text = |value: &std::ffi::OsStr| Some(value.to_string_lossy().into_owned()).filter(|text| !text.is_empty());
        let machine = uname.as_ref().and_then(|uname| text(uname.machine()));
        let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram().with_swap());
        let system = System::new_with_specifics(memory).ok();
        // sysinfo says 0 for what it could not read; no machine has no memory.
        let system = system.filter(|system| system.total_memory() > 0);
        Facts {
            os: os(paths),
            arch: machine.as_deref().and_then(Arch::from_machine),
            machine,
            euid: nix::unistd::geteuid().as_raw(),
            kernel: uname.as_ref().and_then(|uname| text(uname.release())),
            memory: system.as_ref().map(System::total_memory),
            swap: system.as_ref().map(System::total_swap),
            cpus: nix::unistd::sysconf(SysconfVar::_NPROCESSORS_ONLN)
                .ok()
                .flatten()
                .and_then(|count| u32::try_from(count).ok()),
            hostname: uname.as_ref().and_then(|uname| text(uname.nodename())),
            systemd: paths.systemd_booted().is_dir(),
            platform: platform(paths),
        }
    }
}

/// What the machine's os-release says; `None` if it has none.
pub fn os(paths: &Paths) -> Option<Os> {
    [paths.os_release(), paths.os_release_vendor()]
        .iter()
        .find_map(|path| read_small(path).ok())
        .map(|text| os_release::parse(&text))
}

fn platform(paths: &Paths) -> Option<Platform> {
    let read = |name: &str| {
        let text = read_small(&paths.dmi_dir().join(name)).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let platform = Platform { vendor: read("sys_vendor"), product: read("product_name") };
    (platform.vendor.is_some() || platform.product.is_some()).then_some(platform)
}

/// The first 64 KiB of a file, as text.
pub(super) fn read_small(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(64 * 1024).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_machine_has_its_facts() {
        let facts = Facts::gather(&Paths::default());
        assert!(facts.memory.unwrap() > 1 << 20);
        assert!(facts.cpus.unwrap() >= 1);
        assert!(facts.swap.is_some() && facts.kernel.is_some() && facts.machine.is_some());
        assert_eq!(facts.arch.map(Arch::as_str), Some(if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }));
    }

    #[test]
    fn the_distribution_comes_from_below_the_root_and_falls_back_to_the_vendors_file() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        assert_eq!(Facts::gather(&paths).os, None);
        std::fs::create_dir_all(paths.at("/usr/lib")).unwrap();
        std::fs::write(paths.os_release_vendor(), "ID=rocky\nVERSION_ID=9.4\n").unwrap();
        assert_eq!(Facts::gather(&paths).os.unwrap().name(), "rocky 9.4");
        std::fs::create_dir_all(paths.at("/etc")).unwrap();
        std::fs::write(paths.os_release(), "ID=debian\n").unwrap();
        let facts = Facts::gather(&paths);
        assert_eq!(facts.os.unwrap().id, "debian");
        assert!(!facts.systemd);
    }

    #[test]
    fn the_firmwares_words_are_kept_where_there_are_any() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        assert_eq!(Facts::gather(&paths).platform, None);
        std::fs::create_dir_all(paths.at("/sys/class/dmi/id")).unwrap();
        std::fs::write(paths.at("/sys/class/dmi/id/sys_vendor"), "Amazon EC2\n").unwrap();
        let platform = Facts::gather(&paths).platform.unwrap();
        assert_eq!((platform.vendor.as_deref(), platform.product), (Some("Amazon EC2"), None));
    }
}
