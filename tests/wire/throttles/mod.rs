//! Limits on tries: what every name, address and browser may try, what clients learn of it, and who is not kept out by it.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use sessiond_needs::{needs, on_both_stores};
use sessiond_support::wait::until;

use crate::harness::process::{Home, login};
use crate::harness::{ALICE, BOB, BOB_EMAIL, PASSWORD, Reply, Server, StoreKind, TestRequest, get, post};

mod addresses;
mod owners;

const WRONG: &str = "wrong horse battery staple";
const SECOND: Duration = Duration::from_secs(1);

/// A login in every dialect, and on the page.
const DOORS: [fn(&str, &str) -> TestRequest; 5] = [
    |name, password| post("/auth/login").json(&json!({"username": name, "password": password})),
    |name, password| post("/api/v1/login").json(&json!({"user": name, "password": password})),
    |name, password| post("/api/v1/auth/login").json(&json!({"username": name, "password": password})),
    login,
    |name, password| {
        let pairs = [("username", name), ("password", password)];
        post("/login").form(&form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish())
    },
];

/// How long an answer says to wait, in seconds.
fn wait(reply: &Reply) -> u64 {
    assert_eq!(reply.status, 429, "{}", reply.text());
    reply.header("retry-after").and_then(|seconds| seconds.parse().ok()).expect("a wait")
}

/// What a client sees of an answer, but for what differs by chance.
fn seen(reply: &Reply) -> (u16, Vec<(String, String)>, String) {
    let by_chance = |name: &str| ["x-request-id", "date"].iter().any(|one| name.eq_ignore_ascii_case(one));
    let headers = reply.headers.iter().filter(|(name, _)| !by_chance(name)).cloned().collect();
    (reply.status, headers, reply.text())
}

/// Fails this many times, waiting exactly as long as each answer says.
async fn fail(server: &Server, times: usize, ask: impl Fn() -> TestRequest) -> Vec<u64> {
    let mut waits = Vec::new();
    for _ in 0..times {
        let mut reply = server.send(ask()).await;
        if reply.status == 429 {
            waits.push(wait(&reply));
            server.advance(SECOND * u32::try_from(wait(&reply)).expect("small"));
            reply = server.send(ask()).await;
        }
        assert_eq!(reply.status, 401, "{}", reply.text());
    }
    waits
}

#[on_both_stores]
async fn known_unknown_disabled_and_password_less_names_are_answered_alike(store: StoreKind) {
    let server = Server::start(store).await;
    server.disable(BOB).await;
    let all_dialects = async |name: &str, password: &str| {
        server.database.execute("DELETE FROM throttles").await;
        let mut answers = Vec::new();
        for number in 0..12 {
            let mut reply = server.send(DOORS[number % DOORS.len()](name, password)).await;
            answers.push(seen(&reply));
            if number > 6 {
                server.advance(SECOND * u32::try_from(wait(&reply)).expect("small"));
                reply = server.send(DOORS[number % DOORS.len()](name, password)).await;
                answers.push(seen(&reply));
            }
        }
        answers
    };
    let named = |answers: Vec<(u16, Vec<(String, String)>, String)>, name: &str| {
        let alike = |(status, mut headers, text): (u16, Vec<(String, String)>, String)| {
            // The page repeats the name, and ends of waits are times.
            headers.retain(|(header, _)| !["x-ratelimit-reset", "content-length"].contains(&&*header.to_lowercase()));
            (status, headers, text.replace(name, "NAME"))
        };
        answers.into_iter().map(alike).collect::<Vec<_>>()
    };
    let wrong = named(all_dialects(ALICE, WRONG).await, ALICE);
    let statuses: Vec<_> = wrong.iter().map(|(status, ..)| *status).collect();
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429, 429, 401, 429, 401, 429, 401, 429, 401, 429, 401]);
    assert!(wrong.iter().all(|(_, _, text)| !text.contains("left")), "no answer says how many tries there are still");
    for name in ["nobody", "nobody@example.com", BOB, BOB_EMAIL] {
        assert_eq!(named(all_dialects(name, PASSWORD).await, name), wrong, "{name}");
    }
    let no_password = format!("UPDATE users SET password_hash = '!' WHERE username_key = '{ALICE}'");
    server.database.execute(&no_password).await;
    assert_eq!(named(all_dialects(ALICE, PASSWORD).await, ALICE), wrong, "without a password");
    server.stop().await;
}

