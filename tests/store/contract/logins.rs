//! Sessions begin: against what the login was checked with, in place of others, and within the cap.

use sessiond_needs::on_both_stores;

use super::*;

#[on_both_stores]
async fn a_superseded_login_makes_no_session(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        for (number, what) in (10..).zip(["password", "own password", "disabled", "enabled", "revoked"]) {
            let user = fresh.user(&format!("user{number}")).await;
            let checked = login_of(user, number);
            let change = |auth_epoch| PasswordChange {
                user,
                hash: hash("second"),
                auth_epoch,
                proof: None,
                one_time: None,
                lifts: Vec::new(),
                keep: None,
            };
            match what {
                "password" => drop(fresh.change_password(change(None)).await.expect("a user")),
                "own password" => drop(fresh.change_password(change(Some(0))).await.expect("not superseded")),
                "disabled" => drop(fresh.set_disabled(user, true).await.expect("a user")),
                "enabled" => {
                    fresh.set_disabled(user, true).await.expect("a user");
                    fresh.set_disabled(user, false).await.expect("a user");
                }
                _ => drop(fresh.revoke(Target::All(user)).await),
            }
            assert_eq!(fresh.create(checked.clone()).await, Created::Superseded, "{what}");
            assert!(matches!(fresh.lookup(number).await, Lookup::Missing), "{what}");

            let epoch = fresh.credentials(user).await.auth_epoch;
            let again = fresh.create(NewSession { auth_epoch: epoch, ..checked }).await;
            assert_eq!(again == Created::Superseded, what == "disabled", "{what}: checked again");
        }
        let unknown_user = UserId::random(&SystemEntropy).expect("entropy");
        assert_eq!(fresh.create(login_of(unknown_user, 99)).await, Created::Superseded);
    })
    .await;
}

#[on_both_stores]
async fn a_superseded_login_ends_nothing(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        fresh.session(ann, 1).await;
        let superseded = NewSession { auth_epoch: 7, cap: 1, replaces: vec![token(1)], ..login_of(ann, 2) };
        assert_eq!(fresh.create(superseded).await, Created::Superseded);
        assert_eq!(fresh.states(1..3).await, ["live", "missing"]);
    })
    .await;
}

#[on_both_stores]
async fn a_login_ends_the_session_whose_cookie_it_overwrites(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        fresh.session(ann, 1).await;
        fresh.session(bob, 2).await;
        let replacing = |number, old| NewSession { replaces: vec![token(old)], ..login_of(bob, number) };

        assert_eq!(fresh.create(replacing(3, 2)).await, Created::Yes(Seq(1)), "one's own");
        assert_eq!(fresh.create(replacing(4, 1)).await, Created::Yes(Seq(2)), "of whichever user");
        assert_eq!(fresh.newest().await.sessions, [token(1)]);
        assert_eq!(fresh.create(replacing(5, 1)).await, Created::Yes(Seq(2)), "a dead one stays as it is");
        assert_eq!(fresh.create(replacing(6, 77)).await, Created::Yes(Seq(2)), "one never made");
        let states = ["revoked", "revoked", "live", "live", "live", "live"];
        assert_eq!(fresh.states(1..7).await, states);
    })
    .await;
}

#[on_both_stores]
async fn a_login_ends_every_session_whose_cookie_it_overwrites(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        let [one, two, three] = [fresh.session(ann, 1).await, fresh.session(bob, 2).await, fresh.session(bob, 3).await];
        fresh.logout(logout_of(3)).await;
        let replaces = [1, 2, 3, 77].map(token).to_vec();
        let fourth = NewSession { replaces, cap: 1, ..login_of(bob, 4) };
        assert_eq!(fresh.create(fourth).await, Created::Yes(Seq(2)), "under one number");
        assert_eq!(fresh.states(1..5).await, ["revoked", "revoked", "revoked", "live"]);
        assert!(matches!(fresh.lookup(3).await, Lookup::Revoked(Seq(1))), "a dead one stays as it is");
        let ended = fresh.lines().await;
        let end = |id: SessionId| {
            let line =
                ended.iter().find(|line| line.session.as_deref() == Some(id.as_str()) && line.kind != "login_ok");
            line.map(|line| (line.kind.as_str(), line.detail.as_deref()))
        };
        let replaced = Some(("revoked", Some("replaced")));
        assert_eq!([end(one), end(two), end(three)], [replaced, replaced, Some(("logout", None))]);
        assert_eq!(fresh.database.half_done().await, 0);
    })
    .await;
}

#[on_both_stores]
async fn a_fresh_hash_replaces_the_old_one_and_supersedes_no_login(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        fresh.create(NewSession { rehashed: Some(hash("stronger")), ..login_of(ann, 1) }).await;
        let known = fresh.credentials(ann).await;
        assert_eq!((known.password_hash.as_str(), known.auth_epoch), ("stronger", 0));
    })
    .await;
}

