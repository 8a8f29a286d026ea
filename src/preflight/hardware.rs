//! Is the machine large enough for its role, and can the one who made it see it?

use super::disk::size;
use super::{Context, NOT_BELOW_ROOT, Verdict};
use crate::intent::Role;
use crate::machine::guest_agent::{self, GuestAgent};
use crate::machine::os_release::install_command;
use futures_util::future::{BoxFuture, FutureExt, ready};

const MIB: u64 = 1 << 20;

/// Memory an agent should have: 4 GiB less what firmware and kernel keep for themselves. Our own
/// measure, not Kasm's: one session beside the services.
const MEMORY_AGENT: u64 = 3500 * MIB;
/// Memory a connection proxy should have: 2 GiB, less the same. Our own measure.
const MEMORY_GUAC: u64 = 1750 * MIB;
/// Processors either should have. Our own measure.
const CORES: u32 = 2;

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
    match guest_agent::look(&context.paths, context.facts.platform.as_ref()) {
        Err(error) => Verdict::Broken { detail: format!("/proc cannot be read: {error}") },
        Ok(GuestAgent::NotQemu) if !context.paths.is_machine() => Verdict::Skipped(NOT_BELOW_ROOT.into()),
        Ok(GuestAgent::NotQemu) => Verdict::Skipped("this is no QEMU machine".into()),
        Ok(GuestAgent::NoChannel) => Verdict::Pass("the provider asks for no guest agent".into()),
        Ok(GuestAgent::Running) => Verdict::Pass("qemu-guest-agent is running".into()),
        Ok(GuestAgent::Missing) => Verdict::Warn {
            detail: "the provider cannot see this machine's address because qemu-guest-agent is not running".into(),
            remedy: format!(
                "{} qemu-guest-agent && systemctl enable --now qemu-guest-agent",
                install_command(context.facts.os.as_ref())
            ),
        },
    }
}
