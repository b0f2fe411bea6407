//! What the cache keeps, removes and answers.

use super::*;
use crate::domain::entropy::SystemEntropy;
use crate::domain::id::SessionId;
use crate::domain::session::{Client, Lifetime};
use crate::domain::text::{Name, Username};

const LIFE: Lifetime = Lifetime { idle: Duration::from_secs(1000), absolute: Duration::from_secs(100_000) };
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

pub(crate) fn cache(entries: usize) -> Cache {
    Cache::new(entries, Lifetimes { plain: LIFE, remembered: LIFE })
}

pub(crate) fn user() -> User {
    User {
        id: UserId::random(&SystemEntropy).expect("entropy"),
        username: Username::new("ann").expect("fit"),
        email: None,
        name: Name::new("Ann").expect("fit"),
        admin: false,
        disabled_at: None,
        created_at: NOW,
        updated_at: NOW,
    }
}

fn session(user: &User) -> Session {
    Session {
        id: SessionId::random(&SystemEntropy).expect("entropy"),
        user_id: user.id,
        created_at: NOW,
        last_seen_at: NOW,
        expiry: LIFE.begin(NOW),
        remembered: false,
        client: Client::default(),
    }
}

fn token(number: u64) -> TokenHash {
    use sha2::Digest as _;
    TokenHash::from_bytes(sha2::Sha256::digest(number.to_le_bytes()).into())
}

fn live(cache: &Cache, token: &TokenHash, now: Timestamp) -> bool {
    matches!(cache.check(token, now), Check::Live { .. })
}

pub(crate) fn keep(cache: &Cache, token: TokenHash, user: &User) {
    cache.insert(token, &session(user), user, NOW, cache.ticket());
}

/// The last-seen times that are due in all of the cache, from which it drops what has expired.
fn visit_all(cache: &Cache, now: Timestamp) -> Vec<Seen> {
    (0..cache.shards()).flat_map(|shard| cache.visit(shard, now)).collect()
}

#[test]
fn an_entry_is_three_cache_lines() {
    assert_eq!(size_of::<Entry>(), 192);
}

#[test]
fn a_revoked_session_is_forgotten_and_its_neighbours_are_not() {
    let (cache, user) = (cache(1000), user());
    (0..100).for_each(|n| keep(&cache, token(n), &user));
    cache.apply(&Revocation { seq: Seq(1), sessions: vec![token(7)], ..Revocation::default() });
    for n in 0..100 {
        assert_eq!(live(&cache, &token(n), NOW), n != 7, "{n}");
    }
}

#[test]
fn a_load_that_began_before_a_revocation_cannot_put_the_session_back() {
    let (cache, user) = (cache(1000), user());
    let ticket = cache.ticket();
    cache.apply(&Revocation { seq: Seq(1), sessions: vec![token(7)], ..Revocation::default() });
    cache.insert(token(7), &session(&user), &user, NOW, ticket);
    assert!(!live(&cache, &token(7), NOW));
}

#[test]
fn an_abandoned_cache_knows_nobody_and_keeps_nobody() {
    let (cache, user) = (cache(1000), user());
    keep(&cache, token(1), &user);
    cache.abandon();
    keep(&cache, token(2), &user);
    assert!(!live(&cache, &token(1), NOW) && !live(&cache, &token(2), NOW));
}

#[test]
fn a_cleared_cache_knows_nobody_and_keeps_what_is_loaded_later() {
    let (cache, user) = (cache(1000), user());
    (0..100).for_each(|n| keep(&cache, token(n), &user));
    cache.clear(Seq(5));
    assert!(cache.is_empty() && (0..100).all(|n| !live(&cache, &token(n), NOW)));
    keep(&cache, token(1), &user);
    assert!(live(&cache, &token(1), NOW));
}

#[test]
fn a_load_across_a_clear_is_not_kept() {
    let (cache, user) = (cache(1000), user());
    let before = cache.ticket();
    cache.clear(Seq(5));
    cache.insert(token(1), &session(&user), &user, NOW, before);
    assert!(!live(&cache, &token(1), NOW));
    let between = cache.ticket();
    cache.clear(Seq(5));
    cache.insert(token(1), &session(&user), &user, NOW, between);
    assert!(!live(&cache, &token(1), NOW), "even where the number is the same");
}

