//! `sessiond user`, `session` and `event` beside a running server: editing, deleting, one-time passwords, sessions of
//! everybody, and the audit.

use serde_json::{Value, json};

use super::*;
use crate::harness::{get, post};

async fn identity(server: &Process, token: &str) -> (u16, Option<String>, Option<String>) {
    let reply = server.send(get("/verify").bearer(token)).await;
    let header = |name: &str| reply.header(name).map(str::to_owned);
    (reply.status, header("remote-user"), header("remote-email"))
}

#[on_both_stores]
async fn an_edit_holds_with_the_next_check(store: StoreKind) {
    let (home, server) = serving(store).await;
    let bob = server.log_in(BOB).await;
    let edit = ["user", "edit", BOB, "--rename", "robert", "--email", "r@example.com", "--name", "Robert", "--admin"];
    let line = home.run(&edit).await.done().unwrap();
    assert_eq!(line, format!("{}  admin  enabled   robert  r@example.com  Robert\n", bob.user));
    let (user, email) = (Some("robert".to_owned()), Some("r@example.com".to_owned()));
    assert_eq!(identity(&server, &bob.token).await, (200, user.clone(), email), "without a wait");
    assert_eq!(server.send(get("/api/v1/admin/users").bearer(&bob.token)).await.status, 200);
    home.run(&["user", "edit", &bob.user, "--no-email", "--no-admin"]).await.done().unwrap();
    assert_eq!(identity(&server, &bob.token).await, (200, user, Some("-".to_owned())));
    assert_eq!(server.send(get("/api/v1/admin/users").bearer(&bob.token)).await.status, 403);
    for (arguments, words) in [
        (&["user", "edit", "robert", "--rename", "ALICE"][..], "the username is taken"),
        (&["user", "edit", ALICE, "--no-admin"], "no administrator who can log in would be left"),
        (&["user", "delete", ALICE, "--yes"], "no administrator who can log in would be left"),
        (&["user", "delete", "robert"], "add --yes"),
        (&["user", "edit", "robert", "--admin", "--no-admin"], "cannot be used with"),
    ] {
        let sentence = home.run(arguments).await.refused().unwrap();
        assert!(sentence.contains(words), "{arguments:?}: {sentence}");
    }
}

#[on_both_stores]
async fn a_deleted_user_is_out_and_gone(store: StoreKind) {
    let (home, server) = serving(store).await;
    let bob = server.log_in(BOB).await;
    assert_eq!(home.run(&["user", "delete", BOB, "--yes"]).await.done().unwrap(), "deleted, 1 sessions ended\n");
    assert_eq!(server.check(&bob.token).await, 401);
    assert!(!home.run(&["user", "list"]).await.done().unwrap().contains(BOB));
    let events = home.run(&["event", "list", "--user", &bob.user]).await.done().unwrap();
    assert!(events.contains("user_deleted  -  cli ") && events.contains("\"bob\""), "{events}");
}

#[on_both_stores]
async fn a_one_time_password_is_printed_and_has_to_be_changed(store: StoreKind) {
    let (home, server) = serving(store).await;
    let printed = home.run(&["user", "passwd", BOB, "--one-time"]).await.done().unwrap();
    let one_time = printed.lines().last().and_then(|line| line.strip_prefix("one-time password, for 24 hours: "));
    let one_time = one_time.expect("a password");
    let login = |new: Option<&str>| {
        let mut body = json!({"username": BOB, "password": one_time});
        if let Some(new) = new {
            body["new_password"] = json!(new);
        }
        post("/api/v1/auth/login").json(&body)
    };
    assert_eq!(server.send(login(None)).await.status, 403);
    assert_eq!(server.send(login(Some(NEXT))).await.status, 200);
    assert_eq!(server.send(super::login(BOB, NEXT)).await.status, 200);
    let printed = home.run(&["user", "add", "carol", "--one-time"]).await.done().unwrap();
    assert_eq!(printed.lines().count(), 2, "{printed}");
}

