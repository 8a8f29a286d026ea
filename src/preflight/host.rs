//! Who we are and what is installed here.

use super::{Context, NOT_BELOW_ROOT, Verdict, docker};
use crate::error::Exit;
use crate::machine::facts::Arch;
use crate::machine::os_release::{Os, install_command};
use futures_util::future::{BoxFuture, FutureExt, ready};
use std::ffi::OsStr;
use std::io;

/// The distributions install.sh accepts, and their versions (docs/kasm-facts.md, 2). A version matches
/// as a whole or by its part before the first dot.
const SUPPORTED: [(&str, &[&str]); 7] = [
    ("ubuntu", &["18.04", "20.04", "22.04", "24.04"]),
    ("debian", &["10", "11", "12"]),
    ("centos", &["7", "8", "9"]),
    ("ol", &["7", "8", "9"]),
    ("rocky", &["8", "9"]),
    ("almalinux", &["8", "9"]),
    ("rhel", &["8", "9"]),
];

/// The programs Kasm's scripts call (docs/kasm-facts.md, 2), with the packages they are in: Debian's
/// name, Red Hat's name.
const TOOLS: [(&str, &str, &str); 9] = [
    ("bash", "bash", "bash"),
    ("sudo", "sudo", "sudo"),
    ("openssl", "openssl", "openssl"),
    ("curl", "curl", "curl"),
    ("awk", "gawk", "gawk"),
    ("sed", "sed", "sed"),
    ("ip", "iproute2", "iproute"),
    ("lsof", "lsof", "lsof"),
    ("gpg", "gnupg", "gnupg2"),
];

/// Where programs are looked for without PATH, as systemd has it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn root(context: &Context) -> BoxFuture<'_, Verdict> {
    let verdict = match context.facts.euid {
        0 => Verdict::Pass("running as root".into()),
        _ if !context.paths.is_machine() => Verdict::Skipped(NOT_BELOW_ROOT.into()),
        euid => Verdict::Fail {
            detail: format!("running as user {euid}, but install.sh needs root"),
            remedy: "run the same command with sudo".into(),
            reason: "preflight.not-root",
            exit: Exit::Preflight,
        },
    };
    ready(verdict).boxed()
}

pub(super) fn os(context: &Context) -> BoxFuture<'_, Verdict> {
    let verdict = match &context.facts.os {
        None => Verdict::Broken { detail: "neither /etc/os-release nor /usr/lib/os-release can be read".into() },
        Some(os) if supported(os) => Verdict::Pass(os.name()),
        Some(os) => {
            let detail = format!("{} is not a system that Kasm's installer is known to support", os.name());
            let remedy = "install.sh refuses unknown systems unless docker and its compose plugin are there already: \
                          install both first, or use Ubuntu 22.04 or 24.04, Debian 12, or a RHEL 9 family system";
            let baked = docker::binary(&context.paths).is_some() && docker::compose_plugin(&context.paths);
            // A release newer than the list may know a newer system; it will say so itself.
            match baked || newer(os) {
                true => Verdict::Warn { detail, remedy: remedy.into() },
                false => Verdict::refuse("preflight.os", detail, remedy),
            }
        }
    };
    ready(verdict).boxed()
}

fn supported(os: &Os) -> bool {
    let (Some(version), Some(major)) = (os.version_id.as_deref(), os.major()) else { return false };
    let versions = SUPPORTED.iter().find(|(id, _)| *id == os.id).map(|(_, versions)| *versions);
    versions.unwrap_or_default().iter().any(|known| *known == version || *known == major)
}

/// True for a distribution of the list in a version newer than all of them, or without any (a
/// distribution's next release before it has a number).
fn newer(os: &Os) -> bool {
    let numbers = |version: &str| {
        let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    };
    let Some((_, versions)) = SUPPORTED.iter().find(|(id, _)| *id == os.id) else { return false };
    let Some(version) = os.version_id.as_deref() else { return true };
    versions.iter().all(|known| numbers(version) > numbers(known))
}

