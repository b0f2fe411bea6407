//! Sessions of all users: which ones an administrator asks for, listing them and choosing those that are to end.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Result, Service};
use crate::domain::clock::Timestamp;
use crate::domain::id::{SessionId, UserId};
use crate::domain::revocation::Seq;
use crate::domain::session::Session;
use crate::store::ListedSession;

/// How many rows of the store are read at a time.
const STRETCH: u32 = 1_000;
/// How many stretches one page of a list reads at most: a page that finds little ends early, and the next one goes on.
const STRETCHES: usize = 50;
/// The most characters of a part of a `User-Agent`.
const LONGEST_PART: usize = 512;

/// Which live sessions are wanted. Without a condition, every one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// Those of this user.
    pub user: Option<UserId>,
    /// Those whose login came from here.
    pub network: Option<IpNet>,
    /// Those whose login named a `User-Agent` that this is a part of, whatever the case.
    pub user_agent: Option<String>,
    /// Those that began before this.
    pub before: Option<Timestamp>,
}

impl SessionFilter {
    /// Reads an address or a network.
    pub fn network(text: &str) -> Option<IpNet> {
        text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
    }

    fn fits(&self, session: &Session) -> bool {
        let Self { user, network, user_agent, before } = self;
        let from = || session.client.ip.parse::<IpAddr>().ok();
        user.is_none_or(|user| session.user_id == user)
            && network.is_none_or(|network| from().is_some_and(|ip| network.contains(&ip)))
            && user_agent
                .as_ref()
                .is_none_or(|part| session.client.user_agent.to_lowercase().contains(&part.to_lowercase()))
            && before.is_none_or(|before| session.created_at < before)
    }
}

/// A filter as it was written down. What is not there says nothing.
#[derive(Debug, Default)]
pub struct WrittenFilter {
    /// The id, username or e-mail address of a user.
    pub user: Option<String>,
    /// An address or a network.
    pub ip: Option<String>,
    /// A part of a `User-Agent`.
    pub user_agent: Option<String>,
    /// A time.
    pub before: Option<String>,
}

/// What a filter comes to that was written down.
#[derive(Debug)]
pub enum Meant {
    /// These sessions.
    Sessions(SessionFilter),
    /// None, since there is no such user.
    NoSuchUser,
    /// Nothing, since this condition cannot be used.
    Unfit(Condition),
}

/// A condition that may be unfit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It is no address and no network.
    Network,
    /// It is too long.
    UserAgent,
    /// It is no time.
    Before,
}

impl WrittenFilter {
    /// The filter without its user; `Err` is the first condition that cannot be used. How times are written is read by `time`.
    pub(super) fn without_user(
        &self,
        time: impl FnOnce(&str) -> Option<Timestamp>,
    ) -> std::result::Result<SessionFilter, Condition> {
        let network = self.ip.as_deref().map(|ip| SessionFilter::network(ip).ok_or(Condition::Network)).transpose()?;
        let user_agent = self.user_agent.clone();
        if user_agent.as_ref().is_some_and(|part| part.chars().nth(LONGEST_PART).is_some()) {
            return Err(Condition::UserAgent);
        }
        let before = self.before.as_deref().map(|before| time(before).ok_or(Condition::Before)).transpose()?;
        Ok(SessionFilter { user: None, network, user_agent, before })
    }
}

/// A page of sessions.
#[derive(Debug)]
pub struct SessionPage {
    /// Newest login first.
    pub sessions: Vec<ListedSession>,
    /// The number that the next page comes before; none after the last page.
    pub next: Option<i64>,
    /// To be settled before the page is shown.
    pub(super) seq: Seq,
}

/// Sessions that were chosen.
#[derive(Debug)]
pub(super) struct Selection {
    /// Their ids.
    pub(super) sessions: Vec<SessionId>,
    /// To be settled before their number is told.
    pub(super) seq: Seq,
}

impl Service {
    /// A page of at most `limit` live sessions that fit, of those before a number.
    pub(super) async fn session_page(
        &self,
        filter: &SessionFilter,
        mut before: Option<i64>,
        limit: usize,
    ) -> Result<SessionPage> {
        let (mut sessions, mut seq) = (Vec::new(), Seq::default());
        for _ in 0..STRETCHES {
            let stretch = self.parts.store.session_stretch(before, STRETCH, self.parts.clock.now()).await?;
            seq = seq.max(stretch.seq);
            let fitting = stretch.sessions.into_iter().filter(|listed| filter.fits(&listed.session));
            sessions.extend(fitting.take(limit + 1 - sessions.len()));
            before = stretch.next;
            if sessions.len() > limit || before.is_none() {
                break;
            }
        }
        let next = match sessions.get(limit) {
            Some(first_of_next) => Some(first_of_next.number.saturating_add(1)),
            None => before,
        };
        sessions.truncate(limit);
        Ok(SessionPage { sessions, next, seq })
    }

    /// Shows every live session to `visit`, newest login first. Returns what is to be settled before anything is told.
    pub(super) async fn visit_sessions(&self, mut visit: impl FnMut(ListedSession) + Send) -> Result<Seq> {
        let (mut before, mut seq) = (None, Seq::default());
        loop {
            let stretch = self.parts.store.session_stretch(before, STRETCH, self.parts.clock.now()).await?;
            seq = seq.max(stretch.seq);
            stretch.sessions.into_iter().for_each(&mut visit);
            before = stretch.next;
            if before.is_none() {
                return Ok(seq);
            }
        }
    }

    /// Every live session that fits but `spared`. Those that begin meanwhile are not among them.
    pub(super) async fn select(&self, filter: &SessionFilter, spared: Option<SessionId>) -> Result<Selection> {
        let mut sessions = Vec::new();
        let seq = self
            .visit_sessions(|ListedSession { session, .. }| {
                if filter.fits(&session) && Some(session.id) != spared {
                    sessions.push(session.id);
                }
            })
            .await?;
        Ok(Selection { sessions, seq })
    }
}
