//! Makes users who come from elsewhere, all of them or none.

use sqlx::{query, query_as};

use super::super::{Clash, Common, Import, ImportedUser, Result, StoreError};
use super::change::{Change, GivenSeq, Operation};
use crate::domain::clock::Timestamp;
use crate::domain::event::{Event, EventKind};
use crate::domain::text::Email;

/// How many users are looked up, or made, by one statement, which has a deadline as every other.
const PAGE: usize = 500;

impl Operation for Import {
    type Outcome = Vec<Clash>;

    async fn apply(&self, change: &mut Change<'_>) -> Result<GivenSeq<Vec<Clash>>> {
        let mut clashes = Vec::new();
        for (number, page) in self.users.chunks(PAGE).enumerate() {
            clashes.extend(taken(change, page).await?.into_iter().filter_map(|found| clash(number * PAGE, found)));
        }
        if !clashes.is_empty() || self.dry_run || self.users.is_empty() {
            return Ok(Box::new(|_| clashes));
        }
        let now = change.now();
        for page in self.users.chunks(PAGE) {
            self.add(change, page, now).await?;
            self.add_second_factors(change, page, now).await?;
        }
        let count = i64::try_from(self.users.len()).unwrap_or(i64::MAX);
        change.event(Event { count, ..Event::new(EventKind::UsersImported, self.by, now).from(&self.origin) });
        Ok(Box::new(|_| Vec::new()))
    }
}

/// Who has a name, an address or an id in common with one of these: its place, counted from one, what it is, and their
/// username.
async fn taken(change: &mut Change<'_>, page: &[ImportedUser]) -> Result<Vec<(i64, i32, String)>> {
    let taken = query_as(
        "WITH w AS (SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY
             AS them (username_key, email_key, id, username, key_of_id, place))
         SELECT w.place, 0, u.username FROM w JOIN users AS u ON u.username_key = w.username_key
         UNION ALL SELECT w.place, 1, u.username FROM w JOIN users AS u ON u.email_key = w.email_key
         UNION ALL SELECT w.place, 2, u.username FROM w JOIN users AS u ON u.id = w.id
         UNION ALL SELECT w.place, 3, u.username FROM w JOIN users AS u ON u.id = w.username
         UNION ALL SELECT w.place, 4, u.username FROM w JOIN users AS u ON u.username_key = w.key_of_id
         ORDER BY 1, 2",
    )
    .bind(page.iter().map(|user| user.user.username.key()).collect::<Vec<_>>())
    .bind(page.iter().map(email_key).collect::<Vec<_>>())
    .bind(page.iter().map(|user| user.id).collect::<Vec<_>>())
    .bind(page.iter().map(|user| user.user.username.clone()).collect::<Vec<_>>())
    .bind(page.iter().map(ImportedUser::key_of_id).collect::<Vec<_>>());
    change.connection().rows(taken).await
}

impl Import {
    /// Makes these, and says so in the audit.
    async fn add(&self, change: &mut Change<'_>, page: &[ImportedUser], now: Timestamp) -> Result<()> {
        let insert = query(
            "WITH made AS (
             INSERT INTO users (id, username, username_key, email, email_key, name, admin, password_hash, disabled_at,
                 created_at, must_change_password, password_expires_at, updated_at)
             SELECT w.*, $13 FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                 $7::boolean[], $8::text[], $9::bigint[], $10::bigint[], $11::boolean[], $12::bigint[]) AS w
             ON CONFLICT DO NOTHING
             RETURNING id, username, admin)
         INSERT INTO events (at, kind, user_id, name, actor, actor_name)
         SELECT $13, $14, id, username, $15, $16 FROM made
         UNION ALL SELECT $13, $17, id, username, $15, $16 FROM made WHERE admin",
        )
        .bind(page.iter().map(|user| user.id).collect::<Vec<_>>())
        .bind(page.iter().map(|user| user.user.username.clone()).collect::<Vec<_>>())
        .bind(page.iter().map(|user| user.user.username.key()).collect::<Vec<_>>())
        .bind(page.iter().map(|user| user.user.email.clone()).collect::<Vec<_>>())
        .bind(page.iter().map(email_key).collect::<Vec<_>>())
        .bind(page.iter().map(|user| user.user.name.clone()).collect::<Vec<_>>())
        .bind(page.iter().map(|user| user.user.admin).collect::<Vec<_>>())
        .bind(page.iter().map(|user| user.password.hash.clone()).collect::<Vec<_>>())
        .bind(page.iter().map(|user| user.disabled.then_some(now)).collect::<Vec<_>>())
        .bind(page.iter().map(|user| user.created_at.unwrap_or(now)).collect::<Vec<_>>())
        .bind(page.iter().map(|user| user.password.one_time.is_some()).collect::<Vec<_>>())
        .bind(page.iter().map(|user| user.password.one_time.and_then(|it| it.expires_at)).collect::<Vec<_>>())
        .bind(now)
        .bind(EventKind::UserCreated.as_str())
        .bind(self.by.as_str().to_owned())
        .bind(self.origin.actor_name.clone())
        .bind(EventKind::AdminGranted.as_str());
        let said = change.connection().execute(insert).await?;
        let admins = page.iter().filter(|user| user.user.admin).count();
        if usize::try_from(said) == Ok(page.len() + admins) {
            return Ok(());
        }
        Err(StoreError::unreachable(
            "one of the names was taken while users were imported, so that none was; try again",
        ))
    }

    /// Brings the second factors of these into force, and says so in the audit.
    async fn add_second_factors(&self, change: &mut Change<'_>, page: &[ImportedUser], now: Timestamp) -> Result<()> {
        let secrets = page.iter().filter_map(|user| Some((user.id, user.totp_secret.clone()?)));
        let (users, secrets): (Vec<_>, Vec<_>) = secrets.unzip();
        if users.is_empty() {
            return Ok(());
        }
        let insert = query(
            "WITH made AS (
                 INSERT INTO second_factors (user_id, secret, last_step, confirmed_at)
                 SELECT w.*, 0, $3 FROM unnest($1::text[], $2::bytea[]) AS w
                 RETURNING user_id)
             INSERT INTO events (at, kind, user_id, actor, actor_name) SELECT $3, $4, user_id, $5, $6 FROM made",
        )
        .bind(users)
        .bind(secrets)
        .bind(now)
        .bind(EventKind::SecondFactorSet.as_str())
        .bind(self.by.as_str().to_owned())
        .bind(self.origin.actor_name.clone());
        change.connection().execute(insert).await.map(drop)
    }
}

fn email_key(user: &ImportedUser) -> Option<String> {
    user.user.email.as_ref().map(Email::key)
}

fn clash(before: usize, (place, common, with): (i64, i32, String)) -> Option<Clash> {
    let common = Common::from_number(common.into())?;
    Some(Clash { place: before + usize::try_from(place).ok()?.checked_sub(1)?, common, with })
}
