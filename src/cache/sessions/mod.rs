//! Live sessions in memory: from a token's hash to an identity, in one hash and one look-up.
//!
//! An entry may be used only while nothing that it was read from has been revoked since. Two marks ensure that, both of
//! them numbers of the revocation log: a load takes a [`Ticket`] (the newest number applied) *before* it reads the
//! store,
//! - each shard remembers the newest revocation that hit it, and refuses an insert whose ticket is older, so a load
//!   that began before a revocation cannot put the dead session back;
//! - each user has a slot in a table of newest revocations, and an entry older than that slot is asked for anew.
//!   Users share slots; a collision costs one read. The table is looked at once for each new revocation of a user.
//!
//! Where part of the log was missed, [`Cache::clear`] forgets everything and begins a new epoch; a ticket of an older
//! one is refused, whatever its number.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prefetch_index::prefetch_index;

use self::index::Index;
use crate::domain::clock::Timestamp;
use crate::domain::id::UserId;
use crate::domain::principal::{Identity, LiveSession};
use crate::domain::revocation::{Revocation, Seq};
use crate::domain::session::{Expiry, Lifetimes, Seen, Session};
use crate::domain::token::TokenHash;
use crate::domain::user::User;

mod index;
#[cfg(test)]
pub(crate) mod tests;

const SHARDS: usize = 64;
const USER_MARKS: usize = 1 << 16;
/// How many neighbours are looked at for the one not seen for longest, when a full shard makes room.
const CANDIDATES: usize = 8;
/// How many expired sessions are dropped in one visit to a shard, whose checks wait meanwhile: a few hundred microseconds.
const DROPPED: usize = 4096;

/// The newest number that was applied when a load began. The load is inserted together with it.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    epoch: u64,
    applied: Seq,
}

/// What the cache knows about a token.
#[derive(Debug)]
pub enum Check {
    /// A live session.
    Live {
        /// The user and session that the token stands for.
        identity: Identity,
        /// Set when its idle deadline is near: store that it was seen, at once.
        urgent: Option<Seen>,
    },
    /// Unknown here, or no longer certain: ask the store.
    Ask,
}

/// Three cache lines, and no pointer to follow: with a million sessions the time of a check is that of its misses. Each of the
/// three fields that [`Cache::fetch`] names begins one, or ends the last one.
#[repr(C, align(64))]
struct Entry {
    token_hash: TokenHash,
    /// As stored: a touch counts once it is committed.
    expiry: Expiry,
    seen_at: Timestamp,
    loaded: Seq,
    identity: Identity,
    /// How much later it was seen than the store knows, in milliseconds.
    unstored: u32,
    user_mark: u16,
    remembered: bool,
    /// Whether its last-seen time was already handed out as urgent.
    urgent: bool,
}

impl Entry {
    /// Whether its last-seen time is due to be stored, which is once a flush interval.
    fn is_due(&self, lifetimes: &Lifetimes) -> bool {
        Duration::from_millis(self.unstored.into()) >= lifetimes.of(self.remembered).flush_interval()
    }

    fn seen(&self, lifetimes: &Lifetimes) -> Seen {
        let idle_until = lifetimes.of(self.remembered).idle_until(self.seen_at, self.expiry.absolute);
        Seen { token_hash: self.token_hash, at: self.seen_at, idle_until }
    }
}

#[derive(Default)]
struct Shard {
    /// The places in `entries`, by the prefix of the token's hash: SHA-256 is evenly spread already.
    index: Index,
    entries: Vec<Entry>,
    revoked: Seq,
    /// How often the cache was cleared before anything in here was loaded.
    epoch: u64,
    hand: usize,
}

impl Shard {
    fn find(&self, token: &TokenHash) -> Option<usize> {
        self.index.find(token.prefix(), |place| is_at(&self.entries, place, token))
    }

    fn remove(&mut self, token: &TokenHash) -> Option<Entry> {
        let Self { index, entries, .. } = self;
        let is = |place| is_at(entries, place, token);
        let place = index.remove(token.prefix(), is, |place| prefix_at(entries, place))?;
        // The last entry takes its place.
        let last = entries.len() - 1;
        index.relocate(prefix_at(entries, last), last, place);
        Some(entries.swap_remove(place))
    }

    fn push(&mut self, entry: Entry) {
        let Self { index, entries, .. } = self;
        index.insert(entry.token_hash.prefix(), entries.len(), |place| prefix_at(entries, place));
        entries.push(entry);
    }

