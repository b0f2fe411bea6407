//! Failures by address: a bucket of tokens for each block of addresses, of which a failure takes one, in the memory of this
//! process.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::address::AddressBlock;
use crate::domain::clock::Timestamp;

/// About how long an empty bucket takes to be full, in milliseconds.
const TEN_MINUTES: u32 = 600_000;
/// How many buckets are kept: some 3 MiB.
const MOST: usize = 65_536;

/// The buckets that are not full.
#[derive(Debug)]
pub(super) struct Addresses(Mutex<Buckets>);

#[derive(Debug)]
struct Buckets {
    times: Times,
    /// When each bucket is full again, from which follows how much is in it.
    full_at: HashMap<AddressBlock, Timestamp>,
    /// When full ones, and those nearly full, were last looked for in vain.
    swept_at: Option<Timestamp>,
}

/// How fast buckets are filled.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// How long it takes until one more failure is allowed.
    refill: Duration,
    /// How long it takes until an empty bucket is full.
    full: Duration,
}

impl Times {
    /// Those of buckets that allow so many failures. An office behind one address mistypes more than a person does.
    fn of(failures: NonZeroU32) -> Self {
        // In whole milliseconds, as timestamps are.
        let refill = Duration::from_millis(u64::from(TEN_MINUTES / failures));
        Self { refill, full: refill * failures.get() }
    }
}

impl Addresses {
    /// Lets an address have so many failures at once, and as many again in each ten minutes.
    pub(super) fn new(failures: NonZeroU32) -> Self {
        Self(Mutex::new(Buckets { times: Times::of(failures), full_at: HashMap::new(), swept_at: None }))
    }

    /// Lets an address have so many from now on. A bucket stays as full as it is, as a part of the whole.
    pub(super) fn allow(&self, failures: NonZeroU32) {
        self.0.lock().times = Times::of(failures);
    }

    /// When the next try of an address is checked, where that is not now.
    pub(super) fn waiting(&self, block: AddressBlock, now: Timestamp) -> Option<Timestamp> {
        let buckets = self.0.lock();
        let Times { refill, full } = buckets.times;
        let until = buckets.at(block, now).before(full.saturating_sub(refill));
        (until > now).then_some(until)
    }

    /// Takes a token for a failure.
    pub(super) fn failed(&self, block: AddressBlock, now: Timestamp) {
        let mut buckets = self.0.lock();
        let Times { refill, full } = buckets.times;
        // Those that were checked at the same time can be more than the bucket holds; what they are too many is not owed.
        let full_at = buckets.at(block, now).after(refill).min(now.after(full));
        if buckets.full_at.contains_key(&block) || buckets.has_room(now) {
            buckets.full_at.insert(block, full_at);
        }
    }
}

impl Buckets {
    fn at(&self, block: AddressBlock, now: Timestamp) -> Timestamp {
        // A clock that was set back must not make a wait longer.
        self.full_at.get(&block).map_or(now, |full_at| (*full_at).clamp(now, now.after(self.times.full)))
    }

