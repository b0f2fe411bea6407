//! Makes users who come from elsewhere, all of them or none, while others write.
//!
//! SQLite has one writer at a time, for which a logout waits. So the rows are added a few at a time and hidden by a mark,
//! with which they are no users; and the last step, which is short, takes the marks off all of them and writes the audit. What
//! is left of an import that was killed is removed by the next one, and when a server starts.

use std::path::Path;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::error::DatabaseError;
use sqlx::sqlite::SqliteConnection;
use tokio::time::Instant;

use super::super::{Clash, Common, Import, ImportedUser, Result, StoreError};
use super::connection::{self, failed};
use super::revocations::json;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::event::EventKind;
use crate::domain::id::UserId;
use crate::domain::second_factor::sealed::SealedSecret;
use crate::domain::text::Email;

/// The mark of a row that is no user yet: it stands where a time would say when the user was deleted.
const MARK: i64 = -1;
/// How many rows are added or removed in one transaction.
const BATCH: usize = 500;
/// The longest pause after a batch, in which others write. It is as long as SQLite lets them wait between two tries; a shorter
/// batch is followed by a pause as long as itself.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes users, unless some clash with those that there are.
pub(super) async fn import(path: &Path, clock: &dyn Clock, import: &Import) -> Result<Vec<Clash>> {
    let mut connection = connection::for_imports(path).await.map_err(failed)?;
    let made = make(&mut connection, clock, import).await;
    let closed = connection.close().await;
    let clashes = made?;
    closed.map_err(failed)?;
    Ok(clashes)
}

/// Removes what is left of an import that was killed. One that is under way fails by it, and makes nobody.
pub(super) async fn remove_unfinished(path: &Path) -> Result<()> {
    let mut connection = connection::for_imports(path).await.map_err(failed)?;
    let removed = remove_marked(&mut connection).await;
    connection.close().await.and(removed).map_err(failed)
}

async fn make(connection: &mut SqliteConnection, clock: &dyn Clock, import: &Import) -> Result<Vec<Clash>> {
    let clashes = clashes(connection, &import.users).await.map_err(failed)?;
    if !clashes.is_empty() || import.dry_run || import.users.is_empty() {
        return Ok(clashes);
    }
    remove_marked(connection).await.map_err(failed)?;
    let failure = match add_all(connection, clock, import).await {
        Ok(true) => return Ok(Vec::new()),
        Ok(false) => None,
        Err(error) => Some(error),
    };
    // This fails where no transaction is open, which does not matter.
    let _ = sqlx::query("ROLLBACK").execute(&mut *connection).await;
    let ids: Vec<_> = import.users.iter().map(|user| user.id).collect();
    let removed = remove(connection, &ids).await;
    if let Some(error) = failure.filter(|error| !is_taken(error)) {
        return Err(failed(error));
    }
    removed.map_err(failed)?;
    let clashes = self::clashes(connection, &import.users).await.map_err(failed)?;
    if clashes.is_empty() { Err(StoreError::too_slow(ANOTHER)) } else { Ok(clashes) }
}

/// Whether a name, an address or an id was taken since it was looked for.
fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(DatabaseError::is_unique_violation)
}

const ANOTHER: &str = "another import, or the start of a server, came between, so that nobody was imported; try again";

