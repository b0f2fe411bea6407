//! Files of settings and secrets that other users of the machine can read or change.

use std::path::Path;

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
