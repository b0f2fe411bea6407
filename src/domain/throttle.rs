//! Limits on tries of passwords and codes: what is counted, under which keys, and the wait that follows from a count.
//!
//! A key is an HMAC, so that nothing that is stored says whose failures it counts, and a name that no user has looks like
//! any other.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::address::AddressBlock;
use super::clock::Timestamp;
use super::entropy::{Entropy, NoEntropy};
use super::id::{SessionId, UserId};
use super::text::LoginName;

/// The failures in a row after which a name, an account or a browser is stopped (NIST SP 800-63B-4, section 3.2.2).
pub const STOP: i64 = 100;
/// How long failures are remembered after the last of them, and so how long a stop lasts.
pub const MEMORY: Duration = Duration::from_hours(24);
/// The first wait. Each further failure doubles it.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest wait short of a stop.
const LONGEST: Duration = Duration::from_mins(15);

/// The end of a wait that there is not.
pub const NO_WAIT: Timestamp = Timestamp::from_millis(0);

/// What a counter counts the failures of. The more special come first, and are booked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counted {
    /// A name as it was presented, from one block of addresses.
    NameFromPlace,
    /// An account, from a browser that has logged in to it before or through one of its sessions.
    KnownBrowser,
    /// A name as it was presented, from anywhere.
    Name,
    /// An account, by whichever of its names, from where it is not known. No try is refused for its wait, which would show
    /// that two names belong to one account: a try of an account that is stopped is checked and refused as if it were wrong.
    Account,
    /// The same of a name that belongs to no account, so that it takes as much work. Nothing follows from it.
    NoAccount,
    /// Codes of an account's second factor, from anywhere: only who knows the password gets that far.
    Code,
}

impl Counted {
    /// Every kind, at the place of its number.
    pub const ALL: [Self; 6] =
        [Self::NameFromPlace, Self::KnownBrowser, Self::Name, Self::Account, Self::NoAccount, Self::Code];

    /// The number that the store keeps.
    pub const fn number(self) -> i16 {
        match self {
            Self::NameFromPlace => 0,
            Self::KnownBrowser => 1,
            Self::Name => 2,
            Self::Account => 3,
            Self::NoAccount => 4,
            Self::Code => 5,
        }
    }

    /// The kind that the store keeps as this number.
    pub fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|counted| counted.number() == number)
    }

    /// Whether a try is refused for its wait.
    pub const fn refuses(self) -> bool {
        match self {
            Self::NameFromPlace | Self::KnownBrowser | Self::Name | Self::Code => true,
            Self::Account | Self::NoAccount => false,
        }
    }

    /// The failure that the first wait follows from.
    const fn first(self) -> i64 {
        match self {
            Self::NameFromPlace | Self::KnownBrowser | Self::Code => 5,
            Self::Name => 25,
            Self::Account | Self::NoAccount => STOP,
        }
    }

    /// How long no try is checked after so many failures in a row.
    pub fn wait_after(self, failures: i64) -> Duration {
        if failures >= STOP {
            return MEMORY;
        }
        let doublings = failures - self.first();
        match u32::try_from(doublings) {
            Ok(doublings) => SHORTEST.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(LONGEST),
            Err(_) => Duration::ZERO,
        }
    }
}

/// The state of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The failures in a row, those included that are still being checked.
    pub failures: i64,
    /// No try is checked before. Where there is no wait it is [`NO_WAIT`], since the clocks of two processes differ.
    pub until: Timestamp,
    /// When the failures are forgotten.
    pub forget_at: Timestamp,
}

impl Tally {
    /// The state after one more try, which counts as a failure until it is given back.
    pub fn booked(before: Option<Self>, counted: Counted, now: Timestamp) -> Self {
        let failures = before.filter(|before| before.forget_at > now).map_or(0, |before| before.failures) + 1;
        let wait = counted.wait_after(failures);
        let until = if wait.is_zero() { NO_WAIT } else { now.after(wait) };
        Self { failures, until, forget_at: now.after(MEMORY) }
    }

    /// The state after a try was given back that was booked at `at`; none where it was the only one.
    pub fn given_back(self, at: Timestamp) -> Option<Self> {
        // A try is booked only when every wait is over, so a wait that began with it was the only one.
        let until = if self.forget_at == at.after(MEMORY) { NO_WAIT } else { self.until };
        (self.failures > 1).then_some(Self { failures: self.failures - 1, until, ..self })
    }
}

/// Finds a counter.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ThrottleKey([u8; 32]);

impl ThrottleKey {
    /// Takes the 32 bytes of a stored key.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ThrottleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ThrottleKey(…)")
    }
}

/// A counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Finds it.
    pub key: ThrottleKey,
    /// The key of the name or the account that it is about.
    pub about: ThrottleKey,
    /// What it counts.
    pub counted: Counted,
}

/// How long until the next try is checked: from one value whatever a dialect says of it, in whole seconds, and never too
/// short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    seconds: u64,
    end: Timestamp,
}

impl Wait {
    /// From `now` until `until`, rounded up to whole seconds, and one at least.
    pub fn new(now: Timestamp, until: Timestamp) -> Self {
        let seconds = until.since(now).as_millis().div_ceil(1000).max(1);
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
        Self { seconds, end: now.after(Duration::from_secs(seconds)) }
    }

    /// In seconds.
    pub const fn seconds(self) -> u64 {
        self.seconds
    }

    /// When it is over.
    pub const fn end(self) -> Timestamp {
        self.end
    }
}

/// The random bytes in a number, and the HMAC over them.
const RANDOM: usize = 8;
const NONCE: usize = 16;
const MARK: usize = 16;
const LETTERS: usize = 43;

