//! What is read ahead of checks, for caches.

use std::ops::Range;

use sessiond::domain::clock::Timestamp;
use sessiond::domain::principal::Identity;
use sessiond::store::{Part, PartRead};
use sessiond_needs::on_both_stores;

use super::*;

const EVER: Range<Timestamp> = Timestamp::from_millis(i64::MIN)..Timestamp::from_millis(i64::MAX);

async fn read(fresh: &Fresh, before: Option<i64>, rows: u32, seen: Range<Timestamp>, now: Timestamp) -> PartRead {
    fresh.store.ahead().read(&Part { before, rows, now, seen }).await.expect("a store")
}

/// The numbers of the tokens of what was read, in its order.
fn tokens(read: &PartRead) -> Vec<u64> {
    let number = |token: &[u8; 32]| u64::from_le_bytes(*token.first_chunk().expect("32 bytes"));
    read.sessions.iter().map(|session| number(session.token_hash.as_bytes())).collect()
}

#[on_both_stores]
async fn sessions_are_read_ahead_whole_a_part_at_a_time_from_the_newest_on(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let none = read(fresh, None, 3, EVER, BEGIN).await;
        assert_eq!((none.sessions.len(), none.next, none.earlier), (0, None, false));
        let Added::Yes(ann) = fresh.add("Zoe", Some("zoe@example.com")).await else { panic!("free") };
        let bob = fresh.user("bob").await;
        fresh.sessions(ann.id, 0..5).await;
        fresh.sessions(bob, 5..8).await;

        let mut all = Vec::new();
        let mut before = None;
        for wanted in [vec![7, 6, 5], vec![4, 3, 2], vec![1, 0], vec![]] {
            let part = read(fresh, before, 3, EVER, BEGIN).await;
            let mut numbers = tokens(&part);
            numbers.sort_by_key(|number| std::cmp::Reverse(*number));
            assert_eq!(numbers, wanted);
            assert_eq!(part.next.is_none(), wanted.is_empty());
            (before, all) = (part.next, [all, part.sessions].concat());
        }
        for live in all {
            let (session, user) = match fresh.store.lookup(&live.token_hash).await.expect("a store") {
                Lookup::Found(found) => *found,
                other => panic!("{other:?}"),
            };
            assert_eq!(live.identity, Identity::new(&user, session.id));
            assert_eq!((live.last_seen_at, live.expiry), (session.last_seen_at, session.expiry));
            assert_eq!(live.remembered, session.remembered);
        }
        fresh.store.ahead().close().await;
        assert_eq!(tokens(&read(fresh, None, 1, EVER, BEGIN).await), [7], "on another connection");
    })
    .await;
}

#[on_both_stores]
async fn only_live_sessions_are_read_ahead(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let (ann, bob, eve) = (fresh.user("ann").await, fresh.user("bob").await, fresh.user("eve").await);
        let ids = fresh.sessions(ann, 0..5).await;
        fresh.sessions(bob, 5..7).await;
        fresh.session(eve, 7).await;
        fresh.logout(logout_of(0)).await;
        // One that expires, and is archived once its user logs in again.
        let mut short = login_of(ann, 8);
        short.session.expiry.idle = later(1);
        fresh.create(short).await;
        let live = async |now| tokens(&read(fresh, None, 100, EVER, now).await);
        assert_eq!(live(BEGIN).await.len(), 8);
        fresh.wait_until(later(2));
        fresh.session(ann, 9).await;
        assert!(!live(BEGIN).await.contains(&8), "archived, whatever the time");
        fresh.set_disabled(bob, true).await;
        let spoil = format!("UPDATE sessions SET id = 'spoilt' WHERE id = '{}'", ids[2]);
        fresh.database.execute(&spoil).await;
        let mut left = live(later(2)).await;
        left.sort_unstable();
        assert_eq!(left, [1, 3, 4, 7, 9], "neither of Bob, nor what makes no sense");
        assert_eq!(live(BEGIN.after(ABSOLUTE)).await, Vec::<u64>::new());
        fresh.revoke(Target::All(eve)).await;
        assert!(!live(later(2)).await.contains(&7));
    })
    .await;
}

#[on_both_stores]
async fn sessions_are_read_ahead_by_when_they_were_last_seen(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        fresh.sessions(ann, 0..4).await;
        fresh.touch(1, later(10)).await.expect("live");
        fresh.touch(3, later(20)).await.expect("live");
        let seen = async |span: Range<Timestamp>| {
            let read = read(fresh, None, 100, span, later(20)).await;
            let mut numbers = tokens(&read);
            numbers.sort_unstable();
            (numbers, read.earlier)
        };
        assert_eq!(seen(later(10)..EVER.end).await, (vec![1, 3], true));
        assert_eq!(seen(later(5)..later(20)).await, (vec![1], true));
        assert_eq!(seen(BEGIN..later(10)).await, (vec![0, 2], false));
        fresh.logout(logout_of(0)).await;
        fresh.logout(logout_of(2)).await;
        assert_eq!(seen(later(10)..EVER.end).await, (vec![1, 3], false), "the earlier ones are dead");
    })
    .await;
}
