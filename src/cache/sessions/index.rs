//! From a token's hash to a place in a slab, in one cache line: open addressing with linear probing.
//!
//! A general hash table looks at a line of tags first and at a line of values then. With a million sessions each is a
//! cache miss of its own, and misses are most of what such a check costs. For the same reason slots are small.

/// The upper bits of a hash and a place beside one another, the place counted from 1; 0 is an empty slot.
type Slot = u32;

const EMPTY: Slot = 0;
const SMALLEST: usize = 8;
/// How many bits of a slot are the place.
const PLACE: u32 = 22;
/// How many places there are at the most.
pub(super) const MOST: usize = (1 << PLACE) - 1;

/// Hashes are evenly spread: the lower bits say where a search begins, the upper ones whether a slot may be meant.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// None at first, then a power of two, at most three quarters of it used.
    slots: Vec<Slot>,
    used: usize,
}

impl Index {
    /// The place stored under `hash` that `is` the one meant.
    pub(super) fn find(&self, hash: u32, is: impl Fn(u32) -> bool) -> Option<u32> {
        self.slot(hash, is).map(|(_, place)| place)
    }

    /// Stores a place that is not there yet; `hash_of` returns the hashes of those that are.
    pub(super) fn insert(&mut self, hash: u32, place: u32, hash_of: impl Fn(u32) -> u32) {
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            let larger = vec![EMPTY; (self.slots.len() * 2).max(SMALLEST)];
            let all = std::mem::replace(&mut self.slots, larger);
            for slot in all.into_iter().filter(|slot| *slot != EMPTY) {
                self.put(hash_of(place_of(slot)), place_of(slot));
            }
        }
        self.put(hash, place);
        self.used += 1;
    }

    /// Forgets a place.
    pub(super) fn remove(&mut self, hash: u32, place: u32, hash_of: impl Fn(u32) -> u32) {
        let Some((mut hole, _)) = self.slot(hash, |found| found == place) else { return };
        self.used -= 1;
        // What comes behind moves up, unless it would then lie before where its search begins.
        let mut next = hole;
        loop {
            next = self.after(next);
            let slot = self.at(next);
            if slot == EMPTY {
                break;
            }
            let distance = |from: usize| next.wrapping_sub(from) & self.mask();
            if distance(self.home(hash_of(place_of(slot)))) >= distance(hole) {
                self.set(hole, slot);
                hole = next;
            }
        }
        self.set(hole, EMPTY);
    }

    /// Notes that what was at place `from` is now at `to`.
    pub(super) fn moved(&mut self, hash: u32, from: u32, to: u32) {
        if let Some((at, _)) = self.slot(hash, |found| found == from) {
            self.set(at, slot(hash, to));
        }
    }

    fn slot(&self, hash: u32, is: impl Fn(u32) -> bool) -> Option<(usize, u32)> {
        let mut at = self.home(hash);
        loop {
            let found = self.at(at);
            if found == EMPTY {
                return None;
            }
            if found >> PLACE == hash >> PLACE && is(place_of(found)) {
                return Some((at, place_of(found)));
            }
            at = self.after(at);
        }
    }

    fn put(&mut self, hash: u32, place: u32) {
        let mut at = self.home(hash);
        while self.at(at) != EMPTY {
            at = self.after(at);
        }
        self.set(at, slot(hash, place));
    }

    /// Out of bounds, as in an index without slots, there is nothing.
    fn at(&self, at: usize) -> Slot {
        self.slots.get(at).copied().unwrap_or(EMPTY)
    }

    fn set(&mut self, at: usize, slot: Slot) {
        if let Some(found) = self.slots.get_mut(at) {
            *found = slot;
        }
    }

    const fn mask(&self) -> usize {
        self.slots.len().wrapping_sub(1)
    }

    const fn home(&self, hash: u32) -> usize {
        hash as usize & self.mask()
    }

    const fn after(&self, at: usize) -> usize {
        (at + 1) & self.mask()
    }
}

const fn slot(hash: u32, place: u32) -> Slot {
    (hash >> PLACE << PLACE) | (place + 1)
}

const fn place_of(slot: Slot) -> u32 {
    (slot & ((1 << PLACE) - 1)).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_finds_what_a_set_holds(steps in proptest::collection::vec((0..24u32, 0..3u8), 0..400)) {
            let (mut index, mut places) = (Index::default(), BTreeSet::new());
            for (place, step) in steps {
                // Few hashes, crowded at the end of the slots, so that searches meet and go around.
                let hash = |place: u32| (place % 5).wrapping_sub(3);
                match (step, places.contains(&place)) {
                    (0, true) => {
                        index.remove(hash(place), place, hash);
                        places.remove(&place);
                    }
                    (1, true) if !places.contains(&(place + 25)) => {
                        index.moved(hash(place), place, place + 25);
                        places.insert(place + 25);
                        places.remove(&place);
                    }
                    (_, true) => {}
                    (_, false) => {
                        index.insert(hash(place), place, hash);
                        places.insert(place);
                    }
                }
                for wanted in 0..49 {
                    let found = index.find(hash(wanted), |found| found == wanted);
                    prop_assert_eq!(found.is_some(), places.contains(&wanted), "{}", wanted);
                }
            }
        }
    }
}
