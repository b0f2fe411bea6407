//! Reads and changes a database of either kind directly, without the service.

use anyhow::{Context, Result};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Decode, Executor as _, Row, TypeInfo as _, ValueRef as _,
};

use crate::wait::PATIENCE;

/// A row of an answer, every value as text.
pub type Texts = Vec<Option<String>>;

/// A connection to a database of either kind.
pub enum Connection {
    /// To a file, which must be there.
    Sqlite(SqliteConnection),
    /// To a server.
    Postgres(PgConnection),
}

impl Connection {
    /// Connects to what a URL names.
    pub async fn open(url: &str) -> Result<Self> {
        let opened = if url.starts_with("sqlite:") {
            sqlite(url).await.map(Self::Sqlite)
        } else {
            postgres(url).await.map(Self::Postgres)
        };
        opened.with_context(|| format!("connecting to {url}"))
    }

    /// Runs any number of statements.
    pub async fn execute(&mut self, sql: &str) -> Result<()> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        match self {
            Self::Sqlite(connection) => _ = connection.execute(sql).await?,
            Self::Postgres(connection) => _ = connection.execute(sql).await?,
        }
        Ok(())
    }

    /// The answer to a query.
    pub async fn rows(&mut self, sql: &str) -> Result<Vec<Texts>> {
        // Without parameters PostgreSQL sends every value as text.
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        match self {
            Self::Sqlite(connection) => connection.fetch_all(sql).await?.iter().map(sqlite_texts).collect(),
            Self::Postgres(connection) => connection.fetch_all(sql).await?.iter().map(postgres_texts).collect(),
        }
    }

    /// Waits until the connection is closed.
    pub async fn close(self) -> Result<()> {
        match self {
            Self::Sqlite(connection) => connection.close().await?,
            Self::Postgres(connection) => connection.close().await?,
        }
        Ok(())
    }
}

/// The answer to a query over a connection of its own.
pub async fn rows(url: &str, sql: &str) -> Result<Vec<Texts>> {
    let mut connection = Connection::open(url).await?;
    let rows = connection.rows(sql).await;
    connection.close().await?;
    rows
}

/// Runs statements over a connection of their own.
pub async fn execute(url: &str, sql: &str) -> Result<()> {
    let mut connection = Connection::open(url).await?;
    let done = connection.execute(sql).await;
    connection.close().await?;
    done
}

/// A connection to a file, which must be there.
pub async fn sqlite(url: &str) -> Result<SqliteConnection> {
    let options: SqliteConnectOptions = url.parse()?;
    Ok(options.busy_timeout(PATIENCE).disable_statement_logging().connect().await?)
}

/// A connection to a server.
pub async fn postgres(url: &str) -> Result<PgConnection> {
    let options: PgConnectOptions = url.parse()?;
    // A pooler refuses what it does not know at the start of a connection.
    Ok(options.extra_float_digits(None).disable_statement_logging().connect().await?)
}

fn sqlite_texts(row: &sqlx::sqlite::SqliteRow) -> Result<Texts> {
    let text = |column| {
        let value = row.try_get_raw(column)?;
        // Of a NULL the type is that of its column.
        if value.is_null() {
            return Ok(None);
        }
        let text = match value.type_info().name() {
            "INTEGER" => <i64 as Decode<sqlx::Sqlite>>::decode(value).map(|number| number.to_string()),
            "REAL" => <f64 as Decode<sqlx::Sqlite>>::decode(value).map(|number| number.to_string()),
            _ => <String as Decode<sqlx::Sqlite>>::decode(value),
        };
        text.map(Some).map_err(anyhow::Error::from_boxed)
    };
    (0..row.len()).map(text).collect()
}

fn postgres_texts(row: &sqlx::postgres::PgRow) -> Result<Texts> {
    let text = |column| {
        let value = row.try_get_raw(column)?;
        if value.is_null() {
            return Ok(None);
        }
        value.as_str().map(|text| Some(text.to_owned())).map_err(anyhow::Error::from_boxed)
    };
    (0..row.len()).map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn values_of_every_kind_are_read_as_text() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let url = format!("sqlite://{}/test.db?mode=rwc", folder.path().display());
        execute(&url, "CREATE TABLE things (a, b TEXT); INSERT INTO things VALUES (7, 'x'), (1.5, NULL)").await?;
        let read = rows(&url, "SELECT a, b, a IS 7 FROM things").await?;
        let expected = [[Some("7"), Some("x"), Some("1")], [Some("1.5"), None, Some("0")]];
        assert_eq!(read, expected.map(|row| row.map(|value| value.map(str::to_owned))));
        assert!(rows(&url, "SELECT c FROM things").await.is_err());
        Ok(())
    }
}
