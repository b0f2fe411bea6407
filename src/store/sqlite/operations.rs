//! What the writer commits: each operation's statements, and the audit and the log that every batch ends with.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use super::super::{Added, Created, NewSession, PasswordChange, Result, Revoked, StoreError, Target};
use super::failed;
use super::rows::id;
use super::writer::Operation;
use crate::domain::clock::Timestamp;
use crate::domain::event::{Actor, Event, EventKind};
use crate::domain::id::{SessionId, UserId};
use crate::domain::password::PasswordHash;
use crate::domain::revocation::{Reason, Revocation, Seq, Why};
use crate::domain::session::Seen;
use crate::domain::text::Email;
use crate::domain::token::TokenHash;
use crate::domain::user::{NewUser, User};

/// A transaction under way, and what it owes at its end.
pub(super) struct Batch<'c> {
    connection: &'c mut SqliteConnection,
    /// The log's newest number when the transaction began, once it was asked for.
    head: Option<Seq>,
    sessions: Vec<TokenHash>,
    users: Vec<UserId>,
    events: Vec<Event>,
}

/// A session that a statement ended.
struct EndedRow {
    id: String,
    token_hash: Vec<u8>,
    user_id: String,
}

/// What the log keeps of a revocation.
#[derive(Serialize, Deserialize)]
struct What {
    sessions: Vec<String>,
    users: Vec<String>,
}

pub(super) fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Inconsistent(error.to_string()))
}

pub(super) fn token_hash(bytes: &[u8]) -> Result<TokenHash> {
    let bytes = bytes.try_into().map_err(|_| StoreError::Inconsistent(String::from("a token hash is not 32 bytes")))?;
    Ok(TokenHash::from_bytes(bytes))
}

impl<'c> Batch<'c> {
    /// Begins with nothing owed.
    pub(super) const fn new(connection: &'c mut SqliteConnection) -> Self {
        Self { connection, head: None, sessions: Vec::new(), users: Vec::new(), events: Vec::new() }
    }

    async fn head(&mut self) -> Result<Seq> {
        if let Some(head) = self.head {
            return Ok(head);
        }
        let head = sqlx::query_scalar!(r#"SELECT coalesce(max(seq), 0) AS "seq!: i64" FROM revocations"#)
            .fetch_one(&mut *self.connection)
            .await
            .map_err(failed)?;
        Ok(*self.head.insert(Seq(head)))
    }

    /// The number of this batch, if it turns out to end anything.
    async fn number(&mut self) -> Result<Seq> {
        Ok(Seq(self.head().await?.0 + 1))
    }

    /// Takes note of sessions that a statement ended, and tells what they came to.
    fn ended(&mut self, rows: Vec<EndedRow>, number: Seq, reason: &Reason, whole_user: bool) -> Result<Revoked> {
        let mut sessions = Vec::with_capacity(rows.len());
        for row in rows {
            let (session, user) = (id(&row.id)?, id(&row.user_id)?);
            if !whole_user {
                self.sessions.push(token_hash(&row.token_hash)?);
            }
            let event = Event::about(user, reason.why.event(), reason.by, reason.at);
            let detail = (reason.why.event() == EventKind::Revoked).then_some(reason.why.as_str());
            self.events.push(Event { session: Some(session), ip: reason.ip.clone(), detail, ..event });
            sessions.push(session);
        }
        let seq = if sessions.is_empty() { Seq(number.0 - 1) } else { number };
        Ok(Revoked { sessions, seq })
    }

    /// Ends every live session of a user but `keep`, and makes every cache ask anew about that user.
    async fn end_all(&mut self, user: UserId, keep: Option<SessionId>, reason: &Reason) -> Result<Revoked> {
        let number = self.number().await?;
        let (at, by, why) = (reason.at.millis(), reason.by.as_str(), reason.why.as_str());
        let (user_text, keep) = (user.as_str(), keep.as_ref().map(SessionId::as_str));
        let rows = sqlx::query_as!(
            EndedRow,
            r#"UPDATE sessions SET revoked_at = ?1, revoked_by = ?2, revoked_why = ?3, revoked_seq = ?4
               WHERE user_id = ?5 AND buried = 0 AND id IS NOT ?6
                   AND revoked_at IS NULL AND idle_expires_at > ?1 AND expires_at > ?1
               RETURNING id, token_hash, user_id"#,
            at,
            by,
            why,
            number.0,
            user_text,
            keep
        )
        .fetch_all(&mut *self.connection)
        .await
        .map_err(failed)?;
        if !rows.is_empty() {
            self.users.push(user);
        }
        self.ended(rows, number, reason, true)
    }

    /// Writes the audit and the log: the last steps before the commit.
    pub(super) async fn finish(self) -> Result<Option<Revocation>> {
        let Self { connection, head, sessions, users, events } = self;
        if !events.is_empty() {
            let rows: Vec<_> = events.iter().map(event_row).collect();
            let rows = json(&rows)?;
            sqlx::query!(
                "INSERT INTO events (at, kind, user_id, session_id, actor, ip, detail)
                 SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
                 FROM json_each(?1)",
                rows
            )
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
        }
        if sessions.is_empty() && users.is_empty() {
            return Ok(None);
        }
        let Some(Seq(head)) = head else {
            return Err(StoreError::Inconsistent(String::from("sessions ended without a number")));
        };
        let what = json(&What {
            sessions: sessions.iter().map(TokenHash::to_hex).collect(),
            users: users.iter().map(ToString::to_string).collect(),
        })?;
        let (seq, at) = (head + 1, events.first().map_or(0, |event| event.at.millis()));
        sqlx::query!("INSERT INTO revocations (seq, at, what) VALUES (?1, ?2, ?3)", seq, at, what)
            .execute(connection)
            .await
            .map_err(failed)?;
        Ok(Some(Revocation { seq: Seq(seq), sessions, users }))
    }
}

type EventRow<'e> =
    (i64, &'static str, Option<&'e str>, Option<&'e str>, &'e str, Option<&'e str>, Option<&'static str>);

fn event_row(event: &Event) -> EventRow<'_> {
    (
        event.at.millis(),
        event.kind.as_str(),
        event.user.as_ref().map(UserId::as_str),
        event.session.as_ref().map(SessionId::as_str),
        event.actor.as_str(),
        event.ip.as_deref(),
        event.detail,
    )
}

