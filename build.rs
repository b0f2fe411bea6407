//! Finds out which commit is being built (`SESSIOND_COMMIT`, else git, else `development`), and what tests may do here.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=SESSIOND_COMMIT");
    let commit = environment("SESSIOND_COMMIT");
    println!("cargo::rustc-env=SESSIOND_COMMIT={}", commit.or_else(from_git).unwrap_or_else(|| "development".into()));

    // A test that needs what this machine does not give is ignored, and not passed.
    println!("cargo::rustc-check-cfg=cfg(may_mount, has_postgres, has_initdb, has_faketime, has_nginx, has_haproxy)");
    if Command::new("unshare").args(["--mount", "true"]).output().is_ok_and(|output| output.status.success()) {
        println!("cargo::rustc-cfg=may_mount");
    }
    let mut complete = true;
    for proxy in ["nginx", "haproxy"] {
        if Command::new(proxy).arg("-v").output().is_ok() {
            println!("cargo::rustc-cfg=has_{proxy}");
        } else {
            complete = false;
        }
    }
    println!("cargo::rerun-if-env-changed=SESSIOND_TEST_POSTGRES_URL");
    println!("cargo::rerun-if-env-changed=PATH");
    let programs = postgres_programs();
    if let Some(programs) = &programs {
        println!("cargo::rerun-if-changed={}", programs.join("initdb").display());
        println!("cargo::rustc-env=SESSIOND_TEST_POSTGRES_PROGRAMS={}", programs.display());
        println!("cargo::rustc-cfg=has_initdb");
    }
    let faketime = faketime();
    if let Some(library) = &faketime {
        println!("cargo::rerun-if-changed={}", library.display());
        println!("cargo::rustc-env=SESSIOND_TEST_FAKETIME={}", library.display());
        println!("cargo::rustc-cfg=has_faketime");
    }
    if !(complete && programs.is_some() && faketime.is_some()) && Path::new(PACKAGES).exists() {
        println!("cargo::rerun-if-changed={PACKAGES}");
    }
    if programs.is_some() || environment("SESSIOND_TEST_POSTGRES_URL").is_some() {
        println!("cargo::rustc-cfg=has_postgres");
    }
}

#[expect(clippy::disallowed_methods, reason = "a build script has no configuration but the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Changes when a Debian package is installed, one of those that are looked for perhaps.
const PACKAGES: &str = "/var/lib/dpkg/status";

/// The folder with PostgreSQL's `initdb` and `pg_ctl`: of the newest version, if not found as a shell would.
fn postgres_programs() -> Option<PathBuf> {
    const OLDEST: u32 = 15;
    let version = |folder: &Path| {
        let output = Command::new(folder.join("initdb")).arg("--version").output().ok()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = said.split_whitespace().find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()))?;
        number.split(|letter: char| !letter.is_ascii_digit()).next()?.parse::<u32>().ok()
    };
    let complete =
        |folder: &PathBuf| ["initdb", "pg_ctl", "pg_basebackup"].iter().all(|program| folder.join(program).exists());
    let path = environment("PATH").unwrap_or_default();
    // A link leads to where the others are.
    let real = |folder: PathBuf| Some(folder.join("initdb").canonicalize().ok()?.parent()?.to_owned());
    let on_path =
        std::env::split_paths(&path).filter_map(real).filter(complete).find(|folder| version(folder) >= Some(OLDEST));
    let installed = || {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let folders = versions.map(|of| of.path().join("bin")).filter(complete);
        let newest = folders.filter_map(|folder| version(&folder).map(|number| (number, folder))).max();
        newest.filter(|(number, _)| *number >= OLDEST).map(|(_, folder)| folder)
    };
    on_path.or_else(installed)
}

/// The library that tells a program another time, as Debian's and Fedora's packages install it.
fn faketime() -> Option<PathBuf> {
    let of_architectures = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let folders = of_architectures.chain(["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from));
    folders.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|library| library.exists())
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
