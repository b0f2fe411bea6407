//! Makes sessions without logins: hashing a password takes a while, and tests of faults need many sessions.

use std::sync::Arc;

use futures_util::future::join_all;
use sessiond::cache::TIMING;
use sessiond::config::DatabaseUrl;
use sessiond::domain::clock::{Clock as _, SystemClock};
use sessiond::domain::entropy::SystemEntropy;
use sessiond::domain::id::{SessionId, UserId};
use sessiond::domain::revocation::Why;
use sessiond::domain::second_factor::proof::Proof;
use sessiond::domain::session::{Client, Expiry, Session};
use sessiond::domain::text::{Name, Username};
use sessiond::domain::user::NewUser;
use sessiond::store::connect::{Role, connect};
use sessiond::store::{Added, Addition, Created, Initial, NewSession};
use sessiond::telemetry::notices;

use crate::harness::LoggedIn;
use crate::harness::fresh::{ABSOLUTE, because, hash};

/// So few in one statement that the store's deadline does not pass on a machine that is busy.
const AT_ONCE: usize = 4;

/// Makes as many users, with as many sessions each.
pub async fn sessions<const EACH: usize>(url: &str, users: usize) -> Vec<[LoggedIn; EACH]> {
    notices::install();
    let clock = Arc::new(SystemClock);
    let url = DatabaseUrl::new(url.to_owned());
    let store = connect(&url, Role::Command, TIMING, clock.clone(), &SystemEntropy).await.expect("a store");
    let key = store.token_key().await.expect("a store");
    let begin = async || {
        let id = UserId::random(&SystemEntropy).expect("entropy");
        let user = NewUser {
            username: Username::new(id.as_str()).expect("fit"),
            email: None,
            name: Name::new("A Name").expect("fit"),
            admin: false,
        };
        let password = Initial { hash: hash("nobody's"), one_time: None };
        let addition = Addition { id, user, password, lifts: Vec::new(), first: false };
        let added = store.add_user(addition, because(Why::Operator)).await.expect("a store");
        assert!(matches!(added, Added::Yes(_)), "{added:?}");
        let mut sessions = Vec::new();
        for _ in 0..EACH {
            let (token, now) = (key.issue(&SystemEntropy).expect("entropy"), clock.now());
            let session = Session {
                id: SessionId::random(&SystemEntropy).expect("entropy"),
                user_id: id,
                created_at: now,
                last_seen_at: now,
                expiry: Expiry { idle: now.after(ABSOLUTE), absolute: now.after(ABSOLUTE) },
                remembered: false,
                client: Client::default(),
            };
            let (token, token_hash) = (token.reveal().to_owned(), token.hash());
            sessions.push(LoggedIn { token, session: session.id.to_string(), user: id.to_string() });
            let new = NewSession {
                session,
                token_hash,
                auth_epoch: 0,
                cap: EACH,
                replaces: Vec::new(),
                rehashed: None,
                proof: Proof::NoFactor,
                pending: None,
                resets: Vec::new(),
                unflushed: None,
            };
            let created = store.create_session(new).await.expect("a store");
            assert!(matches!(created, Created::Yes(_)), "{created:?}");
        }
        <[LoggedIn; EACH]>::try_from(sessions).expect("as many")
    };
    let mut made = Vec::new();
    while made.len() < users {
        let some = users.min(made.len() + AT_ONCE) - made.len();
        made.extend(join_all((0..some).map(|_| begin())).await);
    }
    store.close().await;
    made
}
