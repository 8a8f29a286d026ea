//! Are the ports free that Kasm will listen at? install.sh ends with 255 when one is not
//! (docs/kasm-facts.md, 2).

use super::{Context, NOT_BELOW_ROOT, Verdict};
use crate::intent::Role;
use crate::kasm::layout::Installed;
use crate::machine::sockets;
use crate::system::holder::Holder;
use futures_util::future::{BoxFuture, FutureExt, ready};

/// HTTPS, the port of a node's own proxy unless `-L` names another.
const PROXY: u16 = 443;
/// RDP, which a connection proxy offers beside.
const RDP: u16 = 3389;
/// Docker's processes that hold the port of a container. The kernel cuts names to 15 bytes.
const DOCKERS: [&str; 3] = ["docker-proxy", "dockerd", "rootlesskit"];

pub(super) fn free(context: &Context) -> BoxFuture<'_, Verdict> {
    ready(look(context)).boxed()
}

fn look(context: &Context) -> Verdict {
    if context.tells("no-check-ports", "-B") {
        return Verdict::Skipped("--no-check-ports is given".into());
    }
    let proc = context.paths.proc_dir();
    if !context.paths.is_machine() && !proc.join("net").exists() {
        return Verdict::Skipped(NOT_BELOW_ROOT.into());
    }
    let mut ports = vec![context.proxy_port.unwrap_or(PROXY)];
    if context.role == Some(Role::Guac) && ports != [RDP] {
        ports.push(RDP);
    }
    let (mut taken, mut kasms) = (Vec::new(), Vec::new());
    for port in &ports {
        match sockets::listening(&proc, *port) {
            Err(error) => return Verdict::Broken { detail: format!("/proc/net/tcp cannot be read: {error}") },
            Ok(None) => {}
            Ok(Some(found)) => {
                let holder = sockets::holder(&proc, found.inode).map(Holder::of).unwrap_or_default();
                let docker = holder.command.as_deref().is_some_and(|command| DOCKERS.contains(&command));
                if docker { kasms.push((*port, holder)) } else { taken.push((*port, holder)) }
            }
        }
    }
    // What Docker holds on a node that has Kasm is Kasm's own: an upgrade or a second run is no conflict.
    match Installed::read(&context.paths) {
        Some(installed) if taken.is_empty() && !kasms.is_empty() => {
            let version = installed.version.map(|version| format!(" {version}")).unwrap_or_default();
            return Verdict::Skipped(format!("Kasm{version} is installed here and holds {}", told(&kasms)));
        }
        Some(_) => {}
        None => taken.append(&mut kasms),
    }
    let Some((_, holder)) = taken.first() else {
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        return Verdict::Pass(format!("free: {}", ports.join(" and ")));
    };
    let stop = match (&holder.unit, holder.command.as_deref()) {
        (_, Some(command)) if DOCKERS.contains(&command) => "see `docker ps` for the container and stop it".to_owned(),
        (Some(unit), _) if unit.ends_with(".service") => format!("stop it with `systemctl disable --now {unit}`"),
        _ => "stop that program".to_owned(),
    };
    let other =
        if taken.iter().any(|(port, _)| *port != RDP) { ", or give Kasm another port with -L PORT" } else { "" };
    Verdict::refuse("preflight.port-in-use", format!("in use: {}", told(&taken)), format!("{stop}{other}"))
}

fn told(held: &[(u16, Holder)]) -> String {
    let told: Vec<String> = held.iter().map(|(port, holder)| format!("port {port} by {holder}")).collect();
    told.join(" and ")
}
