//! The numbered log of what cached checks must forget: how an entry is written, and how it is read again.

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Error, Result};

use crate::domain::revocation::{Revocation, Seq};
use crate::domain::token::TokenHash;

/// What an entry ended.
#[derive(Serialize, Deserialize)]
struct What {
    sessions: Vec<String>,
    users: Vec<String>,
}

/// What an entry ended, as the JSON that is stored.
pub(super) fn written(entry: &Revocation) -> Result<String> {
    json(&What {
        sessions: entry.sessions.iter().map(TokenHash::to_hex).collect(),
        users: entry.users.iter().map(ToString::to_string).collect(),
    })
}

/// A value as JSON, to be bound.
pub(super) fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::Encode(error.into()))
}

/// A value that SQLite made as JSON.
pub(super) fn from_json<'t, T: Deserialize<'t>>(text: &'t str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::Decode(error.into()))
}

/// The entries between two numbers, both left out.
pub(super) async fn between(connection: &mut SqliteConnection, after: Seq, before: Seq) -> Result<Vec<Revocation>> {
    let entries: Vec<(Seq, String)> =
        sqlx::query_as("SELECT seq, what FROM revocations WHERE seq > ?1 AND seq < ?2 ORDER BY seq")
            .bind(after)
            .bind(before)
            .fetch_all(connection)
            .await?;
    let unreadable = || Error::Decode("an entry of the revocation log cannot be read".into());
    entries.into_iter().map(|(seq, what)| read(seq, &what).ok_or_else(unreadable)).collect()
}

fn read(seq: Seq, what: &str) -> Option<Revocation> {
    let What { sessions, users } = serde_json::from_str(what).ok()?;
    Some(Revocation {
        seq,
        sessions: sessions.iter().map(|hex| TokenHash::from_hex(hex)).collect::<Option<_>>()?,
        users: users.iter().map(|id| id.parse().ok()).collect::<Option<_>>()?,
        flush: Vec::new(),
    })
}
