//! Which connections are open on a listener, which of them wait for a request, and which one makes room for a new client.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Stands for "not at all" where there is a time otherwise.
const NEVER: u64 = u64::MAX;
/// After this long without a byte of a body that is waited for, or of an answer that the client should take, a
/// connection may make room like an idle one: a client that sends only a head must not hold a place for as long as
/// bodies may take.
const STALLED: Duration = Duration::from_secs(2);
/// How many connections that may make room are looked up at a time, so that a flood of new clients does not go through
/// all connections for each of them.
const CANDIDATES: usize = 64;

/// What the task of a connection is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orders {
    /// Finish the request under way, if there is one, then close.
    pub(super) finish: bool,
    /// Close now, unless a request is under way.
    pub(super) make_room: bool,
}

/// What is known of one connection, shared by its task, its stream and the listener.
#[derive(Debug)]
pub(super) struct Connection {
    opened: Instant,
    /// Since how many milliseconds after `opened` it has waited for a request; [`NEVER`] while one is under way.
    idle_since: AtomicU64,
    /// The same for a part of a body, and for the client to take more of an answer.
    body_awaited_since: AtomicU64,
    writing_since: AtomicU64,
    /// How many requests have begun on it.
    requests: AtomicU64,
    /// Whether something was read that no request has taken in: a part of a head, or a body that was refused.
    unread: AtomicBool,
    /// Whether it has ended.
    ended: AtomicBool,
    finish: AtomicBool,
    make_room: AtomicBool,
    ordered: Notify,
}

impl Connection {
    /// A connection that was just opened.
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            idle_since: AtomicU64::new(0),
            body_awaited_since: AtomicU64::new(NEVER),
            writing_since: AtomicU64::new(NEVER),
            requests: AtomicU64::new(0),
            unread: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            finish: AtomicBool::new(false),
            make_room: AtomicBool::new(false),
            ordered: Notify::new(),
        }
    }

    /// Notes that a request has begun.
    pub(super) fn note_request(&self) {
        self.idle_since.store(NEVER, Ordering::Release);
        if self.requests.fetch_add(1, Ordering::Release) == 0 {
            // The task stops waiting for the first head.
            self.ordered.notify_one();
        }
    }

    /// Notes that the answer to a request is made.
    pub(super) fn note_answer(&self) {
        self.body_awaited_since.store(NEVER, Ordering::Release);
        self.idle_since.store(self.age(), Ordering::Release);
    }

    /// Notes whether a part of a body is waited for.
    pub(super) fn set_awaiting_body(&self, awaiting: bool) {
        let since = if awaiting { self.age() } else { NEVER };
        self.body_awaited_since.store(since, Ordering::Release);
    }

    /// Notes whether the client has yet to take a part of an answer.
    pub(super) fn set_writing(&self, writing: bool) {
        let since = if writing { self.age() } else { NEVER };
        self.writing_since.store(since, Ordering::Release);
    }

    /// Notes whether something was read that no request has taken in.
    pub(super) fn set_unread(&self, unread: bool) {
        self.unread.store(unread, Ordering::Release);
    }

    /// Whether something was read that no request has taken in.
    pub(super) fn has_unread(&self) -> bool {
        self.unread.load(Ordering::Acquire)
    }

    /// Notes that it has ended.
    pub(super) fn note_end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// How many requests have begun on it.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Acquire)
    }

    /// Whether it may make room: no request is under way and every answer was taken, or the client has stalled.
    pub(super) fn may_make_room(&self) -> bool {
        self.idle_from().is_some()
    }

    /// Waits until something is ordered, or the first request begins.
    pub(super) async fn ordered(&self) -> Orders {
        self.ordered.notified().await;
        Orders {
            finish: self.finish.swap(false, Ordering::AcqRel),
            make_room: self.make_room.swap(false, Ordering::AcqRel),
        }
    }

    fn order_to_finish(&self) {
        self.finish.store(true, Ordering::Release);
        self.ordered.notify_one();
    }

    /// Asks it to close, unless a request is under way by then.
    pub(super) fn order_to_make_room(&self) {
        self.make_room.store(true, Ordering::Release);
        self.ordered.notify_one();
    }

    fn age(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(NEVER - 1)
    }

    /// Since when it has been idle or stalled; none while it is neither.
    fn idle_from(&self) -> Option<Instant> {
        let since = |time: &AtomicU64| Some(time.load(Ordering::Acquire)).filter(|since| *since != NEVER);
        let stalled = |since: u64| Duration::from_millis(self.age().saturating_sub(since)) >= STALLED;
        let from = match (since(&self.writing_since), since(&self.idle_since)) {
            (Some(writing), _) => Some(writing).filter(|since| stalled(*since)),
            (None, Some(idle)) => Some(idle),
            (None, None) => since(&self.body_awaited_since).filter(|since| stalled(*since)),
        };
        from.map(|since| self.opened + Duration::from_millis(since))
    }
}

/// The open connections of one listener.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: Mutex<Open>,
    /// Notified whenever a connection closes.
    closed: Notify,
}

#[derive(Debug, Default)]
struct Open {
    connections: HashMap<u64, Arc<Connection>>,
    next: u64,
    /// The connections that were idle for longest when they were last looked up, with the longest at the end.
    candidates: Vec<(u64, Instant)>,
}

