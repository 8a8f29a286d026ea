//! The binary: run one command line, end with its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(kasm_bootstrap::cli::run(std::env::args_os()).code())
}
