//! One connection: how it is opened, used and, at the latest when it is dropped, closed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use sqlx::postgres::{PgArguments, PgConnection, PgDatabaseError, PgListener, PgPoolOptions, PgRow, PgSeverity};
use sqlx::query::{Query, QueryAs};
use sqlx::{Acquire as _, ConnectOptions as _, Connection as _, Executor as _, FromRow, Postgres, Row as _};
use tokio::time::{Instant, timeout};

use super::super::{Cause, Result, StoreError};
use super::address::{Address, Host, patience_beside};
use super::deadline::DEADLINE;
use super::pooler::Processes;
use crate::domain::entropy::{Entropy as _, SystemEntropy};
use crate::telemetry::notices::{Notice, watch};
use crate::telemetry::outage::LogThrottle;

/// The oldest version that is known to do, as the server numbers them.
const OLDEST: u32 = 15_00_00;
/// A connection is closed between this age and twice as old, so that a name that moved is followed, and not by all at once.
const AGE: Duration = Duration::from_mins(20);
/// For how long after an answer a connection is taken to be alive without a ping.
const FRESH: Duration = Duration::from_secs(1);
/// The notice by which a connection shows that its notices are seen.
const PROOF: &str = "sessiond sees notices";

/// A connection to a primary whose commits are durable when they are answered. Dropped, its socket is closed at once.
pub(super) struct Connection {
    driver: Driver,
    place: Place,
    /// What is known of the host's server processes.
    processes: Arc<Processes>,
    warnings: Arc<Warnings>,
    proven: Proven,
    /// Whether it can be used again. It cannot while a statement is under way, so that one that was abandoned is never
    /// returned to the pool.
    sound: bool,
    /// When it last answered, and when it is old.
    answered: Instant,
    old: Instant,
}

/// What a connection leads to.
#[derive(Clone, Copy)]
struct Place {
    /// The index of the host.
    host: usize,
    /// The address of the host, where the driver does not choose it.
    to: Option<SocketAddr>,
}

/// What a server has said of itself.
#[derive(Default)]
struct Proven {
    /// See [`Connection::backend`].
    backend: Arc<str>,
    /// The timeline that it writes.
    timeline: u32,
}

enum Driver {
    Plain(PgConnection),
    /// In a pool of its own, since the driver wants one, which never opens another.
    Listening(Box<PgListener>),
}

/// The warnings of a database, which are logged whichever connection they came on.
#[derive(Default)]
pub(super) struct Warnings(Mutex<(String, LogThrottle)>);

impl Warnings {
    /// Logs a warning, unless the same one was logged a moment ago: a server that goes down sends it on every
    /// connection.
    fn log(&self, words: &str) {
        let mut last = self.0.lock();
        if last.0 != words {
            *last = (words.to_owned(), LogThrottle::default());
        }
        if last.1.is_due() {
            tracing::warn!("PostgreSQL warns: {words}");
        }
    }
}

/// A connection that could not be opened.
#[derive(Debug)]
pub(super) struct NotOpened {
    /// The reason.
    pub(super) error: StoreError,
    /// Whether that is likely to pass by itself: the server is not up yet, is starting, is full, is no primary yet.
    pub(super) may_pass: bool,
    /// Whether it is a standby, or an old primary, so that another address of the same name may lead to the primary.
    no_primary: bool,
}

impl NotOpened {
    /// For a reason that is not that the server is no primary.
    pub(super) fn new(error: StoreError, may_pass: bool) -> Self {
        Self { error, may_pass, no_primary: false }
    }

    fn no_primary(why: &str) -> Self {
        Self { error: StoreError::unreachable(why), may_pass: true, no_primary: true }
    }
}

impl From<sqlx::Error> for NotOpened {
    fn from(error: sqlx::Error) -> Self {
        let may_pass = may_pass(&error);
        Self::new(failed(error), may_pass)
    }
}

