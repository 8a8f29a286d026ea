//! Kasm's conventions: command lines, what a release can do, where things lie, its HTTP API.

pub mod manager;
