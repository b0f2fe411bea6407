//! Brings a database's tables up to date, in one transaction of the caller's, and says which schemas a release can serve from.
//!
//! A release knows the migrations it was built with. During a rolling upgrade, and after a roll-back, it meets a database
//! that has had newer ones. Each migration says in `schema_compatibility` which releases can serve beside it, by the newest
//! migration that they know: a release that is covered starts, and any other is refused with a sentence.

use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migrator};
use sqlx::{Database, Executor, FromRow, IntoArguments};

use super::{Cause, Result, StoreError};

/// SQLite's migrations.
pub(super) static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
/// PostgreSQL's migrations, which have the same names.
pub(super) static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// Which migrations a database has had, compared with those that this release knows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has no tables.
    Empty,
    /// It lacks migrations: it has had them up to this one.
    Behind(i64),
    /// It has had all of them, and perhaps newer ones that this release can serve beside.
    Ready,
}

/// How a database is migrated.
#[derive(Clone, Copy)]
pub(super) struct Schema {
    /// The migrations that this release knows.
    pub(super) known: &'static Migrator,
    /// Lists the names of the database's tables.
    pub(super) tables: &'static str,
    /// What a driver's error means for the store.
    pub(super) failed: fn(sqlx::Error) -> StoreError,
}

impl Schema {
    /// Looks at a database and changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Inconsistent`] for a database with tables of another program, and for one that this release cannot
    /// serve from since a newer one has changed it.
    pub(super) async fn state<DB>(&self, connection: &mut DB::Connection) -> Result<State>
    where
        DB: Database,
        DB::Connection: Migrate,
        DB::Arguments: IntoArguments<DB>,
        for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
        for<'r> (String,): FromRow<'r, DB::Row>,
        for<'r> (Option<i64>,): FromRow<'r, DB::Row>,
    {
        let tables: Vec<(String,)> =
            sqlx::query_as(self.tables).fetch_all(&mut *connection).await.map_err(self.failed)?;
        if tables.is_empty() {
            return Ok(State::Empty);
        }
        let table = &self.known.table_name;
        if !tables.iter().any(|(name,)| name == table) {
            return Err(StoreError::inconsistent(
                "the database has tables of another program: give sessiond a database of its own, or a schema",
            ));
        }
        let applied = connection.list_applied_migrations(table).await.map_err(|error| self.not_migrated(error))?;
        let had = applied.iter().map(|AppliedMigration { version, .. }| *version).max().unwrap_or_default();
        let newest = self.known.iter().map(|migration| migration.version).max().unwrap_or_default();
        if had < newest {
            return Ok(State::Behind(had));
        }
        let oldest = "SELECT max(oldest) FROM schema_compatibility";
        let (oldest,): (Option<i64>,) = sqlx::query_as(oldest).fetch_one(connection).await.map_err(self.failed)?;
        let oldest = oldest.unwrap_or(had);
        if oldest > newest {
            return Err(StoreError::inconsistent(format!(
                "a newer sessiond has migrated the database to schema {had}, from which only releases that know schema \
                 {oldest} can serve, and this one (sessiond {}) knows schema {newest}: run a newer one",
                env!("CARGO_PKG_VERSION"),
            )));
        }
        Ok(State::Ready)
    }

    /// Applies what is missing. The caller's transaction makes it all or nothing, and keeps other processes out meanwhile.
    ///
    /// # Errors
    /// As [`Self::state`]; and [`StoreError::Inconsistent`] for a database whose migrations are not the ones of this release.
    pub(super) async fn apply<DB>(&self, connection: &mut DB::Connection) -> Result<()>
    where
        DB: Database,
        DB::Connection: Migrate,
        DB::Arguments: IntoArguments<DB>,
        for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
        for<'r> (String,): FromRow<'r, DB::Row>,
        for<'r> (Option<i64>,): FromRow<'r, DB::Row>,
    {
        self.state::<DB>(connection).await?;
        let mut migrator = Migrator::with_migrations(self.known.iter().cloned().collect());
        // Locking is the caller's, and that newer migrations are compatible was just looked at.
        migrator.set_locking(false).set_ignore_missing(true);
        migrator.run_direct(None, connection, false).await.map_err(|error| self.not_migrated(error))
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the driver's enum is not exhaustive")]
    fn not_migrated(&self, error: MigrateError) -> StoreError {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => (self.failed)(error),
            error => StoreError::Inconsistent(Cause::new(format!("cannot migrate the database: {error}"), error)),
        }
    }
}
