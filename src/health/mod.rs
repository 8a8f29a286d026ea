//! Is the node up? Probes and the verdict.

pub mod error;
pub mod prove;

pub use error::Error;
pub use prove::{Proof, prove};
