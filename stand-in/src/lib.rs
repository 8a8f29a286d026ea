//! What `kasm-bootstrap` talks to, imitated: for its tests and its demonstration. Every server listens
//! on loopback (or a unix socket) only and ends when it is dropped.

pub mod docker;
pub mod http;
pub mod lock;
pub mod manager;
pub mod metadata;
pub mod mirror;
pub mod receiver;
pub mod release;
pub mod systemd;
pub mod tls;