/// The log's entries between two numbers, both left out.
pub(super) async fn ended_by_others(
    connection: &mut SqliteConnection,
    after: Seq,
    before: Seq,
) -> Result<Vec<Revocation>> {
    let rows =
        sqlx::query!("SELECT seq, what FROM revocations WHERE seq > ?1 AND seq < ?2 ORDER BY seq", after.0, before.0)
            .fetch_all(connection)
            .await
            .map_err(failed)?;
    let odd = || StoreError::Inconsistent(String::from("an entry of the revocation log cannot be read"));
    rows.into_iter()
        .map(|row| {
            let what: What = serde_json::from_str(&row.what).map_err(|_| odd())?;
            Ok(Revocation {
                seq: Seq(row.seq),
                sessions: what
                    .sessions
                    .iter()
                    .map(|hex| TokenHash::from_hex(hex).ok_or_else(odd))
                    .collect::<Result<_>>()?,
                users: what.users.iter().map(|text| id(text)).collect::<Result<_>>()?,
            })
        })
        .collect()
}

/// Adds a user.
pub(super) struct AddUser {
    pub id: UserId,
    pub user: NewUser,
    pub hash: PasswordHash,
    pub by: Actor,
    pub now: Timestamp,
}

#[async_trait]
impl Operation for AddUser {
    type Outcome = Added;

