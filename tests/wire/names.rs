//! Usernames that look the same, passwords that are guessed first, and stored hashes that cost too much.

use std::time::Duration;

use serde_json::json;
use sessiond_needs::on_both_stores;
use sessiond_support::wait::until;

use crate::harness::process::{Home, Process, field, login};
use crate::harness::{ALICE, BOB, PASSWORD, Reply, Server, StoreKind, TestRequest, get, post};

/// A password as people compose it, and as some keyboards send it.
const COMPOSED: &str = "Grüße aus Köln";
const DECOMPOSED: &str = "Gru\u{308}ße\u{a0}aus Ko\u{308}ln";

fn change(current: &str, new: &str) -> TestRequest {
    post("/api/v1/auth/password").json(&json!({"current_password": current, "new_password": new}))
}

async fn add(home: &Home, username: &str, password: &str) -> sessiond_support::process::Finished {
    home.run_reading(&["user", "add", username, "--password-stdin"], password).await
}

#[on_both_stores]
async fn a_twin_of_a_username_is_refused_and_is_the_same_user(store: StoreKind) {
    let home = Home::new(store);
    let server = home.serve().await;
    for (username, twins) in [
        ("Admin", &["admin", "ＡＤＭＩＮ", "admİn"][..]),
        ("ΝΙΚΟΣ", &["νικος", "νικοσ"]),
        ("Zoë", &["zoe\u{308}", "ZOË"]),
    ] {
        add(&home, username, PASSWORD).await.done().unwrap();
        for twin in twins {
            let sentence = add(&home, twin, PASSWORD).await.refused().unwrap();
            assert!(sentence.contains("the username is taken"), "{twin}: {sentence}");
            let reply = server.send(login(twin, PASSWORD)).await;
            assert_eq!(reply.status, 200, "{twin} is {username}");
            assert_eq!(reply.json()["user"]["username"], username, "shown as it was given");
        }
    }
    for odd in ["adm\u{ad}in", "\u{202e}nimda", "admin\u{200b}", "\u{3164}", "ad\u{200d}min", "\u{feff}admin"] {
        let sentence = add(&home, odd, PASSWORD).await.refused().unwrap();
        assert!(sentence.contains("username must not contain invisible characters"), "{odd:?}: {sentence}");
        assert_eq!(server.send(login(odd, PASSWORD)).await.status, 401, "{odd:?}");
        let email = format!("{odd}@example.com");
        let arguments = ["user", "add", "carol", "--email", &email, "--password-stdin"];
        let sentence = home.run_reading(&arguments, PASSWORD).await.refused().unwrap();
        assert!(sentence.contains("email must not contain invisible characters"), "{odd:?}: {sentence}");
    }
    let (longest, longer) = ("漢".repeat(64), "漢".repeat(65));
    add(&home, &longest, PASSWORD).await.done().unwrap();
    assert!(add(&home, &longer, PASSWORD).await.refused().unwrap().contains("username is too long"));
    assert_eq!(server.send(login(&longest, PASSWORD)).await.status, 200);
}

#[on_both_stores]
async fn a_name_that_no_user_can_have_is_refused_like_an_unknown_one(store: StoreKind) {
    let server = Server::start(store).await;
    let (unknown, counted) =
        (server.send(login("nobody", PASSWORD)).await, "SELECT count(*) FROM events WHERE kind = 'login_failed'");
    let before = server.database.number(counted).await;
    let long = "x".repeat(6_000);
    let odd =
        ["adm\u{ad}in", "a b", "\u{3164}", "-", &long, &format!("{long}@example.com"), "\u{fdfa}@example.com\u{200b}"];
    for name in odd {
        let reply = server.send(login(name, PASSWORD)).await;
        assert_eq!((reply.status, &reply.body), (unknown.status, &unknown.body), "{name:?}");
    }
    let after = server.database.number(counted).await;
    assert_eq!(after - before, i64::try_from(odd.len()).expect("few"), "and stands in the audit like it");
    server.stop().await;
}

