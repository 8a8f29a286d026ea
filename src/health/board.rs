//! Where the node's health hangs for everybody who wants to look at it: the watch writes it, views read it.

use super::model::Health;
use std::sync::{Arc, Mutex, PoisonError};

/// The latest health, shared. Reading and writing take no longer than a copy.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<Option<Health>>>);

impl Board {
    /// Hangs up what is known now.
    pub fn put(&self, health: Health) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(health);
    }

    /// What is known; `None` before anything was asked.
    pub fn look(&self) -> Option<Health> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
