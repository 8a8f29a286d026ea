//! Every path, unit name and environment variable this program knows, in one place.
//!
//! With `--root DIR` each path lies below `DIR`: ours and the machine's alike.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The environment variable by which a supervised installer learns of `--root`.
pub const ENV_ROOT: &str = "KASM_BOOTSTRAP_ROOT";
/// What every configuration variable of ours in the environment begins with.
pub const ENV_PREFIX: &str = "KASM_BOOTSTRAP_";
/// Where systemd puts a service's credentials (systemd.exec(5), `LoadCredential=`).
pub const ENV_CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// True for a variable that is meant for this program alone: no child is given it. Tokens are among them.
pub fn is_ours_alone(name: &OsStr) -> bool {
    // Whoever has systemd's socket can speak to it in our name (sd_notify(3)).
    let others = [ENV_CREDENTIALS, "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];
    name.as_encoded_bytes().starts_with(ENV_PREFIX.as_bytes()) || others.iter().any(|other| name == *other)
}

/// The environment as children may have it.
pub fn environment_for_children() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| !is_ours_alone(name))
}

/// The first program of this name in these directories. Relative ones are passed over: what they mean depends on where
/// somebody happens to stand.
pub fn program(name: &str, directories: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    directories.filter(|directory| directory.is_absolute()).map(|directory| directory.join(name)).find(is_program)
}

/// A machine that has one of these has apt.
pub const APT_SIGNS: [&str; 3] = ["/var/lib/dpkg", "/var/lib/apt", "/usr/bin/apt-get"];
/// The timers that start apt behind our back.
pub const APT_TIMERS: [&str; 2] = ["apt-daily.timer", "apt-daily-upgrade.timer"];
/// The services those timers start.
pub const APT_SERVICES: [&str; 2] = ["apt-daily.service", "apt-daily-upgrade.service"];
/// A machine that has one of these has dnf, or yum.
pub const DNF_SIGNS: [&str; 4] = ["/usr/bin/dnf", "/usr/bin/dnf5", "/usr/bin/yum", "/usr/bin/microdnf"];
/// The units that start dnf behind our back: dnf 4's and dnf 5's own, and RHEL 7's yum-cron, a service that does
/// nothing but keep the file without which its cron jobs do nothing.
pub const DNF_TIMERS: [&str; 9] = [
    "dnf-makecache.timer",
    "dnf-automatic.timer",
    "dnf-automatic-download.timer",
    "dnf-automatic-install.timer",
    "dnf-automatic-notifyonly.timer",
    "dnf5-makecache.timer",
    "dnf5-automatic-install.timer",
    "yum-makecache.timer",
    "yum-cron.service",
];
/// The services those timers start.
pub const DNF_SERVICES: [&str; 8] = [
    "dnf-makecache.service",
    "dnf-automatic.service",
    "dnf-automatic-download.service",
    "dnf-automatic-install.service",
    "dnf-automatic-notifyonly.service",
    "dnf5-makecache.service",
    "dnf5-automatic.service",
    "yum-makecache.service",
];

/// All paths, below one root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    root: PathBuf,
}

impl Default for Paths {
    fn default() -> Paths {
        Paths::below("/")
    }
}

