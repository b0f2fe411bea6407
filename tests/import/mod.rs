//! Users who come from elsewhere: what is imported logs in over HTTP, what cannot be is named, and all of it is given back.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use sessiond_needs::on_both_stores;
use sessiond_support::database;
use sessiond_support::wait::until;
use tokio::time::Instant;

use crate::harness::process::{Home, Process, login};
use crate::harness::{ALICE, PASSWORD, StoreKind};

mod beside;
mod programs;
mod second_factors;

/// Hashes made by the programs themselves, with their passwords and what is to become of them.
const VECTORS: &str = include_str!("vectors.jsonl");
const BCRYPT: &str = "$2b$10$KHneOWoZ8g..YBCapkdvAuIgKEyKsPIkB0kQBrn3m1tnaDx6UVwQu";

fn vectors() -> Vec<Value> {
    VECTORS.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn text<'v>(vector: &'v Value, member: &str) -> &'v str {
    vector[member].as_str().unwrap_or_default()
}

/// A line of a file for each vector.
fn lines() -> String {
    let line = |vector: &Value| {
        json!({"username": vector["username"], "scheme": vector["scheme"], "hash": vector["hash"]}).to_string() + "\n"
    };
    vectors().iter().map(line).collect()
}

/// Imports from standard input.
async fn import(home: &Home, more: &[&str], file: &str) -> sessiond_support::process::Finished {
    home.run_reading(&[&["user", "import", "-"], more].concat(), file).await
}

/// The status of a login.
async fn status(server: &Process, username: &str, password: &str) -> u16 {
    server.send(login(username, password)).await.status
}

/// The usernames and stored hashes of everybody, in the order of usernames.
async fn users(home: &Home) -> Vec<(String, String)> {
    let rows = home.database.rows("SELECT username, password_hash FROM users ORDER BY username_key").await;
    rows.into_iter().map(|row| (row[0].clone().expect("a name"), row[1].clone().expect("a hash"))).collect()
}

#[on_both_stores]
async fn every_vector_logs_in_and_has_a_hash_of_ours_from_then_on(store: StoreKind) {
    let home = Home::new(store);
    let imported = import(&home, &["--skip-bad"], &lines()).await;
    let bad: Vec<_> =
        vectors().into_iter().filter(|it| matches!(text(it, "expect"), "refuse-line" | "decide")).collect();
    let said = imported.refused().unwrap();
    assert!(said.contains(&format!("{} users were not taken over", bad.len())), "{said}");

    let server = home.serve().await;
    for vector in vectors() {
        let (username, password) = (text(&vector, "username"), text(&vector, "password"));
        match text(&vector, "expect") {
            "ok" | "ok-as-typed" => {
                assert_eq!(status(&server, username, text(&vector, "hash")).await, 401, "{username}: its hash");
                assert_eq!(status(&server, username, "").await, 401, "{username}: nothing");
                assert_eq!(status(&server, username, password).await, 200, "{username}");
                assert_eq!(status(&server, username, password).await, 200, "{username}: again");
            }
            "no-password" => {
                for typed in [password, "!", text(&vector, "hash")] {
                    assert_eq!(status(&server, username, typed).await, 401, "{username}");
                }
            }
            _ => assert_eq!(status(&server, username, password).await, 401, "{username}"),
        }
    }
    for (username, hash) in users(&home).await {
        let ours = hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$");
        assert!(ours || hash == "!", "{username}: {hash}");
    }
    assert_eq!(users(&home).await.len(), vectors().len() - bad.len());
    // All that counts is what is typed: the tail that bcrypt does not see does from the first login on.
    let long = vectors().into_iter().find(|it| text(it, "username") == "bcrypt_72_plus").expect("there");
    assert_eq!(status(&server, "bcrypt_72_plus", &text(&long, "password")[..72]).await, 401);
    server.stop().await;
}

