//! A database of a test's own, of either kind, and what a test may know of it whichever that is.

use std::any::Any;
use std::path::{Path, PathBuf};

mod postgres;
mod sqlite;

/// Every kind of store, each of which keeps the same contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A file.
    Sqlite,
    /// A database of the server that all tests share.
    Postgres,
}

impl StoreKind {
    /// The query for the key that tokens are made with, in hex.
    pub fn token_key(self) -> &'static str {
        match self {
            Self::Sqlite => sqlite::TOKEN_KEY,
            Self::Postgres => postgres::TOKEN_KEY,
        }
    }

    /// The query that counts the sessions without their login in the audit, and the revocations without tombstone, number
    /// or event. The tombstone of an old token, whose session goes on under a new one, has a number alone.
    pub fn half_done(self) -> &'static str {
        match self {
            Self::Sqlite => sqlite::HALF_DONE,
            Self::Postgres => postgres::HALF_DONE,
        }
    }
}

/// A database, gone when dropped if it was made here.
pub enum Database {
    /// A file in a directory of its own.
    Sqlite(sqlite::Database),
    /// One of many on a server.
    Postgres(postgres::Database),
}

impl Database {
    /// An empty one, or one that does not exist yet.
    pub fn new(store: StoreKind) -> Self {
        match store {
            StoreKind::Sqlite => Self::Sqlite(sqlite::Database::new()),
            StoreKind::Postgres => Self::Postgres(postgres::Database::new()),
        }
    }

    /// One in PostgreSQL that is there already.
    pub fn at(url: &str) -> Self {
        Self::Postgres(postgres::Database::at(url))
    }

    /// What kind it is.
    pub fn kind(&self) -> StoreKind {
        match self {
            Self::Sqlite(_) => StoreKind::Sqlite,
            Self::Postgres(_) => StoreKind::Postgres,
        }
    }

    /// How `sessiond` is told of it.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(file) => file.url(),
            Self::Postgres(database) => database.url(),
        }
    }

    /// The answer to a query, a row a row, every value as text.
    pub async fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        match self {
            Self::Sqlite(file) => file.rows(sql).await,
            Self::Postgres(database) => database.rows(sql).await,
        }
    }

    /// The number that is the answer to a query.
    pub async fn number(&self, sql: &str) -> i64 {
        let rows = self.rows(sql).await;
        let [row] = &rows[..] else { panic!("{rows:?}") };
        row[0].as_deref().and_then(|number| number.parse().ok()).expect("a number")
    }

    /// Counts what was left half done.
    pub async fn half_done(&self) -> i64 {
        self.number(self.kind().half_done()).await
    }

    /// Changes it behind the back of every server.
    pub async fn execute(&self, sql: &str) {
        match self {
            Self::Sqlite(file) => file.execute(sql).await,
            Self::Postgres(database) => database.execute(sql).await,
        }
    }

    /// Keeps everything waiting that changes a session, until the result is dropped.
    pub async fn keep_writers_waiting(&self) -> Box<dyn Any> {
        match self {
            Self::Sqlite(file) => Box::new(file.keep_writers_waiting().await),
            Self::Postgres(database) => Box::new(database.keep_writers_waiting().await),
        }
    }

    /// Whether nothing has ever been made in it.
    pub async fn is_untouched(&self) -> bool {
        match self {
            Self::Sqlite(file) => file.is_untouched(),
            Self::Postgres(database) => database.is_untouched().await,
        }
    }

    /// Everything it keeps, in pieces with a name.
    pub async fn contents(&self) -> Vec<(String, Vec<u8>)> {
        match self {
            Self::Sqlite(file) => file.contents(),
            Self::Postgres(database) => database.contents().await,
        }
    }

    /// Where a server that works in `dir` keeps the first user's password.
    pub fn first_password(&self, dir: &Path) -> PathBuf {
        match self {
            Self::Sqlite(file) => file.dir().join("test.db.first-password"),
            Self::Postgres(_) => dir.join("sessiond.first-password"),
        }
    }

    /// The database as a file. Panics when it is none.
    pub fn file(&self) -> &sqlite::Database {
        match self {
            Self::Sqlite(file) => file,
            Self::Postgres(database) => panic!("{} is no file", database.url()),
        }
    }

    /// The database on a server. Panics when it is a file.
    pub fn on_server(&self) -> &postgres::Database {
        match self {
            Self::Postgres(database) => database,
            Self::Sqlite(file) => panic!("{} is on no server", file.url()),
        }
    }
}
