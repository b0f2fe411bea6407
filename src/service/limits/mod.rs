//! What limits tries of passwords and codes: by which counters of the store a try is counted, and by which address.
//!
//! `addresses` counts failures by address, in memory, and `in_flight` knows which tries are being checked. How long one waits
//! is decided in `domain::throttle`. The reasons are in `docs/adr/0020-limits-on-tries.md`.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use self::addresses::Addresses;
use self::in_flight::InFlight;
use crate::domain::address::AddressBlock;
use crate::domain::clock::Timestamp;
use crate::domain::entropy::{Entropy, NoEntropy};
use crate::domain::id::{SessionId, UserId};
use crate::domain::text::{Email, LoginName, Username};
use crate::domain::throttle::{BrowserMark, Counter, ThrottleKey, ThrottleSecret};
use crate::domain::user::User;

mod addresses;
pub(super) mod in_flight;

/// How many marks a browser keeps: people who share one are known in it.
pub const MOST_MARKS: usize = 4;

/// Where a password or a code is tried from.
#[derive(Clone, Debug, Default)]
pub struct TriedFrom {
    /// The address.
    pub address: Address,
    /// What the browser keeps of earlier logins, if it is a browser and there were any.
    pub browser: Vec<BrowserMark>,
}

/// The address of a client, as far as it can be relied on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Address {
    /// The client's.
    Known(AddressBlock),
    /// The peer's, which may be a proxy's and so everybody's: it counts beside a name, and has no limit of its own.
    Peer(AddressBlock),
    /// There is none.
    #[default]
    Unknown,
}

impl Address {
    /// The client's own.
    pub fn known(address: IpAddr) -> Self {
        Self::Known(AddressBlock::of(address))
    }

    /// One that may be a proxy's.
    pub fn peer(address: IpAddr) -> Self {
        Self::Peer(AddressBlock::of(address))
    }

    /// What stands beside a name.
    const fn place(self) -> Option<AddressBlock> {
        match self {
            Self::Known(block) | Self::Peer(block) => Some(block),
            Self::Unknown => None,
        }
    }

    /// What is limited by itself.
    pub(super) const fn client(self) -> Option<AddressBlock> {
        match self {
            Self::Known(block) => Some(block),
            Self::Peer(_) | Self::Unknown => None,
        }
    }
}

/// Whose password or code is tried.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whose<'a> {
    /// That of this name, which belongs to the account, where there is one.
    Name(&'a LoginName, Option<UserId>),
    /// That of the user of a live session. What strangers try is counted elsewhere, so that it does not keep the user out.
    Session(UserId, SessionId),
    /// A code of the second factor of this user, whose password was right.
    Code(UserId),
}

/// The limits.
pub(super) struct Limits {
    secret: ThrottleSecret,
    addresses: Addresses,
    pub(super) in_flight: Arc<InFlight>,
}

impl Limits {
    /// Counts under keys made with `secret`, and lets an address have so many failures within ten minutes.
    pub(super) fn new(secret: ThrottleSecret, failures_per_address: NonZeroU32) -> Self {
        Self { secret, addresses: Addresses::new(failures_per_address), in_flight: Arc::default() }
    }

    /// From now on an address may have so many failures within ten minutes.
    pub(super) fn set_failures_per_address(&self, failures: NonZeroU32) {
        self.addresses.allow(failures);
    }

    /// The counters of a try, the most special first. A browser that has logged in to the account has a counter of its own, and no
    /// other: strangers cannot lock its owner out, and it adds nothing to what they are charged with.
    pub(super) fn counters(&self, whose: Whose<'_>, from: &TriedFrom) -> Vec<Counter> {
        match whose {
            Whose::Session(user, session) => vec![self.secret.session(user, session)],
            Whose::Code(user) => vec![self.secret.code(user)],
            Whose::Name(name, account) => {
                if let Some((user, mark)) = self.known_browser(account, from) {
                    return vec![self.secret.browser(user, mark)];
                }
                let by_name = [self.secret.name_from_place(name, from.address.place()), self.secret.name(name)];
                let account = account.map_or_else(|| self.secret.no_account(name), |user| self.secret.account(user));
                by_name.into_iter().chain([account]).collect()
            }
        }
    }

    pub(super) fn known_browser<'f>(
        &self,
        account: Option<UserId>,
        from: &'f TriedFrom,
    ) -> Option<(UserId, &'f BrowserMark)> {
        let user = account?;
        from.browser.iter().find(|mark| self.secret.knows(user, mark)).map(|mark| (user, mark))
    }

    /// Every key about a user: under these all counters are lifted.
    pub(super) fn about(&self, user: &User) -> Vec<ThrottleKey> {
        let mut keys = self.about_names(Some(&user.username), user.email.as_ref());
        keys.push(self.secret.account(user.id).key);
        keys
    }

    /// The keys about names that a user gets.
    pub(super) fn about_names(&self, username: Option<&Username>, email: Option<&Email>) -> Vec<ThrottleKey> {
        login_names(username, email).map(|name| self.secret.name(&name).key).collect()
    }

    /// The counters of a password that was right in a step before, by whichever of the user's names.
    pub(super) fn of_step_before(&self, user: &User, from: &TriedFrom) -> Vec<ThrottleKey> {
        let names = login_names(Some(&user.username), user.email.as_ref());
        let counters = names.flat_map(|name| self.counters(Whose::Name(&name, Some(user.id)), from));
        counters.map(|counter| counter.key).collect()
    }

    /// When the next try from an address is checked, where that is not now.
    pub(super) fn waiting(&self, address: Address, now: Timestamp) -> Option<Timestamp> {
        address.client().and_then(|block| self.addresses.waiting(block, now))
    }

    /// Counts a failure by its address.
    pub(super) fn failed(&self, address: Address, now: Timestamp) {
        if let Some(block) = address.client() {
            self.addresses.failed(block, now);
        }
    }

    /// Whether a mark was made here.
    pub(super) fn made(&self, mark: &BrowserMark) -> bool {
        self.secret.made(mark)
    }

    /// What a browser that has just logged in to an account keeps: the mark of that account, which it has already or is new, and
    /// behind it those of other accounts.
    ///
    /// # Errors
    /// [`NoEntropy`] when the random source fails.
    pub(super) fn browser_marks(
        &self,
        user: UserId,
        from: &TriedFrom,
        entropy: &dyn Entropy,
    ) -> Result<Vec<BrowserMark>, NoEntropy> {
        let mut marks = match self.known_browser(Some(user), from) {
            Some((_, mark)) => vec![*mark],
            None => vec![self.secret.mark(user, entropy)?],
        };
        for other in from.browser.iter().filter(|mark| !self.secret.knows(user, mark)) {
            if marks.len() < MOST_MARKS && !marks.contains(other) {
                marks.push(*other);
            }
        }
        Ok(marks)
    }

    /// The key of an account.
    pub(super) fn account(&self, user: UserId) -> ThrottleKey {
        self.secret.account(user).key
    }
}

/// What can be typed to log in as who has this username and this address.
fn login_names(username: Option<&Username>, email: Option<&Email>) -> impl Iterator<Item = LoginName> {
    let username = username.map(|name| LoginName::Username(name.key()));
    username.into_iter().chain(email.map(|email| LoginName::Email(email.key())))
}
