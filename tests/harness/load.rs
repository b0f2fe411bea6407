//! Clients that end sessions on some server and check them on all, and the answers that they must never get, whatever
//! goes wrong meanwhile: that an ended session is accepted, or that a session has ended that no client has ended.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::harness::database::Database;
use crate::harness::process::{Process, attempt};
use crate::harness::{LoggedIn, TestRequest, delete, get, post};

const CLIENTS: usize = 8;
/// Much longer than any server may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client does nothing after each session.
const PAUSE: Duration = Duration::from_millis(60);

/// Counts of the answers that all clients got so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Checks of a session that was live, or may have been.
    pub accepted: usize,
    /// Checks of a session that had ended.
    pub refused: usize,
    /// Requests that failed: 5xx, or no answer.
    pub failed: usize,
    /// Sessions that were ended, and this was answered.
    pub ended: usize,
    /// Sessions whose logout has an unknown outcome.
    pub in_doubt: usize,
}

/// What is known of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// No client has asked to end it.
    Live,
    /// A client has, and the outcome is unknown.
    InDoubt,
    /// A client has and was answered with success, or the session was refused since.
    Ended,
}

/// A session and its state.
struct SessionState {
    session: LoggedIn,
    known: Known,
    /// Whether its end was answered with success.
    answered: bool,
}

/// The running clients.
pub struct Load {
    clients: JoinSet<Vec<SessionState>>,
    tally: Arc<Mutex<Tally>>,
    enough: CancellationToken,
}

struct Client {
    servers: Vec<String>,
    /// A session to be kept, and one of the same user to be ended.
    pairs: Arc<Mutex<Vec<[LoggedIn; 2]>>>,
    tally: Arc<Mutex<Tally>>,
    enough: CancellationToken,
    turn: usize,
}

impl Load {
    /// Begins, with as many sessions to be kept and to be ended as there are pairs.
    pub fn on(servers: &[&Process], pairs: Vec<[LoggedIn; 2]>) -> Self {
        Self::of(CLIENTS, servers, pairs)
    }

    /// The same with so many clients, each of which checks every session on all servers.
    pub fn of(clients: usize, servers: &[&Process], pairs: Vec<[LoggedIn; 2]>) -> Self {
        let (tally, enough, pairs) = (Arc::default(), CancellationToken::new(), Arc::new(Mutex::new(pairs)));
        let servers: Vec<_> = servers.iter().map(|server| server.listen.clone()).collect();
        let clients = (0..clients).map(|turn| {
            let (pairs, tally, enough) = (Arc::clone(&pairs), Arc::clone(&tally), enough.clone());
            Client { servers: servers.clone(), pairs, tally, enough, turn }.run()
        });
        Self { clients: clients.collect(), tally, enough }
    }

    /// What they were answered so far.
    pub fn tally(&self) -> Tally {
        *self.tally.lock().expect("no panic")
    }

    /// Lets them finish. Panics if any of them got an answer that must not be.
    pub async fn end(mut self) -> SessionStates {
        self.enough.cancel();
        let mut states = Vec::new();
        while let Some(ended) = self.clients.join_next().await {
            states.extend(ended.expect("no panic"));
        }
        SessionStates(states)
    }
}

/// The state of every session that a client used.
pub struct SessionStates(Vec<SessionState>);

impl SessionStates {
    /// Panics unless the database agrees with the answers, and all servers give the same answer for each session.
    pub async fn assert_true(&self, servers: &[&Process], database: &Database) {
        assert_eq!(database.half_done().await, 0, "half done");
        let dead = database.rows("SELECT id FROM sessions WHERE revoked_at IS NOT NULL").await;
        let dead: HashSet<String> = dead.into_iter().flatten().flatten().collect();
        for SessionState { session, known, answered } in &self.0 {
            let ended = dead.contains(&session.session);
            assert!(ended || !answered, "an end was answered that is not in the database: {session:?}");
            match known {
                Known::Live => assert!(!ended, "no client has ended {session:?}"),
                Known::InDoubt => {}
                Known::Ended => assert!(ended, "it was refused once: {session:?}"),
            }
            for server in servers {
                assert_eq!(server.check(&session.token).await, if ended { 401 } else { 200 }, "{session:?}");
            }
        }
    }
}