/// Who has a name, an address or an id in common with one of these.
async fn clashes(connection: &mut SqliteConnection, users: &[ImportedUser]) -> sqlx::Result<Vec<Clash>> {
    let usernames: Vec<_> = users.iter().map(|user| user.user.username.key()).collect();
    let emails: Vec<_> = users.iter().map(|user| user.user.email.as_ref().map(Email::key)).collect();
    let ids: Vec<_> = users.iter().map(|user| user.id.as_str()).collect();
    let written: Vec<_> = users.iter().map(|user| user.user.username.as_str()).collect();
    let keys_of_ids: Vec<_> = users.iter().map(ImportedUser::key_of_id).collect();
    let taken: Vec<(i64, i64, String)> = sqlx::query_as(
        "SELECT w.key, 0, u.username FROM json_each(?1) AS w CROSS JOIN users AS u ON u.username_key = w.value
         WHERE u.deleted_at IS NOT ?4
         UNION ALL SELECT w.key, 1, u.username FROM json_each(?2) AS w CROSS JOIN users AS u ON u.email_key = w.value
         WHERE u.deleted_at IS NOT ?4
         UNION ALL SELECT w.key, 2, u.username FROM json_each(?3) AS w CROSS JOIN users AS u ON u.id = w.value
         WHERE u.deleted_at IS NOT ?4
         UNION ALL SELECT w.key, 3, u.username FROM json_each(?5) AS w CROSS JOIN users AS u ON u.id = w.value
         WHERE u.deleted_at IS NOT ?4
         UNION ALL SELECT w.key, 4, u.username FROM json_each(?6) AS w CROSS JOIN users AS u ON u.username_key = w.value
         WHERE u.deleted_at IS NOT ?4
         ORDER BY 1, 2",
    )
    .bind(json(&usernames)?)
    .bind(json(&emails)?)
    .bind(json(&ids)?)
    .bind(MARK)
    .bind(json(&written)?)
    .bind(json(&keys_of_ids)?)
    .fetch_all(connection)
    .await?;
    Ok(taken.into_iter().filter_map(clash).collect())
}

fn clash((place, common, with): (i64, i64, String)) -> Option<Clash> {
    Some(Clash { place: usize::try_from(place).ok()?, common: Common::from_number(common)?, with })
}

/// Adds all rows and takes their marks off. False where some of them were removed meanwhile: then none is a user.
async fn add_all(connection: &mut SqliteConnection, clock: &dyn Clock, import: &Import) -> sqlx::Result<bool> {
    for batch in import.users.chunks(BATCH) {
        let begin = Instant::now();
        add(connection, batch, clock.now()).await?;
        pause_since(begin).await;
    }
    finish(connection, clock.now(), import).await
}

async fn pause_since(begin: Instant) {
    tokio::time::sleep(begin.elapsed().min(PAUSE)).await;
}

/// Adds rows, marked.
async fn add(connection: &mut SqliteConnection, users: &[ImportedUser], now: Timestamp) -> sqlx::Result<()> {
    let rows = users.iter().map(|imported| {
        let ImportedUser { id, user, password, disabled, created_at, totp_secret: _ } = imported;
        let email = user.email.as_ref();
        let names = (user.username.as_str(), user.username.key(), email.map(Email::as_str), email.map(Email::key));
        let expires = password.one_time.and_then(|one_time| one_time.expires_at).map(Timestamp::millis);
        let times = (disabled.then_some(now.millis()), created_at.unwrap_or(now).millis(), expires);
        let flags = (u8::from(user.admin), u8::from(password.one_time.is_some()));
        (id.as_str(), names, user.name.as_str(), password.hash.as_str(), times, flags)
    });
    let secrets = users.iter().filter_map(|user| Some((user.id.as_str(), hex(user.totp_secret.as_ref()?))));
    let (rows, secrets) = (json(&rows.collect::<Vec<_>>())?, json(&secrets.collect::<Vec<_>>())?);
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    sqlx::query(
        "INSERT INTO users (id, username, username_key, email, email_key, name, password_hash, disabled_at, created_at,
             password_expires_at, admin, must_change_password, updated_at, deleted_at)
         SELECT value ->> 0, value ->> '$[1][0]', value ->> '$[1][1]', value ->> '$[1][2]', value ->> '$[1][3]', value ->> 2,
             value ->> 3, value ->> '$[4][0]', value ->> '$[4][1]', value ->> '$[4][2]', value ->> '$[5][0]',
             value ->> '$[5][1]', ?2, ?3
         FROM jsonb_each(?1)",
    )
    .bind(rows)
    .bind(now)
    .bind(MARK)
    .execute(&mut *connection)
    .await?;
    let set = "INSERT INTO second_factors (user_id, secret, last_step, confirmed_at)
               SELECT value ->> 0, unhex(value ->> 1), 0, ?2 FROM jsonb_each(?1)";
    sqlx::query(set).bind(secrets).bind(now).execute(&mut *connection).await?;
    sqlx::query("COMMIT").execute(connection).await.map(drop)
}

