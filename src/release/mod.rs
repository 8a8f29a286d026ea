//! A kasm_release tarball: downloaded, verified, unpacked, kept.
//!
//! ```text
//! Request ── fetch ──> Verified<Tarball> ── unpack ──> DIR/kasm_release
//!              │
//!              └─ cache, partial file, mirrors, retries
//! ```
//!
//! No byte of a release reaches a parser before all its bytes were hashed: [`unpack()`] takes only a
//! [`Verified`] tarball, and only hashing makes one. Where the operator gave a minisign key, its signature
//! must fit too.

pub mod cache;
pub mod digest;
pub mod error;
pub mod fetch;
#[doc(hidden)]
pub mod fuzzing;
pub mod signature;
pub mod unpack;
pub mod verified;

mod ahead;
mod attempt;
mod entry;
mod mirror;
mod request;
mod sidecar;
mod spool;
mod tree;

pub use cache::Cache;
pub use digest::Digest;
pub use error::{Error, Refusal};
pub use fetch::{fetch, measure};
pub use request::{Request, Wanted};
pub use unpack::{Limits, Unpacked, unpack};
pub use verified::{Tarball, Verified, measure_file};