#[test]
fn numbers_that_are_given_out_again_revoke_again() {
    let (cache, ann, bob) = (cache(1000), user(), user());
    cache.apply(&Revocation { seq: Seq(100), sessions: vec![token(1)], users: vec![ann.id], ..Revocation::default() });
    cache.clear(Seq(50));
    keep(&cache, token(1), &ann);
    keep(&cache, token(2), &bob);
    assert!(live(&cache, &token(1), NOW) && live(&cache, &token(2), NOW), "100 was never given out");
    let ticket = cache.ticket();
    cache.apply(&Revocation { seq: Seq(51), sessions: vec![token(2)], users: vec![ann.id], ..Revocation::default() });
    assert!(!live(&cache, &token(1), NOW) && !live(&cache, &token(2), NOW));
    cache.insert(token(2), &session(&bob), &bob, NOW, ticket);
    assert!(!live(&cache, &token(2), NOW), "a load that began before");
    keep(&cache, token(1), &ann);
    assert!(live(&cache, &token(1), NOW), "a load that began after");
}

#[test]
fn a_load_that_began_before_its_users_revocation_is_not_believed() {
    let (cache, user) = (cache(1000), user());
    let ticket = cache.ticket();
    cache.apply(&Revocation { seq: Seq(1), users: vec![user.id], ..Revocation::default() });
    cache.insert(token(7), &session(&user), &user, NOW, ticket);
    assert!(!live(&cache, &token(7), NOW));
    keep(&cache, token(8), &user);
    assert!(live(&cache, &token(8), NOW), "a later load is");
}

#[test]
fn every_session_of_a_revoked_user_is_asked_for_anew() {
    let (cache, ann, bob) = (cache(1000), user(), user());
    (0..10).for_each(|n| keep(&cache, token(n), &ann));
    keep(&cache, token(10), &bob);
    cache.apply(&Revocation { seq: Seq(1), users: vec![ann.id], ..Revocation::default() });
    assert!((0..10).all(|n| !live(&cache, &token(n), NOW)));
    assert_eq!(live(&cache, &token(10), NOW), mark_of(ann.id) != mark_of(bob.id));
}

#[test]
fn at_the_stored_deadline_memory_asks_and_a_stored_touch_moves_it() {
    let (cache, user) = (cache(1000), user());
    keep(&cache, token(1), &user);
    let deadline = NOW.after(LIFE.idle);
    let later = deadline.after(Duration::from_secs(5));
    cache.touched(&[], &[(token(1), later)]);
    assert!(live(&cache, &token(1), deadline));
    assert!(!live(&cache, &token(1), later));
}

#[test]
fn near_its_deadline_a_session_is_stored_at_once_and_once() {
    let (cache, user) = (cache(1000), user());
    keep(&cache, token(1), &user);
    let near = NOW.after(LIFE.idle).millis() - 99_000;
    let check = |at| match cache.check(&token(1), Timestamp::from_millis(at)) {
        Check::Live { urgent, .. } => urgent,
        Check::Ask => None,
    };
    assert!(check(near - 2000).is_none(), "two flush intervals are left: 100 s");
    let urgent = check(near).expect("less than two are left");
    assert_eq!(urgent.idle_until, Timestamp::from_millis(near).after(LIFE.idle));
    assert!(check(near + 1).is_none());
    cache.touched(&[urgent], &[(token(1), urgent.idle_until)]);
    assert!(check(near + 2).is_none(), "there is time again");
}

#[test]
fn last_seen_times_are_due_until_the_store_was_told() {
    let (cache, user) = (cache(1000), user());
    (0..10).for_each(|n| keep(&cache, token(n), &user));
    let due = || visit_all(&cache, NOW);
    let interval = LIFE.flush_interval();
    assert!(live(&cache, &token(3), NOW.after(interval / 2)));
    assert_eq!(due().len(), 0, "the store knows well enough");
    assert!(live(&cache, &token(3), NOW.after(interval)));
    assert_eq!(due().len(), 1);
    let handed_out = due();
    assert_eq!(handed_out.len(), 1, "the store may have failed");
    cache.touched(&handed_out, &[]);
    assert_eq!(due().len(), 0, "stored, even if it is not live there any more");
}

