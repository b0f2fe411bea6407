//! The operations other than logouts: those on `sessions`, those on `accounts`, those on `second_factors` and those on
//! `throttles`.

pub(super) mod accounts;
pub(super) mod second_factors;
pub(super) mod sessions;
pub(super) mod throttles;

use sqlx::Result;

use super::mark::Mark;
use super::transaction::Transaction;
use crate::domain::event::Event;

/// One whole operation, to be run in a transaction with others. It may be run again, should that fail.
pub(super) trait Operation: Send + Sync + 'static {
    /// The result.
    type Outcome: Send + Sync + 'static;

    /// Runs the operation. An error undoes the whole transaction, so a mere refusal is a result.
    fn apply(&self, transaction: &mut Transaction<'_>) -> impl Future<Output = Result<Self::Outcome>> + Send;
}

/// Events that come with no change.
impl Operation for Vec<Event> {
    type Outcome = ();

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<()> {
        transaction.record(self).await
    }
}

/// Records that the database has users, before there is one.
pub(super) struct MarkInUse;

impl Operation for MarkInUse {
    type Outcome = ();

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<()> {
        sqlx::query(Mark::InUse.sql()).execute(transaction.connection()).await.map(drop)
    }
}

/// Makes a tiny change, to test whether the database can be written.
pub(super) struct Beat;

impl Operation for Beat {
    type Outcome = ();

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<()> {
        sqlx::query("UPDATE replicas SET beat = beat + 1").execute(transaction.connection()).await.map(drop)
    }
}

/// Keeps a value under a name, in place of what was.
pub(super) struct KeepSecret {
    pub name: &'static str,
    pub value: [u8; 32],
}

impl Operation for KeepSecret {
    type Outcome = ();

    async fn apply(&self, transaction: &mut Transaction<'_>) -> Result<()> {
        let sql =
            "INSERT INTO secrets (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        let keep = sqlx::query(sql).bind(self.name).bind(self.value.as_slice());
        keep.execute(transaction.connection()).await.map(drop)
    }
}
