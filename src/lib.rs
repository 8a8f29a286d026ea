//! `kasm-bootstrap` brings a Kasm Workspaces node up on a fresh machine, and proves that it is up.
//!
//! # The map
//!
//! Imports run downwards only. A room may use what stands below it, never what stands above or, for
//! the nouns, beside it:
//!
//! ```text
//! cli                                    reads flags, calls one flow, prints the answer
//!  └─ flow, report                       the order of things; the views of the journal
//!      └─ step, preflight                the engine: plan, journal, budget; the checks
//!          └─ config                     the intent: what the operator asked for
//!              └─ apt release token      the nouns: each knows one thing, none knows another's insides
//!                 kasm machine health
//!                  └─ net                the HTTP client: TLS, names, proxies
//!                      └─ paths error secret deadline observe durable words     the ground
//! ```
//!
//! Nothing but [`cli`] prints. Steps never call reporters: they tell an [`observe::Observer`] what they
//! wait for, and the journal and its views make of it what they like.

pub mod apt;
pub mod cli;
pub mod config;
pub mod deadline;
pub mod durable;
pub mod error;
pub mod flow;
pub mod health;
pub mod kasm;
pub mod machine;
pub mod net;
pub mod observe;
pub mod paths;
pub mod preflight;
pub mod release;
pub mod report;
pub mod secret;
pub mod step;
pub mod token;
pub mod words;
