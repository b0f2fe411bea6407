//! Makes users who come from elsewhere, all of them or none.

use sqlx::Result;

use super::super::super::{Clash, Common, Import, Initial};
use super::super::revocations::json;
use super::super::transaction::Transaction;
use super::Operation;
use crate::domain::clock::Timestamp;
use crate::domain::event::{Event, EventKind};
use crate::domain::text::Email;
use crate::domain::user::NewUser;

impl Operation for Import {
    type Outcome = Vec<Clash>;

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<Vec<Clash>> {
        let now = transaction.now();
        let usernames: Vec<_> = self.users.iter().map(|user| user.user.username.key()).collect();
        let emails: Vec<_> = self.users.iter().map(|user| user.user.email.as_ref().map(Email::key)).collect();
        let ids: Vec<_> = self.users.iter().map(|user| user.id.as_str()).collect();
        let taken: Vec<(i64, i64, String)> = sqlx::query_as(
            "SELECT w.key, 0, u.username FROM json_each(?1) AS w CROSS JOIN users AS u ON u.username_key = w.value
             UNION ALL SELECT w.key, 1, u.username FROM json_each(?2) AS w CROSS JOIN users AS u ON u.email_key = w.value
             UNION ALL SELECT w.key, 2, u.username FROM json_each(?3) AS w CROSS JOIN users AS u ON u.id = w.value
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
        // One by one: for an insert of several, SQLite would look through all sessions for each.
        for (imported, (username_key, email_key)) in self.users.iter().zip(usernames.into_iter().zip(emails)) {
            let (NewUser { username, email, name, admin }, Initial { hash, one_time }) =
                (&imported.user, &imported.password);
            sqlx::query(
                "INSERT INTO users (id, username, username_key, email, email_key, name, admin, password_hash, disabled_at,
                     created_at, updated_at, must_change_password, password_expires_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )
            .bind(imported.id)
            .bind(username)
            .bind(username_key)
            .bind(email)
            .bind(email_key)
            .bind(name)
            .bind(admin)
            .bind(hash)
            .bind(imported.disabled.then_some(now))
            .bind(imported.created_at.unwrap_or(now))
            .bind(now)
            .bind(one_time.is_some())
            .bind(one_time.and_then(|one_time| one_time.expires_at))
            .execute(transaction.connection())
            .await?;
        }
        let secrets = self.users.iter().filter_map(|user| Some((user.id, user.totp_secret.as_ref()?)));
        for (user, secret) in secrets {
            let set = "INSERT INTO second_factors (user_id, secret, last_step, confirmed_at) VALUES (?1, ?2, 0, ?3)";
            sqlx::query(set).bind(user).bind(secret).bind(now).execute(transaction.connection()).await?;
        }
        transaction.record(&self.events(now)).await?;
        Ok(Vec::new())
    }
}

impl Import {
    /// What the audit says: who was made, who has a second factor, and that it was one import.
    fn events(&self, now: Timestamp) -> Vec<Event> {
        let count = i64::try_from(self.users.len()).unwrap_or(i64::MAX);
        let about = |user, kind| Event::about(user, kind, self.by, now).from(&self.origin);
        let made = self.users.iter().flat_map(|made| {
            let name = Some(made.user.username.as_str().to_owned());
            let created = Event { name, ..about(made.id, EventKind::UserCreated) };
            let set = made.totp_secret.is_some().then(|| about(made.id, EventKind::SecondFactorSet));
            [created].into_iter().chain(set)
        });
        let all = Event { count, ..Event::new(EventKind::UsersImported, self.by, now).from(&self.origin) };
        made.chain([all]).collect()
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
