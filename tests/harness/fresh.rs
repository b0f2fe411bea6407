//! A store of a test's own, with short functions in which the tests of its contract are written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sessiond::cache::TIMING;
use sessiond::config::DatabaseUrl;
use sessiond::domain::clock::{Clock as _, ManualClock, Timestamp};
use sessiond::domain::entropy::SystemEntropy;
use sessiond::domain::event::{Actor, Origin};
use sessiond::domain::id::{SessionId, UserId};
use sessiond::domain::password::PasswordHash;
use sessiond::domain::revocation::{Reason, Revocation, Seq, Why};
use sessiond::domain::second_factor::proof::Proof;
use sessiond::domain::session::{Client, Expiry, Seen, Session};
use sessiond::domain::text::{Email, Name, Username};
use sessiond::domain::token::TokenHash;
use sessiond::domain::user::{Credentials, NewUser, User, UserEdit};
use sessiond::store::connect::{ConnectError, Role, connect};
use sessiond::store::{
    Added, Addition, Changed, Created, Edited, Initial, Logout, Lookup, NewSession, PasswordChange, Renewal,
    RevocationSink, Revoked, SharedStore, Target,
};
use sessiond::telemetry::notices;

use crate::harness::BEGIN;
use crate::harness::database::{Database, StoreKind};

/// Runs `test` on a fresh store.
pub async fn on_a_fresh_store(store: StoreKind, test: impl AsyncFn(&Fresh)) {
    let fresh = Fresh::new(store).await;
    test(&fresh).await;
    fresh.store.close().await;
}

/// Opens a database, to serve from it or to run a command.
pub async fn open(database: &Database, role: Role) -> Result<SharedStore, ConnectError> {
    notices::install();
    connect(&DatabaseUrl::new(database.url()), role, TIMING, clock(), &SystemEntropy).await
}

/// A store that serves, and the revocations that its sink was given.
pub struct Fresh {
    pub store: SharedStore,
    pub clock: Arc<ManualClock>,
    pub sink: Arc<RecordingSink>,
    pub database: Database,
}

/// A line of the audit.
#[derive(Debug)]
pub struct Line {
    pub kind: String,
    pub user: Option<String>,
    pub session: Option<String>,
    pub actor: String,
    pub detail: Option<String>,
}

/// A sink that records every revocation it is given.
#[derive(Default)]
pub struct RecordingSink(Mutex<Vec<Revocation>>);

impl RevocationSink for RecordingSink {
    fn apply(&self, revocation: &Revocation) {
        self.0.lock().expect("no panic").push(revocation.clone());
    }

    fn clear(&self) {
        panic!("only this test changes these files");
    }
}

impl RecordingSink {
    pub fn all(&self) -> Vec<Revocation> {
        self.0.lock().expect("no panic").clone()
    }
}

pub const IDLE: Duration = Duration::from_secs(100);
pub const ABSOLUTE: Duration = Duration::from_secs(1000);

pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(BEGIN))
}

/// The sessions that a change has ended.
pub fn made(changed: Changed) -> Revoked {
    match changed {
        Changed::Yes(revoked) => revoked,
        refused => panic!("{refused:?}"),
    }
}

pub fn later(seconds: u64) -> Timestamp {
    BEGIN.after(Duration::from_secs(seconds))
}

/// A token's hash, made of a number.
pub fn token(number: u64) -> TokenHash {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    TokenHash::from_bytes(bytes)
}

pub fn hash(text: &str) -> PasswordHash {
    PasswordHash::new(text.into())
}

/// The password of a new user.
pub fn initial(text: &str) -> Initial {
    Initial { hash: hash(text), one_time: None }
}

pub fn because(why: Why) -> Reason {
    Reason::unasked(Actor::CommandLine, why, Origin::default())
}

pub fn login_of(user: UserId, number: u64) -> NewSession {
    let session = Session {
        id: SessionId::random(&SystemEntropy).expect("entropy"),
        user_id: user,
        created_at: BEGIN,
        last_seen_at: BEGIN,
        expiry: Expiry { idle: BEGIN.after(IDLE), absolute: BEGIN.after(ABSOLUTE) },
        remembered: number.is_multiple_of(2),
        client: Client {
            ip: "192.0.2.1".into(),
            user_agent: format!("agent {number}"),
            host: "host".into(),
            request_id: String::new(),
        },
    };
    NewSession {
        session,
        token_hash: token(number),
        auth_epoch: 0,
        cap: 100,
        replaces: Vec::new(),
        rehashed: None,
        proof: Proof::NoFactor,
        pending: None,
        resets: Vec::new(),
        unflushed: None,
    }
}

/// A renewal that gives a session the token `token(number)`.
pub fn renewal_of(session: SessionId, number: u64) -> Renewal {
    let tombstone = SessionId::random(&SystemEntropy).expect("entropy");
    Renewal { session, token_hash: token(number), tombstone, idle_until: BEGIN.after(IDLE) }
}

pub fn logout_of(number: u64) -> Logout {
    Logout { token: token(number), user: None, ip: Some("192.0.2.2".into()), request_id: Some("a-request".into()) }
}

impl Fresh {
    pub async fn new(store: StoreKind) -> Self {
        Self::over(Database::new(store)).await
    }

    pub async fn over(database: Database) -> Self {
        notices::install();
        let (clock, sink) = (clock(), Arc::new(RecordingSink::default()));
        let (url, role) = (DatabaseUrl::new(database.url()), Role::Serve(sink.clone()));
        let store = connect(&url, role, TIMING, clock.clone(), &SystemEntropy).await.expect("a store");
        Self { store, clock, sink, database }
    }

