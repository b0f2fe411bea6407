//! A database that is filled from another store: on one connection, and with longer deadlines than those of a server.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sqlx::{query, query_as};

use super::super::copied::{Contents, CopyError, Table};
use super::super::opening::{ConnectError, Opening};
use super::super::{Result, StoreError};
use super::address::Address;
use super::connection::{Connection, NotOpened, Warnings};
use super::deadline::with_deadline_of;
use super::migrate;
use crate::config::DatabaseUrl;

/// How long a page, or any other single step, may take.
const DEADLINE: Duration = Duration::from_mins(5);
/// How long it may take to connect.
const CONNECTION: Duration = Duration::from_secs(10);

/// The names of secrets: the key tokens are tagged with, and the mark of what is not all there yet.
const TOKEN_KEY: &str = "token_key";
const COPYING: &str = "copying";

/// A database that no other copy fills until this is dropped.
pub(in super::super) struct Target(Connection);

impl Target {
    /// Connects, migrates, and keeps other copies away.
    pub(in super::super) async fn open(url: &DatabaseUrl) -> std::result::Result<Self, CopyError> {
        let address = Address::parse(url.reveal()).map_err(ConnectError::BadUrl)?;
        let warnings = Arc::<Warnings>::default();
        let opened = async { Connection::open(&address, &warnings).await.map_err(|NotOpened { error, .. }| error) };
        let mut connection = with_deadline_of(CONNECTION, opened).await.map_err(ConnectError::from)?;
        let opening = Opening::default();
        let migrated = migrate::migrate(&mut connection, &address, &warnings, &opening);
        migrated.await.map_err(ConnectError::from)?;
        // The number of this lock: the letters of "sesscopy". The lock ends with the connection, and that of a copy
        // that was killed a moment later.
        let alone = connection.run(
            "SET statement_timeout = '5min'; SET lock_timeout = '5s'; SELECT pg_advisory_lock(8315179226436169849);
             SET lock_timeout = 0",
        );
        let locked = patiently(alone).await;
        match locked {
            Ok(()) => Ok(Self(connection)),
            Err(StoreError::TooSlow(_)) => Err(CopyError::Busy),
            Err(error @ (StoreError::Unreachable(_) | StoreError::Inconsistent(_))) => Err(error.into()),
        }
    }

    /// Marks the database as the target of this copy, unless it is marked already or complete. Returns whether there is
    /// anything to do.
    pub(in super::super) async fn begin(&mut self, contents: &Contents) -> std::result::Result<bool, CopyError> {
        if let Some(mark) = secret(&mut self.0, COPYING).await? {
            return if mark == contents.stamp() { Ok(true) } else { Err(CopyError::Another) };
        }
        let is_key = secret(&mut self.0, TOKEN_KEY).await? == Some(contents.token_key);
        if is_key && self.holds(|table| contents.rows(table)).await? {
            return Ok(false);
        }
        if !self.holds(|_| 0).await? || self.is_served().await? {
            return Err(CopyError::NotEmpty);
        }
        self.set(COPYING, &contents.stamp()).await?;
        Ok(true)
    }

    /// How many rows a table has, and the last one's key, or one before all others.
    pub(in super::super) async fn reached(&mut self, table: Table) -> Result<(i64, String)> {
        let sql = match table {
            Table::Users => "SELECT count(*), coalesce(max(id), '') FROM users",
            Table::SecondFactors => "SELECT count(*), coalesce(max(user_id), '') FROM second_factors",
            Table::RecoveryCodes => "SELECT count(*), coalesce(max(hash), '') FROM recovery_codes",
            Table::Sessions => "SELECT count(*), coalesce(max(number), 0)::text FROM sessions",
            Table::Events => "SELECT count(*), coalesce(max(number), 0)::text FROM events",
            Table::Revocations => "SELECT count(*), coalesce(max(seq), 0)::text FROM revocations",
            Table::Throttles => {
                "SELECT count(*), coalesce(chr(92) || 'x' || upper(max(encode(key, 'hex'))), '') FROM throttles"
            }
        };
        patiently(self.0.one(query_as(sql), "a count has no answer")).await
    }