#[on_both_stores]
async fn composed_and_decomposed_letters_are_one_password_wherever_it_is_set(store: StoreKind) {
    let home = Home::new(store);
    let mut command = home.server();
    command.env("SESSIOND_ADMIN_PASSWORD", COMPOSED);
    let server = Process::start(command).await;
    add(&home, BOB, DECOMPOSED).await.done().unwrap();
    for username in [ALICE, BOB] {
        for password in [COMPOSED, DECOMPOSED] {
            assert_eq!(server.send(login(username, password)).await.status, 200, "{username} {password}");
        }
    }
    let bob = crate::harness::process::logged_in(&server.send(login(BOB, COMPOSED)).await);
    let same = server.send(change(COMPOSED, DECOMPOSED).bearer(&bob.token)).await;
    assert_eq!(same.status, 422, "the same password in another spelling: {}", same.text());
}

#[on_both_stores]
async fn what_is_guessed_first_or_cannot_be_typed_is_refused_wherever_a_password_is_set(store: StoreKind) {
    let home = Home::new(store);
    let server = home.serve().await;
    add(&home, BOB, PASSWORD).await.done().unwrap();
    let bob = server.log_in(BOB).await;
    for (password, sentence) in [
        ("football1", "is one of the most common passwords"),
        ("Bob-2026!", "must not be made of the username"),
        ("bobbobbob", "must not be made of the username"),
        ("Sessiond2026", "must not be made of the name of this service"),
        ("            ", "must not be spaces alone"),
        ("\u{3000}\u{3000}\u{3000}\u{3000}\u{3000}\u{3000}\u{3000}\u{3000}", "must not be spaces alone"),
        ("tab\tand\ttab", "must not contain control characters"),
        ("hidden\u{200b}space", "must not contain invisible characters"),
        ("ü234567", "must have at least 8 characters"),
        (PASSWORD, "must differ from the current one"),
    ] {
        let by_command =
            home.run_reading(&["user", "passwd", BOB, "--password-stdin"], password).await.refused().unwrap();
        assert!(by_command.contains(&format!("password {sentence}")), "{password:?}: {by_command}");
        let by_request = server.send(change(PASSWORD, password).bearer(&bob.token)).await;
        let said = by_request.json()["errors"][0].clone();
        assert_eq!((by_request.status, &said["loc"]), (422, &json!(["body", "new_password"])), "{password:?}");
        assert!(said["msg"].as_str().is_some_and(|msg| msg[1..] == sentence[1..]), "{password:?}: {said}");
    }
    let nul = home.run_reading(&["user", "passwd", BOB, "--password-stdin"], "nul\0nul\0nul").await.refused().unwrap();
    assert!(nul.contains("password must not contain control characters"), "{nul}");
    assert_eq!(server.send(change(PASSWORD, "nul\0nul\0nul").bearer(&bob.token)).await.status, 400);
    std::fs::write(home.dir.path().join("secret"), "nul\0nul\0nul\n").expect("written");
    let mut file = home.server();
    file.env_remove("SESSIOND_ADMIN_PASSWORD").env("SESSIOND_ADMIN_PASSWORD_FILE", "secret");
    let sentence = crate::harness::process::finish(file, "").await.refused().unwrap();
    assert!(sentence.contains("admin_password must not contain control characters"), "{sentence}");
    assert_eq!(server.check(&bob.token).await, 200, "nothing was changed");
    assert_eq!(server.send(login(BOB, PASSWORD)).await.status, 200);
}

/// Plants a hash in Bob's row, as an import or an attacker with the database might.
async fn plant(server: &Server, hash: &str) {
    server.database.execute(&format!("UPDATE users SET password_hash = '{hash}' WHERE username_key = '{BOB}'")).await;
}

async fn try_bob(server: &Server) -> Reply {
    server.send(login(BOB, PASSWORD)).await
}

