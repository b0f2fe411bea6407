//! The command line: with and without a running server, and what it says when it refuses.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use sessiond_needs::on_both_stores;
use sessiond_support::process::Finished;
use sessiond_support::wait::until;

use crate::harness::process::{Home, Process, field, finish, login, serving};
use crate::harness::{ALICE, BOB, BOB_EMAIL, PASSWORD, StoreKind, get};

mod accounts;
mod configuration;
mod second_factors;

const NEXT: &str = "another good password";

/// The binary with these variables and arguments, to its end.
async fn with(home: &Home, variables: &[(&str, &str)], arguments: &[&str]) -> Finished {
    let mut command = home.command(arguments);
    command.envs(variables.iter().copied());
    finish(command, "").await
}

#[on_both_stores]
async fn users_are_added_listed_disabled_and_enabled_without_a_server(store: StoreKind) {
    let home = Home::new(store);
    let add = ["user", "add", BOB, "--email", BOB_EMAIL, "--name", "Bob B.", "--admin", "--password-stdin"];
    let added = home.run_reading(&add, &format!("{PASSWORD}\n")).await.done().unwrap();
    let id = added.split("  ").next().expect("an id");
    assert_eq!(added, format!("{id}  {BOB}\n"));
    let listed = home.run(&["user", "list"]).await.done().unwrap();
    assert_eq!(listed, format!("{id}  admin  enabled   {BOB}  {BOB_EMAIL}  Bob B.\n"));

    let last = home.run(&["user", "disable", BOB_EMAIL]).await.refused().unwrap();
    assert!(last.contains("no administrator who can log in would be left"), "{last}");
    let add = ["user", "add", ALICE, "--admin", "--password-stdin"];
    home.run_reading(&add, &format!("{PASSWORD}\n")).await.done().unwrap();
    assert_eq!(home.run(&["user", "disable", BOB_EMAIL]).await.done().unwrap(), "disabled, 0 sessions ended\n");
    assert!(home.run(&["user", "list"]).await.done().unwrap().contains("disabled"));
    assert_eq!(home.run(&["user", "enable", BOB]).await.done().unwrap(), "enabled\n");

    for (arguments, words) in [
        (&["user", "add", "BOB", "--password-stdin"][..], "the username is taken"),
        (&["user", "add", "b o b", "--password-stdin"], "username must not contain white space"),
        (&["user", "disable", "nobody"], "there is no user `nobody`"),
        (&["session", "list", "nobody"], "there is no user `nobody`"),
        (&["session", "revoke", "23456789ABCDEFGHJ"], "there is no live session"),
        (&["session", "revoke", "not-an-id"], "there is no live session"),
        (&["session", "revoke"], "say which"),
    ] {
        let sentence = home.run_reading(arguments, PASSWORD).await.refused().unwrap();
        assert!(sentence.contains(words), "{arguments:?}: {sentence}");
    }
}

#[on_both_stores]
async fn a_user_added_beside_a_running_server_logs_in_at_once(store: StoreKind) {
    let (_home, server) = serving(store).await;
    let bob = server.log_in(BOB).await;
    assert_eq!(server.check(&bob.token).await, 200);
}

#[on_both_stores]
async fn a_password_comes_from_standard_input_only(store: StoreKind) {
    let home = Home::new(store);
    let argument = home.run(&["user", "add", BOB, "--password", PASSWORD]).await.refused().unwrap();
    assert!(argument.contains("unexpected argument"), "{argument}");
    let argument = home.run(&["check-config", "--admin-password", PASSWORD]).await.refused().unwrap();
    assert!(argument.contains("unexpected argument") && !argument.contains(PASSWORD), "{argument}");
    let nowhere = home.run(&["user", "add", BOB]).await.refused().unwrap();
    assert!(nowhere.contains("--password-stdin"), "{nowhere}");
    let short = home.run_reading(&["user", "add", BOB, "--password-stdin"], "short\n").await.refused().unwrap();
    assert!(short.contains("password must have at least 8 characters"), "{short}");
    assert_eq!(home.run(&["user", "list"]).await.done().unwrap(), "");
}

#[on_both_stores]
async fn a_set_password_is_the_password_and_ends_every_session(store: StoreKind) {
    let (home, server) = serving(store).await;
    let bob = server.log_in(BOB).await;
    let set =
        home.run_reading(&["user", "passwd", BOB, "--password-stdin"], &format!("{NEXT}\r\n")).await.done().unwrap();
    assert_eq!(set, "password set, 1 sessions ended\n");
    assert_eq!(server.check(&bob.token).await, 401);
    assert_eq!(server.send(login(BOB, PASSWORD)).await.status, 401);
    assert_eq!(server.send(login(BOB, NEXT)).await.status, 200);
}

