//! Who beside this machine is told what happens on it.

use super::{HostPort, Role};
use crate::net;
use crate::secret::Secret;

/// Which events a webhook is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Events {
    /// Every event but the lines of the installer.
    All,
    /// What changes something for somebody who looks from afar: a run begins, warns, fails in a step or ends, the
    /// node's health changes or is mended.
    #[default]
    Changes,
    /// How runs end.
    End,
}

impl Events {
    /// The words of `webhook.events`.
    pub const ALL: [(&'static str, Events); 3] =
        [("all", Events::All), ("changes", Events::Changes), ("end", Events::End)];
}

/// What a webhook is told in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// JSON, one document an event.
    #[default]
    Events,
    /// One form at the end of a run that ended well, as cloud-init's module `phone_home` sends it.
    PhoneHome,
}

impl Form {
    /// The words of `webhook.form`.
    pub const ALL: [(&'static str, Form); 2] = [("events", Form::Events), ("phone-home", Form::PhoneHome)];
}

/// A webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookIntent {
    /// Where to: `http` or `https`. Receivers put keys into their URLs, so it is kept like one.
    pub url: Secret,
    /// What it is told in.
    pub form: Form,
    /// Which events it is told.
    pub events: Events,
    /// What the events are signed with.
    pub secret: Option<Secret>,
}

/// Whom to tell, and who tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reporting {
    /// The webhook.
    pub webhook: Option<WebhookIntent>,
    /// The check-in token, with which the manager is told how far the node is.
    pub checkin_token: Option<Secret>,
    /// The manager, as far as it is known.
    pub manager: Option<HostPort>,
    /// The node's role, as far as it is known.
    pub role: Option<Role>,
    /// The autoscaler's identifier of this server.
    pub server_id: Option<String>,
    /// The autoscaler's provider name.
    pub provider: Option<String>,
    /// TLS and proxies.
    pub network: net::Options,
}
