//! Finds out which commit is being built (`SESSIOND_COMMIT`, else git, else `development`), and what tests may do here.

use std::process::Command;

#[expect(clippy::disallowed_methods, reason = "a build script has no configuration but the environment")]
fn main() {
    println!("cargo::rerun-if-env-changed=SESSIOND_COMMIT");
    let commit = std::env::var("SESSIOND_COMMIT").ok().filter(|commit| !commit.is_empty());
    // A test that needs what this machine does not give is ignored, and not passed.
    println!("cargo::rustc-check-cfg=cfg(may_mount)");
    if Command::new("unshare").args(["--mount", "true"]).output().is_ok_and(|output| output.status.success()) {
        println!("cargo::rustc-cfg=may_mount");
    }
    println!("cargo::rustc-env=SESSIOND_COMMIT={}", commit.or_else(from_git).unwrap_or_else(|| "development".into()));
}

fn from_git() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    for path in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", path]).filter(|path| std::path::Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short", "HEAD"]).filter(|commit| !commit.is_empty())
}
