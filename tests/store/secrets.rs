//! No token, no cookie, no password, no key and nothing of a second factor is found in the log, in the database or in an
//! answer to anybody else.

use data_encoding::BASE32_NOPAD;
use sessiond::config::DatabaseUrl;
use sessiond::domain::clock::{Clock as _, SystemClock};
use sessiond_needs::on_both_stores;
use sha2::{Digest as _, Sha256};

use crate::harness::authenticator::{SECOND_FACTOR, STEP, code, confirm, texts};
use crate::harness::process::{Home, Process, field};
use crate::harness::{ALICE, Database, PASSWORD, Reply, StoreKind, ask, get, post};

const WRONG: &str = "wrong-password-of-somebody";
const NEXT: &str = "next-password-of-alice";
const ODD: &str = "odd-password-in-a-bad-request";

/// The key outside the store.
const KEY: &[u8; 32] = b"a key which lies outside a store";

/// All that can be asked for, library by library, by name and without.
const EVERYTHING: &str = "trace,sqlx=trace,sqlx::query=trace,sqlx::postgres::notice=trace,\
                          rustls=trace,hyper=trace,h2=trace,mio=trace,tokio=trace,log=trace";

/// A second factor that is set up, with codes right and wrong, and another one that is begun. Returns every secret of both,
/// as text and as bytes, and codes that were typed.
async fn second_factor(server: &Process) -> (Vec<Vec<u8>>, Vec<String>) {
    let asked = async |ask| server.send(ask).await;
    let login = |path: &str, code: Option<&str>| {
        let mut body = serde_json::json!({"username": ALICE, "password": NEXT});
        if let Some(code) = code {
            body["code"] = code.into();
        }
        post(path).json(&body)
    };
    let with_token =
        |code: &str| post("/api/v1/login").json(&serde_json::json!({"user": ALICE, "password": NEXT, "code": code}));
    let present =
        |path: &str, code: &str| post(path).json(&serde_json::json!({"current_password": NEXT, "code": code}));
    let cookie = asked(login("/auth/login", None)).await.cookie().expect("a cookie");
    let started = asked(present(SECOND_FACTOR, "").cookie(&cookie)).await.json();
    let secret = started["secret"].as_str().expect("a secret").to_owned();
    let far = code(&secret, SystemClock.now().after(STEP * 9));
    assert_eq!(asked(confirm(&started["enrolment"], &far).cookie(&cookie)).await.status, 401);
    let first = code(&secret, SystemClock.now());
    let confirmed = asked(confirm(&started["enrolment"], &first).cookie(&cookie)).await;
    let (renewed, recovery) = (confirmed.cookie().expect("a new cookie"), texts(&confirmed, "recovery_codes"));

    assert_eq!(asked(login("/auth/login", Some(&first))).await.status, 401, "a second time");
    let next = code(&secret, SystemClock.now().after(STEP));
    let by_code = asked(login("/api/v1/auth/login", Some(&next))).await.cookie().expect("a cookie");
    let pair = asked(with_token(&recovery[0])).await;
    let pair = pair.json()["data"]["authToken"].as_str().expect("a token").to_owned();
    assert_eq!(asked(with_token(&recovery[0])).await.status, 401, "once");
    let page = asked(post("/login").form(&format!("username={ALICE}&password={NEXT}"))).await;
    let lines = page.all("set-cookie");
    let waiting = lines.iter().find_map(|line| line.strip_prefix("_me_sess_code=")?.split(';').next());
    let waiting = waiting.expect("a login that waits").to_owned();
    let second = post("/login/code").form(&format!("code={}", recovery[1]));
    let by_page = asked(second.header("Cookie", &format!("_me_sess_code={waiting}"))).await.cookie().expect("a cookie");
    let codes = asked(present(&format!("{SECOND_FACTOR}/recovery-codes"), &recovery[2]).cookie(&renewed)).await;
    let new = texts(&codes, "recovery_codes");
    let begun = asked(present(SECOND_FACTOR, &new[0]).cookie(&renewed)).await.json();
    let begun = begun["secret"].as_str().expect("a secret").to_owned();

    let bytes = [&secret, &begun].map(|secret| BASE32_NOPAD.decode(secret.as_bytes()).expect("base32"));
    let all: Vec<String> = recovery.into_iter().chain(new).collect();
    let close: Vec<String> = all.iter().map(|code| code.replace('-', "")).collect();
    let texts = [secret, begun, cookie, renewed, by_code, pair, waiting, by_page].into_iter().chain(all).chain(close);
    (texts.map(String::into_bytes).chain(bytes).collect(), vec![far, first, next])
}

