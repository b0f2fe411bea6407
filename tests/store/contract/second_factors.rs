//! Second factors: set up without harm to the one in force, proven once, and removed with everything that belongs to them.

use sessiond::domain::id::EnrolmentId;
use sessiond::domain::second_factor::proof::Proof;
use sessiond::domain::second_factor::recovery::RecoveryCode;
use sessiond::domain::second_factor::sealed::{FactorKeys, RecoveryHash, SealedSecret};
use sessiond::domain::second_factor::totp::{Step, TotpSecret};
use sessiond::store::{Enrolment, Factor, FactorAct, FactorChange, FactorChanged, PendingLogin};
use sessiond_needs::on_both_stores;

use super::*;

pub(super) fn keys() -> FactorKeys {
    FactorKeys::new([7; 32], None)
}

pub(super) fn sealed(user: UserId) -> SealedSecret {
    keys().seal(&TotpSecret::random(&SystemEntropy).expect("entropy"), user, &SystemEntropy).expect("entropy")
}

fn recovery(user: UserId) -> Vec<RecoveryHash> {
    let set = RecoveryCode::set(&SystemEntropy).expect("entropy");
    set.iter().map(|code| keys().recovery_hash(code, user)).collect()
}

pub(super) fn enrolment() -> EnrolmentId {
    EnrolmentId::random(&SystemEntropy).expect("entropy")
}

/// A change that is made without a proof and ends every session, as an operator's is.
pub(super) fn change_of(user: UserId, act: FactorAct) -> FactorChange {
    FactorChange { user, auth_epoch: None, proof: None, keep: None, act }
}

pub(super) fn confirmation(enrolment: EnrolmentId, step: i64, recovery: Vec<RecoveryHash>) -> FactorAct {
    FactorAct::Confirm { enrolment, begun_after: BEGIN.before(IDLE), step: Step(step), recovery }
}

fn through(number: u64) -> Reason {
    Reason { requested_by: Some(token(number)), ..because(Why::SecondFactor) }
}

pub(super) fn yes(changed: FactorChanged) -> Revoked {
    match changed {
        FactorChanged::Yes(revoked) => revoked,
        refused => panic!("{refused:?}"),
    }
}

/// Short functions for second factors.
impl Fresh {
    pub(super) async fn change(&self, change: FactorChange) -> FactorChanged {
        let changed = self.store.change_second_factor(change, because(Why::SecondFactor)).await;
        changed.expect("a store")
    }

    pub(super) async fn factor(&self, user: UserId) -> Option<Factor> {
        self.store.second_factor(user).await.expect("a store")
    }

    pub(super) async fn begun(&self, user: UserId) -> Option<Enrolment> {
        self.store.enrolment(user).await.expect("a store")
    }

    /// Sets a second factor up, of which a code of this step was used. Returns its recovery codes.
    pub(super) async fn set_up(&self, user: UserId, step: i64) -> Vec<RecoveryHash> {
        let (id, codes) = (enrolment(), recovery(user));
        yes(self.change(change_of(user, FactorAct::Start(id, sealed(user)))).await);
        yes(self.change(change_of(user, confirmation(id, step, codes.clone()))).await);
        codes
    }

    /// A login that is up to date, with a proof.
    pub(super) async fn proven(&self, user: UserId, number: u64, proof: Proof) -> NewSession {
        let auth_epoch = self.credentials(user).await.auth_epoch;
        NewSession { proof, auth_epoch, ..login_of(user, number) }
    }
}

