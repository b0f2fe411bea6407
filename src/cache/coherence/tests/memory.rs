//! A small store in memory that many processes share, and that can be made to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::ms;
use crate::domain::clock::Timestamp;
use crate::domain::entropy::SystemEntropy;
use crate::domain::id::ReplicaId;
use crate::domain::revocation::{Revocation, Seq};
use crate::domain::session::Seen;
use crate::domain::token::TokenHash;
use crate::store::replicas::{MadeDurable, News};
use crate::store::{Replica, Replicas, Result, StoreError};

/// How long every call takes.
pub(super) const ROUND_TRIP: Duration = Duration::from_millis(2);

/// The shared state: rows, a log, and hints.
pub(super) struct Memory {
    state: Mutex<State>,
    pub(super) hint: Notify,
}

impl Default for Memory {
    fn default() -> Self {
        Self { state: Mutex::new(State { timeline: 1, ..State::default() }), hint: Notify::default() }
    }
}

#[derive(Default)]
pub(super) struct State {
    pub(super) rows: BTreeMap<ReplicaId, (i64, Seq)>,
    /// Those of them that answer no check from memory.
    pub(super) uncached: BTreeSet<ReplicaId>,
    pub(super) log: Vec<Revocation>,
    pub(super) head: Seq,
    /// Which history this is.
    pub(super) timeline: u32,
    /// Whether every call fails.
    pub(super) down: bool,
    /// How long a beat takes, and whatever else waits for a commit. From half a second on it fails, and its outcome is unknown.
    pub(super) slow: Duration,
    /// Whether a registration succeeds in the store and is answered with an error.
    pub(super) mute: bool,
    /// How many entries one read returns.
    pub(super) page: Option<usize>,
    /// How often it was read.
    pub(super) reads: usize,
    pub(super) beats: usize,
    pub(super) acknowledged: usize,
    pub(super) made_durable: usize,
    /// The last-seen times that were stored.
    pub(super) touched: Vec<Seen>,
    /// How storing last-seen times fails.
    pub(super) touch: Touch,
}

/// How storing last-seen times goes.
#[derive(Clone, Copy, Default)]
pub(super) enum Touch {
    #[default]
    Works,
    Fails,
    Hangs,
}

impl State {
    fn news(&self, after: Seq) -> News {
        let later = self.log.iter().filter(|entry| entry.seq > after).take(self.page.unwrap_or(usize::MAX));
        let replicas = self.rows.iter().map(|(id, (beat, applied))| Replica {
            id: *id,
            beat: *beat,
            applied: *applied,
            caching: !self.uncached.contains(id),
        });
        News {
            timeline: self.timeline,
            head: self.head,
            revocations: later.cloned().collect(),
            replicas: replicas.collect(),
        }
    }
}

impl Memory {
    /// Commits a revocation, without a hint.
    pub(super) fn revoke(&self, token: TokenHash) -> Seq {
        self.append(Revocation { sessions: vec![token], ..Revocation::default() })
    }

    /// Asks for last-seen times, without a hint.
    pub(super) fn ask(&self, tokens: Vec<TokenHash>) -> Seq {
        self.append(Revocation { flush: tokens, ..Revocation::default() })
    }

    fn append(&self, entry: Revocation) -> Seq {
        let mut state = self.state.lock();
        state.head.0 += 1;
        let seq = state.head;
        state.log.push(Revocation { seq, ..entry });
        seq
    }

    pub(super) fn revoke_times(&self, times: usize, token: TokenHash) {
        for _ in 0..times {
            self.revoke(token);
        }
    }

    pub(super) fn set<T>(&self, change: impl FnOnce(&mut State) -> T) {
        change(&mut self.state.lock());
    }

    pub(super) fn get<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.lock())
    }

    async fn call<T>(&self, work: impl FnOnce(&mut State) -> T) -> Result<T> {
        sleep(ROUND_TRIP).await;
        let mut state = self.state.lock();
        if state.down { Err(StoreError::unreachable("down")) } else { Ok(work(&mut state)) }
    }

    /// Adds the row of a process that is not part of the test.
    pub(super) fn stranger(&self, applied: Seq) -> ReplicaId {
        let id = ReplicaId::random(&SystemEntropy).expect("entropy");
        self.set(|state| state.rows.insert(id, (0, applied)));
        id
    }

    pub(super) fn has(&self, row: ReplicaId) -> bool {
        self.get(|state| state.rows.contains_key(&row))
    }
}

#[async_trait]
impl Replicas for Memory {
    async fn register(&self, id: ReplicaId, caching: bool) -> Result<Seq> {
        let head = self.call(|state| {
            state.rows.insert(id, (0, state.head));
            state.uncached.extend((!caching).then_some(id));
            (!state.mute).then_some(state.head)
        });
        head.await?.ok_or_else(|| StoreError::too_slow("late"))
    }

    async fn beat(&self, id: ReplicaId, applied: Seq) -> Result<Option<News>> {
        let slow = self.get(|state| state.slow);
        let answer = self.call(|state| {
            state.beats += 1;
            let (beat, stored) = state.rows.get_mut(&id)?;
            (*beat, *stored) = (*beat + 1, applied);
            Some(state.news(applied))
        });
        let answer = answer.await;
        sleep(slow).await;
        if slow >= ms(500) { Err(StoreError::too_slow("late")) } else { answer }
    }

    async fn news(&self, applied: Seq) -> Result<News> {
        self.call(|state| {
            state.reads += 1;
            state.news(applied)
        })
        .await
    }

    async fn acknowledge(&self, id: ReplicaId, applied: Seq) -> Result<()> {
        self.call(|state| {
            state.acknowledged += 1;
            if let Some((_, stored)) = state.rows.get_mut(&id) {
                *stored = applied;
            }
        })
        .await
    }

    async fn touch(&self, seen: Vec<Seen>) -> Result<Vec<(TokenHash, Timestamp)>> {
        match self.get(|state| state.touch) {
            Touch::Works => {}
            Touch::Fails => return Err(StoreError::unreachable("down")),
            Touch::Hangs => std::future::pending().await,
        }
        self.call(|state| {
            state.touched.extend(&seen);
            seen.iter().map(|seen| (seen.token_hash, seen.idle_until)).collect()
        })
        .await
    }

    async fn make_durable(&self, seq: Seq) -> Result<MadeDurable> {
        let slow = self.get(|state| state.slow);
        let answer = self.call(|state| {
            state.made_durable += 1;
            let has_entry = state.log.iter().any(|entry| entry.seq == seq);
            MadeDurable { timeline: state.timeline, has_entry }
        });
        let answer = answer.await;
        sleep(slow).await;
        if slow >= ms(500) { Err(StoreError::too_slow("late")) } else { answer }
    }

    async fn reap(&self, replica: Replica) -> Result<()> {
        self.call(|state| state.rows.retain(|id, (beat, _)| *id != replica.id || *beat != replica.beat)).await
    }

    async fn deregister(&self, id: ReplicaId) -> Result<()> {
        self.call(|state| state.rows.remove(&id)).await.map(|_| ())
    }

    async fn hint(&self) {
        self.hint.notified().await;
    }
}
