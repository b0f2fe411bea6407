//! One connection: how it is opened, asked and, at the latest when it is dropped, closed.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::SinkExt as _;
use futures_util::future::poll_fn;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Row, SimpleQueryMessage, Statement};

use super::super::{Result, StoreError};
use super::address::Address;

/// The oldest version that is known to do, as the server numbers them.
const OLDEST: u32 = 15_00_00;

/// What a statement takes.
pub(super) type Params<'p> = &'p [&'p (dyn ToSql + Sync)];

/// A connection to a primary whose commits are durable when they are answered. Dropped, its socket is closed at once.
pub(super) struct Connection {
    client: Client,
    statements: Mutex<HashMap<&'static str, Statement>>,
    /// Whether something was committed here that a standby may not have.
    alone: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    /// Opens one. `heard` is told of every notification.
    pub(super) async fn open(address: &Address, heard: Option<Arc<Notify>>) -> Result<Self> {
        let (client, mut connection) = address.config.connect(address.transport.clone()).await.map_err(failed)?;
        let alone = Arc::new(AtomicBool::new(false));
        let unsure = Arc::clone(&alone);
        #[expect(clippy::disallowed_methods, reason = "aborted when the connection is dropped")]
        let task = tokio::spawn(async move {
            // The end, or an error: either way the client finds out by itself.
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                match (message, &heard) {
                    (AsyncMessage::Notification(_), Some(heard)) => heard.notify_one(),
                    (AsyncMessage::Notice(notice), _) if notice.parsed_severity() == Some(Severity::Warning) => {
                        tracing::warn!("PostgreSQL warns: {}", notice.message());
                        // Its words are in the language of the server; the place in its source is not.
                        if notice.routine() == Some("SyncRepWaitForLSN") {
                            unsure.store(true, Ordering::Release);
                        }
                    }
                    _ => {}
                }
            }
        });
        let connection = Self { client, statements: Mutex::default(), alone, task: task.abort_handle() };
        connection.prove().await?;
        Ok(connection)
    }

    /// Sets the limits of our own, and sees to it that this is a server to rely on. Every statement that can go by an index
    /// does: a plan made while a table was small is kept, and would go through all of it when it has grown.
    async fn prove(&self) -> Result<()> {
        const SETTINGS: [&str; 4] = ["server_version_num", "server_encoding", "in_recovery", "synchronous_commit"];
        let answer = self
            .client
            .simple_query(
                "SET statement_timeout = 800; SET lock_timeout = 800; SET idle_in_transaction_session_timeout = 2000;
                 SET client_min_messages = warning;
                 SET enable_seqscan = off; SET jit = off;
                 SET default_transaction_isolation = 'read committed';
                 SELECT current_setting('server_version_num') AS server_version_num,
                     current_setting('server_encoding') AS server_encoding, pg_is_in_recovery() AS in_recovery,
                     current_setting('synchronous_commit') AS synchronous_commit",
            )
            .await
            .map_err(failed)?;
        let row = answer.iter().find_map(|message| {
            let SimpleQueryMessage::Row(row) = message else { return None };
            Some(row)
        });
        let [version, encoding, in_recovery, commit] =
            SETTINGS.map(|name| row.and_then(|row| row.try_get(name).ok().flatten()).unwrap_or_default());
        if version.parse::<u32>().is_ok_and(|version| version < OLDEST) {
            return Err(StoreError::Unreachable(format!("PostgreSQL 15 or newer is needed, and this is {version}")));
        }
        if encoding != "UTF8" {
            return Err(StoreError::Unreachable(format!("the database's encoding is {encoding}, and must be UTF8")));
        }
        if in_recovery != "f" {
            return Err(StoreError::Unreachable(String::from("this server is a standby, and a primary is needed")));
        }
        // Anything weaker could forget what was acknowledged.
        if !matches!(commit, "on" | "remote_apply") {
            self.client.batch_execute("SET synchronous_commit = on").await.map_err(failed)?;
        }
        Ok(())
    }

    /// Whether it is known to be closed.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Runs a statement, prepared when it is first run here.
    pub(super) async fn query(&self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>> {
        let statement = self.prepared(sql).await?;
        self.client.query(&statement, params).await.map_err(failed).and_then(|rows| self.unless_alone(rows))
    }

    /// Runs a statement and returns how many rows it changed.
    pub(super) async fn execute(&self, sql: &'static str, params: Params<'_>) -> Result<u64> {
        let statement = self.prepared(sql).await?;
        self.client.execute(&statement, params).await.map_err(failed).and_then(|changed| self.unless_alone(changed))
    }

    /// Adds rows by a `COPY … FROM STDIN`: all of them or none.
    pub(super) async fn copy_in(&self, sql: &'static str, text: Bytes) -> Result<()> {
        let statement = self.prepared(sql).await?;
        let mut sink = pin!(self.client.copy_in(&statement).await.map_err(failed)?);
        sink.send(text).await.map_err(failed)?;
        sink.finish().await.map(drop).map_err(failed)
    }

    /// Runs plain statements without parameters.
    pub(super) async fn run(&self, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).await.map_err(failed).and_then(|()| self.unless_alone(()))
    }

    /// Hands an answer on, unless an operator made the server stop waiting for its standby. It answers that it committed,
    /// with a warning; but the commit may be lost with this server, and nothing is to be said of it.
    fn unless_alone<T>(&self, answer: T) -> Result<T> {
        if self.alone.load(Ordering::Acquire) {
            return Err(StoreError::Unreachable(String::from("committed, but perhaps not on the standby")));
        }
        Ok(answer)
    }

    /// Prepares a statement, so that what is sent behind one another later is not kept waiting for it.
    pub(super) async fn prepared(&self, sql: &'static str) -> Result<Statement> {
        let known = self.statements.lock().get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await.map_err(failed)?;
        self.statements.lock().insert(sql, statement.clone());
        Ok(statement)
    }
}

/// What a failure means for the store. Details, which may hold values, are left out.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
pub(super) fn failed(error: tokio_postgres::Error) -> StoreError {
    let Some(told) = error.as_db_error() else {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        return StoreError::Unreachable(format!("{error}{cause}"));
    };
    let (code, words) = (told.code(), format!("{} ({})", told.message(), told.code().code()));
    let too_slow = [
        SqlState::QUERY_CANCELED,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
    ];
    if too_slow.contains(code) {
        return StoreError::TooSlow(words);
    }
    match code.code().get(..2) {
        // What was asked was impossible: data, constraints, syntax.
        Some("0A" | "21" | "22" | "23" | "42") => StoreError::Inconsistent(words),
        // The connection, its rights, the server's state, its resources, its disk.
        Some(_) | None => StoreError::Unreachable(words),
    }
}