/// A wrong password or an unknown database will not pass. A server that does not answer, or answers that it is not
/// ready, may be ready later.
fn may_pass(error: &sqlx::Error) -> bool {
    if let Some(refused) = refusal(error) {
        // It is shut down, has crashed, cannot yet; or it is about connections, or resources, too many clients among them.
        return matches!(refused.code(), "57P01" | "57P02" | "57P03")
            || matches!(refused.code().get(..2), Some("08" | "53"));
    }
    if let sqlx::Error::Io(cause) = error {
        // A socket that may not be opened will not pass, nor an error of TLS such as a certificate that is not trusted.
        let lasting = [io::ErrorKind::PermissionDenied, io::ErrorKind::InvalidData, io::ErrorKind::InvalidInput];
        return !lasting.contains(&cause.kind());
    }
    matches!(error, sqlx::Error::PoolTimedOut)
}

impl Connection {
    /// Opens a connection to the first host that is a usable primary.
    pub(super) async fn open(address: &Address, warnings: &Arc<Warnings>) -> std::result::Result<Self, NotOpened> {
        let patience = address.patience.unwrap_or(Duration::MAX);
        let mut not_opened = NotOpened::new(StoreError::unreachable("there is no host"), false);
        for host in 0..address.hosts.len() {
            let late = |_| NotOpened::new(StoreError::too_slow(format!("no connection within {patience:?}")), true);
            match timeout(patience, Box::pin(Self::open_host(address, host, warnings)))
                .await
                .unwrap_or_else(|passed| Err(late(passed)))
            {
                Ok(connection) => return Ok(connection),
                Err(another) => not_opened = NotOpened { may_pass: another.may_pass || not_opened.may_pass, ..another },
            }
        }
        Err(not_opened)
    }

    /// Opens a connection to the first address of a host that leads to a usable primary. The driver takes the first that
    /// accepts a connection. So where that leads to none, all of them are tried.
    async fn open_host(
        address: &Address,
        host: usize,
        warnings: &Arc<Warnings>,
    ) -> std::result::Result<Self, NotOpened> {
        let first = Self::open_plain(address, Place { host, to: None }, warnings).await;
        if !matches!(&first, Err(NotOpened { no_primary: true, .. })) {
            return first;
        }
        let addresses = host_of(address, host)?.addresses().await;
        let Some(patience) = patience_beside(addresses.len()) else { return first };
        for to in addresses {
            let opened = Self::open_plain(address, Place { host, to: Some(to) }, warnings);
            if let Ok(Ok(connection)) = timeout(patience, Box::pin(opened)).await {
                return Ok(connection);
            }
        }
        first
    }

    async fn open_plain(
        address: &Address,
        place: Place,
        warnings: &Arc<Warnings>,
    ) -> std::result::Result<Self, NotOpened> {
        let host = host_of(address, place.host)?;
        let connect = async || host.options(place.to).await?.connect().await;
        let (driver, notices) = watch(connect()).await;
        let mut driver = driver?;
        if let Some(pooling) = host.processes.check(&mut driver, connect()).await? {
            return Err(NotOpened::new(StoreError::unreachable(pooling.to_string()), false));
        }
        let connection = Self::of(Driver::Plain(driver), place, Arc::clone(&host.processes), warnings);
        connection.log(&notices);
        let connection = connection.proven().await?;
        if address.was_succeeded(connection.proven.timeline) {
            let why = "this server was the primary until another one took over, and was not stopped";
            return Err(NotOpened::no_primary(why));
        }
        Ok(connection)
    }

    /// Opens a connection to the same host that listens for notifications.
    pub(super) async fn listening(&self, address: &Address) -> Result<Self> {
        let host = host_of(address, self.place.host).map_err(|NotOpened { error, .. }| error)?;
        // Proven within the pool: what is not yet a listener is closed at once where that is not waited for.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(DEADLINE)
            .max_lifetime(None)
            .idle_timeout(None)
            .test_before_acquire(false)
            .after_connect(|driver, _| {
                let proven = async {
                    let unproven = |NotOpened { error, .. }| sqlx::Error::Configuration(error.into());
                    prove(driver).await.map(drop).map_err(unproven)
                };
                Box::pin(proven)
            })
            .connect_lazy_with(host.options(self.place.to).await.map_err(failed)?);
        let mut listener = PgListener::connect_with(&pool).await.map_err(failed)?;
        listener.ignore_pool_close_event(true);
        listener.eager_reconnect(false);
        listener.listen("sessiond").await.map_err(failed)?;
        let driver = Driver::Listening(Box::new(listener));
        Ok(Self::of(driver, self.place, Arc::clone(&self.processes), &self.warnings))
    }

