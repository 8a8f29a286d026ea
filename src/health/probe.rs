//! What a probe is: a question about the node's health that is asked again and again.

use super::model::{Finding, ProbeStatus};
use crate::intent::{HostPort, Role};
use crate::net;
use crate::paths::Paths;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// One question.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// Its name: stable, lower case, words joined by dashes.
    pub name: &'static str,
    /// What it asks, in one line.
    pub about: &'static str,
    /// How long until it is asked again, before jitter.
    pub every: Duration,
    /// How long the answer may take; after that nothing is known.
    pub limit: Duration,
    /// So many answers in a row must mean something worse before the probe means it: one blip is no alarm.
    pub confirm: u32,
    /// True if the node does not do what it is for while this fails.
    pub vital: bool,
    /// Asks. Changes nothing on the machine and sends no secret. It is given how the probe stood before, with the
    /// numbers it found then; nothing where it was never asked.
    pub ask: for<'a> fn(&'a Context, Option<&'a ProbeStatus>) -> BoxFuture<'a, Finding>,
}

/// What the probes look at.
#[derive(Debug)]
pub struct Context {
    /// Every path.
    pub paths: Paths,
    /// The node's role, where it is known.
    pub role: Option<Role>,
    /// The manager; without one it is read from what is installed.
    pub manager: Option<HostPort>,
    /// How the manager is trusted and named.
    pub network: net::Options,
    /// False if nothing was to be started (`--no-start`).
    pub started: bool,
}
