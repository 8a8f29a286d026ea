//! `kasm-bootstrap` brings a Kasm Workspaces node up on a fresh machine, and proves that it is up.
//!
//! # The map
//!
//! Imports run downwards only. A room may use what stands below it, never what stands above or, for
//! the nouns, beside it:
//!
//! ```text
//! cli                                       reads flags, calls one flow, prints the answer
//!  └─ flow  report                          the order of things; the views of the journal
//!      └─ step  preflight                   the engine: plan, journal, budget; the checks
//!          └─ config                        where the intent comes from
//!              └─ health                    the proof that a node is up
//!                  └─ kasm                  Kasm's conventions
//!                      └─ apt dnf release machine   what a machine and a release are
//!                          └─ intent        what the operator asked for: plain data
//!                              └─ token net packages   well-formed tokens; the HTTP client; waiting for a
//!                                  │                   package manager
//!                                  └─ observe record system   how work tells what it does; small files of
//!                                      │               ours; processes and units
//!                                      └─ paths error secret deadline durable blocking words reasons
//! ```
//!
//! A test reads the sources and holds them to this.
//!
//! Nothing but [`cli`] prints. Steps never call reporters: they tell an [`observe::Observer`] what they
//! wait for, and the journal and its views make of it what they like.

pub mod apt;
pub mod blocking;
pub mod cli;
pub mod config;
pub mod deadline;
pub mod dnf;
pub mod durable;
pub mod error;
pub mod flow;
pub mod health;
pub mod intent;
pub mod kasm;
pub mod machine;
pub mod net;
pub mod observe;
pub mod packages;
pub mod paths;
pub mod preflight;
pub mod reasons;
pub mod record;
pub mod release;
pub mod report;
pub mod secret;
pub mod step;
pub mod system;
pub mod token;
pub mod words;