macro_rules! paths {
    ($($(#[doc = $doc:literal])* $name:ident = $path:literal;)*) => {
        impl Paths {
            /// Every path on the machine itself, with what it is for, as the documents and man pages have it.
            pub fn described() -> Vec<(&'static str, String)> {
                vec![$(($path, [$($doc),*].concat().trim().to_owned())),*]
            }

            $($(#[doc = $doc])* pub fn $name(&self) -> PathBuf { self.at($path) })*
        }
    };
}

impl Paths {
    /// All paths below `root`.
    pub fn below(root: impl Into<PathBuf>) -> Paths {
        Paths { root: root.into() }
    }

    /// The root itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// True if this is the running machine and not a scratch root below it.
    pub fn is_machine(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Any absolute path of the machine, below the root.
    pub fn at(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let absolute = absolute.as_ref();
        self.root.join(absolute.strip_prefix("/").unwrap_or(absolute))
    }

    /// A path below the root as the machine itself would name it; unchanged if it lies elsewhere.
    pub fn shown(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.root) {
            Ok(rest) => Path::new("/").join(rest),
            Err(_) => path.to_owned(),
        }
    }

    /// What tells a child of `--root`; nothing on the machine itself.
    pub fn told_root(&self) -> Option<(OsString, OsString)> {
        (!self.is_machine()).then(|| (ENV_ROOT.into(), self.root.clone().into()))
    }

    /// Where the record of one attempt at running the installer lies. Attempts count from 1.
    pub fn attempt_dir(&self, attempt: u32) -> PathBuf {
        self.attempts_dir().join(attempt.to_string())
    }
}

paths! {
    /// Where configuration lies.
    config_home = "/etc/kasm-bootstrap";
    /// The configuration file.
    config_file = "/etc/kasm-bootstrap/config.toml";
    /// Further configuration files, read after it in the order of their names.
    config_dir = "/etc/kasm-bootstrap/config.d";
    /// The user-data that was meant for us, read after them. Gone with the boot it belongs to.
    user_data = "/run/kasm-bootstrap/user-data.toml";
    /// Where a disk with user-data is mounted for the moment of reading it.
    user_data_disk = "/run/kasm-bootstrap/disk";
    /// What must survive a reboot: journal, attempts, receipts.
    state_dir = "/var/lib/kasm-bootstrap";
    /// The journal: append-only JSON lines.
    journal = "/var/lib/kasm-bootstrap/journal.jsonl";
    /// The lock that a run holds.
    run_lock = "/var/lib/kasm-bootstrap/lock";
    /// What was installed, by whom and from which release.
    receipt = "/var/lib/kasm-bootstrap/installed.json";
    /// The upgrade that has begun and has not come to a good end.
    open_upgrade = "/var/lib/kasm-bootstrap/upgrade.json";
    /// The upgrade that was proved last: the way back.
    previous_upgrade = "/var/lib/kasm-bootstrap/previous.json";
    /// Releases that were tried here and put back.
    bad_releases = "/var/lib/kasm-bootstrap/bad-releases.json";
    /// How the node's health stood, what has changed lately and what was done about it.
    health_state = "/var/lib/kasm-bootstrap/health.json";
    /// What was there before something was changed, one directory a change.
    snapshots_dir = "/var/lib/kasm-bootstrap/snapshots";
    /// Events that a webhook is still to be told, one file each.
    spool_dir = "/var/lib/kasm-bootstrap/spool";
    /// Which timers were paused and are to be put back.
    paused_timers = "/var/lib/kasm-bootstrap/paused-timers.json";
    /// The repair of a component's token that is open.
    repair = "/var/lib/kasm-bootstrap/repair.json";
    /// What that component's files were before it.
    repair_backup = "/var/lib/kasm-bootstrap/repair";
    /// What `bake` has put into this image.
    baked = "/var/lib/kasm-bootstrap/baked.json";
    /// Where this image's release is, for the configuration of the machines made from it.
    baked_config = "/etc/kasm-bootstrap/config.d/10-baked.toml";
    /// What belongs to this boot alone.
    run_dir = "/run/kasm-bootstrap";
    /// How the last run and the node stand, for whoever can read a file.
    status_file = "/run/kasm-bootstrap/status.json";
    /// Where the service answers HTTP requests on this machine.
    http_socket = "/run/kasm-bootstrap/http.sock";
    /// One directory an attempt at running the installer.
    attempts_dir = "/var/lib/kasm-bootstrap/attempts";
    /// Unpacked releases, one directory a digest. Not below /tmp, which may be `noexec`.
    unpacked_dir = "/var/lib/kasm-bootstrap/releases";
    /// Verified tarballs, one file a digest.
    cache_dir = "/var/cache/kasm-bootstrap";

    /// dpkg's outer lock (apt takes it for a whole transaction).
    dpkg_frontend_lock = "/var/lib/dpkg/lock-frontend";
    /// dpkg's inner lock.
    dpkg_lock = "/var/lib/dpkg/lock";
    /// The lock of `apt-get update`.
    apt_lists_lock = "/var/lib/apt/lists/lock";
    /// The lock of apt's download cache.
    apt_archives_lock = "/var/cache/apt/archives/lock";
    /// The `flock` that apt's daily job holds from its start to its end (apt.systemd.daily).
    apt_daily_lock = "/var/lib/apt/daily_lock";
    /// The lock of a run of unattended-upgrade (its name there is /var/run/unattended-upgrades.lock).
    unattended_lock = "/run/unattended-upgrades.lock";
    /// rpm's lock, beside its database.
    rpm_lock = "/var/lib/rpm/.rpm.lock";
    /// The same where the database has moved.
    rpm_lock_sysimage = "/usr/lib/sysimage/rpm/.rpm.lock";
    /// dnf 4's lock of a transaction, with its process id.
    dnf_rpmdb_lock = "/var/lib/dnf/rpmdb_lock.pid";
    /// dnf 4's lock of its downloads.
    dnf_download_lock = "/var/cache/dnf/download_lock.pid";
    /// dnf 4's lock of its metadata.
    dnf_metadata_lock = "/var/cache/dnf/metadata_lock.pid";
    /// dnf 5's lock of a transaction.
    dnf5_lock = "/run/dnf/rpmtransaction.lock";
    /// libdnf's lock of a transaction.
    libdnf_rpmdb_lock = "/run/dnf-rpmdb.lock";
    /// libdnf's lock of its metadata.
    libdnf_metadata_lock = "/run/dnf-metadata.lock";
    /// libdnf's lock of a repository.
    libdnf_repo_lock = "/run/dnf-src.lock";
    /// yum's lock (its name there is /var/run/yum.pid).
    yum_lock = "/run/yum.pid";
    /// Where apt reads further configuration from.
    apt_conf_dir = "/etc/apt/apt.conf.d";
    /// Our snippet there while the installer runs.
    apt_snippet = "/etc/apt/apt.conf.d/99kasm-bootstrap";

    /// Where systemd puts the credentials of our service (systemd.exec(5), "Credentials").
    credentials = "/run/credentials/kasm-bootstrap.service";
    /// Present while systemd is the init system (sd_booted(3)).
    systemd_booted = "/run/systemd/system";
    /// Where cloud-init says what it does on this boot (its documentation, "Instance metadata" and "CLI
    /// commands, status").
    cloud_init = "/run/cloud-init";
    /// The machine's own identity, made when it was installed (machine-id(5)).
    machine_id = "/etc/machine-id";
    /// The machine's UUID in its firmware, as the kernel shows it; readable for root only.
    product_uuid = "/sys/class/dmi/id/product_uuid";
    /// There while systemd-timesyncd has the clock in time (systemd-timesyncd.service(8)).
    timesync = "/run/systemd/timesync/synchronized";
    /// Processes.
    proc_dir = "/proc";
    /// What the firmware says of the machine (SMBIOS).
    dmi_dir = "/sys/class/dmi/id";
    /// The kernel's consoles, by name.
    consoles = "/sys/class/tty/console/active";
    /// Xen's identifier of the machine.
    xen_uuid = "/sys/hypervisor/uuid";
    /// Disks by the label of their file system.
    disks_by_label = "/dev/disk/by-label";
    /// os-release(5).
    os_release = "/etc/os-release";
    /// os-release(5), the vendor's own copy.
    os_release_vendor = "/usr/lib/os-release";
    /// resolv.conf(5).
    resolv_conf = "/etc/resolv.conf";
    /// hosts(5).
    hosts = "/etc/hosts";
    /// fstab(5).
    fstab = "/etc/fstab";
    /// The swap file, under the name Kasm's own script uses.
    swap_file = "/var/swap.1";
    /// Docker's socket.
    docker_socket = "/run/docker.sock";
    /// Where Docker keeps images and containers, unless it says otherwise.
    docker_dir = "/var/lib/docker";
    /// Directories that Docker's rclone plugin needs and does not make.
    rclone_dir = "/var/lib/docker-plugins/rclone";
    /// Kasm's unit, from 1.18 on.
    kasm_unit = "/etc/systemd/system/kasm.service";
    /// The link by which that unit is started at boot.
    kasm_unit_wanted = "/etc/systemd/system/multi-user.target.wants/kasm.service";
    /// Where Kasm installs its versions.
    kasm_dir = "/opt/kasm";
    /// The link to the version in use.
    kasm_current = "/opt/kasm/current";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_lies_below_the_root() {
        let paths = Paths::below("/scratch");
        assert_eq!(paths.journal(), Path::new("/scratch/var/lib/kasm-bootstrap/journal.jsonl"));
        assert_eq!(paths.at("/opt/kasm"), Path::new("/scratch/opt/kasm"));
        assert_eq!(paths.shown(Path::new("/scratch/opt/kasm")), Path::new("/opt/kasm"));
        assert_eq!(paths.shown(Path::new("/elsewhere")), Path::new("/elsewhere"));
        assert!(!paths.is_machine());
        assert_eq!(Paths::default().docker_socket(), Path::new("/run/docker.sock"));
    }
}
