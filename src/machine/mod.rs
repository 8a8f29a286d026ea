//! The machine: facts, never opinions.

pub mod address;
pub mod cloud;
pub mod facts;
pub mod kernel;
pub mod mounts;
pub mod os_release;
pub mod sockets;
pub mod swap;
pub mod user_data;
