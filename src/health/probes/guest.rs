//! The machine as a guest and as an installation: the agent by which its provider sees it, and a restart it waits for.

use super::not_told;
use crate::health::model::{Finding, Level, Measure, ProbeStatus};
use crate::health::probe::Context;
use crate::intent::Role;
use crate::machine::facts::Facts;
use crate::machine::guest_agent::{self, GuestAgent};
use crate::machine::os_release::install_command;
use crate::machine::reboot;
use futures_util::future::{BoxFuture, FutureExt};

pub(super) const AGENT: &str = "guest-agent";
pub(super) const REBOOT: &str = "reboot-required";

pub(super) fn agent<'a>(context: &'a Context, _: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    async move {
        let facts = Facts::gather(&context.paths);
        match guest_agent::look(&context.paths, facts.platform.as_ref()) {
            Err(error) => not_told(context, &error),
            Ok(GuestAgent::NotQemu) => Finding::ok("this is no QEMU machine"),
            Ok(GuestAgent::NoChannel) => Finding::ok("the provider asks for none"),
            Ok(GuestAgent::Running) => Finding::ok("is running"),
            Ok(GuestAgent::Missing) => {
                let why = "the manager's provider cannot see this machine: qemu-guest-agent is not running";
                let install = install_command(facts.os.as_ref());
                let remedy = format!("{install} qemu-guest-agent && systemctl enable --now qemu-guest-agent");
                // A machine that no provider has made is reached all the same.
                let level = if is_provided(context).await { Level::Fail } else { Level::Warn };
                Finding { level, ..Finding::warn(why, remedy) }
            }
        }
    }
    .boxed()
}

/// True if the manager has had this machine made, as far as its installed agent knows; true also where nothing is
/// installed yet, because that may be why.
async fn is_provided(context: &Context) -> bool {
    let Ok(node) = context.node(AGENT).await else { return true };
    if node.role != Some(Role::Agent) {
        return false;
    }
    let provider = context.errands.run(AGENT, move || node.installed.agent().ok().flatten()?.provider).await;
    matches!(provider, Ok(Some(provider)) if !provider.is_empty())
}

pub(super) fn reboot<'a>(context: &'a Context, _: Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding> {
    async move {
        let os = Facts::gather(&context.paths).os;
        let paths = context.paths.clone();
        let asked = context.errands.run(REBOOT, move || reboot::wanted_by(&paths, os.as_ref())).await;
        let finding = match asked {
            Err(finding) => return finding,
            Ok(Err(error)) => return not_told(context, &error),
            Ok(Ok(None)) => Finding::ok("nothing asks for a restart"),
            Ok(Ok(Some(what))) => Finding::warn(
                format!("the machine should be restarted for {what}"),
                "restart it when no session runs here: `systemctl reboot`",
            ),
        };
        let wanted = f64::from(u8::from(finding.level == Level::Warn));
        finding.with(Measure::new("reboot_required", wanted))
    }
    .boxed()
}
