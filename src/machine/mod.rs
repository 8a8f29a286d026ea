//! The machine: facts, never opinions.

pub mod swap;
