//! Files that settings name: reading them, and finding those that other users of the machine can read or change.

use std::io::{self, Read as _};
use std::path::Path;

/// The most that such a file may hold, in bytes.
const LARGEST_FILE: u64 = 64 * 1024;
/// The largest list of passwords that cannot be set, in bytes.
pub(super) const LARGEST_LIST: u64 = 8 * 1024 * 1024;

/// Reads a file. A pipe, and anything else without an end, is refused, since it could be read for ever.
pub(super) fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    read(path, LARGEST_FILE)
}

/// Reads a file of text that may be as large as `largest` bytes.
pub(super) fn read_text(path: &Path, largest: u64) -> io::Result<String> {
    String::from_utf8(read(path, largest)?).map_err(|_| io::Error::other("it is not UTF-8"))
}

/// Reads a file of at most `largest` bytes.
pub(super) fn read(path: &Path, largest: u64) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileTypeExt as _;
    if std::fs::metadata(path)?.file_type().is_fifo() {
        return Err(io::Error::other("it is a pipe, which may never be written to: name a file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(largest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > largest {
        return Err(io::Error::other(format!("it is larger than {} KiB", largest / 1024)));
    }
    Ok(bytes)
}

/// The same for a file that holds text.
pub(super) fn read_small_text(path: &Path) -> io::Result<String> {
    read_text(path, LARGEST_FILE)
}

/// Says so when a file that holds a secret can be read by every user of the machine, or changed by another one.
///
/// Such a file is not refused: Kubernetes mounts secrets as 0644 by default, in containers that have no other user. A
/// group that may read is often intended.
pub(super) fn loose_file(key: &str, path: &Path, secret: bool) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let found = std::fs::metadata(path).ok()?;
    let (shown, mode, owner) = (path.display(), found.mode(), found.uid());
    let ours = owner == 0 || owner == rustix::process::geteuid().as_raw();
    if mode & 0o022 != 0 || !ours {
        return Some(format!(
            "{key} {shown} can be changed by another user of the machine: chown it to this one, and chmod 600 it"
        ));
    }
    (secret && mode & 0o004 != 0)
        .then(|| format!("{key} {shown} holds a secret that every user of the machine can read: chmod 600 it"))
}
