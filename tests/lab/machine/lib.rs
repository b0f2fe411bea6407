//! Finds the programs that tests and measurements need on this machine: for them, and for the build script that marks
//! tests.
//!
//! It uses nothing but the standard library, since a build script waits for it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that names a PostgreSQL server on which tests may make databases, instead of one of their own.
pub const POSTGRES_URL: &str = "SESSIOND_TEST_POSTGRES_URL";

/// Where, in a target directory, `tests/proxies/install` puts programs.
pub const INSTALLED: &str = "proxies/bin";

/// Where, in a target directory, `tests/import/install` puts a Python with packages that make hashes.
pub const HASHERS: &str = "import/bin";

/// Where, in a target directory, `tests/traces/install` puts a collector.
pub const COLLECTOR: &str = "traces/bin";

/// The oldest PostgreSQL that the service supports.
const OLDEST_POSTGRES: u32 = 15;

/// The server that the environment names.
pub fn postgres_url() -> Option<String> {
    std::env::var(POSTGRES_URL).ok().filter(|value| !value.is_empty())
}

/// The folder with the programs of PostgreSQL 15 or newer: the one on the path, else the newest that Debian installed.
pub fn postgres_programs() -> Option<PathBuf> {
    // A link on the path leads to the folder where the others are.
    let linked = |folder: PathBuf| Some(folder.join("initdb").canonicalize().ok()?.parent()?.to_owned());
    let supported = |folder: &PathBuf| has_postgres(folder) && postgres_version(folder) >= Some(OLDEST_POSTGRES);
    let on_path = path().into_iter().filter_map(linked).find(supported);
    let installed = || {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        versions.map(|entry| entry.path().join("bin")).filter(supported).max_by_key(|folder| postgres_version(folder))
    };
    on_path.or_else(installed)
}

fn has_postgres(folder: &Path) -> bool {
    ["initdb", "pg_ctl", "pg_basebackup"].iter().all(|program| folder.join(program).exists())
}

/// The major version of the `initdb` in a folder.
fn postgres_version(folder: &Path) -> Option<u32> {
    let output = Command::new(folder.join("initdb")).arg("--version").output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = said.split_whitespace().find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()))?;
    number.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// The library that gives a program another clock, as Debian's and Fedora's packages install it.
pub fn faketime() -> Option<PathBuf> {
    let of_architectures = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let folders = of_architectures.chain(["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from));
    folders.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|library| library.exists())
}

/// A program on the path.
pub fn program(name: &str) -> Option<PathBuf> {
    path().into_iter().map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// A reverse proxy: the one that `tests/proxies/install` has put into the target directory in which the running program lies
/// too, else the one on the path.
pub fn proxy(name: &str) -> Option<PathBuf> {
    installed(INSTALLED, name).or_else(|| program(name))
}

/// The Python that `tests/import/install` has put there.
pub fn hashers() -> Option<PathBuf> {
    installed(HASHERS, "python")
}

/// The collector that `tests/traces/install` has put there.
pub fn collector() -> Option<PathBuf> {
    installed(COLLECTOR, "rotel-agent")
}

/// A program in a folder of the target directory in which the running program lies too.
fn installed(folder: &str, name: &str) -> Option<PathBuf> {
    let running = std::env::current_exe().ok()?;
    running.ancestors().map(|target| target.join(folder).join(name)).find(|file| file.is_file())
}

/// The folders in which a shell looks for programs.
fn path() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}