    fn of(driver: Driver, place: Place, processes: Arc<Processes>, warnings: &Arc<Warnings>) -> Self {
        let now = Instant::now();
        let mut random = [0];
        // Without randomness it is the whole of it.
        let part = SystemEntropy.fill(&mut random).map_or(u8::MAX, |()| u8::from_ne_bytes(random));
        let old = now + AGE + AGE * u32::from(part) / u32::from(u8::MAX);
        Self {
            driver,
            place,
            processes,
            warnings: Arc::clone(warnings),
            proven: Proven::default(),
            sound: true,
            answered: now,
            old,
        }
    }

    async fn proven(mut self) -> std::result::Result<Self, NotOpened> {
        self.proven = prove(self.driver().await?).await?;
        Ok(self)
    }

    /// The driver's own connection, for what has no method here. Its answers are not checked for warnings.
    pub(super) async fn driver(&mut self) -> sqlx::Result<&mut PgConnection> {
        match &mut self.driver {
            Driver::Plain(driver) => Ok(driver),
            Driver::Listening(listener) => listener.acquire().await,
        }
    }

    /// The server process that it was opened to, by its id and the time of its start.
    pub(super) fn backend(&self) -> Arc<str> {
        Arc::clone(&self.proven.backend)
    }

    /// The timeline of the primary that it was opened to.
    pub(super) const fn timeline(&self) -> u32 {
        self.proven.timeline
    }

    /// Whether it can be used again after an error, once no transaction is open on it any more. The server has then merely
    /// refused a statement: opening another connection for each refusal would cost it more than the statement.
    pub(super) fn is_sound(&self) -> bool {
        self.sound
    }

    /// Whether it has been open for so long that another is to take its place.
    pub(super) fn is_old(&self) -> bool {
        self.old <= Instant::now()
    }

    /// Whether it is still alive. One that was not used for a while is pinged.
    pub(super) async fn lives(&mut self) -> bool {
        if !self.sound || self.is_old() {
            return false;
        }
        if self.answered.elapsed() < FRESH {
            return true;
        }
        self.ask(async |driver| driver.ping().await).await.is_ok()
    }

    /// Runs a statement, prepared when it is first run here, and returns its rows.
    pub(super) async fn rows<T>(&mut self, query: QueryAs<'static, Postgres, T, PgArguments>) -> Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        self.ask(async |driver| query.fetch_all(driver).await).await
    }

    /// The same, and returns its first row. The answer comes once all is done, a commit included.
    pub(super) async fn row<T>(&mut self, query: QueryAs<'static, Postgres, T, PgArguments>) -> Result<Option<T>>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        self.ask(async |driver| query.fetch_optional(driver).await).await
    }

