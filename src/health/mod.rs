//! Is the node up? Probes and the verdict.

mod ask;
pub mod board;
pub mod containers;
mod errands;
pub mod error;
mod evidence;
pub mod hysteresis;
pub mod ids;
pub mod model;
pub mod probe;
mod probes;
pub mod prove;
pub mod state;
pub mod tokens;
pub mod verdict;

pub use ask::{ask_all, probes};
pub use board::Board;
pub use containers::{come_up, look};
pub use error::Error;
pub use ids::Ids;
pub use model::{Finding, Health, Level, Measure, ProbeStatus, Verdict};
pub use probe::{Context, Probe};
pub use probes::{CONTAINERS, RESTARTS, SIDECAR, TOKENS};
pub use prove::{Expectations, Proof, is_started, prove, prove_installed, starts};
pub use state::State;
pub use verdict::{Past, Standing, judge};
