//! Lists over all users, a stretch of rows at a time, so that no question reads for longer than a moment.

use super::super::rows::{AccountRow, ExportedUserRow, ListedSessionRow, StoredEventRow, Stretch, UserRow};
use super::super::{
    EventFilter, EventNumber, EventStretch, ExportedUser, ListedSession, Result, SessionStretch, StoredEvent,
};
use super::readers::Readers;
use crate::domain::clock::Timestamp;
use crate::domain::id::{SessionId, UserId};
use crate::domain::revocation::Seq;
use crate::domain::user::{Account, User};

/// Every user, by username.
pub(super) async fn all_users(readers: &Readers) -> Result<Vec<User>> {
    let users: Vec<UserRow> = readers
        .all(sqlx::query_as(
            "SELECT id AS user_id, username, email, name, admin, disabled_at, created_at AS user_created_at,
                 updated_at AS user_updated_at
             FROM users WHERE deleted_at IS NULL ORDER BY username_key",
        ))
        .await?;
    Ok(users.into_iter().map(User::from).collect())
}

/// At most `limit` users in the order in which they were made, after the one that was made then and has that id.
pub(super) async fn accounts(
    readers: &Readers,
    after: Option<(Timestamp, UserId)>,
    limit: u32,
) -> Result<Vec<Account>> {
    let accounts = sqlx::query_as(
        "SELECT id AS user_id, username, email, name, admin, disabled_at, created_at AS user_created_at,
             updated_at AS user_updated_at, must_change_password, last_login_at,
             EXISTS (SELECT 1 FROM second_factors WHERE user_id = users.id) AS second_factor
         FROM users WHERE deleted_at IS NULL AND (created_at, id) > (?1, ?2)
         ORDER BY created_at, id LIMIT ?3",
    );
    let (at, id) = after.map_or((Timestamp::MIN, String::new()), |(at, id)| (at, id.to_string()));
    let accounts: Vec<AccountRow> = readers.all(accounts.bind(at).bind(id).bind(limit)).await?;
    Ok(accounts.into_iter().map(Account::from).collect())
}

/// At most `limit` users with their hashes and second factors, in the order of their ids.
pub(super) async fn users(readers: &Readers, after: Option<UserId>, limit: u32) -> Result<Vec<ExportedUser>> {
    let users = sqlx::query_as(
        "SELECT u.id AS user_id, u.username, u.email, u.name, u.admin, u.disabled_at, u.created_at AS user_created_at,
             u.updated_at AS user_updated_at, u.password_hash, u.auth_epoch, u.must_change_password,
             u.password_expires_at, f.secret AS totp_secret
         FROM users AS u LEFT JOIN second_factors AS f ON f.user_id = u.id
         WHERE u.deleted_at IS NULL AND u.id > coalesce(?1, '') ORDER BY u.id LIMIT ?2",
    );
    let found: Vec<ExportedUserRow> = readers.all(users.bind(after).bind(limit)).await?;
    Ok(found.into_iter().map(ExportedUser::from).collect())
}

/// The live sessions of a stretch.
pub(super) async fn sessions(
    readers: &Readers,
    before: Option<i64>,
    rows: u32,
    now: Timestamp,
) -> Result<SessionStretch> {
    let ends = "SELECT (SELECT min(number) FROM sessions), (SELECT max(number) FROM sessions)";
    let stretch = Stretch::of(readers.one(sqlx::query_as(ends)).await?, before, rows);
    let listed = sqlx::query_as(
        "SELECT s.number, s.id, s.user_id, s.created_at, s.last_seen_at, s.idle_expires_at, s.expires_at,
             s.remembered, s.ip, s.user_agent, s.host, u.username, u.name
         FROM sessions AS s JOIN users AS u ON u.id = s.user_id
         WHERE s.number >= ?1 AND s.number < ?2
             AND s.revoked_at IS NULL AND s.idle_expires_at > ?3 AND s.expires_at > ?3
         ORDER BY s.number DESC",
    );
    let listed: Vec<ListedSessionRow> = readers.all(listed.bind(stretch.first).bind(stretch.end).bind(now)).await?;
    let listed = listed.into_iter().map(ListedSession::from).collect();
    Ok(SessionStretch { sessions: listed, next: stretch.next, seq: newest(readers).await? })
}

/// The live session with an id.
pub(super) async fn session(readers: &Readers, session: SessionId, now: Timestamp) -> Result<SessionStretch> {
    let listed = sqlx::query_as(
        "SELECT s.number, s.id, s.user_id, s.created_at, s.last_seen_at, s.idle_expires_at, s.expires_at,
             s.remembered, s.ip, s.user_agent, s.host, u.username, u.name
         FROM sessions AS s JOIN users AS u ON u.id = s.user_id
         WHERE s.id = ?1 AND s.revoked_at IS NULL AND s.idle_expires_at > ?2 AND s.expires_at > ?2",
    );
    let listed: Vec<ListedSessionRow> = readers.all(listed.bind(session).bind(now)).await?;
    let listed = listed.into_iter().map(ListedSession::from).collect();
    Ok(SessionStretch { sessions: listed, next: None, seq: newest(readers).await? })
}

/// The log's newest number. Read after a list, it covers every session that had ended when the list was read.
async fn newest(readers: &Readers) -> Result<Seq> {
    let seq: Option<(Seq,)> = readers.one(sqlx::query_as("SELECT coalesce(max(seq), 0) FROM revocations")).await?;
    Ok(seq.map(|(seq,)| seq).unwrap_or_default())
}

/// The wanted events of a stretch.
pub(super) async fn events(
    readers: &Readers,
    filter: &EventFilter,
    before: Option<EventNumber>,
    rows: u32,
    most: usize,
) -> Result<EventStretch> {
    let ends = "SELECT (SELECT min(number) FROM events), (SELECT max(number) FROM events)";
    let before = before.map(|EventNumber(number)| number);
    let stretch = Stretch::of(readers.one(sqlx::query_as(ends)).await?, before, rows);
    let EventFilter { user, kind, since, until } = filter;
    let events = sqlx::query_as(
        "SELECT e.number, e.at, e.kind, e.actor, coalesce(e.actor_name, a.username) AS actor_name, e.user_id,
             coalesce(e.name, u.username) AS name, e.session_id, e.ip, e.user_agent, e.detail, e.request_id, e.count
         FROM events AS e
             LEFT JOIN users AS u ON u.id = e.user_id AND u.deleted_at IS NULL
             LEFT JOIN users AS a ON a.id = e.actor AND a.deleted_at IS NULL
         WHERE e.number >= ?1 AND e.number < ?2 AND (?3 IS NULL OR e.user_id = ?3 OR e.actor = ?3)
             AND (?4 IS NULL OR e.kind = ?4) AND (?5 IS NULL OR e.at >= ?5) AND (?6 IS NULL OR e.at < ?6)
         ORDER BY e.number DESC LIMIT ?7",
    );
    let events = events.bind(stretch.first).bind(stretch.end).bind(user).bind(kind).bind(since).bind(until);
    let events = events.bind(i64::try_from(most).unwrap_or(i64::MAX));
    let events: Vec<StoredEventRow> = readers.all(events).await?;
    let events = events.into_iter().map(StoredEvent::from).collect();
    Ok(EventStretch { events, next: stretch.next.map(EventNumber) })
}
