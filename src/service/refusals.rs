//! Records refused logins, and refused acts of administration, in the log and the audit: the first few of a kind one by
//! one, and the others as a count.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::domain::clock::{Clock, Timestamp};
use crate::domain::event::{Actor, Asked, Event, EventKind, Origin, WRONG_CODE, WRONG_PASSWORD};
use crate::domain::id::{SessionId, UserId};
use crate::domain::name_hash::NameKey;
use crate::domain::principal::Principal;
use crate::domain::session::Client;
use crate::domain::text::LoginName;
use crate::domain::user::User;
use crate::store::{Result, SharedStore};

/// How many of a kind are recorded one by one in a window.
const ONE_BY_ONE: u32 = 10;
/// How long a window is: the others in it are recorded as a count at its end.
const WINDOW: Duration = Duration::from_mins(1);
/// How many kinds are counted apart at a time, of names that users have and as many of others: made-up names must not
/// hide the user whose password is being guessed. All that do not fit are one more kind.
const KINDS: usize = 1024;
/// How many names that no user has are counted apart for an address.
const UNKNOWN_NAMES: usize = 20;
/// How often windows that have ended are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// The refusals that share one count. They are grouped by what was typed and not by the user it belongs to, or the
/// answer would take longer for a new name than for another name of the same user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// Logins with the same name, by its hash, from the same address.
    Login { name_hash: String, ip: String },
    /// Logins with many different names that no user has, from the same address.
    UnknownNames { ip: String },
    /// Logins with what cannot be a password, which cost no hash and must cost the store next to nothing.
    Impossible,
    /// Changes of the same user's password. Not by address, or one user with many of them would leave no room for others.
    PasswordChange { user: UserId },
    /// Codes of the same user's second factor, at a login or in a session.
    Code { user: UserId, in_session: bool },
    /// Acts of administration that the same user asked for.
    Act { asker: UserId },
    /// The same of those that only read, of which one is enough.
    Reading { asker: UserId },
    /// All refusals for which there was no room as a kind of their own.
    Others,
}

impl Kind {
    /// How many of it are recorded one by one in a window.
    const fn one_by_one(&self) -> u32 {
        match self {
            Self::Reading { .. } => 1,
            Self::Login { .. }
            | Self::UnknownNames { .. }
            | Self::Impossible
            | Self::PasswordChange { .. }
            | Self::Code { .. }
            | Self::Act { .. }
            | Self::Others => ONE_BY_ONE,
        }
    }

    const fn is_of_administration(&self) -> bool {
        matches!(self, Self::Act { .. } | Self::Reading { .. })
    }
}

/// One kind, since it was first refused.
#[derive(Debug)]
struct Window {
    begun: Timestamp,
    recorded: u32,
    more: i64,
    /// What they have in common.
    like: Event,
}

/// Every kind that was refused lately.
#[derive(Debug, Default)]
struct Windows {
    users: HashMap<Kind, Window>,
    unknown: HashMap<Kind, Window>,
    /// Refused acts of administration, apart from the others, so that neither hides the other.
    acts: HashMap<Kind, Window>,
    /// Those to be recorded one by one.
    acts_to_record: Vec<Event>,
}

impl Windows {
    /// Counts a refusal. Returns whether it is to be recorded by itself.
    fn count(&mut self, kind: Kind, event: &Event) -> bool {
        // Writing takes time. Of a user's name that has not been tried lately it must not take more than of another name from
        // the same address.
        let is_new_login = matches!(kind, Kind::Login { .. }) && !self.users.contains_key(&kind);
        let folded = event.user.is_some() && is_new_login && !self.would_record_unknown(&kind);
        let kinds = match (kind.is_of_administration(), event.user) {
            (true, _) => &mut self.acts,
            (false, Some(_)) => &mut self.users,
            (false, None) => &mut self.unknown,
        };
        let kind = if kinds.contains_key(&kind) {
            kind
        } else {
            let kind = if event.user.is_none() { without_many_names(kinds, kind) } else { kind };
            if kinds.len() < KINDS || kinds.contains_key(&kind) { kind } else { Kind::Others }
        };
        let like = || match kind {
            Kind::Login { .. } => Event { session: None, user_agent: None, request_id: None, ..event.clone() },
            Kind::PasswordChange { .. } | Kind::Code { .. } => {
                Event { session: None, ip: None, user_agent: None, request_id: None, ..event.clone() }
            }
            Kind::Act { asker } | Kind::Reading { asker } => Event {
                user: Some(asker),
                session: None,
                ip: None,
                detail: None,
                name: event.actor_name.clone(),
                user_agent: None,
                request_id: None,
                ..event.clone()
            },
            Kind::UnknownNames { .. } => {
                Event { name: None, session: None, user_agent: None, request_id: None, ..event.clone() }
            }
            Kind::Impossible | Kind::Others => Event {
                actor: Actor::Anonymous,
                user: None,
                session: None,
                ip: None,
                detail: None,
                name: None,
                actor_name: None,
                user_agent: None,
                request_id: None,
                ..event.clone()
            },
        };
        let one_by_one = kind.one_by_one();
        let window =
            kinds.entry(kind.clone()).or_insert_with(|| Window { begun: event.at, recorded: 0, more: 0, like: like() });
        if folded {
            window.recorded = one_by_one;
        }
        if window.recorded < one_by_one {
            window.recorded += 1;
            return true;
        }
        window.more = window.more.saturating_add(1);
        false
    }

