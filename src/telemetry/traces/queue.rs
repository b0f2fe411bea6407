//! Spans that wait to be sent: bounded in number and bytes, and dropped where there is no room.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use super::record::Record;

/// The most spans that wait.
const MOST_SPANS: usize = 4096;
/// The most bytes that they have together.
const MOST_BYTES: usize = 2 << 20;
/// The most spans that are sent at a time.
const MOST_AT_ONCE: usize = 512;
/// How long the first of them waits for others.
const GATHER: Duration = Duration::from_millis(500);

/// The queue between requests and the thread that sends.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Notified when enough wait to be sent, and when the end of the process approaches.
    filled: Condvar,
    /// Notified when all were sent, or given up.
    emptied: Condvar,
    dropped: Counter<u64, AtomicU64>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Record>,
    bytes: usize,
    /// Whether some are being sent.
    sending: bool,
    /// Until when all must be sent, once the process ends.
    end: Option<Instant>,
}

impl Queue {
    /// How many spans were dropped since the start.
    pub(super) const fn dropped(&self) -> &Counter<u64, AtomicU64> {
        &self.dropped
    }

    /// Takes a span, or drops it. It never waits for what is sent.
    pub(super) fn put(&self, record: Record) {
        let bytes = record.bytes();
        let mut state = self.state.lock();
        if state.waiting.len() >= MOST_SPANS || state.bytes.saturating_add(bytes) > MOST_BYTES {
            drop(state);
            self.dropped.inc();
            return;
        }
        state.bytes += bytes;
        state.waiting.push_back(record);
        // The thread that sends looks twice a second anyway.
        if state.waiting.len() == MOST_AT_ONCE {
            self.filled.notify_one();
        }
    }

    /// The next spans to be sent, once there are some.
    pub(super) fn take(&self) -> Vec<Record> {
        let mut state = self.state.lock();
        state.sending = false;
        loop {
            if state.waiting.is_empty() {
                self.emptied.notify_all();
            } else if state.waiting.len() >= MOST_AT_ONCE || state.end.is_some() {
                break;
            }
            let late = self.filled.wait_for(&mut state, GATHER).timed_out();
            if late && !state.waiting.is_empty() {
                break;
            }
        }
        let count = state.waiting.len().min(MOST_AT_ONCE);
        let taken: Vec<_> = state.waiting.drain(..count).collect();
        let bytes: usize = taken.iter().map(Record::bytes).sum();
        state.bytes = state.bytes.saturating_sub(bytes);
        state.sending = true;
        taken
    }

    /// Counts spans that were taken and could not be sent.
    pub(super) fn drop_taken(&self, count: usize) {
        self.dropped.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Pauses, unless the end approaches.
    pub(super) fn pause(&self, pause: Duration) {
        let mut state = self.state.lock();
        let until = Instant::now() + pause;
        while state.end.is_none() && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            self.filled.wait_for(&mut state, left);
        }
    }

    /// Until when all must be sent, once the process ends.
    pub(super) fn end(&self) -> Option<Instant> {
        self.state.lock().end
    }

    /// Has all be sent that wait, and waits for that, for `limit` at most.
    pub(super) fn flush(&self, limit: Duration) {
        let mut state = self.state.lock();
        state.end = Some(Instant::now() + limit);
        self.filled.notify_all();
        let busy = |state: &mut State| state.sending || !state.waiting.is_empty();
        let _ = self.emptied.wait_while_for(&mut state, busy, limit);
    }
}
