//! A database server that is down, or hangs: requests are refused in each dialect's words, checks are not answered from
//! memory for longer than that is trusted, and all is well when it is back.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sessiond_needs::needs;
use sessiond_support::postgres::{Options, Postgres};
use sessiond_support::wait::until;

use crate::harness::fleet::{SOON, home_at, log_out, ops, until_in_memory, until_trusted};
use crate::harness::{ALICE, BOB, LoggedIn, Server, get, post};
use crate::harness::{StoreKind, seed};
use crate::wire::outage::{TOO_SLOW, UNREACHABLE, assert_is_over, assert_words, checks, logins, logouts, send_all};

/// A server on a cluster that can be stopped, with Bob logged in and in no cache.
async fn serving(cluster: &Postgres) -> (Server, LoggedIn) {
    let toml = format!("database_url = '{}'", cluster.url("postgres"));
    let server = Server::with(StoreKind::Postgres, &toml).await;
    server.until_warm().await;
    let bob = server.log_in(BOB).await;
    (server, bob)
}

/// It recovers by itself, and no session was ended meanwhile.
async fn recovers(server: Server, bob: &LoggedIn) {
    until("it is ready", async || server.ops("/readyz").await.status == 200).await;
    assert_eq!(server.check(&bob.token).await, 200, "still alive");
    assert_is_over(&server, bob).await;
    server.stop().await;
}

#[needs(initdb)]
#[tokio::test]
async fn a_server_that_is_down_is_an_unreachable_store_until_it_is_back() {
    let cluster = Postgres::start(Options::with("fsync = on")).await.unwrap();
    let (server, bob) = serving(&cluster).await;
    cluster.stop_immediately().await.unwrap();

    assert_words(&send_all(&server, logouts(&bob)).await, &UNREACHABLE[..3]);
    assert_words(&send_all(&server, logins()).await, &UNREACHABLE[..3]);
    assert_words(&send_all(&server, checks(&bob)).await, &UNREACHABLE);
    assert_eq!(server.ops("/readyz").await.status, 503);
    assert_eq!(server.ops("/livez").await.status, 200);

    cluster.start_again().await.unwrap();
    recovers(server, &bob).await;
}

#[needs(initdb)]
#[tokio::test]
async fn a_server_that_hangs_is_too_slow_until_it_goes_on() {
    let cluster = Postgres::start(Options::default()).await.unwrap();
    let (server, bob) = serving(&cluster).await;
    cluster.freeze().unwrap();

    assert_words(&send_all(&server, logins()).await, &TOO_SLOW[..3]);
    assert_words(&send_all(&server, checks(&bob)).await, &TOO_SLOW);
    assert_eq!(server.ops("/readyz").await.status, 503);

    cluster.thaw().unwrap();
    recovers(server, &bob).await;
}

#[needs(initdb)]
#[tokio::test]
async fn servers_believe_their_memory_no_longer_than_a_second_while_the_database_hangs_or_is_down() {
    let cluster = Postgres::start(Options::with("fsync = on")).await.unwrap();
    let home = home_at(&cluster.url("postgres"));
    let (a, b) = (home.serve().await, home.serve().await);
    let servers = [&a, &b];
    for hangs in [true, false] {
        let [[kept, doubtful, revoked]] = &seed::sessions(&cluster.url("postgres"), 1).await[..] else { panic!("one") };
        until_trusted(&servers).await;
        for session in [kept, doubtful, revoked] {
            until_in_memory(&servers, &session.token).await;
        }
        log_out(&b, &revoked.token).await;
        if hangs {
            cluster.freeze().unwrap()
        } else {
            cluster.stop_immediately().await.unwrap()
        }
        let begin = Instant::now();
        for server in servers {
            assert_ne!(server.check(&revoked.token).await, 200, "even while memory may be believed");
        }
        // This is a second after the last answered beat of any server. From then on no check is answered from memory.
        tokio::time::sleep(Duration::from_secs(1).saturating_sub(begin.elapsed())).await;
        let mut failed = 0;
        while begin.elapsed() < Duration::from_secs(2) {
            let asks = servers.map(|server| {
                let ask = |session: &LoggedIn| get("/verify").bearer(&session.token);
                let logout = post("/api/v1/auth/logout").bearer(&doubtful.token);
                join_all([ask(kept), ask(kept), ask(revoked), logout].map(|ask| server.send(ask)))
            });
            let asked = Instant::now();
            let replies = join_all(asks).await.concat();
            assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
            failed += replies.len();
            assert!(replies.iter().all(|reply| matches!(reply.status, 502..=504)), "hangs: {hangs}, {replies:?}");
            for server in servers {
                assert_eq!((ops(server, "/readyz").await.status, ops(server, "/livez").await.status), (503, 200));
            }
        }
        assert!(failed >= 8, "{failed}");

        if hangs {
            cluster.thaw().unwrap()
        } else {
            cluster.start_again().await.unwrap()
        }
        let begin = Instant::now();
        until_trusted(&servers).await;
        assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
        until_in_memory(&servers, &kept.token).await;
        // The database now does what it was asked before it hung, or never does it.
        let dead =
            format!("SELECT count(*) FROM sessions WHERE revoked_at IS NOT NULL AND id = '{}'", doubtful.session);
        until("all know the same", async || {
            let expected = if home.database.number(&dead).await == 1 { 401 } else { 200 };
            [a.check(&doubtful.token).await, b.check(&doubtful.token).await] == [expected; 2]
        })
        .await;
        for server in servers {
            assert_eq!(server.check(&revoked.token).await, 401);
        }
        let alice = a.log_in(ALICE).await;
        until_in_memory(&servers, &alice.token).await;
        log_out(&b, &alice.token).await;
        assert_eq!((a.check(&alice.token).await, b.check(&alice.token).await), (401, 401));
    }
}
