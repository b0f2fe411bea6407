//! What columns and rows mean in the domain's words. One that means nothing is an error, never a default.

use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::super::{Lookup, Replica, Result, StoreError};
use crate::domain::clock::Timestamp;
use crate::domain::id::{ReplicaId, SessionId, UserId};
use crate::domain::password::PasswordHash;
use crate::domain::revocation::{Revocation, Seq};
use crate::domain::session::{Client, Expiry, Session};
use crate::domain::text::{Email, Name, Username};
use crate::domain::token::TokenHash;
use crate::domain::user::{Credentials, User};

/// How a type is written into a column, as one of the driver's own, and read out of one.
macro_rules! column {
    ($type:ty as $sql:ty, $this:ident => $written:expr, $value:ident => $read:expr) => {
        impl ToSql for $type {
            fn to_sql(
                &self,
                of: &Type,
                out: &mut BytesMut,
            ) -> std::result::Result<IsNull, Box<dyn Error + Sync + Send>> {
                let $this = self;
                <$sql as ToSql>::to_sql(&$written, of, out)
            }

            fn accepts(of: &Type) -> bool {
                <$sql as ToSql>::accepts(of)
            }

            to_sql_checked!();
        }

        impl<'r> FromSql<'r> for $type {
            fn from_sql(of: &Type, raw: &'r [u8]) -> std::result::Result<Self, Box<dyn Error + Sync + Send>> {
                let $value = <$sql as FromSql>::from_sql(of, raw)?;
                Ok($read)
            }

            fn accepts(of: &Type) -> bool {
                <$sql as FromSql>::accepts(of)
            }
        }
    };
}
column!(UserId as &str, id => id.as_str(), value => value.parse()?);
column!(SessionId as &str, id => id.as_str(), value => value.parse()?);
column!(ReplicaId as &str, id => id.as_str(), value => value.parse()?);
column!(Username as &str, name => name.as_str(), value => Self::stored(value.to_owned()));
column!(Email as &str, email => email.as_str(), value => Self::stored(value.to_owned()));
column!(Name as &str, name => name.as_str(), value => Self::stored(value.to_owned()));
column!(PasswordHash as &str, hash => hash.as_str(), value => Self::new(value.to_owned()));
column!(Timestamp as i64, at => at.millis(), value => Self::from_millis(value));
column!(Seq as i64, seq => seq.0, value => Self(value));
column!(TokenHash as &[u8], hash => hash.as_bytes().as_slice(), value => Self::from_bytes(value.try_into()?));

/// What it means that the newest number of the log cannot be read.
pub(super) const NO_HEAD: &str = "the table coherence is empty";

/// A row, read from left to right: a statement selects columns in the order of the fields they fill.
pub(super) struct Columns<'r> {
    row: &'r Row,
    next: usize,
}

impl<'r> Columns<'r> {
    /// Begins at the left.
    pub(super) const fn of(row: &'r Row) -> Self {
        Self { row, next: 0 }
    }

    /// Begins at the left of the row that a statement always finds; `lacking` is what it means that it did not.
    pub(super) fn of_first(rows: &'r [Row], lacking: &str) -> Result<Self> {
        rows.first().map(Self::of).ok_or_else(|| StoreError::inconsistent(lacking))
    }

    /// The next column.
    pub(super) fn next<T: FromSql<'r>>(&mut self) -> Result<T> {
        let value = self.row.try_get(self.next).map_err(|error| {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            StoreError::inconsistent(format!("{error}{cause}"))
        });
        self.next += 1;
        value
    }

    fn user(&mut self) -> Result<User> {
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

    fn session(&mut self) -> Result<Session> {
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

/// A token's hash and a time.
pub(super) fn token_and_time(row: &Row) -> Result<(TokenHash, Timestamp)> {
    let mut columns = Columns::of(row);
    Ok((columns.next()?, columns.next()?))
}

/// A user's columns.
pub(super) fn user(row: &Row) -> Result<User> {
    Columns::of(row).user()
}

/// A user's columns, then the password's hash and the epoch.
pub(super) fn credentials(row: &Row) -> Result<Credentials> {
    let mut columns = Columns::of(row);
    Ok(Credentials { user: columns.user()?, password_hash: columns.next()?, auth_epoch: columns.next()? })
}

/// A number, then a session's columns or as many nulls.
pub(super) fn numbered_session(row: &Row) -> Result<(Seq, Option<Session>)> {
    let mut columns = Columns::of(row);
    let number = columns.next()?;
    let id: Option<SessionId> = Columns { row, next: 1 }.next()?;
    Ok((number, id.map(|_| columns.session()).transpose()?))
}

/// When a session was revoked and under which number, then its columns, then its user's.
pub(super) fn lookup(row: &Row) -> Result<Lookup> {
    let mut columns = Columns::of(row);
    match (columns.next::<Option<Timestamp>>()?, columns.next()?) {
        (None, None) => Ok(Lookup::Found(Box::new((columns.session()?, columns.user()?)))),
        (Some(_), Some(seq)) => Ok(Lookup::Revoked(seq)),
        (Some(_), None) | (None, Some(_)) => {
            let id: SessionId = columns.next()?;
            Err(StoreError::inconsistent(format!("the tombstone of session {id} is half written")))
        }
    }
}

/// A replica's columns.
pub(super) fn replica(row: &Row) -> Result<Replica> {
    let mut columns = Columns::of(row);
    Ok(Replica { id: columns.next()?, beat: columns.next()?, applied: columns.next()?, caching: columns.next()? })
}

/// An entry of the revocation log.
pub(super) fn revocation(row: &Row) -> Result<Revocation> {
    let mut columns = Columns::of(row);
    Ok(Revocation { seq: columns.next()?, sessions: columns.next()?, users: columns.next()?, flush: columns.next()? })
}
