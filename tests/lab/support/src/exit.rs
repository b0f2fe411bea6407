//! How a program ends.

use std::process::ExitCode;

use anyhow::Result;

/// Says what went wrong, if anything did.
pub fn after(done: Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