#[on_both_stores]
async fn a_factor_comes_into_force_when_it_is_confirmed_and_ends_the_other_sessions(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let (ann, id) = (fresh.user("ann").await, enrolment());
        let secret = sealed(ann);
        let own = fresh.session(ann, 1).await;
        let other = fresh.session(ann, 2).await;

        let start = FactorChange { auth_epoch: Some(0), ..change_of(ann, FactorAct::Start(id, secret.clone())) };
        let start = FactorChange { proof: Some(Proof::NoFactor), ..start };
        let started = fresh.store.change_second_factor(start.clone(), through(1)).await.expect("a store");
        assert!(yes(started).sessions.is_empty());
        assert!(fresh.factor(ann).await.is_none(), "it is not in force");
        let begun = fresh.begun(ann).await.expect("begun");
        assert_eq!((begun.id, begun.secret, begun.started_at), (id, secret.clone(), BEGIN));
        assert_eq!(fresh.credentials(ann).await.auth_epoch, 0);
        fresh.session(ann, 3).await;

        let confirm = FactorChange {
            auth_epoch: Some(0),
            keep: Some(renewal_of(own, 11)),
            ..change_of(ann, confirmation(id, 70, recovery(ann)))
        };
        let confirmed = fresh.store.change_second_factor(confirm.clone(), through(1)).await.expect("a store");
        let ended = yes(confirmed).sessions;
        assert!(ended.len() == 2 && ended.contains(&other) && !ended.contains(&own), "{ended:?}");
        assert_eq!(fresh.states(1..4).await, ["revoked", "revoked", "revoked"], "the old token too");
        assert_eq!(fresh.found(11).await.0.id, own, "under its new token");
        let factor = fresh.factor(ann).await.expect("in force");
        assert_eq!((factor.secret, factor.last_step, factor.recovery_codes), (secret, Step(70), 10));
        assert!(fresh.begun(ann).await.is_none());
        assert_eq!(fresh.credentials(ann).await.auth_epoch, 1, "logins under way are superseded");

        let again = FactorChange { auth_epoch: Some(1), ..confirm };
        let again = fresh.store.change_second_factor(again, through(11)).await.expect("a store");
        assert_eq!(again, FactorChanged::EnrolmentOver, "a second time");
        let audit = fresh.audit().await;
        assert_eq!((audit["second_factor_started"], audit["second_factor_set"], audit["revoked"]), (1, 1, 2));
    })
    .await;
}

#[on_both_stores]
async fn what_is_in_force_stays_until_another_is_confirmed(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let codes = fresh.set_up(ann, 70).await;
        let in_force = fresh.factor(ann).await.expect("in force").secret;
        let [first, second] = [enrolment(), enrolment()];
        for id in [first, second] {
            yes(fresh.change(change_of(ann, FactorAct::Start(id, sealed(ann)))).await);
            assert_eq!(fresh.factor(ann).await.expect("in force").secret, in_force);
        }
        let replaced = fresh.change(change_of(ann, confirmation(first, 80, recovery(ann)))).await;
        assert_eq!(replaced, FactorChanged::EnrolmentOver, "another start came between");
        let login = fresh.proven(ann, 1, Proof::Recovery(vec![codes[0].clone()])).await;
        assert!(matches!(fresh.create(login).await, Created::Yes(_)), "the old one works");

        let begun_after = BEGIN;
        let late = FactorAct::Confirm { enrolment: second, begun_after, step: Step(80), recovery: recovery(ann) };
        assert_eq!(fresh.change(change_of(ann, late)).await, FactorChanged::EnrolmentOver, "it took too long");
        let bobs = fresh.change(change_of(fresh.user("bob").await, confirmation(second, 80, recovery(ann)))).await;
        assert_eq!(bobs, FactorChanged::EnrolmentOver, "another user's");

        yes(fresh.change(change_of(ann, confirmation(second, 60, recovery(ann)))).await);
        let factor = fresh.factor(ann).await.expect("in force");
        assert_ne!(factor.secret, in_force);
        assert_eq!((factor.last_step, factor.recovery_codes), (Step(60), 10), "steps of another secret do not count");
        let old = fresh.proven(ann, 2, Proof::Recovery(vec![codes[1].clone()])).await;
        assert_eq!(fresh.create(old).await, Created::Unproven, "the old codes are dead");
    })
    .await;
}

