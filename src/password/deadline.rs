//! The time that every refusal takes, whatever it is about: that of the slowest kind of hash that any user has.
//!
//! Where all hashes were made here, every refusal is the same work, and nothing waits. Once there are others, a refusal
//! waits outside the workers, so that unknown users, and hashes that cost less, cannot be told from the slowest.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// The kind of the hashes that are made here.
pub(super) const OURS: &str = "$";
/// How much of the difference to a lower time is made up for with each that is measured: it must be a while until a slow
/// one is forgotten, since those to come have to fit in.
const FORGETTING: u32 = 16;
/// How much longer a refusal takes than what was measured: a part of it.
const MARGIN: u32 = 8;
/// How many kinds are told apart. There are as many as there are programs and settings that users came from.
const KINDS: usize = 256;

/// What kinds of hashes there are, and how long each takes.
#[derive(Default)]
pub(super) struct Deadline {
    kinds: Mutex<HashMap<String, Duration>>,
}

impl Deadline {
    /// Whether it was measured how long hashes of this kind take.
    pub(super) fn knows(&self, kind: &str) -> bool {
        self.kinds.lock().contains_key(kind)
    }

    /// The kinds that were made elsewhere.
    pub(super) fn foreign(&self) -> HashSet<String> {
        self.kinds.lock().keys().filter(|kind| *kind != OURS).cloned().collect()
    }

    /// Forgets kinds, of which no user has a hash any more.
    pub(super) fn forget(&self, gone: &HashSet<String>) {
        self.kinds.lock().retain(|kind, _| !gone.contains(kind));
    }

    /// Takes down how long the computation of one hash of this kind took.
    pub(super) fn measured(&self, kind: &str, took: Duration) {
        let mut kinds = self.kinds.lock();
        if let Some(usual) = kinds.get_mut(kind) {
            // A machine that slept meanwhile, or a single one that was held up, must not make all others wait for long.
            let over = usual.saturating_sub(took);
            *usual = if over.is_zero() { took.min(*usual * 2) } else { usual.saturating_sub(over / FORGETTING) };
        } else if kinds.len() < KINDS {
            kinds.insert(kind.to_owned(), took);
        }
    }

    /// How long a refusal takes from the moment when a worker begins, where `forms` of what was typed have to be tried
    /// against a hash that was made elsewhere. `None`: there are none, and it takes as long as it takes.
    pub(super) fn refusal(&self, forms: u32) -> Option<Duration> {
        let kinds = self.kinds.lock();
        let foreign = kinds.iter().filter(|(kind, _)| *kind != OURS).map(|(_, took)| *took).max()?;
        let ours = kinds.get(OURS).copied().unwrap_or_default();
        let slowest = ours.max(foreign * forms);
        Some(slowest + slowest / MARGIN)
    }

    /// Waits until a refusal of what a worker began then may be answered.
    pub(super) async fn passed(&self, begun: Instant, forms: u32) {
        if let Some(refusal) = self.refusal(forms) {
            sleep_until(begun + refusal).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn nothing_waits_where_all_hashes_were_made_here() {
        let deadline = Deadline::default();
        assert_eq!(deadline.refusal(2), None);
        deadline.measured(OURS, ms(14));
        assert_eq!(deadline.refusal(2), None);
    }

    #[test]
    fn the_slowest_kind_decides_for_all() {
        let deadline = Deadline::default();
        deadline.measured(OURS, ms(16));
        deadline.measured("bcrypt:$2y$05$", ms(2));
        assert_eq!(deadline.refusal(1), Some(ms(18)), "ours is the slowest");
        assert_eq!(deadline.refusal(2), Some(ms(18)), "and is tried once");
        deadline.measured("bcrypt:$2b$10$", ms(80));
        assert_eq!(deadline.refusal(1), Some(ms(90)));
        assert_eq!(deadline.refusal(2), Some(ms(180)));
        assert!(deadline.knows("bcrypt:$2b$10$") && !deadline.knows("bcrypt:$2b$11$"));
    }

    #[test]
    fn a_kind_that_becomes_slower_is_followed_at_once_and_one_that_was_held_up_once_is_forgotten() {
        let deadline = Deadline::default();
        let bcrypt = |took| deadline.measured("bcrypt:$2b$10$", took);
        bcrypt(ms(80));
        bcrypt(ms(120));
        assert_eq!(deadline.refusal(1), Some(ms(135)));
        bcrypt(ms(100_000));
        assert_eq!(deadline.refusal(1), Some(ms(270)), "no more than twice");
        (0..100).for_each(|_| bcrypt(ms(80)));
        assert!(deadline.refusal(1).expect("known") < ms(91));
        (0..10_000).for_each(|kind| deadline.measured(&kind.to_string(), ms(1)));
        assert_eq!(deadline.kinds.lock().len(), KINDS);
    }

    #[test]
    fn nothing_waits_any_more_once_the_last_slow_kind_is_gone() {
        let deadline = Deadline::default();
        deadline.measured(OURS, ms(16));
        deadline.measured("bcrypt:$2b$10$", ms(80));
        deadline.measured("bcrypt:$2b$12$", ms(320));
        assert_eq!(deadline.foreign().len(), 2, "and ours is always there");
        deadline.forget(&HashSet::from([String::from("bcrypt:$2b$12$")]));
        assert_eq!(deadline.refusal(1), Some(ms(90)));
        deadline.forget(&deadline.foreign());
        assert_eq!(deadline.refusal(1), None);
        deadline.measured("bcrypt:$2b$12$", ms(320));
        assert_eq!(deadline.refusal(1), Some(ms(360)), "it came back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_answered_at_the_same_moment_however_late_it_is_known() {
        let deadline = Deadline::default();
        deadline.measured("bcrypt:$2b$10$", ms(800));
        for work in [ms(0), ms(13), ms(800)] {
            let begun = Instant::now();
            tokio::time::sleep(work).await;
            deadline.passed(begun, 1).await;
            assert_eq!(begun.elapsed(), ms(900));
        }
    }
}
