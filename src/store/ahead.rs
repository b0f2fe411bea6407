//! What is read ahead of checks: a part of all sessions at a time, from the newest login on.

use std::ops::Range;

use async_trait::async_trait;

use super::Result;
use crate::domain::clock::Timestamp;
use crate::domain::principal::LiveSession;

/// Reads live sessions for a cache that does not have them yet, on one connection of its own.
#[async_trait]
pub trait Ahead: Send + Sync + 'static {
    /// Reads a part. It comes after the look-ups of checks that wait when it is called. Given up, it is over at once.
    async fn read(&self, part: &Part) -> Result<PartRead>;

    /// How many look-ups checks have asked for so far.
    fn asked(&self) -> u64;

    /// Closes the connection, until the next read.
    async fn close(&self);
}

/// A part of all sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// It is made of the rows before this number, or before the end.
    pub before: Option<i64>,
    /// So many of them are looked at, whether or not they are wanted.
    pub rows: u32,
    /// Those are wanted that are live at this time,
    pub now: Timestamp,
    /// and were last seen in this span.
    pub seen: Range<Timestamp>,
}

/// What was read of a part.
#[derive(Clone, Debug, Default)]
pub struct PartRead {
    /// The sessions that are wanted. One that makes no sense is left out: it fails when it is checked.
    pub sessions: Vec<LiveSession>,
    /// Whether there were live ones that were last seen before the span.
    pub earlier: bool,
    /// Before which number the next part begins; none where there was no row in this one.
    pub next: Option<i64>,
}
