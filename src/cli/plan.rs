//! `kasm-bootstrap plan`.

use super::{Global, answer::Answer};
use crate::error::Failure;

/// The command's flags.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
pub async fn run(_global: &Global, _args: Args) -> Result<Answer, Failure> {
    unimplemented!()
}
