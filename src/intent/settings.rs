//! What the manager is to know about an agent beyond what registers it.

use crate::secret::Secret;

/// An agent's settings in the manager, and the key they are set with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSettings {
    /// Whether sessions may start on it; `None`: as it is.
    pub enable: Option<bool>,
    /// How many processors it is counted with; `None`: as it is.
    pub cores: Option<u32>,
    /// How much memory it is counted with, MiB; `None`: as it is.
    pub memory_mib: Option<u64>,
    /// The developer API's key.
    pub api_key: Secret,
    /// And its secret.
    pub api_key_secret: Secret,
}
