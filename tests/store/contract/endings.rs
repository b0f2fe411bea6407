//! Sessions end: each once, for good, under a number that every cache learns.

use sessiond_needs::on_both_stores;

use super::*;

#[on_both_stores]
async fn a_session_is_logged_out_once_and_only_as_its_owner(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        let id = fresh.session(ann, 1).await;
        let by = |user| Logout { user: Some(user), ..logout_of(1) };
        let nothing = |seq| Revoked { sessions: vec![], seq: Seq(seq) };

        assert_eq!(fresh.logout(by(bob)).await, nothing(0), "another user's");
        assert_eq!(fresh.logout(logout_of(2)).await, nothing(0), "nobody's");

        assert_eq!(fresh.logout(by(ann)).await, Revoked { sessions: vec![id], seq: Seq(1) });
        assert!(matches!(fresh.lookup(1).await, Lookup::Revoked(Seq(1))));
        assert_eq!(fresh.logout(by(ann)).await, nothing(1), "a second time: published once 1 is settled");

        fresh.session(ann, 3).await;
        fresh.wait_until(BEGIN.after(IDLE));
        assert!(fresh.logout(logout_of(3)).await.sessions.is_empty(), "over by itself");
    })
    .await;
}

#[on_both_stores]
async fn what_a_session_asked_for_is_not_done_once_it_has_ended(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let others = fresh.session(ann, 1).await;
        let ids = [fresh.session(ann, 2).await, fresh.session(ann, 3).await];
        let through = |number| Reason { requested_by: Some(token(number)), ..because(Why::Owner) };
        let revoke = async |target, number| fresh.store.revoke(target, through(number)).await.expect("a store");
        let change = PasswordChange {
            user: ann,
            hash: hash("theirs"),
            auth_epoch: Some(0),
            proof: None,
            one_time: None,
            lifts: Vec::new(),
            keep: Some(renewal_of(ids[0], 22)),
        };
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
async fn a_last_seen_time_that_waited_past_the_deadline_revives_no_session(store: StoreKind) {
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
async fn a_row_that_makes_no_sense_fails_its_own_logout_and_spares_those_beside_it(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        for number in 0..4 {
            fresh.session(ann, number).await;
        }
        let id = fresh.database.rows("SELECT id FROM sessions ORDER BY number LIMIT 1 OFFSET 1").await;
        let id = id[0][0].clone().expect("an id");
        fresh.database.execute(&format!("UPDATE sessions SET id = 'bad' WHERE id = '{id}'")).await;
        let (first, failed, second, third) = tokio::join!(
            fresh.store.logout(logout_of(0)),
            fresh.store.logout(logout_of(1)),
            fresh.store.logout(logout_of(2)),
            fresh.store.logout(logout_of(3)),
        );
        assert!(matches!(failed, Err(StoreError::Inconsistent(_))), "{failed:?}");
        for spared in [first, second, third] {
            assert_eq!(spared.expect("done").sessions.len(), 1);
        }
        fresh.database.execute(&format!("UPDATE sessions SET id = '{id}' WHERE id = 'bad'")).await;
        assert_eq!(fresh.states(0..4).await, ["revoked", "live", "revoked", "revoked"]);
    })
    .await;
}

#[on_both_stores]
async fn many_logouts_at_once_end_their_own_sessions_each(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let ids = fresh.sessions(ann, 0..100).await;
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
async fn many_lookups_at_once_are_answered_each_by_itself(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let ids = fresh.sessions(ann, 0..90).await;
        fresh.logout(logout_of(1)).await;
        let spoil = format!("UPDATE sessions SET id = 'spoilt' WHERE id = '{}'", ids[2]);
        fresh.database.execute(&spoil).await;

        // Some are asked for twice, and the last ones were never there.
        let numbers = || (0..100).chain(0..50);
        let answers = join_all(numbers().map(async |number| fresh.store.lookup(&token(number)).await)).await;
        for (number, answer) in numbers().zip(answers) {
            match (number, answer) {
                (1, Ok(Lookup::Revoked(seq))) => assert_eq!(seq, Seq(1)),
                (2, Err(error)) => assert!(matches!(error, StoreError::Inconsistent(_)), "{error}"),
                (90.., Ok(Lookup::Missing)) => {}
                (0 | 3..90, Ok(Lookup::Found(found))) => assert_eq!(found.0.id, ids[usize::try_from(number).unwrap()]),
                (number, answer) => panic!("{number}: {answer:?}"),
            }
        }
    })
    .await;
}

