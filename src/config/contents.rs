//! What the files hold that settings name, to notice that one of them has changed.

use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::files::{self, LARGEST_LIST};
use super::settings::Complete;

/// What each file holds that a setting names, hashed. It never leaves the process.
#[derive(Clone)]
pub(super) struct Contents(Vec<(&'static str, Option<[u8; 32]>)>);

impl Contents {
    /// Reads them. A file that cannot be read has been refused elsewhere.
    pub(super) fn read(settings: &Complete) -> Self {
        let hash = |path: &Path| files::read(path, LARGEST_LIST).ok().map(|bytes| Sha256::digest(bytes).into());
        let named = [
            ("admin_password_file", &settings.admin_password_file),
            ("database_url_file", &settings.database_url_file),
            ("logo_file", &settings.logo_file),
            ("password_list_file", &settings.password_list_file),
            ("secret_key_file", &settings.secret_key_file),
        ];
        Self(named.into_iter().filter_map(|(name, path)| Some((name, hash(path.as_deref()?)))).collect())
    }

    /// What the file of a setting holds, hashed.
    pub(super) fn of(&self, wanted: &str) -> Option<[u8; 32]> {
        self.0.iter().find(|(name, _)| *name == wanted).and_then(|(_, hash)| *hash)
    }

    /// The settings whose files hold something else.
    pub(super) fn differing(&self, other: &Self) -> impl Iterator<Item = &'static str> {
        self.0.iter().filter(|(name, hash)| *hash != other.of(name)).map(|(name, _)| *name)
    }
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}
