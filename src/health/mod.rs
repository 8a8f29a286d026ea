//! Is the node up? Probes and the verdict.

pub mod containers;
pub mod error;
mod evidence;
pub mod ids;
pub mod prove;
pub mod tokens;

pub use containers::{come_up, look};
pub use error::Error;
pub use ids::Ids;
pub use prove::{Expectations, Proof, is_started, prove, prove_installed};