    /// Makes room by dropping, of a few neighbours, the one not seen for longest.
    fn evict(&mut self) -> Option<Entry> {
        let count = self.entries.len();
        let oldest = (0..CANDIDATES.min(count))
            .map(|step| (self.hand + step) % count)
            .min_by_key(|&at| self.entries.get(at).map(|entry| entry.seen_at))?;
        self.hand = (self.hand + CANDIDATES) % count;
        let token = self.entries.get(oldest)?.token_hash;
        self.remove(&token)
    }
}

/// The cache. Cheap to share, never blocked on anything but a short lock on one of 64 shards.
pub struct Cache {
    shards: Box<[Mutex<Shard>]>,
    user_marks: Box<[AtomicI64]>,
    /// The newest number in `user_marks`.
    newest_mark: AtomicI64,
    applied: AtomicI64,
    epoch: AtomicU64,
    per_shard: usize,
    /// How many sessions are kept, so that they can be counted without a lock.
    kept: AtomicUsize,
    evicted: AtomicU64,
    lifetimes: Lifetimes,
}

impl Cache {
    /// An empty cache of at most `entries` sessions, give or take their uneven spread over shards.
    pub fn new(entries: usize, lifetimes: Lifetimes) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            user_marks: (0..USER_MARKS).map(|_| AtomicI64::default()).collect(),
            newest_mark: AtomicI64::default(),
            applied: AtomicI64::default(),
            epoch: AtomicU64::default(),
            per_shard: entries.div_ceil(SHARDS).clamp(1, index::MOST),
            kept: AtomicUsize::default(),
            evicted: AtomicU64::default(),
            lifetimes,
        }
    }

    /// Has the processor fetch the session of a token into its caches, if it is here, while the caller does something else
    /// before it [checks](Self::check) that token. It decides nothing.
    pub fn fetch(&self, token: &TokenHash) {
        let Some(shard) = self.shard(token) else { return };
        let shard = shard.lock();
        let Some(entry) = shard.index.find(token.prefix(), |_| true).and_then(|at| shard.entries.get(at)) else {
            return;
        };
        // A line each, none of which is waited for.
        prefetch_index(std::slice::from_ref(&entry.token_hash), 0);
        prefetch_index(std::slice::from_ref(&entry.identity), 0);
        prefetch_index(std::slice::from_ref(&entry.unstored), 0);
    }

    /// Looks a token up at `now`, and records that it was seen.
    pub fn check(&self, token: &TokenHash, now: Timestamp) -> Check {
        let Some(shard) = self.shard(token) else { return Check::Ask };
        let mut shard = shard.lock();
        let Some(entry) = shard.find(token).and_then(|at| shard.entries.get_mut(at)) else { return Check::Ask };
        // Taken before the user's own mark, so that what it skips is no newer than what was looked at.
        let newest_mark = Seq(self.newest_mark.load(Ordering::Acquire));
        let outdated = newest_mark > entry.loaded && self.user_mark(entry.user_mark) > entry.loaded;
        entry.loaded = entry.loaded.max(newest_mark);
        if outdated || entry.expiry.over(now) {
            // Only the stored deadline decides, and another process may have moved it: ask, do not refuse.
            self.remove(&mut shard, token);
            return Check::Ask;
        }
        entry.unstored = entry.unstored.saturating_add(elapsed(entry.seen_at, now));
        entry.seen_at = entry.seen_at.max(now);
        let near = self.lifetimes.of(entry.remembered).flush_interval() * 2;
        let urgent = !entry.urgent && entry.expiry.idle < entry.expiry.absolute && entry.expiry.idle.since(now) < near;
        entry.urgent |= urgent;
        let urgent = urgent.then(|| entry.seen(&self.lifetimes));
        Check::Live { identity: entry.identity.clone(), urgent }
    }

    /// Returns a ticket, which a load must take before it reads the store.
    pub fn ticket(&self) -> Ticket {
        // The epoch first: with a new one the number it began with is seen, too.
        let epoch = self.epoch.load(Ordering::Acquire);
        Ticket { epoch, applied: Seq(self.applied.load(Ordering::Acquire)) }
    }

    /// Keeps what was loaded, unless something was revoked since `ticket` that it might not reflect. Returns a
    /// last-seen time to be stored: that of the session that was evicted, if it is due, or that of this one if it was
    /// not kept.
    pub fn insert(
        &self,
        token: TokenHash,
        session: &Session,
        user: &User,
        now: Timestamp,
        ticket: Ticket,
    ) -> (Identity, Option<Seen>) {
        let identity = Identity::new(user, session.id);
        let entry = Entry {
            token_hash: token,
            identity: identity.clone(),
            expiry: session.expiry,
            seen_at: now,
            loaded: ticket.applied,
            user_mark: mark_of(user.id),
            remembered: session.remembered,
            unstored: elapsed(session.last_seen_at, now),
            urgent: false,
        };
        let Some(shard) = self.shard(&token) else { return (identity, None) };
        let mut shard = shard.lock();
        if shard.epoch != ticket.epoch || shard.revoked > ticket.applied {
            return (identity, (entry.unstored > 0).then(|| entry.seen(&self.lifetimes)));
        }
        let kept = shard.entries.len();
        shard.remove(&token);
        let evicted = if shard.entries.len() >= self.per_shard { shard.evict() } else { None };
        shard.push(entry);
        self.recount(kept, shard.entries.len());
        drop(shard);
        if evicted.is_some() {
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        (identity, evicted.filter(|entry| entry.is_due(&self.lifetimes)).map(|entry| entry.seen(&self.lifetimes)))
    }

    /// Keeps a session that was read ahead of its first check, and which does not count as seen. It is not kept if it is here
    /// already, if nothing but an eviction would make room for it, or if something was revoked since `ticket` that it might
    /// not reflect. Returns whether it was kept.
    pub fn keep_ahead(&self, live: LiveSession, ticket: Ticket) -> bool {
        let LiveSession { token_hash, identity, last_seen_at, expiry, remembered } = live;
        let Some(shard) = self.shard(&token_hash) else { return false };
        let user_mark = mark_of(identity.user_id());
        let mut shard = shard.lock();
        let current = shard.epoch == ticket.epoch && shard.revoked <= ticket.applied;
        if !current || shard.entries.len() >= self.per_shard || shard.find(&token_hash).is_some() {
            return false;
        }
        shard.push(Entry {
            token_hash,
            identity,
            expiry,
            seen_at: last_seen_at,
            loaded: ticket.applied,
            user_mark,
            remembered,
            unstored: 0,
            urgent: false,
        });
        self.recount(0, 1);
        true
    }

    /// Whether there is room for a session without an eviction, in some shard at least.
    pub fn has_room(&self) -> bool {
        self.shards.iter().any(|shard| shard.lock().entries.len() < self.per_shard)
    }

    /// How often it was cleared.
    pub fn clears(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Applies an entry of the revocation log. Entries come in the order of their numbers.
    pub fn apply(&self, revocation: &Revocation) {
        let Revocation { seq, sessions, users, flush: _ } = revocation;
        for token in sessions {
            if let Some(shard) = self.shard(token) {
                let mut shard = shard.lock();
                shard.revoked = *seq;
                self.remove(&mut shard, token);
            }
        }
        for user in users {
            if let Some(mark) = self.user_marks.get(usize::from(mark_of(*user))) {
                mark.fetch_max(seq.0, Ordering::AcqRel);
            }
        }
        if !users.is_empty() {
            self.newest_mark.fetch_max(seq.0, Ordering::AcqRel);
        }
        // Last: a ticket with this number may rely on all of the above.
        self.applied.fetch_max(seq.0, Ordering::AcqRel);
    }

    /// Drops every entry and goes on from `seq`, which may be less than what was applied: whatever is read from now on
    /// reflects all revocations up to it. Loads under way are not kept. Last-seen times that were not stored yet are
    /// lost, so that some sessions seem idle for longer than they are, by up to a flush interval.
    ///
    /// It must not run at the same time as itself or [`Self::apply`].
    pub fn clear(&self, seq: Seq) {
        let epoch = self.epoch.load(Ordering::Acquire).wrapping_add(1);
        for shard in &self.shards {
            let old = std::mem::replace(&mut *shard.lock(), Shard { epoch, ..Shard::default() });
            self.recount(old.entries.len(), 0);
            // A million entries are dropped outside the lock.
            drop(old);
        }
        // Only once no entry is left that they guard. Numbers above `seq` are about to be assigned again.
        for mark in &self.user_marks {
            mark.store(0, Ordering::Release);
        }
        self.newest_mark.store(0, Ordering::Release);
        self.applied.store(seq.0, Ordering::Release);
        // Last: a ticket of this epoch may rely on all of the above.
        self.epoch.store(epoch, Ordering::Release);
    }

    /// Drops every entry and keeps none from now on.
    pub fn abandon(&self) {
        for shard in &self.shards {
            let old = std::mem::replace(&mut *shard.lock(), Shard { revoked: Seq(i64::MAX), ..Shard::default() });
            self.recount(old.entries.len(), 0);
        }
    }

    /// Records that last-seen times are stored, and the new idle deadlines of those sessions that were live in the
    /// store.
    pub fn touched(&self, seen: &[Seen], deadlines: &[(TokenHash, Timestamp)]) {
        for Seen { token_hash, at, idle_until: _ } in seen {
            self.with_entry(token_hash, |entry| entry.unstored = entry.unstored.min(elapsed(*at, entry.seen_at)));
        }
        for (token, idle) in deadlines {
            self.with_entry(token, |entry| {
                entry.expiry.idle = *idle;
                entry.urgent = false;
            });
        }
    }

    fn with_entry<T>(&self, token: &TokenHash, work: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut shard = self.shard(token)?.lock();
        let at = shard.find(token)?;
        shard.entries.get_mut(at).map(work)
    }

    /// The last-seen times of these sessions that are known here and not stored yet.
    pub fn unstored(&self, sessions: &[TokenHash]) -> Vec<Seen> {
        let seen = |entry: &mut Entry| (entry.unstored > 0).then(|| entry.seen(&self.lifetimes));
        sessions.iter().filter_map(|token| self.with_entry(token, seen).flatten()).collect()
    }

    /// The number of shards, each of which can be [visited](Self::visit).
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Drops what has expired from one shard, and returns the last-seen times that are due to be stored, those of what it drops
    /// included. The others stay due until [`Self::touched`] is called.
    pub fn visit(&self, shard: usize, now: Timestamp) -> Vec<Seen> {
        let Some(shard) = self.shards.get(shard) else { return Vec::new() };
        let mut shard = shard.lock();
        let (mut due, mut expired) = (Vec::new(), Vec::new());
        for entry in &shard.entries {
            if entry.is_due(&self.lifetimes) {
                due.push(entry.seen(&self.lifetimes));
            }
            if entry.expiry.over(now) && expired.len() < DROPPED {
                expired.push(entry.token_hash);
            }
        }
        for token in &expired {
            self.remove(&mut shard, token);
        }
        due
    }

    /// How many sessions are kept. Takes no lock.
    pub fn len(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// How many sessions are kept at most.
    pub fn capacity(&self) -> usize {
        self.per_shard.saturating_mul(SHARDS)
    }

    /// How many sessions were dropped to make room for others.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    fn remove(&self, shard: &mut Shard, token: &TokenHash) {
        if shard.remove(token).is_some() {
            self.recount(1, 0);
        }
    }

    /// Takes into account that of some sessions a different number is kept now.
    fn recount(&self, before: usize, after: usize) {
        // It wraps where there are fewer, which is what a subtraction is.
        self.kept.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, token: &TokenHash) -> Option<&Mutex<Shard>> {
        // The index of a shard uses the lower half and the highest eight bits.
        let upper = (token.prefix() >> 32) % SHARDS as u64;
        usize::try_from(upper).ok().and_then(|at| self.shards.get(at))
    }

    fn user_mark(&self, mark: u16) -> Seq {
        Seq(self.user_marks.get(usize::from(mark)).map_or(i64::MAX, |mark| mark.load(Ordering::Acquire)))
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("applied", &self.applied).finish_non_exhaustive()
    }
}

/// Whether the session of this token is at a place.
fn is_at(entries: &[Entry], place: usize, token: &TokenHash) -> bool {
    entries.get(place).is_some_and(|entry| entry.token_hash == *token)
}

/// The prefix of the token's hash of the session at a place.
fn prefix_at(entries: &[Entry], place: usize) -> u64 {
    entries.get(place).map_or(0, |entry| entry.token_hash.prefix())
}

fn elapsed(from: Timestamp, to: Timestamp) -> u32 {
    u32::try_from(to.since(from).as_millis()).unwrap_or(u32::MAX)
}

fn mark_of(user: UserId) -> u16 {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(user);
    u16::try_from(hash % USER_MARKS as u64).unwrap_or_default()
}