    async fn apply(&self, batch: &mut Batch<'_>) -> Result<Added> {
        let NewUser { username, email, name, admin } = &self.user;
        let (username_key, email_key) = (username.key(), email.as_ref().map(Email::key));
        let taken = sqlx::query!(
            r#"SELECT EXISTS (SELECT 1 FROM users WHERE username_key = ?1) AS "username!: bool",
                   EXISTS (SELECT 1 FROM users WHERE email_key = ?2) AS "email!: bool""#,
            username_key,
            email_key
        )
        .fetch_one(&mut *batch.connection)
        .await
        .map_err(failed)?;
        if taken.username {
            return Ok(Added::UsernameTaken);
        }
        if taken.email {
            return Ok(Added::EmailTaken);
        }
        let (id, now, hash) = (self.id.as_str(), self.now.millis(), self.hash.as_str());
        let (username_text, email_text, name_text) =
            (username.as_str(), email.as_ref().map(Email::as_str), name.as_str());
        sqlx::query!(
            "INSERT INTO users (id, username, username_key, email, email_key, name, admin, password_hash, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)",
            id,
            username_text,
            username_key,
            email_text,
            email_key,
            name_text,
            admin,
            hash,
            now
        )
        .execute(&mut *batch.connection)
        .await
        .map_err(failed)?;
        batch.events.push(Event::about(self.id, EventKind::UserCreated, self.by, self.now));
        Ok(Added::Yes(User {
            id: self.id,
            username: username.clone(),
            email: email.clone(),
            name: name.clone(),
            admin: *admin,
            disabled_at: None,
            created_at: self.now,
            updated_at: self.now,
        }))
    }
}

/// Makes a session.
pub(super) struct CreateSession(pub NewSession);

#[async_trait]
impl Operation for CreateSession {
    type Outcome = Created;

    async fn apply(&self, batch: &mut Batch<'_>) -> Result<Created> {
        let NewSession { session, auth_epoch, cap, replaces, rehashed, .. } = &self.0;
        let user = session.user_id.as_str();
        let may = sqlx::query!("SELECT auth_epoch, disabled_at FROM users WHERE id = ?1", user)
            .fetch_optional(&mut *batch.connection)
            .await
            .map_err(failed)?
            .is_some_and(|row| row.auth_epoch == *auth_epoch && row.disabled_at.is_none());
        if !may {
            return Ok(Created::Outrun);
        }
        let now = session.created_at;
        let ip = Some(session.client.ip.clone());
        let number = batch.number().await?;
        let at = now.millis();
        let mut revoked = Revoked { sessions: Vec::new(), seq: Seq(number.0 - 1) };
        if let Some(replaced) = replaces {
            let replaced = replaced.as_bytes().as_slice();
            let why = Why::Replaced.as_str();
            let rows = sqlx::query_as!(
                EndedRow,
                "UPDATE sessions SET revoked_at = ?1, revoked_by = ?2, revoked_why = ?3, revoked_seq = ?4
                 WHERE token_hash = ?5 AND revoked_at IS NULL AND idle_expires_at > ?1 AND expires_at > ?1
                 RETURNING id, token_hash, user_id",
                at,
                user,
                why,
                number.0,
                replaced
            )
            .fetch_all(&mut *batch.connection)
            .await
            .map_err(failed)?;
            let reason = Reason { at: now, by: Actor::User(session.user_id), why: Why::Replaced, ip: ip.clone() };
            revoked = batch.ended(rows, number, &reason, false)?;
        }
        let spare = i64::try_from(cap.saturating_sub(1)).unwrap_or(i64::MAX);
        let (by, why) = (Actor::System.as_str(), Why::Cap.as_str());
        let rows = sqlx::query_as!(
            EndedRow,
            "UPDATE sessions SET revoked_at = ?1, revoked_by = ?2, revoked_why = ?3, revoked_seq = ?4
             WHERE number IN (
                 SELECT number FROM sessions
                 WHERE user_id = ?5 AND buried = 0 AND revoked_at IS NULL AND idle_expires_at > ?1 AND expires_at > ?1
                 ORDER BY last_seen_at DESC, number DESC LIMIT -1 OFFSET ?6)
             RETURNING id, token_hash, user_id",
            at,
            by,
            why,
            number.0,
            user,
            spare
        )
        .fetch_all(&mut *batch.connection)
        .await
        .map_err(failed)?;
        let reason = Reason { at: now, by: Actor::System, why: Why::Cap, ip: None };
        let over = batch.ended(rows, number, &reason, false)?;
        // Each dead session is buried once, so lists stay as short as the cap and a login costs no more for it.
        sqlx::query!(
            "UPDATE sessions SET buried = 1
             WHERE user_id = ?1 AND buried = 0
                 AND (revoked_at IS NOT NULL OR idle_expires_at <= ?2 OR expires_at <= ?2)",
            user,
            at
        )
        .execute(&mut *batch.connection)
        .await
        .map_err(failed)?;
        self.insert(batch).await?;
        if let Some(hash) = rehashed {
            let hash = hash.as_str();
            sqlx::query!("UPDATE users SET password_hash = ?2 WHERE id = ?1", user, hash)
                .execute(&mut *batch.connection)
                .await
                .map_err(failed)?;
        }
        let event = Event::about(session.user_id, EventKind::LoginOk, Actor::User(session.user_id), now);
        batch.events.push(Event { session: Some(session.id), ip, ..event });
        Ok(Created::Yes(revoked.seq.max(over.seq)))
    }
}

