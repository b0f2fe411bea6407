//! The contract of `dyn Store`, held against every store there is. A new store plugs in with a line in [`STORES`].

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use sessiond::config::DatabaseUrl;
use sessiond::domain::clock::{Clock as _, ManualClock, Timestamp};
use sessiond::domain::entropy::SystemEntropy;
use sessiond::domain::event::{Actor, Event, EventKind};
use sessiond::domain::id::{SessionId, UserId};
use sessiond::domain::password::PasswordHash;
use sessiond::domain::revocation::{Reason, Revocation, Seq, Why};
use sessiond::domain::session::{Client, Expiry, Seen, Session};
use sessiond::domain::text::{Email, LoginName, Name, Username};
use sessiond::domain::token::TokenHash;
use sessiond::domain::user::{Credentials, NewUser, User};
use sessiond::store::connect::{ConnectError, Role, connect};
use sessiond::store::{
    Added, Changed, Confirmed, Created, Logout, Lookup, NewSession, PasswordChange, RevocationSink, Revoked,
    SharedStore, StoreError, Target,
};
use tempfile::TempDir;

use crate::harness::BEGIN;
use crate::process::{reader, until};

/// Every store there is.
const STORES: &[Kind] = &[Kind { fresh: sqlite, audit: sqlite_audit }];

/// How a store is opened for a test, and how its audit is read: the trait only writes it.
#[derive(Clone, Copy)]
struct Kind {
    fresh: fn() -> (DatabaseUrl, TempDir),
    audit: for<'t> fn(&'t Fresh) -> BoxFuture<'t, Vec<Line>>,
}

/// A line of the audit: kind, user, session, actor, detail.
type Line = (String, Option<String>, Option<String>, String, Option<String>);

fn sqlite() -> (DatabaseUrl, TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    (DatabaseUrl::new(format!("sqlite://{}/test.db", dir.path().display())), dir)
}

fn sqlite_audit(fresh: &Fresh) -> BoxFuture<'_, Vec<Line>> {
    async {
        let connection = reader(&fresh.dir.path().join("test.db"));
        let all = "SELECT kind, user_id, session_id, actor, detail FROM events ORDER BY number";
        let mut all = connection.prepare(all).expect("a statement");
        let lines = all.query_map([], |row| Line::try_from(row)).expect("events");
        lines.collect::<Result<_, _>>().expect("events")
    }
    .boxed()
}

/// Runs `test` on a fresh store of every kind.
async fn for_each_store(test: impl AsyncFn(&Fresh)) {
    for kind in STORES {
        let heard = Arc::new(Heard::default());
        let fresh = Fresh { heard: heard.clone(), ..Fresh::open(kind, heard).await };
        test(&fresh).await;
        fresh.store.close().await;
    }
}

/// A store that serves, and what its sink has heard.
struct Fresh {
    store: SharedStore,
    clock: Arc<ManualClock>,
    heard: Arc<Heard>,
    url: DatabaseUrl,
    dir: TempDir,
    audit: for<'t> fn(&'t Fresh) -> BoxFuture<'t, Vec<Line>>,
}

#[derive(Default)]
struct Heard(Mutex<Vec<Revocation>>);

impl RevocationSink for Heard {
    fn hear(&self, revocation: &Revocation) {
        self.0.lock().expect("no panic").push(revocation.clone());
    }

    fn lose(&self) {
        panic!("nobody touches these files");
    }
}

impl Heard {
    fn numbers(&self) -> Vec<i64> {
        self.0.lock().expect("no panic").iter().map(|revocation| revocation.seq.0).collect()
    }

    fn newest(&self) -> Revocation {
        self.0.lock().expect("no panic").last().expect("something").clone()
    }
}

const IDLE: Duration = Duration::from_secs(100);
const ABSOLUTE: Duration = Duration::from_secs(1000);

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(BEGIN))
}

/// What ended by a change that was made.
fn made(changed: Changed) -> Revoked {
    match changed {
        Changed::Yes(revoked) => revoked,
        refused => panic!("{refused:?}"),
    }
}

fn later(seconds: u64) -> Timestamp {
    BEGIN.after(Duration::from_secs(seconds))
}

/// A token's hash, made of a number.
fn token(number: u64) -> TokenHash {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    TokenHash::from_bytes(bytes)
}

fn hash(text: &str) -> PasswordHash {
    PasswordHash::new(text.into())
}

fn because(why: Why) -> Reason {
    Reason { by: Actor::CommandLine, through: None, why, ip: None }
}

fn login_of(user: UserId, number: u64) -> NewSession {
    let session = Session {
        id: SessionId::random(&SystemEntropy).expect("entropy"),
        user_id: user,
        created_at: BEGIN,
        last_seen_at: BEGIN,
        expiry: Expiry { idle: BEGIN.after(IDLE), absolute: BEGIN.after(ABSOLUTE) },
        remembered: number.is_multiple_of(2),
        client: Client { ip: "192.0.2.1".into(), user_agent: format!("agent {number}"), host: "host".into() },
    };
    NewSession { session, token_hash: token(number), auth_epoch: 0, cap: 100, replaces: None, rehashed: None }
}

fn logout_of(number: u64) -> Logout {
    Logout { token: token(number), user: None, ip: Some("192.0.2.2".into()) }
}

impl Fresh {
    async fn open(kind: &Kind, sink: Arc<dyn RevocationSink>) -> Self {
        let (url, dir) = (kind.fresh)();
        let clock = clock();
        let store = connect(&url, Role::Serve(sink), clock.clone(), &SystemEntropy).await.expect("a store");
        Self { store, clock, heard: Arc::default(), url, dir, audit: kind.audit }
    }

    async fn add(&self, username: &str, email: Option<&str>) -> Added {
        let user = NewUser {
            username: Username::new(username).expect("fit"),
            email: email.map(|email| Email::new(email).expect("fit")),
            name: Name::new("A Name").expect("fit"),
            admin: username == "ann",
        };
        let id = UserId::random(&SystemEntropy).expect("entropy");
        self.store.add_user(id, user, hash("first"), Actor::CommandLine).await.expect("a store")
    }