    /// Adds the rows of a page: all of them, durably, or none.
    pub(in super::super) async fn add(&mut self, table: Table, text: Bytes) -> Result<()> {
        let sql = match table {
            Table::Users => {
                "COPY users (id, username, username_key, email, email_key, name, admin, password_hash, auth_epoch, disabled_at,
                     created_at, updated_at, must_change_password, password_expires_at, last_login_at, deleted_at) FROM STDIN"
            }
            Table::SecondFactors => "COPY second_factors (user_id, secret, last_step, confirmed_at) FROM STDIN",
            Table::RecoveryCodes => "COPY recovery_codes (hash, user_id) FROM STDIN",
            Table::Sessions => {
                "COPY sessions (number, id, token_hash, user_id, created_at, last_seen_at, idle_expires_at,
                     expires_at, remembered, ip, user_agent, host, revoked_at, revoked_by, revoked_why, revoked_seq, archived)
                 FROM STDIN"
            }
            Table::Events => {
                "COPY events (number, at, kind, user_id, session_id, actor, ip, detail, name, user_agent, count, request_id,
                     actor_name)
                 FROM STDIN"
            }
            Table::Revocations => "COPY revocations (seq, at, sessions, users) FROM STDIN",
            Table::Throttles => "COPY throttles (key, about, counted, failures, until, forget_at) FROM STDIN",
        };
        patiently(self.0.copy_in(sql, text)).await
    }

    /// Takes the source's key and newest number over, lets numbers go on after the highest ones, and takes the mark
    /// away, all at once. A database that does not hold what it should, or is served from, keeps the mark.
    pub(in super::super) async fn finish(&mut self, contents: &Contents) -> std::result::Result<(), CopyError> {
        // Otherwise the first statements would be planned as for empty tables.
        let analyze = "ANALYZE users, second_factors, recovery_codes, sessions, events, revocations, throttles";
        patiently(self.0.run(analyze)).await?;
        if !self.holds(|table| contents.rows(table)).await? || self.is_served().await? {
            return Err(CopyError::Disturbed);
        }
        let all_at_once = async {
            self.0.run("BEGIN").await?;
            self.set(TOKEN_KEY, &contents.token_key).await?;
            self.0.execute(query("UPDATE coherence SET seq = greatest(seq, $1)").bind(contents.head)).await?;
            for sql in [
                "SELECT setval(pg_get_serial_sequence('sessions', 'number'), max(number)) FROM sessions",
                "SELECT setval(pg_get_serial_sequence('events', 'number'), max(number)) FROM events",
            ] {
                self.0.execute(query(sql)).await?;
            }
            self.0.execute(query("DELETE FROM secrets WHERE name = $1").bind(COPYING)).await?;
            self.0.run("COMMIT").await
        };
        Ok(patiently(all_at_once).await?)
    }

    /// Whether every table has as many rows as `expected` says.
    async fn holds(&mut self, expected: impl Fn(Table) -> i64) -> Result<bool> {
        for table in Table::ALL {
            if self.reached(table).await?.0 != expected(table) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a process serves from it, or did so until it was killed.
    async fn is_served(&mut self) -> Result<bool> {
        let row: Option<(i32,)> = patiently(self.0.row(query_as("SELECT 1 FROM replicas LIMIT 1"))).await?;
        Ok(row.is_some())
    }

    async fn set(&mut self, name: &'static str, value: &[u8; 32]) -> Result<()> {
        let sql =
            "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        patiently(self.0.execute(query(sql).bind(name).bind(value.to_vec()))).await.map(drop)
    }
}

async fn secret(connection: &mut Connection, name: &'static str) -> Result<Option<[u8; 32]>> {
    let value = query_as("SELECT value FROM secrets WHERE name = $1").bind(name);
    let value: Option<(Vec<u8>,)> = patiently(connection.row(value)).await?;
    let unfit = |_| StoreError::inconsistent(format!("the secret {name} is not one"));
    value.map(|(value,)| value.try_into().map_err(unfit)).transpose()
}

/// Whether a copy into this database has begun and is not complete.
pub(super) async fn is_unfinished(connection: &mut Connection) -> Result<bool> {
    secret(connection, COPYING).await.map(|mark| mark.is_some())
}

/// Waits for `work`, no longer than [`DEADLINE`].
async fn patiently<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    with_deadline_of(DEADLINE, work).await
}
