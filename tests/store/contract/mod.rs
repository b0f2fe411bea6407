//! The contract of `dyn Store`, which every store keeps. What only one store does is tested in files of its own.

use futures_util::future::join_all;
use sessiond::cache::TIMING;
use sessiond::cache::coherence::{Confirmed, confirm};
use sessiond::config::DatabaseUrl;
use sessiond::domain::entropy::SystemEntropy;
use sessiond::domain::event::{Actor, Event, EventKind};
use sessiond::domain::id::{SessionId, UserId};
use sessiond::domain::revocation::{Reason, Seq, Why};
use sessiond::domain::session::{MOST_UNFLUSHED, Seen};
use sessiond::domain::text::{LoginName, Name, Username};
use sessiond::domain::user::{NewUser, UserEdit};
use sessiond::store::connect::{ConnectError, Role, connect};
use sessiond::store::{
    Added, Addition, Changed, Created, Deleted, Edited, Logout, Lookup, NewSession, PasswordChange, Renewal, Revoked,
    StoreError, Target,
};
use sessiond_needs::on_both_stores;

use crate::harness::fresh::{
    ABSOLUTE, Fresh, IDLE, because, clock, hash, initial, later, login_of, logout_of, made, on_a_fresh_store, open,
    renewal_of, token,
};
use crate::harness::{BEGIN, Database, StoreKind};

mod accounts;
mod ahead;
mod endings;
mod imports;
mod logins;
mod resealing;
mod second_factors;
mod throttles;
mod upkeep;

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
        assert_eq!(names, [("ann", false), ("bob", false), (&added, false), ("Zoe", true)]);
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
        let unknown_user = UserId::random(&SystemEntropy).expect("entropy");
        assert!(fresh.store.credentials_of(unknown_user).await.expect("a store").is_none());
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
async fn without_a_server_there_is_nothing_to_confirm(store: StoreKind) {
    let database = Database::new(store);
    let without_server = open(&database, Role::Command).await.expect("a store");
    assert_eq!(confirm(&*without_server, Seq(1)).await.expect("a store"), Confirmed::NoServer);
    without_server.close().await;
}

#[tokio::test]
async fn a_url_that_is_no_store_is_refused() {
    for odd in ["mysql://x", "sqlite://", "postgres", "test.db"] {
        let refused = connect(&DatabaseUrl::new(odd.into()), Role::Command, TIMING, clock(), &SystemEntropy).await;
        assert!(matches!(refused, Err(ConnectError::UnknownScheme(_))), "{odd}");
    }
}
