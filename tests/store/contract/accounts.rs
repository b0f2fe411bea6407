//! Accounts: who is made where several would be the first.

use sessiond_needs::on_both_stores;

use super::*;

#[on_both_stores]
async fn of_those_who_would_be_the_first_user_at_once_one_is(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let first = |username: &str| {
            let user = NewUser {
                username: Username::new(username).expect("fit"),
                email: None,
                name: Name::new("A Name").expect("fit"),
                admin: true,
            };
            let id = UserId::random(&SystemEntropy).expect("entropy");
            let addition = Addition { id, user, password: initial("first"), lifts: Vec::new(), first: true };
            fresh.store.add_user(addition, because(Why::Operator))
        };
        let added = join_all(["ann", "bob", "carol", "dave"].map(first)).await;
        let made = added.iter().filter(|added| matches!(added, Ok(Added::Yes(_)))).count();
        let refused = added.iter().filter(|added| matches!(added, Ok(Added::NotFirst))).count();
        assert_eq!((made, refused), (1, 3), "{added:?}");
        assert_eq!(fresh.store.users().await.expect("a store").len(), 1);
    })
    .await;
}
