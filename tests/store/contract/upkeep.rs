//! Last-seen times, lists, what is deleted in the end, and the audit.

use sessiond::domain::clock::Timestamp;
use sessiond::store::{EventNumber, EventPurge, EventsPurged};
use sessiond_needs::on_both_stores;

use super::*;

#[on_both_stores]
async fn a_touch_moves_live_sessions_forward_and_never_past_their_end(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        fresh.session(ann, 1).await;
        assert_eq!(fresh.touch(1, later(50)).await, Some(later(150)));
        assert_eq!(fresh.touch(1, later(20)).await, Some(later(150)), "never back");
        let (session, _) = fresh.found(1).await;
        assert_eq!((session.last_seen_at, session.expiry.idle), (later(50), later(150)));

        for at in (149..950).step_by(99) {
            fresh.touch(1, later(at)).await.expect("live");
        }
        assert_eq!(fresh.touch(1, later(950)).await, Some(later(1000)), "the end stands");
        assert_eq!(fresh.touch(1, later(1000)).await, None, "over by itself");
        assert_eq!(fresh.touch(2, later(1)).await, None, "nobody's");
        assert!(fresh.store.touch(vec![]).await.expect("a store").is_empty());
    })
    .await;
}

#[on_both_stores]
async fn one_touch_stores_many_sessions(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        for number in 1..4 {
            fresh.session(ann, number).await;
        }
        fresh.logout(logout_of(2)).await;
        let seen = |number| Seen { token_hash: token(number), at: later(10), idle_until: later(110) };
        let moved = fresh.store.touch((1..5).map(seen).collect()).await.expect("a store");
        let mut moved: Vec<_> = moved.into_iter().map(|(hash, idle)| (hash.to_hex(), idle)).collect();
        moved.sort();
        assert_eq!(moved, [(token(1).to_hex(), later(110)), (token(3).to_hex(), later(110))]);
    })
    .await;
}

#[on_both_stores]
async fn a_list_shows_live_sessions_newest_login_first_and_the_number_it_reveals(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        let list = async |at| fresh.store.sessions(ann, at).await.expect("a store");
        let empty = list(BEGIN).await;
        assert_eq!((empty.sessions.len(), empty.seq), (0, Seq(0)));

        let mut ids = Vec::new();
        for (number, at) in [(1, 20), (2, 10), (3, 20), (4, 0)] {
            let mut new = login_of(ann, number);
            new.session.created_at = later(at);
            new.session.expiry.idle = later(100 + at);
            ids.push(new.session.id);
            fresh.create(new).await;
        }
        fresh.session(bob, 9).await;
        let shown = |listing: &sessiond::store::Listing| listing.sessions.iter().map(|s| s.id).collect::<Vec<_>>();
        assert_eq!(shown(&list(BEGIN).await), [ids[2], ids[0], ids[1], ids[3]], "of two at once the later row");
        assert_eq!(shown(&list(later(110)).await), [ids[2], ids[0]], "not what is over");

        let revoked = fresh.logout(logout_of(3)).await;
        let listing = list(BEGIN).await;
        assert_eq!((shown(&listing), listing.seq), (vec![ids[0], ids[1], ids[3]], revoked.seq));
        let revoked = fresh.revoke(Target::All(ann)).await;
        let listing = list(BEGIN).await;
        assert_eq!((listing.sessions.len(), listing.seq), (0, revoked.seq), "even when nothing is left");
    })
    .await;
}

#[on_both_stores]
async fn purge_deletes_in_batches_what_ended_for_good_and_keeps_the_newest_number(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        for number in 0..5 {
            fresh.session(ann, number).await;
        }
        let mut young = login_of(ann, 5);
        young.session.expiry.absolute = later(5000);
        fresh.create(young).await;
        fresh.logout(logout_of(0)).await;
        fresh.logout(logout_of(5)).await;
        let purge = async |before, limit| fresh.store.purge(before, limit).await.expect("a store");

        assert_eq!(purge(BEGIN.after(ABSOLUTE), 10).await, 0, "not before their end");
        let after = later(1001);
        assert_eq!((purge(after, 3).await, purge(after, 3).await, purge(after, 3).await), (3, 2, 0));
        assert_eq!(fresh.states(0..6).await, ["missing", "missing", "missing", "missing", "missing", "revoked"]);

        assert_eq!(purge(later(9999), 10).await, 1);
        fresh.session(ann, 7).await;
        assert_eq!(fresh.logout(logout_of(7)).await.seq, Seq(3), "numbers go on");
        assert_eq!(fresh.newest().await.sessions, [token(7)]);
    })
    .await;
}

/// Looks at all events, so many at a time, deletes those from before a time, and returns how many each time.
async fn purge_events(fresh: &Fresh, before: Timestamp, limit: u32) -> Vec<u64> {
    let (mut after, mut all) = (EventNumber(0), Vec::new());
    loop {
        let purge = EventPurge { before, after, limit };
        let EventsPurged { deleted, last } = fresh.store.purge_events(purge).await.expect("a store");
        all.push(deleted);
        match last {
            Some(last) => after = last,
            None => return all,
        }
    }
}