#[on_both_stores]
async fn every_door_counts_on_the_same_counters_and_says_the_same_wait(store: StoreKind) {
    let server = Server::start(store).await;
    for door in DOORS {
        assert_eq!(server.send(door(ALICE, WRONG)).await.status, 401);
    }
    for failures in 5..9 {
        let seconds = 1 << (failures - 5);
        for door in DOORS {
            let reply = server.send(door(ALICE, PASSWORD)).await;
            assert_eq!(wait(&reply), seconds, "not even the right password");
            let words = [
                format!("{{\"error\":{{\"code\":429,\"message\":\"too many attempts, try again in {seconds} s\"}}}}"),
                format!("You must wait {seconds} seconds before trying this endpoint again."),
                format!("Too many attempts, try again in {seconds} second"),
                format!("Too many attempts. Try again in {seconds} second"),
            ];
            assert_eq!(words.iter().filter(|words| reply.text().contains(*words)).count(), 1, "{}", reply.text());
            let number = |name: &str| reply.header(name).map(|value| value.parse::<i64>().expect("a number"));
            if reply.text().contains("error-too-many-requests") {
                let end = server.now().after(SECOND * u32::try_from(seconds).expect("small")).millis();
                assert_eq!(number("x-ratelimit-reset"), Some(end));
                assert_eq!([number("x-ratelimit-limit"), number("x-ratelimit-remaining")], [Some(1), Some(0)]);
            }
            if reply.text().contains("rate_limit_error") {
                assert_eq!(reply.header("ratelimit"), Some(&*format!("\"tries\";r=0;t={seconds}")));
                assert_eq!(reply.header("ratelimit-policy"), Some(&*format!("\"tries\";q=1;w={seconds}")));
            }
        }
        server.advance(SECOND * u32::try_from(seconds - 1).expect("small") + Duration::from_millis(999));
        assert_eq!(wait(&server.send(login(ALICE, PASSWORD)).await), 1, "a moment too early is too early");
        server.advance(Duration::from_millis(1));
        assert_eq!(server.send(login(ALICE, WRONG)).await.status, 401, "and that long is enough");
    }
    server.stop().await;
}

#[on_both_stores]
async fn tries_during_a_wait_are_counted_in_the_metrics_alone(store: StoreKind) {
    let server = Server::start(store).await;
    fail(&server, 6, || login(ALICE, WRONG)).await;
    let counters = "SELECT counted, failures, until FROM throttles ORDER BY counted";
    let before = server.database.rows(counters).await;
    let events = server.database.number("SELECT count(*) FROM events").await;
    for _ in 0..20 {
        server.send(login(ALICE, WRONG)).await;
    }
    assert_eq!(server.database.rows(counters).await, before);
    assert_eq!(server.database.number("SELECT count(*) FROM events").await, events);
    let metrics = server.ops("/metrics").await.text();
    assert!(metrics.contains("\nsessiond_logins_throttled_total{by=\"name\"} 21\n"), "{metrics}");
    server.stop().await;
}

#[on_both_stores]
async fn after_a_hundred_failures_a_name_is_stopped_until_a_day_after_the_last(store: StoreKind) {
    for name in [ALICE, "nobody"] {
        let server = Server::start(store).await;
        server.send(login(name, WRONG)).await;
        server.database.execute("UPDATE throttles SET failures = 99").await;
        assert_eq!(server.send(login(name, WRONG)).await.status, 401, "the hundredth");
        for hours in [24, 18, 12, 6] {
            assert_eq!(wait(&server.send(login(name, PASSWORD)).await), hours * 3600, "tries make it no longer");
            server.advance(Duration::from_hours(6));
        }
        let status = server.send(login(name, PASSWORD)).await.status;
        assert_eq!(status, if name == ALICE { 200 } else { 401 });
        server.stop().await;
    }
}

