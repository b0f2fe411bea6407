//! The contract of `dyn Store`, which every store keeps. What is one store's own is told in a file of its own.

use futures_util::future::join_all;
use sessiond::cache::coherence::{Confirmed, confirm};
use sessiond::config::DatabaseUrl;
use sessiond::domain::entropy::SystemEntropy;
use sessiond::domain::event::{Actor, Event, EventKind};
use sessiond::domain::id::{SessionId, UserId};
use sessiond::domain::revocation::{Reason, Seq, Why};
use sessiond::domain::session::Seen;
use sessiond::domain::text::LoginName;
use sessiond::store::connect::{ConnectError, Role, connect};
use sessiond::store::{
    Added, Changed, Created, Logout, Lookup, NewSession, PasswordChange, Renewal, Revoked, StoreError, Target,
};
use sessiond_needs::on_both_stores;

use crate::harness::fresh::{
    ABSOLUTE, Fresh, IDLE, because, clock, hash, later, login_of, logout_of, made, on_a_fresh_store, open, renewal_of,
    token,
};
use crate::harness::{BEGIN, Database, StoreKind};

#[on_both_stores]
async fn users_are_unique_by_key_and_listed_by_it(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        assert!(!fresh.store.has_users().await.expect("a store"));
        assert!(matches!(fresh.add("Zoe", Some("zoe@example.com")).await, Added::Yes(_)));
        assert!(matches!(fresh.add("ann", None).await, Added::Yes(_)));
        assert!(matches!(fresh.add("bob", None).await, Added::Yes(_)), "two may have no address");

        assert_eq!(fresh.add("ＡＮＮ", None).await, Added::UsernameTaken);
        assert_eq!(fresh.add("other", Some("ZOE@Example.com")).await, Added::EmailTaken);
        let twins = join_all([fresh.add("twin", None), fresh.add("TWIN", None)]).await;
        let taken = twins.iter().filter(|twin| **twin == Added::UsernameTaken).count();
        let added = twins.iter().find_map(|twin| if let Added::Yes(user) = twin { Some(user) } else { None });
        let added = added.expect("one of them").username.as_str().to_owned();
        assert_eq!(taken, 1, "at the same time: {twins:?}");

        let users = fresh.store.users().await.expect("a store");
        let names: Vec<_> = users.iter().map(|user| (user.username.as_str(), user.admin)).collect();
        assert_eq!(names, [("ann", true), ("bob", false), (&added, false), ("Zoe", false)]);
        assert!(fresh.store.has_users().await.expect("a store"));
    })
    .await;
}

#[on_both_stores]
async fn credentials_are_found_by_username_by_address_and_by_id_and_not_across(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let Added::Yes(user) = fresh.add("Zoe", Some("zoe@example.com")).await else { panic!("free") };
        let find = async |name| fresh.store.credentials(&name).await.expect("a store");
        for name in [LoginName::username("zOE"), LoginName::email("ZOE@example.com")] {
            let found = find(name).await.expect("found");
            assert_eq!(found.user, user);
            assert_eq!((found.password_hash.as_str(), found.auth_epoch), ("first", 0));
        }
        for name in [LoginName::username("zoe@example.com"), LoginName::email("zoe"), LoginName::username("nobody")] {
            assert!(find(name.clone()).await.is_none(), "{name:?}");
        }
        assert_eq!(fresh.credentials(user.id).await.user, user);
        let nobody = UserId::random(&SystemEntropy).expect("entropy");
        assert!(fresh.store.credentials_of(nobody).await.expect("a store").is_none());
    })
    .await;
}

#[on_both_stores]
async fn a_session_is_found_by_its_token_whole_and_with_its_user(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let new = login_of(ann, 1);
        assert_eq!(fresh.create(new.clone()).await, Created::Yes(Seq(0)), "it made no room");

        let (session, user) = fresh.found(1).await;
        assert_eq!(session, new.session);
        assert_eq!(user, fresh.credentials(ann).await.user);
        assert!(matches!(fresh.lookup(2).await, Lookup::Missing));
    })
    .await;
}