#[on_both_stores]
async fn at_the_cap_the_session_not_seen_for_longest_makes_room(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        fresh.session(bob, 9).await;
        for number in 1..4 {
            fresh.session(ann, number).await;
        }
        fresh.touch(1, later(5)).await.expect("live");

        let fourth = NewSession { cap: 3, ..login_of(ann, 4) };
        assert!(matches!(fresh.create(fourth).await, Created::Yes(Seq(1))));
        assert_eq!(fresh.states(1..5).await, ["live", "revoked", "live", "live"], "the older of those seen alike");

        let fifth = NewSession { cap: 1, ..login_of(ann, 5) };
        assert!(matches!(fresh.create(fifth).await, Created::Yes(Seq(2))), "many at once, one number");
        assert_eq!(fresh.states(1..6).await, ["revoked", "revoked", "revoked", "revoked", "live"]);
        assert_eq!(fresh.states(9..10).await, ["live"], "another user's does not count");
    })
    .await;
}

#[on_both_stores]
async fn where_stored_times_cannot_decide_which_session_ends_a_login_changes_nothing_and_asks(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let mut ids = Vec::new();
        for number in 1..4 {
            fresh.wait_until(later(number));
            ids.push(fresh.session(ann, number).await);
        }
        let unflushed =
            |cap, replaces| NewSession { cap, replaces, unflushed: Some(MOST_UNFLUSHED), ..login_of(ann, 4) };
        let asked = async |new: NewSession| match fresh.create(new).await {
            Created::Unflushed { mut sessions, seq } => {
                sessions.sort_by_key(|token| token.to_hex());
                if fresh.store.shared().is_some() {
                    let mut entry = fresh.newest().await;
                    entry.flush.sort_by_key(|token| token.to_hex());
                    assert_eq!((entry.seq, &entry.flush), (seq, &sessions));
                    assert!(entry.sessions.is_empty() && entry.users.is_empty(), "nothing has ended");
                } else {
                    assert_eq!((seq, fresh.numbers().await.len()), (Seq(0), 0), "there is no other replica to ask");
                }
                sessions
            }
            decided => panic!("{decided:?}"),
        };
        assert_eq!(asked(unflushed(3, vec![])).await, [token(1), token(2), token(3)]);
        assert_eq!(asked(unflushed(2, vec![token(2)])).await, [token(1), token(3)], "but what ends anyway");
        assert_eq!(fresh.create(NewSession { auth_epoch: 7, ..unflushed(3, vec![]) }).await, Created::Superseded);
        assert_eq!(fresh.states(1..5).await, ["live", "live", "live", "missing"]);
        assert_eq!(fresh.audit().await["login_ok"], 3);

        // Long before all others, whatever anybody has in memory.
        let old = format!("UPDATE sessions SET last_seen_at = last_seen_at - 3600000 WHERE id = '{}'", ids[2]);
        fresh.database.execute(&old).await;
        assert!(matches!(fresh.create(unflushed(3, vec![])).await, Created::Yes(_)));
        assert_eq!(fresh.states(1..5).await, ["live", "live", "revoked", "live"]);
        fresh.create(NewSession { cap: 3, ..login_of(ann, 5) }).await;
        assert_eq!(fresh.states(1..6).await, ["revoked", "live", "revoked", "live", "live"], "asked, and decided");
        let under = NewSession { cap: 4, unflushed: Some(MOST_UNFLUSHED), ..login_of(ann, 6) };
        assert!(matches!(fresh.create(under).await, Created::Yes(_)), "below the cap no replica is asked");
    })
    .await;
}

#[on_both_stores]
async fn of_several_last_seen_times_of_a_session_in_one_touch_the_latest_is_stored(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        fresh.session(fresh.user("ann").await, 1).await;
        let seen = |at| Seen { token_hash: token(1), at: later(at), idle_until: later(at).after(IDLE) };
        let moved = fresh.store.touch(vec![seen(3), seen(5), seen(2), seen(4)]).await.expect("a store");
        assert!(moved.iter().all(|(_, idle)| *idle <= later(5).after(IDLE)));
        let (session, _) = fresh.found(1).await;
        assert_eq!((session.last_seen_at, session.expiry.idle), (later(5), later(5).after(IDLE)));
    })
    .await;
}

#[on_both_stores]
async fn dead_sessions_do_not_count_towards_the_cap(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        fresh.session(ann, 1).await;
        fresh.session(ann, 2).await;
        fresh.logout(logout_of(1)).await;
        fresh.wait_until(BEGIN.after(IDLE));
        let third = NewSession { cap: 1, ..login_of(ann, 3) };
        assert_eq!(fresh.create(third).await, Created::Yes(Seq(1)), "no number but the logout's");
        assert_eq!(fresh.numbers().await, [1], "nothing had to make room");
    })
    .await;
}