#[on_both_stores]
async fn refusals_are_quick_again_once_nobody_has_a_slow_hash(store: StoreKind) {
    let home = Home::new(store);
    let slow = vectors().into_iter().find(|it| text(it, "username") == "django_bcrypt_sha256").expect("there");
    let (username, password) = (text(&slow, "username"), text(&slow, "password"));
    let line = json!({"username": username, "scheme": slow["scheme"], "hash": slow["hash"]}).to_string();
    import(&home, &[], &line).await.done().unwrap();
    let server = home.serve().await;
    let mut number = 0;
    let mut refusal = async || {
        number += 1;
        let begin = Instant::now();
        assert_eq!(status(&server, &format!("nobody{number}"), password).await, 401);
        begin.elapsed()
    };
    let mut before = refusal().await;
    for _ in 0..3 {
        before = before.min(refusal().await);
    }
    assert_eq!(status(&server, username, password).await, 200);
    // What is slow is bcrypt of cost 12, which takes many times as long as a hash of ours.
    until("refusals take less than half as long", async || refusal().await < before / 2).await;
    server.stop().await;
}

#[on_both_stores]
async fn of_a_file_with_a_bad_line_nothing_is_imported(store: StoreKind) {
    let home = Home::new(store);
    let output = import(&home, &[], &lines()).await;
    let (printed, said) = (output.out.clone(), output.refused().unwrap());
    assert!(said.contains("cannot be taken over, so none was"), "{said}");
    assert_eq!(users(&home).await, []);
    let listed: Vec<_> = printed.lines().collect();
    assert_eq!(listed[0], "imported 0");
    let bad = vectors().into_iter().zip(1..).filter(|(it, _)| matches!(text(it, "expect"), "refuse-line" | "decide"));
    let bad: Vec<_> =
        bad.map(|(it, line)| (line, text(&it, "username").to_owned(), text(&it, "hash").to_owned())).collect();
    assert_eq!(listed.len(), 1 + bad.len(), "{printed}");
    for ((line, username, hash), listed) in bad.iter().zip(&listed[1..]) {
        assert!(listed.starts_with(&format!("line {line}: {username}: its hash ")), "{listed}");
        assert!(!printed.contains(hash.get(8..).expect("long")), "{listed}");
    }
}

#[on_both_stores]
async fn importing_again_changes_nothing(store: StoreKind) {
    let home = Home::new(store);
    let file = format!("alice:{BCRYPT}\nbob:{BCRYPT}\n");
    let format = ["--format", "htpasswd"];
    assert_eq!(import(&home, &format, &file).await.done().unwrap(), "imported 2\n");
    home.run_reading(&["user", "passwd", ALICE, "--password-stdin"], "another good password").await.done().unwrap();
    let before = users(&home).await;
    let events = home.database.number("SELECT count(*) FROM events").await;
    for more in [&[][..], &["--skip-bad"]] {
        let again = import(&home, &[&format[..], more].concat(), &file).await;
        assert!(again.out.contains("line 1: alice: it is the same username as alice (there already)"));
        again.refused().unwrap();
    }
    assert_eq!(users(&home).await, before);
    assert_eq!(home.database.number("SELECT count(*) FROM events").await, events);
}

#[on_both_stores]
async fn a_dry_run_says_what_would_be_done_and_changes_nothing(store: StoreKind) {
    let home = Home::new(store);
    home.add_user("Bob").await;
    let file = format!("alice:{BCRYPT}\n");
    let dry = ["--format", "htpasswd", "--dry-run"];
    assert_eq!(import(&home, &dry, &file).await.done().unwrap(), "would import 1\n");
    let clash = import(&home, &dry, &format!("{file}bob:{BCRYPT}\n")).await;
    assert!(clash.out.ends_with("line 2: bob: it is the same username as Bob (there already)\n"));
    clash.refused().unwrap();
    assert_eq!(users(&home).await.len(), 1);
}