#[on_both_stores]
async fn a_login_outrun_by_what_it_was_checked_against_makes_no_session(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        for (number, what) in (10..).zip(["password", "own password", "disabled", "enabled", "revoked"]) {
            let user = fresh.user(&format!("user{number}")).await;
            let checked = login_of(user, number);
            let change = |auth_epoch| PasswordChange { user, hash: hash("second"), auth_epoch, keep: None };
            match what {
                "password" => drop(fresh.change_password(change(None)).await.expect("a user")),
                "own password" => drop(fresh.change_password(change(Some(0))).await.expect("not outrun")),
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
        let nobody = UserId::random(&SystemEntropy).expect("entropy");
        assert_eq!(fresh.create(login_of(nobody, 99)).await, Created::Superseded);
    })
    .await;
}

#[on_both_stores]
async fn an_outrun_login_ends_nothing(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        fresh.session(ann, 1).await;
        let outrun = NewSession { auth_epoch: 7, cap: 1, replaces: vec![token(1)], ..login_of(ann, 2) };
        assert_eq!(fresh.create(outrun).await, Created::Superseded);
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
        assert_eq!(fresh.create(replacing(4, 1)).await, Created::Yes(Seq(2)), "whoever's it is");
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
        let told = |id: SessionId| {
            let line =
                ended.iter().find(|line| line.session.as_deref() == Some(id.as_str()) && line.kind != "login_ok");
            line.map(|line| (line.kind.as_str(), line.detail.as_deref()))
        };
        let replaced = Some(("revoked", Some("replaced")));
        assert_eq!([told(one), told(two), told(three)], [replaced, replaced, Some(("logout", None))]);
        assert_eq!(fresh.database.half_done().await, 0);
    })
    .await;
}

#[on_both_stores]
async fn a_fresh_hash_takes_the_old_ones_place_and_outruns_nobody(store: StoreKind) {
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
        assert_eq!(fresh.states(9..10).await, ["live"], "somebody else's does not count");
    })
    .await;
}

#[on_both_stores]
async fn where_stored_times_cannot_tell_which_session_makes_room_a_login_changes_nothing_and_asks(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let mut ids = Vec::new();
        for number in 1..4 {
            fresh.wait_until(later(number));
            ids.push(fresh.session(ann, number).await);
        }
        let unflushed = |cap, replaces| NewSession { cap, replaces, flushed: false, ..login_of(ann, 4) };
        let asked = async |new: NewSession| match fresh.create(new).await {
            Created::Unflushed { mut sessions, seq } => {
                sessions.sort_by_key(|token| token.to_hex());
                if fresh.store.shared().is_some() {
                    let mut entry = fresh.newest().await;
                    entry.flush.sort_by_key(|token| token.to_hex());
                    assert_eq!((entry.seq, &entry.flush), (seq, &sessions));
                    assert!(entry.sessions.is_empty() && entry.users.is_empty(), "nothing has ended");
                } else {
                    assert_eq!((seq, fresh.numbers().await.len()), (Seq(0), 0), "there is nobody else to ask");
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
        let under = NewSession { cap: 4, flushed: false, ..login_of(ann, 6) };
        assert!(matches!(fresh.create(under).await, Created::Yes(_)), "below the cap nobody is asked");
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

#[on_both_stores]
async fn a_session_is_logged_out_once_and_only_as_its_owner(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        let id = fresh.session(ann, 1).await;
        let by = |user| Logout { user: Some(user), ..logout_of(1) };
        let nothing = |seq| Revoked { sessions: vec![], seq: Seq(seq) };

        assert_eq!(fresh.logout(by(bob)).await, nothing(0), "somebody else's");
        assert_eq!(fresh.logout(logout_of(2)).await, nothing(0), "nobody's");

        assert_eq!(fresh.logout(by(ann)).await, Revoked { sessions: vec![id], seq: Seq(1) });
        assert!(matches!(fresh.lookup(1).await, Lookup::Revoked(Seq(1))));
        assert_eq!(fresh.logout(by(ann)).await, nothing(1), "a second time: to be told once 1 is settled");

        fresh.session(ann, 3).await;
        fresh.wait_until(BEGIN.after(IDLE));
        assert!(fresh.logout(logout_of(3)).await.sessions.is_empty(), "over by itself");
    })
    .await;
}

#[on_both_stores]
async fn what_was_asked_for_through_a_session_is_not_done_once_that_has_ended(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let others = fresh.session(ann, 1).await;
        let ids = [fresh.session(ann, 2).await, fresh.session(ann, 3).await];
        let through = |number| Reason { requested_by: Some(token(number)), ..because(Why::Owner) };
        let revoke = async |target, number| fresh.store.revoke(target, through(number)).await.expect("a store");
        let change =
            PasswordChange { user: ann, hash: hash("theirs"), auth_epoch: Some(0), keep: Some(renewal_of(ids[0], 22)) };
        fresh.logout(logout_of(2)).await;

        for target in [Target::Id(others, Some(ann)), Target::Others(ann, ids[0]), Target::All(ann)] {
            assert_eq!(revoke(target, 2).await, Changed::NoSession(Seq(1)));
        }
        assert_eq!(revoke(Target::All(ann), 77).await, Changed::NoSession(Seq(1)), "one never made");
        let changed = fresh.store.change_password(change.clone(), through(2)).await.expect("a store");
        assert_eq!(changed, Changed::NoSession(Seq(1)));
        assert_eq!(fresh.credentials(ann).await.password_hash.as_str(), "first");
        assert_eq!(fresh.states(1..4).await, ["live", "revoked", "live"]);

        let changed = fresh
            .store
            .change_password(PasswordChange { keep: Some(renewal_of(ids[1], 33)), ..change }, through(3))
            .await;
        assert_eq!(made(changed.expect("a store")).sessions, [others]);
        assert_eq!(revoke(Target::All(ann), 3).await, Changed::NoSession(Seq(2)), "through its old token");
        fresh.wait_until(BEGIN.after(IDLE));
        assert_eq!(revoke(Target::All(ann), 33).await, Changed::NoSession(Seq(2)), "over by itself");
    })
    .await;
}

