//! The machine: facts, never opinions.

pub mod address;
pub mod changes;
pub mod clock;
pub mod cloud;
pub mod cloud_init;
pub mod facts;
pub mod guest_agent;
pub mod instance;
pub mod kernel;
pub mod mounts;
pub mod names;
pub mod os_release;
pub mod pressure;
pub mod reboot;
pub mod sockets;
pub mod swap;
pub mod user_data;
