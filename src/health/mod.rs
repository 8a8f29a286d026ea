//! Is the node up? Probes and the verdict.

pub mod error;
pub mod prove;

pub use error::Error;
pub use prove::{Proof, come_up, is_started, look, prove};