#[on_both_stores]
async fn an_account_that_is_stopped_answers_as_if_the_password_were_wrong(store: StoreKind) {
    let server = Server::start(store).await;
    for name in [BOB, BOB_EMAIL] {
        server.send(login(name, WRONG)).await;
        server.database.execute("UPDATE throttles SET failures = 50 WHERE counted = 3").await;
    }
    server.database.execute("UPDATE throttles SET failures = 99 WHERE counted = 3").await;
    let wrong = seen(&server.send(login(BOB, WRONG)).await);
    assert_eq!(seen(&server.send(login(BOB_EMAIL, PASSWORD)).await), wrong, "by either name, and without a word");
    assert_eq!(wrong.0, 401);
    server.log_in(ALICE).await;
    server.unlock(BOB).await;
    server.log_in(BOB).await;
    server.stop().await;
}

#[on_both_stores]
async fn the_sixth_wrong_current_password_waits_whatever_the_page(store: StoreKind) {
    let server = Server::start(store).await;
    let (bob, other) = (server.log_in(BOB).await, server.log_in(BOB).await);
    let api = |current: &str| {
        let body = json!({"current_password": current, "new_password": "a completely different one"});
        post("/api/v1/auth/password").bearer(&bob.token).json(&body)
    };
    let page = |current: &str| {
        let pairs = [("current_password", current), ("new_password", "a completely different one")];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        post("/password").cookie(&bob.token).form(&body)
    };
    for number in 0..5 {
        let ask = if number % 2 == 0 { api(WRONG) } else { page(WRONG) };
        assert_eq!(server.send(ask).await.status, 401);
    }
    for ask in [api(PASSWORD), page(PASSWORD)] {
        assert_eq!(wait(&server.send(ask).await), 1);
    }
    let body = json!({"current_password": PASSWORD, "new_password": "a third one altogether"});
    let theirs = server.send(post("/api/v1/auth/password").bearer(&other.token).json(&body)).await;
    assert_eq!(theirs.status, 200, "a stolen session does not keep the owner of another one out");
    server.stop().await;
}

#[on_both_stores]
async fn a_right_password_is_no_failure(store: StoreKind) {
    let server = Server::start(store).await;
    for _ in 0..3 {
        fail(&server, 4, || login(BOB, WRONG)).await;
        server.log_in(BOB).await;
    }
    assert_eq!(server.now(), crate::harness::BEGIN, "no login had to wait");
    let bob = server.log_in(BOB).await;
    for _ in 0..7 {
        let body = json!({"current_password": PASSWORD, "new_password": PASSWORD});
        let same = server.send(post("/api/v1/auth/password").bearer(&bob.token).json(&body)).await;
        assert_eq!(same.status, 422);
    }
    assert_eq!(server.database.number("SELECT count(*) FROM throttles").await, 0);
    server.stop().await;
}

#[on_both_stores]
async fn counts_outlive_kill_9(store: StoreKind) {
    let home = Home::new(store);
    let server = home.serve().await;
    for _ in 0..5 {
        assert_eq!(server.send(login(ALICE, WRONG)).await.status, 401);
    }
    server.kill().await;
    let server = home.serve().await;
    until("the wait is over", async || server.send(login(ALICE, WRONG)).await.status == 401).await;
    assert_eq!(home.database.number("SELECT max(failures) FROM throttles").await, 6);
    let reply = server.send(login(ALICE, PASSWORD)).await;
    assert_eq!(wait(&reply), 2);
    home.run(&["user", "unlock", ALICE]).await.done().unwrap();
    server.log_in(ALICE).await;
}