#[test]
fn a_visit_drops_what_has_expired_and_loses_no_last_seen_time() {
    let (cache, user) = (cache(1000), user());
    (0..10).for_each(|n| keep(&cache, token(n), &user));
    let deadline = NOW.after(LIFE.idle);
    cache.touched(&[], &[(token(1), deadline.after(Duration::from_secs(1)))]);
    let before = Timestamp::from_millis(deadline.millis() - 1);
    assert!(live(&cache, &token(2), before));
    assert_eq!(visit_all(&cache, before).len(), 1);
    assert_eq!(cache.len(), 10, "none has expired");

    assert_eq!(visit_all(&cache, deadline).iter().map(|seen| seen.token_hash).collect::<Vec<_>>(), [token(2)]);
    assert_eq!(cache.len(), 1);
    assert!(live(&cache, &token(1), deadline));
    visit_all(&cache, deadline.after(LIFE.idle));
    assert!(cache.is_empty());
}

#[test]
fn what_the_store_does_not_know_of_named_sessions_is_told_to_the_millisecond() {
    let (cache, user) = (cache(1000), user());
    (0..10).for_each(|n| keep(&cache, token(n), &user));
    let asked: Vec<_> = (3..30).map(token).collect();
    let unstored = || cache.unstored(&asked).iter().map(|seen| (seen.token_hash, seen.at)).collect::<Vec<_>>();
    let after = |millis| NOW.after(Duration::from_millis(millis));
    for (n, millis) in [(1, 1), (3, 1), (4, 7), (4, 5)] {
        assert!(live(&cache, &token(n), after(millis)));
    }
    assert_eq!(unstored(), [(token(3), after(1)), (token(4), after(7))], "of those asked for");
    let stored = cache.unstored(&asked);
    assert!(live(&cache, &token(4), after(9)), "seen while the store was written");
    cache.touched(&stored, &[]);
    assert_eq!(unstored(), [(token(4), after(9))]);
    cache.touched(&cache.unstored(&asked), &[]);
    assert_eq!(unstored(), []);
}

#[test]
fn the_last_seen_time_of_a_load_that_was_not_kept_is_handed_out() {
    let (cache, user) = (cache(1000), user());
    let (ticket, later) = (cache.ticket(), NOW.after(Duration::from_millis(1)));
    cache.apply(&Revocation { seq: Seq(1), sessions: vec![token(7)], ..Revocation::default() });
    let (_, seen) = cache.insert(token(7), &session(&user), &user, later, ticket);
    assert_eq!(seen.map(|seen| seen.at), Some(later));
}

#[test]
fn a_full_cache_makes_room_and_loses_no_last_seen_time() {
    let (cache, user) = (cache(64), user());
    let mut handed_out = 0;
    let later = NOW.after(LIFE.flush_interval());
    for n in 0..1000 {
        let (_, evicted) = cache.insert(token(n), &session(&user), &user, later, cache.ticket());
        handed_out += usize::from(evicted.is_some());
    }
    assert!(cache.len() <= 64);
    assert_eq!(cache.len() + handed_out, 1000);
    assert!(live(&cache, &token(999), NOW));
}

fn ahead(token: TokenHash, user: &User) -> LiveSession {
    let Session { id, last_seen_at, expiry, remembered, .. } = session(user);
    LiveSession { token_hash: token, identity: Identity::new(user, id), last_seen_at, expiry, remembered }
}

#[test]
fn what_is_read_ahead_is_known_and_was_last_seen_when_the_store_says() {
    let (cache, user) = (cache(1000), user());
    assert!(cache.keep_ahead(ahead(token(1), &user), cache.ticket()));
    assert_eq!(cache.unstored(&[token(1)]).len(), 0, "it was not seen here");
    let later = NOW.after(LIFE.flush_interval());
    let Check::Live { identity, .. } = cache.check(&token(1), later) else { panic!("known") };
    assert_eq!(identity.user_id(), user.id);
    assert_eq!(cache.unstored(&[token(1)]).first().map(|seen| seen.at), Some(later));
    assert!(!cache.keep_ahead(ahead(token(1), &user), cache.ticket()), "it is there");
    assert_eq!(cache.unstored(&[token(1)]).len(), 1, "and as it was");
    assert_eq!(cache.len(), 1);
}