    async fn user(&self, username: &str) -> UserId {
        match self.add(username, None).await {
            Added::Yes(user) => user.id,
            taken => panic!("{taken:?}"),
        }
    }

    async fn create(&self, new: NewSession) -> Created {
        self.store.create_session(new).await.expect("a store")
    }

    /// A live session found by `token(number)`.
    async fn session(&self, user: UserId, number: u64) -> SessionId {
        let new = NewSession { auth_epoch: self.credentials(user).await.auth_epoch, ..login_of(user, number) };
        let id = new.session.id;
        assert!(matches!(self.create(new).await, Created::Yes(_)));
        id
    }

    async fn credentials(&self, user: UserId) -> Credentials {
        self.store.credentials_of(user).await.expect("a store").expect("a user")
    }

    async fn lookup(&self, number: u64) -> Lookup {
        self.store.lookup(&token(number)).await.expect("a store")
    }

    /// `live`, `revoked` or `missing`, a word a token.
    async fn states(&self, numbers: std::ops::Range<u64>) -> Vec<&'static str> {
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

    async fn found(&self, number: u64) -> (Session, User) {
        match self.lookup(number).await {
            Lookup::Found(found) => *found,
            other => panic!("{other:?}"),
        }
    }

    async fn logout(&self, logout: Logout) -> Revoked {
        self.store.logout(logout).await.expect("a store")
    }

    async fn revoke(&self, target: Target) -> Revoked {
        made(self.store.revoke(target, because(Why::Operator)).await.expect("a store"))
    }

    async fn change_password(&self, change: PasswordChange) -> Option<Revoked> {
        match self.store.change_password(change, because(Why::Password)).await.expect("a store") {
            Changed::Outrun => None,
            changed => Some(made(changed)),
        }
    }

    async fn set_disabled(&self, user: UserId, disabled: bool) -> Option<Revoked> {
        self.store.set_disabled(user, disabled, because(Why::Disabled)).await.expect("a store")
    }

    /// Moves the clock forward to `at`, if it is not there yet.
    fn wait_until(&self, at: Timestamp) {
        self.clock.advance(at.since(self.clock.now()));
    }

    async fn touch(&self, number: u64, at: Timestamp) -> Option<Timestamp> {
        self.wait_until(at);
        let seen = Seen { token_hash: token(number), at, idle_until: at.after(IDLE) };
        let moved = self.store.touch(vec![seen]).await.expect("a store");
        assert!(moved.iter().all(|(hash, _)| *hash == token(number)));
        moved.first().map(|(_, idle)| *idle)
    }

    /// How many events there are of each kind.
    async fn audit(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for (kind, ..) in (self.audit)(self).await {
            *counts.entry(kind).or_default() += 1;
        }
        counts
    }
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}

#[tokio::test]
async fn users_are_unique_by_key_and_listed_by_it() {
    for_each_store(async |fresh| {
        assert!(!fresh.store.has_users().await.expect("a store"));
        assert!(matches!(fresh.add("Zoe", Some("zoe@example.com")).await, Added::Yes(_)));
        assert!(matches!(fresh.add("ann", None).await, Added::Yes(_)));
        assert!(matches!(fresh.add("bob", None).await, Added::Yes(_)), "two may have no address");

        assert_eq!(fresh.add("ＡＮＮ", None).await, Added::UsernameTaken);
        assert_eq!(fresh.add("other", Some("ZOE@Example.com")).await, Added::EmailTaken);
        let twins = join_all([fresh.add("twin", None), fresh.add("TWIN", None)]).await;
        assert!(matches!(twins[..], [Added::Yes(_), Added::UsernameTaken]), "at the same time: {twins:?}");

        let users = fresh.store.users().await.expect("a store");
        let names: Vec<_> = users.iter().map(|user| (user.username.as_str(), user.admin)).collect();
        assert_eq!(names, [("ann", true), ("bob", false), ("twin", false), ("Zoe", false)]);
        assert!(fresh.store.has_users().await.expect("a store"));
    })
    .await;
}

#[tokio::test]
async fn credentials_are_found_by_username_by_address_and_by_id_and_not_across() {
    for_each_store(async |fresh| {
        let Added::Yes(user) = fresh.add("Zoe", Some("zoe@example.com")).await else { panic!("free") };
        let find = async |name| fresh.store.credentials(&name).await.expect("a store");
        for name in [LoginName::username("zOE"), LoginName::email("ZOE@example.com")] {
            let found = find(name).await.expect("found");
            assert_eq!(found.user, user);
            assert_eq!((found.password_hash.as_str(), found.auth_epoch), ("first", 0));
        }
        for name in [LoginName::username("zoe@example.com"), LoginName::email("zoe"), LoginName::username("nobody")] {
            assert!(find(name.clone()).await.is_none(), "{name:?}");
        }
        assert_eq!(fresh.credentials(user.id).await.user, user);
        let nobody = UserId::random(&SystemEntropy).expect("entropy");
        assert!(fresh.store.credentials_of(nobody).await.expect("a store").is_none());
    })
    .await;
}

#[tokio::test]
async fn a_session_is_found_by_its_token_whole_and_with_its_user() {
    for_each_store(async |fresh| {
        let ann = fresh.user("ann").await;
        let new = login_of(ann, 1);
        assert_eq!(fresh.create(new.clone()).await, Created::Yes(Seq(0)), "it made no room");

        let (session, user) = fresh.found(1).await;
        assert_eq!(session, new.session);
        assert_eq!(user, fresh.credentials(ann).await.user);
        assert!(matches!(fresh.lookup(2).await, Lookup::Missing));
    })
    .await;
}