impl CreateSession {
    async fn insert(&self, batch: &mut Batch<'_>) -> Result<()> {
        let NewSession { session, token_hash: token, .. } = &self.0;
        let (id, user, token) = (session.id.as_str(), session.user_id.as_str(), token.as_bytes().as_slice());
        let (created, seen) = (session.created_at.millis(), session.last_seen_at.millis());
        let (idle, absolute) = (session.expiry.idle.millis(), session.expiry.absolute.millis());
        let client = &session.client;
        sqlx::query!(
            "INSERT INTO sessions (id, token_hash, user_id, created_at, last_seen_at, idle_expires_at, expires_at,
                 remembered, ip, user_agent, host)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            id,
            token,
            user,
            created,
            seen,
            idle,
            absolute,
            session.remembered,
            client.ip,
            client.user_agent,
            client.host
        )
        .execute(&mut *batch.connection)
        .await
        .map_err(failed)?;
        Ok(())
    }
}

/// Ends sessions by id or by user.
pub(super) struct Revoke {
    pub target: Target,
    pub reason: Reason,
}

#[async_trait]
impl Operation for Revoke {
    type Outcome = Revoked;

    async fn apply(&self, batch: &mut Batch<'_>) -> Result<Revoked> {
        match &self.target {
            Target::Id(session, user) => {
                let number = batch.number().await?;
                let (at, by, why) = (self.reason.at.millis(), self.reason.by.as_str(), self.reason.why.as_str());
                let (session, user) = (session.as_str(), user.as_ref().map(UserId::as_str));
                let rows = sqlx::query_as!(
                    EndedRow,
                    "UPDATE sessions SET revoked_at = ?1, revoked_by = ?2, revoked_why = ?3, revoked_seq = ?4
                     WHERE id = ?5 AND (?6 IS NULL OR user_id = ?6)
                         AND revoked_at IS NULL AND idle_expires_at > ?1 AND expires_at > ?1
                     RETURNING id, token_hash, user_id",
                    at,
                    by,
                    why,
                    number.0,
                    session,
                    user
                )
                .fetch_all(&mut *batch.connection)
                .await
                .map_err(failed)?;
                batch.ended(rows, number, &self.reason, false)
            }
            Target::All(user) => {
                let id = user.as_str();
                sqlx::query!("UPDATE users SET auth_epoch = auth_epoch + 1 WHERE id = ?1", id)
                    .execute(&mut *batch.connection)
                    .await
                    .map_err(failed)?;
                batch.end_all(*user, None, &self.reason).await
            }
            Target::Others(user, keep) => batch.end_all(*user, Some(*keep), &self.reason).await,
        }
    }
}

/// Sets a password and ends what was opened with the old one.
pub(super) struct ChangePassword {
    pub change: PasswordChange,
    pub reason: Reason,
}

#[async_trait]
impl Operation for ChangePassword {
    type Outcome = Option<Revoked>;

    async fn apply(&self, batch: &mut Batch<'_>) -> Result<Option<Revoked>> {
        let PasswordChange { user, hash, auth_epoch, keep } = &self.change;
        let (id, hash, at) = (user.as_str(), hash.as_str(), self.reason.at.millis());
        // Whoever changes their own password must still be allowed to: enabled, and checked against today's password.
        let changed = sqlx::query!(
            "UPDATE users SET password_hash = ?2, auth_epoch = auth_epoch + 1, updated_at = ?3
             WHERE id = ?1 AND (?4 IS NULL OR auth_epoch = ?4 AND disabled_at IS NULL)",
            id,
            hash,
            at,
            auth_epoch
        )
        .execute(&mut *batch.connection)
        .await
        .map_err(failed)?;
        if changed.rows_affected() == 0 {
            return Ok(None);
        }
        let event = Event::about(*user, EventKind::PasswordChanged, self.reason.by, self.reason.at);
        batch.events.push(Event { ip: self.reason.ip.clone(), ..event });
        batch.end_all(*user, *keep, &self.reason).await.map(Some)
    }
}