#[on_both_stores]
async fn what_a_line_says_of_a_user_counts(store: StoreKind) {
    let home = Home::new(store);
    let line = |username: &str, more: &str| {
        format!("{{\"username\":\"{username}\",\"scheme\":\"bcrypt\",\"hash\":\"{BCRYPT}\"{more}}}\n")
    };
    let root =
        line("root", ",\"admin\":true,\"id\":\"23456789ABCDEFGHJ\",\"email\":\"root@example.com\",\"name\":\"R. Oot\"");
    let disabled = line("gone", ",\"disabled\":true,\"created_at\":\"2020-01-02T03:04:05.678Z\"");
    let file = root.clone() + &disabled + &line("new", ",\"must_change_password\":true");
    import(&home, &["--allow-admins"], &file).await.done().unwrap();
    let granted =
        "SELECT count(*) FROM events WHERE kind = 'admin_granted' AND user_id = '23456789ABCDEFGHJ' AND name = 'root'";
    assert_eq!(home.database.number(granted).await, 1);
    assert_eq!(home.database.number("SELECT count(*) FROM events WHERE kind = 'admin_granted'").await, 1);
    let listed = home.run(&["user", "list"]).await.done().unwrap();
    assert!(listed.contains("23456789ABCDEFGHJ  admin  enabled   root  root@example.com  R. Oot\n"), "{listed}");
    assert!(listed.contains("  user   disabled  gone  -  gone\n"), "{listed}");
    assert_eq!(home.database.number("SELECT created_at FROM users WHERE username = 'gone'").await, 1_577_934_245_678);
    let server = home.serve().await;
    assert_eq!(status(&server, "root@example.com", PASSWORD).await, 200);
    assert_eq!(status(&server, "gone", PASSWORD).await, 401);
    assert_eq!(status(&server, "new", PASSWORD).await, 403, "it has to be changed first");
    server.stop().await;

    let home = Home::new(store);
    let ordinary = import(&home, &[], &root).await;
    assert_eq!(ordinary.done().unwrap(), "imported 1\n");
    assert!(home.run(&["user", "list"]).await.done().unwrap().contains("  user   enabled   root"));
}

#[on_both_stores]
async fn an_import_is_in_the_audit_with_each_of_its_users(store: StoreKind) {
    let home = Home::new(store);
    let file: String = (0..1200).map(|number| format!("user{number}:{BCRYPT}\n")).collect();
    assert_eq!(import(&home, &["--format", "htpasswd"], &file).await.done().unwrap(), "imported 1200\n");
    let events = "SELECT kind, actor, count(*), max(count) FROM events GROUP BY kind, actor ORDER BY kind";
    let events = home.database.rows(events).await;
    let events: Vec<Vec<_>> = events.into_iter().map(|row| row.into_iter().flatten().collect()).collect();
    assert_eq!(events, [["user_created", "cli", "1200", "1"], ["users_imported", "cli", "1", "1200"]]);
    let unknown = "SELECT count(*) FROM events WHERE user_id NOT IN (SELECT id FROM users)";
    assert_eq!(home.database.number(unknown).await, 0);
}