#[on_both_stores]
async fn a_login_needs_the_factor_in_force(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        let bobs = fresh.set_up(bob, 70).await;
        let attempt = async |user, number, proof| fresh.create(fresh.proven(user, number, proof).await).await;

        assert!(matches!(attempt(ann, 1, Proof::NoFactor).await, Created::Yes(_)));
        assert_eq!(attempt(ann, 2, Proof::Step(Step(99))).await, Created::Unproven, "she has none");
        assert_eq!(attempt(ann, 2, Proof::Recovery(bobs.clone())).await, Created::Unproven, "another user's");
        assert_eq!(attempt(bob, 3, Proof::NoFactor).await, Created::Unproven);
        assert_eq!(attempt(bob, 3, Proof::Step(Step(70))).await, Created::Unproven, "used when it was confirmed");
        assert_eq!(attempt(bob, 3, Proof::Step(Step(69))).await, Created::Unproven, "older than that");
        assert_eq!(attempt(bob, 3, Proof::Recovery(vec![])).await, Created::Unproven);
        assert_eq!(fresh.states(1..4).await, ["live", "missing", "missing"]);

        assert!(matches!(attempt(bob, 3, Proof::Step(Step(71))).await, Created::Yes(_)));
        assert_eq!(attempt(bob, 4, Proof::Step(Step(71))).await, Created::Unproven, "once");
        assert!(matches!(attempt(bob, 4, Proof::Step(Step(72))).await, Created::Yes(_)));
        assert!(matches!(attempt(bob, 5, Proof::Recovery(vec![bobs[3].clone()])).await, Created::Yes(_)));
        assert_eq!(attempt(bob, 6, Proof::Recovery(vec![bobs[3].clone()])).await, Created::Unproven, "once");
        assert_eq!(fresh.factor(bob).await.expect("in force").recovery_codes, 9);
        let lines = fresh.lines().await;
        let used: Vec<_> = lines.iter().filter(|line| line.kind == "recovery_code_used").collect();
        let session = fresh.found(5).await.0.id;
        assert_eq!(used.len(), 1);
        assert_eq!(used[0].session.as_deref(), Some(session.as_str()));
    })
    .await;
}

#[on_both_stores]
async fn of_many_logins_with_one_code_on_two_replicas_one_succeeds(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let codes = fresh.set_up(ann, 70).await;
        // On SQLite a second process writes, too: a command.
        let beside = fresh.beside().await;
        for (round, proof) in [Proof::Step(Step(71)), Proof::Recovery(vec![codes[0].clone()])].into_iter().enumerate() {
            let mut logins = Vec::new();
            for number in 0..20 {
                let number = 100 * u64::try_from(round + 1).expect("small") + number;
                logins.push(fresh.proven(ann, number, proof.clone()).await);
            }
            let stores = [&fresh.store, &beside].into_iter().cycle();
            let created =
                join_all(logins.into_iter().zip(stores).map(|(login, store)| store.create_session(login))).await;
            let created: Vec<_> = created.into_iter().map(|created| created.expect("a store")).collect();
            assert_eq!(created.iter().filter(|created| matches!(created, Created::Yes(_))).count(), 1, "{created:?}");
            assert_eq!(created.iter().filter(|created| **created == Created::Unproven).count(), 19, "{created:?}");
        }
        beside.close().await;
    })
    .await;
}

