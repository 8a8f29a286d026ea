//! What is done about a trouble without anybody being asked. Each remedy is off unless it is wanted, waits until its
//! trouble is confirmed, is on record before it is tried, and is tried only so often.

use super::core::Core;
use crate::blocking;
use crate::config::{self, Loaded, Remedies};
use crate::deadline::Deadline;
use crate::flow::repair;
use crate::health::state::Moment;
use crate::health::{self, Level, ProbeStatus};
use crate::kasm::docker::{self, Container};
use crate::kasm::layout::{Installed, PROXY};
use crate::machine::kernel::boot_id;
use crate::machine::pressure;
use crate::paths::Paths;
use crate::step::View;
use crate::words;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::Notify;

/// The time for which attempts are counted.
const HOUR: Duration = Duration::from_secs(3600);
/// So often within it a plugin is enabled, and tokens are repaired. Where that does not help, more of it does not.
const PLUGIN_AN_HOUR: u32 = 3;
const REPAIR_AN_HOUR: u32 = 1;
/// How long a component has to end before it is killed.
const GRACE: Duration = Duration::from_secs(10);
/// How long Docker has for its list.
const LIST: Duration = Duration::from_secs(10);

/// What the remedies need.
pub struct Mend<'a> {
    /// Which of them are wanted.
    pub remedies: Remedies,
    /// Reads the configuration, for its credentials.
    pub load: &'a dyn Fn() -> Result<Loaded, config::Error>,
    /// The views of a run.
    pub views: &'a dyn Fn() -> Vec<Box<dyn View>>,
}

/// One thing to be mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Sidecar,
    Tokens,
    Components,
}

/// What is to be mended, each thing once.
#[derive(Default)]
pub(super) struct Orders {
    list: RefCell<VecDeque<(Order, String)>>,
    news: Notify,
    repairing: Cell<bool>,
    rest: Notify,
    closed: Cell<bool>,
    /// What has come to its limit, and was told so.
    limits: RefCell<BTreeSet<String>>,
}

impl Orders {
    /// Orders what helps, if that is wanted.
    pub(super) fn consider(&self, wanted: Remedies, status: &ProbeStatus) {
        let (order, wanted, from) = match status.name.as_str() {
            health::SIDECAR => (Order::Sidecar, wanted.enable_sidecar, Level::Warn),
            health::TOKENS => (Order::Tokens, wanted.repair_tokens, Level::Fail),
            health::CONTAINERS | health::RESTARTS => (Order::Components, wanted.restart_components > 0, Level::Fail),
            _ => return,
        };
        let mut list = self.list.borrow_mut();
        if wanted && status.level >= from && !list.iter().any(|(one, _)| *one == order) {
            list.push_back((order, status.name.clone()));
            self.news.notify_one();
        }
    }

    async fn next(&self) -> (Order, String) {
        loop {
            let next = self.list.borrow_mut().pop_front().filter(|_| !self.closed.get());
            match next {
                Some(order) => return order,
                None => self.news.notified().await,
            }
        }
    }

    /// Takes no more orders, and waits until what must not be cut short is done.
    pub(super) async fn at_rest(&self) {
        self.closed.set(true);
        while self.repairing.get() {
            self.rest.notified().await;
        }
    }
}

/// Does what is ordered, one thing after the other.
pub(super) async fn run(core: &Core<'_>) -> Infallible {
    loop {
        let (order, probe) = core.orders.next().await;
        // What a run is about to do, or has done, is not ours to mend.
        if core.gate.phase().at_work.is_some() {
            continue;
        }
        let told = match order {
            Order::Sidecar => sidecar(core).await,
            Order::Components => components(core).await,
            Order::Tokens => tokens(core).await,
        };
        for (words, done) in told {
            core.mended(&probe, words, done);
        }
    }
}

/// What was done, and what could not be.
type Told = Vec<(String, bool)>;

/// True if this may be tried once more; then it is on record. That it may not is told once.
async fn allowed(core: &Core<'_>, what: &str, most: u32, told: &mut Told) -> bool {
    let Some(now) = moment() else {
        told.push((format!("{what}: not done, because the kernel does not tell how long it runs"), false));
        return false;
    };
    let so_often = core.with_state(|state| state.attempts(what, &now, HOUR));
    if so_often >= most as usize {
        if core.orders.limits.borrow_mut().insert(what.to_owned()) {
            let times = match most {
                1 => "once".to_owned(),
                2 => "twice".to_owned(),
                _ => format!("{most} times"),
            };
            told.push((format!("{what}: done {times} within an hour already, and no more often"), false));
        }
        return false;
    }
    core.orders.limits.borrow_mut().remove(what);
    core.with_state(|state| state.attempt(what, &now));
    // Where it cannot be kept, it is known as long as this process lives, and whoever keeps the state says so.
    let _ = core.write().await;
    true
}

