//! The machine: facts, never opinions.

pub mod address;
pub mod changes;
pub mod cloud;
pub mod cloud_init;
pub mod facts;
pub mod instance;
pub mod kernel;
pub mod mounts;
pub mod os_release;
pub mod sockets;
pub mod swap;
pub mod user_data;