#[on_both_stores]
async fn a_login_that_is_refused_or_asks_for_last_seen_times_uses_no_code_up(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let codes = fresh.set_up(ann, 70).await;
        for number in 1..4 {
            let login = fresh.proven(ann, number, Proof::Step(Step(70 + i64::try_from(number).expect("small")))).await;
            assert!(matches!(fresh.create(login).await, Created::Yes(_)));
        }
        let proof = Proof::Recovery(vec![codes[0].clone()]);
        let login = NewSession { cap: 3, unflushed: Some(MOST_UNFLUSHED), ..fresh.proven(ann, 4, proof).await };
        assert!(matches!(fresh.create(login.clone()).await, Created::Unflushed { .. }));
        let superseded = NewSession { auth_epoch: 0, unflushed: None, ..login.clone() };
        assert_eq!(fresh.create(superseded).await, Created::Superseded);
        let over = NewSession { pending: Some(token(77)), unflushed: None, ..login.clone() };
        assert_eq!(fresh.create(over).await, Created::Superseded, "no login waits for this one");
        let unproven =
            NewSession { proof: Proof::Step(Step(73)), replaces: vec![token(1)], unflushed: None, ..login.clone() };
        assert_eq!(fresh.create(unproven).await, Created::Unproven);
        assert_eq!(fresh.states(1..5).await, ["live", "live", "live", "missing"], "and ends nothing");
        assert!(matches!(fresh.create(NewSession { unflushed: None, ..login }).await, Created::Yes(_)));
    })
    .await;
}

#[on_both_stores]
async fn recovery_codes_are_replaced_as_a_whole_and_with_a_proof(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let (old, new) = (fresh.set_up(ann, 70).await, recovery(ann));
        fresh.create(fresh.proven(ann, 1, Proof::Step(Step(71))).await).await;
        let renew = |proof| FactorChange {
            auth_epoch: Some(1),
            proof: Some(proof),
            ..change_of(ann, FactorAct::RenewRecoveryCodes(new.clone()))
        };
        let asked = async |proof| fresh.store.change_second_factor(renew(proof), through(1)).await.expect("a store");
        assert_eq!(asked(Proof::Step(Step(71))).await, FactorChanged::Unproven);
        assert_eq!(asked(Proof::NoFactor).await, FactorChanged::Unproven);
        yes(asked(Proof::Step(Step(72))).await);
        assert_eq!(fresh.states(1..2).await, ["live"], "no session ends");
        for (code, works) in [(&old[0], false), (&new[0], true), (&new[0], false)] {
            let login = fresh.proven(ann, 50, Proof::Recovery(vec![code.clone()])).await;
            assert_eq!(matches!(fresh.create(login).await, Created::Yes(_)), works);
            fresh.logout(logout_of(50)).await;
            let gone = "DELETE FROM sessions WHERE revoked_at IS NOT NULL";
            fresh.database.execute(gone).await;
        }
        yes(asked(Proof::Recovery(vec![new[1].clone()])).await);
        assert_eq!(fresh.factor(ann).await.expect("in force").recovery_codes, 10);
        assert_eq!(fresh.audit().await["recovery_code_used"], 2);
    })
    .await;
}

#[on_both_stores]
async fn a_factor_is_removed_whole_by_its_user_and_by_an_operator(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        for (round, by_operator) in [(0, false), (1, true)] {
            let base = 10 * round;
            fresh.set_up(ann, 70).await;
            yes(fresh.change(change_of(ann, FactorAct::Start(enrolment(), sealed(ann)))).await);
            for number in [base + 1, base + 2] {
                let step = Step(70 + i64::try_from(number).expect("small"));
                fresh.create(fresh.proven(ann, number, Proof::Step(step)).await).await;
            }
            let own = fresh.found(base + 1).await.0.id;
            let epoch = fresh.credentials(ann).await.auth_epoch;
            let waiting = PendingLogin { user: ann, auth_epoch: epoch, remembered: true, expires_at: later(300) };
            fresh.store.add_pending_login(token(77), waiting).await.expect("a store");
            let removed = if by_operator {
                fresh.change(change_of(ann, FactorAct::Remove)).await
            } else {
                let own = FactorChange {
                    auth_epoch: Some(epoch),
                    proof: Some(Proof::Step(Step(99))),
                    keep: Some(renewal_of(own, base + 5)),
                    ..change_of(ann, FactorAct::Remove)
                };
                fresh.store.change_second_factor(own, through(base + 1)).await.expect("a store")
            };
            assert_eq!(yes(removed).sessions.len(), if by_operator { 2 } else { 1 });
            let own = if by_operator { "missing" } else { "live" };
            assert_eq!(fresh.states(base + 1..base + 3).await, ["revoked", "revoked"]);
            assert_eq!(fresh.states(base + 5..base + 6).await, [own]);
            assert!(fresh.factor(ann).await.is_none() && fresh.begun(ann).await.is_none());
            assert!(fresh.store.pending_login(&token(77)).await.expect("a store").is_none());
            assert_eq!(fresh.database.number("SELECT count(*) FROM recovery_codes").await, 0);
            assert_eq!(fresh.credentials(ann).await.auth_epoch, epoch + 1);
            assert_eq!(fresh.change(change_of(ann, FactorAct::Remove)).await, FactorChanged::NoFactor);
        }
        assert_eq!(fresh.audit().await["second_factor_removed"], 2);
        assert!(matches!(fresh.create(fresh.proven(ann, 99, Proof::NoFactor).await).await, Created::Yes(_)));
    })
    .await;
}

