//! The intent: what the operator asked for, from every source in its order.

pub mod intent;

pub use intent::Intent;
