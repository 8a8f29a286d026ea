//! Kasm's conventions: command lines, what a release can do, where things lie, its HTTP API.

pub mod checkin;
pub mod classify;
pub mod command_line;
pub mod developer;
pub mod docker;
pub mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod held;
pub mod layout;
pub mod manager;
mod output;
pub mod receipt;
pub mod refusal;
pub mod run;
pub mod script;
pub mod services;
pub mod session;
pub mod snapshot;
pub mod version;
pub mod yaml;
pub mod yaml_edit;

pub use error::Error;
