//! The counters of failed tries: what is booked is counted once, wherever it is booked.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use sessiond::domain::address::AddressBlock;
use sessiond::domain::clock::Clock as _;
use sessiond::domain::throttle::{Counter, MEMORY, STOP, ThrottleKey, ThrottleSecret};
use sessiond::domain::token::TokenKey;
use sessiond::store::{Booked, SharedStore};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn secret() -> ThrottleSecret {
    TokenKey::new([7; 32]).throttle_secret()
}

fn place(number: u32) -> Option<AddressBlock> {
    Some(AddressBlock::of(IpAddr::V4(Ipv4Addr::from_bits(number))))
}

/// The counters of a login as `name`, of an account where it is given, from an address.
fn counters(name: &str, account: Option<UserId>, address: u32) -> Vec<Counter> {
    let (secret, name) = (secret(), LoginName::either(name));
    let by_name = [secret.name_from_place(&name, place(address)), secret.name(&name)];
    by_name.into_iter().chain(account.map(|user| secret.account(user))).collect()
}

async fn book(store: &SharedStore, counters: &[Counter]) -> Booked {
    store.book(counters.to_vec()).await.expect("a store")
}

fn event() -> Event {
    let user = UserId::random(&SystemEntropy).expect("entropy");
    Event::about(user, EventKind::UserUnlocked, Actor::CommandLine, BEGIN)
}

impl Fresh {
    /// The failures that are counted, by kind of counter.
    async fn counted(&self) -> Vec<(i64, i64)> {
        let rows = self.database.rows("SELECT counted, failures FROM throttles ORDER BY counted, failures, key").await;
        let number = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok()).expect("a number");
        rows.iter().map(|row| (number(&row[0]), number(&row[1]))).collect()
    }

    /// Books this many in a row, each once the wait of the one before is over.
    async fn fail(&self, counters: &[Counter], times: i64) {
        for _ in 0..times {
            match book(&self.store, counters).await {
                Booked::Yes { .. } => {}
                Booked::Waiting { until } => {
                    self.wait_until(until);
                    assert!(matches!(book(&self.store, counters).await, Booked::Yes { .. }));
                }
            }
        }
    }
}

#[on_both_stores]
async fn each_count_has_the_wait_that_was_decided_for_it(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let (secret, name) = (secret(), LoginName::either("ann"));
        for counter in [secret.name_from_place(&name, place(1)), secret.name(&name)] {
            for failures in 1..=STOP + 1 {
                let at = fresh.clock.now();
                assert_eq!(book(&fresh.store, &[counter]).await, Booked::Yes { at, stopped: false }, "{failures}");
                let wait = if failures > STOP { Duration::ZERO } else { counter.counted.wait_after(failures) };
                let until = at.after(wait);
                let waiting = fresh.store.waiting(&[counter], at).await.expect("a store");
                assert_eq!(waiting, (until > at).then_some(until), "{:?} {failures}", counter.counted);
                if until > at {
                    assert_eq!(book(&fresh.store, &[counter]).await, Booked::Waiting { until });
                    fresh.wait_until(until.before(Duration::from_millis(1)));
                    assert_eq!(book(&fresh.store, &[counter]).await, Booked::Waiting { until }, "one moment too early");
                    fresh.wait_until(until);
                }
            }
        }
        assert_eq!(fresh.counted().await, [(0, 1), (2, 1)], "the stop was over, and with it all was forgotten");
    })
    .await;
}

#[on_both_stores]
async fn a_try_that_must_wait_changes_nothing(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = UserId::random(&SystemEntropy).expect("entropy");
        let counters = counters("ann", Some(ann), 1);
        fresh.fail(&counters, 6).await;
        let all = "SELECT counted, failures, until, forget_at FROM throttles ORDER BY counted";
        let before = fresh.database.rows(all).await;
        fresh.clock.advance(SECOND);
        let until = BEGIN.after(SECOND * 3);
        for _ in 0..20 {
            assert_eq!(book(&fresh.store, &counters).await, Booked::Waiting { until });
        }
        assert_eq!(fresh.database.rows(all).await, before);
        assert_eq!(fresh.counted().await, [(0, 6), (2, 6), (3, 6)]);
    })
    .await;
}

