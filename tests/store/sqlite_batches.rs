//! Batches of the embedded store: logouts that share a transaction, and share neither failures nor clocks that stand.

use sessiond::store::{Logout, StoreError};

use crate::harness::fresh::{IDLE, logout_of, on_a_fresh_store};
use crate::harness::{BEGIN, StoreKind};

#[tokio::test]
async fn a_logout_that_fails_halfway_is_undone_and_spares_those_beside_it() {
    on_a_fresh_store(StoreKind::Sqlite, async |fresh| {
        let ann = fresh.user("ann").await;
        for number in 0..4 {
            fresh.session(ann, number).await;
        }
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON events WHEN new.ip = 'refused'
             BEGIN SELECT RAISE(ABORT, 'refused'); END";
        fresh.database.execute(refuse).await;
        let refused = || fresh.store.logout(Logout { ip: Some("refused".into()), ..logout_of(1) });
        // Queued together.
        let (first, failed, second, third) = tokio::join!(
            fresh.store.logout(logout_of(0)),
            refused(),
            fresh.store.logout(logout_of(2)),
            fresh.store.logout(logout_of(3)),
        );
        assert!(matches!(failed, Err(StoreError::Inconsistent(_))), "{failed:?}");
        for spared in [first, second, third] {
            assert_eq!(spared.expect("done").sessions.len(), 1);
        }
        assert!(matches!(refused().await, Err(StoreError::Inconsistent(_))), "by itself");
        assert_eq!(fresh.states(0..4).await, ["revoked", "live", "revoked", "revoked"]);
        assert_eq!(fresh.numbers().await, [1, 2, 3]);
        assert_eq!(fresh.audit().await["logout"], 3);
        assert_eq!(fresh.logout(logout_of(1)).await.sessions.len(), 1, "the writer goes on");
    })
    .await;
}

/// The driver keeps prepared statements, which the schema stops fitting while it is changed by hand.
#[tokio::test]
async fn a_schema_that_fits_no_logout_for_a_while_fails_them_and_the_writer_goes_on() {
    for (away, back) in [
        ("ALTER TABLE events RENAME TO moved", "ALTER TABLE moved RENAME TO events"),
        ("ALTER TABLE sessions RENAME COLUMN user_id TO moved", "ALTER TABLE sessions RENAME COLUMN moved TO user_id"),
        ("ALTER TABLE revocations RENAME TO moved", "ALTER TABLE moved RENAME TO revocations"),
        ("ALTER TABLE sessions RENAME TO moved", "ALTER TABLE moved RENAME TO sessions"),
    ] {
        on_a_fresh_store(StoreKind::Sqlite, async |fresh| {
            let ann = fresh.user("ann").await;
            for number in 0..3 {
                fresh.session(ann, number).await;
            }
            assert_eq!(fresh.logout(logout_of(0)).await.sessions.len(), 1, "the statements are kept from now on");
            fresh.database.execute(away).await;
            let failed = fresh.store.logout(logout_of(1)).await;
            assert!(matches!(failed, Err(StoreError::Inconsistent(_))), "{failed:?}");
            fresh.database.execute(back).await;
            assert_eq!(fresh.states(0..3).await, ["revoked", "live", "live"]);
            for number in 1..3 {
                assert_eq!(fresh.logout(logout_of(number)).await.sessions.len(), 1, "{number}");
            }
            assert_eq!(fresh.numbers().await, [1, 2, 3]);
        })
        .await;
    }
}

#[tokio::test]
async fn what_expires_while_a_logout_waits_for_the_file_is_over_by_itself() {
    on_a_fresh_store(StoreKind::Sqlite, async |fresh| {
        fresh.session(fresh.user("ann").await, 1).await;
        let busy = fresh.database.keep_writers_waiting().await;
        let expire = async {
            for _ in 0..100 {
                // The writer begins meanwhile.
                tokio::task::yield_now().await;
            }
            fresh.wait_until(BEGIN.after(IDLE));
            busy.close().await.expect("released");
        };
        let (revoked, ()) = tokio::join!(fresh.logout(logout_of(1)), expire);
        assert!(revoked.sessions.is_empty(), "{revoked:?}");
        assert_eq!(fresh.states(1..2).await, ["revoked"], "a clock that is set back does not bring it back");
        assert!(!fresh.audit().await.contains_key("logout"), "nobody was logged out");
        assert_eq!(fresh.numbers().await.len(), 1, "what is kept in memory forgets it, too");
    })
    .await;
}