    /// The same for a statement that always finds a row; `lacking` is what it means that it did not.
    pub(super) async fn one<T>(
        &mut self,
        query: QueryAs<'static, Postgres, T, PgArguments>,
        lacking: &'static str,
    ) -> Result<T>
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        self.row(query).await?.ok_or_else(|| StoreError::inconsistent(lacking))
    }

    /// Runs a statement and returns how many rows it changed.
    pub(super) async fn execute(&mut self, query: Query<'static, Postgres, PgArguments>) -> Result<u64> {
        self.ask(async |driver| query.execute(driver).await.map(|done| done.rows_affected())).await
    }

    /// Runs plain statements without parameters.
    pub(super) async fn run(&mut self, sql: &'static str) -> Result<()> {
        self.ask(async |driver| driver.execute(sqlx::raw_sql(sql)).await.map(drop)).await
    }

    /// Adds rows by a `COPY … FROM STDIN`: all of them or none.
    pub(super) async fn copy_in(&mut self, sql: &'static str, text: Bytes) -> Result<()> {
        let copied = async |driver: &mut PgConnection| {
            let mut copy = driver.copy_in_raw(sql).await?;
            copy.send(text).await?;
            copy.finish().await.map(drop)
        };
        self.ask(copied).await
    }

    /// Waits for a notification, if this connection listens. Returns whether it still listens. Cancelling it loses
    /// nothing.
    pub(super) async fn published(&mut self) -> bool {
        match &mut self.driver {
            Driver::Listening(listener) => matches!(listener.try_recv().await, Ok(Some(_))),
            Driver::Plain(_) => std::future::pending().await,
        }
    }

    /// Whether a notification arrived while a statement ran.
    pub(super) fn was_published(&mut self) -> bool {
        match &mut self.driver {
            Driver::Listening(listener) => std::iter::from_fn(|| listener.next_buffered()).count() > 0,
            Driver::Plain(_) => false,
        }
    }

    /// Runs `work`, and checks the answer for warnings. An operator can make the server stop waiting for its standby:
    /// it then answers that it committed, with a warning, but the commit may be lost with this server. The warning's
    /// words are in the server's language, so any is taken for that one. They are rare.
    async fn ask<T>(&mut self, work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>) -> Result<T> {
        self.sound = false;
        // Boxed, or each of the futures around it would reserve memory for it.
        let work = Box::pin(async { work(self.driver().await?).await });
        let (answer, notices) = watch(work).await;
        self.answered = Instant::now();
        self.log(&notices);
        let warned = notices.iter().any(|notice| notice.is_warning);
        self.sound = !warned && answer.as_ref().err().is_none_or(is_mere_refusal);
        if answer.as_ref().is_err_and(is_of_another_process) {
            // The next connection that is opened finds out whether the mode of a pooler was changed.
            self.processes.forget();
        }
        let answer = answer.map_err(failed)?;
        if warned {
            return Err(StoreError::unreachable("committed, but perhaps not on the standby"));
        }
        Ok(answer)
    }

    fn log(&self, notices: &[Notice]) {
        for notice in notices.iter().filter(|notice| notice.is_warning) {
            self.warnings.log(&notice.words);
        }
    }
}

fn host_of(address: &Address, host: usize) -> std::result::Result<&Host, NotOpened> {
    address.hosts.get(host).ok_or_else(|| NotOpened::new(StoreError::unreachable("there is no such host"), false))
}

