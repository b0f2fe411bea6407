//! Failures by address: a bucket of tokens for each block of addresses, of which a failure takes one, in the memory of this
//! process.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::address::AddressBlock;
use crate::domain::clock::Timestamp;

/// How many failures an address may have at once. An office behind one address mistypes more than a person does.
const BURST: u32 = 100;
/// How long it takes until one more is allowed.
const REFILL: Duration = Duration::from_secs(6);
/// How many buckets are kept: some 3 MiB.
const MOST: usize = 65_536;

/// The buckets that are not full.
#[derive(Debug, Default)]
pub(super) struct Addresses(Mutex<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    /// When each bucket is full again, from which follows how much is in it.
    full_at: HashMap<AddressBlock, Timestamp>,
    /// When full ones, and those nearly full, were last looked for in vain.
    swept_at: Option<Timestamp>,
}

impl Addresses {
    /// When the next try of an address is checked, where that is not now.
    pub(super) fn waiting(&self, block: AddressBlock, now: Timestamp) -> Option<Timestamp> {
        let full_at = self.0.lock().at(block, now);
        let until = full_at.before(REFILL * (BURST - 1));
        (until > now).then_some(until)
    }

    /// Takes a token for a failure.
    pub(super) fn failed(&self, block: AddressBlock, now: Timestamp) {
        let mut buckets = self.0.lock();
        // Those that were checked at the same time can be more than the bucket holds; what they are too many is not owed.
        let full_at = buckets.at(block, now).after(REFILL).min(now.after(REFILL * BURST));
        if buckets.full_at.contains_key(&block) || buckets.has_room(now) {
            buckets.full_at.insert(block, full_at);
        }
    }
}

impl Buckets {
    fn at(&self, block: AddressBlock, now: Timestamp) -> Timestamp {
        // A clock that was set back must not make a wait longer.
        self.full_at.get(&block).map_or(now, |full_at| (*full_at).clamp(now, now.after(REFILL * BURST)))
    }

    /// Makes room for one more bucket: full ones are not needed, and where all are in use, those go that have had a single
    /// failure. Where there is no room even then, further addresses are not limited: that takes as many addresses that go on
    /// failing.
    fn has_room(&mut self, now: Timestamp) -> bool {
        if self.full_at.len() < MOST {
            return true;
        }
        if self.swept_at.is_some_and(|swept_at| now.since(swept_at) < REFILL && swept_at <= now) {
            return false;
        }
        self.full_at.retain(|_, full_at| *full_at > now.after(REFILL));
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

    fn block(number: u32) -> AddressBlock {
        AddressBlock::of(IpAddr::V4(Ipv4Addr::from_bits(number)))
    }

    /// How many failures go through at one moment.
    fn fail(addresses: &Addresses, number: u32, now: Timestamp) -> usize {
        let allowed = || addresses.waiting(block(number), now).is_none();
        (0..1000).take_while(|_| allowed()).inspect(|_| addresses.failed(block(number), now)).count()
    }

    #[test]
    fn after_a_hundred_failures_there_is_one_every_six_seconds() {
        let addresses = Addresses::default();
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
    fn failures_beyond_an_empty_bucket_make_no_wait_longer() {
        let addresses = Addresses::default();
        (0..1000).for_each(|_| addresses.failed(block(1), BEGIN));
        assert_eq!(addresses.waiting(block(1), BEGIN), Some(BEGIN.after(REFILL)));
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_wait_longer() {
        let addresses = Addresses::default();
        fail(&addresses, 1, BEGIN);
        let before = BEGIN.before(Duration::from_hours(1));
        assert_eq!(addresses.waiting(block(1), before), Some(before.after(REFILL)));
    }

    #[test]
    fn the_number_of_buckets_is_bounded_and_those_that_failed_most_are_kept() {
        let addresses = Addresses::default();
        let most = u32::try_from(MOST).expect("small");
        fail(&addresses, 0, BEGIN);
        (1..3 * most).for_each(|number| addresses.failed(block(number), BEGIN));
        assert!(addresses.0.lock().full_at.len() <= MOST);
        assert!(addresses.waiting(block(0), BEGIN).is_some(), "the one that failed most");
        (1..most).for_each(|number| addresses.failed(block(number), BEGIN.after(REFILL * 2)));
        assert!(addresses.0.lock().full_at.len() <= MOST);
    }
}