/// A connection's place among the open ones, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open.lock().connections.remove(&self.number);
        self.connections.closed.notify_one();
    }
}

impl Connections {
    /// The number of open connections.
    pub(super) fn count(&self) -> usize {
        self.open.lock().connections.len()
    }

    /// Adds a connection.
    pub(super) fn add(self: &Arc<Self>, connection: Arc<Connection>) -> Place {
        let mut open = self.open.lock();
        let number = open.next;
        open.next += 1;
        open.connections.insert(number, connection);
        Place { connections: Arc::clone(self), number }
    }

    /// Asks the connection that has been idle for longest to close; none is asked while all have a request under way.
    pub(super) fn make_room(&self) {
        let mut open = self.open.lock();
        for _ in 0..2 {
            while let Some((number, since)) = open.candidates.pop() {
                // One that was used meanwhile is not the one idle for longest any more.
                if let Some(connection) = open.connections.get(&number)
                    && connection.idle_from() == Some(since)
                {
                    return connection.order_to_make_room();
                }
            }
            open.candidates = open.longest_idle();
        }
    }

    /// Waits until one has closed since the last wait, or might have become idle.
    pub(super) async fn change(&self) {
        const A_MOMENT: Duration = Duration::from_millis(10);
        let _ = tokio::time::timeout(A_MOMENT, self.closed.notified()).await;
    }

    /// Asks each to finish its request, if it has one under way, and to close.
    pub(super) fn finish(&self) {
        self.open.lock().connections.values().for_each(|connection| connection.order_to_finish());
    }

    /// Asks each to close that has no request under way.
    pub(super) fn close_idle(&self) {
        self.open.lock().connections.values().for_each(|connection| connection.order_to_make_room());
    }

    /// Waits until none is open.
    pub(super) async fn none_left(&self) {
        while self.count() > 0 {
            self.change().await;
        }
    }
}

impl Open {
    /// The [`CANDIDATES`] that have been idle for longest, the longest last.
    fn longest_idle(&self) -> Vec<(u64, Instant)> {
        let idle = self.connections.iter().filter_map(|(number, connection)| Some((*number, connection.idle_from()?)));
        let mut idle: Vec<_> = idle.collect();
        if idle.len() > CANDIDATES {
            idle.select_nth_unstable_by_key(CANDIDATES, |(_, since)| *since);
            idle.truncate(CANDIDATES);
        }
        idle.sort_unstable_by_key(|(_, since)| std::cmp::Reverse(*since));
        idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(connections: &Arc<Connections>, count: usize) -> (Vec<Arc<Connection>>, Vec<Place>) {
        let connection = |_| {
            let connection = Arc::new(Connection::new());
            let place = connections.add(Arc::clone(&connection));
            (connection, place)
        };
        (0..count).map(connection).unzip()
    }

    /// Which connection is asked to make room.
    async fn asked(connections: &Connections, all: &[Arc<Connection>]) -> Option<usize> {
        connections.make_room();
        for (number, connection) in all.iter().enumerate() {
            if connection.make_room.load(Ordering::Acquire) {
                assert!(connection.ordered().await.make_room);
                return Some(number);
            }
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_idle_for_longest_makes_room_and_never_one_with_a_request_under_way() {
        let connections = Arc::new(Connections::default());
        let (all, _places) = opened(&connections, 3);
        for number in [2, 0, 1] {
            all[number].note_request();
            tokio::time::advance(Duration::from_secs(1)).await;
            all[number].note_answer();
        }
        assert_eq!(asked(&connections, &all).await, Some(2));
        all[2].note_request();
        assert_eq!(asked(&connections, &all).await, Some(0));
        all[0].note_request();
        all[1].set_writing(true);
        assert_eq!(asked(&connections, &all).await, None, "one still writes its answer");
        all[1].set_writing(false);
        assert_eq!(asked(&connections, &all).await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stalls_in_a_body_or_in_an_answer_makes_room_after_a_while() {
        let connections = Arc::new(Connections::default());
        let (all, _places) = opened(&connections, 2);
        all[0].note_request();
        all[0].set_awaiting_body(true);
        all[1].note_request();
        all[1].note_answer();
        all[1].set_writing(true);
        assert_eq!(asked(&connections, &all).await, None);
        tokio::time::advance(STALLED).await;
        all[0].set_awaiting_body(false);
        assert_eq!(asked(&connections, &all).await, Some(1), "a part of the other's body came");
        all[1].set_writing(false);
        all[1].note_request();
        all[0].set_awaiting_body(true);
        assert_eq!(asked(&connections, &all).await, None);
        tokio::time::advance(STALLED).await;
        assert_eq!(asked(&connections, &all).await, Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn of_more_than_are_looked_up_at_a_time_they_still_go_in_order() {
        let connections = Arc::new(Connections::default());
        let (mut all, mut places) = opened(&connections, 3 * CANDIDATES);
        for connection in all.iter().rev() {
            tokio::time::advance(Duration::from_millis(10)).await;
            connection.note_request();
            connection.note_answer();
        }
        while let Some(last) = all.len().checked_sub(1) {
            assert_eq!(asked(&connections, &all).await, Some(last));
            all.pop();
            places.pop();
        }
        assert_eq!(connections.count(), 0);
    }
}
