//! An observer that keeps what it is told to wait for.

use kasm_bootstrap::observe::{Observer, Wait};
use std::sync::Mutex;

/// Each wait as `what: holder`.
#[derive(Default)]
pub struct Waits(pub Mutex<Vec<String>>);

impl Observer for Waits {
    fn waiting(&self, wait: &Wait) {
        self.0.lock().unwrap().push(format!("{}: {}", wait.what, wait.holder.clone().unwrap_or_default()));
    }
}