/// Sets our own limits, and makes sure that this server can be relied on and that its warnings are seen. Every
/// statement that can use an index does so: a plan made while a table was small is kept, and would scan all of it when
/// it has grown.
async fn prove(driver: &mut PgConnection) -> std::result::Result<Proven, NotOpened> {
    // It is a notice and not a warning, which would be written to the server's log. A subscriber that lets the one
    // through lets the other through.
    let settings = sqlx::raw_sql(
        "SET client_min_messages = notice;
         DO $$ BEGIN RAISE NOTICE 'sessiond sees notices'; END $$;
         SET client_min_messages = warning;
         SET statement_timeout = 800; SET lock_timeout = 800; SET idle_in_transaction_session_timeout = 2000;
         SET enable_seqscan = off; SET jit = off;
         SET default_transaction_isolation = 'read committed';
         SELECT (SELECT pid || ' ' || backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS backend,
             current_setting('server_version_num') AS version, current_setting('server_encoding') AS encoding,
             pg_is_in_recovery()::text AS in_recovery, current_setting('synchronous_commit') AS commit,
             CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END AS timeline",
    );
    let (rows, notices) = watch(driver.fetch_all(settings)).await;
    let rows = rows?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    let backend = row.try_get::<Option<String>, _>("backend")?.unwrap_or_default();
    let version: &str = row.try_get("version")?;
    let encoding: &str = row.try_get("encoding")?;
    let in_recovery: &str = row.try_get("in_recovery")?;
    let commit: &str = row.try_get("commit")?;
    let timeline: Option<&str> = row.try_get("timeline")?;
    let unfit = |why: &str| Err(NotOpened::new(StoreError::unreachable(why), false));
    if version.parse::<u32>().is_ok_and(|version| version < OLDEST) {
        return unfit(&format!("PostgreSQL 15 or newer is needed, and this is {version}"));
    }
    if encoding != "UTF8" {
        return unfit(&format!("the database's encoding is {encoding}, and must be UTF8"));
    }
    if in_recovery != "false" {
        return Err(NotOpened::no_primary("this server is a standby, and a primary is needed"));
    }
    let Some(Ok(timeline)) = timeline.map(|timeline| u32::from_str_radix(timeline, 16)) else {
        return unfit("the timeline of the database cannot be read");
    };
    if !notices.iter().any(|notice| notice.words == PROOF) {
        return unfit(
            "the database's warnings would be missed, among them that a commit is not on its standby: \
             this process's tracing subscriber lacks sessiond's layer for them, or has a filter before it",
        );
    }
    // A weaker setting could lose what was acknowledged.
    if !matches!(commit, "on" | "remote_apply") {
        driver.execute(sqlx::raw_sql("SET synchronous_commit = on")).await?;
    }
    Ok(Proven { backend: backend.into(), timeline })
}

/// The server's own error, if it is one.
fn refusal(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error().and_then(|refused| refused.try_downcast_ref())
}

/// Whether the server has refused a statement, which says nothing about the connection.
fn is_mere_refusal(error: &sqlx::Error) -> bool {
    // A constraint, a deadlock, no room on the disk, a lock or an answer that was waited for too long. It does not
    // include a server that has become read-only, since another may be the primary by now, nor a prepared statement
    // that has become invalid.
    refusal(error).is_some_and(|refused| {
        refused.severity() == PgSeverity::Error
            && matches!(refused.code().get(..2), Some("23" | "40" | "53" | "55" | "57"))
    })
}

/// Whether the server does not know a statement that was prepared on the connection, or knows another one by its name: with
/// other parameters, or other columns. The connection then has another server process than before.
fn is_of_another_process(error: &sqlx::Error) -> bool {
    if let Some(refused) = refusal(error) {
        // Some poolers give one of these codes to connections that they close.
        return refused.severity() == PgSeverity::Error
            && matches!(refused.code(), "26000" | "42P05" | "08P01" | "22P03");
    }
    matches!(
        error,
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) | sqlx::Error::ColumnIndexOutOfBounds { .. }
    )
}

/// What a failure means for the store. Details, which may hold values, are left out.
pub(super) fn failed(error: sqlx::Error) -> StoreError {
    let Some(refused) = refusal(&error) else {
        let (words, cause) = (error.to_string(), error);
        // A value that was read, or was to be written, makes no sense.
        let impossible = matches!(
            cause,
            sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::Decode(_)
                | sqlx::Error::Encode(_)
                | sqlx::Error::ColumnNotFound(_)
                | sqlx::Error::ColumnIndexOutOfBounds { .. }
                | sqlx::Error::TypeNotFound { .. }
                | sqlx::Error::RowNotFound
        );
        if impossible {
            return StoreError::Inconsistent(Cause::of_driver(words, cause));
        }
        if matches!(cause, sqlx::Error::PoolTimedOut) {
            return StoreError::TooSlow(Cause::of_driver(words, cause));
        }
        // All other errors of the driver are about connections.
        return StoreError::Unreachable(Cause::of_driver(words, cause));
    };
    let code = refused.code();
    let words = format!("{} ({code})", refused.message());
    match (code, code.get(..2)) {
        // There is a prepared statement of that name already, for which a pooler is to blame and not the statement.
        ("42P05", _) => StoreError::Unreachable(Cause::of_driver(words, error)),
        // Cancelled, locked, a deadlock, not to be put in an order.
        ("57014" | "55P03" | "40P01" | "40001", _) => StoreError::TooSlow(Cause::of_driver(words, error)),
        // What was asked was impossible: data, constraints, syntax.
        (_, Some("0A" | "21" | "22" | "23" | "42")) => StoreError::Inconsistent(Cause::of_driver(words, error)),
        // The connection, its rights, the server's state, its resources, its disk.
        (_, Some(_) | None) => StoreError::Unreachable(Cause::of_driver(words, error)),
    }
}
