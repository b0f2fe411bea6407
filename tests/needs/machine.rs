//! What this machine has of what tests need.

use std::path::{Path, PathBuf};

/// The variable that names a PostgreSQL server on which tests may make databases, instead of one of their own.
pub const POSTGRES_URL: &str = "SESSIOND_TEST_POSTGRES_URL";

/// The server that the environment names.
pub fn postgres_url() -> Option<String> {
    std::env::var(POSTGRES_URL).ok().filter(|value| !value.is_empty())
}

/// The folder with the programs of PostgreSQL 15 or newer: the one on the path, else the newest that Debian installed.
pub fn postgres_programs() -> Option<PathBuf> {
    const OLDEST: u32 = 15;
    let version = |folder: &Path| {
        let output = std::process::Command::new(folder.join("initdb")).arg("--version").output().ok()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = said.split_whitespace().find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()))?;
        number.split(|letter: char| !letter.is_ascii_digit()).next()?.parse::<u32>().ok()
    };
    let complete =
        |folder: &PathBuf| ["initdb", "pg_ctl", "pg_basebackup"].iter().all(|program| folder.join(program).exists());
    // A link on the path leads to the folder where the others are.
    let real = |folder: PathBuf| Some(folder.join("initdb").canonicalize().ok()?.parent()?.to_owned());
    let on_path = path().into_iter().filter_map(real).filter(complete).find(|folder| version(folder) >= Some(OLDEST));
    let installed = || {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let folders = versions.map(|entry| entry.path().join("bin")).filter(complete);
        let newest = folders.filter_map(|folder| version(&folder).map(|number| (number, folder))).max();
        newest.filter(|(number, _)| *number >= OLDEST).map(|(_, folder)| folder)
    };
    on_path.or_else(installed)
}

/// The library that gives a program another clock, as Debian's and Fedora's packages install it.
pub fn faketime() -> Option<PathBuf> {
    let of_architectures = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let folders = of_architectures.chain(["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from));
    folders.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|library| library.exists())
}

/// The folders in which a shell looks for programs.
pub fn path() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}