#[on_both_stores]
async fn a_last_seen_time_that_waited_past_the_deadline_brings_nobody_back(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        fresh.session(fresh.user("ann").await, 1).await;
        fresh.wait_until(BEGIN.after(IDLE));
        let seen = Seen { token_hash: token(1), at: later(99), idle_until: later(199) };
        assert!(fresh.store.touch(vec![seen]).await.expect("a store").is_empty());
        assert_eq!(fresh.found(1).await.0.expiry.idle, BEGIN.after(IDLE));
    })
    .await;
}

#[on_both_stores]
async fn of_many_logouts_of_one_token_exactly_one_wins(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        for number in 0..20 {
            let id = fresh.session(ann, number).await;
            let answers = join_all((0..8).map(|_| fresh.logout(logout_of(number)))).await;
            let won: Vec<_> = answers.iter().filter(|answer| !answer.sessions.is_empty()).collect();
            let seq = Seq(i64::try_from(number).expect("small") + 1);
            assert_eq!(won, [&Revoked { sessions: vec![id], seq }]);
            assert!(
                answers.iter().all(|answer| answer.seq == seq),
                "the losers reveal the same tombstone: {answers:?}"
            );
        }
        assert_eq!(fresh.audit().await["logout"], 20);
    })
    .await;
}

#[on_both_stores]
async fn of_logouts_at_once_only_the_owners_wins(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        let id = fresh.session(ann, 1).await;
        let by = |user| fresh.logout(Logout { user: Some(user), ..logout_of(1) });
        let answers = join_all([by(bob), by(ann)]).await;
        assert_eq!((&answers[0].sessions[..], &answers[1].sessions[..]), (&[][..], &[id][..]));
    })
    .await;
}

#[on_both_stores]
async fn many_logouts_at_once_end_their_own_sessions_each(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let ids = join_all((0..100).map(|number| fresh.session(ann, number))).await;
        let answers = join_all((0..100).map(|number| fresh.logout(logout_of(number)))).await;
        for (id, answer) in ids.iter().zip(&answers) {
            assert_eq!(answer.sessions, [*id]);
        }
        assert!(fresh.states(0..100).await.iter().all(|state| *state == "revoked"));
        assert_eq!(fresh.audit().await["logout"], 100);
    })
    .await;
}

