//! Second factors under another key: read page by page, and replaced where they are what they were, as one event.

use std::collections::BTreeSet;

use sessiond::domain::event::Origin;
use sessiond::domain::second_factor::recovery::RecoveryCode;
use sessiond::domain::second_factor::sealed::{Anew, FactorKeys, RecoveryHash, SealedSecret};
use sessiond::store::{
    EventNumber, FactorAct, FactorChanged, Replacement, Replacements, Reseal, Resealed, SecretsOf, SharedStore,
};
use sessiond_needs::on_both_stores;

use super::second_factors::{change_of, confirmation, enrolment, keys, sealed, yes};
use super::*;
use sessiond::domain::second_factor::proof::Proof;
use sessiond::domain::second_factor::totp::Step;

/// The keys of [`keys`], and one from outside that seals.
fn newer() -> FactorKeys {
    FactorKeys::new([7; 32], Some([8; 32]))
}

/// A part of an act that the operator does.
async fn reseal(store: &SharedStore, what: Replacements, event: Option<EventNumber>) -> Resealed {
    let origin = Origin { actor_name: Some(String::from("root")), ..Origin::default() };
    store.reseal(Reseal { what, event, by: Actor::CommandLine, origin }).await.expect("a store")
}

/// Every secret of a kind, read in pages of two.
async fn secrets(store: &SharedStore, of: SecretsOf) -> Vec<(UserId, SealedSecret)> {
    let mut all: Vec<(UserId, SealedSecret)> = Vec::new();
    loop {
        let page = store.sealed_secrets(of, all.last().map(|(user, _)| *user), 2).await.expect("a store");
        assert!(page.len() <= 2);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// Each of them sealed under the newer key.
fn anew(secrets: Vec<(UserId, SealedSecret)>) -> Vec<Replacement<SealedSecret>> {
    let anew = secrets.into_iter().map(|(user, old)| match newer().seal_anew(&old, user, &SystemEntropy) {
        Ok(Anew::By(new)) => Some(Replacement { user, old, new }),
        Ok(Anew::Current) => None,
        other => panic!("{other:?}"),
    });
    anew.flatten().collect()
}

#[on_both_stores]
async fn secrets_are_read_in_pages_and_replaced_unless_they_changed(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let mut users = Vec::new();
        for name in ["ann", "bob", "cem", "dan", "eve"] {
            let user = fresh.user(name).await;
            fresh.set_up(user, 70).await;
            yes(fresh.change(change_of(user, FactorAct::Start(enrolment(), sealed(user)))).await);
            users.push(user);
        }
        let in_force = secrets(&fresh.store, SecretsOf::Factors).await;
        let begun = secrets(&fresh.store, SecretsOf::Enrolments).await;
        users.sort();
        for read in [&in_force, &begun] {
            assert_eq!(read.iter().map(|(user, _)| *user).collect::<Vec<_>>(), users);
        }
        assert_ne!(in_force[0].1, begun[0].1);

        // One user sets another one up meanwhile, and one removes it.
        let (changed, removed) = (users[1], users[3]);
        fresh.set_up(changed, 71).await;
        yes(fresh.change(change_of(removed, FactorAct::Remove)).await);
        let changed_to = fresh.factor(changed).await.expect("in force").secret;
        let newest = anew(in_force);
        let what = Replacements::Secrets(SecretsOf::Factors, newest.clone());
        let resealed = reseal(&fresh.store, what.clone(), None).await;
        assert_eq!(resealed.replaced, 3);
        assert!(fresh.factor(removed).await.is_none());
        assert_eq!(fresh.factor(changed).await.expect("in force").secret, changed_to);
        for it in newest.iter().filter(|it| ![changed, removed].contains(&it.user)) {
            let factor = fresh.factor(it.user).await.expect("in force");
            assert_eq!((factor.secret, factor.last_step, factor.recovery_codes), (it.new.clone(), Step(70), 10));
            assert_ne!(fresh.begun(it.user).await.expect("begun").secret, it.new);
        }
        assert_eq!(reseal(&fresh.store, what, resealed.event).await, Resealed { replaced: 0, ..resealed }, "again");

        let what = Replacements::Secrets(SecretsOf::Enrolments, anew(begun));
        let resealed = reseal(&fresh.store, what, resealed.event).await;
        assert_eq!(resealed.replaced, 3, "not of those two, whose enrolments are over");
        let line = "SELECT count, actor, actor_name, user_id FROM events WHERE kind = 'second_factors_resealed'";
        let texts = ["6", "cli", "root"].map(|text| Some(text.to_owned()));
        assert_eq!(fresh.database.rows(line).await, [[&texts[..], &[None]].concat()], "one act, one event");
    })
    .await;
}

#[on_both_stores]
async fn what_changes_nothing_is_no_event(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let none = Replacement { user: ann, old: sealed(ann), new: sealed(ann) };
        for what in [
            Replacements::Secrets(SecretsOf::Enrolments, Vec::new()),
            Replacements::Secrets(SecretsOf::Factors, vec![none]),
            Replacements::RecoveryCodes(Vec::new()),
        ] {
            assert_eq!(reseal(&fresh.store, what, None).await, Resealed { replaced: 0, event: None });
        }
        assert_eq!(fresh.audit().await.get("second_factors_resealed"), None);
    })
    .await;
}

