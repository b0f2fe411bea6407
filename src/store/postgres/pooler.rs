//! Finds a pooler that lends one server process to several connections, where settings and notifications get lost.
//!
//! `PgBouncer` does that in its modes `transaction` and `statement`, and does not say so to its clients. But there are two
//! things that can be seen only behind such a pooler, and so are never a false alarm: that the process behind a connection
//! changes, and that two open connections have the same one. An idle pool shows one of them at once, in whatever order it
//! lends. A busy one may hide them for a moment, so several rounds are asked.

use parking_lot::Mutex;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _, Row as _};

/// How often both connections are asked: the first of them twice, so that a pool that takes turns shows itself too.
const ROUNDS: usize = 5;

/// A way to hand out server processes by which a connection has none to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Pooling {
    /// A process is lent for a transaction.
    #[error(
        "the pooler before it pools transactions (PgBouncer: pool_mode = transaction), where settings and notifications \
         get lost: set pool_mode = session for this database, or connect to PostgreSQL itself, and see docs/scaling.md"
    )]
    Transaction,
    /// A process is lent for a statement.
    #[error(
        "the pooler before it pools statements (PgBouncer: pool_mode = statement), where there are no transactions: \
         set pool_mode = session for this database, or connect to PostgreSQL itself, and see docs/scaling.md"
    )]
    Statement,
}

/// Whether the connections to a host have server processes of their own.
#[derive(Default)]
pub(super) struct Processes {
    /// When the server was started to which they were last found to lead. Another one is behind another address, and
    /// perhaps behind another pooler.
    proven: Mutex<Option<String>>,
}

impl Processes {
    /// Finds out, if it is not yet known of the server that the connection leads to. `another` opens a second connection,
    /// which is closed afterwards. Nothing is set on either of them: other clients of a pooler would inherit it.
    pub(super) async fn check(
        &self,
        connection: &mut PgConnection,
        another: impl Future<Output = sqlx::Result<PgConnection>>,
    ) -> sqlx::Result<Option<Pooling>> {
        let server = text(connection, "SELECT pg_postmaster_start_time()::text").await?;
        if self.proven.lock().as_ref() == Some(&server) {
            return Ok(None);
        }
        let mut another = Box::pin(another).await?;
        if !are_shared(connection, &mut another).await? {
            *self.proven.lock() = Some(server);
            // It has done its work, whether or not it takes leave.
            let _ = another.close().await;
            return Ok(None);
        }
        let refused = another.execute("BEGIN").await.is_err();
        Ok(Some(if refused { Pooling::Statement } else { Pooling::Transaction }))
    }

    /// Has the next connection checked, whatever it leads to.
    pub(super) fn forget(&self) {
        *self.proven.lock() = None;
    }
}

/// Whether two connections are seen to share server processes.
async fn are_shared(one: &mut PgConnection, other: &mut PgConnection) -> sqlx::Result<bool> {
    const PROCESS: &str = "SELECT pg_backend_pid()::text";
    let mut before = None;
    for _ in 0..ROUNDS {
        let [first, again] = [text(one, PROCESS).await?, text(one, PROCESS).await?];
        let second = text(other, PROCESS).await?;
        let changed = first != again || before.is_some_and(|before| before != (first.clone(), second.clone()));
        if changed || first == second {
            return Ok(true);
        }
        before = Some((first, second));
    }
    Ok(false)
}

/// The only value of an answer. Nothing is prepared, which such a pooler may not be able to do.
async fn text(connection: &mut PgConnection, sql: &'static str) -> sqlx::Result<String> {
    connection.fetch_one(sqlx::raw_sql(sql)).await?.try_get(0)
}