#[on_both_stores]
async fn sessions_are_revoked_by_id_all_at_once_and_all_but_one(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        let anns = [fresh.session(ann, 1).await, fresh.session(ann, 2).await, fresh.session(ann, 3).await];
        let bobs = fresh.session(bob, 4).await;

        assert!(fresh.revoke(Target::Id(bobs, Some(ann))).await.sessions.is_empty(), "somebody else's");
        assert_eq!(fresh.revoke(Target::Id(anns[0], Some(ann))).await.sessions, [anns[0]]);
        assert!(fresh.revoke(Target::Id(anns[0], None)).await.sessions.is_empty(), "dead already");
        assert_eq!(fresh.revoke(Target::Others(ann, anns[1])).await.sessions, [anns[2]]);
        assert_eq!(fresh.states(1..5).await, ["revoked", "live", "revoked", "live"]);
        assert_eq!(fresh.credentials(ann).await.auth_epoch, 0, "a login being checked may go on");
        assert_eq!(fresh.revoke(Target::All(ann)).await.sessions, [anns[1]]);
        assert_eq!(fresh.revoke(Target::Id(bobs, None)).await.sessions, [bobs], "an operator's");
        assert_eq!(fresh.revoke(Target::All(bob)).await, Revoked { sessions: vec![], seq: Seq(4) });
    })
    .await;
}

#[on_both_stores]
async fn a_changed_password_ends_every_session_but_the_one_to_keep(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let [kept, ended] = [fresh.session(ann, 1).await, fresh.session(ann, 2).await];
        let keep = Some(renewal_of(kept, 3));
        let change = PasswordChange { user: ann, hash: hash("second"), auth_epoch: Some(0), keep };

        let revoked = fresh.change_password(change.clone()).await.expect("not outrun");
        assert_eq!(revoked, Revoked { sessions: vec![ended], seq: Seq(1) });
        assert_eq!(fresh.states(1..4).await, ["revoked", "revoked", "live"]);
        assert_eq!(fresh.credentials(ann).await.password_hash.as_str(), "second");
        assert_eq!(fresh.newest().await.users, [ann]);

        assert_eq!(fresh.change_password(change.clone()).await, None, "checked under yesterday's password");
        fresh.set_disabled(ann, true).await.expect("a user");
        let today = PasswordChange { auth_epoch: Some(2), hash: hash("third"), ..change.clone() };
        assert_eq!(fresh.change_password(today).await, None, "disabled meanwhile");
        assert_eq!(fresh.credentials(ann).await.password_hash.as_str(), "second");

        let operators = PasswordChange { auth_epoch: None, hash: hash("fourth"), keep: None, ..change.clone() };
        assert!(fresh.change_password(operators.clone()).await.is_some(), "an operator may");
        let nobody = PasswordChange { user: UserId::random(&SystemEntropy).expect("entropy"), ..operators };
        assert_eq!(fresh.change_password(nobody).await, None);
    })
    .await;
}

