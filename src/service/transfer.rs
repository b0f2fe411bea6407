//! Taking over users from elsewhere, and giving users away.

use std::borrow::Cow;

use super::operator::Operator;
use super::unreadable::can_open_all;
use super::{Error, Result};
use crate::domain::event::{Actor, Event, EventKind};
use crate::domain::id::UserId;
use crate::domain::password::PasswordHash;
use crate::domain::user::OneTime;
use crate::import::{Read, Record, Refused, export, refuse_collisions};
use crate::password::exported;
use crate::store::{Clash, ExportedUser, Import, ImportedUser, Initial};

/// Why users are not taken over, or not given away.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// An operation of the service failed.
    #[error(transparent)]
    Service(#[from] Error),
    /// The key at hand is not the one that second factors of the store are encrypted under.
    #[error(
        "the store has second factors that are encrypted under a key which is not here: set secret_key_file \
         (SESSIOND_SECRET_KEY_FILE) as the servers have it"
    )]
    SecondFactorKey,
    /// The secret of a second factor cannot be decrypted.
    #[error(
        "the second factors of {0} users are encrypted under a key which is not here, so nobody was exported: set \
         secret_key_file (SESSIOND_SECRET_KEY_FILE) as the servers have it"
    )]
    UnreadableSecondFactors(usize),
}

/// How many users are read at a time.
const PAGE: u32 = 1_000;
/// How often it is begun again, where others take names meanwhile.
const TRIES: usize = 3;

/// What is taken over of a file.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportRules {
    /// Whether those whom the file calls administrators become administrators.
    pub allow_admins: bool,
    /// Whether the others are taken over where some cannot be.
    pub skip_bad: bool,
    /// Whether users with a second factor are taken over without it.
    pub drop_second_factors: bool,
    /// Whether nothing is changed.
    pub dry_run: bool,
}

/// What became of a file.
#[derive(Debug)]
pub struct Imported {
    /// How many users were taken over, or would be.
    pub users: usize,
    /// Who was not, and why.
    pub refused: Vec<Refused>,
    /// What else there is to be said, in sentences.
    pub notes: Vec<String>,
}

/// Every user, as lines that can be imported.
#[derive(Debug)]
pub struct Exported {
    /// The lines, without their ends.
    pub lines: Vec<String>,
    /// The usernames of those whose hash is left out, since it is never computed, or is of a one-time password that expires.
    pub without_hash: Vec<String>,
    /// How many users have a second factor.
    pub second_factors: usize,
}

