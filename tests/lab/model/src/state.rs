//! The state of the whole system at one moment.

/// The most processes in a setting.
pub const MOST: usize = 3;
/// The most revocations in a setting.
pub const NUMBERS: usize = 2;

/// What a revocation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Revocation {
    /// One session.
    Session(u8),
    /// Every session of the user.
    User,
}

impl Revocation {
    /// Whether it ends `session`.
    pub fn ends(self, session: u8) -> bool {
        match self {
            Self::Session(one) => one == session,
            Self::User => true,
        }
    }
}

/// What a beat stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stored {
    /// How often the replica has said that it lives.
    pub beat: u8,
    /// The number up to which it has applied the log.
    pub applied: u8,
}

/// A replica's row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Row {
    /// What others read.
    pub now: Stored,
    /// What a crash goes back to.
    pub durable: Stored,
}

/// The database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Store {
    /// The newest number.
    pub head: u8,
    /// The number up to which the log was cut. The tombstones stay.
    pub cut: u8,
    /// What each number ended, number 1 first.
    pub log: [Option<Revocation>; NUMBERS],
    /// A row for each replica that has registered and was not reaped. An abandoned id keeps its place until then.
    pub rows: [Option<Row>; MOST],
}

impl Store {
    /// What a number ended.
    pub fn revocation(&self, number: u8) -> Option<Revocation> {
        self.log.get(usize::from(number).checked_sub(1)?).copied().flatten()
    }

    /// The number that ended a session.
    pub fn tombstone(&self, session: u8) -> Option<u8> {
        (1..=self.head).find(|number| self.revocation(*number).is_some_and(|it| it.ends(session)))
    }
}

/// Whether a replica has a row, as far as it knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It has none.
    #[default]
    Out,
    /// It was made, as of this head of the log, but the answer is under way.
    Joining(u8),
    /// It has one.
    In,
}

/// What the store says to a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The row was deleted.
    Gone,
    /// The head, and whether the log was cut past what was asked from.
    News {
        /// The newest number at that moment.
        head: u8,
        /// Whether something of it is missing.
        cut: bool,
    },
}

/// A beat under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Beat {
    /// Ticks since the clock was read, up to L.
    pub age: u8,
    /// What had been applied when it was sent.
    pub applied: u8,
    /// None until it is committed.
    pub answer: Option<Answer>,
}

/// A logout under way that has not ended anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Logout {
    /// Who runs it.
    pub who: usize,
    /// Of which session.
    pub session: u8,
    /// The head of the log as its statement sees it. Nothing depends on that, unless by mistake.
    pub seen: u8,
    /// Whether its statement has ended.
    pub ended_nothing: bool,
}

/// A load under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Load {
    /// Of which session.
    pub session: u8,
    /// Whether a number newer than its ticket has hit that session here.
    pub revoked: bool,
    /// Whether the cache was cleared since: its ticket is of an earlier epoch.
    pub cleared: bool,
    /// Whether the store was read, and the session live.
    pub read: bool,
}

/// A row seen, and for how long it has been the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Watch {
    /// The beat that was seen.
    pub beat: u8,
    /// Ticks since, up to L.
    pub age: u8,
}

/// A process's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Replica {
    /// Whether it has a row.
    pub standing: Standing,
    /// Its next row will not find the cache cleared: only by mistake.
    pub keeps_cache: bool,
    /// For how many more ticks the cache is trusted.
    pub trust: u8,
    /// The number up to which the cache has applied the log.
    pub applied: u8,
    /// The sessions in the cache that a check would find, a bit each.
    pub cache: u8,
    /// The beat under way. There is one connection for it, so there is one at most.
    pub beat: Option<Beat>,
    /// A load under way. There is one at a time for each session; those of others do not matter to it.
    pub load: Option<Load>,
    /// A check that has found the cache trusted, of a session whose revocation was revealed before.
    pub check: Option<u8>,
    /// Up to which number every row had applied the log in some view of them.
    pub viewed: u8,
    /// For each number, how long an answer has waited here for it to be settled, up to L.
    pub waits: [Option<u8>; NUMBERS],
    /// The rows of others.
    pub watches: [Option<Watch>; MOST],
}

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// The database.
    pub store: Store,
    /// The processes.
    pub replicas: [Replica; MOST],
    /// A logout under way. One is enough: what it waits for does not depend on others.
    pub logout: Option<Logout>,
    /// The numbers that an answer has revealed, a bit each.
    pub revealed: u8,
    /// A check accepted a session that an answer had shown to be over.
    pub accepted_revoked: bool,
    /// How far the course of events that is looked for has gone.
    pub witnessed: u8,
}

impl Replica {
    /// Whether a session is in the cache.
    pub fn remembers(&self, session: u8) -> bool {
        self.cache & bit(session) != 0
    }

    /// Clears the cache, and refuses what is being loaded.
    pub fn clear(&mut self) {
        self.cache = 0;
        if let Some(load) = &mut self.load {
            load.cleared = true;
        }
    }

    /// Applies the log up to a number.
    pub fn apply(&mut self, store: &Store, up_to: u8) {
        self.apply_after(self.applied, store, up_to);
    }

    /// Applies the part of the log that follows `after`.
    pub fn apply_after(&mut self, after: u8, store: &Store, up_to: u8) {
        for revocation in (after + 1..=up_to).filter_map(|number| store.revocation(number)) {
            match revocation {
                Revocation::Session(session) => self.cache &= !bit(session),
                Revocation::User => self.cache = 0,
            }
            if let Some(load) = self.load.as_mut().filter(|load| revocation.ends(load.session)) {
                load.revoked = true;
            }
        }
        self.applied = self.applied.max(up_to);
    }
}

impl State {
    /// Whether an answer has revealed this number.
    pub fn is_revealed(&self, number: u8) -> bool {
        self.revealed & bit(number) != 0
    }

    /// Whether an answer has revealed that this session is over.
    pub fn is_known_revoked(&self, session: u8) -> bool {
        self.store.tombstone(session).is_some_and(|number| self.is_revealed(number))
    }

    /// Notes the beat of a row, unless it is the one that is watched.
    pub fn watch(&mut self, who: usize, whom: usize) {
        let Some(row) = self.store.rows[whom] else { return };
        let watch = &mut self.replicas[who].watches[whom];
        if watch.is_none_or(|watch| watch.beat != row.now.beat) {
            *watch = Some(Watch { beat: row.now.beat, age: 0 });
        }
    }
}

/// A set of one.
pub fn bit(number: u8) -> u8 {
    1 << number
}