#[on_both_stores]
async fn a_session_goes_on_under_a_new_token_and_the_old_one_is_a_tombstone(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        let (id, bobs) = (fresh.session(ann, 1).await, fresh.session(bob, 9).await);
        let before = fresh.found(1).await.0;
        fresh.wait_until(later(50));
        let renew = async |session, number, idle| {
            let keep = Some(Renewal { idle_until: idle, ..renewal_of(session, number) });
            let change = PasswordChange { user: ann, hash: hash("second"), auth_epoch: None, keep };
            fresh.change_password(change).await.expect("a user")
        };

        let nothing_ended = |seq| Revoked { sessions: vec![], seq: Seq(seq) };
        assert_eq!(renew(id, 2, later(150)).await, nothing_ended(1), "its number is that of the old token's end");
        assert!(matches!(fresh.lookup(1).await, Lookup::Revoked(Seq(1))));
        let mut renewed = fresh.found(2).await.0;
        assert_eq!((renewed.last_seen_at, renewed.expiry.idle), (later(50), later(150)), "a sign of life");
        (renewed.last_seen_at, renewed.expiry.idle) = (before.last_seen_at, before.expiry.idle);
        assert_eq!(renewed, before, "the same session");
        assert_eq!(fresh.newest().await.sessions, [token(1)], "caches forget the old token");
        let listed = fresh.store.sessions(ann, later(50)).await.expect("a store").sessions;
        assert_eq!(listed.iter().map(|session| session.id).collect::<Vec<_>>(), [id], "listed once");

        assert_eq!(fresh.logout(logout_of(1)).await, nothing_ended(1), "a tombstone ends nothing");
        assert_eq!(fresh.touch(1, later(60)).await, None, "and is not seen");
        assert_eq!(fresh.touch(2, later(60)).await, Some(later(160)));
        let same_token = NewSession { auth_epoch: 1, ..login_of(ann, 1) };
        assert!(fresh.store.create_session(same_token).await.is_err(), "nor given out again");
        assert_eq!(fresh.states(1..3).await, ["revoked", "live"]);

        assert_eq!(renew(id, 3, later(10)).await, nothing_ended(2), "once more, and no deadline moves back");
        assert_eq!(fresh.found(3).await.0.expiry.idle, later(160));
        let capped = NewSession { auth_epoch: 2, cap: 2, ..login_of(ann, 4) };
        assert_eq!(fresh.create(capped).await, Created::Yes(Seq(2)), "tombstones do not count towards the cap");
        assert_eq!(fresh.database.half_done().await, 0);
        renew(bobs, 10, later(150)).await;
        assert_eq!(fresh.states(9..11).await, ["live", "missing"], "somebody else's stays as it is");
        assert_eq!(fresh.store.purge(later(1001), 10).await.expect("a store"), 5, "purged with their session");
    })
    .await;
}

#[on_both_stores]
async fn of_many_changes_through_one_token_exactly_one_is_made(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        for round in (0..1000).step_by(100) {
            let (id, auth_epoch) = (fresh.session(ann, round).await, fresh.credentials(ann).await.auth_epoch);
            let changes = (1..=4).map(|number| {
                let keep = Some(renewal_of(id, round + number));
                let change = PasswordChange { user: ann, hash: hash("next"), auth_epoch: Some(auth_epoch), keep };
                let through = Reason { requested_by: Some(token(round)), ..because(Why::Password) };
                fresh.store.change_password(change, through)
            });
            let told: Vec<_> = join_all(changes).await.into_iter().map(|told| told.expect("a store")).collect();
            let made = told.iter().filter(|told| matches!(told, Changed::Yes(_))).count();
            let refused = told.iter().filter(|told| matches!(told, Changed::NoSession(_))).count();
            assert_eq!((made, refused), (1, 3), "{told:?}");
            let mut states = fresh.states(round..round + 5).await;
            assert_eq!(states.remove(0), "revoked");
            states.sort_unstable();
            assert_eq!(states, ["live", "missing", "missing", "missing"]);
        }
    })
    .await;
}

#[on_both_stores]
async fn disabling_ends_every_session_and_enabling_brings_none_back(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let id = fresh.session(ann, 1).await;
        assert_eq!(fresh.set_disabled(ann, true).await, Some(Revoked { sessions: vec![id], seq: Seq(1) }));
        assert_eq!(fresh.credentials(ann).await.user.disabled_at, Some(BEGIN));
        assert_eq!(fresh.set_disabled(ann, false).await, Some(Revoked { sessions: vec![], seq: Seq(1) }));
        assert_eq!(fresh.credentials(ann).await.user.disabled_at, None);
        assert_eq!(fresh.states(1..2).await, ["revoked"]);
        let nobody = UserId::random(&SystemEntropy).expect("entropy");
        assert_eq!(fresh.set_disabled(nobody, true).await, None);
    })
    .await;
}

