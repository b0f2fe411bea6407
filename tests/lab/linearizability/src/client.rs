//! A client: a connection to each server, one request at a time, and a record of each.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use sessiond_support::{
    http::Connection,
    random::Random,
    token::{Token, text},
};

use crate::{
    history::{Content, Kind, Operation, Span, Time},
    pool::{Fresh, Held, Pool, USERS},
    replica::Door,
};

/// How long a client waits before its next request, after an answer without information.
const AFTER_A_FAILURE: Duration = Duration::from_millis(50);
/// How many servers there are.
pub const REPLICAS: usize = 3;
/// Longer than any answer takes; afterwards its outcome is unknown.
const PATIENCE: Duration = Duration::from_secs(15);

/// What all clients share.
pub struct Scene {
    pub begun: Instant,
    pub doors: [Door; REPLICAS],
    pub pool: Pool,
    pub names: Vec<String>,
    /// All users have the first of them at the beginning.
    pub passwords: [String; 2],
    /// Whether a user has the second by now, as far as is known.
    pub second: [AtomicBool; USERS],
    /// How many operations are still to be made.
    pub left: AtomicI64,
    /// Whether operations are made beyond these, since servers are still to be replaced by another release's.
    pub upgrading: AtomicBool,
    /// How many requests may wait at one server.
    pub most: usize,
}

pub struct Client {
    scene: Arc<Scene>,
    number: u16,
    random: Random,
    connections: [Option<(u16, Connection)>; REPLICAS],
    pub record: Vec<Operation>,
}

impl Scene {
    /// The password that a user has, as far as is known, and the other.
    fn passwords(&self, user: usize) -> [&str; 2] {
        let [first, second] = &self.passwords;
        if self.second[user].load(Ordering::Relaxed) { [second, first] } else { [first, second] }
    }

    /// Notes that a user's password is the other one, or seems to be.
    fn turn(&self, user: usize) {
        self.second[user].fetch_xor(true, Ordering::Relaxed);
    }

    pub fn now(&self) -> Time {
        Time::try_from(self.begun.elapsed().as_nanos()).unwrap_or(Time::MAX)
    }
}

impl Client {
    pub fn new(scene: Arc<Scene>, number: u16) -> Self {
        Self { scene, number, random: Random::new(), connections: std::array::from_fn(|_| None), record: Vec::new() }
    }

