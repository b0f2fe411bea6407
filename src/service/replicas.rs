//! Which processes serve from the store, for the commands that run beside them.

use super::operator::Operator;
use super::{Result, Service};
use crate::cache::coherence::liveness;
use crate::store::{Replica, Replicas};

/// A process that serves from the store, or has until lately.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Its row.
    pub replica: Replica,
    /// How many entries of the log it has yet to apply. `None` where it applies each entry before it is published.
    pub lag: Option<i64>,
    /// Whether it is alive.
    pub life: Life,
}

/// Whether a process that has a row is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It has beaten within a lease, and may answer from memory.
    Beating,
    /// It has not beaten for a lease, so it has ended or answers nothing from memory.
    Silent,
    /// It holds the file, from which no other process can serve.
    Serving,
}

impl Operator<'_> {
    /// The processes that serve from the store. Where many may, this watches them for a lease.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn replicas(&self) -> Result<Vec<Standing>> {
        let Service { parts, .. } = self.service();
        match parts.store.shared() {
            Some(shared) => watched(&*shared).await,
            None => {
                let held = parts.store.is_served().await?;
                // Its beat counts the changes that other processes make to the file, so it is no sign of life.
                let life = if held { Life::Serving } else { Life::Silent };
                let rows = parts.store.replicas().await?;
                Ok(rows.into_iter().map(|replica| Standing { replica, lag: None, life }).collect())
            }
        }
    }
}

async fn watched(shared: &dyn Replicas) -> Result<Vec<Standing>> {
    let (news, silent) = liveness::watch(shared).await?;
    let standing = |replica: Replica| {
        let life = if silent.contains(&replica) { Life::Silent } else { Life::Beating };
        Standing { replica, lag: Some(news.head.0.saturating_sub(replica.applied.0)), life }
    };
    Ok(news.replicas.iter().copied().map(standing).collect())
}