#[on_both_stores]
async fn sessions_are_listed_newest_first_and_revoked_by_id_and_by_user(store: StoreKind) {
    let (home, server) = serving(store).await;
    let [old, new, alice] = [server.log_in(BOB).await, server.log_in(BOB).await, server.log_in(ALICE).await];
    let listed = home.run(&["session", "list", BOB]).await.done().unwrap();
    let ids: Vec<_> = listed.lines().filter_map(|line| line.split("  ").next()).collect();
    assert_eq!(ids, [&new.session, &old.session]);

    assert_eq!(home.run(&["session", "revoke", &new.session]).await.done().unwrap(), "1 session ended\n");
    assert_eq!((server.check(&new.token).await, server.check(&old.token).await), (401, 200));
    home.run(&["session", "revoke", &new.session]).await.refused().unwrap();
    assert_eq!(home.run(&["session", "revoke", "--user", BOB]).await.done().unwrap(), "1 sessions ended\n");
    assert_eq!((server.check(&old.token).await, server.check(&alice.token).await), (401, 200));

    server.stop().await;
    assert_eq!(
        home.run(&["session", "revoke", "--user", ALICE]).await.done().unwrap(),
        "1 sessions ended\n",
        "without a server"
    );
    assert_eq!(home.serve().await.check(&alice.token).await, 401);
}

#[on_both_stores]
async fn what_a_command_ended_is_refused_by_the_server_when_the_command_returns(store: StoreKind) {
    let (home, server) = serving(store).await;
    for round in 0..20 {
        let bob = server.log_in(BOB).await;
        assert_eq!(server.check(&bob.token).await, 200, "and kept in memory");
        let command = match round % 3 {
            0 => home.run(&["session", "revoke", &bob.session]).await,
            1 => home.run(&["session", "revoke", "--user", BOB]).await,
            _ => home.run(&["user", "disable", BOB]).await,
        };
        command.done().unwrap();
        assert_eq!(server.check(&bob.token).await, 401, "round {round}");
        if round % 3 == 2 {
            assert_eq!(server.send(login(BOB, PASSWORD)).await.status, 401, "round {round}");
            home.run(&["user", "enable", BOB]).await.done().unwrap();
        }
    }
}

#[on_both_stores]
async fn disabling_a_user_without_sessions_is_confirmed_after_a_logout(store: StoreKind) {
    let (home, server) = serving(store).await;
    let alice = server.log_in(ALICE).await;
    server.send(crate::harness::post("/api/v1/auth/logout").bearer(&alice.token)).await;
    assert_eq!(home.run(&["user", "disable", BOB]).await.done().unwrap(), "disabled, 0 sessions ended\n");
}

#[on_both_stores]
async fn migrate_brings_a_database_up_to_date_and_does_nothing_else(store: StoreKind) {
    let home = Home::new(store);
    assert_eq!(home.run(&["migrate"]).await.done().unwrap(), "");
    assert_eq!(home.run(&["migrate"]).await.done().unwrap(), "", "twice is fine");
    assert_eq!(home.run(&["user", "list"]).await.done().unwrap(), "", "no first user");
    assert_eq!(home.database.number("SELECT count(*) FROM replicas").await, 0, "nor a server");
}

#[tokio::test]
async fn a_command_in_the_wrong_directory_makes_no_database() {
    let home = Home::new(StoreKind::Sqlite);
    for arguments in [
        &["user", "list"][..],
        &["user", "passwd", BOB, "--password-stdin"],
        &["user", "disable", BOB],
        &["session", "list", BOB],
        &["session", "revoke", "--user", BOB],
        &["replicas"],
    ] {
        let elsewhere = format!("sqlite://{}", home.dir.path().join("elsewhere.db").display());
        let sentence = with(&home, &[("SESSIOND_DATABASE_URL", &elsewhere)], arguments).await.refused().unwrap();
        assert!(sentence.contains("there is no database at") && sentence.contains("elsewhere.db:"), "{sentence}");
        assert!(!home.dir.path().join("elsewhere.db").exists(), "{arguments:?}");
    }
}

#[on_both_stores]
async fn a_reader_that_has_enough_hears_no_complaint(store: StoreKind) {
    let home = Home::new(store);
    home.add_user(ALICE).await;
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut list = home.command(&["user", "list"]);
    let list = list.stdout(writer).stderr(Stdio::piped()).spawn().expect("starts");
    let listed = list.wait_with_output().await.expect("ends");
    assert_eq!(String::from_utf8_lossy(&listed.stderr), "");
    assert!(!listed.status.success(), "what was asked for was not printed");
}

#[on_both_stores]
async fn healthcheck_says_whether_the_server_is_ready(store: StoreKind) {
    let (home, server) = serving(store).await;
    let ops = [("SESSIOND_OPS_LISTEN", server.ops.as_str())];
    with(&home, &ops, &["healthcheck"]).await.done().unwrap();
    let ops = [("SESSIOND_OPS_LISTEN", server.listen.as_str())];
    let other = with(&home, &ops, &["healthcheck"]).await.refused().unwrap();
    assert!(other.contains("not ready"), "another listener: {other}");
    let ops = server.ops.clone();
    server.stop().await;
    let sentence = with(&home, &[("SESSIOND_OPS_LISTEN", &ops)], &["healthcheck"]).await.refused().unwrap();
    assert!(sentence.contains(&format!("{ops} does not answer")), "{sentence}");
}

