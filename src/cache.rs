//! Live sessions in memory: from a token's hash to an identity, in one hash and one look-up.
//!
//! An entry may be used only while nothing that it was read from has been revoked since. Two marks see to that, both
//! numbers of the revocation log: a load takes a [`Ticket`] (the newest number applied) *before* it reads the store,
//! - each shard remembers the newest revocation that hit it, and refuses an insert whose ticket is older, so a load
//!   that began before a revocation cannot put the dead session back;
//! - each user has a slot in a table of newest revocations, and an entry older than that slot is asked for anew.
//!   Users share slots; a collision costs one read. The table is looked at once for each new revocation of a user.
//!
//! Where part of the log was missed, [`Cache::clear`] forgets everything and begins a new epoch; a ticket of an older
//! one is refused, whatever its number.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use self::index::{Index, MOST};
use crate::domain::clock::Timestamp;
use crate::domain::id::UserId;
use crate::domain::principal::Identity;
use crate::domain::revocation::{Revocation, Seq};
use crate::domain::session::{Expiry, Lifetimes, Seen, Session};
use crate::domain::token::TokenHash;
use crate::domain::user::User;

mod index;

const SHARDS: usize = 64;
const USER_MARKS: usize = 1 << 16;
/// How many neighbours are looked at for the one not seen for longest, when a full shard makes room.
const CANDIDATES: usize = 8;

/// Taken before a load, handed in with what was loaded.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    epoch: u64,
    applied: Seq,
}

/// What memory says of a token.
#[derive(Debug)]
pub enum Check {
    /// A live session.
    Live {
        /// Whose.
        identity: Identity,
        /// Set when its idle deadline is near: store that it was seen, at once.
        urgent: Option<Seen>,
    },
    /// Unknown here, or no longer certain: ask the store.
    Ask,
}

/// Three cache lines, and no pointer to follow: with a million sessions the time of a check is that of its misses. The
/// first line is what decides, the others are what is told.
#[repr(C, align(64))]
struct Entry {
    token_hash: TokenHash,
    /// As stored: a touch counts once it is committed.
    expiry: Expiry,
    seen_at: Timestamp,
    loaded: Seq,
    /// How much later it was seen than the store knows, in milliseconds.
    unstored: u32,
    user_mark: u16,
    remembered: bool,
    /// Already handed out as urgent.
    urgent: bool,
    identity: Identity,
}

impl Entry {
    /// Whether the store should hear when it was last seen: once a flush interval is often enough.
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
    index: Index,
    entries: Vec<Entry>,
    revoked: Seq,
    /// How often the cache was cleared before anything in here was loaded.
    epoch: u64,
    hand: usize,
}

impl Shard {
    fn find(&self, token: &TokenHash) -> Option<usize> {
        let same = |at: u32| self.entries.get(at as usize).is_some_and(|entry| entry.token_hash == *token);
        self.index.find(hash(token), same).map(|at| at as usize)
    }

    fn remove(&mut self, token: &TokenHash) -> Option<Entry> {
        let at = self.find(token)?;
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let entries = &self.entries;
        self.index.remove(hash(token), place(at), |at| hash_at(entries, at));
        let removed = self.entries.swap_remove(at);
        if let Some(moved) = self.entries.get(at) {
            self.index.moved(hash(&moved.token_hash), place(self.entries.len()), place(at));
        }
        Some(removed)
    }

