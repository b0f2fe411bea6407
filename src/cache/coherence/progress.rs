//! How far the revocation log has been applied, and the wait for a number of it.

use std::time::Duration;

use tokio::sync::watch;

use crate::domain::revocation::Seq;

/// The number up to which something is done. It moves forward, unless the store assigns numbers a second time.
#[derive(Debug, Default)]
pub(super) struct Progress(watch::Sender<Seq>);

impl Progress {
    /// The number that is reached.
    pub(super) fn reached(&self) -> Seq {
        *self.0.borrow()
    }

    /// Whether `seq` is reached.
    pub(super) fn has_reached(&self, seq: Seq) -> bool {
        self.reached() >= seq
    }

    /// Waits until `seq` is reached, for `patience` at most; returns whether it is.
    pub(super) async fn reach(&self, seq: Seq, patience: Duration) -> bool {
        if self.has_reached(seq) {
            return true;
        }
        let mut reached = self.0.subscribe();
        let reached = reached.wait_for(|reached| *reached >= seq);
        matches!(tokio::time::timeout(patience, reached).await, Ok(Ok(_)))
    }

    /// Moves forward to `seq`, unless it is there already.
    pub(super) fn advance(&self, seq: Seq) {
        self.0.send_if_modified(|reached| {
            let newer = seq > *reached;
            *reached = seq.max(*reached);
            newer
        });
    }

    /// Moves back to `seq`. Numbers from there on are assigned again, and have to be reached again.
    pub(super) fn rewind(&self, seq: Seq) {
        self.0.send_modify(|reached| *reached = seq.min(*reached));
    }
}
