//! One connection: how it is opened, asked and, at the latest when it is dropped, closed.

use std::collections::HashMap;
use std::io;
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
use crate::telemetry::outage::Seldom;

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
    /// Whether it has failed in any other way than those that say nothing about the connection.
    broken: AtomicBool,
    task: AbortHandle,
}

/// Who hears what the database says without being asked, on whichever connection.
#[derive(Default)]
pub(super) struct Heard {
    /// Told of every notification.
    pub(super) notified: Notify,
    /// The last warning, and whether it is time to say it again: a server that goes down says so on every connection.
    warned: Mutex<(String, Seldom)>,
}

impl Heard {
    fn warn(&self, words: &str) {
        let mut warned = self.warned.lock();
        if warned.0 != words {
            *warned = (words.to_owned(), Seldom::default());
        }
        if warned.1.now() {
            tracing::warn!("PostgreSQL warns: {words}");
        }
    }
}

/// A connection that could not be opened.
#[derive(Debug)]
pub(super) struct NotOpened {
    /// Why.
    pub(super) error: StoreError,
    /// Whether that is likely to pass by itself: the server is not up yet, is starting, is full, is no primary yet.
    pub(super) may_pass: bool,
}

impl From<tokio_postgres::Error> for NotOpened {
    fn from(error: tokio_postgres::Error) -> Self {
        Self { may_pass: may_pass(&error), error: failed(error) }
    }
}