#[on_both_stores]
async fn a_stored_hash_that_costs_too_much_is_refused_like_a_wrong_password(store: StoreKind) {
    const TAIL: &str = "c2FsdHNhbHRzYWx0$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";
    let server = Server::with(store, "password_workers = 1").await;
    let wrong = server.send(login(ALICE, "wrong horse battery staple")).await;
    for costs in [
        "$argon2id$v=19$m=19456,t=20000,p=1",
        "$argon2id$v=19$m=4194304,t=1,p=1",
        "$argon2id$v=19$m=19456,t=2,p=16777215",
        "$argon2id$m=19456,t=2,p=1",
        "$argon2i$v=19$m=19456,t=2,p=1",
        "$2b$12",
        "",
    ] {
        plant(&server, &format!("{costs}${TAIL}")).await;
        server.advance(Duration::from_secs(60));
        let refused = try_bob(&server).await;
        assert_eq!((refused.status, &refused.body), (wrong.status, &wrong.body), "{costs}");
        // The only worker would still be at it.
        server.log_in(ALICE).await;
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_stored_hash_that_is_never_computed_is_logged_once_with_the_users_id(store: StoreKind) {
    let home = Home::new(store);
    let server = home.serve().await;
    add(&home, BOB, PASSWORD).await.done().unwrap();
    let bob = server.log_in(BOB).await;
    home.database.execute(&format!("UPDATE users SET password_hash = 'x' WHERE username_key = '{BOB}'")).await;
    for _ in 0..3 {
        assert_eq!(server.send(login(BOB, PASSWORD)).await.status, 401);
    }
    assert_eq!(server.send(change(PASSWORD, "another good password").bearer(&bob.token)).await.status, 401);
    until("it is logged", async || server.log().contains("a stored hash")).await;
    server.stop_and_count(&bob.user, 1).await;
    let set =
        home.run_reading(&["user", "passwd", BOB, "--password-stdin"], "another good password").await.done().unwrap();
    assert!(set.starts_with("password set"), "{set}");
}

impl Process {
    async fn stop_and_count(mut self, user: &str, expected: usize) {
        self.signal(rustix::process::Signal::TERM);
        self.ended().await;
        let log = self.log();
        let lines: Vec<_> = log.lines().filter(|line| line.contains("a stored hash")).collect();
        assert_eq!(lines.len(), expected, "{log}");
        assert_eq!(field(lines[0], "user"), user);
    }
}

#[on_both_stores]
async fn a_server_and_its_commands_work_without_a_password_queue(store: StoreKind) {
    let home = Home::new(store);
    let mut command = home.server();
    command.env("SESSIOND_PASSWORD_QUEUE", "0").env("SESSIOND_PASSWORD_WORKERS", "1");
    let server = Process::start(command).await;
    for round in 0..5 {
        let mut command = home.command(&["user", "add", &format!("user{round}"), "--password-stdin"]);
        command.env("SESSIOND_PASSWORD_QUEUE", "0").env("SESSIOND_PASSWORD_WORKERS", "1");
        crate::harness::process::finish(command, PASSWORD).await.done().unwrap();
        let user = server.log_in(&format!("user{round}")).await;
        assert_eq!(server.check(&user.token).await, 200);
    }
}

#[on_both_stores]
#[cfg(target_os = "linux")]
async fn a_server_dumps_no_core(store: StoreKind) {
    let home = Home::new(store);
    let server = home.serve().await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid().as_raw_nonzero())).expect("limits");
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a line");
    assert_eq!(line.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{line}");
}

/// A server that makes up the password of its first user.
async fn first(home: &Home) -> Process {
    let mut command = home.server();
    command.env_remove("SESSIOND_ADMIN_PASSWORD");
    Process::start(command).await
}

/// A fresh server, and the password that it made up.
async fn made_up(home: &Home) -> (Process, String) {
    let server = first(home).await;
    until("it says where the password is", async || server.log().contains("made the first user")).await;
    let password = std::fs::read_to_string(home.database.first_password(home.dir.path())).expect("a password");
    (server, password.trim_end().to_owned())
}

const REMINDER: &str = "made up at the first start is still in use";

/// Whether the next start logs that the password is still in use. By then it has logged all lines of a start.
async fn reminds(home: &Home) -> bool {
    let mut server = first(home).await;
    assert_eq!(server.send(get("/verify")).await.status, 401);
    server.signal(rustix::process::Signal::TERM);
    server.ended().await;
    server.log().contains(REMINDER)
}

#[on_both_stores]
async fn a_first_password_is_reminded_of_at_each_start_until_it_is_changed_and_its_file_goes(store: StoreKind) {
    for by_command in [false, true] {
        let home = Home::new(store);
        let (server, password) = made_up(&home).await;
        let file = home.database.first_password(home.dir.path());
        assert!(!server.log().contains(REMINDER), "the first start has just said so");
        server.stop().await;
        for _ in 0..2 {
            assert!(reminds(&home).await);
            assert!(file.exists());
        }

        let server = first(&home).await;
        let alice = crate::harness::process::logged_in(&server.send(login(ALICE, &password)).await);
        let same = server.send(change(&password, &password).bearer(&alice.token)).await;
        assert_eq!(same.status, 422, "{}", same.text());
        let same = home.run_reading(&["user", "passwd", ALICE, "--password-stdin"], &password).await.refused().unwrap();
        assert!(same.contains("must differ from the current one") && file.exists(), "{same}");
        if by_command {
            home.run_reading(&["user", "passwd", ALICE, "--password-stdin"], PASSWORD).await.done().unwrap();
        } else {
            assert_eq!(server.send(change(&password, PASSWORD).bearer(&alice.token)).await.status, 200);
        }
        assert!(!file.exists(), "changed, so its file is gone");
        assert_eq!(server.send(login(ALICE, PASSWORD)).await.status, 200);
        server.stop().await;
        assert!(!reminds(&home).await);
    }
}

#[on_both_stores]
async fn a_start_says_that_no_administrator_can_log_in(store: StoreKind) {
    const NOBODY: &str = "no administrator can log in: make one, with `sessiond user edit NAME --admin`";
    let home = Home::new(store);
    home.add_user("bob").await;
    for administrator in [false, true] {
        if administrator {
            home.run(&["user", "edit", "bob", "--admin"]).await.done().unwrap();
        }
        // It has logged all lines of a start once it answers.
        let mut server = first(&home).await;
        assert_eq!(server.send(get("/verify")).await.status, 401);
        server.signal(rustix::process::Signal::TERM);
        server.ended().await;
        assert_eq!(server.log().contains(NOBODY), !administrator);
    }
}

#[on_both_stores]
async fn a_first_password_whose_file_was_deleted_is_still_reminded_of(store: StoreKind) {
    let home = Home::new(store);
    let (server, password) = made_up(&home).await;
    add(&home, BOB, PASSWORD).await.done().unwrap();
    let bob = server.log_in(BOB).await;
    assert_eq!(server.send(change(PASSWORD, "another good password").bearer(&bob.token)).await.status, 200);
    let file = home.database.first_password(home.dir.path());
    assert!(file.exists(), "another user's password was changed");
    std::fs::remove_file(&file).expect("deleted");
    server.stop().await;
    assert!(reminds(&home).await && !file.exists());
    // The change was made without this machine, so its next start deletes the file.
    std::fs::write(&file, format!("{password}\n")).expect("written");
    home.database.execute(&format!("UPDATE users SET password_hash = 'x' WHERE username_key = '{ALICE}'")).await;
    assert!(!reminds(&home).await && !file.exists());
}

#[on_both_stores]
async fn a_first_password_that_was_chosen_is_not_reminded_of(store: StoreKind) {
    let home = Home::new(store);
    home.serve().await.stop().await;
    assert!(!reminds(&home).await);
}
