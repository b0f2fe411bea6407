//! What a refused login costs the database: the same, whatever it was refused for.

use sessiond_needs::needs;
use sessiond_support::wait::until;

use crate::harness::process::{Home, login};
use crate::harness::{ALICE, PASSWORD, StoreKind};

/// How often each index was scanned and each table written to by connections that are closed, beats aside.
async fn work(home: &Home) -> Vec<Vec<Option<String>>> {
    let connected = "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'sessiond'";
    until("everybody has left", async || home.database.number(connected).await == 0).await;
    let counts =
        "SELECT relname, indexrelname, idx_scan FROM pg_stat_user_indexes WHERE relname IN ('users', 'sessions', 'throttles')
         UNION ALL SELECT relname, 'rows', n_tup_ins + n_tup_upd FROM pg_stat_user_tables
             WHERE relname IN ('users', 'sessions', 'throttles', 'events')
         ORDER BY 1, 2";
    home.database.rows(counts).await
}

#[needs(postgres)]
#[tokio::test]
async fn the_right_password_of_a_disabled_user_costs_what_a_wrong_one_costs() {
    const TIMES: i64 = 5;
    let home = Home::new(StoreKind::Postgres);
    home.serve().await.stop().await;
    for user in ["off", "on"] {
        home.add_user(user).await;
    }
    home.run(&["user", "disable", "off"]).await.done().unwrap();
    let mut costs = Vec::new();
    for (name, password) in
        [("on", "a wrong password"), ("off", "a wrong password"), ("off", PASSWORD), ("nobody", PASSWORD)]
    {
        // What others are still to report must not count for this one.
        work(&home).await;
        home.database.execute("DELETE FROM throttles").await;
        home.database.execute("SELECT pg_stat_reset()").await;
        let server = home.serve().await;
        for _ in 0..TIMES {
            let reply = server.send(login(name, password)).await;
            assert_eq!(reply.status, 401, "{name}: {}", reply.text());
        }
        server.stop().await;
        costs.push(work(&home).await);
    }
    let events = costs[0].iter().find(|row| row[0].as_deref() == Some("events")).expect("a table");
    assert_eq!(events[2].as_deref(), Some("5"), "an event each, and nothing else: {:?}", costs[0]);
    assert!(costs.iter().all(|cost| *cost == costs[0]), "{costs:#?}");
    home.serve().await.log_in(ALICE).await;
}