#[test]
fn what_was_read_ahead_before_a_revocation_or_a_clear_is_not_kept() {
    let (cache, user) = (cache(1000), user());
    let ticket = cache.ticket();
    cache.apply(&Revocation { seq: Seq(1), sessions: vec![token(7)], ..Revocation::default() });
    assert!(!cache.keep_ahead(ahead(token(7), &user), ticket));
    cache.apply(&Revocation { seq: Seq(2), users: vec![user.id], ..Revocation::default() });
    cache.keep_ahead(ahead(token(8), &user), ticket);
    assert!(!live(&cache, &token(8), NOW), "its user may have lost it");
    let ticket = cache.ticket();
    assert!(cache.keep_ahead(ahead(token(7), &user), ticket) && live(&cache, &token(7), NOW));
    cache.clear(Seq(2));
    assert_eq!(cache.clears(), 1);
    assert!(!cache.keep_ahead(ahead(token(9), &user), ticket) && cache.is_empty());
}

#[test]
fn what_is_read_ahead_takes_no_room_from_what_was_checked_and_makes_room_for_it() {
    let (cache, user) = (cache(SHARDS * 2), user());
    (0..1000).for_each(|n| _ = cache.keep_ahead(ahead(token(n), &user), cache.ticket()));
    assert_eq!(cache.len(), SHARDS * 2);
    assert!(!cache.has_room());
    let later = NOW.after(Duration::from_secs(1));
    let checked: Vec<_> = (1000..1000 + 1000).collect();
    for n in &checked {
        cache.insert(token(*n), &session(&user), &user, later, cache.ticket());
    }
    assert!((0..1000).all(|n| !live(&cache, &token(n), later)), "evicted first");
    assert_eq!(cache.len(), SHARDS * 2);
    cache.apply(&Revocation {
        seq: Seq(1),
        sessions: checked.into_iter().map(token).collect(),
        ..Revocation::default()
    });
    assert!(cache.has_room());
}

#[test]
fn of_many_sessions_that_come_and_go_each_is_found_while_it_is_there() {
    let (cache, user) = (cache(100_000), user());
    (0..5000).for_each(|n| keep(&cache, token(n), &user));
    cache.apply(&Revocation {
        seq: Seq(1),
        sessions: (0..5000).step_by(3).map(token).collect(),
        ..Revocation::default()
    });
    (5000..9000).for_each(|n| keep(&cache, token(n), &user));
    for n in 0..9000 {
        assert_eq!(live(&cache, &token(n), NOW), n >= 5000 || n % 3 != 0, "{n}");
    }
}

/// How many there are, as counted and by looking.
fn counts(cache: &Cache) -> (usize, usize) {
    (cache.len(), cache.shards.iter().map(|shard| shard.lock().entries.len()).sum())
}

#[test]
fn sessions_are_counted_without_a_lock_whatever_becomes_of_them() {
    let (cache, user) = (cache(1 << 16), user());
    let tokens: Vec<_> = (0..200).map(token).collect();
    for token in &tokens {
        keep(&cache, *token, &user);
        keep(&cache, *token, &user);
    }
    assert_eq!(counts(&cache), (200, 200));
    for (seq, ended) in [(1, 50), (2, 60)] {
        let sessions = tokens.iter().take(ended).copied().collect();
        cache.apply(&Revocation { seq: Seq(seq), sessions, ..Revocation::default() });
    }
    assert_eq!(counts(&cache), (140, 140));
    assert!(!live(&cache, &tokens[100], NOW.after(LIFE.absolute)), "dropped when it is asked for");
    assert_eq!(counts(&cache), (139, 139));
    {
        let _held: Vec<_> = cache.shards.iter().map(|shard| shard.lock()).collect();
        assert_eq!(cache.len(), 139);
    }
    cache.clear(Seq(2));
    assert_eq!(counts(&cache), (0, 0));
    keep(&cache, tokens[0], &user);
    cache.abandon();
    assert_eq!(counts(&cache), (0, 0));
}

#[test]
fn a_full_cache_counts_what_it_drops() {
    let (cache, user) = (cache(SHARDS), user());
    assert_eq!(cache.capacity(), SHARDS);
    for number in 0..200 {
        keep(&cache, token(number), &user);
        assert_eq!(cache.len() as u64 + cache.evicted(), number + 1);
    }
    assert!(cache.len() <= SHARDS && counts(&cache).0 == counts(&cache).1);
}