/// Wrong passwords and unknown databases stay so; a server that does not answer, or says that it cannot yet, may.
fn may_pass(error: &tokio_postgres::Error) -> bool {
    if let Some(told) = error.as_db_error() {
        let states = [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW];
        // Of connections; of resources, too many clients among them.
        return states.contains(told.code()) || matches!(told.code().code().get(..2), Some("08" | "53"));
    }
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    match cause.map(|cause| (cause.kind(), cause.raw_os_error())) {
        // A socket that may not be opened. Without a number it is the driver, about a server that takes no writes yet.
        Some((io::ErrorKind::PermissionDenied, number)) => number.is_none(),
        // What TLS finds, such as a certificate that is not to be believed.
        Some((io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput, _)) => false,
        Some(_) => true,
        None => error.is_closed(),
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    /// Opens one.
    pub(super) async fn open(address: &Address, heard: &Arc<Heard>) -> std::result::Result<Self, NotOpened> {
        let (client, mut connection) = address.config.connect(address.transport.clone()).await?;
        let alone = Arc::new(AtomicBool::new(false));
        let (unsure, heard) = (Arc::clone(&alone), Arc::clone(heard));
        #[expect(clippy::disallowed_methods, reason = "aborted when the connection is dropped")]
        let task = tokio::spawn(async move {
            // The end, or an error: either way the client finds out by itself.
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(_) = message {
                    heard.notified.notify_one();
                } else if let AsyncMessage::Notice(notice) = message
                    && notice.parsed_severity() == Some(Severity::Warning)
                {
                    heard.warn(notice.message());
                    // Its words are in the language of the server; the place in its source is not.
                    if notice.routine() == Some("SyncRepWaitForLSN") {
                        unsure.store(true, Ordering::Release);
                    }
                }
            }
        });
        let (statements, broken) = (Mutex::default(), AtomicBool::new(false));
        let connection = Self { client, statements, alone, broken, task: task.abort_handle() };
        connection.prove().await?;
        Ok(connection)
    }

    /// Sets the limits of our own, and sees to it that this is a server to rely on. Every statement that can go by an index
    /// does: a plan made while a table was small is kept, and would go through all of it when it has grown.
    async fn prove(&self) -> std::result::Result<(), NotOpened> {
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
            .await?;
        let row = answer.iter().find_map(|message| {
            let SimpleQueryMessage::Row(row) = message else { return None };
            Some(row)
        });
        let [version, encoding, in_recovery, commit] =
            SETTINGS.map(|name| row.and_then(|row| row.try_get(name).ok().flatten()).unwrap_or_default());
        let unfit = |why, may_pass| Err(NotOpened { error: StoreError::unreachable(why), may_pass });
        if version.parse::<u32>().is_ok_and(|version| version < OLDEST) {
            return unfit(format!("PostgreSQL 15 or newer is needed, and this is {version}"), false);
        }
        if encoding != "UTF8" {
            return unfit(format!("the database's encoding is {encoding}, and must be UTF8"), false);
        }
        if in_recovery != "f" {
            return unfit(String::from("this server is a standby, and a primary is needed"), true);
        }
        // Anything weaker could forget what was acknowledged.
        if !matches!(commit, "on" | "remote_apply") {
            self.client.batch_execute("SET synchronous_commit = on").await?;
        }
        Ok(())
    }

    /// Whether it is known to be closed.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Whether it can be used again after an error, once no transaction is open on it any more. The server has then merely
    /// refused a statement: opening another connection for each refusal would cost it more than the statement.
    pub(super) fn is_sound(&self) -> bool {
        let spoilt = [&self.broken, &*self.alone].iter().any(|mark| mark.load(Ordering::Acquire));
        !spoilt && !self.is_closed()
    }

    fn failed(&self, error: tokio_postgres::Error) -> StoreError {
        let refused = error.as_db_error().is_some_and(|told| {
            // A constraint, a deadlock, no room on the disk, a lock or an answer that was waited for too long. Not that only
            // reading is possible: elsewhere there may be a primary by now. Nor that a prepared statement is of no use.
            let passes = matches!(told.code().code().get(..2), Some("23" | "40" | "53" | "55" | "57"));
            passes && told.parsed_severity() == Some(Severity::Error)
        });
        self.broken.fetch_or(!refused, Ordering::AcqRel);
        failed(error)
    }

    /// Runs a statement, prepared when it is first run here.
    pub(super) async fn query(&self, sql: &'static str, params: Params<'_>) -> Result<Vec<Row>> {
        let statement = self.prepared(sql).await?;
        let rows = self.client.query(&statement, params).await.map_err(|error| self.failed(error))?;
        self.unless_alone(rows)
    }

    /// Runs a statement and returns how many rows it changed.
    pub(super) async fn execute(&self, sql: &'static str, params: Params<'_>) -> Result<u64> {
        let statement = self.prepared(sql).await?;
        let changed = self.client.execute(&statement, params).await.map_err(|error| self.failed(error))?;
        self.unless_alone(changed)
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
        self.client.batch_execute(sql).await.map_err(|error| self.failed(error))?;
        self.unless_alone(())
    }

    /// Hands an answer on, unless an operator made the server stop waiting for its standby. It answers that it committed,
    /// with a warning; but the commit may be lost with this server, and nothing is to be said of it.
    fn unless_alone<T>(&self, answer: T) -> Result<T> {
        if self.alone.load(Ordering::Acquire) {
            return Err(StoreError::unreachable("committed, but perhaps not on the standby"));
        }
        Ok(answer)
    }

    /// Prepares a statement, so that what is sent behind one another later is not kept waiting for it.
    pub(super) async fn prepared(&self, sql: &'static str) -> Result<Statement> {
        let known = self.statements.lock().get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await.map_err(|error| self.failed(error))?;
        self.statements.lock().insert(sql, statement.clone());
        Ok(statement)
    }
}

/// What a failure means for the store. Details, which may hold values, are left out.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
pub(super) fn failed(error: tokio_postgres::Error) -> StoreError {
    let Some(told) = error.as_db_error() else {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        return StoreError::unreachable(format!("{error}{cause}"));
    };
    let (code, words) = (told.code(), format!("{} ({})", told.message(), told.code().code()));
    let too_slow = [
        SqlState::QUERY_CANCELED,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
    ];
    if too_slow.contains(code) {
        return StoreError::too_slow(words);
    }
    match code.code().get(..2) {
        // What was asked was impossible: data, constraints, syntax.
        Some("0A" | "21" | "22" | "23" | "42") => StoreError::inconsistent(words),
        // The connection, its rights, the server's state, its resources, its disk.
        Some(_) | None => StoreError::unreachable(words),
    }
}