#[on_both_stores]
async fn a_name_is_counted_from_everywhere_and_each_place_by_itself(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        for address in 0..6 {
            fresh.fail(&counters("ann", None, address), 4).await;
        }
        assert_eq!(fresh.clock.now(), BEGIN, "24 failures, and no place has had 5");
        fresh.fail(&counters("ann", None, 7), 1).await;
        let other = counters("ann", None, 8);
        assert_eq!(book(&fresh.store, &other).await, Booked::Waiting { until: BEGIN.after(SECOND) });
        assert_eq!(fresh.counted().await.last(), Some(&(2, 25)));
        let places = fresh.counted().await.iter().filter(|(counted, _)| *counted == 0).count();
        assert_eq!(places, 7, "what was refused is not counted anywhere");
        assert!(matches!(book(&fresh.store, &counters("bob", None, 8)).await, Booked::Yes { .. }), "another name");
    })
    .await;
}

#[on_both_stores]
async fn an_account_is_stopped_after_100_failures_of_all_its_names_and_does_not_say_so(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = UserId::random(&SystemEntropy).expect("entropy");
        let names = ["ann", "ann@example.com"].map(|name| counters(name, Some(ann), 1));
        for names in &names {
            fresh.fail(names, 50).await;
        }
        fresh.clock.advance(Duration::from_mins(15));
        let at = fresh.clock.now();
        assert_eq!(book(&fresh.store, &names[0]).await, Booked::Yes { at, stopped: true });
        assert_eq!(fresh.counted().await.last(), Some(&(3, 100)), "what is tried meanwhile makes it no longer");
        fresh.clock.advance(MEMORY);
        let at = fresh.clock.now();
        assert_eq!(book(&fresh.store, &names[0]).await, Booked::Yes { at, stopped: false });
        assert_eq!(fresh.counted().await.last(), Some(&(3, 1)));
    })
    .await;
}

#[on_both_stores]
async fn what_is_given_back_was_never_counted(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = UserId::random(&SystemEntropy).expect("entropy");
        let counters = counters("ann", Some(ann), 1);
        for failures in 0..7 {
            let at = fresh.clock.now();
            assert!(matches!(book(&fresh.store, &counters).await, Booked::Yes { .. }), "{failures}");
            fresh.store.give_back(counters.clone(), at).await.expect("a store");
            assert_eq!(fresh.store.waiting(&counters, at).await.expect("a store"), None, "{failures}");
            let counted = fresh.counted().await;
            assert!(counted.iter().all(|(_, count)| *count == failures), "{counted:?}");
            assert_eq!(counted.is_empty(), failures == 0);
            fresh.fail(&counters, 1).await;
            let waiting = fresh.store.waiting(&counters, fresh.clock.now()).await.expect("a store");
            fresh.wait_until(waiting.unwrap_or(BEGIN));
        }
    })
    .await;
}

#[on_both_stores]
async fn tries_at_the_same_time_are_counted_one_by_one(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = UserId::random(&SystemEntropy).expect("entropy");
        let counters = counters("ann", Some(ann), 1);
        let beside = if fresh.store.shared().is_some() { Some(fresh.beside().await) } else { None };
        let other = beside.as_ref().unwrap_or(&fresh.store);
        let tries = (0..64).map(|number| book(if number % 2 == 0 { &fresh.store } else { other }, &counters));
        let booked = join_all(tries).await;
        let yes = booked.iter().filter(|booked| matches!(booked, Booked::Yes { .. })).count();
        assert_eq!(yes, 5, "{booked:?}");
        assert_eq!(fresh.counted().await, [(0, 5), (2, 5), (3, 5)]);

        let many: Vec<_> = (0..64).map(|number| throttles::counters("bob", None, number)).collect();
        let booked = join_all(many.iter().map(|counters| book(&fresh.store, counters))).await;
        let yes = booked.iter().filter(|booked| matches!(booked, Booked::Yes { .. })).count();
        assert_eq!(yes, 25, "one name from as many places: {booked:?}");
        let counted = fresh.counted().await;
        assert!(counted.contains(&(2, 25)), "{counted:?}");
        assert_eq!(counted.iter().filter(|count| **count == (0, 1)).count(), 25, "{counted:?}");
        if let Some(beside) = beside {
            beside.close().await;
        }
    })
    .await;
}