    /// Asks until as much was asked as was to be.
    pub async fn run(mut self) -> Self {
        while self.scene.left.load(Ordering::Relaxed) > 0 || self.scene.upgrading.load(Ordering::Relaxed) {
            match self.scene.pool.pick(&mut self.random) {
                Some(held) => self.turn(held).await,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
        self
    }

    /// Checks sessions at every server.
    pub async fn look(mut self, sessions: Vec<Held>) -> Self {
        for held in sessions {
            for replica in 0..REPLICAS {
                self.ask(Kind::Check, &held, None, Some(replica)).await;
            }
        }
        self
    }

    async fn turn(&mut self, held: Held) {
        match self.random.below(1000) {
            0..700 => self.ask(Kind::Check, &held, None, None).await,
            700..740 => self.ask(Kind::List, &held, None, None).await,
            740..760 => self.ask(Kind::Show, &held, None, None).await,
            760..780 => self.ask(Kind::Logout, &held, None, None).await,
            780..985 => self.end(held).await,
            985..991 => self.end_many(Kind::RevokeOthers, held).await,
            991..996 => self.end_many(Kind::RevokeAll, held).await,
            996 => self.end_many(Kind::Password, held).await,
            _ => self.login().await,
        }
    }

    /// Has every server cache a session, ends it, and checks it everywhere at once.
    async fn end(&mut self, held: Held) {
        let Some(sibling) = self.scene.pool.sibling(&held, &mut self.random) else { return };
        if self.random.chance(50) {
            for replica in 0..REPLICAS {
                self.ask(Kind::Check, &held, None, Some(replica)).await;
            }
        }
        match self.random.below(100) {
            0..55 => self.ask(Kind::Logout, &held, None, None).await,
            55..93 => self.ask(Kind::RevokeOne, &sibling, Some(&held), None).await,
            _ => self.ask(Kind::RevokeOne, &held, Some(&held), None).await,
        }
        for _ in 0..self.random.below(4) {
            match self.random.below(100) {
                0..75 => self.ask(Kind::Check, &held, None, None).await,
                75..83 => self.ask(Kind::Logout, &held, None, None).await,
                83..90 => self.ask(Kind::Show, &held, None, None).await,
                90..95 => self.ask(Kind::RevokeOne, &sibling, Some(&held), None).await,
                _ => self.ask(Kind::List, &sibling, None, None).await,
            }
        }
    }

    /// Ends most sessions of a user and asks about some of them at once.
    async fn end_many(&mut self, kind: Kind, held: Held) {
        let some: Vec<_> = (0..3).filter_map(|_| self.scene.pool.sibling(&held, &mut self.random)).collect();
        self.ask(kind, &held, None, None).await;
        for held in some.into_iter().chain([held]) {
            self.ask(Kind::Check, &held, None, None).await;
        }
    }

    /// Logs in and uses that session everywhere.
    async fn login(&mut self) {
        let user = self.random.below(USERS);
        let body = serde_json::json!({
            "username": self.scene.names[user],
            "password": self.scene.passwords(user)[0],
            "transport": "token",
        });
        let request = with_body("POST /api/v1/auth/login", "", &body.to_string());
        let Ok(number) = u16::try_from(user) else { return };
        let Some((mut operation, replica)) = self.exchange(Kind::Login, number, &request, None).await else { return };
        if operation.status == Some(401) {
            self.scene.turn(user);
        }
        let made = self.connections[replica].as_ref().and_then(|(_, connection)| {
            let body: Value = serde_json::from_slice(connection.body()).ok()?;
            let token = token_in(&body)?;
            let id = body["session"]["id"].as_str()?.as_bytes().try_into().ok()?;
            Some(Fresh { user: number, id, token })
        });
        if operation.unknown() {
            self.scene.pool.stray(number);
        }
        let made = made.filter(|_| operation.succeeded());
        let held = made.map(|made| self.scene.pool.add(&made, operation.span, None, &mut self.random));
        operation.session = held.map(|held| held.session);
        self.record.push(operation);
        if let Some(held) = held {
            for replica in 0..REPLICAS {
                self.ask(Kind::Check, &held, None, Some(replica)).await;
            }
        }
    }

    /// Makes one operation, at one server or at any, and records it.
    async fn ask(&mut self, kind: Kind, held: &Held, target: Option<&Held>, replica: Option<usize>) {
        let token = text(&held.token);
        let bearer = format!("authorization: Bearer {token}\r\n");
        let plain = |line: &str| format!("{line} HTTP/1.1\r\nhost: 127.0.0.1\r\n{bearer}\r\n").into_bytes();
        let request = match kind {
            Kind::Check => {
                format!("GET /verify HTTP/1.1\r\nhost: 127.0.0.1\r\ncookie: _me_sess={token}\r\n\r\n").into_bytes()
            }
            Kind::Show => plain("GET /api/v1/auth/session"),
            Kind::List => plain("GET /api/v1/auth/sessions?limit=100"),
            Kind::Logout => with_body("POST /api/v1/auth/logout", &bearer, ""),
            Kind::RevokeOne => plain(&format!("DELETE /api/v1/auth/sessions/{}", text(&target.unwrap_or(held).id))),
            Kind::RevokeOthers => plain("DELETE /api/v1/auth/sessions?scope=others"),
            Kind::RevokeAll => plain("DELETE /api/v1/auth/sessions?scope=all"),
            Kind::Password => {
                let [current, new] = self.scene.passwords(held.user.into());
                let body = serde_json::json!({ "current_password": current, "new_password": new });
                with_body("POST /api/v1/auth/password", &bearer, &body.to_string())
            }
            Kind::Login => return,
        };
        let Some((mut operation, replica)) = self.exchange(kind, held.user, &request, replica).await else { return };
        operation.session = Some(held.session);
        operation.target = target.map(|target| target.session);
        if operation.succeeded() {
            operation.content = self.content(kind, held, replica);
        }
        let pool = &self.scene.pool;
        if operation.refused() {
            pool.spend(held, &mut self.random);
        }
        if let Some(target) = target.filter(|_| matches!(operation.status, Some(200 | 404))) {
            pool.spend(target, &mut self.random);
        }
        if let (Kind::Logout, true) = (kind, operation.succeeded()) {
            pool.spend(held, &mut self.random);
        }
        if let Some(spared) = operation.ends_many().filter(|_| operation.succeeded()) {
            pool.spend_all(held.user, spared, operation.span.begin, &mut self.random);
        }
        // Where it was the session that was dead, and not the password wrong, the next one sets this right.
        if let (Kind::Password, Some(200 | 401)) = (kind, operation.status) {
            self.scene.turn(held.user.into());
        }
        if let (Kind::Password, true) = (kind, operation.succeeded()) {
            let renewed = self.token(replica).map(|token| Fresh { user: held.user, id: held.id, token });
            let renewed = renewed.map(|renewed| pool.add(&renewed, operation.span, None, &mut self.random));
            operation.target = renewed.map(|renewed| renewed.session);
            self.record.push(operation);
            if let Some(renewed) = renewed {
                for replica in 0..REPLICAS {
                    Box::pin(self.ask(Kind::Check, &renewed, None, Some(replica))).await;
                }
            }
            return;
        }
        self.record.push(operation);
    }

    /// Sends a request and waits for the whole of its answer. None where nothing was sent.
    async fn exchange(
        &mut self,
        kind: Kind,
        user: u16,
        request: &[u8],
        replica: Option<usize>,
    ) -> Option<(Operation, usize)> {
        let scene = self.scene.clone();
        let first = replica.unwrap_or_else(|| self.random.below(REPLICAS));
        let open = (0..REPLICAS).map(|step| (first + step) % REPLICAS);
        let mut open = open.filter_map(|replica| Some((scene.doors[replica].enter(scene.most)?, replica)));
        let Some(((waiting, port), replica)) = open.next() else {
            tokio::time::sleep(Duration::from_millis(1)).await;
            return None;
        };
        let slot = &mut self.connections[replica];
        if slot.as_ref().is_none_or(|(its, _)| *its != port) {
            *slot =
                Connection::open((Ipv4Addr::LOCALHOST, port).into()).await.ok().map(|connection| (port, connection));
        }
        let Some((_, connection)) = slot else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            return None;
        };
        scene.left.fetch_sub(1, Ordering::Relaxed);
        let begin = scene.now();
        let answered = tokio::time::timeout(PATIENCE, connection.exchange(request)).await;
        let end = scene.now();
        drop(waiting);
        let status = answered.ok().and_then(Result::ok);
        if status.is_none() {
            *slot = None;
        }
        let operation = Operation {
            kind,
            replica: replica as u8,
            connection: self.number,
            span: Span { begin, end },
            status,
            user,
            session: None,
            target: None,
            content: Content::Nothing,
        };
        if operation.unknown() {
            // A server whose database is away refuses at once. A client asks again a moment later, and so does this one, or
            // most of what it asked would be of such moments.
            tokio::time::sleep(AFTER_A_FAILURE).await;
        }
        Some((operation, replica))
    }

    /// The token in the last answer.
    fn token(&self, replica: usize) -> Option<Token> {
        let (_, connection) = self.connections[replica].as_ref()?;
        token_in(&serde_json::from_slice(connection.body()).ok()?)
    }

    /// What the last answer said, which was a success.
    fn content(&self, kind: Kind, held: &Held, replica: usize) -> Content {
        let Some((_, connection)) = &self.connections[replica] else { return Content::Nothing };
        let body = || serde_json::from_slice::<Value>(connection.body()).unwrap_or_default();
        let whose = |id: Option<&str>| match id {
            Some(id) if id.as_bytes() == held.id => Content::Nothing,
            _ => Content::SomebodyElse,
        };
        match kind {
            Kind::Check => whose(connection.header("remote-session-id")),
            Kind::Show => whose(body()["session"]["id"].as_str()),
            Kind::RevokeOthers | Kind::RevokeAll | Kind::Password => {
                let count = body()["revoked"].as_u64().and_then(|count| u32::try_from(count).ok());
                Content::Revoked(count.unwrap_or(u32::MAX))
            }
            Kind::List => {
                let body = body();
                let ids = body["sessions"].as_array().into_iter().flatten();
                let ids = ids.filter_map(|session| session["id"].as_str()?.as_bytes().try_into().ok());
                // A page that is not the last says nothing of what is not on it.
                if body["next_cursor"].is_null() { Content::Listed(ids.collect()) } else { Content::Nothing }
            }
            Kind::Logout | Kind::RevokeOne | Kind::Login => Content::Nothing,
        }
    }
}

fn token_in(body: &Value) -> Option<Token> {
    body["token"].as_str()?.as_bytes().try_into().ok()
}

fn with_body(line: &str, headers: &str, body: &str) -> Vec<u8> {
    let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
    let length = body.len();
    format!("{line} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}{kind}content-length: {length}\r\n\r\n{body}").into_bytes()
}