#[on_both_stores]
async fn a_change_that_is_refused_changes_nothing(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let codes = fresh.set_up(ann, 70).await;
        let own = fresh.create(fresh.proven(ann, 1, Proof::Step(Step(71))).await).await;
        assert!(matches!(own, Created::Yes(_)));
        let remove = |auth_epoch, step| FactorChange {
            auth_epoch: Some(auth_epoch),
            proof: Some(Proof::Step(Step(step))),
            ..change_of(ann, FactorAct::Remove)
        };
        let asked =
            async |change, number| fresh.store.change_second_factor(change, through(number)).await.expect("a store");
        assert!(matches!(asked(remove(1, 72), 2).await, FactorChanged::NoSession(_)), "no such session");
        assert_eq!(asked(remove(0, 72), 1).await, FactorChanged::Superseded, "checked against an older password");
        assert_eq!(asked(remove(1, 71), 1).await, FactorChanged::Unproven);
        let unknown = FactorChange { user: UserId::random(&SystemEntropy).expect("entropy"), ..remove(1, 72) };
        assert_eq!(fresh.change(unknown).await, FactorChanged::Superseded);
        let used = FactorChange {
            auth_epoch: Some(1),
            proof: Some(Proof::Recovery(vec![codes[0].clone()])),
            ..change_of(ann, confirmation(enrolment(), 80, recovery(ann)))
        };
        assert_eq!(asked(used, 1).await, FactorChanged::EnrolmentOver);
        let factor = fresh.factor(ann).await.expect("in force");
        assert_eq!((factor.last_step, factor.recovery_codes), (Step(71), 10), "and no code is used up");
        assert_eq!(fresh.states(1..2).await, ["live"]);
        fresh.set_disabled(ann, true).await.expect("a user");
        assert!(matches!(asked(remove(2, 72), 1).await, FactorChanged::NoSession(_)));
    })
    .await;
}