#[on_both_stores]
async fn numbers_rise_by_one_and_each_is_in_the_log_in_its_order(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        for number in 0..40 {
            fresh.session(ann, number).await;
        }
        let logouts = join_all((0..30).map(async |number| {
            // Not all in one batch.
            for _ in 0..number * 3 {
                tokio::task::yield_now().await;
            }
            fresh.logout(logout_of(number)).await.seq
        }));
        let told: Vec<Seq> = logouts.await;
        fresh.revoke(Target::All(ann)).await;

        let numbers = fresh.numbers().await;
        let newest = *numbers.last().expect("some");
        assert_eq!(numbers, (1..=newest).collect::<Vec<_>>(), "from the start, without a gap");
        assert!(told.iter().all(|seq| seq.0 >= 1 && seq.0 < newest));
        let revocations = fresh.log().await;
        for (number, seq) in (0..).zip(told) {
            let revocation = revocations.iter().find(|revocation| revocation.seq == seq).expect("in the log");
            assert!(revocation.sessions.contains(&token(number)));
            assert!(matches!(fresh.lookup(number).await, Lookup::Revoked(of) if of == seq), "on the tombstone too");
        }
        assert_eq!(revocations.last().expect("some").users, [ann]);
    })
    .await;
}

#[on_both_stores]
async fn nothing_resurrects_a_tombstone(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let id = fresh.session(ann, 1).await;
        fresh.logout(logout_of(1)).await;

        assert_eq!(fresh.touch(1, later(1)).await, None);
        let change =
            PasswordChange { user: ann, hash: hash("second"), auth_epoch: None, keep: Some(renewal_of(id, 11)) };
        fresh.change_password(change).await.expect("a user");
        fresh.set_disabled(ann, true).await.expect("a user");
        fresh.set_disabled(ann, false).await.expect("a user");
        fresh.revoke(Target::Others(ann, id)).await;
        fresh.revoke(Target::All(ann)).await;
        fresh.logout(logout_of(1)).await;
        fresh.store.purge(BEGIN, 10).await.expect("a store");
        let same_token = NewSession { auth_epoch: fresh.credentials(ann).await.auth_epoch, ..login_of(ann, 1) };
        assert!(fresh.store.create_session(same_token).await.is_err(), "not even another login");

        assert!(matches!(fresh.lookup(1).await, Lookup::Revoked(Seq(1))), "still of its first end");
    })
    .await;
}

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
async fn a_list_shows_live_sessions_newest_login_first_and_tells_what_it_reveals(store: StoreKind) {
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

#[on_both_stores]
async fn old_events_are_deleted_in_batches_and_young_ones_stay(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let event = |at| Event::about(ann, EventKind::LoginFailed, Actor::Anonymous, at);
        fresh.store.record((1..8).map(|second| event(later(second))).collect()).await.expect("a store");
        let purge = async |before, limit| fresh.store.purge_events(before, limit).await.expect("a store");
        assert_eq!(purge(BEGIN, 10).await, 0);
        // The one about the user who was added is from the beginning.
        assert_eq!((purge(later(5), 2).await, purge(later(5), 2).await, purge(later(5), 2).await), (2, 2, 1));
        assert_eq!(purge(later(5), 2).await, 0);
        let left = "SELECT count(*) FROM events WHERE at >= ";
        assert_eq!(fresh.database.number(&format!("{left}{}", later(5).millis())).await, 3);
        assert_eq!(fresh.database.number("SELECT count(*) FROM events").await, 3);
        assert_eq!((purge(later(99), 2).await, purge(later(99), 2).await), (2, 1));
        fresh.store.record(vec![event(later(9))]).await.expect("a store");
        assert_eq!(purge(later(99), 2).await, 1, "and on from the beginning");
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
        let change =
            PasswordChange { user: ann, hash: hash("second"), auth_epoch: None, keep: Some(renewal_of(kept, 6)) };
        fresh.change_password(change).await;
        fresh.set_disabled(ann, true).await;
        fresh.set_disabled(ann, false).await;
        let failed =
            Event { detail: Some("password"), ..Event::about(ann, EventKind::LoginFailed, Actor::Anonymous, BEGIN) };
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
        let told = ended.iter().map(|line| (line.session.as_deref(), line.actor.as_str(), line.detail.as_deref()));
        let told: Vec<_> = told.collect();
        let revoked = |session: &'static str, by, why| (Some(session), by, Some(why));
        let [one, two, three, kept] = [one, two, three, kept].map(|id| &*String::leak(id.to_string()));
        let expected = [
            revoked(two, "system", "cap"),
            revoked(kept, "cli", "disabled"),
            revoked(three, "cli", "password"),
            revoked(one, ann.as_str().to_owned().leak(), "replaced"),
        ];
        assert_eq!(told, expected);
    })
    .await;
}