#[on_both_stores]
async fn recovery_codes_are_good_once_under_whichever_key(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        fresh.set_up(bob, 70).await;
        let codes = RecoveryCode::set(&SystemEntropy).expect("entropy");
        let id = enrolment();
        yes(fresh.change(change_of(ann, FactorAct::Start(id, sealed(ann)))).await);
        let hashes = codes.iter().map(|code| keys().recovery_hash(code, ann)).collect();
        yes(fresh.change(change_of(ann, confirmation(id, 70, hashes))).await);
        let log_in =
            async |number: u64, hashes| fresh.create(fresh.proven(ann, number, Proof::Recovery(hashes)).await).await;
        let (with_old, with_new) =
            (|at: usize| keys().recovery_hashes(&codes[at], ann), |at: usize| newer().recovery_hashes(&codes[at], ann));
        assert!(matches!(log_in(1, with_old(0)).await, Created::Yes(_)));

        let mut read: Vec<(UserId, RecoveryHash)> = Vec::new();
        loop {
            let last = read.last().map(|(_, hash)| hash.clone());
            let page = fresh.store.recovery_hashes(last, 3).await.expect("a store");
            if page.is_empty() {
                break;
            }
            read.extend(page);
        }
        assert_eq!(read.iter().collect::<BTreeSet<_>>().len(), 19, "nine of hers, ten of his");
        assert!(matches!(log_in(2, with_new(1)).await, Created::Yes(_)), "one is used meanwhile");
        let anew = read.into_iter().map(|(user, old)| match newer().recovery_hash_anew(&old) {
            Anew::By(new) => Replacement { user, old, new },
            other => panic!("{other:?}"),
        });
        let what = Replacements::RecoveryCodes(anew.collect());
        assert_eq!(reseal(&fresh.store, what.clone(), None).await.replaced, 18);
        assert_eq!(reseal(&fresh.store, what, None).await.replaced, 0);
        assert_eq!(fresh.factor(ann).await.expect("in force").recovery_codes, 8);

        assert_eq!(log_in(3, with_new(0)).await, Created::Unproven, "used before");
        assert_eq!(log_in(3, with_new(1)).await, Created::Unproven, "used meanwhile");
        assert_eq!(log_in(3, with_old(2)).await, Created::Unproven, "a server that lacks the key");
        assert!(matches!(log_in(3, with_new(2)).await, Created::Yes(_)));
        assert_eq!(log_in(4, with_new(2)).await, Created::Unproven, "once");
    })
    .await;
}

/// Puts all under the newer key as the command does: what is being set up before what is in force.
async fn reseal_all(store: &SharedStore) {
    for of in [SecretsOf::Enrolments, SecretsOf::Factors] {
        let anew = anew(secrets(store, of).await);
        reseal(store, Replacements::Secrets(of, anew), None).await;
    }
}

#[on_both_stores]
async fn what_is_confirmed_at_the_same_time_is_under_the_new_key_in_the_end(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let beside = fresh.beside().await;
        let mut users = Vec::new();
        for number in 0..12 {
            users.push(fresh.user(&format!("user{number}")).await);
        }
        for round in 0..5 {
            let mut confirmations = Vec::new();
            for &user in &users {
                let id = enrolment();
                yes(fresh.change(change_of(user, FactorAct::Start(id, sealed(user)))).await);
                confirmations.push(fresh.change(change_of(user, confirmation(id, 70 + round, Vec::new()))));
            }
            let (confirmed, ()) = tokio::join!(join_all(confirmations), reseal_all(&beside));
            confirmed.into_iter().for_each(|confirmed| drop(yes(confirmed)));
            let in_force = secrets(&fresh.store, SecretsOf::Factors).await;
            assert_eq!(in_force.len(), users.len());
            for (user, secret) in in_force {
                let state = newer().seal_anew(&secret, user, &SystemEntropy).expect("entropy");
                assert_eq!(state, Anew::Current, "round {round}");
            }
        }
        beside.close().await;
    })
    .await;
}

#[on_both_stores]
async fn a_factor_that_was_set_up_anew_is_not_the_one_to_be_removed(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        fresh.set_up(ann, 70).await;
        let lost = fresh.factor(ann).await.expect("in force").secret;
        fresh.set_up(ann, 71).await;
        let remove = |secret| change_of(ann, FactorAct::RemoveIfSealed(secret));
        assert_eq!(fresh.change(remove(lost.clone())).await, FactorChanged::NoFactor);
        let secret = fresh.factor(ann).await.expect("in force").secret;
        fresh.create(fresh.proven(ann, 1, Proof::Step(Step(72))).await).await;
        assert_eq!(yes(fresh.change(remove(secret)).await).sessions.len(), 1);
        assert!(fresh.factor(ann).await.is_none());
        assert_eq!(fresh.database.number("SELECT count(*) FROM recovery_codes").await, 0);
        assert_eq!(fresh.change(remove(lost)).await, FactorChanged::NoFactor);
        assert_eq!(fresh.audit().await["second_factor_removed"], 1);
    })
    .await;
}
