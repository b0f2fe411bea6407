//! Many servers on one database: processes that are started, stopped, frozen and killed.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use rustix::process::Signal;
use serde_json::json;
use sessiond_needs::needs;
use sessiond_support::process::halt;
use sessiond_support::wait::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::fleet::{SOON, log_out, until_in_memory, until_trusted};
use crate::harness::process::{Home, Process, serving};
use crate::harness::{ALICE, BOB, PASSWORD, Reply, get, post};
use crate::harness::{StoreKind, seed};

#[needs(postgres)]
#[tokio::test]
async fn a_logout_answered_by_one_server_is_refused_by_every_other() {
    let home = Home::new(StoreKind::Postgres);
    let servers = [home.serve().await, home.serve().await, home.serve().await];
    for round in 0..15 {
        let alice = servers[round % 3].log_in(ALICE).await;
        for server in &servers {
            assert_eq!(server.check(&alice.token).await, 200, "and kept in memory");
        }
        let logout = servers[(round + 1) % 3].send(post("/api/v1/auth/logout").bearer(&alice.token)).await;
        assert_eq!(logout.status, 200, "{}", logout.text());
        for server in &servers {
            assert_eq!(server.check(&alice.token).await, 401, "round {round}");
        }
    }
}

#[needs(postgres)]
#[tokio::test]
async fn a_token_that_one_server_has_replaced_is_refused_by_every_other() {
    let home = Home::new(StoreKind::Postgres);
    let servers = [home.serve().await, home.serve().await, home.serve().await];
    let mut token = servers[0].log_in(ALICE).await.token;
    let mut passwords = [PASSWORD, "a completely different one"];
    for round in 0..9 {
        for server in &servers {
            assert_eq!(server.check(&token).await, 200, "and kept in memory");
        }
        let body = json!({"current_password": passwords[0], "new_password": passwords[1]});
        passwords.reverse();
        let change = post("/api/v1/auth/password").bearer(&token).json(&body);
        let changed = servers[round % 3].send(change).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        let new = changed.json()["token"].as_str().expect("a token").to_owned();
        for server in &servers {
            assert_eq!(server.check(&token).await, 401, "round {round}");
            assert_eq!(server.check(&new).await, 200, "round {round}");
        }
        token = new;
    }
}

#[needs(postgres)]
#[tokio::test]
async fn what_was_ended_beside_a_stopped_server_is_refused_as_soon_as_it_goes_on() {
    let (home, server) = serving(StoreKind::Postgres).await;
    let bob = server.log_in(BOB).await;
    assert_eq!(server.check(&bob.token).await, 200, "and kept in memory");
    server.signal(Signal::STOP);
    let revoked = home.run(&["session", "revoke", &bob.session]).await.done().unwrap();
    assert_eq!(revoked, "1 session ended\n");
    server.signal(Signal::CONT);
    assert_eq!(server.check(&bob.token).await, 401);
}

#[needs(postgres)]
#[tokio::test]
async fn replicas_lists_every_server_until_it_was_silent_for_a_while() {
    let home = Home::new(StoreKind::Postgres);
    let (first, second) = (home.serve().await, home.serve().await);
    let listed = async || home.run(&["replicas"]).await.done().unwrap();
    let both = listed().await;
    assert_eq!((both.lines().count(), both.matches("  beating  beat ").count()), (2, 2), "{both}");
    second.kill().await;
    until("it is given up", async || listed().await.lines().count() == 1).await;
    let left = listed().await;
    assert!(left.contains("  beating  ") && left.contains("  lag 0"), "{left}");
    let id = left.split_whitespace().next().expect("an id");
    assert!(first.log().contains(&format!("registered among the replicas replica={id}")), "{left}{}", first.log());
    first.stop().await;
    assert_eq!(listed().await, "", "a server that stops deregisters");
}

/// What has to happen before a frozen server goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// Clients have begun to log out on other servers, and wait.
    Begun,
    /// Those clients were answered.
    Answered,
    /// The other servers have reaped it.
    GivenUp,
}

