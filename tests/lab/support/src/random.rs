//! Random choices: fast, of no cryptographic worth, and the same in every run where a seed is given.

use std::hash::{BuildHasher as _, RandomState};

/// The `SplitMix64` generator.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// One that differs in every run.
    #[expect(clippy::new_without_default, reason = "a default is the same each time, and this is not")]
    pub fn new() -> Self {
        Self(RandomState::new().hash_one(0))
    }

    /// One that is the same in every run.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.number()) * bound as u128) >> 64) as usize
    }

    /// At least 0 and less than 1.
    pub fn fraction(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something happens that does so `percent` times in a hundred.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// So many lower-case letters.
    pub fn letters(&mut self, count: usize) -> String {
        (0..count).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }

    /// Fills a slice with random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for eight in bytes.chunks_mut(8) {
            let drawn = self.number().to_le_bytes();
            eight.iter_mut().zip(drawn).for_each(|(byte, drawn)| *byte = drawn);
        }
    }

    /// Puts a slice into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_every_number_and_a_bound_is_never_reached() {
        let [mut one, mut same, mut other] = [7, 7, 8].map(Random::seeded);
        let numbers: Vec<_> = (0..100).map(|_| one.below(10)).collect();
        assert!(numbers.iter().all(|number| *number < 10) && numbers.contains(&0) && numbers.contains(&9));
        assert_eq!(numbers, (0..100).map(|_| same.below(10)).collect::<Vec<_>>());
        assert_ne!(numbers, (0..100).map(|_| other.below(10)).collect::<Vec<_>>());
    }

    #[test]
    fn a_shuffled_slice_has_the_same_items_in_another_order() {
        let mut items: Vec<_> = (0..100).collect();
        Random::seeded(7).shuffle(&mut items);
        assert!(!items.is_sorted());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