    /// Whether a refusal of this kind would be recorded by itself if no user had the name.
    fn would_record_unknown(&self, kind: &Kind) -> bool {
        let kinds = &self.unknown;
        let kind = without_many_names(kinds, kind.clone());
        let kind = if kinds.len() < KINDS || kinds.contains_key(&kind) { kind } else { Kind::Others };
        kinds.get(&kind).is_none_or(|window| window.recorded < ONE_BY_ONE)
    }

    /// The counts of windows that have ended, or of `all`.
    fn over(&mut self, now: Timestamp, all: bool) -> Vec<Event> {
        // A clock that was set back must not make a window longer.
        let is_over = |window: &Window| all || now < window.begun || now >= window.begun.after(WINDOW);
        let users = self.users.extract_if(|_, window| is_over(window));
        let unknown = self.unknown.extract_if(|_, window| is_over(window));
        let acts = self.acts.extract_if(|_, window| is_over(window));
        let over = users.chain(unknown).chain(acts).map(|(_, window)| window).filter(|window| window.more > 0);
        over.map(|window| Event { at: now, count: window.more, ..window.like }).collect()
    }
}

/// A login with a name that no user has, or where its address has tried many such names lately, with any of those.
fn without_many_names(kinds: &HashMap<Kind, Window>, kind: Kind) -> Kind {
    let Kind::Login { ip, .. } = &kind else { return kind };
    let same = |other: &&Kind| matches!(other, Kind::Login { ip: address, .. } if address == ip);
    if kinds.keys().filter(same).count() < UNKNOWN_NAMES { kind } else { Kind::UnknownNames { ip: ip.clone() } }
}

/// Who was refused lately.
pub(super) struct Refusals {
    store: SharedStore,
    name_key: NameKey,
    windows: Mutex<Windows>,
}

impl Refusals {
    /// Records refusals in `store` and in the log.
    pub(super) fn new(store: SharedStore, name_key: NameKey) -> Self {
        Self { store, name_key, windows: Mutex::default() }
    }