#[tokio::test]
async fn a_login_outrun_by_what_it_was_checked_against_makes_no_session() {
    for_each_store(async |fresh| {
        for (number, what) in (10..).zip(["password", "own password", "disabled", "enabled", "revoked"]) {
            let user = fresh.user(&format!("user{number}")).await;
            let checked = login_of(user, number);
            let change = |auth_epoch| PasswordChange { user, hash: hash("second"), auth_epoch, keep: None };
            match what {
                "password" => drop(fresh.change_password(change(None)).await.expect("a user")),
                "own password" => drop(fresh.change_password(change(Some(0))).await.expect("not outrun")),
                "disabled" => drop(fresh.set_disabled(user, true).await.expect("a user")),
                "enabled" => {
                    fresh.set_disabled(user, true).await.expect("a user");
                    fresh.set_disabled(user, false).await.expect("a user");
                }
                _ => drop(fresh.revoke(Target::All(user)).await),
            }
            assert_eq!(fresh.create(checked.clone()).await, Created::Outrun, "{what}");
            assert!(matches!(fresh.lookup(number).await, Lookup::Missing), "{what}");

            let epoch = fresh.credentials(user).await.auth_epoch;
            let again = fresh.create(NewSession { auth_epoch: epoch, ..checked }).await;
            assert_eq!(again == Created::Outrun, what == "disabled", "{what}: checked again");
        }
        let nobody = UserId::random(&SystemEntropy).expect("entropy");
        assert_eq!(fresh.create(login_of(nobody, 99)).await, Created::Outrun);
    })
    .await;
}

#[tokio::test]
async fn an_outrun_login_ends_nothing() {
    for_each_store(async |fresh| {
        let ann = fresh.user("ann").await;
        fresh.session(ann, 1).await;
        let outrun = NewSession { auth_epoch: 7, cap: 1, replaces: Some(token(1)), ..login_of(ann, 2) };
        assert_eq!(fresh.create(outrun).await, Created::Outrun);
        assert_eq!(fresh.states(1..3).await, ["live", "missing"]);
    })
    .await;
}

#[tokio::test]
async fn a_login_ends_the_session_whose_cookie_it_overwrites() {
    for_each_store(async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        fresh.session(ann, 1).await;
        fresh.session(bob, 2).await;
        let replacing = |number, old| NewSession { replaces: Some(token(old)), ..login_of(bob, number) };

        assert_eq!(fresh.create(replacing(3, 2)).await, Created::Yes(Seq(1)), "one's own");
        assert_eq!(fresh.create(replacing(4, 1)).await, Created::Yes(Seq(2)), "whoever's it is");
        assert_eq!(fresh.heard.newest().sessions, [token(1)]);
        assert_eq!(fresh.create(replacing(5, 1)).await, Created::Yes(Seq(2)), "a dead one stays as it is");
        assert_eq!(fresh.create(replacing(6, 77)).await, Created::Yes(Seq(2)), "one never made");
        let states = ["revoked", "revoked", "live", "live", "live", "live"];
        assert_eq!(fresh.states(1..7).await, states);
    })
    .await;
}

#[tokio::test]
async fn a_fresh_hash_takes_the_old_ones_place_and_outruns_nobody() {
    for_each_store(async |fresh| {
        let ann = fresh.user("ann").await;
        fresh.create(NewSession { rehashed: Some(hash("stronger")), ..login_of(ann, 1) }).await;
        let known = fresh.credentials(ann).await;
        assert_eq!((known.password_hash.as_str(), known.auth_epoch), ("stronger", 0));
    })
    .await;
}

#[tokio::test]
async fn at_the_cap_the_session_not_seen_for_longest_makes_room() {
    for_each_store(async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        fresh.session(bob, 9).await;
        for number in 1..4 {
            fresh.session(ann, number).await;
        }
        fresh.touch(1, later(5)).await.expect("live");

        let fourth = NewSession { cap: 3, ..login_of(ann, 4) };
        assert!(matches!(fresh.create(fourth).await, Created::Yes(Seq(1))));
        assert_eq!(fresh.states(1..5).await, ["live", "revoked", "live", "live"], "the older of those seen alike");

        let fifth = NewSession { cap: 1, ..login_of(ann, 5) };
        assert!(matches!(fresh.create(fifth).await, Created::Yes(Seq(2))), "many at once, one number");
        assert_eq!(fresh.states(1..6).await, ["revoked", "revoked", "revoked", "revoked", "live"]);
        assert_eq!(fresh.states(9..10).await, ["live"], "somebody else's does not count");
    })
    .await;
}

#[tokio::test]
async fn dead_sessions_do_not_count_towards_the_cap() {
    for_each_store(async |fresh| {
        let ann = fresh.user("ann").await;
        fresh.session(ann, 1).await;
        fresh.session(ann, 2).await;
        fresh.logout(logout_of(1)).await;
        fresh.wait_until(BEGIN.after(IDLE));
        let third = NewSession { cap: 1, ..login_of(ann, 3) };
        assert_eq!(fresh.create(third).await, Created::Yes(Seq(1)), "no number but the logout's");
        assert_eq!(fresh.heard.numbers(), [0, 1], "nothing had to make room");
    })
    .await;
}

#[tokio::test]
async fn a_session_is_logged_out_once_and_only_as_its_owner() {
    for_each_store(async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        let id = fresh.session(ann, 1).await;
        let by = |user| Logout { user: Some(user), ..logout_of(1) };
        let nothing = |seq| Revoked { sessions: vec![], seq: Seq(seq) };

        assert_eq!(fresh.logout(by(bob)).await, nothing(0), "somebody else's");
        assert_eq!(fresh.logout(logout_of(2)).await, nothing(0), "nobody's");

        assert_eq!(fresh.logout(by(ann)).await, Revoked { sessions: vec![id], seq: Seq(1) });
        assert!(matches!(fresh.lookup(1).await, Lookup::Revoked(Seq(1))));
        assert_eq!(fresh.logout(by(ann)).await, nothing(1), "a second time: to be told once 1 is settled");

        fresh.session(ann, 3).await;
        fresh.wait_until(BEGIN.after(IDLE));
        assert_eq!(fresh.logout(logout_of(3)).await, nothing(1), "over by itself");
    })
    .await;
}

