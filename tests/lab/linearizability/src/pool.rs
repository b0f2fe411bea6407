//! The sessions that all connections share, some of them dead: a session that ended is still used for a while.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use sessiond_support::{
    random::Random,
    token::{Id, Token},
};

use crate::history::{Created, Session, Span, Time};

/// How many users there are, and how many sessions of each are in use at a time.
pub const USERS: usize = 64;
const SLOTS: usize = 12;
/// For how much longer than a lease dead sessions are used.
const LONGEST: usize = 1_500;
/// How often in a hundred a client chooses the user that all clients prefer at the moment.
const HOT: usize = 25;

/// A session that is about to be used.
pub struct Fresh {
    pub user: u16,
    pub id: Id,
    pub token: Token,
}

/// A session and how to use it.
#[derive(Clone, Copy)]
pub struct Held {
    pub session: Session,
    pub user: u16,
    pub id: Id,
    pub token: Token,
    /// Since when it is there for certain.
    pub since: Time,
    slot: usize,
}

struct Slot {
    held: Held,
    /// Set once its end is known: then another takes its place.
    until: Option<Instant>,
}

pub struct Pool {
    slots: Vec<Vec<Mutex<Option<Slot>>>>,
    all: Mutex<Vec<(Held, Created)>>,
    strays: Vec<AtomicU32>,
    hot: AtomicUsize,
}

impl Pool {
    pub fn new() -> Self {
        Self {
            slots: (0..USERS).map(|_| (0..SLOTS).map(|_| Mutex::default()).collect()).collect(),
            all: Mutex::default(),
            strays: (0..USERS).map(|_| AtomicU32::default()).collect(),
            hot: AtomicUsize::default(),
        }
    }

    /// One of the sessions in use, dead or alive.
    pub fn pick(&self, random: &mut Random) -> Option<Held> {
        let user = if random.chance(HOT) { self.hot.load(Ordering::Relaxed) } else { random.below(USERS) };
        self.pick_of(user, random)
    }

    /// Another of the same user, alive as far as is known; any other where all are dead.
    pub fn sibling(&self, held: &Held, random: &mut Random) -> Option<Held> {
        let first = random.below(SLOTS);
        let others = (0..SLOTS).map(|step| (first + step) % SLOTS).filter(|slot| *slot != held.slot);
        let mut any = None;
        for slot in others {
            if let Some(Slot { held, until }) = &*lock(&self.slots[usize::from(held.user)][slot]) {
                any = Some(*held);
                if until.is_none() {
                    break;
                }
            }
        }
        any
    }

    fn pick_of(&self, user: usize, random: &mut Random) -> Option<Held> {
        lock(&self.slots[user][random.below(SLOTS)]).as_ref().map(|slot| slot.held)
    }

    /// Has all clients prefer another user.
    pub fn turn(&self, random: &mut Random) {
        self.hot.store(random.below(USERS), Ordering::Relaxed);
    }

    /// Notes that a session is known to have ended.
    pub fn spend(&self, held: &Held, random: &mut Random) {
        let mut slot = lock(&self.slots[usize::from(held.user)][held.slot]);
        if let Some(slot) = slot.as_mut().filter(|slot| slot.held.session == held.session && slot.until.is_none()) {
            let longest = if random.chance(70) { LONGEST / 15 } else { LONGEST };
            slot.until = Some(Instant::now() + Duration::from_millis(random.below(longest) as u64));
        }
    }

    /// Notes the same of every session of a user that was there before `begin`, but one.
    pub fn spend_all(&self, user: u16, spared: Option<Session>, begin: Time, random: &mut Random) {
        for slot in &self.slots[usize::from(user)] {
            let held = lock(slot).as_ref().map(|slot| slot.held);
            if let Some(held) = held.filter(|held| Some(held.session) != spared && held.since <= begin) {
                self.spend(&held, random);
            }
        }
    }

    /// The places whose sessions have been dead for long enough, by user.
    pub fn vacant(&self) -> Vec<(u16, usize)> {
        let now = Instant::now();
        let vacant =
            |slot: &Option<Slot>| slot.as_ref().is_none_or(|slot| slot.until.is_some_and(|until| until <= now));
        let places = (0..)
            .zip(&self.slots)
            .flat_map(|(user, slots)| slots.iter().enumerate().map(move |(at, slot)| (user, at, slot)));
        places.filter(|(_, _, slot)| vacant(&lock(slot))).map(|(user, at, _)| (user, at)).collect()
    }

    /// Puts a session that is stored into use, in that place or in any.
    pub fn add(&self, fresh: &Fresh, span: Span, slot: Option<usize>, random: &mut Random) -> Held {
        let slot = slot.unwrap_or_else(|| random.below(SLOTS));
        let held = {
            let mut all = lock(&self.all);
            let session = Session::try_from(all.len()).unwrap_or(Session::MAX);
            let held = Held { session, user: fresh.user, id: fresh.id, token: fresh.token, since: span.end, slot };
            all.push((held, Created { user: fresh.user, id: fresh.id, span }));
            held
        };
        *lock(&self.slots[usize::from(fresh.user)][slot]) = Some(Slot { held, until: None });
        held
    }

    /// Notes that there may be another session of a user, which no client knows.
    pub fn stray(&self, user: u16) {
        self.strays[usize::from(user)].fetch_add(1, Ordering::Relaxed);
    }

    pub fn strays(&self) -> Vec<u32> {
        self.strays.iter().map(|strays| strays.load(Ordering::Relaxed)).collect()
    }

    /// Every session there ever was.
    pub fn all(&self) -> (Vec<Held>, Vec<Created>) {
        lock(&self.all).iter().cloned().unzip()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
