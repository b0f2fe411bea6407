//! The `sessiond` program.

use std::process::ExitCode;

/// Quicker than the system's with the many small pieces that a request is made of.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sessiond::cli::run()
}
