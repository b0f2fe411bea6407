//! What columns and rows mean in the domain's words. One that means nothing is an error, never a default.

use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Type, ValueRef};

use super::super::{Lookup, Replica};
use crate::domain::clock::Timestamp;
use crate::domain::id::{ReplicaId, SessionId, UserId};
use crate::domain::password::PasswordHash;
use crate::domain::revocation::Seq;
use crate::domain::session::{Client, Expiry, Session};
use crate::domain::text::{Email, Name, Username};
use crate::domain::token::TokenHash;
use crate::domain::user::{Credentials, User};

/// How a type is written into a column, and read out of one.
macro_rules! column {
    ($type:ty, $this:ident => $written:expr, $value:ident => $read:expr) => {
        impl ToSql for $type {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                let $this = self;
                Ok(ToSqlOutput::from($written))
            }
        }

        impl FromSql for $type {
            fn column_result($value: ValueRef<'_>) -> FromSqlResult<Self> {
                $read
            }
        }
    };
}
column!(UserId, id => id.as_str(), value => value.as_str()?.parse().map_err(FromSqlError::other));
column!(SessionId, id => id.as_str(), value => value.as_str()?.parse().map_err(FromSqlError::other));
column!(ReplicaId, id => id.as_str(), value => value.as_str()?.parse().map_err(FromSqlError::other));
column!(Username, name => name.as_str(), value => String::column_result(value).map(Self::stored));
column!(Email, email => email.as_str(), value => String::column_result(value).map(Self::stored));
column!(Name, name => name.as_str(), value => String::column_result(value).map(Self::stored));
column!(PasswordHash, hash => hash.as_str(), value => String::column_result(value).map(Self::new));
column!(Timestamp, at => at.millis(), value => value.as_i64().map(Self::from_millis));
column!(Seq, seq => seq.0, value => value.as_i64().map(Self));
column!(TokenHash, hash => hash.as_bytes().as_slice(), value => <[u8; 32]>::column_result(value).map(Self::from_bytes));

/// A row, read from left to right: a statement selects columns in the order of the fields they fill.
struct Columns<'r> {
    row: &'r Row<'r>,
    next: usize,
}

impl<'r> Columns<'r> {
    const fn of(row: &'r Row<'r>) -> Self {
        Self { row, next: 0 }
    }

    fn next<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        let value = self.row.get(self.next);
        self.next += 1;
        value
    }

    fn user(&mut self) -> rusqlite::Result<User> {
        Ok(User {
            id: self.next()?,
            username: self.next()?,
            email: self.next()?,
            name: self.next()?,
            admin: self.next()?,
            disabled_at: self.next()?,
            created_at: self.next()?,
            updated_at: self.next()?,
        })
    }

    fn session(&mut self) -> rusqlite::Result<Session> {
        Ok(Session {
            id: self.next()?,
            user_id: self.next()?,
            created_at: self.next()?,
            last_seen_at: self.next()?,
            expiry: Expiry { idle: self.next()?, absolute: self.next()? },
            remembered: self.next()?,
            client: Client { ip: self.next()?, user_agent: self.next()?, host: self.next()? },
        })
    }
}

/// A user's columns.
pub(super) fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    Columns::of(row).user()
}

/// A user's columns, then the password's hash and the epoch.
pub(super) fn credentials(row: &Row<'_>) -> rusqlite::Result<Credentials> {
    let mut columns = Columns::of(row);
    Ok(Credentials { user: columns.user()?, password_hash: columns.next()?, auth_epoch: columns.next()? })
}

/// A number, then a session's columns or as many nulls.
pub(super) fn numbered_session(row: &Row<'_>) -> rusqlite::Result<(Seq, Option<Session>)> {
    let mut columns = Columns::of(row);
    let number = columns.next()?;
    let session = if row.get_ref(1)? == ValueRef::Null { None } else { Some(columns.session()?) };
    Ok((number, session))
}

/// A replica's columns.
pub(super) fn replica(row: &Row<'_>) -> rusqlite::Result<Replica> {
    Ok(Replica { id: row.get(0)?, beat: row.get(1)?, applied: row.get(2)?, caching: true })
}

/// When a session was revoked and under which number, then its columns, then its user's.
pub(super) fn lookup(row: &Row<'_>) -> rusqlite::Result<Lookup> {
    let mut columns = Columns::of(row);
    match (columns.next::<Option<Timestamp>>()?, columns.next()?) {
        (None, None) => Ok(Lookup::Found(Box::new((columns.session()?, columns.user()?)))),
        (Some(_), Some(seq)) => Ok(Lookup::Revoked(seq)),
        (Some(_), None) | (None, Some(_)) => {
            let half = format!("the tombstone of session {} is half written", columns.next::<SessionId>()?);
            Err(rusqlite::Error::FromSqlConversionFailure(1, Type::Null, half.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn what_means_nothing_is_an_error() {
        let database = Connection::open_in_memory().expect("memory");
        let one = |sql| database.query_row(sql, [], user).map(|_| ()).expect_err("no user").to_string();
        assert!(one("SELECT 'no id'").contains("not an identifier"));
        assert!(one("SELECT '23456789ABCDEFGHJ', NULL").contains("Null"));
        let hash = database.query_row("SELECT x'00'", [], |row| row.get::<_, TokenHash>(0));
        assert!(hash.expect_err("no hash").to_string().contains("32"));
        let half = database.query_row("SELECT 1, NULL, '23456789ABCDEFGHJ'", [], lookup);
        assert!(half.expect_err("half a tombstone").to_string().contains("half written"));
    }
}