/// Everything that clients do, right and wrong. Returns every secret that went over the wire.
async fn scenario(server: &Process, database: &Database) -> Vec<String> {
    let mut secrets: Vec<String> = [PASSWORD, WRONG, NEXT, ODD].map(String::from).into();
    let json =
        |path: &str, password: &str| post(path).json(&serde_json::json!({"username": ALICE, "password": password}));
    let asked = async |ask| server.send(ask).await;
    let token = |reply: &Reply, pointer: &str| {
        reply.json().pointer(pointer).and_then(|t| t.as_str()).expect(pointer).to_owned()
    };

    // Logins in every dialect, by cookie, by token and by form.
    let medama = asked(json("/auth/login", PASSWORD)).await.cookie().expect("a cookie");
    let replaced = asked(json("/api/auth/login", PASSWORD).cookie(&medama)).await.cookie().expect("a cookie");
    let canonical = asked(json("/api/v1/auth/login", PASSWORD)).await.cookie().expect("a cookie");
    let form = format!("username={ALICE}&password={}", PASSWORD.replace(' ', "+"));
    let by_form = asked(post("/api/v1/auth/login").form(&form)).await.cookie().expect("a cookie");
    let in_body = server.log_in(ALICE).await;
    let pair = asked(post("/api/v1/login").json(&serde_json::json!({"user": ALICE, "password": PASSWORD}))).await;
    let pair = token(&pair, "/data/authToken");
    let resumed = asked(post("/api/v1/login").json(&serde_json::json!({"resume": pair}))).await;
    assert_eq!(resumed.status, 200);

    // Checks, right and wrong, and everything that can be refused.
    assert_eq!(asked(get("/verify").bearer(&in_body.token)).await.status, 200);
    assert_eq!(asked(get("/verify").cookie(&canonical)).await.status, 200);
    assert_eq!(asked(get("/api/v1/me").pair(&in_body.user, &pair)).await.status, 200);
    assert_eq!(asked(get("/verify").cookie(&medama)).await.status, 401, "replaced");
    let forged = "Forged".repeat(7) + "A";
    assert_eq!(asked(get("/verify").bearer(&forged)).await.status, 401);
    for path in ["/auth/login", "/api/v1/login", "/api/v1/auth/login"] {
        assert_eq!(asked(json(path, WRONG)).await.status, 401);
        let odd = format!("{{\"username\": 7, \"password\": \"{ODD}\", \"x\": ");
        let refused = asked(post(path).body("application/json", odd.as_bytes())).await;
        assert!((400..500).contains(&refused.status) && !refused.text().contains(ODD));
        let refused = asked(post(path).json(&serde_json::json!({"username": ALICE, "password": ODD, ODD: ODD}))).await;
        assert!(!refused.text().contains(PASSWORD));
        asked(json(path, PASSWORD).header("Origin", "https://evil.example")).await;
        asked(ask("PATCH", path).bearer(&in_body.token)).await;
    }
    asked(get(&format!("/api/v1/auth/sessions?cursor={}", in_body.token)).bearer(&in_body.token)).await;
    asked(get(&format!("/api/v1/auth/nowhere?password={WRONG}&token={}", in_body.token)).cookie(&canonical)).await;

    database.execute("DELETE FROM throttles").await;

    // Changes: a password, and logouts in every dialect.
    let change = |current: &str, new: &str| {
        let body = serde_json::json!({"current_password": current, "new_password": new});
        post("/api/v1/auth/password").bearer(&in_body.token).json(&body)
    };
    assert_eq!(asked(change(WRONG, NEXT)).await.status, 401);
    assert_eq!(asked(change(PASSWORD, "short")).await.status, 422);
    let changed = asked(change(PASSWORD, NEXT)).await;
    assert_eq!(changed.status, 200);
    let renewed = token(&changed, "/token");
    let after = asked(json("/auth/login", NEXT)).await.cookie().expect("a cookie");
    assert_eq!(asked(post("/auth/logout").cookie(&after)).await.status, 204);
    assert_eq!(asked(post("/auth/logout").cookie(&after)).await.status, 401);
    assert_eq!(asked(post("/api/v1/logout").pair(&in_body.user, &pair)).await.status, 401, "ended by the new password");
    assert_eq!(asked(post("/api/v1/auth/logout").bearer(&in_body.token)).await.status, 401, "renewed");
    assert_eq!(asked(post("/api/v1/auth/logout").bearer(&renewed)).await.status, 200);
    secrets.push(PASSWORD.replace(' ', "+"));
    secrets.extend([medama, replaced, canonical, by_form, in_body.token, renewed, pair, after, forged]);
    secrets
}

