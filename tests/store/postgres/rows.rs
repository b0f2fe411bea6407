//! Rows that another transaction has locked delay only changes of those very sessions.

use sessiond_needs::needs;
use sessiond_support::database::Connection;

use crate::harness::process::Home;
use crate::harness::{ALICE, StoreKind, delete, post};

#[needs(postgres)]
#[tokio::test]
async fn a_strangers_session_is_neither_held_nor_waited_for() {
    let home = Home::new(StoreKind::Postgres);
    let server = home.serve().await;
    home.add_user("bob").await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in("bob").await);
    // As a change under way does. A request that waits for it is answered that the store is too slow.
    let mut holder = Connection::open(&home.database.url()).await.expect("connected");
    let hold = format!("BEGIN; SELECT 1 FROM sessions WHERE id = '{}' FOR UPDATE", alice.session);
    holder.execute(&hold).await.expect("held");

    let unknown: String = alice.session.chars().rev().collect();
    let refused = async |id: &str| {
        let body = serde_json::json!({"sessionId": id});
        let ended = server.send(post("/api/v1/sessions/logout.me").pair(&bob.user, &bob.token).json(&body)).await;
        let deleted = server.send(delete(&format!("/api/v1/auth/sessions/{id}")).bearer(&bob.token)).await;
        ((ended.status, ended.text()), (deleted.status, deleted.text()))
    };
    let strangers = refused(&alice.session).await;
    assert_eq!((strangers.0.0, strangers.1.0), (400, 404), "{strangers:?}");
    assert_eq!(strangers, refused(&unknown).await, "as if there were none");
    let as_bob = server.send(post("/api/v1/logout").pair(&bob.user, &alice.token)).await;
    assert_eq!(as_bob.status, 401, "the token is not bob's: {}", as_bob.text());

    let own = server.send(post("/api/v1/auth/logout").bearer(&alice.token)).await;
    assert_eq!(own.status, 504, "it is held: {}", own.text());
    holder.execute("ROLLBACK").await.expect("let go");
    assert_eq!((server.check(&alice.token).await, server.check(&bob.token).await), (200, 200));
    assert_eq!(server.send(post("/api/v1/auth/logout").bearer(&alice.token)).await.status, 200);
}
