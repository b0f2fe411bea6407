//! From the hash of a token to the place of its session in a shard: six to eight bytes for each, all in one array.
//!
//! A million sessions do not fit into a processor's caches, so that a check spends its time on what it has to wait for. Here
//! that is one line of an array, where a table with its control bytes apart from its content waits for two, one after the
//! other (ADR 8).
//!
//! It is open addressing with linear probing. A slot holds eight bits of the hash, so that hardly any other session is
//! looked at, and the place plus one, as an empty slot is zero.

/// The most places there can be.
pub(super) const MOST: usize = PLACE as usize;

const PLACE_BITS: u32 = 24;
/// The bits of a slot that are the place plus one; the others are the tag.
const PLACE: u32 = (1 << PLACE_BITS) - 1;
const EMPTY: u32 = 0;
/// How many slots the smallest array has.
const FEWEST: usize = 16;

/// The places of sessions, each under a hash. A method's `hash_of` tells the hash of what is at a place.
#[derive(Default)]
pub(super) struct Index {
    slots: Vec<u32>,
    used: usize,
}

impl Index {
    /// The place with this hash of which `is` is true.
    pub(super) fn find(&self, hash: u64, is: impl Fn(usize) -> bool) -> Option<usize> {
        self.slot(hash, is).map(|(_, place)| place)
    }

    /// Adds a place, which is less than [`MOST`].
    pub(super) fn insert(&mut self, hash: u64, place: usize, hash_of: impl Fn(usize) -> u64) {
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            self.grow(hash_of);
        }
        self.put(hash, slot_of(hash, place));
        self.used += 1;
    }

    /// Removes the place with this hash of which `is` is true, and returns it.
    pub(super) fn remove(
        &mut self,
        hash: u64,
        is: impl Fn(usize) -> bool,
        hash_of: impl Fn(usize) -> u64,
    ) -> Option<usize> {
        let (mut gap, removed) = self.slot(hash, is)?;
        // What follows moves up, unless that put it before the slot at which the search for it begins.
        let mut at = gap;
        loop {
            at = self.after(at);
            let Some(place) = self.place(at) else { break };
            let home = self.home(hash_of(place));
            if self.distance(home, at) >= self.distance(gap, at) {
                self.slots.swap(gap, at);
                gap = at;
            }
        }
        self.set(gap, EMPTY);
        self.used -= 1;
        Some(removed)
    }

    /// Notes that what was at one place is at another now.
    pub(super) fn relocate(&mut self, hash: u64, from: usize, to: usize) {
        if let Some((at, _)) = self.slot(hash, |place| place == from) {
            self.set(at, slot_of(hash, to));
        }
    }

    /// The slot and the place with this hash of which `is` is true.
    fn slot(&self, hash: u64, is: impl Fn(usize) -> bool) -> Option<(usize, usize)> {
        let mut at = self.home(hash);
        // It ends, as a quarter of the slots is empty.
        loop {
            let slot = *self.slots.get(at)?;
            let place = place_of(slot)?;
            if slot >> PLACE_BITS == tag(hash) && is(place) {
                return Some((at, place));
            }
            at = self.after(at);
        }
    }

    fn place(&self, at: usize) -> Option<usize> {
        self.slots.get(at).and_then(|slot| place_of(*slot))
    }

    /// The slot at which the search for a hash begins.
    fn home(&self, hash: u64) -> usize {
        let low = hash & u64::from(u32::MAX);
        // Less than the number of slots.
        ((low * self.slots.len() as u64) >> 32) as usize
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 < self.slots.len() { at + 1 } else { 0 }
    }

    /// How many steps it is from one slot to another.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.slots.len() - from }
    }

    fn set(&mut self, at: usize, value: u32) {
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = value;
        }
    }

    /// Writes a slot to the first empty one from where the search for its hash begins.
    fn put(&mut self, hash: u64, slot: u32) {
        let mut at = self.home(hash);
        while self.place(at).is_some() {
            at = self.after(at);
        }
        self.set(at, slot);
    }

    fn grow(&mut self, hash_of: impl Fn(usize) -> u64) {
        let larger = (self.slots.len() + self.slots.len() / 2).max(FEWEST);
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; larger]);
        for slot in old {
            if let Some(place) = place_of(slot) {
                self.put(hash_of(place), slot);
            }
        }
    }
}

/// Bits of the hash that decide neither the slot nor the shard.
fn tag(hash: u64) -> u32 {
    (hash >> (64 - (32 - PLACE_BITS))) as u32
}

/// The place in a slot, unless it is empty.
fn place_of(slot: u32) -> Option<usize> {
    (slot & PLACE).checked_sub(1).map(|place| place as usize)
}

fn slot_of(hash: u64, place: usize) -> u32 {
    let place = u32::try_from(place + 1).unwrap_or(PLACE) & PLACE;
    tag(hash) << PLACE_BITS | place
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// An index beside the hashes at each place, as a shard keeps them: the last one moves to where one is removed.
    #[derive(Default)]
    struct Kept {
        index: Index,
        hashes: Vec<u64>,
    }

    impl Kept {
        fn find(&self, hash: u64) -> Option<usize> {
            self.index.find(hash, |place| self.hashes[place] == hash)
        }

        fn insert(&mut self, hash: u64) {
            self.index.insert(hash, self.hashes.len(), |place| self.hashes[place]);
            self.hashes.push(hash);
        }

        fn remove(&mut self, hash: u64) -> bool {
            let Self { index, hashes } = self;
            let Some(place) = index.remove(hash, |place| hashes[place] == hash, |place| hashes[place]) else {
                return false;
            };
            let last = hashes.len() - 1;
            index.relocate(hashes[last], last, place);
            hashes.swap_remove(place);
            true
        }
    }

    /// Hashes of which many begin at the same slots, at the end of the array among them, and have the same tag.
    fn crowded() -> impl Strategy<Value = u64> {
        (prop_oneof![Just(0), Just(u32::MAX), Just(u32::MAX / 2), any::<u32>()], 0_u64..4, 0_u64..3)
            .prop_map(|(low, middle, tag)| u64::from(low) | middle << 32 | tag << 56)
    }

    proptest! {
        #[test]
        fn it_finds_what_was_inserted_and_not_removed(steps in prop::collection::vec((any::<bool>(), crowded()), 0..400)) {
            let mut kept = Kept::default();
            let mut expected = HashSet::new();
            for (insert, hash) in steps {
                if insert {
                    if expected.insert(hash) {
                        kept.insert(hash);
                    }
                } else {
                    prop_assert_eq!(kept.remove(hash), expected.remove(&hash));
                }
                prop_assert_eq!(kept.index.used, expected.len());
                for hash in &expected {
                    prop_assert!(kept.find(*hash).is_some());
                }
                prop_assert_eq!(kept.find(hash).is_some(), expected.contains(&hash));
            }
        }
    }

    #[test]
    fn a_place_takes_eight_bytes_at_most() {
        let mut kept = Kept::default();
        let mut hash = 1_u64;
        for count in 1..20_000 {
            hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
            kept.insert(hash);
            let slots = kept.index.slots.len();
            assert!(slots <= (count * 2).max(FEWEST) && slots * 3 >= count * 4, "{slots} for {count}");
        }
    }

    #[test]
    fn the_last_place_that_fits_is_found() {
        let mut index = Index::default();
        index.insert(7, MOST - 1, |_| 7);
        assert_eq!(index.find(7, |_| true), Some(MOST - 1));
        assert_eq!(index.find(7 | 1 << 56, |_| true), None, "another tag");
    }
}