/// Disables a user, or enables them again.
pub(super) struct SetDisabled {
    pub user: UserId,
    pub disabled: bool,
    pub reason: Reason,
}

#[async_trait]
impl Operation for SetDisabled {
    type Outcome = Option<Revoked>;

    async fn apply(&self, batch: &mut Batch<'_>) -> Result<Option<Revoked>> {
        let (id, at) = (self.user.as_str(), self.reason.at.millis());
        let disabled_at = self.disabled.then_some(at);
        let changed = sqlx::query!(
            "UPDATE users SET disabled_at = ?2, auth_epoch = auth_epoch + 1, updated_at = ?3 WHERE id = ?1",
            id,
            disabled_at,
            at
        )
        .execute(&mut *batch.connection)
        .await
        .map_err(failed)?;
        if changed.rows_affected() == 0 {
            return Ok(None);
        }
        let kind = if self.disabled { EventKind::UserDisabled } else { EventKind::UserEnabled };
        batch.events.push(Event::about(self.user, kind, self.reason.by, self.reason.at));
        if self.disabled {
            batch.end_all(self.user, None, &self.reason).await.map(Some)
        } else {
            Ok(Some(Revoked { sessions: Vec::new(), seq: batch.head().await? }))
        }
    }
}

/// Stores last-seen times.
pub(super) struct Touch {
    pub seen: Vec<Seen>,
    pub now: Timestamp,
}

#[async_trait]
impl Operation for Touch {
    type Outcome = Vec<(TokenHash, Timestamp)>;

    async fn apply(&self, batch: &mut Batch<'_>) -> Result<Self::Outcome> {
        let seen: Vec<_> =
            self.seen.iter().map(|s| (s.token_hash.to_hex(), s.at.millis(), s.idle_until.millis())).collect();
        let (seen, now) = (json(&seen)?, self.now.millis());
        let rows = sqlx::query!(
            "UPDATE sessions SET last_seen_at = max(last_seen_at, seen.at),
                 idle_expires_at = min(expires_at, max(idle_expires_at, seen.idle))
             FROM (SELECT unhex(value ->> 0) AS token_hash, value ->> 1 AS at, value ->> 2 AS idle
                   FROM json_each(?1)) AS seen
             WHERE sessions.token_hash = seen.token_hash
                 AND revoked_at IS NULL AND idle_expires_at > ?2 AND expires_at > ?2
             RETURNING token_hash, idle_expires_at",
            seen,
            now
        )
        .fetch_all(&mut *batch.connection)
        .await
        .map_err(failed)?;
        rows.into_iter()
            .map(|row| Ok((token_hash(&row.token_hash)?, Timestamp::from_millis(row.idle_expires_at))))
            .collect()
    }
}

/// Writes an event on its own.
pub(super) struct Record(pub Event);

#[async_trait]
impl Operation for Record {
    type Outcome = ();

    async fn apply(&self, batch: &mut Batch<'_>) -> Result<()> {
        batch.events.push(self.0.clone());
        Ok(())
    }
}

/// Deletes what ended for good, and the log's entries every cache has long applied.
pub(super) struct Purge {
    pub before: Timestamp,
    pub limit: u32,
}

#[async_trait]
impl Operation for Purge {
    type Outcome = u64;

    async fn apply(&self, batch: &mut Batch<'_>) -> Result<u64> {
        let before = self.before.millis();
        let deleted = sqlx::query!(
            "DELETE FROM sessions WHERE number IN
                 (SELECT number FROM sessions WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
            before,
            self.limit
        )
        .execute(&mut *batch.connection)
        .await
        .map_err(failed)?;
        sqlx::query!(
            "DELETE FROM revocations WHERE seq IN (SELECT seq FROM revocations WHERE seq < (SELECT max(seq) FROM revocations)
                 ORDER BY seq LIMIT ?2) AND at < ?1",
            before,
            self.limit
        )
        .execute(&mut *batch.connection)
        .await
        .map_err(failed)?;
        Ok(deleted.rows_affected())
    }
}
