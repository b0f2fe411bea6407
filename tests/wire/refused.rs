//! Who was refused is in the log and in the audit: by name, or where there is no such user, by a hash; and many as a count.

use std::time::Duration;

use sessiond_needs::on_both_stores;
use sessiond_support::wait::until;

use crate::harness::process::{Home, Process, field, login};
use crate::harness::{ALICE, BOB, BOB_EMAIL, Database, PASSWORD, Server, StoreKind, TestRequest, post};

const WRONG: &str = "wrong-password-of-somebody";
/// Text that was typed where a name belongs.
const NO_NAME: &str = "my secret password\u{202e}\"";
const USER_AGENT: &str = "browser \"1.0\" \u{202e} (of somebody)";

/// The user, name, address, `User-Agent`, detail and count of each event about a refusal, oldest first.
async fn refused(database: &Database) -> Vec<[Option<String>; 6]> {
    let all = "SELECT u.username, e.name, e.ip, e.user_agent, e.detail, e.count
         FROM events AS e LEFT JOIN users AS u ON u.id = e.user_id WHERE e.kind = 'login_failed' ORDER BY e.number";
    database.rows(all).await.into_iter().map(|row| row.try_into().expect("six")).collect()
}

/// How many were refused, by the audit.
async fn total(database: &Database) -> i64 {
    // PostgreSQL's sum of such numbers is a longer one.
    database.number("SELECT CAST(coalesce(sum(count), 0) AS bigint) FROM events WHERE kind = 'login_failed'").await
}

fn wrong(name: &str) -> TestRequest {
    login(name, WRONG).header("User-Agent", USER_AGENT)
}

