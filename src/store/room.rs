//! Which of a user's sessions end to keep to the cap when another one begins: one rule for every store.

use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::token::TokenHash;

/// Which sessions end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// These end.
    By(Vec<TokenHash>),
    /// Some of these end; which, depends on last-seen times that replicas may have in memory.
    Undecided(Vec<TokenHash>),
}

/// Leaves `spare` sessions alive: those seen last. `stored` holds the live ones and when each was seen as far as the store
/// knows, the one seen last first; each may have been seen later than that, by as much as `unflushed` says.
pub(super) fn make_room(stored: &[(TokenHash, Timestamp)], spare: usize, unflushed: Option<Duration>) -> Room {
    let (_, over) = stored.split_at_checked(spare).unwrap_or((stored, &[]));
    let tokens = |sessions: &[(TokenHash, Timestamp)]| sessions.iter().map(|(token, _)| *token).collect();
    let Some((_, newest)) = over.first() else { return Room::By(Vec::new()) };
    let Some(unflushed) = unflushed else { return Room::By(tokens(over)) };
    // What was stored after this was seen after all of those, whatever replicas have in memory.
    let latest = newest.after(unflushed);
    let (_, contenders) = stored.split_at(stored.partition_point(|(_, seen)| *seen > latest));
    if contenders.len() == over.len() { Room::By(tokens(over)) } else { Room::Undecided(tokens(contenders)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNFLUSHED: Option<Duration> = Some(Duration::from_mins(15));

    /// Sessions by the minute at which the store last saw them.
    fn seen(minutes: &[i64]) -> Vec<(TokenHash, Timestamp)> {
        minutes.iter().map(|minute| (token(*minute), Timestamp::from_millis(minute * 60_000))).collect()
    }

    fn token(minute: i64) -> TokenHash {
        TokenHash::from_bytes([u8::try_from(minute).expect("small"); 32])
    }

    fn tokens(minutes: &[i64]) -> Vec<TokenHash> {
        minutes.iter().map(|minute| token(*minute)).collect()
    }

    #[test]
    fn below_the_cap_there_is_nothing_to_decide() {
        for unflushed in [UNFLUSHED, None] {
            assert_eq!(make_room(&seen(&[3, 2, 1]), 3, unflushed), Room::By(vec![]));
            assert_eq!(make_room(&[], 0, unflushed), Room::By(vec![]));
        }
    }

    #[test]
    fn those_that_may_have_been_seen_before_another_contend() {
        let stored = seen(&[40, 25, 20, 10]);
        assert_eq!(
            make_room(&stored, 3, UNFLUSHED),
            Room::Undecided(tokens(&[25, 20, 10])),
            "25 is fifteen minutes later"
        );
        assert_eq!(
            make_room(&stored, 2, UNFLUSHED),
            Room::Undecided(tokens(&[25, 20, 10])),
            "40 is twenty minutes later"
        );
        assert_eq!(make_room(&stored, 3, None), Room::By(tokens(&[10])));
        assert_eq!(make_room(&stored, 2, None), Room::By(tokens(&[20, 10])));
    }

    #[test]
    fn those_that_were_seen_long_before_all_others_make_room_without_a_question() {
        assert_eq!(make_room(&seen(&[60, 59, 30, 2, 1]), 3, UNFLUSHED), Room::By(tokens(&[2, 1])));
        assert_eq!(make_room(&seen(&[60, 59, 58]), 0, UNFLUSHED), Room::By(tokens(&[60, 59, 58])), "all of them");
    }
}