/// What the database keeps and what the server wrote, each under its name.
async fn everything(home: &Home, log: String) -> Vec<(String, Vec<u8>)> {
    let mut all = home.database.contents().await;
    all.push((String::from("log"), log.into_bytes()));
    for file in std::fs::read_dir(home.dir.path()).expect("a directory") {
        let path = file.expect("a file").path();
        all.push((path.display().to_string(), std::fs::read(&path).expect("bytes")));
    }
    for (_, bytes) in &mut all {
        // Most of the log of a database, which has room from the start on, is empty, and takes long to search.
        bytes.dedup_by(|one, other| *one == 0 && *other == 0);
    }
    all
}

fn holds(bytes: &[u8], secret: impl AsRef<[u8]>) -> bool {
    let secret = secret.as_ref();
    let in_hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    [secret, in_hex.as_bytes()].iter().any(|secret| bytes.windows(secret.len()).any(|window| window == *secret))
}

/// What the database keeps rightly and the log must not show: hashes and the key of tokens, each as text that a log could
/// show it as, and the beginning of every password hash.
async fn of_the_store(home: &Home, tokens: &[Vec<u8>]) -> Vec<String> {
    let key = home.database.token_key().await;
    let key: Vec<u8> =
        (0..key.len()).step_by(2).map(|at| u8::from_str_radix(&key[at..at + 2], 16).expect("hex")).collect();
    assert_eq!(key.len(), 32);
    let hashes = tokens.iter().map(|token| Sha256::digest(token).to_vec());
    let forms = |bytes: Vec<u8>| {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        [hex.to_uppercase(), hex, format!("{bytes:?}"), format!("{:?}", bytes.escape_ascii().to_string())]
    };
    hashes.chain([key]).flat_map(forms).chain([String::from("$argon2")]).collect()
}

async fn nothing_secret_is_kept_or_logged(store: StoreKind, format: &str) {
    let (home, outside) = (Home::new(store), tempfile::NamedTempFile::new().expect("a file"));
    let key: String = KEY.iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(&outside, &key).expect("written");
    let mut command = home.server();
    command.env("RUST_LOG", EVERYTHING).env("SESSIOND_LOG_FORMAT", format);
    command.env("SESSIOND_SECRET_KEY_FILE", outside.path());
    let server = Process::start(command).await;
    let mut secrets: Vec<_> = scenario(&server, &home.database).await.into_iter().map(String::into_bytes).collect();
    home.database.execute("DELETE FROM throttles").await;
    let (of_factor, codes) = second_factor(&server).await;
    secrets.extend(of_factor.into_iter().chain([KEY.to_vec()]));
    let printed = server.printed();
    // A killed server leaves files behind that one that stops would clean up.
    let running = everything(&home, server.log() + &printed).await;
    let log = server.kill().await;
    let killed = everything(&home, log.clone()).await;

    assert!(log.contains("/api/v1/auth/password"), "debug lines are there: {log}");
    for all in [&running, &killed] {
        assert!(all.iter().any(|(name, bytes)| name != "log" && holds(bytes, ALICE)), "the database is there too");
    }
    for (name, bytes) in running.iter().chain(&killed) {
        for secret in &secrets {
            assert!(!holds(bytes, secret), "{} is in {name}", String::from_utf8_lossy(secret));
        }
    }
    for code in codes {
        // So few digits may stand in any number.
        for shown in [format!("\"{code}\""), format!("={code}"), format!(": {code}"), format!(" {code} ")] {
            assert!(!log.contains(&shown), "{shown} is in the log");
        }
    }
    for secret in of_the_store(&home, &secrets).await {
        assert!(!log.contains(&secret), "{secret} is in the log");
    }
    for line in log.lines().filter(|_| format == "json") {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[on_both_stores]
async fn no_secret_is_in_a_text_log_or_in_the_database(store: StoreKind) {
    nothing_secret_is_kept_or_logged(store, "text").await;
}

#[on_both_stores]
async fn no_secret_is_in_a_json_log_or_in_the_database(store: StoreKind) {
    nothing_secret_is_kept_or_logged(store, "json").await;
}

#[on_both_stores]
async fn the_first_line_of_the_server_says_where_it_listens_on_which_store_and_of_which_commit(store: StoreKind) {
    for format in ["text", "json"] {
        let home = Home::new(store);
        let mut command = home.server();
        command.env("SESSIOND_LOG_FORMAT", format);
        let server = Process::start(command).await;
        let log = server.log();
        // A replica is registered beside that, and may be so before.
        let line = log.lines().find(|line| !line.contains("registered among the replicas")).expect("a line");
        assert_eq!(field(line, "listen"), server.listen, "{line}");
        assert_eq!(field(line, "ops"), server.ops, "{line}");
        assert_eq!(field(line, "store"), DatabaseUrl::new(home.database.url()).to_string());
        let stamped = server.send(get("/verify")).await;
        assert_eq!(Some(field(line, "commit").as_str()), stamped.header("x-api-commit"));
    }
}
