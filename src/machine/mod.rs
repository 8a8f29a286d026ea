//! The machine: facts, never opinions.

pub mod address;
pub mod facts;
pub mod mounts;
pub mod os_release;
pub mod swap;
