//! Checking a password, the one way there is: each try is counted as a failure before it is checked, in the store that all
//! replicas share, and taken back where it did not fail.

use super::limits::{Address, TriedFrom, Whose};
use super::{Error, Result, Service};
use crate::domain::clock::Timestamp;
use crate::domain::id::UserId;
use crate::domain::password::{PasswordHash, Typed};
use crate::domain::throttle::{Counter, ThrottleKey, Wait};
use crate::password::{Share, Verdict};
use crate::store::Booked;
use crate::telemetry::ThrottledBy;

impl Service {
    /// Checks a password, unless it must wait: the one way to do so. The try is counted as a failure before the hash, and stays one
    /// unless what is returned is told otherwise.
    ///
    /// # Errors
    /// [`Error::Throttled`] with the wait, and [`Error::Overloaded`], at once.
    pub(super) async fn check_password(
        &self,
        whose: Whose<'_>,
        from: &TriedFrom,
        typed: Typed,
        hash: Option<PasswordHash>,
    ) -> Result<(Verdict, Try<'_>)> {
        let (counters, now) = (self.limits.counters(whose, from), self.parts.clock.now());
        self.refuse_waiting(&counters, from.address, now).await?;
        // A place before the try is booked, so that what finds none costs the store no change.
        let share = share(&counters, from.address);
        let place = self.hashed(self.parts.hasher.place(share))?;
        let tried = self.book(counters, from.address, share).await?;
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

    /// Counts a try of a code as failed, unless it must wait. It stays one unless what is returned is told otherwise.
    ///
    /// # Errors
    /// [`Error::Throttled`] with the wait, at once.
    pub(super) async fn book_code(&self, user: UserId, from: &TriedFrom) -> Result<Try<'_>> {
        let (counters, now) = (self.limits.counters(Whose::Code(user), from), self.parts.clock.now());
        self.refuse_waiting(&counters, from.address, now).await?;
        let share = share(&counters, from.address);
        self.book(counters, from.address, share).await
    }

    /// Refuses a try that must wait, and changes nothing.
    async fn refuse_waiting(&self, counters: &[Counter], address: Address, now: Timestamp) -> Result<()> {
        if let Some(until) = self.limits.waiting(address, now) {
            return Err(self.throttled(ThrottledBy::address, now, until));
        }
        match self.parts.store.waiting(counters, now).await? {
            Some(until) => Err(self.throttled(ThrottledBy::name, now, until)),
            None => Ok(()),
        }
    }

    /// Counts a try as failed.
    async fn book(&self, counters: Vec<Counter>, address: Address, share: Share) -> Result<Try<'_>> {
        match self.parts.store.book(counters.clone()).await? {
            Booked::Waiting { until } => Err(self.throttled(ThrottledBy::name, self.parts.clock.now(), until)),
            Booked::Yes { at, stopped } => {
                Ok(Try { service: self, counters, address, share, at, stopped, failed: true })
            }
        }
    }

    fn throttled(&self, by: ThrottledBy, now: Timestamp, until: Timestamp) -> Error {
        self.parts.metrics.throttled(by);
        Error::Throttled(Wait::new(now, until))
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
