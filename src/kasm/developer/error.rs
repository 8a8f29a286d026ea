//! Why the manager does not have an agent as it was asked to.

use super::super::manager;
use crate::error::{Exit, Explain};
use crate::net;
use std::time::Duration;

/// An agent's settings that could not be set.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection that may carry a key.
    #[error(transparent)]
    Client(#[from] net::Error),
    /// It did not answer.
    #[error(transparent)]
    Manager(manager::Error),
    /// It does not take this key.
    #[error("manager {manager} refuses the API key: {said}")]
    Refused {
        /// The manager.
        manager: String,
        /// What it said.
        said: String,
    },
    /// It does not do what it was asked to.
    #[error("manager {manager} does not take the agent's settings: {said}")]
    Failed {
        /// The manager.
        manager: String,
        /// What it said.
        said: String,
        /// How long it wants to be left alone.
        asked: Option<Duration>,
        /// Whether another try can end better.
        may_pass: bool,
    },
    /// It took them, and they are not in force.
    #[error("manager {manager} took the agent's settings without a word, and still lists it otherwise: {what}")]
    Unchanged {
        /// The manager.
        manager: String,
        /// What is still to be changed.
        what: String,
    },
    /// It does not list this agent.
    #[error("manager {manager} does not list an agent with {who}")]
    NotListed {
        /// The manager.
        manager: String,
        /// What it was looked for by.
        who: String,
    },
    /// It lists several that could be this one.
    #[error("manager {manager} lists {count} agents with {who}")]
    Ambiguous {
        /// The manager.
        manager: String,
        /// What it was looked for by.
        who: String,
        /// How many.
        count: usize,
    },
}

impl Error {
    /// True if asking again later may help.
    pub fn heals(&self) -> bool {
        match self {
            Error::Manager(error) => error.heals(),
            Error::Failed { may_pass, .. } => *may_pass,
            Error::NotListed { .. } => true,
            Error::Client(_) | Error::Refused { .. } | Error::Unchanged { .. } | Error::Ambiguous { .. } => false,
        }
    }

    /// How long the manager wants to be left alone.
    pub fn asked(&self) -> Option<Duration> {
        match self {
            Error::Failed { asked, .. } => *asked,
            _ => None,
        }
    }
}

impl Explain for Error {
    fn reason(&self) -> &'static str {
        match self {
            Error::Client(error) => error.reason(),
            Error::Manager(error) => error.reason(),
            Error::Refused { .. } => "settings.key-refused",
            Error::Failed { .. } | Error::Unchanged { .. } => "settings.failed",
            Error::NotListed { .. } | Error::Ambiguous { .. } => "settings.not-listed",
        }
    }

    fn help(&self) -> String {
        match self {
            Error::Client(error) => error.help(),
            Error::Manager(error) => error.help(),
            Error::Refused { .. } => {
                "see in the Admin UI (Settings, Developers) that the key is enabled, has not expired and may see and \
                 change agents"
                    .into()
            }
            Error::Failed { .. } | Error::Unchanged { .. } => {
                "set it in the Admin UI (Infrastructure, Docker Agents), and see the log of kasm_api on the manager"
                    .into()
            }
            Error::NotListed { .. } | Error::Ambiguous { .. } => {
                "see in the Admin UI (Infrastructure, Docker Agents) whether the agent has registered, and set it there"
                    .into()
            }
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Error::Client(error) => error.exit(),
            Error::Refused { .. } => Exit::Configuration,
            _ => Exit::Manager,
        }
    }
}
