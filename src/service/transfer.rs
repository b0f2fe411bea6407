//! Taking over users from elsewhere, and giving users away.

use super::operator::Operator;
use super::{Error, Result};
use crate::domain::event::Actor;
use crate::domain::id::UserId;
use crate::domain::password::PasswordHash;
use crate::domain::user::OneTime;
use crate::import::{Read, Record, Refused, export, refuse_collisions};
use crate::password::exported;
use crate::store::{Clash, Import, ImportedUser, Initial};

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
    /// Whether secrets of a second factor are dropped; otherwise, who has one cannot be taken over.
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
}

impl Operator<'_> {
    /// Takes users over: all that were read, or with `skip_bad` all that can be; in one transaction.
    ///
    /// # Errors
    /// When the store fails; nothing was taken over then, as far as it is known.
    pub async fn import(&self, mut read: Read, rules: ImportRules) -> Result<Imported> {
        if !rules.drop_second_factors {
            refuse_second_factors(&mut read);
        }
        if !rules.allow_admins {
            make_ordinary(&mut read);
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
        Err(Error::StoreTooSlow("others took names while they were imported, so that nobody was; try again".into()))
    }

    async fn store_import(&self, records: &[Record], dry_run: bool) -> Result<Vec<Clash>> {
        let parts = &self.service().parts;
        let user = |record: &Record| -> Result<ImportedUser> {
            let one_time = record.must_change_password.then_some(OneTime { expires_at: None });
            let id = record.id.map_or_else(|| UserId::random(&*parts.entropy), Ok)?;
            Ok(ImportedUser {
                id,
                user: record.user.clone(),
                password: Initial { hash: record.hash.clone(), one_time },
                disabled: record.disabled,
                created_at: record.created_at,
            })
        };
        let users = records.iter().map(user).collect::<Result<_>>()?;
        Ok(parts.store.import_users(Import { users, dry_run, by: Actor::CommandLine, origin: self.origin() }).await?)
    }

    /// Gives every user away, in the order of usernames.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn export(&self) -> Result<Exported> {
        let mut known = Vec::new();
        let mut last = None;
        loop {
            let page = self.service().parts.store.credentials_after(last, PAGE).await?;
            let Some(end) = page.last() else { break };
            last = Some(end.user.id);
            known.extend(page);
        }
        known.sort_by_cached_key(|known| known.user.username.key());
        let mut without_hash = Vec::new();
        for known in &mut known {
            let expires = known.one_time.is_some_and(|one_time| one_time.expires_at.is_some());
            let unusable = known.password_hash != PasswordHash::none() && exported(&known.password_hash).is_none();
            if expires || unusable {
                known.password_hash = PasswordHash::none();
                known.one_time = None;
                without_hash.push(known.user.username.as_str().to_owned());
            }
        }
        let line = |known| export(known).map_err(|error| Error::Bug(error.to_string().into()));
        Ok(Exported { lines: known.iter().map(line).collect::<Result<_>>()?, without_hash })
    }
}

/// Without its second factor, an account would be open to whoever has the password alone.
fn refuse_second_factors(read: &mut Read) {
    let (with, without) =
        std::mem::take(&mut read.records).into_iter().partition(|record| record.totp_secret.is_some());
    read.records = without;
    let with: Vec<Record> = with;
    read.refused.extend(with.into_iter().map(|record| Refused {
        line: record.line,
        username: record.user.username.as_str().to_owned(),
        why: String::from(
            "it has a second factor, which cannot be taken over; --drop-second-factors takes it over without",
        ),
    }));
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