    /// A login was refused, as `known` if there is such a user.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn login(
        &self,
        typed: &LoginName,
        known: Option<&User>,
        client: &Client,
        at: Timestamp,
    ) -> Result<()> {
        let (event, name_hash) = self.refused_login(typed, known, client, at);
        self.record(Kind::Login { name_hash, ip: client.ip.clone() }, event).await
    }

    /// A login was refused for what cannot be a password, and was not hashed.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn impossible_login(
        &self,
        typed: &LoginName,
        known: Option<&User>,
        client: &Client,
        at: Timestamp,
    ) -> Result<()> {
        let (event, _) = self.refused_login(typed, known, client, at);
        self.record(Kind::Impossible, event).await
    }

    /// A change of password was refused, because the current one was wrong.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn password_change(
        &self,
        user: &User,
        session: SessionId,
        client: &Client,
        at: Timestamp,
    ) -> Result<()> {
        let event = Event {
            session: Some(session),
            detail: Some(Cow::Borrowed(WRONG_PASSWORD)),
            name: Some(user.username.as_str().to_owned()),
            ..Event::about(user.id, EventKind::LoginFailed, Actor::User(user.id), at)
        };
        let event = event.from(&client.origin());
        self.record(Kind::PasswordChange { user: user.id }, event).await
    }

    /// A code of a user's second factor was wrong: at a login, or in the user's own `session`.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn code(
        &self,
        user: &User,
        session: Option<SessionId>,
        client: &Client,
        at: Timestamp,
    ) -> Result<()> {
        let actor = session.map_or(Actor::Anonymous, |_| Actor::User(user.id));
        let event = Event::about(user.id, EventKind::LoginFailed, actor, at).from(&client.origin());
        let event = Event {
            session,
            detail: Some(Cow::Borrowed(WRONG_CODE)),
            name: Some(user.username.as_str().to_owned()),
            ..event
        };
        self.record(Kind::Code { user: user.id, in_session: session.is_some() }, event).await
    }

    /// What an administrator may do was refused, because of `why`. It is recorded a moment later, and nothing waits for
    /// that, so that what is refused costs its user as little as it costs the store.
    pub(super) fn act(
        &self,
        asker: &Principal,
        origin: &Origin,
        about: Option<UserId>,
        asked: &Asked,
        why: &'static str,
        at: Timestamp,
    ) {
        let by = asker.user_id();
        let name = about.is_none_or(|about| about == by).then(|| asker.identity.username().to_owned());
        let event = Event {
            session: Some(asker.session_id()),
            detail: Some(Cow::Owned(format!("{why}: {}", asked.what))),
            name,
            ..Event::about(about.unwrap_or(by), EventKind::ActRefused, Actor::User(by), at)
        };
        let event = event.from(origin);
        let kind = if asked.reads { Kind::Reading { asker: by } } else { Kind::Act { asker: by } };
        let mut windows = self.windows.lock();
        if windows.count(kind, &event) {
            log(&event, None);
            windows.acts_to_record.push(event);
        }
    }

    fn refused_login(
        &self,
        typed: &LoginName,
        known: Option<&User>,
        client: &Client,
        at: Timestamp,
    ) -> (Event, String) {
        let (LoginName::Username(typed) | LoginName::Email(typed) | LoginName::Impossible(typed)) = typed;
        let name_hash = self.name_key.hash(typed);
        let event = Event {
            at,
            kind: EventKind::LoginFailed,
            actor: Actor::Anonymous,
            user: known.map(|user| user.id),
            session: None,
            ip: None,
            detail: None,
            name: Some(known.map_or_else(|| name_hash.clone(), |user| user.username.as_str().to_owned())),
            actor_name: None,
            user_agent: None,
            request_id: None,
            count: 1,
        };
        (event.from(&client.origin()), name_hash)
    }

    async fn record(&self, kind: Kind, event: Event) -> Result<()> {
        let first = self.windows.lock().count(kind, &event);
        if !first {
            return Ok(());
        }
        log(&event, None);
        self.store.record(vec![event]).await
    }

    /// Records acts, and the counts of windows that have ended, until it is stopped, and then those of all others.
    pub(super) async fn run(&self, clock: &dyn Clock, stop: CancellationToken) {
        let mut tick = tokio::time::interval(LOOK);
        loop {
            let stopping = tokio::select! {
                () = stop.cancelled() => true,
                _ = tick.tick() => false,
            };
            let (mut events, counts) = {
                let mut windows = self.windows.lock();
                (std::mem::take(&mut windows.acts_to_record), windows.over(clock.now(), stopping))
            };
            for event in &counts {
                log(event, Some(event.count));
            }
            events.extend(counts);
            if !events.is_empty()
                && let Err(error) = self.store.record(events).await
            {
                tracing::warn!(%error, "cannot store what was refused");
            }
            if stopping {
                return;
            }
        }
    }
}

/// Writes a log line about one refusal, or about `more` of them. Text from clients is escaped, as all fields are.
fn log(event: &Event, more: Option<i64>) {
    let Event { kind, user, ip, detail, name, actor_name, user_agent, .. } = event;
    if *kind == EventKind::ActRefused {
        let what = if more.is_some() { "more acts refused" } else { "act refused" };
        let (by, ip, why) = (actor_name.as_deref(), ip.as_deref(), detail.as_deref());
        tracing::info!(target: "sessiond::admin", by, ip, why, more, "{what}");
        return;
    }
    let (ip, name, user_agent) = (ip.as_deref(), name.as_deref(), user_agent.as_deref());
    let (username, name_hash) = if user.is_some() { (name, None) } else { (None, name) };
    let what = match (detail.as_deref(), more) {
        (None, None) => "login refused",
        (None, Some(_)) => "more logins refused",
        (Some(WRONG_CODE), None) => "code refused",
        (Some(WRONG_CODE), Some(_)) => "more codes refused",
        (Some(_), None) => "password refused",
        (Some(_), Some(_)) => "more changes of a password refused",
    };
    tracing::info!(target: "sessiond::login", username, name_hash, ip, user_agent, more, "{what}");
}

#[cfg(test)]
mod tests;