#[on_both_stores]
async fn sessions_are_revoked_by_id_all_at_once_and_all_but_one(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        let anns = [fresh.session(ann, 1).await, fresh.session(ann, 2).await, fresh.session(ann, 3).await];
        let bobs = fresh.session(bob, 4).await;

        assert!(fresh.revoke(Target::Id(bobs, Some(ann))).await.sessions.is_empty(), "another user's");
        assert_eq!(fresh.revoke(Target::Id(anns[0], Some(ann))).await.sessions, [anns[0]]);
        assert!(fresh.revoke(Target::Id(anns[0], None)).await.sessions.is_empty(), "dead already");
        assert_eq!(fresh.revoke(Target::Others(ann, anns[1])).await.sessions, [anns[2]]);
        assert_eq!(fresh.states(1..5).await, ["revoked", "live", "revoked", "live"]);
        assert_eq!(fresh.credentials(ann).await.auth_epoch, 0, "a login being checked may go on");
        assert_eq!(fresh.revoke(Target::All(ann)).await.sessions, [anns[1]]);
        assert_eq!(fresh.revoke(Target::Id(bobs, None)).await.sessions, [bobs], "an operator's");
        assert_eq!(fresh.revoke(Target::Others(bob, bobs)).await, Revoked { sessions: vec![], seq: Seq(4) });
        assert_eq!(fresh.revoke(Target::All(bob)).await, Revoked { sessions: vec![], seq: Seq(5) });
        assert_eq!(fresh.newest().await.users, [bob], "a cache may have one that the store archived");
    })
    .await;
}

