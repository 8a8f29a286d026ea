//! QEMU's guest agent: how whoever runs this virtual machine sees its address.

use super::facts::Platform;
use super::sockets;
use crate::paths::Paths;
use std::io;

/// QEMU's channel to its guest agent, as the guest names it (`org.qemu.guest_agent.0` is the name that
/// libvirt and KubeVirt give it).
const CHANNEL: &str = "/dev/virtio-ports/org.qemu.guest_agent.0";
/// The guest agent's process.
const AGENT: &str = "qemu-ga";

/// How it stands with the guest agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestAgent {
    /// This is no QEMU machine.
    NotQemu,
    /// The provider asks for none: the machine has no channel to it.
    NoChannel,
    /// It runs.
    Running,
    /// The provider asks for it, and it does not run.
    Missing,
}

/// Looks. `platform`: what the firmware says of the machine.
///
/// # Errors
/// The processes cannot be listed.
pub fn look(paths: &Paths, platform: Option<&Platform>) -> io::Result<GuestAgent> {
    let names = platform.iter().flat_map(|platform| [&platform.vendor, &platform.product]).flatten();
    let is_qemu = names.into_iter().any(|name| ["QEMU", "KubeVirt", "KVM"].iter().any(|kind| name.contains(kind)));
    // The link is made by udev; it leads into /dev, which a scratch root has not.
    let channel = paths.at(CHANNEL).symlink_metadata().is_ok();
    Ok(match (is_qemu, channel) {
        (false, _) => GuestAgent::NotQemu,
        (true, false) => GuestAgent::NoChannel,
        (true, true) if sockets::runs(&paths.proc_dir(), AGENT)? => GuestAgent::Running,
        (true, true) => GuestAgent::Missing,
    })
}
