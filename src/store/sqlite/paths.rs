//! Where the store's files lie, by name, and what the file system's errors mean for the store.

use std::io;
use std::path::{Path, PathBuf};

use super::super::StoreError;

/// What the name of the lock ends with.
pub(super) const LOCK: &str = ".lock";

/// The directory a file is in.
pub(super) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// The file beside a database whose name has this ending.
pub(super) fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// An error of the file system in the store's words.
pub(super) fn unreachable_file(path: &Path, error: &io::Error) -> StoreError {
    StoreError::unreachable(format!("{}: {error}", path.display()))
}

/// A path that is one to SQLite, which takes what begins with `file:` for a URI.
pub(super) fn plain(path: &Path) -> PathBuf {
    Path::new(".").join(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_looks_like_a_uri_is_a_name() {
        assert_eq!(plain(Path::new("file:test.db?mode=memory")), Path::new("./file:test.db?mode=memory"));
        assert_eq!(plain(Path::new("/var/lib/test.db")), Path::new("/var/lib/test.db"));
    }
}