impl Client {
    async fn run(mut self) -> Vec<SessionState> {
        let mut states: Vec<SessionState> = Vec::new();
        while !self.enough.is_cancelled() {
            self.turn += 1;
            let pair = self.pairs.lock().expect("no panic").pop();
            match pair {
                Some([kept, doomed]) => states.extend(self.end(kept, doomed).await),
                None => assert!(!states.is_empty(), "too few sessions"),
            }
            // Answers stay true.
            let count = states.len();
            for back in [1, 5, 20, 60] {
                let old = &mut states[(count - 1).saturating_sub(back + self.turn % 5)];
                self.look(self.turn + back, old).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
        states
    }

    /// Ends one of two sessions that each server has in memory, if it can.
    async fn end(&self, kept: LoggedIn, doomed: LoggedIn) -> [SessionState; 2] {
        let begin = |session| SessionState { session, known: Known::Live, answered: false };
        let (mut kept, mut doomed) = (begin(kept), begin(doomed));
        for _ in 0..2 {
            self.look_everywhere(&mut doomed).await;
        }
        self.look_everywhere(&mut kept).await;
        let (own, through) = (&doomed.session, &kept.session.token);
        let ask = match self.turn % 3 {
            0 => post("/api/v1/auth/logout").bearer(&own.token),
            1 => delete(&format!("/api/v1/auth/sessions/{}", own.session)).bearer(through),
            _ => delete("/api/v1/auth/sessions?scope=others").bearer(through),
        };
        match self.ask(self.turn, &ask).await {
            Some(200 | 204) => {
                (doomed.known, doomed.answered) = (Known::Ended, true);
                self.counted().ended += 1;
            }
            Some(500..) | None => {
                doomed.known = Known::InDoubt;
                self.counted().in_doubt += 1;
            }
            Some(status) => panic!("{status} for {ask:?}"),
        }
        for _ in 0..2 {
            self.look_everywhere(&mut doomed).await;
        }
        self.look_everywhere(&mut kept).await;
        [kept, doomed]
    }

    /// Checks a session on all servers at once, with what is known of it before.
    async fn look_everywhere(&self, state: &mut SessionState) {
        let before = state.known;
        let looks = (0..self.servers.len()).map(async |server| {
            let mut known = before;
            self.judge(server, &state.session, &mut known).await;
            known
        });
        if join_all(looks).await.contains(&Known::Ended) {
            state.known = Known::Ended;
        }
    }

    async fn look(&self, server: usize, state: &mut SessionState) {
        self.judge(server, &state.session, &mut state.known).await;
    }

    async fn judge(&self, server: usize, session: &LoggedIn, known: &mut Known) {
        match self.ask(server, &get("/verify").bearer(&session.token)).await {
            Some(200) => {
                assert_ne!(*known, Known::Ended, "a stale accept: {session:?}");
                self.counted().accepted += 1;
            }
            Some(401) => {
                assert_ne!(*known, Known::Live, "no client has ended {session:?}");
                *known = Known::Ended;
                self.counted().refused += 1;
            }
            Some(500..) | None => {}
            Some(status) => panic!("{status}"),
        }
    }

    /// The status of an answer, if there is one.
    async fn ask(&self, server: usize, ask: &TestRequest) -> Option<u16> {
        let address = &self.servers[server % self.servers.len()];
        let reply = tokio::time::timeout(PATIENCE, attempt(address, ask)).await.expect("an answer in time");
        let status = reply.map(|reply| reply.status);
        if status.is_none_or(|status| status >= 500) {
            self.counted().failed += 1;
        }
        status
    }

    fn counted(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("no panic")
    }
}