#[on_both_stores]
async fn what_is_exported_is_imported_and_exported_the_same(store: StoreKind) {
    let home = Home::new(store);
    import(&home, &["--skip-bad"], &lines()).await.refused().unwrap();
    let root = format!(
        "{{\"username\":\"Root\",\"scheme\":\"bcrypt\",\"hash\":\"{BCRYPT}\",\"admin\":true,\"disabled\":true}}"
    );
    import(&home, &["--allow-admins"], &root).await.done().unwrap();
    home.add_user("Zoë").await;

    let exported = home.run(&["user", "export"]).await.done().unwrap();
    assert_eq!(exported.lines().count(), users(&home).await.len());
    let file = home.dir.path().join("everybody.jsonl");
    let path = file.to_str().expect("UTF-8");
    let said = home.run(&["user", "export", "--output", path]).await.done().unwrap();
    assert!(said.starts_with("exported "), "{said}");
    assert_eq!(std::fs::read_to_string(&file).expect("written"), exported);
    assert_eq!(file.metadata().expect("there").permissions().mode() & 0o777, 0o600);
    let again = home.run(&["user", "export", "--output", path]).await.refused().unwrap();
    assert!(again.contains("exists"), "{again}");
    home.run(&["user", "export", "--second-factors"]).await.done().unwrap();
    let events = "SELECT actor, count, detail FROM events WHERE kind = 'users_exported' ORDER BY number";
    let events = home.database.rows(events).await;
    let everybody = exported.lines().count().to_string();
    let event = |detail: Option<&str>| vec![Some("cli".to_owned()), Some(everybody.clone()), detail.map(str::to_owned)];
    assert_eq!(events.first(), Some(&event(None)));
    assert_eq!(events.last(), Some(&event(Some("second_factors"))));

    let other = Home::new(store);
    let all = format!("imported {}\n", exported.lines().count());
    assert_eq!(other.run(&["user", "import", "--allow-admins", path]).await.done().unwrap(), all);
    assert_eq!(other.run(&["user", "export"]).await.done().unwrap(), exported);
    let server = other.serve().await;
    for (username, expected) in [("Zoë", 200), ("bcrypt_2b", 200), ("root", 401)] {
        assert_eq!(status(&server, username, PASSWORD).await, expected, "{username}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn an_unusable_hash_and_a_file_that_is_none_are_said_in_a_sentence(store: StoreKind) {
    let home = Home::new(store);
    home.add_user("bob").await;
    home.database.execute("UPDATE users SET password_hash = 'bcrypt:$2b$31$x'").await;
    let exported = home.run(&["user", "export"]).await;
    assert!(exported.err.contains("bob was exported without a password"), "{}", exported.err);
    assert!(exported.done().unwrap().contains("\"scheme\":\"none\""));
    for (arguments, words) in [
        (&["user", "import", "/no/such/file"][..], "cannot read /no/such/file"),
        (&["user", "import", "--format", "medama", "-"], "in a database"),
        (&["user", "import", "--format", "medama", "/no/such/file"], "is not a database of Medama's"),
        (&["user", "import", "--format", "django", "-"], "is not JSON"),
        (&["user", "import", "--format", "guess", "-"], "invalid value"),
    ] {
        let sentence = home.run_reading(arguments, "[{").await.refused().unwrap();
        assert!(sentence.contains(words), "{arguments:?}: {sentence}");
    }
    let server = home.serve().await;
    assert_eq!(status(&server, "bob", PASSWORD).await, 401);
    server.stop().await;
}

#[on_both_stores]
async fn medamas_database_is_read_and_left_as_it_is(store: StoreKind) {
    let home = Home::new(store);
    let path = home.dir.path().join("medama.db");
    std::fs::write(&path, "").expect("written");
    let medama = vectors().into_iter().find(|it| text(it, "username") == "medama").expect("there");
    let made = format!(
        "CREATE TABLE users (id TEXT PRIMARY KEY, username TEXT NOT NULL UNIQUE, password TEXT NOT NULL,
             settings TEXT, date_created INTEGER NOT NULL, date_updated INTEGER NOT NULL);
         INSERT INTO users VALUES ('1', 'admin', '{}', '{{}}', 1700000000, 1700000000);
         INSERT INTO users VALUES ('2', 'Admin', 'x', '{{}}', 1700000001, 1700000001)",
        text(&medama, "hash")
    );
    database::execute(&format!("sqlite://{}", path.display()), &made).await.expect("made");
    let before = std::fs::read(&path).expect("bytes");
    let path = path.to_str().expect("UTF-8");
    let twins = home.run(&["user", "import", "--format", "medama", path]).await;
    let printed = twins.out.clone();
    assert!(printed.contains("line 1: admin: it is the same username as Admin (line 2)"), "{printed}");
    twins.refused().unwrap();

    database::execute(&format!("sqlite://{path}"), "DELETE FROM users WHERE id = '2'").await.expect("deleted");
    assert_ne!(std::fs::read(path).expect("bytes"), before);
    let before = std::fs::read(path).expect("bytes");
    assert_eq!(home.run(&["user", "import", "--format", "medama", path]).await.done().unwrap(), "imported 1\n");
    assert_eq!(std::fs::read(path).expect("bytes"), before);
    assert_eq!(home.database.number("SELECT created_at FROM users").await, 1_700_000_000_000);
    let server = home.serve().await;
    assert_eq!(status(&server, "ADMIN", text(&medama, "password")).await, 200);
    server.stop().await;
}
