//! Checking a password, the one way there is: each try is counted as a failure before it is checked, in the store that all
//! replicas share, and taken back where it did not fail.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::limits::in_flight::Checking;
use super::limits::{Address, TriedFrom, Whose};
use super::{Error, Result, Service};
use crate::domain::clock::Timestamp;
use crate::domain::id::UserId;
use crate::domain::password::{PasswordHash, Typed};
use crate::domain::text::LoginName;
use crate::domain::throttle::{Counter, ThrottleKey, Wait};
use crate::password::{Admission, HashError, Share, Verdict};
use crate::store::Booked;
use crate::telemetry::ThrottledBy;

/// How long a try waits for others at most that are being checked.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

impl Service {
    /// Checks a password, unless it must wait: the one way to do so, from an address that [`Self::refuse_address`] did not
    /// refuse. The try is counted as a failure before the hash, and stays one unless it is given back or resets the counters.
    ///
    /// # Errors
    /// [`Error::Throttled`] with the wait, and [`Error::Overloaded`], at once.
    pub(super) async fn check_password(
        &self,
        whose: Whose<'_>,
        from: &TriedFrom,
        typed: Typed,
        hash: Option<PasswordHash>,
        admission: Option<Admission<'_>>,
    ) -> Result<(Verdict, Try<'_>)> {
        let counters = self.limits.counters(whose, from);
        // A place before the try is booked, so that what finds none costs the store no change.
        let share = share(&counters, from.address);
        let (mut place, mut admission) = (None, admission);
        let waits_until = Instant::now() + LONGEST_WAIT;
        let tried = loop {
            let refused = match self.refuse_waiting(&counters).await {
                Ok(()) => {
                    if place.is_none() {
                        place = Some(self.hashed(self.parts.hasher.place(share))?);
                    }
                    drop(admission.take());
                    match self.book(&counters, from.address, share).await {
                        Ok(tried) => break tried,
                        Err(refused) => refused,
                    }
                }
                Err(refused) => refused,
            };
            drop(admission.take());
            // Those that are being checked count as failures, and may be none.
            let one_ended = timeout_at(waits_until, self.limits.in_flight.one_ends(&counters)).await;
            if !matches!((&refused, one_ended), (Error::Throttled(_), Ok(true))) {
                return Err(self.counted_refusal(refused));
            }
        };
        let Some(place) = place else { return Err(Error::Bug("a try without a place in the queue".into())) };
        if tried.stopped {
            self.parts.metrics.passwords.throttled(ThrottledBy::account);
        }
        // Against no hash nothing is right, and it takes as long.
        let hash = hash.filter(|_| !tried.stopped);
        match self.hashed(place.verify(typed, hash).await) {
            Ok(verdict) => Ok((verdict, tried)),
            Err(error) => {
                tried.give_back().await;
                Err(error)
            }
        }
    }