async fn a_refused_login_is_a_line_and_an_event(store: StoreKind, format: &str) {
    let home = Home::new(store);
    let mut command = home.server();
    command.env("SESSIOND_LOG_FORMAT", format);
    let server = Process::start(command).await;
    for name in [ALICE, NO_NAME, NO_NAME, "somebody else"] {
        assert_eq!(server.send(wrong(name)).await.status, 401, "{name}");
    }
    let token = server.log_in(ALICE).await.token;
    let body = serde_json::json!({"current_password": WRONG, "new_password": "next-password-of-alice"});
    let change = post("/api/v1/auth/password").bearer(&token).header("User-Agent", USER_AGENT).json(&body);
    assert_eq!(server.send(change).await.status, 401);

    let events = refused(&home.database).await;
    let names: Vec<_> = events.iter().map(|[_, name, ..]| name.clone().expect("a name")).collect();
    assert_eq!(names.len(), 5, "{events:?}");
    assert_eq!((&*names[0], &*names[4]), (ALICE, ALICE));
    assert!(names[1].len() == 16 && names[1].bytes().all(|letter| letter.is_ascii_hexdigit()), "{names:?}");
    assert_eq!(names[1], names[2], "the same name has the same hash");
    assert_ne!(names[1], names[3], "and another another one");
    for (number, [user, _, ip, user_agent, detail, count]) in events.iter().enumerate() {
        let known = number == 0 || number == 4;
        assert_eq!((user.is_some(), ip.as_deref(), count.as_deref()), (known, Some("127.0.0.1"), Some("1")));
        assert_eq!(user_agent.as_deref(), Some(USER_AGENT));
        assert_eq!(detail.as_deref(), (number == 4).then_some("password"));
    }

    let log = stopped(server).await;
    let lines: Vec<_> = log.lines().filter(|line| line.contains("refused")).collect();
    assert_eq!(lines.len(), 5, "{log}");
    for (line, (user, name)) in lines.iter().zip(events.iter().map(|[user, ..]| user).zip(&names)) {
        let named = if user.is_some() { "username" } else { "name_hash" };
        assert_eq!((field(line, named), field(line, "ip")), (name.clone(), String::from("127.0.0.1")), "{line}");
        assert!(!line.contains("more"), "{line}");
        let escaped = if format == "json" { r#""browser \"1.0\""# } else { r#"user_agent="browser \"1.0\" \u{202e}"# };
        assert!(line.contains(escaped), "{line}");
    }
    assert!(!log.contains("my secret password"), "{log}");
    for (name, bytes) in home.database.contents().await {
        assert!(!String::from_utf8_lossy(&bytes).contains("my secret password"), "{name}");
    }
}

/// Stops it in good order. Returns the log.
async fn stopped(mut server: Process) -> String {
    server.signal(rustix::process::Signal::TERM);
    assert!(server.ended().await.success());
    server.log()
}

#[on_both_stores]
async fn a_refused_login_is_a_line_of_text_and_an_event(store: StoreKind) {
    a_refused_login_is_a_line_and_an_event(store, "text").await;
}

#[on_both_stores]
async fn a_refused_login_is_a_line_of_json_and_an_event(store: StoreKind) {
    a_refused_login_is_a_line_and_an_event(store, "json").await;
}

#[on_both_stores]
async fn many_in_a_row_are_recorded_as_a_count_once_their_minute_is_over(store: StoreKind) {
    let server = Server::start(store).await;
    for _ in 0..12 {
        assert_eq!(server.send(login(ALICE, WRONG)).await.status, 401);
        assert_eq!(server.send(login("nobody", WRONG)).await.status, 401);
        server.forget_failures().await;
    }
    assert_eq!(refused(&server.database).await.len(), 20, "ten of each");
    server.advance(Duration::from_secs(61));
    until("all are on record", async || total(&server.database).await == 24).await;
    let events = refused(&server.database).await;
    let mut counts: Vec<_> = events[20..].iter().map(|[user, .., count]| (user.as_deref(), count.as_deref())).collect();
    counts.sort_unstable();
    assert_eq!(counts, [(None, Some("2")), (Some(ALICE), Some("2"))]);
    assert_eq!(events[20..].iter().filter(|[_, name, ..]| name.as_deref() == Some(ALICE)).count(), 1);

    assert_eq!(server.send(login(ALICE, WRONG)).await.status, 401);
    assert_eq!(refused(&server.database).await.len(), 23, "in the next minute they are recorded again");
    server.stop().await;
}

#[on_both_stores]
async fn a_thousand_in_a_row_are_eleven_events_even_if_the_server_stops_before_their_minute_is_over(store: StoreKind) {
    let home = Home::new(store);
    let server = home.serve().await;
    // No password is as long as this, so that none of them is hashed.
    let impossible = "x".repeat(1025);
    for number in 0..1000 {
        assert_eq!(server.send(login(&format!("nobody{number}"), &impossible)).await.status, 401);
    }
    for _ in 0..13 {
        assert_eq!(server.send(login(ALICE, WRONG)).await.status, 401);
        home.database.execute("DELETE FROM throttles").await;
    }
    assert_eq!(refused(&home.database).await.len(), 20);
    let log = stopped(server).await;
    assert_eq!(total(&home.database).await, 1013);
    let events = refused(&home.database).await;
    assert_eq!(events.len(), 22, "{events:?}");
    let lines: Vec<_> = log.lines().filter(|line| line.contains("refused")).collect();
    assert_eq!(lines.len(), 22, "{log}");
    let more = |line: &str| lines.iter().any(|logged| logged.contains("more logins refused") && logged.contains(line));
    assert!(more("more=990") && more("more=3") && more("username=\"alice\""), "{log}");
}

#[on_both_stores]
async fn changes_of_a_password_that_are_refused_are_counted_too(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = server.log_in(BOB).await;
    let body = serde_json::json!({"current_password": WRONG, "new_password": "next-password-of-bob"});
    for _ in 0..12 {
        assert_eq!(server.send(post("/api/v1/auth/password").bearer(&bob.token).json(&body)).await.status, 401);
        server.forget_failures().await;
    }
    assert_eq!(refused(&server.database).await.len(), 10);
    server.advance(Duration::from_secs(61));
    until("all are on record", async || total(&server.database).await == 12).await;
    for [user, name, _, _, detail, _] in refused(&server.database).await {
        assert_eq!((user.as_deref(), name.as_deref(), detail.as_deref()), (Some(BOB), Some(BOB), Some("password")));
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_user_is_named_by_their_username_whatever_was_typed(store: StoreKind) {
    let server = Server::start(store).await;
    for name in [BOB_EMAIL, "BoB"] {
        assert_eq!(server.send(login(name, WRONG)).await.status, 401);
    }
    server.disable(BOB).await;
    assert_eq!(server.send(login(BOB, PASSWORD)).await.status, 401, "a right password is refused too");
    let names: Vec<_> = refused(&server.database).await.into_iter().map(|[user, name, ..]| (user, name)).collect();
    let bob = Some(String::from(BOB));
    assert_eq!(names, [(); 3].map(|()| (bob.clone(), bob.clone())));
    server.stop().await;
}

#[on_both_stores]
async fn events_are_kept_for_as_long_as_is_set(store: StoreKind) {
    let home = Home::new(store);
    home.serve().await.stop().await;
    // What happened becomes old, so that numbers follow the time as they would.
    let day = 24 * 60 * 60 * 1000_i64;
    let made = home.database.number("SELECT min(at) FROM events").await;
    home.database.execute(&format!("UPDATE events SET at = at - {}", 100 * day)).await;
    // Without one of the last days, the clock would seem to have jumped.
    for (days, times) in [(100, 600), (60, 1), (2, 1), (0, 1)] {
        let at = made - days * day;
        let values = vec![format!("({at}, 'login_failed', 'anonymous')"); times].join(", ");
        home.database.execute(&format!("INSERT INTO events (at, kind, actor) VALUES {values}")).await;
    }
    let left = async || home.database.number("SELECT count(*) FROM events").await;
    let server = home.serve().await;
    until("what is older than ninety days is gone", async || left().await == 3).await;
    server.stop().await;
    let mut command = home.server();
    command.env("SESSIOND_EVENTS_KEPT", "30d");
    let server = Process::start(command).await;
    until("what is older than thirty days is gone", async || left().await == 2).await;
    server.stop().await;
}
