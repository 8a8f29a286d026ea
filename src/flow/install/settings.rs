//! Tells the manager how it is to count this agent, once the agent is up. The node is at work whatever comes of it, so
//! nothing here fails a run; what the manager has not taken is asked for again by the next run.

use super::Install;
use crate::error::{Explain, Failure};
use crate::health;
use crate::intent::AgentSettings;
use crate::kasm::developer::{Applied, Developer, Form, Me, Wanted};
use crate::kasm::layout::Installed;
use crate::kasm::receipt::Receipt;
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
    Ok(match tell(work, cx).await {
        Finish::Warned(words) => Finish::Warned(format!("the node is up, but {words}")),
        other => other,
    })
}

/// Asks again, on a node that is installed and proved, for what the manager has not taken from an earlier run; says
/// how that ended. `None` where nothing is owed or asked for, or it is a warning.
pub async fn again(work: &Install, receipt: Option<&Receipt>, cx: Context<'_>) -> Option<String> {
    if work.intent.settings.is_none() || !receipt.is_some_and(|receipt| receipt.owes_settings) {
        return None;
    }
    match tell(work, cx).await {
        Finish::Done(words) | Finish::Complete(words) | Finish::Skipped(words) => Some(words),
        Finish::Warned(words) => {
            cx.observer.warn(&words);
            None
        }
    }
}

async fn tell(work: &Install, cx: Context<'_>) -> Finish {
    let Some(settings) = &work.intent.settings else {
        return Finish::Skipped("nothing is asked for".into());
    };
    if !health::is_started(&work.intent) {
        return Finish::Skipped("the agent was not started (--no-start), so the manager does not know it".into());
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
    let words = match developer.apply(&me, &wanted, deadline, cx.observer).await {
        Ok(Applied::Already) => "the manager has this agent so already".into(),
        Ok(Applied::Changed(what)) => format!("the manager has this agent as asked now: {what}"),
        Err(error) => return Finish::Warned(format!("{error} [{}]; {}", error.reason(), error.help())),
    };
    if let Err(error) = Receipt::settle(&work.paths) {
        cx.observer.warn(&format!("a later run asks the manager for it once more: {error}"));
    }
    Finish::Done(words)
}