/// What a browser keeps that has logged in to an account: a number of its own, by which it can be told that the mark was made
/// here, and an HMAC over it and the account. It is no credential; it gives the browser a counter of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BrowserMark {
    nonce: [u8; NONCE],
    mac: [u8; MARK],
}

impl BrowserMark {
    /// Reads a cookie's value; `None` when it does not have the form of one of ours.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; NONCE + MARK];
        if text.len() != LETTERS || URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) != Ok(bytes.len()) {
            return None;
        }
        let (nonce, mac) = bytes.split_first_chunk()?;
        Some(Self { nonce: *nonce, mac: *mac.first_chunk()? })
    }

    /// The cookie's value.
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode([self.nonce, self.mac].concat())
    }
}

impl fmt::Debug for BrowserMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrowserMark(…)")
    }
}

/// The key under which counters are found and browsers are marked.
#[derive(Clone)]
pub struct ThrottleSecret(Hmac<Sha256>);

impl ThrottleSecret {
    /// Makes the key from bytes that serve no other purpose.
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        Self(Hmac::new(&block))
    }

    /// The counter of a name.
    pub fn name(&self, name: &LoginName) -> Counter {
        let key = self.name_key(name);
        Counter { key, about: key, counted: Counted::Name }
    }

    /// The counter of a name from a block of addresses, or from where no address is known.
    pub fn name_from_place(&self, name: &LoginName, place: Option<AddressBlock>) -> Counter {
        let about = self.name_key(name);
        let place = place.map(AddressBlock::bytes).unwrap_or_default();
        Counter { key: self.key(b"place", &[&about.0, &place]), about, counted: Counted::NameFromPlace }
    }

    /// The counter of an account.
    pub fn account(&self, user: UserId) -> Counter {
        let key = self.account_key(user);
        Counter { key, about: key, counted: Counted::Account }
    }

    /// The counter that stands for the account of a name that has none.
    pub fn no_account(&self, name: &LoginName) -> Counter {
        let about = self.name_key(name);
        Counter { key: self.key(b"no account", &[&about.0]), about, counted: Counted::NoAccount }
    }

    /// The counter of a browser that has logged in to an account.
    pub fn browser(&self, user: UserId, browser: &BrowserMark) -> Counter {
        let about = self.account_key(user);
        Counter { key: self.key(b"browser", &[&about.0, &browser.nonce]), about, counted: Counted::KnownBrowser }
    }

    /// The counter of codes of an account's second factor.
    pub fn code(&self, user: UserId) -> Counter {
        let about = self.account_key(user);
        Counter { key: self.key(b"code", &[&about.0]), about, counted: Counted::Code }
    }

    /// The counter of a session, through which its owner proves to be there.
    pub fn session(&self, user: UserId, session: SessionId) -> Counter {
        let about = self.account_key(user);
        let key = self.key(b"session", &[&about.0, session.as_str().as_bytes()]);
        Counter { key, about, counted: Counted::KnownBrowser }
    }

    /// Marks a browser that has logged in to an account for the first time.
    ///
    /// # Errors
    /// [`NoEntropy`] when the random source fails.
    pub fn mark(&self, user: UserId, entropy: &dyn Entropy) -> Result<BrowserMark, NoEntropy> {
        let mut random = [0; RANDOM];
        entropy.fill(&mut random)?;
        let nonce = self.nonce(random);
        Ok(BrowserMark { nonce, mac: self.mac(user, &nonce) })
    }

    /// Whether a mark was made here, for whichever account. It takes the same time whether or not there is such a user.
    pub fn made(&self, browser: &BrowserMark) -> bool {
        let random = browser.nonce.first_chunk();
        random.is_some_and(|random| self.nonce(*random).ct_eq(&browser.nonce).into())
    }

    /// The number that begins with these bytes.
    fn nonce(&self, random: [u8; RANDOM]) -> [u8; NONCE] {
        let ThrottleKey(key) = self.key(b"number", &[&random]);
        let mut nonce = [0; NONCE];
        nonce.iter_mut().zip(random.into_iter().chain(key)).for_each(|(to, from)| *to = from);
        nonce
    }

    /// Whether a browser has logged in to an account.
    pub fn knows(&self, user: UserId, browser: &BrowserMark) -> bool {
        self.mac(user, &browser.nonce).ct_eq(&browser.mac).into()
    }

    fn mac(&self, user: UserId, nonce: &[u8; NONCE]) -> [u8; MARK] {
        let ThrottleKey(key) = self.key(b"mark", &[nonce, user.as_str().as_bytes()]);
        let mut mac = [0; MARK];
        mac.iter_mut().zip(key).for_each(|(to, from)| *to = from);
        mac
    }

    fn name_key(&self, name: &LoginName) -> ThrottleKey {
        match name {
            LoginName::Username(name) => self.key(b"username", &[name.as_bytes()]),
            LoginName::Email(name) => self.key(b"email", &[name.as_bytes()]),
            LoginName::Impossible(name) => self.key(b"impossible", &[name.as_bytes()]),
        }
    }

    fn account_key(&self, user: UserId) -> ThrottleKey {
        self.key(b"account", &[user.as_str().as_bytes()])
    }

    /// Of the parts only the last may vary in length.
    fn key(&self, purpose: &[u8], parts: &[&[u8]]) -> ThrottleKey {
        let mut mac = self.0.clone().chain_update(purpose).chain_update([0]);
        for part in parts {
            mac.update(part);
        }
        ThrottleKey(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for ThrottleSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ThrottleSecret(…)")
    }
}

#[cfg(test)]
mod tests;