#[on_both_stores]
async fn what_comes_to_nothing_writes_no_event_and_takes_no_number(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let before = fresh.audit().await;
        let nobody = UserId::random(&SystemEntropy).expect("entropy");
        fresh.add("ANN", None).await;
        fresh.create(NewSession { auth_epoch: 7, ..login_of(ann, 1) }).await;
        fresh.logout(logout_of(1)).await;
        fresh.revoke(Target::All(ann)).await;
        fresh.set_disabled(nobody, true).await;
        fresh.touch(1, BEGIN).await;
        fresh.store.purge(later(1), 10).await.expect("a store");
        assert_eq!(fresh.audit().await, before);
        assert_eq!(fresh.numbers().await, [0; 0]);
    })
    .await;
}

#[on_both_stores]
async fn an_operation_that_fails_spares_its_neighbours(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        for number in 0..4 {
            fresh.session(ann, number).await;
        }
        // Queued together; the third asks for a token that another session has.
        let (one, two, failed, created, disabled) = tokio::join!(
            fresh.store.logout(logout_of(0)),
            fresh.revoke(Target::Id(fresh.found(1).await.0.id, None)),
            fresh.store.create_session(login_of(ann, 2)),
            fresh.store.create_session(login_of(ann, 10)),
            fresh.store.logout(logout_of(3)),
        );
        assert!(matches!(failed, Err(StoreError::Inconsistent(_))), "{failed:?}");
        assert_eq!([one.expect("done"), two, disabled.expect("done")].map(|ended| ended.sessions.len()), [1, 1, 1]);
        assert!(matches!(created, Ok(Created::Yes(_))));
        assert_eq!(fresh.states(0..4).await, ["revoked", "revoked", "live", "revoked"]);
        assert_eq!(fresh.states(10..11).await, ["live"]);
        let numbers = fresh.numbers().await;
        assert_eq!(numbers, (1..=numbers.len()).map(|number| i64::try_from(number).expect("few")).collect::<Vec<_>>());
        let counts = fresh.audit().await;
        assert_eq!((counts["login_ok"], counts["logout"], counts["revoked"]), (5, 2, 1));
    })
    .await;
}

#[on_both_stores]
async fn everything_is_there_after_closing_and_opening_again(store: StoreKind) {
    let fresh = Fresh::new(store).await;
    let ann = fresh.user("ann").await;
    fresh.session(ann, 1).await;
    fresh.session(ann, 2).await;
    let issued = fresh.store.token_key().await.expect("a store").issue(&SystemEntropy).expect("entropy");
    fresh.logout(logout_of(1)).await;
    fresh.store.close().await;
    assert!(fresh.store.ping().await.is_err(), "closed");
    assert!(fresh.store.logout(logout_of(2)).await.is_err(), "closed");
    let Fresh { store, database, .. } = fresh;
    drop(store);

    let fresh = Fresh::over(database).await;
    fresh.store.ping().await.expect("open");
    assert!(fresh.store.token_key().await.expect("a store").issued(&issued), "the same key");
    assert!(matches!(fresh.lookup(1).await, Lookup::Revoked(Seq(1))));
    assert!(matches!(fresh.lookup(2).await, Lookup::Found(_)));
    assert_eq!(fresh.logout(logout_of(2)).await.seq, Seq(2));
    fresh.store.close().await;
}

#[on_both_stores]
async fn without_a_server_there_is_nobody_to_confirm(store: StoreKind) {
    let database = Database::new(store);
    let alone = open(&database, Role::Command).await.expect("a store");
    assert_eq!(confirm(&*alone, Seq(1)).await.expect("a store"), Confirmed::NoServer);
    alone.close().await;
}

#[tokio::test]
async fn a_url_that_is_no_store_is_refused() {
    for odd in ["mysql://x", "sqlite://", "postgres", "test.db"] {
        let refused = connect(&DatabaseUrl::new(odd.into()), Role::Command, clock(), &SystemEntropy).await;
        assert!(matches!(refused, Err(ConnectError::UnknownScheme(_))), "{odd}");
    }
}
