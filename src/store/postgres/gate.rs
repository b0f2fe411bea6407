//! The only way to a new connection. While the database is known to be down, one attempt is under way at a time, with
//! pauses between, and every other request for a connection is refused at once, so that a flood of checks does not make
//! for more attempts. Each attempt resolves a host's name once, and once more where that leads to no primary, so name
//! servers are spared, too.
//!
//! Only opening is refused. Connections that are open stay in use, so that a refusal such as "too many clients" affects
//! only requests that need another one.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{AcquireError, Semaphore, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::super::{Result, StoreError};
use super::address::Address;
use super::connection::{Connection, NotOpened, Warnings};
use super::deadline::DEADLINE;
use crate::domain::entropy::{Entropy as _, SystemEntropy};

/// How many may be opened at once while the database is there.
const AT_ONCE: usize = 4;
/// The longest first pause, and the longest of all. With the latter, a database that is back is found within a second.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(800);
/// A database that is down again sooner than this counts as the same outage, so pauses are as long as they were.
const LASTING: Duration = Duration::from_secs(10);

/// Pauses between attempts: twice as long each time, and of each a random part, so that many processes do not come back
/// all at once.
#[derive(Debug, Default)]
pub(super) struct Backoff(u32);

impl Backoff {
    /// How long to wait before the next attempt.
    pub(super) fn pause(&mut self) -> Duration {
        let most = FIRST_PAUSE.saturating_mul(1 << self.0.min(16)).min(LONGEST_PAUSE);
        self.0 = self.0.saturating_add(1);
        let mut random = [0; 2];
        // Without randomness it is the whole of it.
        let part = SystemEntropy.fill(&mut random).map_or(u16::MAX, |()| u16::from_ne_bytes(random));
        most.saturating_mul(u32::from(part)) / u32::from(u16::MAX)
    }
}

/// The only way to a new connection, as the module's documentation says.
pub(super) struct Gate {
    pub(super) address: Address,
    pub(super) warnings: Arc<Warnings>,
    turns: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Why no connection can be opened, while the database is down.
    down: Option<StoreError>,
    backoff: Backoff,
    /// When it was last found to be back.
    up: Option<Instant>,
    /// The connection by which an attempt found the database back, for the next request.
    spare: Option<Connection>,
    recovery: Option<AbortHandle>,
    closed: bool,
}

impl Gate {
    /// Opens nothing yet.
    pub(super) fn new(address: Address) -> Arc<Self> {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Arc::new(Self { address, warnings: Arc::default(), turns, state: Mutex::default() })
    }

    /// Opens a connection, unless the database is known to be down.
    pub(super) async fn open(self: &Arc<Self>) -> Result<Connection> {
        if let Some(spare) = self.pass().await? {
            return Ok(spare);
        }
        let closed = |_: AcquireError| closed();
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(closed)?;
        // An earlier attempt may have found out meanwhile.
        if let Some(spare) = self.pass().await? {
            return Ok(spare);
        }
        let (this, (reply, opened)) = (Arc::clone(self), oneshot::channel());
        #[expect(clippy::disallowed_methods, reason = "ends at its deadline, even if its caller is cancelled sooner")]
        tokio::spawn(async move {
            let _turn = turn;
            let attempt = this.attempt().await.map_err(|NotOpened { error, .. }| error);
            if let Err(error) = &attempt {
                this.lost(error.clone());
            }
            if let Err(Ok(unwanted)) = reply.send(attempt) {
                this.keep(unwanted);
            }
        });
        opened.await.map_err(|_| StoreError::unreachable("a connection's task has ended"))?
    }

    /// Opens a connection, even if the database is known to be down.
    pub(super) async fn attempt(&self) -> std::result::Result<Connection, NotOpened> {
        match timeout(DEADLINE, Connection::open(&self.address, &self.warnings)).await {
            Ok(opened) => opened,
            Err(_) => Err(NotOpened::new(StoreError::too_slow(format!("no connection within {DEADLINE:?}")), true)),
        }
    }

    /// Drops the connection that is kept, since another server is the primary now.
    pub(super) fn forget(&self) {
        self.state.lock().spare = None;
        self.distrust_poolers();
    }

    /// Has the next connection to each host checked for a pooler again.
    pub(super) fn distrust_poolers(&self) {
        self.address.hosts.iter().for_each(|host| host.processes.forget());
    }

    /// Opens nothing any more.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        (state.closed, state.spare) = (true, None);
        if let Some(recovery) = state.recovery.take() {
            recovery.abort();
        }
    }

    /// Refuses while the database is known to be down. Returns the connection that is kept, if there is one.
    async fn pass(&self) -> Result<Option<Connection>> {
        let spare = {
            let mut state = self.state.lock();
            if state.closed {
                return Err(closed());
            }
            match &state.down {
                Some(why) => return Err(why.clone()),
                None => state.spare.take(),
            }
        };
        let Some(mut spare) = spare else { return Ok(None) };
        Ok(spare.lives().await.then_some(spare))
    }

    /// Keeps a connection that is not needed, for the next request.
    pub(super) fn keep(&self, unwanted: Connection) {
        let mut state = self.state.lock();
        if !state.closed {
            state.spare = Some(unwanted);
        }
    }

    /// Records that the database is down, and starts the task that finds out when it is back.
    fn lost(self: &Arc<Self>, why: StoreError) {
        let mut state = self.state.lock();
        if state.closed || state.down.replace(why).is_some() {
            return;
        }
        if state.up.is_none_or(|up| up.elapsed() > LASTING) {
            state.backoff = Backoff::default();
        }
        #[expect(clippy::disallowed_methods, reason = "ends when it has found a way in, or this is closed or gone")]
        let task = tokio::spawn(recover(Arc::downgrade(self)));
        state.recovery = Some(task.abort_handle());
    }
}

/// Tries until there is a connection again.
async fn recover(gate: Weak<Gate>) {
    let mut begun = Instant::now();
    loop {
        let Some(pause) = gate.upgrade().map(|gate| gate.state.lock().backoff.pause()) else { return };
        // The pause counts from the beginning of the last attempt, since one that hung was a pause itself.
        sleep_until(begun + pause).await;
        let Some(gate) = gate.upgrade() else { return };
        begun = Instant::now();
        let attempt = gate.attempt().await;
        let mut state = gate.state.lock();
        match attempt {
            Ok(connection) => {
                (state.down, state.up, state.recovery) = (None, Some(Instant::now()), None);
                state.spare = (!state.closed).then_some(connection);
                return;
            }
            Err(NotOpened { error, .. }) => state.down = Some(error),
        }
    }
}

fn closed() -> StoreError {
    StoreError::unreachable("the store is closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_less_than_a_second_and_differ() {
        let mut firsts = std::collections::HashSet::new();
        for _ in 0..100 {
            let mut backoff = Backoff::default();
            for most in [50, 100, 200, 400, 800, 800, 800] {
                assert!(backoff.pause() <= Duration::from_millis(most));
            }
            firsts.insert(Backoff::default().pause());
        }
        assert!(firsts.len() > 50, "{firsts:?}");
        let mean = (0..1000).fold(Duration::ZERO, |sum, _| sum + Backoff(30).pause()) / 1000;
        assert!((300..500).contains(&mean.as_millis()), "{mean:?}");
    }
}