#[on_both_stores]
async fn a_changed_password_ends_every_session_but_the_one_to_keep(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let [kept, ended] = [fresh.session(ann, 1).await, fresh.session(ann, 2).await];
        let keep = Some(renewal_of(kept, 3));
        let change = PasswordChange {
            user: ann,
            hash: hash("second"),
            auth_epoch: Some(0),
            proof: None,
            one_time: None,
            lifts: Vec::new(),
            keep,
        };

        let revoked = fresh.change_password(change.clone()).await.expect("not superseded");
        assert_eq!(revoked, Revoked { sessions: vec![ended], seq: Seq(1) });
        assert_eq!(fresh.states(1..4).await, ["revoked", "revoked", "live"]);
        assert_eq!(fresh.credentials(ann).await.password_hash.as_str(), "second");
        assert_eq!(fresh.newest().await.users, [ann]);

        assert_eq!(fresh.change_password(change.clone()).await, None, "checked under yesterday's password");
        fresh.set_disabled(ann, true).await.expect("a user");
        let today = PasswordChange {
            auth_epoch: Some(2),
            proof: None,
            one_time: None,
            lifts: Vec::new(),
            hash: hash("third"),
            ..change.clone()
        };
        assert_eq!(fresh.change_password(today).await, None, "disabled meanwhile");
        assert_eq!(fresh.credentials(ann).await.password_hash.as_str(), "second");

        let operators = PasswordChange {
            auth_epoch: None,
            proof: None,
            one_time: None,
            lifts: Vec::new(),
            hash: hash("fourth"),
            keep: None,
            ..change.clone()
        };
        assert!(fresh.change_password(operators.clone()).await.is_some(), "an operator may");
        let unknown_user = PasswordChange { user: UserId::random(&SystemEntropy).expect("entropy"), ..operators };
        assert_eq!(fresh.change_password(unknown_user).await, None);
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
            let change = PasswordChange {
                user: ann,
                hash: hash("second"),
                auth_epoch: None,
                proof: None,
                one_time: None,
                lifts: Vec::new(),
                keep,
            };
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
        assert_eq!(fresh.states(9..11).await, ["live", "missing"], "another user's stays as it is");
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
                let change = PasswordChange {
                    user: ann,
                    hash: hash("next"),
                    auth_epoch: Some(auth_epoch),
                    proof: None,
                    one_time: None,
                    lifts: Vec::new(),
                    keep,
                };
                let through = Reason { requested_by: Some(token(round)), ..because(Why::Password) };
                fresh.store.change_password(change, through)
            });
            let answers: Vec<_> =
                join_all(changes).await.into_iter().map(|answers| answers.expect("a store")).collect();
            let made = answers.iter().filter(|answers| matches!(answers, Changed::Yes(_))).count();
            let refused = answers.iter().filter(|answers| matches!(answers, Changed::NoSession(_))).count();
            assert_eq!((made, refused), (1, 3), "{answers:?}");
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
        let unknown_user = UserId::random(&SystemEntropy).expect("entropy");
        assert_eq!(fresh.set_disabled(unknown_user, true).await, None);
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
        let seqs: Vec<Seq> = logouts.await;
        fresh.revoke(Target::All(ann)).await;

        let numbers = fresh.numbers().await;
        let newest = *numbers.last().expect("some");
        assert_eq!(numbers, (1..=newest).collect::<Vec<_>>(), "from the start, without a gap");
        assert!(seqs.iter().all(|seq| seq.0 >= 1 && seq.0 < newest));
        let revocations = fresh.log().await;
        for (number, seq) in (0..).zip(seqs) {
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
        let change = PasswordChange {
            user: ann,
            hash: hash("second"),
            auth_epoch: None,
            proof: None,
            one_time: None,
            lifts: Vec::new(),
            keep: Some(renewal_of(id, 11)),
        };
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
async fn what_takes_an_administrator_is_not_done_once_its_user_is_none(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let (zoe, ann) = (fresh.user("Zoe").await, fresh.user("ann").await);
        fresh.session(zoe, 1).await;
        let theirs = fresh.session(ann, 2).await;
        let edit = |user, admin| {
            let edit = UserEdit { admin: Some(admin), ..UserEdit::default() };
            fresh.store.edit_user(user, edit, Vec::new(), because(Why::Operator))
        };
        for (user, admin) in [(ann, true), (zoe, false)] {
            assert!(matches!(edit(user, admin).await.expect("a store"), Edited::Yes(..)));
        }
        let through =
            |why| Reason { requested_by: Some(token(1)), as_administrator: true, by: Actor::User(zoe), ..because(why) };
        let user = NewUser {
            username: Username::new("eve").expect("fit"),
            email: None,
            name: Name::new("Eve").expect("fit"),
            admin: true,
        };
        let id = UserId::random(&SystemEntropy).expect("entropy");
        let addition = Addition { id, user, password: initial("theirs"), lifts: Vec::new(), first: false };
        let added = fresh.store.add_user(addition.clone(), through(Why::Admin)).await.expect("a store");
        assert!(matches!(added, Added::NoSession(_)), "{added:?}");
        let change = PasswordChange {
            user: ann,
            hash: hash("theirs"),
            auth_epoch: None,
            proof: None,
            one_time: None,
            lifts: Vec::new(),
            keep: None,
        };
        let refused = [
            fresh.store.change_password(change, through(Why::Password)).await.expect("a store"),
            fresh.store.revoke(Target::Id(theirs, None), through(Why::Admin)).await.expect("a store"),
            fresh.store.revoke(Target::All(ann), through(Why::Admin)).await.expect("a store"),
        ];
        assert!(refused.iter().all(|changed| matches!(changed, Changed::NoSession(_))), "{refused:?}");
        let disabled = UserEdit { disabled: Some(true), ..UserEdit::default() };
        let edited = fresh.store.edit_user(ann, disabled, Vec::new(), through(Why::Disabled)).await.expect("a store");
        assert!(matches!(edited, Edited::NoSession(_)), "{edited:?}");
        let deleted = fresh.store.delete_user(ann, through(Why::Deleted)).await.expect("a store");
        assert!(matches!(deleted, Deleted::NoSession(_)), "{deleted:?}");
        assert_eq!(fresh.states(1..3).await, ["live", "live"]);

        assert!(matches!(edit(zoe, true).await.expect("a store"), Edited::Yes(..)));
        let added = fresh.store.add_user(addition, through(Why::Admin)).await.expect("a store");
        assert!(matches!(added, Added::Yes(_)), "{added:?}");
    })
    .await;
}
