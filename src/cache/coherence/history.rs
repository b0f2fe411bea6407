//! Which primary the store is on, and what was read from one before it that it may lack.

use std::time::Duration;

use super::contract::LEASE;
use crate::domain::revocation::Seq;

/// For how long after a takeover was noticed a request may still be under way that has read from the primary before: longer
/// than a read, a commit and the waits for both may take.
const DOUBT: Duration = Duration::from_secs(4 * LEASE.as_secs());

/// The primary that the store is on, as far as this replica knows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct History {
    /// Its timeline. It is unknown before the first read.
    timeline: Option<u32>,
    /// Up to which number it is known to have what the primaries before it committed: what was durable there, or is in its log.
    inherited: Seq,
    /// Until when there may be requests that have read from them, on the clock of trust.
    doubt: Duration,
}

impl History {
    /// Notes a timeline that was seen at `now`. Where it is newer than the one known, another primary took over, which has what
    /// was `durable` before.
    pub(super) fn note(&mut self, timeline: u32, durable: Seq, now: Duration) {
        match self.timeline {
            Some(known) if known >= timeline => {}
            Some(_) => *self = Self { timeline: Some(timeline), inherited: durable, doubt: now + DOUBT },
            None => self.timeline = Some(timeline),
        }
    }

    /// Notes that the log of the primary on `timeline` has `seq`, and so what was committed before that.
    pub(super) fn note_entry(&mut self, timeline: u32, seq: Seq) {
        if self.timeline == Some(timeline) {
            self.inherited = self.inherited.max(seq);
        }
    }

    /// Notes a number that was committed here, by a primary that may have taken over unnoticed.
    pub(super) fn note_commit(&mut self, seq: Seq, durable: Seq, now: Duration) {
        if self.timeline.is_some() {
            self.note(seq.timeline(), durable, now);
        }
    }

    /// Whether `seq` may have been read from a primary that was succeeded, and be unknown to the one that took over.
    pub(super) fn may_lack(&self, seq: Seq, now: Duration) -> bool {
        let before = self.timeline.is_some_and(|timeline| seq.timeline() < timeline);
        before && seq > self.inherited && now < self.doubt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(9);

    fn after(timelines: &[u32], durable: i64) -> History {
        let mut history = History::default();
        for timeline in timelines {
            history.note(*timeline, Seq(durable), NOW);
        }
        history
    }

    #[test]
    fn what_was_read_before_a_takeover_is_in_doubt_for_a_while_unless_it_was_durable() {
        let history = after(&[1, 2], 8);
        assert!(!history.may_lack(Seq(8), NOW), "durable");
        assert!(history.may_lack(Seq(9), NOW) && history.may_lack(Seq(9), NOW + DOUBT / 2));
        assert!(!history.may_lack(Seq(9), NOW + DOUBT), "what is read now is read from the new one");
        assert!(history.may_lack(Seq(Seq::first_of(2).0 - 1), NOW));
        assert!(!history.may_lack(Seq::first_of(2), NOW), "assigned by the new one");
    }

    #[test]
    fn what_is_in_the_log_of_the_one_that_took_over_is_not_in_doubt() {
        let mut history = after(&[1, 2], 4);
        history.note_entry(1, Seq(8));
        assert!(history.may_lack(Seq(8), NOW), "the log of the one before");
        history.note_entry(2, Seq(8));
        history.note_entry(2, Seq(6));
        assert!(!history.may_lack(Seq(7), NOW) && !history.may_lack(Seq(8), NOW) && history.may_lack(Seq(9), NOW));
    }

    #[test]
    fn a_commit_tells_of_a_takeover() {
        let mut history = after(&[2], 8);
        let first = Seq::first_of(3);
        for (seq, lacks) in [(Seq(9), false), (Seq(first.0 - 1), false), (first, true)] {
            history.note_commit(seq, Seq(8), NOW);
            assert_eq!(history.may_lack(Seq(9), NOW), lacks, "{seq:?}");
        }
        let mut unknown = History::default();
        unknown.note_commit(Seq(9), Seq(0), NOW);
        unknown.note(2, Seq(0), NOW);
        assert!(!unknown.may_lack(Seq(9), NOW), "the number may be of a primary long ago");
    }

    #[test]
    fn without_a_takeover_nothing_is_in_doubt() {
        for timelines in [&[][..], &[1], &[2], &[2, 2], &[2, 1]] {
            assert!(!after(timelines, 0).may_lack(Seq(9), NOW), "{timelines:?}");
        }
    }
}
