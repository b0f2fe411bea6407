//! Second factors that come along from elsewhere: in force at once, with the codes of the authenticator that people have.

use std::process::Command;

use sessiond_needs::{needs, on_both_stores};

use super::{BCRYPT, import, status, users};
use crate::harness::authenticator::login_with_code;
use crate::harness::process::{Home, Process, finish};
use crate::harness::{PASSWORD, StoreKind};

/// Secrets as programs write them: of 80 and 160 bits, and the 32 characters of Rocket.Chat's in base32.
const SECRETS: [&str; 4] = [
    "JBSWY3DPEHPK3PXP",
    "gezd gnbv gy3t qojq gezd gnbv gy3t qojq",
    "PJXXA4BUKRUWMSKTJRYEQYKZNFGW6VKJGI3UKVKHMJWFM2CKNJSQ",
    "GEZDGNBVGY3TQOJQGEZDGNBVGY======",
];

fn user(username: &str, more: &str) -> String {
    format!(r#"{{"username":"{username}","scheme":"bcrypt","hash":"{BCRYPT}"{more}}}"#) + "\n"
}

/// What another authenticator shows now.
fn oathtool(secret: &str) -> String {
    let told = Command::new("oathtool").args(["--totp", "--base32", secret]).output().expect("it runs");
    String::from_utf8(told.stdout).expect("text").trim().to_owned()
}

/// A login without a code, with one that is wrong, with the right one, and with that one again.
async fn assert_asks_for_a_code(server: &Process, username: &str, secret: &str) {
    let without = server.send(login_with_code(username, "")).await;
    assert_eq!(without.status, 401, "{username}: {}", without.text());
    assert_eq!(without.json()["type"], "second_factor_required_error");
    assert!(without.cookie().is_none() && without.json().get("token").is_none(), "{}", without.text());
    let code = oathtool(secret);
    let wrong = format!("{:06}", (code.parse::<u32>().expect("digits") + 1) % 1_000_000);
    assert_eq!(server.send(login_with_code(username, &wrong)).await.status, 401, "{username}");
    let right = server.send(login_with_code(username, &code)).await;
    assert_eq!(right.status, 200, "{username}: {}", right.text());
    assert_eq!(server.check(right.json()["token"].as_str().expect("a token")).await, 200);
    assert_eq!(server.send(login_with_code(username, &code)).await.status, 401, "{username}: a code is good once");
}

#[needs(oathtool)]
#[on_both_stores]
async fn a_login_asks_for_the_codes_of_the_authenticator_there(store: StoreKind) {
    let home = Home::new(store);
    let secrets = SECRETS.iter().enumerate();
    let line = |(number, secret)| user(&format!("user{number}"), &format!(r#","totp_secret":"{secret}""#));
    let file = secrets.clone().map(line).collect::<String>() + &user("bob", r#","totp_secret":null"#);
    let imported = import(&home, &[], &file).await;
    assert!(imported.err.contains("the second factors of 4 users come without recovery codes"), "{}", imported.err);
    let printed = format!("{}{}", imported.out, imported.err);
    assert_eq!(imported.done().unwrap(), "imported 5\n");
    assert!(SECRETS.iter().all(|secret| !printed.contains(secret)), "{printed}");

    let server = home.serve().await;
    for (number, secret) in secrets {
        assert_asks_for_a_code(&server, &format!("user{number}"), secret).await;
    }
    assert_eq!(status(&server, "bob", PASSWORD).await, 200);
    server.stop().await;
}

#[needs(oathtool)]
#[on_both_stores]
async fn of_rocket_chats_factors_those_that_are_on_are_taken_over(store: StoreKind) {
    let home = Home::new(store);
    let secret = SECRETS[2];
    let document = |username: &str, more: &str| {
        let sha256_of_the_password = "$2b$10$bepkAlFdEWfDZjOLgw50begvAy/lKIW.6DMPj8enI6Uorb6DezNwu";
        format!(
            r#"{{"_id":"{username}","username":"{username}","services":{{"password":{{"bcrypt":"{sha256_of_the_password}"}}{more}}}}}"#
        ) + "\n"
    };
    let on = format!(r#","totp":{{"enabled":true,"secret":"{secret}","hashedBackup":["5e88","9f86"]}}"#);
    let off = format!(r#","totp":{{"enabled":false,"secret":"{secret}"}}"#);
    let by_email = r#","email2fa":{"enabled":true}"#;
    let file = document("alice", &on) + &document("bob", &off) + &document("carol", by_email);
    let imported = import(&home, &["--format", "rocketchat"], &file).await;
    for note in ["the second factors of 1 users come without recovery codes", "1 users get codes by e-mail there"] {
        assert_eq!(imported.err.matches(note).count(), 1, "{note}: {}", imported.err);
    }
    assert_eq!(imported.done().unwrap(), "imported 3\n");
    let server = home.serve().await;
    assert_asks_for_a_code(&server, "alice", secret).await;
    assert_eq!([status(&server, "bob", PASSWORD).await, status(&server, "carol", PASSWORD).await], [200, 200]);
    server.stop().await;
}

#[on_both_stores]
async fn a_bad_secret_is_a_bad_line_and_is_never_shown(store: StoreKind) {
    let home = Home::new(store);
    let bad = ["", "JBSWY3DPEHPK3PX1", "JBSWY3DPEHPK"];
    let secrets = bad.iter().zip(["ann", "bea", "cem"]);
    let file: String = secrets.map(|(secret, name)| user(name, &format!(r#","totp_secret":"{secret}""#))).collect();
    let file = file + &user("dan", r#","totp_secret":12345678901234567890"#);
    let refused = import(&home, &[], &file).await;
    let printed = refused.out.clone();
    for line in ["line 1: ann: the secret of its", "line 2: bea: the secret of its", "line 3: cem: the secret of its"] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    assert!(printed.contains("line 4: dan: its member `totp_secret` must be a string"), "{printed}");
    assert!(bad[1..].iter().all(|secret| !printed.contains(secret)) && !printed.contains("1234567890"), "{printed}");
    refused.refused().unwrap();
    assert_eq!(users(&home).await, []);

    let dropped = import(&home, &["--drop-second-factors", "--skip-bad"], &file).await;
    assert!(dropped.err.contains("3 users have a second factor there"), "{}", dropped.err);
    assert_eq!(users(&home).await.len(), 3);
    assert_eq!(home.database.number("SELECT count(*) FROM second_factors").await, 0);
}

#[on_both_stores]
async fn a_secret_is_sealed_under_the_key_that_the_servers_have(store: StoreKind) {
    let home = Home::new(store);
    let key = home.dir.path().join("key");
    std::fs::write(&key, "5e".repeat(32)).expect("written");
    let import_with_key = async |file: &str| {
        let mut command = home.command(&["user", "import", "-"]);
        command.env("SESSIOND_SECRET_KEY_FILE", &key);
        finish(command, file).await
    };
    let with_factor = |username: &str| user(username, r#","totp_secret":"JBSWY3DPEHPK3PXP""#);
    import_with_key(&with_factor("ann")).await.done().unwrap();
    let refused = import(&home, &[], &with_factor("bob")).await.refused().unwrap();
    assert!(refused.contains("SESSIOND_SECRET_KEY_FILE"), "{refused}");
    assert_eq!(users(&home).await.len(), 1);
    assert_eq!(import(&home, &[], &user("carol", "")).await.done().unwrap(), "imported 1\n");
    import_with_key(&with_factor("bob")).await.done().unwrap();
}

#[needs(oathtool)]
#[on_both_stores]
async fn secrets_are_exported_where_that_is_asked_for_and_imported_again(store: StoreKind) {
    let home = Home::new(store);
    let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let file = user("ann", &format!(r#","totp_secret":"{secret}""#)) + &user("bob", "");
    import(&home, &[], &file).await.done().unwrap();
    let without = home.run(&["user", "export"]).await;
    assert!(without.err.contains("the second factors of 1 users were left out"), "{}", without.err);
    assert!(!format!("{without:?}").contains(secret));
    assert_eq!(without.done().unwrap().lines().count(), 2);

    let with = home.run(&["user", "export", "--second-factors"]).await;
    assert!(with.err.contains("1 users were exported, and no recovery codes"), "{}", with.err);
    let lines = with.done().unwrap();
    assert_eq!(lines.matches(&format!(r#""totp_secret":"{secret}""#)).count(), 1, "{lines}");
    assert_eq!(lines.matches("totp_secret").count(), 1, "{lines}");
    for other in [StoreKind::Sqlite, store] {
        let other = Home::new(other);
        assert_eq!(import(&other, &[], &lines).await.done().unwrap(), "imported 2\n");
        assert_eq!(other.run(&["user", "export", "--second-factors"]).await.done().unwrap(), lines);
        let server = other.serve().await;
        assert_asks_for_a_code(&server, "ann", secret).await;
        assert_eq!(status(&server, "bob", PASSWORD).await, 200);
        server.stop().await;
    }
}

#[on_both_stores]
async fn what_cannot_be_decrypted_is_not_exported_as_no_factor(store: StoreKind) {
    let home = Home::new(store);
    let key = home.dir.path().join("key");
    std::fs::write(&key, "5e".repeat(32)).expect("written");
    let with_key = async |arguments: &[&str], input: &str| {
        let mut command = home.command(arguments);
        command.env("SESSIOND_SECRET_KEY_FILE", &key);
        finish(command, input).await
    };
    let ann = user("ann", r#","totp_secret":"JBSWY3DPEHPK3PXP""#);
    with_key(&["user", "import", "-"], &ann).await.done().unwrap();
    let path = home.dir.path().join("everybody.jsonl");
    let export = ["user", "export", "--second-factors", "--output", path.to_str().expect("UTF-8")];
    let refused = home.run(&export).await.refused().unwrap();
    assert!(refused.contains("1 users are encrypted under a key which is not here"), "{refused}");
    assert!(!path.exists());
    with_key(&export, "").await.done().unwrap();
    assert!(std::fs::read_to_string(&path).expect("written").contains("JBSWY3DPEHPK3PXP"));
}