#[tokio::test]
async fn what_was_asked_for_through_a_session_is_not_done_once_that_has_ended() {
    for_each_store(async |fresh| {
        let ann = fresh.user("ann").await;
        let others = fresh.session(ann, 1).await;
        let ids = [fresh.session(ann, 2).await, fresh.session(ann, 3).await];
        let through = |number| Reason { through: Some(token(number)), ..because(Why::Owner) };
        let revoke = async |target, number| fresh.store.revoke(target, through(number)).await.expect("a store");
        let change = PasswordChange { user: ann, hash: hash("theirs"), auth_epoch: Some(0), keep: Some(ids[0]) };
        fresh.logout(logout_of(2)).await;

        for target in [Target::Id(others, Some(ann)), Target::Others(ann, ids[0]), Target::All(ann)] {
            assert_eq!(revoke(target, 2).await, Changed::NoSession(Seq(1)));
        }
        assert_eq!(revoke(Target::All(ann), 77).await, Changed::NoSession(Seq(1)), "one never made");
        let changed = fresh.store.change_password(change.clone(), through(2)).await.expect("a store");
        assert_eq!(changed, Changed::NoSession(Seq(1)));
        assert_eq!(fresh.credentials(ann).await.password_hash.as_str(), "first");
        assert_eq!(fresh.states(1..4).await, ["live", "revoked", "live"]);

        let changed = fresh.store.change_password(PasswordChange { keep: Some(ids[1]), ..change }, through(3)).await;
        assert_eq!(made(changed.expect("a store")).sessions, [others]);
        fresh.wait_until(BEGIN.after(IDLE));
        assert_eq!(revoke(Target::All(ann), 3).await, Changed::NoSession(Seq(2)), "over by itself");
    })
    .await;
}

#[tokio::test]
async fn a_last_seen_time_that_waited_past_the_deadline_brings_nobody_back() {
    for_each_store(async |fresh| {
        fresh.session(fresh.user("ann").await, 1).await;
        fresh.wait_until(BEGIN.after(IDLE));
        let seen = Seen { token_hash: token(1), at: later(99), idle_until: later(199) };
        assert!(fresh.store.touch(vec![seen]).await.expect("a store").is_empty());
        assert_eq!(fresh.found(1).await.0.expiry.idle, BEGIN.after(IDLE));
    })
    .await;
}

#[tokio::test]
async fn of_many_logouts_of_one_token_exactly_one_wins() {
    for_each_store(async |fresh| {
        let ann = fresh.user("ann").await;
        for number in 0..20 {
            let id = fresh.session(ann, number).await;
            let answers = join_all((0..8).map(|_| fresh.logout(logout_of(number)))).await;
            let won: Vec<_> = answers.iter().filter(|answer| !answer.sessions.is_empty()).collect();
            let seq = Seq(i64::try_from(number).expect("small") + 1);
            assert_eq!(won, [&Revoked { sessions: vec![id], seq }]);
            assert!(
                answers.iter().all(|answer| answer.seq == seq),
                "the losers reveal the same tombstone: {answers:?}"
            );
        }
        assert_eq!(fresh.audit().await["logout"], 20);
    })
    .await;
}

#[tokio::test]
async fn of_logouts_at_once_only_the_owners_wins() {
    for_each_store(async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        let id = fresh.session(ann, 1).await;
        let by = |user| fresh.logout(Logout { user: Some(user), ..logout_of(1) });
        let answers = join_all([by(bob), by(ann)]).await;
        assert_eq!((&answers[0].sessions[..], &answers[1].sessions[..]), (&[][..], &[id][..]));
    })
    .await;
}

#[tokio::test]
async fn many_logouts_at_once_end_their_own_sessions_each() {
    for_each_store(async |fresh| {
        let ann = fresh.user("ann").await;
        let ids = join_all((0..100).map(|number| fresh.session(ann, number))).await;
        let answers = join_all((0..100).map(|number| fresh.logout(logout_of(number)))).await;
        for (id, answer) in ids.iter().zip(&answers) {
            assert_eq!(answer.sessions, [*id]);
        }
        assert!(fresh.states(0..100).await.iter().all(|state| *state == "revoked"));
        assert!(fresh.heard.numbers().len() < 50, "they share commits: {:?}", fresh.heard.numbers());
        assert_eq!(fresh.audit().await["logout"], 100);
    })
    .await;
}

#[tokio::test]
async fn sessions_are_revoked_by_id_all_at_once_and_all_but_one() {
    for_each_store(async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        let anns = [fresh.session(ann, 1).await, fresh.session(ann, 2).await, fresh.session(ann, 3).await];
        let bobs = fresh.session(bob, 4).await;

        assert!(fresh.revoke(Target::Id(bobs, Some(ann))).await.sessions.is_empty(), "somebody else's");
        assert_eq!(fresh.revoke(Target::Id(anns[0], Some(ann))).await.sessions, [anns[0]]);
        assert!(fresh.revoke(Target::Id(anns[0], None)).await.sessions.is_empty(), "dead already");
        assert_eq!(fresh.revoke(Target::Others(ann, anns[1])).await.sessions, [anns[2]]);
        assert_eq!(fresh.states(1..5).await, ["revoked", "live", "revoked", "live"]);
        assert_eq!(fresh.credentials(ann).await.auth_epoch, 0, "a login being checked may go on");
        assert_eq!(fresh.revoke(Target::All(ann)).await.sessions, [anns[1]]);
        assert_eq!(fresh.revoke(Target::Id(bobs, None)).await.sessions, [bobs], "an operator's");
        assert_eq!(fresh.revoke(Target::All(bob)).await, Revoked { sessions: vec![], seq: Seq(4) });
    })
    .await;
}

