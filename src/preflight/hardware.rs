//! Is the machine large enough for its role, and can the one who made it see it?

use super::disk::size;
use super::{Context, NOT_BELOW_ROOT, Verdict};
use crate::intent::Role;
use crate::machine::sockets;
use futures_util::future::{BoxFuture, FutureExt, ready};

const MIB: u64 = 1 << 20;

/// Memory an agent should have: 4 GiB less what firmware and kernel keep for themselves. Our own
/// measure, not Kasm's: one session beside the services.
const MEMORY_AGENT: u64 = 3500 * MIB;
/// Memory a connection proxy should have: 2 GiB, less the same. Our own measure.
const MEMORY_GUAC: u64 = 1750 * MIB;
/// Processors either should have. Our own measure.
const CORES: u32 = 2;

/// QEMU's channel to its guest agent, as the guest names it (`org.qemu.guest_agent.0` is the name that
/// libvirt and KubeVirt give it).
const CHANNEL: &str = "/dev/virtio-ports/org.qemu.guest_agent.0";
/// The guest agent's process.
const AGENT: &str = "qemu-ga";

pub(super) fn memory(context: &Context) -> BoxFuture<'_, Verdict> {
    let wanted = if context.role == Some(Role::Agent) { MEMORY_AGENT } else { MEMORY_GUAC };
    let verdict = match context.facts.memory {
        _ if !context.paths.is_machine() => Verdict::Skipped(NOT_BELOW_ROOT.into()),
        None => Verdict::Broken { detail: "the kernel does not say how much memory there is".into() },
        Some(memory) if memory < wanted => Verdict::Warn {
            detail: format!("{} of memory, {}should have {}", size(memory), role(context), size(wanted)),
            remedy: "give the machine more memory; swap (--swap-size) keeps the installer going, not sessions".into(),
        },
        Some(memory) => Verdict::Pass(size(memory)),
    };
    ready(verdict).boxed()
}

pub(super) fn cores(context: &Context) -> BoxFuture<'_, Verdict> {
    let verdict = match context.facts.cpus {
        _ if !context.paths.is_machine() => Verdict::Skipped(NOT_BELOW_ROOT.into()),
        None => Verdict::Broken { detail: "the kernel does not say how many processors there are".into() },
        Some(cpus) if cpus < CORES => Verdict::Warn {
            detail: format!("{cpus} processor, {}should have {CORES}", role(context)),
            remedy: "give the machine more virtual processors".into(),
        },
        Some(cpus) => Verdict::Pass(format!("{cpus} processors")),
    };
    ready(verdict).boxed()
}

fn role(context: &Context) -> &'static str {
    match context.role {
        Some(Role::Agent) => "an agent ",
        Some(Role::Guac) => "a connection proxy ",
        None => "a node ",
    }
}

pub(super) fn guest_agent(context: &Context) -> BoxFuture<'_, Verdict> {
    ready(look(context)).boxed()
}

fn look(context: &Context) -> Verdict {
    let platform = context.facts.platform.iter().flat_map(|platform| [&platform.vendor, &platform.product]).flatten();
    let virtual_machine =
        platform.into_iter().any(|name| ["QEMU", "KubeVirt", "KVM"].iter().any(|kind| name.contains(kind)));
    // The link is made by udev; it leads into /dev, which a scratch root has not.
    let channel = context.paths.at(CHANNEL).symlink_metadata().is_ok();
    match (virtual_machine, channel) {
        (false, _) if !context.paths.is_machine() => return Verdict::Skipped(NOT_BELOW_ROOT.into()),
        (false, _) => return Verdict::Skipped("this is no QEMU machine".into()),
        (true, false) => return Verdict::Pass("the provider asks for no guest agent".into()),
        (true, true) => {}
    }
    match sockets::runs(&context.paths.proc_dir(), AGENT) {
        Err(error) => Verdict::Broken { detail: format!("/proc cannot be read: {error}") },
        Ok(true) => Verdict::Pass("qemu-guest-agent is running".into()),
        Ok(false) => Verdict::Warn {
            detail: "the provider cannot see this machine's address because qemu-guest-agent is not running".into(),
            remedy: format!(
                "{} qemu-guest-agent && systemctl enable --now qemu-guest-agent",
                super::host::install_command(context.facts.os.as_ref())
            ),
        },
    }
}