#[on_both_stores]
async fn a_login_resets_its_counters_and_only_if_it_makes_a_session(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let (mine, strangers) = (counters("ann", Some(ann), 1), counters("ann", Some(ann), 2));
        fresh.fail(&mine, 4).await;
        fresh.fail(&strangers, 4).await;
        let resets = |auth_epoch| NewSession {
            resets: mine.iter().map(|counter| counter.key).collect(),
            auth_epoch,
            ..login_of(ann, 1)
        };
        assert_eq!(fresh.create(resets(7)).await, Created::Superseded);
        assert_eq!(fresh.counted().await, [(0, 4), (0, 4), (2, 8), (3, 8)]);
        assert!(matches!(fresh.create(resets(0)).await, Created::Yes(_)));
        assert_eq!(fresh.counted().await, [(0, 4)], "the strangers'");
    })
    .await;
}

#[on_both_stores]
async fn lifting_leaves_nothing_about_a_user_and_is_audited(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = fresh.user("ann").await;
        let browser = secret().browser(ann, &secret().mark(ann, &SystemEntropy).expect("entropy"));
        let lift = async |fresh: &Fresh| {
            for address in 0..3 {
                fresh.fail(&counters("ann", Some(ann), address), 3).await;
            }
            fresh.fail(&[browser], 7).await;
            fresh.fail(&counters("bob", None, 1), 1).await;
        };
        let about: Vec<ThrottleKey> = counters("ann", Some(ann), 1)[1..].iter().map(|counter| counter.key).collect();
        lift(fresh).await;
        assert!(fresh.store.lift(about.clone(), event()).await.expect("a store"));
        assert_eq!(fresh.counted().await, [(0, 1), (2, 1)], "another name's");
        assert_eq!(fresh.audit().await.get("user_unlocked"), Some(&1));
        assert!(!fresh.store.lift(about.clone(), event()).await.expect("a store"), "there is none any more");
        assert_eq!(fresh.audit().await.get("user_unlocked"), Some(&2));
        lift(fresh).await;
        let change = PasswordChange {
            user: ann,
            hash: hash("second"),
            auth_epoch: None,
            proof: None,
            one_time: None,
            keep: None,
            lifts: about,
        };
        fresh.change_password(change).await.expect("a user");
        assert_eq!(fresh.counted().await, [(0, 2), (2, 2)], "another name's");
    })
    .await;
}

#[on_both_stores]
async fn the_table_is_bounded_and_what_makes_somebody_wait_stays(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let ann = UserId::random(&SystemEntropy).expect("entropy");
        fresh.fail(&counters("ann", Some(ann), 1), 5).await;
        fresh.fail(&[secret().code(ann)], 4).await;
        for number in 0..20 {
            fresh.clock.advance(Duration::from_millis(10));
            fresh.fail(&counters(&format!("unknown-{number}"), None, 1), 1).await;
        }
        let purge = async |most| {
            let surplus = fresh.store.surplus_throttles(most).await.expect("a store");
            let before = surplus.unwrap_or(fresh.clock.now()).max(fresh.clock.now());
            let mut deleted = 0;
            loop {
                let gone = fresh.store.purge_throttles(before, 4).await.expect("a store");
                deleted += gone;
                if gone < 4 {
                    return deleted;
                }
            }
        };
        assert_eq!(purge(100).await, 0, "nothing is too much, and nothing forgotten");
        assert_eq!(purge(10).await, 31, "of 42, one of which makes somebody wait");
        let left = fresh.counted().await;
        assert!(
            left.contains(&(0, 5)) && left.contains(&(3, 5)) && left.contains(&(5, 4)) && left.len() == 13,
            "{left:?}"
        );
        fresh.clock.advance(MEMORY);
        assert_eq!(purge(100).await, 13, "forgotten");
        assert_eq!(fresh.counted().await, []);
    })
    .await;
}