#[tokio::test]
async fn a_changed_password_ends_every_session_but_the_one_to_keep() {
    for_each_store(async |fresh| {
        let ann = fresh.user("ann").await;
        let [kept, ended] = [fresh.session(ann, 1).await, fresh.session(ann, 2).await];
        let change = PasswordChange { user: ann, hash: hash("second"), auth_epoch: Some(0), keep: Some(kept) };

        let revoked = fresh.change_password(change.clone()).await.expect("not outrun");
        assert_eq!(revoked, Revoked { sessions: vec![ended], seq: Seq(1) });
        assert_eq!(fresh.credentials(ann).await.password_hash.as_str(), "second");
        assert_eq!(fresh.heard.newest().users, [ann]);

        assert_eq!(fresh.change_password(change.clone()).await, None, "checked under yesterday's password");
        fresh.set_disabled(ann, true).await.expect("a user");
        let today = PasswordChange { auth_epoch: Some(2), hash: hash("third"), ..change.clone() };
        assert_eq!(fresh.change_password(today).await, None, "disabled meanwhile");
        assert_eq!(fresh.credentials(ann).await.password_hash.as_str(), "second");

        let operators = PasswordChange { auth_epoch: None, hash: hash("fourth"), keep: None, ..change.clone() };
        assert!(fresh.change_password(operators.clone()).await.is_some(), "an operator may");
        let nobody = PasswordChange { user: UserId::random(&SystemEntropy).expect("entropy"), ..operators };
        assert_eq!(fresh.change_password(nobody).await, None);
    })
    .await;
}

#[tokio::test]
async fn disabling_ends_every_session_and_enabling_brings_none_back() {
    for_each_store(async |fresh| {
        let ann = fresh.user("ann").await;
        let id = fresh.session(ann, 1).await;
        assert_eq!(fresh.set_disabled(ann, true).await, Some(Revoked { sessions: vec![id], seq: Seq(1) }));
        assert_eq!(fresh.credentials(ann).await.user.disabled_at, Some(BEGIN));
        assert_eq!(fresh.set_disabled(ann, false).await, Some(Revoked { sessions: vec![], seq: Seq(1) }));
        assert_eq!(fresh.credentials(ann).await.user.disabled_at, None);
        assert_eq!(fresh.states(1..2).await, ["revoked"]);
        let nobody = UserId::random(&SystemEntropy).expect("entropy");
        assert_eq!(fresh.set_disabled(nobody, true).await, None);
    })
    .await;
}

#[tokio::test]
async fn numbers_rise_by_one_and_the_sink_hears_each_in_order() {
    for_each_store(async |fresh| {
        let ann = fresh.user("ann").await;
        for number in 0..40 {
            fresh.session(ann, number).await;
        }
        let logouts = join_all((0..30).map(async |number| {
            // Not all in one batch.
            for _ in 0..number * 3 {
                tokio::task::yield_now().await;
            }
            fresh.logout(logout_of(number)).await.seq
        }));
        let told: Vec<Seq> = logouts.await;
        fresh.revoke(Target::All(ann)).await;

        let heard = fresh.heard.numbers();
        let newest = *heard.last().expect("some");
        assert_eq!(heard, (0..=newest).collect::<Vec<_>>(), "from the start, without a gap");
        assert!(told.iter().all(|seq| seq.0 >= 1 && seq.0 < newest));
        let revocations = fresh.heard.0.lock().expect("no panic").clone();
        for (number, seq) in (0..).zip(told) {
            let revocation = revocations.iter().find(|revocation| revocation.seq == seq).expect("heard");
            assert!(revocation.sessions.contains(&token(number)));
            assert!(matches!(fresh.lookup(number).await, Lookup::Revoked(of) if of == seq), "on the tombstone too");
        }
        assert_eq!(revocations.last().expect("some").users, [ann]);
    })
    .await;
}

/// Hears slowly, and notices when somebody was answered meanwhile.
#[derive(Default)]
struct Slow {
    answered: AtomicBool,
    too_late: AtomicBool,
}

impl RevocationSink for Slow {
    fn hear(&self, revocation: &Revocation) {
        let begin = Instant::now();
        while !revocation.sessions.is_empty() && begin.elapsed() < Duration::from_millis(100) {
            self.too_late.fetch_or(self.answered.load(Ordering::SeqCst), Ordering::SeqCst);
            std::thread::yield_now();
        }
    }