pub(super) fn systemd(context: &Context) -> BoxFuture<'_, Verdict> {
    let verdict = match context.facts.systemd {
        true => Verdict::Pass("systemd is the init system".into()),
        false if !context.paths.is_machine() => Verdict::Skipped(NOT_BELOW_ROOT.into()),
        false => Verdict::Warn {
            detail: "systemd is not the init system here".into(),
            remedy: "Kasm from 1.18 on and Docker's packages are started by systemd: use a virtual machine that boots \
                     with it"
                .into(),
        },
    };
    ready(verdict).boxed()
}

pub(super) fn architecture(context: &Context) -> BoxFuture<'_, Verdict> {
    let verdict = match (context.facts.arch, &context.facts.machine) {
        (Some(arch), _) => Verdict::Pass(Arch::as_str(arch).into()),
        (None, None) => Verdict::Broken { detail: "the kernel does not say what processor this is".into() },
        (None, Some(machine)) => Verdict::Fail {
            detail: format!("Kasm is not built for {machine}"),
            remedy: "use a machine with an x86_64 or aarch64 processor".into(),
            reason: "preflight.architecture",
            exit: Exit::Preflight,
        },
    };
    ready(verdict).boxed()
}

pub(super) fn tools(context: &Context) -> BoxFuture<'_, Verdict> {
    let verdict = if context.paths.is_machine() {
        let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
        judge_tools(&missing(&path), context.facts.os.as_ref())
    } else {
        Verdict::Skipped(NOT_BELOW_ROOT.into())
    };
    ready(verdict).boxed()
}

fn missing(path: &OsStr) -> Vec<&'static str> {
    let there = |program: &str| {
        std::env::split_paths(path)
            .map(|directory| directory.join(program))
            .any(|file| file.is_file() && nix::unistd::access(&file, nix::unistd::AccessFlags::X_OK).is_ok())
    };
    TOOLS.iter().map(|(program, ..)| *program).filter(|program| !there(program)).collect()
}

fn judge_tools(missing: &[&str], os: Option<&Os>) -> Verdict {
    if missing.is_empty() {
        return Verdict::Pass(format!("all {} programs that install.sh calls are there", TOOLS.len()));
    }
    let red_hat = os.is_some_and(Os::is_red_hat);
    let packages: Vec<&str> = TOOLS
        .iter()
        .filter(|(program, ..)| missing.contains(program))
        .map(|(_, debian, rpm)| if red_hat { *rpm } else { *debian })
        .collect();
    let command = install_command(os);
    let detail = format!("not on PATH, but called by install.sh: {}", missing.join(", "));
    let remedy = format!("{command} {}", packages.join(" "));
    match missing.contains(&"bash") {
        true => Verdict::Fail { detail, remedy, reason: "preflight.tools", exit: Exit::Preflight },
        false => Verdict::Warn { detail, remedy },
    }
}