    /// Makes room for one more bucket: full ones are not needed, and where all are in use, those go that have had a single
    /// failure. Where there is no room even then, further addresses are not limited: that takes as many addresses that go on
    /// failing.
    fn has_room(&mut self, now: Timestamp) -> bool {
        if self.full_at.len() < MOST {
            return true;
        }
        let Times { refill, full } = self.times;
        if self.swept_at.is_some_and(|swept_at| now.since(swept_at) < refill && swept_at <= now) {
            return false;
        }
        // A bucket that a single failure has emptied stays.
        let nearly_full = now.after(refill.min(full / 2));
        self.full_at.retain(|_, full_at| *full_at > nearly_full);
        let has_room = self.full_at.len() < MOST;
        self.swept_at = (!has_room).then_some(now);
        has_room
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const BEGIN: Timestamp = Timestamp::from_millis(1_000_000);
    /// How long it takes until one more of a hundred is allowed.
    const REFILL: Duration = Duration::from_secs(6);

    fn allowing(failures: u32) -> Addresses {
        Addresses::new(NonZeroU32::new(failures).expect("some"))
    }

    fn block(number: u32) -> AddressBlock {
        AddressBlock::of(IpAddr::V4(Ipv4Addr::from_bits(number)))
    }

    /// How many failures go through at one moment.
    fn fail(addresses: &Addresses, number: u32, now: Timestamp) -> usize {
        let allowed = || addresses.waiting(block(number), now).is_none();
        (0..20_000).take_while(|_| allowed()).inspect(|_| addresses.failed(block(number), now)).count()
    }

    #[test]
    fn after_a_hundred_failures_there_is_one_every_six_seconds() {
        let addresses = allowing(100);
        assert_eq!(fail(&addresses, 1, BEGIN), 100);
        assert_eq!(addresses.waiting(block(1), BEGIN), Some(BEGIN.after(REFILL)));
        assert_eq!(addresses.waiting(block(2), BEGIN), None, "another address");
        let soon = BEGIN.after(REFILL);
        assert!(addresses.waiting(block(1), soon.before(Duration::from_millis(1))).is_some());
        assert_eq!(fail(&addresses, 1, soon), 1, "waiting exactly that long is enough, once");
        assert_eq!(fail(&addresses, 1, soon.after(REFILL * 10)), 10);
        assert_eq!(fail(&addresses, 1, soon.after(REFILL * 1000)), 100, "and never more than a full bucket");
    }

    #[test]
    fn as_many_failures_are_allowed_as_are_set() {
        for failures in [1, 2, 3, 7, 60, 999, 9837, 10_000] {
            let addresses = allowing(failures);
            let allowed = usize::try_from(failures).expect("small");
            assert_eq!(fail(&addresses, 1, BEGIN), allowed);
            let later = BEGIN.after(Duration::from_mins(10));
            assert_eq!(fail(&addresses, 1, later), allowed, "as many again after ten minutes");
        }
    }

    #[test]
    fn a_bucket_stays_as_full_as_it_is_when_it_may_hold_more_or_less() {
        let addresses = allowing(100);
        (0..50).for_each(|_| addresses.failed(block(1), BEGIN));
        addresses.allow(NonZeroU32::new(10).expect("some"));
        assert_eq!(fail(&addresses, 1, BEGIN), 5);
        addresses.allow(NonZeroU32::new(1000).expect("some"));
        assert_eq!(fail(&addresses, 1, BEGIN), 0, "it is empty");
        assert_eq!(fail(&addresses, 1, BEGIN.after(REFILL)), 10);
        assert_eq!(fail(&addresses, 2, BEGIN), 1000);
    }

    #[test]
    fn failures_beyond_an_empty_bucket_make_no_wait_longer() {
        let addresses = allowing(100);
        (0..1000).for_each(|_| addresses.failed(block(1), BEGIN));
        assert_eq!(addresses.waiting(block(1), BEGIN), Some(BEGIN.after(REFILL)));
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_wait_longer() {
        let addresses = allowing(100);
        fail(&addresses, 1, BEGIN);
        let before = BEGIN.before(Duration::from_hours(1));
        assert_eq!(addresses.waiting(block(1), before), Some(before.after(REFILL)));
    }

    #[test]
    fn the_number_of_buckets_is_bounded_and_those_that_failed_most_are_kept() {
        let addresses = allowing(100);
        let most = u32::try_from(MOST).expect("small");
        fail(&addresses, 0, BEGIN);
        (1..3 * most).for_each(|number| addresses.failed(block(number), BEGIN));
        assert!(addresses.0.lock().full_at.len() <= MOST);
        assert!(addresses.waiting(block(0), BEGIN).is_some(), "the one that failed most");
        (1..most).for_each(|number| addresses.failed(block(number), BEGIN.after(REFILL * 2)));
        assert!(addresses.0.lock().full_at.len() <= MOST);
    }

    #[test]
    fn no_address_that_waits_is_forgotten_to_make_room_even_where_one_failure_is_too_many() {
        let addresses = allowing(1);
        let most = u32::try_from(MOST).expect("small");
        (0..=most).for_each(|number| addresses.failed(block(number), BEGIN));
        assert!(addresses.waiting(block(0), BEGIN).is_some());
    }
}