#[on_both_stores]
async fn a_secret_is_read_from_no_pipe_and_from_nothing_without_an_end(store: StoreKind) {
    let home = Home::new(store);
    let pipe = home.dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    let pipe = pipe.to_str().expect("UTF-8");
    for (name, path, why) in [
        ("SESSIOND_ADMIN_PASSWORD_FILE", pipe, "it is a pipe"),
        ("SESSIOND_CONFIG", pipe, "it is a pipe"),
        ("SESSIOND_ADMIN_PASSWORD_FILE", "/dev/zero", "it is larger than 64 KiB"),
    ] {
        let refused = with(&home, &[(name, path)], &["check-config"]).await.refused().unwrap();
        assert!(refused.contains(why), "{name} {path}: {refused}");
    }
}

#[on_both_stores]
async fn a_first_start_without_a_terminal_keeps_the_password_in_a_file_that_works(store: StoreKind) {
    let home = Home::new(store);
    let first = || {
        let mut command = home.server();
        command.env_remove("SESSIOND_ADMIN_USERNAME").env_remove("SESSIOND_ADMIN_PASSWORD");
        command
    };
    let server = Process::start(first()).await;
    until("it says where the password is", async || server.log().contains("password_file")).await;
    let log = server.log();
    let line = log.lines().find(|line| line.contains("password_file")).expect("a line");
    let path = home.dir.path().join(field(line, "password_file"));
    let mode = std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let password = std::fs::read_to_string(&path).expect("a password");
    let password = password.trim_end();
    assert!(password.len() >= 32 && !log.contains(password) && !server.printed().contains(password));
    assert_eq!(server.send(login("admin", password)).await.status, 200);
    server.stop().await;

    std::fs::remove_file(&path).expect("deleted, as the log advises");
    let again = Process::start(first()).await;
    assert_eq!(again.send(login("admin", password)).await.status, 200);
    assert!(!path.exists() && !again.log().contains("password_file"), "the first time only");
}

#[on_both_stores]
async fn a_first_password_is_readable_by_its_owner_only_even_where_a_file_existed(store: StoreKind) {
    let home = Home::new(store);
    let path = home.database.first_password(home.dir.path());
    std::fs::write(&path, "left over\n").expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("set");
    let mut command = home.server();
    command.env_remove("SESSIOND_ADMIN_PASSWORD");
    let server = Process::start(command).await;
    assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    let password = std::fs::read_to_string(&path).expect("a password");
    assert_eq!(server.send(login(ALICE, password.trim_end())).await.status, 200);
}

#[on_both_stores]
async fn a_first_password_that_cannot_be_set_is_refused_and_no_user_is_made(store: StoreKind) {
    let home = Home::new(store);
    let mut command = home.server();
    command.env("SESSIOND_ADMIN_PASSWORD", "short");
    let sentence = finish(command, "").await.refused().unwrap();
    assert!(sentence.contains("password must have at least 8 characters"), "{sentence}");
    home.run(&["migrate"]).await.done().unwrap();
    assert_eq!(home.run(&["user", "list"]).await.done().unwrap(), "");
}

#[on_both_stores]
async fn a_start_that_fails_makes_no_first_user_whose_password_was_not_shown(store: StoreKind) {
    let (_other, taken) = serving(store).await;
    let home = Home::new(store);
    let mut command = home.server();
    command.env_remove("SESSIOND_ADMIN_PASSWORD").env("SESSIOND_OPS_LISTEN", &taken.ops);
    let sentence = finish(command, "").await.refused().unwrap();
    assert!(sentence.contains(&format!("cannot listen on {}", taken.ops)), "{sentence}");
    home.run(&["migrate"]).await.done().unwrap();
    assert_eq!(home.run(&["user", "list"]).await.done().unwrap(), "");
    let mut command = home.server();
    command.env_remove("SESSIOND_ADMIN_PASSWORD");
    let server = Process::start(command).await;
    until("it says where the password is", async || server.log().contains("password_file")).await;
}

#[on_both_stores]
async fn serving_is_the_default_and_a_taken_address_is_named(store: StoreKind) {
    let (home, server) = serving(store).await;
    let other = Home::new(store);
    let arguments = ["--listen", &server.listen, "--ops-listen", "127.0.0.1:0"];
    let variables = [("SESSIOND_ADMIN_PASSWORD", PASSWORD)];
    let sentence = with(&other, &variables, &arguments).await.refused().unwrap();
    assert!(sentence.contains(&format!("cannot listen on {}", server.listen)), "{sentence}");
    assert_eq!(server.send(get("/verify")).await.status, 401);
    drop(home);
}
