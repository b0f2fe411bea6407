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
mod tests {
    use super::*;

    const BEGIN: Timestamp = Timestamp::from_millis(1_000_000);

    fn login(name: &str, at: Timestamp) -> (Kind, Event) {
        let event = Event {
            at,
            kind: EventKind::LoginFailed,
            actor: Actor::Anonymous,
            user: None,
            session: None,
            ip: Some(String::from("192.0.2.1")),
            detail: None,
            name: Some(name.to_owned()),
            actor_name: None,
            user_agent: Some(String::from("curl")),
            request_id: None,
            count: 1,
        };
        (Kind::Login { name_hash: name.to_owned(), ip: String::from("192.0.2.1") }, event)
    }

    /// Refuses this many. Returns how many of them are recorded one by one.
    fn refuse(windows: &mut Windows, name: &str, times: usize, at: Timestamp) -> usize {
        let refused = || login(name, at);
        std::iter::repeat_with(refused).take(times).filter(|(kind, event)| windows.count(kind.clone(), event)).count()
    }

    #[test]
    fn the_first_ten_in_a_minute_are_recorded_and_the_others_counted() {
        let (mut windows, end) = (Windows::default(), BEGIN.after(WINDOW));
        assert_eq!(refuse(&mut windows, "a", 1000, BEGIN), 10);
        assert_eq!(refuse(&mut windows, "b", 10, BEGIN), 10, "another name is another kind");
        assert!(windows.over(Timestamp::from_millis(end.millis() - 1), false).is_empty());
        let over = windows.over(end, false);
        assert_eq!(over.len(), 1, "of the other name there are no more: {over:?}");
        let Event { at, name, ip, user_agent, count, .. } = &over[0];
        assert_eq!((*at, name.as_deref(), ip.as_deref(), *count), (end, Some("a"), Some("192.0.2.1"), 990));
        assert_eq!(*user_agent, None, "they may have had several");
        assert!(windows.unknown.is_empty());
        assert_eq!(refuse(&mut windows, "a", 11, end), 10, "a new minute");
        assert_eq!(windows.over(end, true)[0].count, 1, "recorded at the end of the process too");
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_window_longer() {
        let mut windows = Windows::default();
        refuse(&mut windows, "a", 11, BEGIN);
        assert_eq!(windows.over(Timestamp::from_millis(BEGIN.millis() - 1), false).len(), 1);
    }

    /// Refuses a login of a name from an address once. Says whether it is recorded by itself.
    fn refuse_from(windows: &mut Windows, name: &str, address: usize, user: Option<UserId>) -> bool {
        let (_, event) = login(name, BEGIN);
        let ip = address.to_string();
        let kind = Kind::Login { name_hash: name.to_owned(), ip: ip.clone() };
        windows.count(kind, &Event { user, ip: Some(ip), ..event })
    }

    #[test]
    fn kinds_that_find_no_room_are_counted_together() {
        let mut windows = Windows::default();
        for number in 0..5 * KINDS {
            refuse_from(&mut windows, "a", number, None);
        }
        assert_eq!(windows.unknown.len(), KINDS + 1);
        let recorded = (0..9).filter(|_| refuse_from(&mut windows, "a", 0, None)).count();
        assert_eq!(recorded, 9, "one that was there before keeps its own count");
        let over = windows.over(BEGIN.after(WINDOW), false);
        assert_eq!(over.len(), 1, "{over:?}");
        assert_eq!((over[0].name.as_deref(), over[0].ip.as_deref()), (None, None));
        assert_eq!(usize::try_from(over[0].count), Ok(4 * KINDS - 10));
    }

    #[test]
    fn many_made_up_names_from_one_address_are_counted_together() {
        let mut windows = Windows::default();
        let recorded = (0..1000).filter(|n| refuse_from(&mut windows, &n.to_string(), 7, None)).count();
        assert_eq!(recorded, UNKNOWN_NAMES + 10);
        let over = windows.over(BEGIN.after(WINDOW), false);
        assert_eq!(over.len(), 1, "{over:?}");
        assert_eq!((over[0].name.as_deref(), over[0].ip.as_deref()), (None, Some("7")));
        assert_eq!(usize::try_from(over[0].count), Ok(1000 - UNKNOWN_NAMES - 10));
    }

    #[test]
    fn made_up_names_never_hide_whose_password_is_guessed() {
        use crate::domain::entropy::SystemEntropy;
        let mut windows = Windows::default();
        for number in 0..2 * KINDS {
            refuse_from(&mut windows, &number.to_string(), number, None);
        }
        let user = UserId::random(&SystemEntropy).ok();
        let recorded = (0..30).filter(|_| refuse_from(&mut windows, "admin", 1, user)).count();
        // At that moment another name would not be recorded by itself either, and the time of an answer must not tell.
        assert_eq!(recorded, 0);
        let over = windows.over(BEGIN.after(WINDOW), false);
        assert!(over.iter().any(|event| event.user == user && event.count == 30), "{over:?}");
    }

    #[test]
    fn refused_changes_from_many_addresses_are_one_kind_for_each_user() {
        use crate::domain::entropy::SystemEntropy;
        let mut windows = Windows::default();
        let user = UserId::random(&SystemEntropy).expect("entropy");
        let (_, event) = login("own", BEGIN);
        for kind in [Kind::PasswordChange { user }, Kind::Code { user, in_session: false }] {
            let from = |address: usize| Event { user: Some(user), ip: Some(address.to_string()), ..event.clone() };
            let recorded = (0..2 * KINDS).filter(|address| windows.count(kind.clone(), &from(*address))).count();
            assert_eq!(recorded, 10);
        }
        assert_eq!(windows.users.len(), 2);
        let over = windows.over(BEGIN.after(WINDOW), false);
        assert!(over.iter().all(|event| event.user == Some(user) && event.ip.is_none()), "{over:?}");
    }

    #[test]
    fn acts_that_were_refused_are_counted_for_each_user_and_hide_no_login() {
        use crate::domain::entropy::SystemEntropy;
        let asker = UserId::random(&SystemEntropy).expect("entropy");
        let act = |number: usize| Event {
            ip: Some(number.to_string()),
            actor_name: Some(String::from("bob")),
            ..Event::about(asker, EventKind::ActRefused, Actor::User(asker), BEGIN)
        };
        let mut windows = Windows::default();
        let count = |windows: &mut Windows, kind: &Kind| {
            (0..2 * KINDS).filter(|number| windows.count(kind.clone(), &act(*number))).count()
        };
        assert_eq!(count(&mut windows, &Kind::Act { asker }), 10);
        assert_eq!(count(&mut windows, &Kind::Reading { asker }), 1);
        assert!(refuse_from(&mut windows, "bob", 1, Some(asker)), "and a login has its own count");
        let mut counts: Vec<_> =
            windows.over(BEGIN.after(WINDOW), false).into_iter().map(|event| event.count).collect();
        counts.sort_unstable();
        let all = i64::try_from(2 * KINDS).expect("few");
        assert_eq!(counts, [all - 10, all - 1]);
    }

    #[test]
    fn beside_many_made_up_names_a_users_name_is_counted_as_those_are() {
        use crate::domain::entropy::SystemEntropy;
        let user = UserId::random(&SystemEntropy).ok();
        let mut windows = Windows::default();
        assert!(refuse_from(&mut windows, "before", 7, user) && refuse_from(&mut windows, "made up before", 7, None));
        for number in 0..UNKNOWN_NAMES + 10 {
            refuse_from(&mut windows, &number.to_string(), 7, None);
        }
        for (name, recorded) in [("new", false), ("before", true)] {
            assert_eq!(refuse_from(&mut windows, name, 7, user), recorded, "{name}");
            assert_eq!(refuse_from(&mut windows, &format!("made up {name}"), 7, None), recorded, "{name}");
        }
        assert!(refuse_from(&mut windows, "new", 8, user), "from another address");
        let over = windows.over(BEGIN.after(WINDOW), false);
        assert!(over.iter().any(|event| event.user == user && event.count == 1), "and it is not lost: {over:?}");
    }
}
