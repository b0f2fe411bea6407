//! The `sessiond` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    sessiond::cli::run()
}
