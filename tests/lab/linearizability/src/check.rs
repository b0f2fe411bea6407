//! Whether a history can be true: each session is live, then dead, once, and every answer is from one moment between
//! its request and itself.
//!
//! A session's death is one moment. An answer as if it were live is from a moment before; an answer as if it
//! were dead, from one after. So with A the latest beginning of the former and R the earliest end of
//! the latter, the death lies between A and R, and within an operation that ends this session. It is enough to know A
//! and R, and for the operations on all of a user's sessions to ask for the least of those that concern this one.

use std::collections::{HashMap, HashSet};

use sessiond_support::token::Id;

use crate::{
    history::{Content, History, Kind, Operation, Session, Span, Time},
    least::Wide,
};

/// What cannot be true, by the places of the operations.
#[derive(Debug, PartialEq, Eq)]
pub enum Violation {
    /// A session was accepted by an operation that began after another had ended that showed it to be dead.
    StaleAccept { session: Session, accepted: usize, shown: usize },
    /// A session was shown to be dead, and no operation that ends it can have happened between its last use and that.
    FalseRefusal { session: Session, shown: usize },
    /// Two operations were each answered that they ended the same session.
    EndedTwice { session: Session, first: usize, second: usize },
    /// More sessions of a user have ended than there were.
    TooManyEnded { user: u16, ended: u64, there_were: u64 },
    /// A check was answered with another session than it was made with.
    SomebodyElse { operation: usize },
    /// An answer that this operation cannot have.
    Unexpected { operation: usize },
}

/// How often and how soon dead sessions were used: the significance of finding no stale accept.
#[derive(Default)]
pub struct Verdict {
    pub violations: Vec<Violation>,
    /// Operations that began after the end of their session was known, by how long after.
    pub after: [usize; DELAYS.len() + 1],
    /// How many sessions were shown to be dead.
    pub dead: usize,
}