#[needs(postgres)]
#[tokio::test]
async fn a_server_frozen_during_a_logout_refuses_the_session_from_its_first_answer_on() {
    let home = Home::new(StoreKind::Postgres);
    let (server, frozen) = (home.serve().await, home.serve().await);
    let rows = "SELECT count(*) FROM replicas";
    let pairs = seed::sessions::<2>(&home.database.url(), 6).await;
    let moments = [Until::Begun, Until::Answered, Until::GivenUp];
    for ([kept, doomed], moment) in pairs.iter().zip(moments.into_iter().cycle()) {
        until_trusted(&[&server, &frozen]).await;
        for session in [kept, doomed] {
            until_in_memory(&[&server, &frozen], &session.token).await;
        }
        // It has read a part of a request already.
        let request = get("/verify").bearer(&doomed.token).bytes(&frozen.listen);
        let (last, most) = request.split_last().expect("bytes");
        let mut begun = TcpStream::connect(&frozen.listen).await.expect("connected");
        begun.write_all(most).await.expect("sent");
        assert_eq!(frozen.check(&kept.token).await, 200);
        halt(frozen.pid()).unwrap();

        let go_on = async || {
            frozen.signal(Signal::CONT);
            Instant::now()
        };
        let meanwhile = async {
            let owes = "SELECT count(*) FROM replicas WHERE applied < (SELECT seq FROM coherence)";
            until("it is waited for", async || home.database.number(owes).await == 1).await;
            if moment == Until::Begun { Some(go_on().await) } else { None }
        };
        let (_, thawed) = join(log_out(&server, &doomed.token), meanwhile).await;
        if moment == Until::GivenUp {
            until("it is given up", async || home.database.number(rows).await == 1).await;
        }
        // Those are asked before it goes on, if it has not.
        begun.write_all(&[*last]).await.expect("sent");
        let asks = (0..10).map(async |_| frozen.check(&doomed.token).await);
        let asks = async { join_all(asks).await };
        let begun = async {
            let mut answer = Vec::new();
            begun.read_to_end(&mut answer).await.expect("answered");
            Reply::parse(&answer).status
        };
        let thaw = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if thawed.is_none() {
                go_on().await;
            }
        };
        let (mut statuses, first, ()) = tokio::join!(asks, begun, thaw);
        statuses.push(first);
        assert!(statuses.iter().all(|status| matches!(status, 401 | 503)), "{moment:?}: {statuses:?}");
        until_trusted(&[&frozen]).await;
        assert_eq!((frozen.check(&doomed.token).await, frozen.check(&kept.token).await), (401, 200), "{moment:?}");
    }
}

/// How many of these logouts are as fast as without a wait for another replica.
async fn quick_logouts(server: &Process, sessions: &[crate::harness::LoggedIn]) -> usize {
    let mut quick = 0;
    for session in sessions {
        quick += usize::from(log_out(server, &session.token).await < Duration::from_millis(600));
    }
    quick
}

#[needs(postgres)]
#[tokio::test]
async fn a_server_killed_while_it_is_waited_for_delays_logouts_only_until_it_is_given_up() {
    let home = Home::new(StoreKind::Postgres);
    let (server, killed) = (home.serve().await, home.serve().await);
    let sessions = seed::sessions::<6>(&home.database.url(), 2).await;
    until_trusted(&[&server, &killed]).await;
    let [[doomed, next @ ..], later] = &sessions[..] else { panic!("two users") };
    until_in_memory(&[&server, &killed], &doomed.token).await;
    halt(killed.pid()).unwrap();

    let begin = Instant::now();
    let kill = async {
        let owes = "SELECT count(*) FROM replicas WHERE applied < (SELECT seq FROM coherence)";
        until("it is waited for", async || home.database.number(owes).await == 1).await;
        killed.kill().await;
    };
    join(log_out(&server, &doomed.token), kill).await;
    assert!(begin.elapsed() >= Duration::from_millis(500), "it was waited for");
    assert!(quick_logouts(&server, next).await >= next.len() / 2, "each was delayed");
    assert!(begin.elapsed() < SOON);
    until("it is given up", async || home.database.number("SELECT count(*) FROM replicas").await == 1).await;
    assert!(quick_logouts(&server, later).await >= later.len() / 2, "given up, and still waited for");
    for session in sessions.as_flattened() {
        assert_eq!(server.check(&session.token).await, 401);
    }
}
