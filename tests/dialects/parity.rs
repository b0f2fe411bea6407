//! The same course of three logins through every dialect: the words differ, the effects do not.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use sessiond_needs::on_both_stores;

use crate::harness::{ALICE, BOB, LoggedIn, PASSWORD, Reply, Server, StoreKind, TestRequest, delete, get, post};

/// What a dialect decides. A new one is one row more in [`DIALECTS`].
struct Dialect {
    name: &'static str,
    log_in: fn(username: &str) -> TestRequest,
    /// The token in the answer to a login.
    token: fn(&Reply) -> Option<String>,
    /// How its clients present a login.
    present: fn(TestRequest, &LoggedIn) -> TestRequest,
    who_am_i: &'static str,
    /// Where the answer to that holds the username.
    username: &'static str,
    list: &'static str,
    /// What names the session in one row of `sessions`.
    row_id: &'static str,
    log_out_other: fn(session: &str) -> TestRequest,
    log_out: &'static str,
    logged_out: u16,
}

const DIALECTS: [Dialect; 3] = [
    Dialect {
        name: "Medama",
        log_in: |username| post("/auth/login").json(&json!({"username": username, "password": PASSWORD})),
        token: Reply::cookie,
        present: |ask, login| ask.cookie(&login.token),
        who_am_i: "/user",
        username: "/username",
        // It has neither a list nor a logout of another session: the canonical API stands in.
        list: "/api/v1/auth/sessions",
        row_id: "id",
        log_out_other: |session| delete(&format!("/api/v1/auth/sessions/{session}")),
        log_out: "/auth/logout",
        logged_out: 204,
    },
    Dialect {
        name: "Rocket.Chat",
        log_in: |username| post("/api/v1/login").json(&json!({"user": username, "password": PASSWORD})),
        token: |reply| reply.json()["data"]["authToken"].as_str().map(str::to_owned),
        present: |ask, login| ask.pair(&login.user, &login.token),
        who_am_i: "/api/v1/me",
        username: "/username",
        list: "/api/v1/sessions/list",
        row_id: "sessionId",
        log_out_other: |session| post("/api/v1/sessions/logout.me").json(&json!({"sessionId": session})),
        log_out: "/api/v1/logout",
        logged_out: 200,
    },
    Dialect {
        name: "canonical",
        log_in: |username| post("/api/v1/auth/login").json(&json!({"username": username, "password": PASSWORD})),
        token: Reply::cookie,
        present: |ask, login| ask.cookie(&login.token),
        who_am_i: "/api/v1/auth/session",
        username: "/user/username",
        list: "/api/v1/auth/sessions",
        row_id: "id",
        log_out_other: |session| delete(&format!("/api/v1/auth/sessions/{session}")),
        log_out: "/api/v1/auth/logout",
        logged_out: 200,
    },
];

const CHROME: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
const CURL: &str = "curl/8.5.0";

