//! What the writer commits: `sessions` begin, end and are seen; `accounts` are made and changed.

pub(super) mod accounts;
pub(super) mod sessions;

use rusqlite::Result;

use super::batch::Batch;
use super::mark::Mark;
use super::writer::Operation;
use crate::domain::event::Event;

/// Events that come with no change.
impl Operation for Vec<Event> {
    type Outcome = ();

    fn apply(&self, batch: &mut Batch<'_>) -> Result<()> {
        self.iter().try_for_each(|event| batch.event(event))
    }
}

/// Writes down that there are users, before there is one.
pub(super) struct MarkInUse;

impl Operation for MarkInUse {
    type Outcome = ();

    fn apply(&self, batch: &mut Batch<'_>) -> Result<()> {
        batch.run(Mark::InUse.sql(), []).map(|_| ())
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

/// Keeps a value under a name, in place of what was.
pub(super) struct KeepSecret {
    pub name: &'static str,
    pub value: [u8; 32],
}

impl Operation for KeepSecret {
    type Outcome = ();

    fn apply(&self, batch: &mut Batch<'_>) -> Result<()> {
        let sql =
            "INSERT INTO secrets (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        batch.run(sql, (self.name, self.value)).map(drop)
    }
}
