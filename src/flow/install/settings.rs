//! Tells the manager how it is to count this agent, once the agent is up. The node is at work whatever comes of it, so
//! nothing here fails a run.

use super::Install;
use crate::error::{Explain, Failure};
use crate::health;
use crate::intent::AgentSettings;
use crate::kasm::developer::{Applied, Developer, Form, Me, Wanted};
use crate::kasm::layout::Installed;
use crate::machine::names::hostname;
use crate::step::{Context, Finish};
use std::time::Duration;

/// How long the manager may take to list the agent and to take its settings.
pub const LIMIT: Duration = Duration::from_secs(2 * 60);
/// What is left for saying why it did not.
const MARGIN: Duration = Duration::from_millis(500);

/// What is asked for, in words.
pub fn about(settings: &AgentSettings) -> String {
    let mut parts = Vec::new();
    parts.extend(settings.enable.map(|enable| if enable { "enable it" } else { "disable it" }.to_owned()));
    parts.extend(settings.cores.map(|cores| format!("count {cores} cores")));
    parts.extend(settings.memory_mib.map(|mib| format!("count {mib} MiB of memory")));
    format!("have the manager {}", parts.join(", "))
}

/// The step.
pub async fn settings(work: &Install, cx: Context<'_>) -> Result<Finish, Failure> {
    let Some(settings) = &work.intent.settings else {
        return Ok(Finish::Skipped("nothing is asked for".into()));
    };
    if !health::is_started(&work.intent) {
        return Ok(Finish::Skipped("the agent was not started (--no-start), so the manager does not know it".into()));
    }
    let installed = Installed::read(&work.paths);
    let agent = installed.as_ref().and_then(|installed| installed.agent().ok().flatten());
    let version = installed.and_then(|installed| installed.version);
    let mut names = vec![work.own_address()];
    names.extend(agent.as_ref().and_then(|agent| agent.public_hostname.clone()));
    names.push(hostname());
    names.retain(|name| !name.is_empty() && name != "localhost");
    names.dedup();
    let server_id = agent.and_then(|agent| agent.server_id).or_else(|| work.intent.agent.server_id.clone());
    let me = Me { server_id, names };
    let wanted = Wanted { enable: settings.enable, cores: settings.cores, memory_mib: settings.memory_mib };
    let key = (&settings.api_key, &settings.api_key_secret);
    let (address, network) = (&work.intent.manager.address, &work.intent.network);
    let mut developer = Developer::new(&work.paths, address, network, key, Form::of(version.as_deref()));
    let deadline = cx.deadline.within(cx.deadline.remaining().min(LIMIT).saturating_sub(MARGIN));
    Ok(match developer.apply(&me, &wanted, deadline, cx.observer).await {
        Ok(Applied::Already) => Finish::Done("the manager has this agent so already".into()),
        Ok(Applied::Changed(what)) => Finish::Done(format!("the manager has this agent as asked now: {what}")),
        Err(error) => Finish::Warned(format!("the node is up, but {error} [{}]; {}", error.reason(), error.help())),
    })
}
