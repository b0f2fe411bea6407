//! The password that was made up for the first user: whether it is still in use, and the file that holds it.
//!
//! The store keeps the id of its user and the digest of its hash, so that every start on this store knows whether the
//! password is in use, wherever it was shown, and whether or not the file was deleted.

use std::io;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::operator::Operator;
use super::{Result, Service};
use crate::domain::id::{LENGTH, UserId};
use crate::domain::password::PasswordHash;
use crate::domain::user::User;

/// The name among the store's secrets.
const MARK: &str = "first_password";

/// The state of the password that was made up at the first start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstPassword {
    /// There was none, or this store has no record of it.
    Unknown,
    /// This user still has it.
    InUse(Box<User>),
    /// It was changed, or its user was deleted.
    Changed,
}

/// As many bytes as the store keeps of a secret: the user's id, and what is left of them for the digest of the hash.
fn mark(user: UserId, hash: &PasswordHash) -> [u8; 32] {
    let mut mark: [u8; 32] = Sha256::digest(hash.as_str()).into();
    for (byte, letter) in mark.iter_mut().zip(user.as_str().bytes()) {
        *byte = letter;
    }
    mark
}

/// The user that the mark names.
fn marked(mark: [u8; 32]) -> Option<UserId> {
    str::from_utf8(mark.get(..LENGTH)?).ok()?.parse().ok()
}

impl Service {
    async fn first_password(&self) -> Result<FirstPassword> {
        let Some(kept) = self.parts.store.secret(MARK).await? else { return Ok(FirstPassword::Unknown) };
        let Some(user) = marked(kept) else { return Ok(FirstPassword::Unknown) };
        Ok(match self.parts.store.credentials_of(user).await? {
            Some(known) if mark(user, &known.password_hash) == kept => FirstPassword::InUse(Box::new(known.user)),
            Some(_) | None => FirstPassword::Changed,
        })
    }

    /// Deletes the file of the first password once that is no longer in use. What cannot be deleted is logged: the
    /// password was changed nonetheless.
    pub(super) async fn forget_first_password(&self) {
        let file = &*self.parts.first_password_file;
        if !file.exists() {
            return;
        }
        match self.first_password().await {
            Ok(FirstPassword::Changed) => delete(file),
            Ok(FirstPassword::Unknown | FirstPassword::InUse(_)) => {}
            Err(error) => tracing::warn!(%error, "cannot find out whether the first password is still in use"),
        }
    }
}

fn delete(file: &Path) {
    match std::fs::remove_file(file) {
        Ok(()) => tracing::info!(password_file = %file.display(), "the first password was changed: deleted its file"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(%error, password_file = %file.display(), "cannot delete the file of the first password");
        }
    }
}

impl<'s> Operator<'s> {
    /// Records that `user` was given a password that was made up.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn mark_first_password(&self, user: UserId) -> Result<()> {
        let store = &self.service().parts.store;
        if let Some(known) = store.credentials_of(user).await? {
            store.keep_secret(MARK, mark(user, &known.password_hash)).await?;
        }
        Ok(())
    }

    /// Returns the state of that password, and where it is kept if it is still in use. The file of one that was changed
    /// is deleted.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn first_password(&self) -> Result<(FirstPassword, Option<&'s Path>)> {
        let service = self.service();
        service.forget_first_password().await;
        let file = &*service.parts.first_password_file;
        Ok((service.first_password().await?, file.exists().then_some(file)))
    }
}