#[on_both_stores]
async fn a_login_that_waits_for_a_code_is_good_once_and_not_for_long(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        fresh.set_up(ann, 70).await;
        let waiting = PendingLogin { user: ann, auth_epoch: 1, remembered: true, expires_at: later(300) };
        fresh.store.add_pending_login(token(50), waiting.clone()).await.expect("a store");
        assert_eq!(fresh.store.pending_login(&token(50)).await.expect("a store"), Some(waiting.clone()));
        assert_eq!(fresh.store.pending_login(&token(51)).await.expect("a store"), None);
        let login = async |user, number, step, pending| {
            let login = fresh.proven(user, number, Proof::Step(Step(step))).await;
            fresh.create(NewSession { pending: Some(token(pending)), ..login }).await
        };
        assert_eq!(login(ann, 1, 70, 50).await, Created::Unproven, "it goes on waiting");
        assert_eq!(login(bob, 1, 71, 50).await, Created::Superseded, "another user's");
        assert!(matches!(login(ann, 1, 71, 50).await, Created::Yes(_)));
        assert_eq!(login(ann, 2, 72, 50).await, Created::Superseded, "a second time");
        assert_eq!(fresh.store.pending_login(&token(50)).await.expect("a store"), None);

        fresh.store.add_pending_login(token(50), waiting.clone()).await.expect("a store");
        fresh.wait_until(waiting.expires_at);
        assert_eq!(login(ann, 2, 73, 50).await, Created::Superseded, "over");
        assert_eq!(fresh.factor(ann).await.expect("in force").last_step, Step(71));

        for number in 0..30 {
            let login = PendingLogin { expires_at: later(1000 + number), ..waiting.clone() };
            fresh.store.add_pending_login(token(100 + number), login).await.expect("a store");
        }
        let others = PendingLogin { user: bob, auth_epoch: 0, ..waiting };
        fresh.store.add_pending_login(token(200), others).await.expect("a store");
        assert_eq!(fresh.database.number("SELECT count(*) FROM pending_logins").await, 9, "eight of hers, one of his");
        assert!(fresh.store.pending_login(&token(129)).await.expect("a store").is_some(), "the newest");
    })
    .await;
}

#[on_both_stores]
async fn of_many_right_codes_for_one_login_that_waits_one_is_used_up(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let codes = fresh.set_up(ann, 70).await;
        let beside = fresh.beside().await;
        let waiting = PendingLogin { user: ann, auth_epoch: 1, remembered: false, expires_at: later(300) };
        fresh.store.add_pending_login(token(50), waiting).await.expect("a store");
        let mut logins = Vec::new();
        for (number, code) in (1..).zip(&codes) {
            let login = fresh.proven(ann, number, Proof::Recovery(vec![code.clone()])).await;
            logins.push(NewSession { pending: Some(token(50)), ..login });
        }
        let stores = [&fresh.store, &beside].into_iter().cycle();
        let created = join_all(logins.into_iter().zip(stores).map(|(login, store)| store.create_session(login))).await;
        let created: Vec<_> = created.into_iter().map(|created| created.expect("a store")).collect();
        assert_eq!(created.iter().filter(|created| matches!(created, Created::Yes(_))).count(), 1, "{created:?}");
        assert_eq!(created.iter().filter(|created| **created == Created::Superseded).count(), 9, "{created:?}");
        assert_eq!(fresh.factor(ann).await.expect("in force").recovery_codes, 9);
        beside.close().await;
    })
    .await;
}

#[on_both_stores]
async fn what_was_begun_and_not_finished_is_purged(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        let count = "SELECT (SELECT count(*) FROM pending_logins) + (SELECT count(*) FROM second_factor_enrolments)";
        for (at, user, number) in [(later(0), ann, 1), (later(100), bob, 2)] {
            fresh.wait_until(at);
            yes(fresh.change(change_of(user, FactorAct::Start(enrolment(), sealed(user)))).await);
            let login = PendingLogin { user, auth_epoch: 0, remembered: false, expires_at: at };
            fresh.store.add_pending_login(token(number), login).await.expect("a store");
        }
        for (before, left) in [(later(0), 4), (later(1), 2), (later(100), 2), (later(101), 0)] {
            fresh.store.purge(before, 10).await.expect("a store");
            assert_eq!(fresh.database.number(count).await, left);
        }
    })
    .await;
}

#[on_both_stores]
async fn the_keys_that_secrets_need_are_known_by_name(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        assert_eq!(fresh.store.second_factor_keys().await.expect("a store"), []);
        for name in ["ann", "bob"] {
            fresh.set_up(fresh.user(name).await, 70).await;
        }
        let [key] = fresh.store.second_factor_keys().await.expect("a store")[..] else { panic!("one key") };
        assert!(keys().has(key));
    })
    .await;
}