impl Operator<'_> {
    /// Takes users over: all that were read, or with `skip_bad` all that can be; in one transaction.
    ///
    /// # Errors
    /// [`TransferError`], after which nothing was taken over, as far as it is known.
    pub async fn import(&self, mut read: Read, rules: ImportRules) -> std::result::Result<Imported, TransferError> {
        if rules.drop_second_factors {
            drop_second_factors(&mut read);
        } else {
            refuse_unfit_secrets(&mut read);
        }
        if !rules.allow_admins {
            make_ordinary(&mut read);
        }
        let second_factors = read.records.iter().filter(|record| record.totp_secret.is_some()).count();
        if second_factors > 0 {
            // Then the servers, which can read the second factors that there are, can read those that are sealed here.
            let parts = &self.service().parts;
            if !can_open_all(&parts.factor_keys, &*parts.store).await? {
                return Err(TransferError::SecondFactorKey);
            }
            read.notes.push(format!(
                "the second factors of {second_factors} users come without recovery codes, which cannot be taken over: they \
                 get new ones at /second-factor"
            ));
        }
        for _ in 0..TRIES {
            let clashes = self.store_import(&read.records, true).await?;
            read = refuse_collisions(read, clashes);
            let Read { records, refused, notes } = &mut read;
            let users = if refused.is_empty() || rules.skip_bad { records.len() } else { 0 };
            // Between the two others may have taken a name.
            if rules.dry_run || users == 0 || self.store_import(records, false).await?.is_empty() {
                return Ok(Imported { users, refused: std::mem::take(refused), notes: std::mem::take(notes) });
            }
        }
        let taken = "others took names while they were imported, so that nobody was; try again";
        Err(Error::StoreTooSlow(taken.into()).into())
    }

    async fn store_import(&self, records: &[Record], dry_run: bool) -> Result<Vec<Clash>> {
        let parts = &self.service().parts;
        let user = |record: &Record| -> Result<ImportedUser> {
            let one_time = record.must_change_password.then_some(OneTime { expires_at: None });
            let id = record.id.map_or_else(|| UserId::random(&*parts.entropy), Ok)?;
            let secret = record.totp_secret.as_ref().and_then(|secret| secret.as_ref().ok());
            let totp_secret = secret.map(|secret| parts.factor_keys.seal(secret, id, &*parts.entropy)).transpose()?;
            Ok(ImportedUser {
                id,
                user: record.user.clone(),
                password: Initial { hash: record.hash.clone(), one_time },
                disabled: record.disabled,
                created_at: record.created_at,
                totp_secret,
            })
        };
        let users = records.iter().map(user).collect::<Result<_>>()?;
        Ok(parts.store.import_users(Import { users, dry_run, by: Actor::CommandLine, origin: self.origin() }).await?)
    }

    /// Gives every user away, in the order of usernames; with the secrets of their second factors only if these are asked for.
    ///
    /// # Errors
    /// [`TransferError`].
    pub async fn export(&self, second_factors: bool) -> std::result::Result<Exported, TransferError> {
        let mut users = self.users_to_export().await?;
        users.sort_by_cached_key(|user| user.known.user.username.key());
        let keys = &self.service().parts.factor_keys;
        let (mut lines, mut without_hash, mut unreadable) = (Vec::with_capacity(users.len()), Vec::new(), 0);
        for ExportedUser { known, totp_secret } in &mut users {
            let expires = known.one_time.is_some_and(|one_time| one_time.expires_at.is_some());
            let unusable = known.password_hash != PasswordHash::none() && exported(&known.password_hash).is_none();
            if expires || unusable {
                known.password_hash = PasswordHash::none();
                known.one_time = None;
                without_hash.push(known.user.username.as_str().to_owned());
            }
            let sealed = totp_secret.as_ref().filter(|_| second_factors);
            let secret = sealed.and_then(|sealed| keys.open(sealed, known.user.id)).map(|secret| secret.base32());
            unreadable += usize::from(sealed.is_some() && secret.is_none());
            lines.push(export(known, secret.as_ref()).map_err(|error| Error::Bug(error.to_string().into()))?);
        }
        if unreadable > 0 {
            return Err(TransferError::UnreadableSecondFactors(unreadable));
        }
        if let Ok(count @ 1..) = i64::try_from(users.len()) {
            let parts = &self.service().parts;
            let event =
                Event::new(EventKind::UsersExported, Actor::CommandLine, parts.clock.now()).from(&self.origin());
            let detail = second_factors.then_some(Cow::Borrowed("second_factors"));
            parts.store.record(vec![Event { detail, count, ..event }]).await.map_err(Error::from)?;
        }
        let second_factors = users.iter().filter(|user| user.totp_secret.is_some()).count();
        Ok(Exported { lines, without_hash, second_factors })
    }

    async fn users_to_export(&self) -> Result<Vec<ExportedUser>> {
        let mut users = Vec::<ExportedUser>::new();
        loop {
            let last = users.last().map(|user| user.known.user.id);
            let page = self.service().parts.store.users_to_export(last, PAGE).await?;
            if page.is_empty() {
                return Ok(users);
            }
            users.extend(page);
        }
    }
}

/// Without its second factor, an account would be open to the password alone, so that is never the outcome of a bad secret.
fn refuse_unfit_secrets(read: &mut Read) {
    for record in std::mem::take(&mut read.records) {
        match &record.totp_secret {
            Some(Err(why)) => read.refused.push(Refused {
                line: record.line,
                username: record.user.username.as_str().to_owned(),
                why: format!("{why}; --drop-second-factors takes the user over without it"),
            }),
            Some(Ok(_)) | None => read.records.push(record),
        }
    }
}

fn drop_second_factors(read: &mut Read) {
    let dropped = read.records.iter_mut().filter_map(|record| record.totp_secret.take()).count();
    if dropped > 0 {
        read.notes.push(format!("{dropped} users have a second factor there, and their password alone is enough here"));
    }
}

fn make_ordinary(read: &mut Read) {
    let mut admins = 0;
    for record in &mut read.records {
        admins += usize::from(record.user.admin);
        record.user.admin = false;
    }
    if admins > 0 {
        read.notes
            .push(format!("{admins} users are administrators there, and ordinary users here without --allow-admins"));
    }
}