pub(super) fn kasm_present(context: &Context) -> BoxFuture<'_, Verdict> {
    let link = context.paths.kasm_current();
    let shown = context.paths.shown(&link).display().to_string();
    let verdict = match std::fs::read_link(&link) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Verdict::Pass("no Kasm is installed here".into()),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Verdict::Warn {
            detail: format!("{shown} is there but is no link, as Kasm makes one"),
            remedy: format!("see what {shown} is; a Kasm installation keeps it as a link to its version"),
        },
        Err(error) => Verdict::Broken { detail: format!("{shown} cannot be read: {error}") },
        Ok(target) => {
            let version = target.file_name().unwrap_or(target.as_os_str()).to_string_lossy().into_owned();
            match link.exists() {
                true => Verdict::Pass(format!("Kasm {version} is installed here")),
                // Kasm links absolutely, which a scratch root does not resolve.
                false if context.paths.at(&target).exists() => {
                    Verdict::Pass(format!("Kasm {version} is installed here"))
                }
                false => Verdict::Warn {
                    detail: format!("{shown} points to {}, which is not there", target.display()),
                    remedy: format!("an installation was removed by half: remove the link {shown}"),
                },
            }
        }
    };
    ready(verdict).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::os_release;

    #[test]
    fn the_systems_of_kasms_list_are_supported_and_no_others() {
        let os = |id: &str, version: &str| os_release::parse(&format!("ID={id}\nVERSION_ID=\"{version}\"\n"));
        for (id, version) in
            [("ubuntu", "18.04"), ("ubuntu", "24.04"), ("debian", "12"), ("rocky", "9.4"), ("ol", "7.9"), ("rhel", "8")]
        {
            assert!(supported(&os(id, version)), "{id} {version}");
        }
        for (id, version) in [
            ("ubuntu", "23.04"),
            ("ubuntu", "26.04"),
            ("debian", "13"),
            ("rocky", "10.0"),
            ("rhel", "7.9"),
            ("arch", "1"),
        ] {
            assert!(!supported(&os(id, version)), "{id} {version}");
        }
        assert!(!supported(&os_release::parse("ID=debian\n")));
        for (id, version) in [("ubuntu", "26.04"), ("ubuntu", "24.10"), ("debian", "13"), ("rocky", "10.0")] {
            assert!(newer(&os(id, version)), "{id} {version}");
        }
        for (id, version) in [("ubuntu", "23.04"), ("debian", "9"), ("rhel", "7.9"), ("arch", "99")] {
            assert!(!newer(&os(id, version)), "{id} {version}");
        }
        assert!(newer(&os_release::parse("ID=debian\n")));
    }

    /// As their packages `*-release` write the file; `false`: not on Kasm's list.
    const RED_HATS: [(&str, &str, bool); 12] = [
        ("Rocky Linux 8.10", "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"8.10\"", true),
        ("Rocky Linux 9.4", "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.4\"", true),
        ("AlmaLinux 8.10", "ID=\"almalinux\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"8.10\"", true),
        ("AlmaLinux 9.5", "ID=\"almalinux\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.5\"", true),
        ("Red Hat Enterprise Linux 8.10", "ID=\"rhel\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"8.10\"", true),
        ("Red Hat Enterprise Linux 9.4", "ID=\"rhel\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"9.4\"", true),
        ("Red Hat Enterprise Linux Server 7.9", "ID=\"rhel\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"7.9\"", false),
        ("Oracle Linux Server 7.9", "ID=\"ol\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"7.9\"", true),
        ("Oracle Linux Server 8.9", "ID=\"ol\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"8.9\"", true),
        ("Oracle Linux Server 9.4", "ID=\"ol\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"9.4\"", true),
        ("CentOS Stream 9", "ID=\"centos\"\nID_LIKE=\"rhel fedora\"\nVERSION_ID=\"9\"", true),
        ("Fedora Linux 41", "ID=fedora\nVERSION_ID=41", false),
    ];

    #[test]
    fn red_hats_family_is_known_by_its_files_and_judged_by_its_versions() {
        for (pretty, lines, on_the_list) in RED_HATS {
            let text = format!("NAME=\"x\"\n{lines}\nPLATFORM_ID=\"platform:el\"\nPRETTY_NAME=\"{pretty}\"\n");
            let os = os_release::parse(&text);
            assert_eq!((os.name().as_str(), os.is_red_hat(), supported(&os)), (pretty, true, on_the_list));
            let expected = if os.major() == Some("7") { "yum install -y" } else { "dnf install -y" };
            assert_eq!(install_command(Some(&os)), expected, "{pretty}");
        }
    }

    #[test]
    fn missing_programs_are_named_with_the_packages_of_the_distribution() {
        let debian = os_release::parse("ID=debian");
        let rocky = os_release::parse("ID=rocky\nID_LIKE=\"rhel centos fedora\"");
        let Verdict::Warn { detail, remedy } = judge_tools(&["sudo", "ip"], Some(&debian)) else { panic!() };
        insta::assert_snapshot!(detail, @"not on PATH, but called by install.sh: sudo, ip");
        insta::assert_snapshot!(remedy, @"apt-get install -y sudo iproute2");
        let Verdict::Fail { remedy, reason, .. } = judge_tools(&["bash", "ip", "gpg"], Some(&rocky)) else { panic!() };
        insta::assert_snapshot!(remedy, @"dnf install -y bash iproute gnupg2");
        assert_eq!(reason, "preflight.tools");
        assert_eq!(judge_tools(&[], None).word(), "pass");
    }

    #[test]
    fn a_file_that_cannot_be_run_is_no_program() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("bash"), "").unwrap();
        assert!(missing(directory.path().as_os_str()).contains(&"bash"));
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory.path().join("bash"), mode).unwrap();
        assert!(!missing(directory.path().as_os_str()).contains(&"bash"));
    }
}
