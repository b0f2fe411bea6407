//! What the writer commits: `sessions` begin, end and are seen; `accounts` are made and changed.

pub(super) mod accounts;
pub(super) mod sessions;

use rusqlite::Result;

use super::batch::Batch;
use super::writer::Operation;
use crate::domain::event::Event;

/// An event that comes with no change.
impl Operation for Event {
    type Outcome = ();

    fn apply(&self, batch: &mut Batch<'_>) -> Result<()> {
        batch.event(self)
    }
}

/// Changes next to nothing, to see whether anything can be changed.
pub(super) struct Beat;

impl Operation for Beat {
    type Outcome = ();

    fn apply(&self, batch: &mut Batch<'_>) -> Result<()> {
        batch.run("UPDATE replicas SET beat = beat + 1", []).map(|_| ())
    }
}
