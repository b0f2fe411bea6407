//! The numbered log of what cached checks must forget: how an entry is written, and how it is read again.

use rusqlite::types::Type;
use rusqlite::{Connection, Row};
use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::revocation::{Revocation, Seq};
use crate::domain::token::TokenHash;

/// What an entry ended, as JSON.
#[derive(Serialize, Deserialize)]
struct What {
    sessions: Vec<String>,
    users: Vec<String>,
}

/// The newest number.
pub(super) fn head(connection: &Connection) -> rusqlite::Result<Seq> {
    let mut newest = connection.prepare_cached("SELECT coalesce(max(seq), 0) FROM revocations")?;
    newest.query_row([], |row| row.get(0))
}

/// Adds an entry. Whoever does is in a transaction in which `head` was one less.
pub(super) fn append(connection: &Connection, entry: &Revocation, at: Timestamp) -> rusqlite::Result<()> {
    let what = What {
        sessions: entry.sessions.iter().map(TokenHash::to_hex).collect(),
        users: entry.users.iter().map(ToString::to_string).collect(),
    };
    let what =
        serde_json::to_string(&what).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let mut append = connection.prepare_cached("INSERT INTO revocations (seq, at, what) VALUES (?1, ?2, ?3)")?;
    append.execute((entry.seq, at, what)).map(|_| ())
}

/// The entries between two numbers, both left out.
pub(super) fn between(connection: &Connection, after: Seq, before: Seq) -> rusqlite::Result<Vec<Revocation>> {
    let mut entries =
        connection.prepare_cached("SELECT seq, what FROM revocations WHERE seq > ?1 AND seq < ?2 ORDER BY seq")?;
    entries.query_map((after, before), entry)?.collect()
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Revocation> {
    let (seq, what): (_, String) = (row.get(0)?, row.get(1)?);
    let unreadable = "an entry of the revocation log cannot be read";
    parse(seq, &what).ok_or_else(|| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, unreadable.into()))
}

fn parse(seq: Seq, what: &str) -> Option<Revocation> {
    let What { sessions, users } = serde_json::from_str(what).ok()?;
    Some(Revocation {
        seq,
        sessions: sessions.iter().map(|hex| TokenHash::from_hex(hex)).collect::<Option<_>>()?,
        users: users.iter().map(|id| id.parse().ok()).collect::<Option<_>>()?,
        flush: Vec::new(),
    })
}