/// Up to how many nanoseconds after: a millisecond, ten, a hundred, a lease.
pub const DELAYS: [Time; 4] = [1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

/// What is known of one session by itself.
struct Known {
    /// The latest beginning of what shows it live.
    live: Time,
    /// The earliest end of what shows it dead, and which operation that was.
    dead: (Time, usize),
    /// What ended it for certain.
    ended_by: Option<usize>,
    /// What may have ended it, and no other.
    ends: Vec<Span>,
}

const NEVER: (Time, usize) = (Time::MAX, usize::MAX);

/// Which sessions have an id: one, or as many as it had tokens.
pub struct Ids {
    sessions: HashMap<Id, Vec<Session>>,
    of: Vec<Id>,
    /// Those that may have been given a token that no client knows.
    unsure: HashSet<Id>,
}

impl Ids {
    fn new(history: &History) -> Self {
        let of: Vec<Id> = history.sessions.iter().map(|session| session.id).collect();
        let mut sessions: HashMap<Id, Vec<Session>> = HashMap::new();
        for (session, id) in (0..).zip(&of) {
            sessions.entry(*id).or_default().push(session);
        }
        let unknown = history.operations.iter().filter(|one| one.kind == Kind::Password && one.unknown());
        let unsure = unknown.filter_map(|one| one.session).map(|session| of[session as usize]).collect();
        Self { sessions, of, unsure }
    }

    /// The sessions of an id.
    fn all(&self, id: Id) -> &[Session] {
        self.sessions.get(&id).map_or(&[], Vec::as_slice)
    }

    /// The sessions that have the same id as this one.
    fn same(&self, session: Session) -> &[Session] {
        self.all(self.of[session as usize])
    }

    /// The session that is meant by an id for certain.
    fn only(&self, id: Id) -> Option<Session> {
        match self.all(id) {
            [only] if !self.unsure.contains(&id) => Some(*only),
            _ => None,
        }
    }
}

/// Checks all of it, in time n log n.
pub fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::default();
    let ids = Ids::new(history);
    let mut known: Vec<Known> = history
        .sessions
        .iter()
        .map(|session| Known { live: session.span.begin, dead: NEVER, ended_by: None, ends: Vec::new() })
        .collect();
    let users = history.strays.len();
    let mut show: Vec<Wide> = (0..users).map(|_| Wide::default()).collect();
    let mut end: Vec<Wide> = (0..users).map(|_| Wide::default()).collect();
    let mut ended = vec![0_u64; users];

    for (at, operation) in history.operations.iter().enumerate() {
        let Operation { span, kind, .. } = operation;
        let user = usize::from(operation.user);
        if !operation.expected() {
            verdict.violations.push(Violation::Unexpected { operation: at });
        }
        if operation.content == Content::SomebodyElse {
            verdict.violations.push(Violation::SomebodyElse { operation: at });
        }
        for session in shown_live(operation, &ids) {
            let known = &mut known[session as usize];
            known.live = known.live.max(span.begin);
        }
        for session in shown_dead(operation, &ids) {
            let known = &mut known[session as usize];
            known.dead = known.dead.min((span.end, at));
        }
        // What was not answered may happen at any later time.
        let latest = if operation.unknown() { Time::MAX } else { span.end };
        if let Some(session) = operation.ends() {
            for session in ids.same(session) {
                known[*session as usize].ends.push(Span { begin: span.begin, end: latest });
            }
            let known = &mut known[session as usize];
            if operation.succeeded() {
                ended[user] += 1;
                match known.ended_by {
                    None => known.ended_by = Some(at),
                    Some(first) => verdict.violations.push(Violation::EndedTwice { session, first, second: at }),
                }
            }
        }
        if let Some(spared) = operation.ends_many() {
            let spared = Vec::from_iter(spared);
            if operation.succeeded() {
                show[user].push(span.begin, span.end, at, spared.clone());
            }
            end[user].push(latest, span.begin, at, spared);
            if let Content::Revoked(count) = operation.content {
                ended[user] += u64::from(count);
            }
        }
        if let (Kind::List, Content::Listed(listed)) = (kind, &operation.content) {
            let listed = listed.iter().flat_map(|id| ids.all(*id)).copied().collect();
            show[user].push(span.begin, span.end, at, listed);
        }
    }

    let show: Vec<_> = show.into_iter().map(Wide::ranked).collect();
    let end: Vec<_> = end.into_iter().map(Wide::ranked).collect();
    let mut there_were: Vec<u64> = history.strays.iter().map(|strays| u64::from(*strays)).collect();
    for ((created, known), session) in history.sessions.iter().zip(&mut known).zip(0..) {
        let user = usize::from(created.user);
        there_were[user] += u64::from(ids.same(session).first() == Some(&session));
        // Only what began when the session was there says something by not showing it.
        if let Some(least) = show[user].least(created.span.end, session) {
            known.dead = known.dead.min(least);
        }
        if known.dead == NEVER {
            continue;
        }
        verdict.dead += 1;
        let (dead, shown) = known.dead;
        let fits = |span: &Span| span.begin <= dead && span.end >= known.live;
        let wide = || end[user].least(known.live, session).is_some_and(|(begin, _)| begin <= dead);
        let may_have_died = known.ends.iter().any(fits) || wide();
        // Where it was used after that, it is reported as such.
        if created.span.begin > dead || (known.live <= dead && !may_have_died) {
            verdict.violations.push(Violation::FalseRefusal { session, shown });
        }
    }
    for (user, (ended, there_were)) in (0..).zip(ended.into_iter().zip(there_were)) {
        if ended > there_were {
            verdict.violations.push(Violation::TooManyEnded { user, ended, there_were });
        }
    }

    for (at, operation) in history.operations.iter().enumerate() {
        let begin = operation.span.begin;
        for session in shown_live(operation, &ids) {
            let (dead, shown) = known[session as usize].dead;
            if begin > dead {
                verdict.violations.push(Violation::StaleAccept { session, accepted: at, shown });
            }
        }
        if let Some(session) = operation.session.filter(|_| operation.refused()) {
            let (dead, _) = known[session as usize].dead;
            if begin > dead {
                verdict.after[DELAYS.partition_point(|delay| *delay < begin - dead)] += 1;
            }
        }
    }
    verdict
}

/// The sessions that an answer shows to have been live between its request and itself.
fn shown_live<'h>(operation: &'h Operation, ids: &'h Ids) -> impl Iterator<Item = Session> + 'h {
    let through = operation.session.filter(|_| operation.accepted());
    let ended = operation.ends().filter(|ended| operation.succeeded() && Some(*ended) != through);
    // By its id, whichever its token was then.
    let ended = ended.and_then(|ended| ids.only(ids.of[ended as usize]));
    let listed: &[Id] = match &operation.content {
        Content::Listed(listed) => listed,
        Content::Nothing | Content::SomebodyElse | Content::Revoked(_) => &[],
    };
    // The session it came through is among them.
    let listed = listed.iter().filter_map(|id| ids.only(*id)).filter(move |session| Some(*session) != through);
    through.into_iter().chain(ended).chain(listed)
}

/// The sessions that an answer shows to be dead by itself.
fn shown_dead<'h>(operation: &'h Operation, ids: &'h Ids) -> impl Iterator<Item = Session> + 'h {
    let through = operation.session.filter(|_| operation.refused());
    let ended = operation.ends().filter(|_| operation.succeeded());
    let missing = operation.target.filter(|_| operation.status == Some(404));
    let whole = ended.into_iter().chain(missing).flat_map(|session| ids.same(session).iter().copied());
    through.into_iter().chain(whole)
}

#[cfg(test)]
mod tests;