fn hex(secret: &SealedSecret) -> String {
    data_encoding::HEXLOWER.encode(secret.as_bytes())
}

/// Takes the marks off and says in the audit who was made, who is an administrator, who has a second factor, and that it was one import. False where
/// a row is gone.
async fn finish(connection: &mut SqliteConnection, now: Timestamp, import: &Import) -> sqlx::Result<bool> {
    let rows = import.users.iter().map(|imported| {
        let ImportedUser { id, user, totp_secret, .. } = imported;
        (id.as_str(), user.username.as_str(), totp_secret.is_some(), user.admin)
    });
    // It is parsed before the transaction, once for all statements.
    let parsed = sqlx::query_scalar("SELECT jsonb(?1)").bind(json(&rows.collect::<Vec<_>>())?);
    let rows: Vec<u8> = parsed.fetch_one(&mut *connection).await?;
    let count = i64::try_from(import.users.len()).unwrap_or(i64::MAX);
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let unmarked = sqlx::query(
        "UPDATE users SET deleted_at = NULL
         WHERE deleted_at = ?2 AND id IN (SELECT value ->> 0 FROM jsonb_each(?1))",
    );
    let unmarked = unmarked.bind(&rows).bind(MARK).execute(&mut *connection).await?.rows_affected();
    if usize::try_from(unmarked) != Ok(import.users.len()) {
        return Ok(false);
    }
    let events = "INSERT INTO events (at, kind, user_id, name, actor, actor_name)
                  SELECT ?2, ?3, value ->> 0, value ->> 1, ?5, ?6 FROM jsonb_each(?1)
                  UNION ALL SELECT ?2, ?7, value ->> 0, value ->> 1, ?5, ?6 FROM jsonb_each(?1) WHERE value ->> 3
                  UNION ALL SELECT ?2, ?4, value ->> 0, NULL, ?5, ?6 FROM jsonb_each(?1) WHERE value ->> 2";
    sqlx::query(events)
        .bind(rows)
        .bind(now)
        .bind(EventKind::UserCreated.as_str())
        .bind(EventKind::SecondFactorSet.as_str())
        .bind(import.by.as_str())
        .bind(&import.origin.actor_name)
        .bind(EventKind::AdminGranted.as_str())
        .execute(&mut *connection)
        .await?;
    sqlx::query("INSERT INTO events (at, kind, actor, actor_name, count) VALUES (?1, ?2, ?3, ?4, ?5)")
        .bind(now)
        .bind(EventKind::UsersImported.as_str())
        .bind(import.by.as_str())
        .bind(&import.origin.actor_name)
        .bind(count)
        .execute(&mut *connection)
        .await?;
    sqlx::query("COMMIT").execute(connection).await?;
    Ok(true)
}

/// Removes every marked row.
async fn remove_marked(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    // The mark is written out, as it is in the index that finds it.
    let marked = sqlx::query_scalar("SELECT id FROM users WHERE deleted_at = -1");
    let marked: Vec<UserId> = marked.fetch_all(&mut *connection).await?;
    remove(connection, &marked).await
}

/// Removes those of these rows that are marked. Nothing refers to them but what was added with them.
async fn remove(connection: &mut SqliteConnection, ids: &[UserId]) -> sqlx::Result<()> {
    for batch in ids.chunks(BATCH) {
        let begin = Instant::now();
        let ids = json(&batch.iter().map(UserId::as_str).collect::<Vec<_>>())?;
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
        for sql in [
            "DELETE FROM second_factors WHERE user_id IN
                 (SELECT u.id FROM json_each(?1) AS w CROSS JOIN users AS u ON u.id = w.value WHERE u.deleted_at = ?2)",
            "DELETE FROM users WHERE deleted_at = ?2 AND id IN (SELECT value FROM json_each(?1))",
        ] {
            sqlx::query(sql).bind(&ids).bind(MARK).execute(&mut *connection).await?;
        }
        sqlx::query("COMMIT").execute(&mut *connection).await?;
        pause_since(begin).await;
    }
    Ok(())
}