#[on_both_stores]
async fn everybody_is_out_at_once(store: StoreKind) {
    let (home, server) = serving(store).await;
    let (alice, one, two) = (server.log_in(ALICE).await, server.log_in(BOB).await, server.log_in(BOB).await);
    let run = async |arguments: &[&str]| home.run(&[&["session", "revoke"], arguments].concat()).await.done().unwrap();
    assert_eq!(run(&["--all", "--dry-run"]).await, "3 sessions fit\n");
    assert_eq!(run(&["--ip", "192.0.2.0/24"]).await, "0 sessions ended\n");
    assert_eq!(run(&["--user", BOB, "--before", "2001-01-01T00:00:00Z"]).await, "0 sessions ended\n");
    assert_eq!(run(&["--user", BOB]).await, "2 sessions ended\n");
    assert_eq!([server.check(&one.token).await, server.check(&two.token).await], [401, 401]);
    assert_eq!(server.check(&alice.token).await, 200);
    let again = server.log_in(BOB).await;
    assert_eq!(run(&["--all"]).await, "2 sessions ended\n");
    assert_eq!([server.check(&alice.token).await, server.check(&again.token).await], [401, 401]);
    for arguments in [&["--ip", "x"][..], &["--all", "--ip", "192.0.2.1"], &["--all", "--user", BOB], &[]] {
        home.run(&[&["session", "revoke"], arguments].concat()).await.refused().unwrap();
    }
}

#[on_both_stores]
async fn the_audit_is_read_as_lines_and_as_json(store: StoreKind) {
    let (home, server) = serving(store).await;
    let nasty = "agent\u{202e} from 1.2.3.4";
    let body = json!({"username": BOB, "password": "not the password"});
    server.send(post("/api/v1/auth/login").json(&body).header("User-Agent", nasty)).await;
    let lines = home.run(&["event", "list", "--kind", "login_failed"]).await.done().unwrap();
    assert_eq!(lines.lines().count(), 1, "{lines}");
    let parts: Vec<_> = lines.split("  ").collect();
    assert_eq!(parts[1..3], ["login_failed", "127.0.0.1"], "the address stands before anything that a client chose");
    assert!(lines.contains(r#""agent\u{202e} from 1.2.3.4""#), "{lines}");
    let json = home.run(&["event", "list", "--json", "--limit", "1"]).await.done().unwrap();
    let event: Value = serde_json::from_str(json.trim()).expect("a line of JSON");
    assert_eq!((&event["kind"], &event["user_agent"]), (&json!("login_failed"), &json!(nasty)));
    let all = home.run(&["event", "list", "--json"]).await.done().unwrap();
    let kinds: Vec<Value> =
        all.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["kind"].clone()).collect();
    assert_eq!(kinds, ["login_failed", "user_created", "admin_granted", "user_created"]);
    let operator: Value = serde_json::from_str(all.lines().last().expect("a line")).expect("JSON");
    assert_eq!(operator["actor"]["type"], "operator");
    assert!(operator["actor"]["username"].as_str().is_some_and(|name| !name.is_empty()), "{operator}");
    let none = home.run(&["event", "list", "--since", "2999-01-01T00:00:00Z"]).await.done().unwrap();
    assert_eq!(none, "");
    home.run(&["event", "list", "--since", "yesterday"]).await.refused().unwrap();
    let unknown = home.run(&["event", "list", "--kind", "login_fialed"]).await.refused().unwrap();
    assert!(unknown.contains("login_failed"), "the kinds are listed: {unknown}");
}

#[on_both_stores]
async fn an_administrator_whose_password_expires_is_not_the_one_who_is_left(store: StoreKind) {
    let (home, _server) = serving(store).await;
    home.run(&["user", "edit", BOB, "--admin"]).await.done().unwrap();
    home.run(&["user", "passwd", BOB, "--one-time"]).await.done().unwrap();
    for arguments in [&["user", "edit", ALICE, "--no-admin"][..], &["user", "disable", ALICE]] {
        let sentence = home.run(arguments).await.refused().unwrap();
        assert!(sentence.contains("who has a password of their own"), "{sentence}");
    }
}

#[on_both_stores]
async fn an_edit_that_changes_nothing_is_refused(store: StoreKind) {
    let (home, _server) = serving(store).await;
    let sentence = home.run(&["user", "edit", BOB]).await.refused().unwrap();
    assert!(sentence.contains("nothing is to be changed"), "{sentence}");
}