fn moment() -> Option<Moment> {
    // The kernel's own, wherever the root is.
    let uptime = pressure::uptime(&Paths::default()).ok()?;
    let boot = boot_id();
    (!boot.is_empty()).then_some(Moment { boot, uptime_s: uptime as u64 })
}

/// The containers of the role that are not running, and how they are.
async fn down(core: &Core<'_>) -> Result<Vec<(&'static str, Container)>, String> {
    let (paths, role) = (core.watch.paths.clone(), core.watch.role);
    let expected = blocking::run(move || Installed::read(&paths).map(|installed| installed.containers(role))).await;
    let socket = core.watch.paths.docker_socket();
    let list = tokio::time::timeout_at(Deadline::after(LIST).instant().into(), docker::containers(&socket)).await;
    let list = list.map_err(|_| "Docker does not answer".to_owned())?.map_err(|error| error.to_string())?;
    let is_down = |one: &Container| matches!(one.state.as_str(), "restarting" | "exited" | "dead" | "created");
    let found = |name: &'static str| {
        let container = list.iter().find(|one| one.is_named(name))?;
        is_down(container).then(|| (name, container.clone()))
    };
    Ok(expected.unwrap_or_default().into_iter().filter_map(found).collect())
}

async fn restart(core: &Core<'_>, name: &str, was: &Container, most: u32, told: &mut Told) {
    if !allowed(core, &format!("restart {name}"), most, told).await {
        return;
    }
    let was = was.describe();
    match docker::restart(&core.watch.paths.docker_socket(), name, GRACE).await {
        Ok(()) => told.push((format!("restarted {name}, which was {was}"), true)),
        Err(error) => told.push((format!("{name} is {was} and could not be restarted: {error}"), false)),
    }
}

/// Restarts the components that do not run. One that runs and is unhealthy may still serve somebody, and is left alone.
async fn components(core: &Core<'_>) -> Told {
    let mut told = Vec::new();
    match down(core).await {
        Err(why) => told.push((format!("no component was restarted: {why}"), false)),
        Ok(down) => {
            for (name, was) in down {
                restart(core, name, &was, core.watch.mend.remedies.restart_components, &mut told).await;
            }
        }
    }
    told
}

/// Enables the sidecar plugin, and starts the container that could not start without it.
async fn sidecar(core: &Core<'_>) -> Told {
    let mut told = Vec::new();
    let socket = core.watch.paths.docker_socket();
    let plugins = match docker::plugins(&socket).await {
        Ok(plugins) => plugins,
        Err(error) => return vec![(format!("the sidecar plugin was not enabled: {error}"), false)],
    };
    for plugin in plugins.iter().filter(|plugin| plugin.is_sidecar() && !plugin.enabled) {
        let name = words::one_line(&plugin.name);
        if !allowed(core, &format!("enable {name}"), PLUGIN_AN_HOUR, &mut told).await {
            continue;
        }
        if let Err(error) = docker::enable_plugin(&socket, &plugin.name).await {
            told.push((format!("{name} could not be enabled: {error}"), false));
            continue;
        }
        told.push((format!("enabled {name}"), true));
        // It does not start without the plugin (docs/kasm-facts.md, 8).
        let proxy = down(core).await.ok().and_then(|down| down.into_iter().find(|(name, _)| *name == PROXY));
        if let Some((name, was)) = proxy {
            restart(core, name, &was, PLUGIN_AN_HOUR, &mut told).await;
        }
    }
    told
}

/// Gives the components their tokens again, as `token repair` does.
async fn tokens(core: &Core<'_>) -> Told {
    let mut told = Vec::new();
    let intent = match (core.watch.mend.load)().and_then(|loaded| loaded.merged.repair()) {
        Ok((intent, _)) => intent,
        Err(error) => return vec![(format!("the tokens were not repaired: {error}"), false)],
    };
    if intent.registration.is_none() && intent.manager_token.is_none() {
        let words = "the tokens were not repaired: no credential holds a token to do it with";
        if core.orders.limits.borrow_mut().insert(words.to_owned()) {
            told.push((words.to_owned(), false));
        }
        return told;
    }
    if !allowed(core, "token repair", REPAIR_AN_HOUR, &mut told).await {
        return told;
    }
    core.orders.repairing.set(true);
    let result = repair::run(core.watch.paths, intent, (core.watch.mend.views)()).await;
    core.orders.repairing.set(false);
    core.orders.rest.notify_one();
    told.push(match result {
        Ok(report) => (format!("repaired the tokens: {}", report.detail), true),
        Err(failure) => (format!("the tokens could not be repaired: {} [{}]", failure.message, failure.reason), false),
    });
    told
}