    /// Opens the store as a command beside the server does.
    pub async fn beside(&self) -> SharedStore {
        open(&self.database, Role::Command).await.expect("a store")
    }

    pub async fn add(&self, username: &str, email: Option<&str>) -> Added {
        let user = NewUser {
            username: Username::new(username).expect("fit"),
            email: email.map(|email| Email::new(email).expect("fit")),
            name: Name::new("A Name").expect("fit"),
            admin: username == "Zoe",
        };
        let id = UserId::random(&SystemEntropy).expect("entropy");
        let addition = Addition { id, user, password: initial("first"), lifts: Vec::new(), first: false };
        self.store.add_user(addition, because(Why::Operator)).await.expect("a store")
    }

    pub async fn user(&self, username: &str) -> UserId {
        match self.add(username, None).await {
            Added::Yes(user) => user.id,
            taken => panic!("{taken:?}"),
        }
    }

    pub async fn create(&self, new: NewSession) -> Created {
        self.store.create_session(new).await.expect("a store")
    }

    /// A live session found by `token(number)`.
    pub async fn session(&self, user: UserId, number: u64) -> SessionId {
        let new = NewSession { auth_epoch: self.credentials(user).await.auth_epoch, ..login_of(user, number) };
        let id = new.session.id;
        assert!(matches!(self.create(new).await, Created::Yes(_)));
        id
    }

    /// Makes sessions one after the other: so many at once could take longer than one may.
    pub async fn sessions(&self, user: UserId, numbers: std::ops::Range<u64>) -> Vec<SessionId> {
        let mut ids = Vec::new();
        for number in numbers {
            ids.push(self.session(user, number).await);
        }
        ids
    }

    pub async fn credentials(&self, user: UserId) -> Credentials {
        self.store.credentials_of(user).await.expect("a store").expect("a user")
    }

    pub async fn lookup(&self, number: u64) -> Lookup {
        self.store.lookup(&token(number)).await.expect("a store")
    }

    /// `live`, `revoked` or `missing`, a word a token.
    pub async fn states(&self, numbers: std::ops::Range<u64>) -> Vec<&'static str> {
        let mut states = Vec::new();
        for number in numbers {
            states.push(match self.lookup(number).await {
                Lookup::Found(_) => "live",
                Lookup::Revoked(_) => "revoked",
                Lookup::Missing => "missing",
            });
        }
        states
    }

    pub async fn found(&self, number: u64) -> (Session, User) {
        match self.lookup(number).await {
            Lookup::Found(found) => *found,
            other => panic!("{other:?}"),
        }
    }

    pub async fn logout(&self, logout: Logout) -> Revoked {
        self.store.logout(logout).await.expect("a store")
    }

    pub async fn revoke(&self, target: Target) -> Revoked {
        made(self.store.revoke(target, because(Why::Operator)).await.expect("a store"))
    }

    pub async fn change_password(&self, change: PasswordChange) -> Option<Revoked> {
        match self.store.change_password(change, because(Why::Password)).await.expect("a store") {
            Changed::Superseded => None,
            changed => Some(made(changed)),
        }
    }

    pub async fn set_disabled(&self, user: UserId, disabled: bool) -> Option<Revoked> {
        let edit = UserEdit { disabled: Some(disabled), ..UserEdit::default() };
        match self.store.edit_user(user, edit, Vec::new(), because(Why::Disabled)).await.expect("a store") {
            Edited::Yes(_, revoked) => Some(revoked),
            Edited::NoUser => None,
            refused => panic!("{refused:?}"),
        }
    }

    /// Moves the clock forward to `at`, if it is not there yet.
    pub fn wait_until(&self, at: Timestamp) {
        self.clock.advance(at.since(self.clock.now()));
    }

    pub async fn touch(&self, number: u64, at: Timestamp) -> Option<Timestamp> {
        self.wait_until(at);
        let seen = Seen { token_hash: token(number), at, idle_until: at.after(IDLE) };
        let moved = self.store.touch(vec![seen]).await.expect("a store");
        assert!(moved.iter().all(|(hash, _)| *hash == token(number)));
        moved.first().map(|(_, idle)| *idle)
    }

    /// Every line of the audit, oldest first.
    pub async fn lines(&self) -> Vec<Line> {
        let all = "SELECT kind, user_id, session_id, actor, detail FROM events ORDER BY number";
        let rows = self.database.rows(all).await;
        let lines = rows.into_iter().map(|row| {
            let [kind, user, session, actor, detail] = row.try_into().expect("five");
            Line { kind: kind.expect("a kind"), user, session, actor: actor.expect("an actor"), detail }
        });
        lines.collect()
    }

    /// How many events there are of each kind.
    pub async fn audit(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for line in self.lines().await {
            *counts.entry(line.kind).or_default() += 1;
        }
        counts
    }

    /// The revocation log as caches get it: read from the store where replicas share it, else as the sink was given it.
    pub async fn log(&self) -> Vec<Revocation> {
        let Some(shared) = self.store.shared() else {
            return self.sink.all().into_iter().filter(|revocation| revocation.seq > Seq(0)).collect();
        };
        let mut log: Vec<Revocation> = Vec::new();
        loop {
            let read = log.last().map_or(Seq(0), |newest| newest.seq);
            let news = shared.news(read).await.expect("a store");
            if news.revocations.is_empty() {
                assert_eq!(news.head, read, "the newest number has its entry");
                return log;
            }
            log.extend(news.revocations);
        }
    }

    /// Its numbers.
    pub async fn numbers(&self) -> Vec<i64> {
        self.log().await.iter().map(|revocation| revocation.seq.0).collect()
    }

    /// Its newest entry.
    pub async fn newest(&self) -> Revocation {
        self.log().await.pop().expect("something")
    }
}