/// A step, the sessions that live after it, and the audit's words for it: kind, whose session, why.
type Effect = (&'static str, String, Vec<String>);

/// The effects that every dialect must have.
const EFFECTS: [(&str, &str, &[&str]); 9] = [
    ("others are there", "alice bob", &["login_ok alice", "login_ok bob"]),
    ("three logins", "alice bob one two three", &["login_ok one", "login_ok two", "login_ok three"]),
    ("each is checked", "alice bob one two three", &[]),
    ("a list", "alice bob one two three", &[]),
    ("one logs out two", "alice bob one three", &["revoked two owner"]),
    ("two is dead everywhere", "alice bob one three", &[]),
    ("one logs out", "alice bob three", &["logout one"]),
    ("one is dead everywhere", "alice bob three", &[]),
    ("one logs out again", "alice bob three", &[]),
];

/// Reads effects from the database, with sessions under the names this test gave them.
#[derive(Default)]
struct Audit {
    names: BTreeMap<String, &'static str>,
    events_read: i64,
    effects: Vec<Effect>,
}

impl Audit {
    async fn of(server: &Server) -> Self {
        let events_read = server.database.number("SELECT coalesce(max(number), 0) FROM events").await;
        Self { events_read, ..Self::default() }
    }

    fn name(&mut self, login: &LoggedIn, name: &'static str) {
        self.names.insert(login.session.clone(), name);
    }

    async fn step(&mut self, server: &Server, step: &'static str) {
        let live = server.database.rows("SELECT id FROM sessions WHERE revoked_at IS NULL ORDER BY number").await;
        let live: Vec<_> = live.iter().flatten().flatten().map(|session| self.names[session]).collect();
        let read = self.events_read;
        let events = format!(
            "SELECT number, kind, coalesce(session_id, ''), coalesce(detail, '') FROM events
             WHERE number > {read} ORDER BY number"
        );
        let mut lines = Vec::new();
        for event in server.database.rows(&events).await {
            let [number, kind, session, detail] =
                event.try_into().map(|row: [_; 4]| row.map(Option::unwrap)).expect("four");
            let whose = self.names.get(&session).copied().unwrap_or(&session);
            self.events_read = number.parse().expect("a number");
            lines.push(format!("{kind} {whose} {detail}").trim_end().to_owned());
        }
        self.effects.push((step, live.join(" "), lines));
    }
}

/// Logs in through a dialect, as a new client that knows no cookie yet.
async fn log_in(server: &Server, dialect: &Dialect, username: &str, agent: &str) -> LoggedIn {
    let reply = server.send((dialect.log_in)(username).header("User-Agent", agent)).await;
    assert_eq!(reply.status, 200, "{}: {}", dialect.name, reply.text());
    let token = (dialect.token)(&reply).expect("a token");
    let check = server.send(get("/verify").bearer(&token)).await;
    let header = |name| check.header(name).expect(name).to_owned();
    LoggedIn { session: header("remote-session-id"), user: header("remote-user-id"), token }
}

/// Whether every dialect recognises a login as `username`, presented in the manner of every dialect.
async fn known_everywhere(server: &Server, login: &LoggedIn, username: Option<&str>) {
    for way in &DIALECTS {
        for asked in &DIALECTS {
            let reply = server.send((way.present)(get(asked.who_am_i), login)).await;
            let found = (reply.status == 200).then(|| reply.json().pointer(asked.username).cloned());
            let expected = username.map(|username| Some(json!(username)));
            assert_eq!(found, expected, "presented as to {}, asked of {}", way.name, asked.name);
            assert_eq!(reply.status, if username.is_some() { 200 } else { 401 });
        }
        let check = server.send((way.present)(get("/verify"), login)).await;
        assert_eq!(check.header("remote-user"), username, "presented as to {}, to /verify", way.name);
        assert_eq!(check.status, if username.is_some() { 200 } else { 401 });
    }
}

async fn live_through(store: StoreKind, dialect: &Dialect) -> Vec<Effect> {
    let server = Server::start(store).await;
    let mut audit = Audit::of(&server).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    audit.name(&alice, "alice");
    audit.name(&bob, "bob");
    audit.step(&server, "others are there").await;

    let mut logins = Vec::new();
    for (name, agent) in [("one", CHROME), ("two", CURL), ("three", CURL)] {
        server.advance(Duration::from_secs(1));
        let login = log_in(&server, dialect, BOB, agent).await;
        audit.name(&login, name);
        logins.push(login);
    }
    let [one, two, three] = logins.try_into().expect("three");
    audit.step(&server, "three logins").await;

    for login in [&one, &two, &three] {
        known_everywhere(&server, login, Some(BOB)).await;
    }
    audit.step(&server, "each is checked").await;

    let listed = server.send((dialect.present)(get(dialect.list), &one)).await.json();
    let rows = listed["sessions"].as_array().expect("rows");
    let ids: Vec<&str> = rows.iter().filter_map(|row| row[dialect.row_id].as_str()).collect();
    assert_eq!(ids, [&three, &two, &one, &bob].map(|login| &login.session), "{}", dialect.name);
    let shown: Vec<_> = rows.iter().map(|row| (row["device"]["name"].as_str(), row["current"].as_bool())).collect();
    let (curl, chrome, none) = ((Some("curl"), Some(false)), (Some("Chrome"), Some(true)), (Some(""), Some(false)));
    assert_eq!(shown, [curl, curl, chrome, none], "{}", dialect.name);
    audit.step(&server, "a list").await;

    let ended = server.send((dialect.present)((dialect.log_out_other)(&two.session), &one)).await;
    assert_eq!((ended.status, ended.all("set-cookie").len()), (200, 0), "{}: {}", dialect.name, ended.text());
    audit.step(&server, "one logs out two").await;

    known_everywhere(&server, &two, None).await;
    audit.step(&server, "two is dead everywhere").await;

    let left = server.send((dialect.present)(post(dialect.log_out), &one)).await;
    assert_eq!(left.status, dialect.logged_out, "{}: {}", dialect.name, left.text());
    audit.step(&server, "one logs out").await;

    known_everywhere(&server, &one, None).await;
    audit.step(&server, "one is dead everywhere").await;

    let again = server.send((dialect.present)(post(dialect.log_out), &one)).await;
    assert_eq!(again.status, 401, "{}: {}", dialect.name, again.text());
    audit.step(&server, "one logs out again").await;

    for (login, username) in [(&three, BOB), (&bob, BOB), (&alice, ALICE)] {
        known_everywhere(&server, login, Some(username)).await;
    }
    server.stop().await;
    audit.effects
}

#[on_both_stores]
async fn every_dialect_has_the_same_effects(store: StoreKind) {
    let expected = EFFECTS.map(|(step, live, events)| {
        (step, live.to_owned(), events.iter().map(|event| (*event).to_owned()).collect::<Vec<_>>())
    });
    for dialect in &DIALECTS {
        assert_eq!(live_through(store, dialect).await, expected, "{}", dialect.name);
    }
}
