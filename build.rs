//! Finds out which commit is being built (`SESSIOND_COMMIT`, else git, else `development`), and nothing else.
//!
//! What it sets is set for `cargo run` too, and the server refuses variables that it does not know: what the machine has
//! for tests is looked up in `tests/needs`.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=SESSIOND_COMMIT");
    let commit = environment("SESSIOND_COMMIT");
    println!("cargo::rustc-env=SESSIOND_COMMIT={}", commit.or_else(from_git).unwrap_or_else(|| "development".into()));
}

#[expect(clippy::disallowed_methods, reason = "a build script has no configuration but the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn from_git() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    for path in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", path]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short", "HEAD"]).filter(|commit| !commit.is_empty())
}
