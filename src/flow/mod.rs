//! The order of things: what a command does, step by step.

pub mod bake;
pub mod boot;
pub mod bundle;
pub mod install;
pub mod packages;
mod read;
pub mod repair;
pub mod rollback;
pub mod run;
mod tree;
pub mod upgrade;
pub mod watch;
