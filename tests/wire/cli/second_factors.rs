//! `sessiond second-factor reseal`, for a key that comes later and one that takes another's place; and `sessiond user
//! reset-second-factor --unreadable`, for one that is lost.

use std::path::{Path, PathBuf};

use sessiond::domain::clock::{Clock as _, SystemClock};

use super::*;
use crate::harness::authenticator::{code, confirm, login_with_code, start};

const RESEAL: [&str; 2] = ["second-factor", "reseal"];

/// Files of keys, each in its place.
struct Keys {
    home: Home,
    file: PathBuf,
}

impl Keys {
    fn new(home: Home) -> Self {
        Self { file: home.dir.path().join("keys"), home }
    }

    /// Writes these keys, each of which is a byte over and over.
    fn write(&self, keys: &[u8]) {
        let lines: String =
            keys.iter().map(|byte| format!("# {byte}\n{}\n", format!("{byte:02x}").repeat(32))).collect();
        std::fs::write(&self.file, lines).expect("written");
    }

    async fn run(&self, arguments: &[&str]) -> Finished {
        with(&self.home, &[("SESSIOND_SECRET_KEY_FILE", text(&self.file))], arguments).await
    }

    async fn serve(&self) -> Process {
        let mut command = self.home.server();
        command.env("SESSIOND_SECRET_KEY_FILE", &self.file);
        Process::start(command).await
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[on_both_stores]
async fn a_key_that_comes_later_takes_everything_over_and_another_one_its_place(store: StoreKind) {
    let (home, server) = serving(store).await;
    let (alice, bob) = (server.log_in(ALICE).await.token, server.log_in(BOB).await.token);
    let (authenticator, _) = server.set_up(&alice).await;
    let begun = server.send(start(None).bearer(&bob)).await.json();
    server.stop().await;

    let keys = Keys::new(home);
    keys.write(&[1]);
    let server = keys.serve().await;
    let resealed = keys.run(&RESEAL).await.done().unwrap();
    assert_eq!(resealed, "2 secrets and 10 recovery codes resealed, 0 secrets left\n");
    let again = keys.run(&RESEAL).await.done().unwrap();
    assert_eq!(again, "0 secrets and 0 recovery codes resealed, 0 secrets left\n");
    let event = "SELECT count, actor, user_id FROM events WHERE kind = 'second_factors_resealed'";
    assert_eq!(keys.home.database.rows(event).await, [[Some("12".to_owned()), Some("cli".to_owned()), None]]);
    assert_eq!(server.send(login_with_code(ALICE, &authenticator.recovery[0])).await.status, 200);
    assert_eq!(server.send(login_with_code(ALICE, &authenticator.recovery[0])).await.status, 401, "once");
    let secret = begun["secret"].as_str().expect("a secret");
    let confirmed = server.send(confirm(&begun["enrolment"], &code(secret, SystemClock.now())).bearer(&bob)).await;
    assert_eq!(confirmed.status, 200, "what was begun before goes on: {}", confirmed.text());
    server.stop().await;
    let refused = finish(keys.home.server(), "").await.refused().unwrap();
    assert!(refused.contains("set secret_key_file"), "the store alone opens nothing: {refused}");

    keys.write(&[2]);
    let refused = keys.run(&RESEAL).await.refused().unwrap();
    assert!(refused.contains("2 secrets are under keys that are not here"), "{refused}");
    keys.write(&[2, 1]);
    let server = keys.serve().await;
    let resealed = keys.run(&RESEAL).await.done().unwrap();
    let (first, second) = resealed.trim_end().split_once('\n').expect("two lines");
    assert_eq!(first, "2 secrets and 0 recovery codes resealed, 0 secrets left");
    assert!(second.starts_with("2 users have recovery codes under another key"), "{second}");
    assert_eq!(server.send(login_with_code(ALICE, &authenticator.recovery[1])).await.status, 200, "good still");
    server.stop().await;
    keys.write(&[2]);
    let server = keys.serve().await;
    assert_eq!(server.send(login_with_code(ALICE, &authenticator.recovery[2])).await.status, 401);
    assert_eq!(server.send(login_with_code(ALICE, &authenticator.next())).await.status, 200);
    server.stop().await;
}

#[on_both_stores]
async fn a_replica_with_both_keys_reads_what_one_with_either_has_sealed(store: StoreKind) {
    let keys = Keys::new(Home::new(store));
    keys.write(&[1]);
    let server = keys.serve().await;
    let (authenticator, _) = server.set_up(&server.log_in(ALICE).await.token).await;
    server.stop().await;
    for (number, lines) in [[2, 1], [1, 2]].iter().enumerate() {
        keys.write(lines);
        let server = keys.serve().await;
        assert_eq!(server.send(login_with_code(ALICE, &authenticator.recovery[number])).await.status, 200);
        server.stop().await;
    }
    keys.write(&[2, 1]);
    let server = keys.serve().await;
    assert_eq!(server.send(login_with_code(ALICE, &authenticator.next())).await.status, 200);
    server.stop().await;
}

#[on_both_stores]
async fn once_the_key_is_lost_what_it_sealed_can_be_removed_and_no_more(store: StoreKind) {
    let (home, server) = serving(store).await;
    let (bobs, bob) = server.set_up(&server.log_in(BOB).await.token).await;
    server.stop().await;
    let keys = Keys::new(home);
    keys.write(&[1]);
    let server = keys.serve().await;
    let (_, alice) = server.set_up(&server.log_in(ALICE).await.token).await;
    let begun = server.send(start(Some(&bobs.recovery[0])).bearer(&bob)).await;
    assert_eq!(begun.status, 200, "{}", begun.text());
    server.stop().await;

    keys.write(&[2]);
    let mut command = keys.home.server();
    command.env("SESSIOND_SECRET_KEY_FILE", &keys.file);
    let refused = finish(command, "").await.refused().unwrap();
    assert!(refused.contains("`sessiond user reset-second-factor --unreadable`"), "{refused}");
    let reset = ["user", "reset-second-factor", "--unreadable"];
    let asked = keys.run(&reset).await.refused().unwrap();
    assert!(asked.contains("1 second factors are under keys that are not here") && asked.contains("--yes"), "{asked}");
    for odd in [&["user", "reset-second-factor"][..], &["user", "reset-second-factor", BOB, "--unreadable"]] {
        keys.run(odd).await.refused().unwrap();
    }
    assert_eq!(keys.home.database.number("SELECT count(*) FROM second_factors").await, 2, "nothing was removed");
    let reset = [&reset[..], &["--yes"]].concat();
    assert_eq!(keys.run(&reset).await.done().unwrap(), "1 second factors removed, 1 sessions ended\n");
    assert_eq!(keys.run(&reset).await.done().unwrap(), "0 second factors removed, 0 sessions ended\n");
    let event = "SELECT u.username, e.actor FROM events AS e JOIN users AS u ON u.id = e.user_id
                 WHERE e.kind = 'second_factor_removed'";
    let line = [ALICE, "cli"].map(|text| Some(text.to_owned()));
    assert_eq!(keys.home.database.rows(event).await, [line]);

    let server = keys.serve().await;
    assert_eq!(server.check(&alice).await, 401);
    let (alices, _) = server.set_up(&server.log_in(ALICE).await.token).await;
    assert_eq!(server.send(login(BOB, PASSWORD)).await.status, 401, "his is under the store's key");
    let resealed = keys.run(&RESEAL).await.done().unwrap();
    assert_eq!(resealed, "1 secrets and 9 recovery codes resealed, 0 secrets left\n", "but for what he began");
    assert_eq!(server.send(login_with_code(BOB, &bobs.next())).await.status, 200);
    assert_eq!(server.send(login_with_code(ALICE, &alices.next())).await.status, 200);
    assert_eq!(keys.run(&reset).await.done().unwrap(), "0 second factors removed, 0 sessions ended\n");
    server.stop().await;
}
