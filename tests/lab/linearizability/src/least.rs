//! The least of what comes after a point, leaving some out: what an operation on all of a user's sessions means for one
//! of them, without looking at every such operation for each.

use std::collections::HashMap;

use crate::history::{Session, Time};

/// What concerns every session of a user but a few.
#[derive(Default)]
pub struct Wide {
    entries: Vec<Entry>,
}

struct Entry {
    key: Time,
    value: Time,
    operation: usize,
    spared: Vec<Session>,
}

/// The same, in the order of keys, to be asked.
pub struct Ranked {
    keys: Vec<Time>,
    /// A segment tree of minima: the entries are its second half.
    tree: Vec<(Time, usize)>,
    /// By session, where it is spared.
    spared: HashMap<Session, Vec<usize>>,
}

const NOTHING: (Time, usize) = (Time::MAX, usize::MAX);

impl Wide {
    pub fn push(&mut self, key: Time, value: Time, operation: usize, spared: Vec<Session>) {
        self.entries.push(Entry { key, value, operation, spared });
    }

    pub fn ranked(mut self) -> Ranked {
        self.entries.sort_by_key(|entry| entry.key);
        let count = self.entries.len();
        let mut tree = vec![NOTHING; 2 * count];
        let mut spared: HashMap<Session, Vec<usize>> = HashMap::new();
        for (at, entry) in self.entries.iter().enumerate() {
            tree[count + at] = (entry.value, entry.operation);
            for session in &entry.spared {
                spared.entry(*session).or_default().push(at);
            }
        }
        for at in (1..count).rev() {
            tree[at] = tree[2 * at].min(tree[2 * at + 1]);
        }
        Ranked { keys: self.entries.iter().map(|entry| entry.key).collect(), tree, spared }
    }
}

impl Ranked {
    /// The least value, and whose, of the entries with a key of `from` or more that do not spare `session`.
    pub fn least(&self, from: Time, session: Session) -> Option<(Time, usize)> {
        let mut begin = self.keys.partition_point(|key| *key < from);
        let mut least = NOTHING;
        for spared in
            self.spared.get(&session).into_iter().flatten().filter(|at| **at >= begin).copied().collect::<Vec<_>>()
        {
            least = least.min(self.minimum(begin, spared));
            begin = spared + 1;
        }
        least = least.min(self.minimum(begin, self.keys.len()));
        (least != NOTHING).then_some(least)
    }

    /// The least in a range of places.
    fn minimum(&self, begin: usize, end: usize) -> (Time, usize) {
        let count = self.keys.len();
        let (mut left, mut right) = (begin + count, end + count);
        let mut least = NOTHING;
        while left < right {
            if left % 2 == 1 {
                least = least.min(self.tree[left]);
                left += 1;
            }
            if right % 2 == 1 {
                right -= 1;
                least = least.min(self.tree[right]);
            }
            left /= 2;
            right /= 2;
        }
        least
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sessiond_support::random::Random;

    #[test]
    fn the_least_is_what_a_look_at_each_finds() {
        let mut random = Random::seeded(7);
        for round in 0..2000 {
            let entries: Vec<(Time, Time, Vec<Session>)> = (0..round % 14)
                .map(|_| {
                    let spared = (0..random.below(3)).map(|_| random.below(3) as Session).collect::<Vec<_>>();
                    (random.below(20) as Time, random.below(20) as Time, spared)
                })
                .collect();
            let mut wide = Wide::default();
            for (at, (key, value, spared)) in entries.iter().enumerate() {
                let mut spared = spared.clone();
                spared.dedup();
                wide.push(*key, *value, at, spared);
            }
            let ranked = wide.ranked();
            for from in 0..21 {
                let fit = entries.iter().filter(|(key, _, spared)| *key >= from && !spared.contains(&1));
                let least = fit.map(|(_, value, _)| *value).min();
                assert_eq!(ranked.least(from, 1).map(|(value, _)| value), least);
            }
        }
    }
}