    fn push(&mut self, entry: Entry) {
        let Ok(at) = u32::try_from(self.entries.len()) else { return };
        let entries = &self.entries;
        self.index.insert(hash(&entry.token_hash), at, |at| hash_at(entries, at));
        self.entries.push(entry);
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
            per_shard: entries.div_ceil(SHARDS).clamp(1, MOST),
            lifetimes,
        }
    }

    /// Asks memory about a token at `now`, and notes that it was seen.
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
            shard.remove(token);
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

    /// To be taken before the store is read.
    pub fn ticket(&self) -> Ticket {
        // The epoch first: whoever sees a new one also sees the number it began with.
        let epoch = self.epoch.load(Ordering::Acquire);
        Ticket { epoch, applied: Seq(self.applied.load(Ordering::Acquire)) }
    }

    /// Keeps what was loaded, unless something was revoked since `ticket` that it might not show.
    /// Returns a last-seen time that the store should hear of: of the session that made room if it is due, or of this one
    /// if it was not kept.
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
        shard.remove(&token);
        let evicted = if shard.entries.len() >= self.per_shard { shard.evict() } else { None };
        shard.push(entry);
        drop(shard);
        (identity, evicted.filter(|entry| entry.is_due(&self.lifetimes)).map(|entry| entry.seen(&self.lifetimes)))
    }

    /// Applies an entry of the revocation log. Entries come in the order of their numbers.
    pub fn forget(&self, revocation: &Revocation) {
        let Revocation { seq, sessions, users, flush: _ } = revocation;
        for token in sessions {
            if let Some(shard) = self.shard(token) {
                let mut shard = shard.lock();
                shard.revoked = *seq;
                shard.remove(token);
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

    /// Forgets everything and goes on from `seq`, which may be less than what was applied: all that was revoked up to it
    /// shows in whatever is read from now on. Loads under way are not kept. The last-seen times that the store was not
    /// told of are lost, so that some sessions seem idler than they are, by a flush interval.
    ///
    /// One caller at a time, and not beside [`Self::forget`].
    pub fn clear(&self, seq: Seq) {
        let epoch = self.epoch.load(Ordering::Acquire).wrapping_add(1);
        for shard in &self.shards {
            let old = std::mem::replace(&mut *shard.lock(), Shard { epoch, ..Shard::default() });
            // A million sessions are not put away under a lock.
            drop(old);
        }
        // Only once no entry is left that they guard. Numbers above `seq` are about to be given out again.
        for mark in &self.user_marks {
            mark.store(0, Ordering::Release);
        }
        self.newest_mark.store(0, Ordering::Release);
        self.applied.store(seq.0, Ordering::Release);
        // Last: a ticket of this epoch may rely on all of the above.
        self.epoch.store(epoch, Ordering::Release);
    }

    /// Forgets everything and keeps nothing from now on.
    pub fn abandon(&self) {
        for shard in &self.shards {
            *shard.lock() = Shard { revoked: Seq(i64::MAX), ..Shard::default() };
        }
    }

    /// Notes that the store was told of last-seen times, and the idle deadlines of those sessions that were live there.
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

    /// When these sessions were last seen, as far as they are known here and the store does not know it.
    pub fn unstored(&self, sessions: &[TokenHash]) -> Vec<Seen> {
        let seen = |entry: &mut Entry| (entry.unstored > 0).then(|| entry.seen(&self.lifetimes));
        sessions.iter().filter_map(|token| self.with_entry(token, seen).flatten()).collect()
    }

    /// How many shards there are to ask for what is [`Self::due`].
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// The last-seen times of one shard that the store should hear of, until it has: see [`Self::touched`].
    pub fn due(&self, shard: usize) -> Vec<Seen> {
        let Some(shard) = self.shards.get(shard) else { return Vec::new() };
        let shard = shard.lock();
        let due = shard.entries.iter().filter(|entry| entry.is_due(&self.lifetimes));
        due.map(|entry| entry.seen(&self.lifetimes)).collect()
    }

    /// How many sessions are kept.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().entries.len()).sum()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, token: &TokenHash) -> Option<&Mutex<Shard>> {
        // The index inside a shard uses the lower half.
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

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is meant")]
fn hash(token: &TokenHash) -> u32 {
    token.prefix() as u32
}

fn hash_at(entries: &[Entry], at: u32) -> u32 {
    entries.get(at as usize).map_or(0, |entry| hash(&entry.token_hash))
}

fn elapsed(from: Timestamp, to: Timestamp) -> u32 {
    u32::try_from(to.since(from).as_millis()).unwrap_or(u32::MAX)
}

fn mark_of(user: UserId) -> u16 {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(user);
    u16::try_from(hash % USER_MARKS as u64).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::entropy::SystemEntropy;
    use crate::domain::id::SessionId;
    use crate::domain::session::{Client, Lifetime};
    use crate::domain::text::{Name, Username};

    const LIFE: Lifetime = Lifetime { idle: Duration::from_secs(1000), absolute: Duration::from_secs(100_000) };
    pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

    pub(crate) fn cache(entries: usize) -> Cache {
        Cache::new(entries, Lifetimes { plain: LIFE, remembered: LIFE })
    }

    pub(crate) fn user() -> User {
        User {
            id: UserId::random(&SystemEntropy).expect("entropy"),
            username: Username::new("ann").expect("fit"),
            email: None,
            name: Name::new("Ann").expect("fit"),
            admin: false,
            disabled_at: None,
            created_at: NOW,
            updated_at: NOW,
        }
    }

    fn session(user: &User) -> Session {
        Session {
            id: SessionId::random(&SystemEntropy).expect("entropy"),
            user_id: user.id,
            created_at: NOW,
            last_seen_at: NOW,
            expiry: LIFE.begin(NOW),
            remembered: false,
            client: Client::default(),
        }
    }

    fn token(number: u64) -> TokenHash {
        use sha2::Digest as _;
        TokenHash::from_bytes(sha2::Sha256::digest(number.to_le_bytes()).into())
    }

    fn live(cache: &Cache, token: &TokenHash, now: Timestamp) -> bool {
        matches!(cache.check(token, now), Check::Live { .. })
    }

    pub(crate) fn keep(cache: &Cache, token: TokenHash, user: &User) {
        cache.insert(token, &session(user), user, NOW, cache.ticket());
    }

    #[test]
    fn an_entry_is_three_cache_lines() {
        assert_eq!(size_of::<Entry>(), 192);
    }

    #[test]
    fn a_revoked_session_is_forgotten_and_its_neighbours_are_not() {
        let (cache, user) = (cache(1000), user());
        (0..100).for_each(|n| keep(&cache, token(n), &user));
        cache.forget(&Revocation { seq: Seq(1), sessions: vec![token(7)], ..Revocation::default() });
        for n in 0..100 {
            assert_eq!(live(&cache, &token(n), NOW), n != 7, "{n}");
        }
    }

    #[test]
    fn a_load_that_began_before_a_revocation_cannot_put_the_session_back() {
        let (cache, user) = (cache(1000), user());
        let ticket = cache.ticket();
        cache.forget(&Revocation { seq: Seq(1), sessions: vec![token(7)], ..Revocation::default() });
        cache.insert(token(7), &session(&user), &user, NOW, ticket);
        assert!(!live(&cache, &token(7), NOW));
    }

    #[test]
    fn an_abandoned_cache_knows_nobody_and_keeps_nobody() {
        let (cache, user) = (cache(1000), user());
        keep(&cache, token(1), &user);
        cache.abandon();
        keep(&cache, token(2), &user);
        assert!(!live(&cache, &token(1), NOW) && !live(&cache, &token(2), NOW));
    }

    #[test]
    fn a_cleared_cache_knows_nobody_and_keeps_what_is_loaded_later() {
        let (cache, user) = (cache(1000), user());
        (0..100).for_each(|n| keep(&cache, token(n), &user));
        cache.clear(Seq(5));
        assert!(cache.is_empty() && (0..100).all(|n| !live(&cache, &token(n), NOW)));
        keep(&cache, token(1), &user);
        assert!(live(&cache, &token(1), NOW));
    }

    #[test]
    fn a_load_across_a_clear_is_not_kept() {
        let (cache, user) = (cache(1000), user());
        let before = cache.ticket();
        cache.clear(Seq(5));
        cache.insert(token(1), &session(&user), &user, NOW, before);
        assert!(!live(&cache, &token(1), NOW));
        let between = cache.ticket();
        cache.clear(Seq(5));
        cache.insert(token(1), &session(&user), &user, NOW, between);
        assert!(!live(&cache, &token(1), NOW), "even where the number is the same");
    }

    #[test]
    fn numbers_that_are_given_out_again_revoke_again() {
        let (cache, ann, bob) = (cache(1000), user(), user());
        cache.forget(&Revocation {
            seq: Seq(100),
            sessions: vec![token(1)],
            users: vec![ann.id],
            ..Revocation::default()
        });
        cache.clear(Seq(50));
        keep(&cache, token(1), &ann);
        keep(&cache, token(2), &bob);
        assert!(live(&cache, &token(1), NOW) && live(&cache, &token(2), NOW), "100 was never given out");
        let ticket = cache.ticket();
        cache.forget(&Revocation {
            seq: Seq(51),
            sessions: vec![token(2)],
            users: vec![ann.id],
            ..Revocation::default()
        });
        assert!(!live(&cache, &token(1), NOW) && !live(&cache, &token(2), NOW));
        cache.insert(token(2), &session(&bob), &bob, NOW, ticket);
        assert!(!live(&cache, &token(2), NOW), "a load that began before");
        keep(&cache, token(1), &ann);
        assert!(live(&cache, &token(1), NOW), "a load that began after");
    }

    #[test]
    fn a_load_that_began_before_its_users_revocation_is_not_believed() {
        let (cache, user) = (cache(1000), user());
        let ticket = cache.ticket();
        cache.forget(&Revocation { seq: Seq(1), users: vec![user.id], ..Revocation::default() });
        cache.insert(token(7), &session(&user), &user, NOW, ticket);
        assert!(!live(&cache, &token(7), NOW));
        keep(&cache, token(8), &user);
        assert!(live(&cache, &token(8), NOW), "a later load is");
    }

    #[test]
    fn every_session_of_a_revoked_user_is_asked_for_anew() {
        let (cache, ann, bob) = (cache(1000), user(), user());
        (0..10).for_each(|n| keep(&cache, token(n), &ann));
        keep(&cache, token(10), &bob);
        cache.forget(&Revocation { seq: Seq(1), users: vec![ann.id], ..Revocation::default() });
        assert!((0..10).all(|n| !live(&cache, &token(n), NOW)));
        assert_eq!(live(&cache, &token(10), NOW), mark_of(ann.id) != mark_of(bob.id));
    }

    #[test]
    fn at_the_stored_deadline_memory_asks_and_a_stored_touch_moves_it() {
        let (cache, user) = (cache(1000), user());
        keep(&cache, token(1), &user);
        let deadline = NOW.after(LIFE.idle);
        let later = deadline.after(Duration::from_secs(5));
        cache.touched(&[], &[(token(1), later)]);
        assert!(live(&cache, &token(1), deadline));
        assert!(!live(&cache, &token(1), later));
    }

    #[test]
    fn near_its_deadline_a_session_is_stored_at_once_and_once() {
        let (cache, user) = (cache(1000), user());
        keep(&cache, token(1), &user);
        let near = NOW.after(LIFE.idle).millis() - 99_000;
        let check = |at| match cache.check(&token(1), Timestamp::from_millis(at)) {
            Check::Live { urgent, .. } => urgent,
            Check::Ask => None,
        };
        assert!(check(near - 2000).is_none(), "two flush intervals are left: 100 s");
        let urgent = check(near).expect("less than two are left");
        assert_eq!(urgent.idle_until, Timestamp::from_millis(near).after(LIFE.idle));
        assert!(check(near + 1).is_none());
        cache.touched(&[urgent], &[(token(1), urgent.idle_until)]);
        assert!(check(near + 2).is_none(), "there is time again");
    }

    #[test]
    fn last_seen_times_are_due_until_the_store_was_told() {
        let (cache, user) = (cache(1000), user());
        (0..10).for_each(|n| keep(&cache, token(n), &user));
        let due = || (0..cache.shards()).flat_map(|shard| cache.due(shard)).collect::<Vec<_>>();
        let interval = LIFE.flush_interval();
        assert!(live(&cache, &token(3), NOW.after(interval / 2)));
        assert_eq!(due().len(), 0, "the store knows well enough");
        assert!(live(&cache, &token(3), NOW.after(interval)));
        assert_eq!(due().len(), 1);
        let handed_out = due();
        assert_eq!(handed_out.len(), 1, "the store may have failed");
        cache.touched(&handed_out, &[]);
        assert_eq!(due().len(), 0, "told, even if it is not live there any more");
    }

    #[test]
    fn what_the_store_does_not_know_of_named_sessions_is_told_to_the_millisecond() {
        let (cache, user) = (cache(1000), user());
        (0..10).for_each(|n| keep(&cache, token(n), &user));
        let asked: Vec<_> = (3..30).map(token).collect();
        let unstored = || cache.unstored(&asked).iter().map(|seen| (seen.token_hash, seen.at)).collect::<Vec<_>>();
        let after = |millis| NOW.after(Duration::from_millis(millis));
        for (n, millis) in [(1, 1), (3, 1), (4, 7), (4, 5)] {
            assert!(live(&cache, &token(n), after(millis)));
        }
        assert_eq!(unstored(), [(token(3), after(1)), (token(4), after(7))], "of those asked for");
        let told = cache.unstored(&asked);
        assert!(live(&cache, &token(4), after(9)), "seen while the store was told");
        cache.touched(&told, &[]);
        assert_eq!(unstored(), [(token(4), after(9))]);
        cache.touched(&cache.unstored(&asked), &[]);
        assert_eq!(unstored(), []);
    }

    #[test]
    fn the_last_seen_time_of_a_load_that_was_not_kept_is_handed_out() {
        let (cache, user) = (cache(1000), user());
        let (ticket, later) = (cache.ticket(), NOW.after(Duration::from_millis(1)));
        cache.forget(&Revocation { seq: Seq(1), sessions: vec![token(7)], ..Revocation::default() });
        let (_, seen) = cache.insert(token(7), &session(&user), &user, later, ticket);
        assert_eq!(seen.map(|seen| seen.at), Some(later));
    }

    #[test]
    fn a_full_cache_makes_room_and_loses_no_last_seen_time() {
        let (cache, user) = (cache(64), user());
        let mut handed_out = 0;
        let later = NOW.after(LIFE.flush_interval());
        for n in 0..1000 {
            let (_, evicted) = cache.insert(token(n), &session(&user), &user, later, cache.ticket());
            handed_out += usize::from(evicted.is_some());
        }
        assert!(cache.len() <= 64);
        assert_eq!(cache.len() + handed_out, 1000);
        assert!(live(&cache, &token(999), NOW));
    }
}