    fn lose(&self) {
        panic!("nobody touches these files");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_answered_before_the_sink_has_heard() {
    for kind in STORES {
        let slow = Arc::new(Slow::default());
        let fresh = Fresh::open(kind, slow.clone()).await;
        let ann = fresh.user("ann").await;
        let id = fresh.session(ann, 1).await;
        fresh.revoke(Target::Id(id, None)).await;
        slow.answered.store(true, Ordering::SeqCst);
        fresh.store.close().await;
        assert!(!slow.too_late.load(Ordering::SeqCst));
    }
}

#[tokio::test]
async fn nothing_resurrects_a_tombstone() {
    for_each_store(async |fresh| {
        let ann = fresh.user("ann").await;
        let id = fresh.session(ann, 1).await;
        fresh.logout(logout_of(1)).await;

        assert_eq!(fresh.touch(1, later(1)).await, None);
        let change = PasswordChange { user: ann, hash: hash("second"), auth_epoch: None, keep: Some(id) };
        fresh.change_password(change).await.expect("a user");
        fresh.set_disabled(ann, true).await.expect("a user");
        fresh.set_disabled(ann, false).await.expect("a user");
        fresh.revoke(Target::Others(ann, id)).await;
        fresh.revoke(Target::All(ann)).await;
        fresh.logout(logout_of(1)).await;
        fresh.store.purge(BEGIN, 10).await.expect("a store");
        let same_token = NewSession { auth_epoch: fresh.credentials(ann).await.auth_epoch, ..login_of(ann, 1) };
        assert!(fresh.store.create_session(same_token).await.is_err(), "not even another login");

        assert!(matches!(fresh.lookup(1).await, Lookup::Revoked(Seq(1))), "still of its first end");
    })
    .await;
}

#[tokio::test]
async fn a_touch_moves_live_sessions_forward_and_never_past_their_end() {
    for_each_store(async |fresh| {
        let ann = fresh.user("ann").await;
        fresh.session(ann, 1).await;
        assert_eq!(fresh.touch(1, later(50)).await, Some(later(150)));
        assert_eq!(fresh.touch(1, later(20)).await, Some(later(150)), "never back");
        let (session, _) = fresh.found(1).await;
        assert_eq!((session.last_seen_at, session.expiry.idle), (later(50), later(150)));

        for at in (149..950).step_by(99) {
            fresh.touch(1, later(at)).await.expect("live");
        }
        assert_eq!(fresh.touch(1, later(950)).await, Some(later(1000)), "the end stands");
        assert_eq!(fresh.touch(1, later(1000)).await, None, "over by itself");
        assert_eq!(fresh.touch(2, later(1)).await, None, "nobody's");
        assert!(fresh.store.touch(vec![]).await.expect("a store").is_empty());
    })
    .await;
}

#[tokio::test]
async fn one_touch_stores_many_sessions() {
    for_each_store(async |fresh| {
        let ann = fresh.user("ann").await;
        for number in 1..4 {
            fresh.session(ann, number).await;
        }
        fresh.logout(logout_of(2)).await;
        let seen = |number| Seen { token_hash: token(number), at: later(10), idle_until: later(110) };
        let moved = fresh.store.touch((1..5).map(seen).collect()).await.expect("a store");
        let mut moved: Vec<_> = moved.into_iter().map(|(hash, idle)| (hash.to_hex(), idle)).collect();
        moved.sort();
        assert_eq!(moved, [(token(1).to_hex(), later(110)), (token(3).to_hex(), later(110))]);
    })
    .await;
}

#[tokio::test]
async fn a_list_shows_live_sessions_newest_login_first_and_tells_what_it_reveals() {
    for_each_store(async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        let list = async |at| fresh.store.sessions(ann, at).await.expect("a store");
        let empty = list(BEGIN).await;
        assert_eq!((empty.sessions.len(), empty.seq), (0, Seq(0)));

        let mut ids = Vec::new();
        for (number, at) in [(1, 20), (2, 10), (3, 20), (4, 0)] {
            let mut new = login_of(ann, number);
            new.session.created_at = later(at);
            new.session.expiry.idle = later(100 + at);
            ids.push(new.session.id);
            fresh.create(new).await;
        }
        fresh.session(bob, 9).await;
        let shown = |listing: &sessiond::store::Listing| listing.sessions.iter().map(|s| s.id).collect::<Vec<_>>();
        assert_eq!(shown(&list(BEGIN).await), [ids[2], ids[0], ids[1], ids[3]], "of two at once the later row");
        assert_eq!(shown(&list(later(110)).await), [ids[2], ids[0]], "not what is over");

        let revoked = fresh.logout(logout_of(3)).await;
        let listing = list(BEGIN).await;
        assert_eq!((shown(&listing), listing.seq), (vec![ids[0], ids[1], ids[3]], revoked.seq));
        let revoked = fresh.revoke(Target::All(ann)).await;
        let listing = list(BEGIN).await;
        assert_eq!((listing.sessions.len(), listing.seq), (0, revoked.seq), "even when nothing is left");
    })
    .await;
}

#[tokio::test]
async fn purge_deletes_in_batches_what_ended_for_good_and_keeps_the_newest_number() {
    for_each_store(async |fresh| {
        let ann = fresh.user("ann").await;
        for number in 0..5 {
            fresh.session(ann, number).await;
        }
        let mut young = login_of(ann, 5);
        young.session.expiry.absolute = later(5000);
        fresh.create(young).await;
        fresh.logout(logout_of(0)).await;
        fresh.logout(logout_of(5)).await;
        let purge = async |before, limit| fresh.store.purge(before, limit).await.expect("a store");

        assert_eq!(purge(BEGIN.after(ABSOLUTE), 10).await, 0, "not before their end");
        let after = later(1001);
        assert_eq!((purge(after, 3).await, purge(after, 3).await, purge(after, 3).await), (3, 2, 0));
        assert_eq!(fresh.states(0..6).await, ["missing", "missing", "missing", "missing", "missing", "revoked"]);

        assert_eq!(purge(later(9999), 10).await, 1);
        fresh.session(ann, 7).await;
        assert_eq!(fresh.logout(logout_of(7)).await.seq, Seq(3), "numbers go on");
        assert_eq!(fresh.heard.numbers(), [0, 1, 2, 3]);
    })
    .await;
}

#[tokio::test]
async fn each_operation_writes_its_events() {
    for_each_store(async |fresh| {
        let ann = fresh.user("ann").await;
        let [one, two, three] = [fresh.session(ann, 1).await, fresh.session(ann, 2).await, fresh.session(ann, 3).await];
        fresh.create(NewSession { replaces: Some(token(1)), cap: 2, ..login_of(ann, 4) }).await;
        fresh.logout(logout_of(4)).await;
        let kept = fresh.session(ann, 5).await;
        let change = PasswordChange { user: ann, hash: hash("second"), auth_epoch: None, keep: Some(kept) };
        fresh.change_password(change).await;
        fresh.set_disabled(ann, true).await;
        fresh.set_disabled(ann, false).await;
        let failed =
            Event { detail: Some("password"), ..Event::about(ann, EventKind::LoginFailed, Actor::Anonymous, BEGIN) };
        fresh.store.record(failed).await.expect("a store");

        let all = (fresh.audit)(fresh).await;
        let counts = fresh.audit().await;
        let expected = [
            ("login_failed", 1),
            ("login_ok", 5),
            ("logout", 1),
            ("password_changed", 1),
            ("revoked", 4),
            ("user_created", 1),
            ("user_disabled", 1),
            ("user_enabled", 1),
        ];
        assert_eq!(counts, expected.map(|(kind, count)| (kind.into(), count)).into());
        assert!(all.iter().all(|(_, user, ..)| user.as_deref() == Some(ann.as_str())));
        let mut ended: Vec<_> = all.iter().filter(|(kind, ..)| kind == "revoked").collect();
        ended.sort_by_key(|(.., detail)| detail.clone());
        let told: Vec<_> = ended.iter().map(|(_, _, s, by, why)| (s.as_deref(), by.as_str(), why.as_deref())).collect();
        let revoked = |session: &'static str, by, why| (Some(session), by, Some(why));
        let [one, two, three, kept] = [one, two, three, kept].map(|id| &*String::leak(id.to_string()));
        let expected = [
            revoked(two, "system", "cap"),
            revoked(kept, "cli", "disabled"),
            revoked(three, "cli", "password"),
            revoked(one, ann.as_str().to_owned().leak(), "replaced"),
        ];
        assert_eq!(told, expected);
    })
    .await;
}

#[tokio::test]
async fn what_comes_to_nothing_writes_no_event_and_takes_no_number() {
    for_each_store(async |fresh| {
        let ann = fresh.user("ann").await;
        let before = fresh.audit().await;
        let nobody = UserId::random(&SystemEntropy).expect("entropy");
        fresh.add("ANN", None).await;
        fresh.create(NewSession { auth_epoch: 7, ..login_of(ann, 1) }).await;
        fresh.logout(logout_of(1)).await;
        fresh.revoke(Target::All(ann)).await;
        fresh.set_disabled(nobody, true).await;
        fresh.touch(1, BEGIN).await;
        fresh.store.purge(later(1), 10).await.expect("a store");
        assert_eq!(fresh.audit().await, before);
        assert_eq!(fresh.heard.numbers(), [0], "the start, and nothing since");
    })
    .await;
}

#[tokio::test]
async fn an_operation_that_fails_spares_its_neighbours() {
    for_each_store(async |fresh| {
        let ann = fresh.user("ann").await;
        for number in 0..4 {
            fresh.session(ann, number).await;
        }
        // Queued together; the third asks for a token that another session has.
        let (one, two, failed, created, disabled) = tokio::join!(
            fresh.store.logout(logout_of(0)),
            fresh.revoke(Target::Id(fresh.found(1).await.0.id, None)),
            fresh.store.create_session(login_of(ann, 2)),
            fresh.store.create_session(login_of(ann, 10)),
            fresh.store.logout(logout_of(3)),
        );
        assert!(matches!(failed, Err(StoreError::Inconsistent(_))), "{failed:?}");
        assert_eq!([one.expect("done"), two, disabled.expect("done")].map(|ended| ended.sessions.len()), [1, 1, 1]);
        assert!(matches!(created, Ok(Created::Yes(_))));
        assert_eq!(fresh.states(0..4).await, ["revoked", "revoked", "live", "revoked"]);
        assert_eq!(fresh.states(10..11).await, ["live"]);
        let heard = fresh.heard.numbers();
        assert_eq!(heard, (0..i64::try_from(heard.len()).expect("few")).collect::<Vec<_>>());
        let counts = fresh.audit().await;
        assert_eq!((counts["login_ok"], counts["logout"], counts["revoked"]), (5, 2, 1));
    })
    .await;
}

#[tokio::test]
async fn everything_is_there_after_closing_and_opening_again() {
    for kind in STORES {
        let fresh = Fresh::open(kind, Arc::new(Heard::default())).await;
        let ann = fresh.user("ann").await;
        fresh.session(ann, 1).await;
        fresh.session(ann, 2).await;
        let issued = fresh.store.token_key().await.expect("a store").issue(&SystemEntropy).expect("entropy");
        fresh.logout(logout_of(1)).await;
        fresh.store.close().await;
        assert!(fresh.store.ping().await.is_err(), "closed");
        assert!(fresh.store.logout(logout_of(2)).await.is_err(), "closed");
        let Fresh { store, url, dir, .. } = fresh;
        drop(store);

        let heard = Arc::new(Heard::default());
        let store = connect(&url, Role::Serve(heard.clone()), clock(), &SystemEntropy).await.expect("a store");
        store.ping().await.expect("open");
        assert!(store.token_key().await.expect("a store").issued(&issued), "the same key");
        assert!(matches!(store.lookup(&token(1)).await, Ok(Lookup::Revoked(Seq(1)))));
        assert!(matches!(store.lookup(&token(2)).await, Ok(Lookup::Found(_))));
        assert_eq!(heard.numbers(), [1], "it begins with the newest number");
        assert_eq!(store.logout(logout_of(2)).await.expect("a store").seq, Seq(2));
        store.close().await;
        drop(dir);
    }
}

#[tokio::test]
async fn a_server_hears_what_a_command_beside_it_ends_and_says_so() {
    for_each_store(async |fresh| {
        let ann = fresh.user("ann").await;
        let id = fresh.session(ann, 1).await;
        fresh.session(ann, 2).await;
        let beside = connect(&fresh.url, Role::Command, clock(), &SystemEntropy).await.expect("a store");

        let one = made(beside.revoke(Target::Id(id, None), because(Why::Operator)).await.expect("a store"));
        assert_eq!(beside.confirm(one.seq).await.expect("a store"), Confirmed::Applied);
        assert_eq!((fresh.heard.newest().seq, fresh.heard.newest().sessions), (one.seq, vec![token(1)]));
        let all = made(beside.revoke(Target::All(ann), because(Why::Operator)).await.expect("a store"));
        assert_eq!(beside.confirm(all.seq).await.expect("a store"), Confirmed::Applied);
        assert_eq!((fresh.heard.newest().seq, fresh.heard.newest().users), (all.seq, vec![ann]));

        fresh.store.close().await;
        drop(beside);
    })
    .await;
}

#[tokio::test]
async fn a_command_that_ends_nothing_is_confirmed_after_the_server_ended_something() {
    for_each_store(async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        fresh.session(ann, 1).await;
        fresh.logout(logout_of(1)).await;
        let beside = connect(&fresh.url, Role::Command, clock(), &SystemEntropy).await.expect("a store");
        let disabled = beside.set_disabled(bob, true, because(Why::Disabled)).await.expect("a store").expect("a user");
        assert_eq!(beside.confirm(disabled.seq).await.expect("a store"), Confirmed::Applied);
        beside.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_command_is_confirmed_by_a_server_busy_with_logouts() {
    for_each_store(async |fresh| {
        let (ann, bob) = (fresh.user("ann").await, fresh.user("bob").await);
        let beside = connect(&fresh.url, Role::Command, clock(), &SystemEntropy).await.expect("a store");
        for number in 0..5 {
            fresh.session(ann, number).await;
            let id = fresh.session(bob, 100 + number).await;
            let ended = made(beside.revoke(Target::Id(id, None), because(Why::Operator)).await.expect("a store"));
            fresh.logout(logout_of(number)).await;
            assert_eq!(beside.confirm(ended.seq).await.expect("a store"), Confirmed::Applied);
        }
        let heard = fresh.heard.numbers();
        assert_eq!(heard, (0..=10).collect::<Vec<_>>(), "in order, whoever ended them");
        beside.close().await;
    })
    .await;
}

#[tokio::test]
async fn without_a_server_there_is_nobody_to_confirm() {
    for_each_store(async |fresh| {
        fresh.store.close().await;
        let (url, _dir) = sqlite();
        let alone = connect(&url, Role::Command, clock(), &SystemEntropy).await.expect("a store");
        assert_eq!(alone.confirm(Seq(1)).await.expect("a store"), Confirmed::NoServer);
        alone.close().await;
    })
    .await;
}

#[tokio::test]
async fn sqlite_writes_ahead_in_files_that_are_its_owners_alone() {
    for_each_store(async |fresh| {
        fresh.user("ann").await;
        let mut names = Vec::new();
        for file in std::fs::read_dir(fresh.dir.path()).expect("a directory") {
            let file = file.expect("a file");
            let mode = file.metadata().expect("metadata").permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{:?}", file.file_name());
            names.push(file.file_name().into_string().expect("UTF-8"));
        }
        assert_eq!(sorted(names), ["test.db", "test.db-shm", "test.db-wal", "test.db.lock"]);
        let connection = reader(&fresh.dir.path().join("test.db"));
        let journal: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).expect("read");
        assert_eq!(journal, "wal");
    })
    .await;
}

#[tokio::test]
async fn sqlite_is_served_by_one_at_a_time() {
    let (url, _dir) = sqlite();
    let serve = || connect(&url, Role::Serve(Arc::new(Heard::default())), clock(), &SystemEntropy);
    let first = serve().await.expect("a store");
    assert!(matches!(serve().await, Err(ConnectError::AlreadyServed(_))));
    first.close().await;
    drop(first);
    until("the lock is free", async || match serve().await {
        Ok(store) => {
            store.close().await;
            true
        }
        Err(_) => false,
    })
    .await;
}

#[tokio::test]
async fn sqlite_is_one_database_under_whatever_name() {
    let (url, dir) = sqlite();
    let sink = || Role::Serve(Arc::new(Heard::default()));
    let store = connect(&url, sink(), clock(), &SystemEntropy).await.expect("a store");
    let named = |name: &str| DatabaseUrl::new(format!("sqlite://{}", dir.path().join(name).display()));
    std::os::unix::fs::symlink(dir.path().join("test.db"), dir.path().join("alias.db")).expect("linked");
    let alias = connect(&named("alias.db"), sink(), clock(), &SystemEntropy).await;
    assert!(matches!(alias, Err(ConnectError::AlreadyServed(_))), "a symbolic link");
    store.close().await;

    std::fs::hard_link(dir.path().join("test.db"), dir.path().join("twin.db")).expect("linked");
    let twin = connect(&named("twin.db"), sink(), clock(), &SystemEntropy).await;
    let Err(ConnectError::Store(StoreError::Unreachable(why))) = twin else { panic!("a hard link was taken") };
    assert!(why.contains("hard links"), "{why}");
}

#[tokio::test]
async fn sqlite_keeps_what_was_restored_beside_it_for_its_owner_alone() {
    let (url, dir) = sqlite();
    for name in ["test.db", "test.db.lock"] {
        std::fs::write(dir.path().join(name), "").expect("written");
        std::fs::set_permissions(dir.path().join(name), std::fs::Permissions::from_mode(0o666)).expect("set");
    }
    let store = connect(&url, Role::Command, clock(), &SystemEntropy).await.expect("a store");
    for name in ["test.db", "test.db.lock"] {
        let mode = std::fs::metadata(dir.path().join(name)).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    store.close().await;
    std::os::unix::fs::symlink("elsewhere", dir.path().join("test.db-shm")).expect("linked");
    assert!(connect(&url, Role::Command, clock(), &SystemEntropy).await.is_err(), "a link in its place");
}

#[tokio::test]
async fn a_file_that_is_no_database_and_a_url_that_is_no_store_are_refused() {
    let (url, dir) = sqlite();
    std::fs::write(dir.path().join("test.db"), "not a database, but long enough to be looked at as one".repeat(20))
        .expect("written");
    assert!(matches!(connect(&url, Role::Command, clock(), &SystemEntropy).await, Err(ConnectError::Store(_))));
    for odd in ["mysql://x", "sqlite://", "test.db"] {
        let refused = connect(&DatabaseUrl::new(odd.into()), Role::Command, clock(), &SystemEntropy).await;
        assert!(matches!(refused, Err(ConnectError::UnknownScheme(_))), "{odd}");
    }
}

#[tokio::test]
async fn sqlite_has_room_for_its_log_from_the_first_start_on() {
    let (url, dir) = sqlite();
    let sink = Role::Serve(Arc::new(Heard::default()));
    let store = connect(&url, sink, clock(), &SystemEntropy).await.expect("a store");
    let log = std::fs::metadata(dir.path().join("test.db-wal")).expect("a log").len();
    assert!(log > 16 << 20, "{log} bytes");
    store.close().await;
}