    /// Counts a try of a code as failed, unless it must wait. It stays one unless it is given back or resets the counters.
    ///
    /// # Errors
    /// [`Error::Throttled`] with the wait, at once.
    pub(super) async fn book_code(&self, user: UserId, from: &TriedFrom) -> Result<Try<'_>> {
        self.refuse_limited_address(from.address)?;
        let counters = self.limits.counters(Whose::Code(user), from);
        let share = share(&counters, from.address);
        let booked = match self.refuse_waiting(&counters).await {
            Ok(()) => self.book(&counters, from.address, share).await,
            Err(refused) => Err(refused),
        };
        booked.map_err(|refused| self.counted_refusal(refused))
    }

    /// Admits a login to what is looked up before its password is checked.
    ///
    /// # Errors
    /// [`Error::Overloaded`] at once.
    pub(super) fn admit(&self, name: &LoginName, from: &TriedFrom) -> Result<Admission<'_>> {
        let counters = self.limits.counters(Whose::Name(name, None), from);
        self.hashed(self.parts.hasher.admit(share(&counters, from.address)))
    }

    /// Refuses a password from an address from which too much was wrong, or which holds as many places in the queue as it
    /// may, and every password while the queue is full, before it costs the store anything.
    ///
    /// # Errors
    /// [`Error::Throttled`] and [`Error::Overloaded`].
    pub(super) fn refuse_address(&self, address: Address) -> Result<()> {
        self.refuse_limited_address(address)?;
        let share = share(&[], address);
        if self.parts.hasher.is_full_for(share) {
            return self.hashed(Err(HashError::Overloaded));
        }
        Ok(())
    }

    /// Refuses whatever comes from an address from which too much was wrong.
    fn refuse_limited_address(&self, address: Address) -> Result<()> {
        let now = self.parts.clock.now();
        match self.limits.waiting(address, now) {
            Some(until) => Err(self.throttled(ThrottledBy::address, now, until)),
            None => Ok(()),
        }
    }

    /// Refuses a try that must wait, and changes nothing.
    async fn refuse_waiting(&self, counters: &[Counter]) -> Result<()> {
        let now = self.parts.clock.now();
        match self.parts.store.waiting(counters, now).await? {
            Some(until) => Err(Error::Throttled(Wait::new(now, until))),
            None => Ok(()),
        }
    }

    /// Counts a refusal that is for the name, if it is one.
    fn counted_refusal(&self, refused: Error) -> Error {
        if matches!(refused, Error::Throttled(_)) {
            self.parts.metrics.passwords.throttled(ThrottledBy::name);
        }
        refused
    }

    /// Counts a try as failed.
    async fn book(&self, counters: &[Counter], address: Address, share: Share) -> Result<Try<'_>> {
        let checking = self.limits.in_flight.begin(counters);
        match self.parts.store.book(counters.to_vec()).await? {
            Booked::Waiting { until } => Err(Error::Throttled(Wait::new(self.parts.clock.now(), until))),
            Booked::Yes { at, stopped } => {
                let counters = counters.to_vec();
                Ok(Try { service: self, counters, address, share, at, stopped, failed: true, _checking: checking })
            }
        }
    }

    fn throttled(&self, by: ThrottledBy, now: Timestamp, until: Timestamp) -> Error {
        self.parts.metrics.passwords.throttled(by);
        Error::Throttled(Wait::new(now, until))
    }

    /// From now on an address may have so many failures within ten minutes.
    pub fn set_failures_per_address(&self, failures: NonZeroU32) {
        self.limits.set_failures_per_address(failures);
    }

    /// Counts a failure that was not worth a hash, by its address.
    pub(super) fn failed_without_hash(&self, address: Address) {
        self.limits.failed(address, self.parts.clock.now());
    }
}

/// The same share for the same client, and for the same name as it was presented, or the same account of a browser that is known.
fn share(counters: &[Counter], address: Address) -> Share {
    let first = |bytes: &[u8]| bytes.first_chunk().map(|first| u64::from_le_bytes(*first));
    let client = address.client().and_then(|block| block.bytes().last_chunk().map(|last| u64::from_be_bytes(*last)));
    Share { client, name: counters.first().and_then(|counter| first(counter.about.as_bytes())) }
}

/// A try that was counted as a failure, and is one unless it is given back or resets the counters.
#[must_use = "a try that is dropped has failed"]
pub(super) struct Try<'s> {
    service: &'s Service,
    counters: Vec<Counter>,
    address: Address,
    share: Share,
    at: Timestamp,
    stopped: bool,
    failed: bool,
    _checking: Checking,
}

impl Try<'_> {
    /// The counters that begin anew when the login is complete, in the transaction that makes its session.
    pub(super) fn resets(&self, user: UserId) -> Vec<ThrottleKey> {
        let account = self.service.limits.account(user);
        let keys = self.counters.iter().map(|counter| counter.key).filter(|key| *key != account);
        keys.chain([account]).collect()
    }

    /// Who holds places in the queue, for another password of the same request.
    pub(super) const fn share(&self) -> Share {
        self.share
    }

    /// The login was complete, and its transaction has reset the counters.
    pub(super) fn succeeded(mut self) {
        self.failed = false;
    }

    /// What was tried was not wrong, or could not be checked: the counters are as if it had not been tried.
    pub(super) async fn give_back(mut self) {
        self.failed = false;
        let store = &self.service.parts.store;
        if let Err(error) = store.give_back(std::mem::take(&mut self.counters), self.at).await {
            tracing::warn!(%error, "a try of a password stays counted as a failure, though it was none");
        }
    }
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        if self.failed {
            self.service.failed_without_hash(self.address);
        }
    }
}
