//! What the kernel brings, and what in it may say no.

use super::{Context, NOT_BELOW_ROOT, Verdict};
use crate::machine::kernel::{self, Cgroups, Module};
use futures_util::future::{BoxFuture, FutureExt, ready};
use std::io;

pub(super) fn wireguard(context: &Context) -> BoxFuture<'_, Verdict> {
    ready(module(context)).boxed()
}

fn module(context: &Context) -> Verdict {
    let release = context.facts.kernel.as_deref().unwrap_or_default();
    match kernel::module(&context.paths, release, "wireguard") {
        Ok(Module::Here) => Verdict::Pass("the kernel has WireGuard".into()),
        Ok(Module::Loadable) => Verdict::Pass("the kernel can load WireGuard".into()),
        Ok(Module::Missing) => Verdict::Warn {
            detail: format!("kernel {release} has no WireGuard module"),
            // docs/kasm-facts.md, 2: an installer without it asks a question on the terminal.
            remedy: "install.sh asks for it: use the distribution's full kernel (on Ubuntu `apt-get install \
                     linux-modules-extra-$(uname -r)`)"
                .into(),
        },
        Err(_) if !context.paths.is_machine() => Verdict::Skipped(NOT_BELOW_ROOT.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Verdict::Broken { detail: format!("the modules of kernel {release} are not listed in /lib/modules") }
        }
        Err(error) => Verdict::Broken { detail: format!("/lib/modules cannot be read: {error}") },
    }
}

pub(super) fn cgroups(context: &Context) -> BoxFuture<'_, Verdict> {
    let verdict = match kernel::cgroups(&context.paths) {
        Some(Cgroups::V2) => Verdict::Pass("version 2".into()),
        Some(Cgroups::V1) => Verdict::Warn {
            detail: "control groups are of version 1, which Docker and systemd are giving up".into(),
            remedy: "boot with systemd.unified_cgroup_hierarchy=1, or use a newer distribution".into(),
        },
        None if !context.paths.is_machine() => Verdict::Skipped(NOT_BELOW_ROOT.into()),
        None => Verdict::Broken { detail: "no control groups are mounted at /sys/fs/cgroup".into() },
    };
    ready(verdict).boxed()
}

pub(super) fn security(context: &Context) -> BoxFuture<'_, Verdict> {
    let mut found = Vec::new();
    match kernel::selinux_enforces(&context.paths) {
        Some(true) => found.push("SELinux is enforcing (denials: `ausearch -m avc -ts boot`)"),
        Some(false) => found.push("SELinux is permissive"),
        None => {}
    }
    if kernel::apparmor(&context.paths) {
        found.push("AppArmor is on (denials: `journalctl -k -g apparmor=.DENIED`)");
    }
    let verdict = match found.is_empty() {
        false => Verdict::Pass(found.join(", ")),
        true if !context.paths.is_machine() => Verdict::Skipped(NOT_BELOW_ROOT.into()),
        true => Verdict::Pass("neither SELinux nor AppArmor".into()),
    };
    ready(verdict).boxed()
}
