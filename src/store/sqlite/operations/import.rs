//! Makes users who come from elsewhere, all of them or none.

use sqlx::Result;

use super::super::super::{Clash, Common, Import};
use super::super::revocations::json;
use super::super::transaction::Transaction;
use super::Operation;
use crate::domain::clock::Timestamp;
use crate::domain::event::{Event, EventKind};
use crate::domain::text::Email;

impl Operation for Import {
    type Outcome = Vec<Clash>;

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<Vec<Clash>> {
        let now = transaction.now();
        let usernames: Vec<_> = self.users.iter().map(|user| user.user.username.key()).collect();
        let emails: Vec<_> = self.users.iter().map(|user| user.user.email.as_ref().map(Email::key)).collect();
        let ids: Vec<_> = self.users.iter().map(|user| user.id.as_str()).collect();
        let taken: Vec<(i64, i64, String)> = sqlx::query_as(
            "SELECT w.key, 0, u.username FROM json_each(?1) AS w JOIN users AS u ON u.username_key = w.value
             UNION ALL SELECT w.key, 1, u.username FROM json_each(?2) AS w JOIN users AS u ON u.email_key = w.value
             UNION ALL SELECT w.key, 2, u.username FROM json_each(?3) AS w JOIN users AS u ON u.id = w.value
             ORDER BY 1, 2",
        )
        .bind(json(&usernames)?)
        .bind(json(&emails)?)
        .bind(json(&ids)?)
        .fetch_all(transaction.connection())
        .await?;
        if !taken.is_empty() || self.dry_run || self.users.is_empty() {
            return Ok(taken.into_iter().filter_map(clash).collect());
        }
        let rows: Vec<_> = self
            .users
            .iter()
            .zip(usernames.iter().zip(&emails))
            .map(|(imported, (username_key, email_key))| {
                let (user, disabled) = (&imported.user, imported.disabled.then(|| now.millis()));
                let created = imported.created_at.unwrap_or(now).millis();
                let email = user.email.as_ref().map(Email::as_str);
                let (id, hash, admin) = (imported.id.as_str(), imported.hash.as_str(), i64::from(user.admin));
                let (username, name) = (user.username.as_str(), user.name.as_str());
                (id, username, username_key, email, email_key, name, admin, hash, disabled, created)
            })
            .collect();
        sqlx::query(
            "INSERT INTO users (id, username, username_key, email, email_key, name, admin, password_hash, disabled_at,
                 created_at, updated_at)
             SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
                 value ->> 8, value ->> 9, ?2
             FROM jsonb_each(?1)",
        )
        .bind(json(&rows)?)
        .bind(now)
        .execute(transaction.connection())
        .await?;
        transaction.record(&self.events(now)).await?;
        Ok(Vec::new())
    }
}

impl Import {
    /// What the audit says: who was made, and that it was one import.
    fn events(&self, now: Timestamp) -> Vec<Event> {
        let count = i64::try_from(self.users.len()).unwrap_or(i64::MAX);
        let made = self.users.iter().map(|user| Event::about(user.id, EventKind::UserCreated, self.by, now));
        made.chain([Event { count, ..Event::new(EventKind::UsersImported, self.by, now) }]).collect()
    }
}

fn clash((place, common, with): (i64, i64, String)) -> Option<Clash> {
    let common = match common {
        0 => Common::Username,
        1 => Common::Email,
        _ => Common::Id,
    };
    Some(Clash { place: usize::try_from(place).ok()?, common, with })
}