#[needs(postgres)]
#[tokio::test]
async fn of_many_tries_at_once_five_reach_a_worker_however_many_servers_there_are() {
    let one = Server::start(StoreKind::Postgres).await;
    let other = one.replica().await;
    for (name, password) in [(ALICE, WRONG), ("nobody", PASSWORD)] {
        let tries = (0..64).map(|number| {
            let server = if number % 2 == 0 { &one } else { &other };
            server.send(login(name, password))
        });
        let replies = join_all(tries).await;
        let refused = replies.iter().filter(|reply| reply.status == 401).count();
        assert_eq!(refused, 5, "{name}");
        assert!(replies.iter().all(|reply| reply.status == 401 || wait(reply) == 1), "{name}");
    }
    for server in [&one, &other] {
        assert_eq!(wait(&server.send(login(ALICE, PASSWORD)).await), 1, "they wait at every server");
        server.log_in(BOB).await;
    }
    other.stop().await;
    one.stop().await;
}

#[on_both_stores]
async fn what_is_forgotten_is_deleted(store: StoreKind) {
    let home = Home::new(store);
    home.serve().await.stop().await;
    let counters = |forget_at: i64| {
        let row = |number| match store {
            StoreKind::Sqlite => format!("(randomblob(32), randomblob(32), {}, 1, 0, {forget_at})", number % 5),
            StoreKind::Postgres => {
                format!("(sha256('{number}{forget_at}'), sha256('{number}'), {}, 1, 0, {forget_at})", number % 5)
            }
        };
        let rows: Vec<_> = (0..600).map(row).collect();
        format!("INSERT INTO throttles VALUES {}", rows.join(", "))
    };
    home.database.execute(&counters(1)).await;
    home.database.execute(&counters(i64::MAX)).await;
    let server = home.serve().await;
    let left = async || home.database.number("SELECT count(*) FROM throttles").await;
    until("what is forgotten is gone", async || left().await == 600).await;
    server.stop().await;
}

#[on_both_stores]
async fn what_lifts_a_wait_lifts_the_count_and_is_audited(store: StoreKind) {
    let server = Server::start(store).await;
    for lift in ["unlock", "password"] {
        fail(&server, 7, || login(BOB, WRONG)).await;
        fail(&server, 7, || login(BOB_EMAIL, WRONG)).await;
        match lift {
            "unlock" => server.unlock(BOB).await,
            _ => server.set_password(BOB, "a completely different one").await,
        }
        let now = server.now();
        for name in [BOB, BOB_EMAIL] {
            assert_eq!(fail(&server, 5, || login(name, WRONG)).await, [0; 0], "{lift}: the first one is the first");
            assert_eq!(wait(&server.send(login(name, WRONG)).await), 1);
        }
        assert_eq!(server.now(), now);
        server.forget_failures().await;
    }
    let unlocked = "SELECT count(*) FROM events WHERE kind = 'user_unlocked' AND actor = 'cli' AND user_id IS NOT NULL";
    assert_eq!(server.database.number(unlocked).await, 1);
    server.stop().await;
}

#[on_both_stores]
async fn right_passwords_that_come_together_are_all_right(store: StoreKind) {
    let server = Server::start(store).await;
    let body = json!({"username": BOB, "password": PASSWORD, "transport": "token"});
    let logins = (0..24).map(|_| server.send(post("/api/v1/auth/login").json(&body)));
    let statuses: Vec<_> = join_all(logins).await.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses, [200; 24]);
    let wrong = json!({"username": BOB, "password": "not the password", "transport": "token"});
    let tries = (0..24).map(|_| server.send(post("/api/v1/auth/login").json(&wrong)));
    let statuses: Vec<_> = join_all(tries).await.iter().map(|reply| reply.status).collect();
    let checked = statuses.iter().filter(|status| **status == 401).count();
    assert_eq!((checked, statuses.iter().filter(|status| **status == 429).count()), (5, 19), "{statuses:?}");
    server.stop().await;
}