#[on_both_stores]
async fn old_events_are_deleted_in_batches_and_young_ones_stay(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let event = |second| Event::about(ann, EventKind::LoginFailed, Actor::Anonymous, later(second));
        // The one about the user who was added is from the beginning. The last two old ones were written when a clock had been
        // set right that ran ahead.
        fresh.store.record([1, 2, 3, 900, 901, 902, 4, 5].map(event).into()).await.expect("a store");
        assert_eq!(purge_events(fresh, BEGIN, 10).await, [0]);
        assert_eq!(purge_events(fresh, later(3), 2).await, [2, 1, 0, 0, 0]);
        assert_eq!(purge_events(fresh, later(3), 2).await, [0, 0, 0, 0]);
        assert_eq!(purge_events(fresh, later(5), 2).await, [1, 0, 1, 0]);
        let left = "SELECT count(*) FROM events WHERE at >= ";
        assert_eq!(fresh.database.number(&format!("{left}{}", later(5).millis())).await, 4);
        assert_eq!(fresh.database.number("SELECT count(*) FROM events").await, 4);
        fresh.store.record(vec![event(9)]).await.expect("a store");
        assert_eq!(purge_events(fresh, later(999), 2).await, [2, 2, 1]);
        assert_eq!(purge_events(fresh, later(999), 2).await, [0]);
    })
    .await;
}

#[on_both_stores]
async fn an_event_keeps_who_was_refused_and_how_often(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let client = (Some(String::from("192.0.2.1")), Some(String::from("a \"browser\"")));
        let first = Event {
            ip: client.0,
            name: Some(String::from("ann")),
            user_agent: client.1,
            ..Event::about(ann, EventKind::LoginFailed, Actor::Anonymous, BEGIN)
        };
        let more = Event { user: None, user_agent: None, count: 990, ..first.clone() };
        fresh.store.record(vec![first, more]).await.expect("a store");
        let rows = fresh.database.rows(
            "SELECT user_id, ip, name, user_agent, count FROM events WHERE kind = 'login_failed' ORDER BY number",
        );
        let some = |text: &str| Some(text.to_owned());
        let (ip, name) = (some("192.0.2.1"), some("ann"));
        let first = [some(ann.as_str()), ip.clone(), name.clone(), some("a \"browser\""), some("1")];
        assert_eq!(rows.await, [first, [None, ip, name, None, some("990")]]);

        fresh.session(ann, 1).await;
        let login = "SELECT user_agent, count FROM events WHERE kind = 'login_ok'";
        let user_agent = some(&login_of(ann, 1).session.client.user_agent);
        assert_eq!(fresh.database.rows(login).await, [[user_agent, some("1")]]);
    })
    .await;
}

#[on_both_stores]
async fn each_operation_writes_its_events(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let [one, two, three] = [fresh.session(ann, 1).await, fresh.session(ann, 2).await, fresh.session(ann, 3).await];
        fresh.create(NewSession { replaces: vec![token(1)], cap: 2, ..login_of(ann, 4) }).await;
        fresh.logout(logout_of(4)).await;
        let kept = fresh.session(ann, 5).await;
        let change = PasswordChange {
            user: ann,
            hash: hash("second"),
            auth_epoch: None,
            proof: None,
            one_time: None,
            lifts: Vec::new(),
            keep: Some(renewal_of(kept, 6)),
        };
        fresh.change_password(change).await;
        fresh.set_disabled(ann, true).await;
        fresh.set_disabled(ann, false).await;
        let failed = Event {
            detail: Some("password".into()),
            ..Event::about(ann, EventKind::LoginFailed, Actor::Anonymous, BEGIN)
        };
        fresh.store.record(vec![failed]).await.expect("a store");

        let all = fresh.lines().await;
        let counts = fresh.audit().await;
        let expected = [
            ("login_failed", 1),
            ("login_ok", 5),
            ("logout", 1),
            ("password_changed", 1),
            ("revoked", 4),
            ("user_created", 1),
            ("user_disabled", 1),
            ("user_enabled", 1),
        ];
        assert_eq!(counts, expected.map(|(kind, count)| (kind.into(), count)).into());
        assert!(all.iter().all(|line| line.user.as_deref() == Some(ann.as_str())));
        let mut ended: Vec<_> = all.iter().filter(|line| line.kind == "revoked").collect();
        ended.sort_by_key(|line| line.detail.clone());
        let found = ended.iter().map(|line| (line.session.as_deref(), line.actor.as_str(), line.detail.as_deref()));
        let found: Vec<_> = found.collect();
        let revoked = |session: &'static str, by, why| (Some(session), by, Some(why));
        let [one, two, three, kept] = [one, two, three, kept].map(|id| &*String::leak(id.to_string()));
        let expected = [
            revoked(two, "system", "cap"),
            revoked(kept, "cli", "disabled"),
            revoked(three, "cli", "password"),
            revoked(one, ann.as_str().to_owned().leak(), "replaced"),
        ];
        assert_eq!(found, expected);
    })
    .await;
}

#[on_both_stores]
async fn what_comes_to_nothing_writes_no_event_and_takes_no_number(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let before = fresh.audit().await;
        let unknown_user = UserId::random(&SystemEntropy).expect("entropy");
        fresh.add("ANN", None).await;
        fresh.create(NewSession { auth_epoch: 7, ..login_of(ann, 1) }).await;
        fresh.logout(logout_of(1)).await;
        fresh.revoke(Target::Others(ann, SessionId::random(&SystemEntropy).expect("entropy"))).await;
        fresh.set_disabled(unknown_user, true).await;
        fresh.touch(1, BEGIN).await;
        fresh.store.purge(later(1), 10).await.expect("a store");
        assert_eq!(fresh.audit().await, before);
        assert_eq!(fresh.numbers().await, [0; 0]);
    })
    .await;
}
