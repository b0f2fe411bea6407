//! Sessions: a login that lasts, until its idle or absolute expiry or a revocation, whichever comes first.

use std::time::Duration;

use super::clock::Timestamp;
use super::event::Origin;
use super::id::{SessionId, UserId};

/// One login of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Public; never authenticates.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// When its login was answered.
    pub created_at: Timestamp,
    /// When it was last checked, give or take one flush interval.
    pub last_seen_at: Timestamp,
    /// Both ends of its life.
    pub expiry: Expiry,
    /// Whether the login asked to be remembered; decides its [`Lifetime`].
    pub remembered: bool,
    /// Where the login came from.
    pub client: Client,
}

/// What is known of where a login came from. The client says it, so people may read it and nothing is decided by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The address, as text; empty when unknown.
    pub ip: String,
    /// The `User-Agent`, clipped.
    pub user_agent: String,
    /// The `Host` the login was sent to.
    pub host: String,
    /// The id of the request, for the audit. It is not kept with the session: empty in one that was read from the store.
    pub request_id: String,
}

impl Client {
    /// Where a request came from, as the audit keeps it.
    pub fn origin(&self) -> Origin {
        let known = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let (ip, user_agent) = (known(&self.ip), known(&self.user_agent));
        Origin { ip, user_agent, request_id: known(&self.request_id), actor_name: None }
    }
}

/// The deadlines of a session. At a deadline the session is over: `now >= deadline`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Moved forward by every touch that is stored; never past `absolute`.
    pub idle: Timestamp,
    /// Never moves.
    pub absolute: Timestamp,
}

impl Expiry {
    /// Whether the session is over at `now`.
    pub fn over(&self, now: Timestamp) -> bool {
        now >= self.idle || now >= self.absolute
    }
}

/// How long sessions of one kind live (OWASP ASVS 7.3.1, 7.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Without a check for this long, it ends.
    pub idle: Duration,
    /// After this long it ends, however busy.
    pub absolute: Duration,
}

impl Lifetime {
    /// The deadlines of a session that begins at `now`.
    pub fn begin(&self, now: Timestamp) -> Expiry {
        let absolute = now.after(self.absolute);
        Expiry { idle: self.idle_until(now, absolute), absolute }
    }

    /// The idle deadline of a session seen at `seen` that ends at `absolute` whatever happens.
    pub fn idle_until(&self, seen: Timestamp, absolute: Timestamp) -> Timestamp {
        seen.after(self.idle).min(absolute)
    }

    /// How often last-seen times are stored: a twentieth of the idle timeout, but at least every
    /// [`LONGEST_FLUSH_INTERVAL`].
    pub fn flush_interval(&self) -> Duration {
        (self.idle / 20).min(LONGEST_FLUSH_INTERVAL)
    }
}

/// The longest flush interval, whatever the idle timeout is: replicas may be configured differently, and all keep to it.
pub const LONGEST_FLUSH_INTERVAL: Duration = Duration::from_mins(5);

/// How much later than stored a session may have been seen, by what replicas have in memory and did not flush yet: a
/// flush interval until its last-seen time is due, another one until it is taken out, and a third for a store that is slow.
pub const MOST_UNFLUSHED: Duration = LONGEST_FLUSH_INTERVAL.saturating_mul(3);

/// The lifetimes of both kinds of session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// A browser session.
    pub plain: Lifetime,
    /// A login that asked to be remembered, or whose token travels in headers.
    pub remembered: Lifetime,
}

impl Lifetimes {
    /// The lifetime of one kind.
    pub const fn of(&self, remembered: bool) -> Lifetime {
        if remembered { self.remembered } else { self.plain }
    }
}

/// A session that was checked and whose last-seen time is to be stored.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The hash of its token.
    pub token_hash: super::token::TokenHash,
    /// When it was last checked.
    pub at: Timestamp,
    /// Its idle deadline, counted from then.
    pub idle_until: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lifetime(idle: u64, absolute: u64) -> Lifetime {
        Lifetime { idle: Duration::from_millis(idle), absolute: Duration::from_millis(absolute) }
    }

    #[test]
    fn at_its_deadline_a_session_is_over() {
        let expiry = lifetime(10, 100).begin(Timestamp::from_millis(1000));
        assert!(!expiry.over(Timestamp::from_millis(1009)));
        assert!(expiry.over(Timestamp::from_millis(1010)));
    }

    proptest! {
        #[test]
        fn touches_move_the_idle_deadline_and_never_the_end(
            idle in 1..1_000_000u64, absolute in 1..1_000_000u64, start in 0..i64::MAX / 2,
            gaps in proptest::collection::vec(0..100_000u64, 0..20),
        ) {
            let life = lifetime(idle, absolute);
            let begin = Timestamp::from_millis(start);
            let mut expiry = life.begin(begin);
            let end = expiry.absolute;
            let mut now = begin;
            for gap in gaps {
                now = now.after(Duration::from_millis(gap));
                if expiry.over(now) {
                    break;
                }
                let before = expiry.idle;
                expiry.idle = life.idle_until(now, expiry.absolute);
                prop_assert!(expiry.idle >= before && expiry.idle <= end);
                prop_assert!(!expiry.over(now));
            }
            prop_assert_eq!(expiry.absolute, end);
            prop_assert!(expiry.over(end));
        }

        #[test]
        fn a_flush_interval_is_short_beside_the_idle_timeout(idle in 20..100_000_000u64) {
            let interval = lifetime(idle, idle).flush_interval();
            prop_assert!(interval <= Duration::from_mins(5) && interval * 3 <= MOST_UNFLUSHED);
            prop_assert!(interval * 20 <= Duration::from_millis(idle));
        }
    }
}
